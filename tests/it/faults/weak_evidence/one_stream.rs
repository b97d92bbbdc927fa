//! Servers without ranges and names, whose bytes must come in one stream.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use partwise::origin::Object;

use crate::faults::LENGTH;
use crate::faults::asked::World;
use crate::faults::fault::{Fault, fault};
use crate::faults::table::{Row, row};
use crate::support::fault::{FaultOrigin, Reply, Step};
use crate::support::fixture::Fixture;

/// A server without ranges that names nothing, and does not say so before the first GET.
pub(super) fn faults() -> Vec<Fault> {
    let plain = |name| {
        fault(name).option("--connections", "8").serves(|asked| {
            let reply = Reply::status(200).body(asked.object, 0..LENGTH);
            match asked.is_head() {
                true => reply.head_only(),
                false => reply,
            }
        })
    };
    let few = |world: &World<'_>, most: usize| {
        let gets = world.gets();
        assert!(gets <= most, "{gets} requests for bytes");
    };
    vec![
        // Each of the connections may have asked before the first one knew.
        plain("no ranges and no names").check(move |world, _| few(world, 9)),
        plain("no ranges and no names, one connection, and a link for one use")
            .option("--connections", "1")
            .serves({
                let gets = AtomicUsize::new(0);
                move |asked| {
                    let reply = Reply::status(200).body(asked.object, 0..LENGTH);
                    match asked.is_head() {
                        true => reply.head_only(),
                        false if gets.fetch_add(1, Ordering::Relaxed) > 0 => Reply::status(403),
                        false => reply,
                    }
                }
            }),
        plain("no ranges and no names, and the stream breaks once").serves({
            let gets = AtomicUsize::new(0);
            move |asked| {
                let reply = Reply::status(200).body(asked.object, 0..LENGTH);
                match asked.is_head() {
                    true => reply.head_only(),
                    false if gets.fetch_add(1, Ordering::Relaxed) == 9 => {
                        reply.cut_after(LENGTH / 2).then(Step::Close)
                    }
                    false => reply,
                }
            }
        }),
    ]
}

/// Ranges of what such a server has. One body gives those that ascend, over the gaps between them.
pub(super) fn selections() -> [Row; 4] {
    let ascending = "5-9,20000-29999,262000-262146";
    let descending = "200000-262146,5-9";
    let selected = [
        ("8", ascending),
        ("8", descending),
        ("1", ascending),
        ("1", descending),
    ];
    selected.map(|(connections, ranges)| {
        row(
            format!("no ranges and no names, -c {connections}, and {ranges}"),
            move || {
                selected_of_one_stream(connections, ranges);
            },
        )
    })
}

fn selected_of_one_stream(connections: &str, ranges: &str) {
    let object = Object::new(9, LENGTH);
    let served = object.clone();
    let origin = FaultOrigin::new(move |request| {
        let reply = Reply::status(200).body(&served, 0..LENGTH);
        match request.is_head() {
            true => reply.head_only(),
            false => reply,
        }
    });
    let fixture = Fixture::new();
    let url = origin.url("x");
    let command = fixture.partwise([
        "get",
        "-c",
        connections,
        "-p",
        "16K",
        "--range",
        ranges,
        &url,
    ]);
    command.exit_code(0);
    let mut expected = Vec::new();
    for range in ranges.split(',') {
        let (first, last) = range.split_once('-').unwrap();
        let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
        let start = expected.len();
        expected.resize(start + usize::try_from(last + 1 - first).unwrap(), 0);
        object.read_at(first, &mut expected[start..]);
    }
    assert!(
        fs::read(fixture.path("x")).unwrap() == expected,
        "other bytes"
    );
}
