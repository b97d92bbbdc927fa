//! What somebody planted at the names that partwise works at.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::FileType;

use crate::support::fixture::Fixture;

use super::{Obstacle, is_precious, node, obstacle, remove, write};

pub(super) fn table() -> Vec<Obstacle> {
    at_part().into_iter().chain(beside_it()).collect()
}

fn at_part() -> Vec<Obstacle> {
    vec![
        obstacle("a symbolic link at the .part name", |fixture| {
            write(fixture, "victim");
            symlink("victim", fixture.path("x.part")).unwrap();
        })
        .fails(&["x.part", "symbolic link"])
        .keeps(|fixture| is_precious(fixture, "victim"))
        .mends(|fixture| remove(fixture, "x.part")),
        obstacle("a symbolic link to nowhere at the .part name", |fixture| {
            symlink("victim", fixture.path("x.part")).unwrap();
        })
        .fails(&["x.part", "symbolic link"])
        .keeps(|fixture| {
            fixture.file("victim").is_absent();
        })
        .mends(|fixture| remove(fixture, "x.part")),
        obstacle("a hard link at the .part name", |fixture| {
            write(fixture, "victim");
            fs::hard_link(fixture.path("victim"), fixture.path("x.part")).unwrap();
        })
        .fails(&["x.part", "hard links"])
        .keeps(|fixture| is_precious(fixture, "victim"))
        .mends(|fixture| remove(fixture, "x.part")),
        obstacle("a FIFO at the .part name", |fixture| {
            node(fixture, "x.part", FileType::Fifo);
        })
        .fails(&["x.part", "not a regular file"])
        .mends(|fixture| remove(fixture, "x.part")),
        obstacle("a folder at the .part name", |fixture| {
            fs::create_dir(fixture.path("x.part")).unwrap();
        })
        .fails(&["x.part"])
        .mends(|fixture| fs::remove_dir(fixture.path("x.part")).unwrap()),
    ]
}

fn beside_it() -> Vec<Obstacle> {
    vec![
        obstacle("a symbolic link at the checkpoint's name", |fixture| {
            write(fixture, "victim");
            symlink("victim", fixture.path("x.part.ckpt")).unwrap();
        })
        .keeps(|fixture| is_precious(fixture, "victim")),
        obstacle(
            "a symbolic link at the checkpoint's name, beside a .part",
            |fixture| {
                write(fixture, "victim");
                write(fixture, "x.part");
                symlink("victim", fixture.path("x.part.ckpt")).unwrap();
            },
        )
        .fails(&["x.part.ckpt", "symbolic link"])
        .keeps(|fixture| is_precious(fixture, "victim"))
        .mends(remove_both),
        obstacle("a FIFO at the checkpoint's name", |fixture| {
            write(fixture, "x.part");
            node(fixture, "x.part.ckpt", FileType::Fifo);
        })
        .fails(&["x.part.ckpt", "not a regular file"])
        .mends(remove_both),
        // A download without a checkpoint is a download.
        obstacle("a folder at the checkpoint's name", |fixture| {
            fs::create_dir(fixture.path("x.part.ckpt")).unwrap();
        })
        .says(&["the checkpoint can't be written", "x.part.ckpt"])
        .keeps(|fixture| fs::remove_dir(fixture.path("x.part.ckpt")).unwrap()),
        obstacle("a symbolic link at the temporary name", |fixture| {
            write(fixture, "victim");
            symlink("victim", fixture.path("x.part.ckpt.tmp")).unwrap();
        })
        .keeps(|fixture| is_precious(fixture, "victim")),
        obstacle("a folder at the temporary name", |fixture| {
            fs::create_dir(fixture.path("x.part.ckpt.tmp")).unwrap();
        })
        .says(&["the checkpoint can't be written", "x.part.ckpt.tmp"])
        .keeps(|fixture| fs::remove_dir(fixture.path("x.part.ckpt.tmp")).unwrap()),
    ]
}

fn remove_both(fixture: &Fixture) {
    remove(fixture, "x.part");
    remove(fixture, "x.part.ckpt");
}
