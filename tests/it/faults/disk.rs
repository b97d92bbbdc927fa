//! What stands in the way on the disk, and what somebody does to the files in mid-run.

mod mid_run;
mod planted;

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

use partwise::origin::Object;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::table::{Ends, PRECIOUS, Row, assert_ends, assert_no_secret, hold, row};
use super::{LENGTH, PART};
use crate::support::fault::{FaultOrigin, Reply, Step, honest};
use crate::support::fixture::{Fixture, Outcome};

#[tokio::test(flavor = "multi_thread")]
async fn disk() {
    let tables = [
        limits(),
        destinations(),
        no_files(),
        folders(),
        planted::table(),
    ];
    let rows = tables.into_iter().flatten().map(Row::from);
    let others = mid_run::rows()
        .into_iter()
        .chain([row("/dev/null", dev_null)]);
    hold("disk", rows.chain(others));
}

/// Something on the disk that is in the way.
struct Obstacle {
    name: &'static str,
    length_is_known: bool,
    arguments: &'static [&'static str],
    limit: &'static str,
    /// Puts it there.
    puts: fn(&Fixture),
    ends: Ends,
    /// Holds that it is as it was.
    keeps: fn(&Fixture),
    /// Takes it away.
    mends: fn(&Fixture),
    /// Where the file stands in the end.
    output: &'static str,
}

fn obstacle(name: &'static str, puts: fn(&Fixture)) -> Obstacle {
    Obstacle {
        name,
        length_is_known: true,
        arguments: &[],
        limit: "-v 4194304",
        puts,
        ends: Ends::well(),
        keeps: |_| {},
        mends: |_| {},
        output: "x",
    }
}

impl Obstacle {
    fn unknown_length(self) -> Self {
        Self {
            length_is_known: false,
            ..self
        }
    }

    fn arguments(self, arguments: &'static [&'static str]) -> Self {
        Self { arguments, ..self }
    }

    fn limit(self, limit: &'static str) -> Self {
        Self { limit, ..self }
    }

    fn fails(self, says: &[&str]) -> Self {
        Self {
            ends: Ends::with(6, says),
            ..self
        }
    }

    /// It does well, and says this.
    fn says(self, says: &[&str]) -> Self {
        Self {
            ends: Ends::with(0, says),
            ..self
        }
    }

    fn keeps(self, keeps: fn(&Fixture)) -> Self {
        Self { keeps, ..self }
    }

    fn mends(self, mends: fn(&Fixture)) -> Self {
        Self { mends, ..self }
    }

    fn output(self, output: &'static str) -> Self {
        Self { output, ..self }
    }

    fn hold(&self) {
        let object = Object::new(9, LENGTH);
        let length_is_known = self.length_is_known;
        let served = object.clone();
        let origin = FaultOrigin::new(move |request| {
            if length_is_known {
                return honest(&served, request);
            }
            match request.is_head() {
                true => Reply::status(405),
                false => Reply::status(200)
                    .body(&served, 0..LENGTH)
                    .without("content-length")
                    .then(Step::Close),
            }
        });
        // An obstacle may be noticed before anything is asked.
        let origin = origin.maybe_unasked();
        let fixture = Fixture::new();
        (self.puts)(&fixture);
        let outcome = self.run(&fixture, &origin, self.limit);
        assert_ends(&outcome, &self.ends);
        assert_no_secret(&outcome);
        (self.keeps)(&fixture);
        if outcome.code() != 0 {
            (self.mends)(&fixture);
            let again = self.run(&fixture, &origin, "-v 4194304");
            assert_ends(&again, &Ends::well());
            assert_no_secret(&again);
        }
        fixture.file(self.output).is(&object);
        fixture.assert_no_leftovers();
    }

    fn run(&self, fixture: &Fixture, origin: &FaultOrigin, limit: &str) -> Outcome {
        let (url, part) = (origin.url("x?signature=QUERYSECRET"), PART.to_string());
        let mut arguments = vec!["get", "-k", "-v", "-c", "2", "-p", &part];
        arguments.extend(self.arguments);
        arguments.push(&url);
        fixture.partwise(arguments).limit(limit).spawn().wait()
    }
}

impl From<Obstacle> for Row {
    fn from(obstacle: Obstacle) -> Self {
        row(obstacle.name, move || obstacle.hold())
    }
}

fn nothing(_: &Fixture) {}

fn write(fixture: &Fixture, name: &str) {
    fs::write(fixture.path(name), PRECIOUS).unwrap();
}

fn node(fixture: &Fixture, name: &str, kind: FileType) {
    mknodat(
        CWD,
        fixture.path(name),
        kind,
        Mode::from_raw_mode(0o666),
        rustix::fs::makedev(1, 3),
    )
    .unwrap();
}

fn is_precious(fixture: &Fixture, name: &str) {
    fixture.file(name).is_text(PRECIOUS);
}

fn kind_of(fixture: &Fixture, name: &str) -> fs::FileType {
    fs::symlink_metadata(fixture.path(name))
        .unwrap()
        .file_type()
}

fn mode_of(fixture: &Fixture, name: &str) -> u32 {
    fs::metadata(fixture.path(name))
        .unwrap()
        .permissions()
        .mode()
        & 0o777
}

fn remove(fixture: &Fixture, name: &str) {
    fs::remove_file(fixture.path(name)).unwrap();
}

/// The limit that a process has on the size of its files.
fn limits() -> Vec<Obstacle> {
    vec![
        obstacle("RLIMIT_FSIZE", nothing)
            .limit("-f 8")
            .fails(&["a file of 262147 bytes is needed", "ulimit -f", "hint: "])
            .keeps(|fixture| fixture.assert_holds_only([])),
        obstacle("RLIMIT_FSIZE, positional writes", nothing)
            .arguments(&["--writer", "pwrite"])
            .limit("-f 8")
            .fails(&["ulimit -f"]),
        obstacle("RLIMIT_FSIZE, and a file at the final name", |fixture| {
            write(fixture, "x");
        })
        .arguments(&["--overwrite"])
        .limit("-f 8")
        .fails(&["ulimit -f"])
        .keeps(|fixture| is_precious(fixture, "x")),
        obstacle("RLIMIT_FSIZE, and nobody knows the length", nothing)
            .unknown_length()
            .limit("-f 8")
            .fails(&["cannot write x.part", "ulimit -f", "hint: "]),
    ]
}

fn link(fixture: &Fixture) {
    write(fixture, "other");
    symlink("other", fixture.path("x")).unwrap();
}

/// What stands at the final name.
fn destinations() -> Vec<Obstacle> {
    vec![
        obstacle("a file", |fixture| write(fixture, "x"))
            .fails(&["can't write x", "hint: --overwrite replaces it"])
            .keeps(|fixture| is_precious(fixture, "x"))
            .mends(|fixture| remove(fixture, "x")),
        obstacle("a folder", |fixture| {
            fs::create_dir(fixture.path("x")).unwrap();
        })
        .fails(&["can't write x"])
        .mends(|fixture| fs::remove_dir(fixture.path("x")).unwrap()),
        obstacle("a folder, --overwrite", |fixture| {
            fs::create_dir(fixture.path("x")).unwrap();
        })
        .arguments(&["--overwrite"])
        .fails(&["can't write x", "not a regular file"])
        .mends(|fixture| fs::remove_dir(fixture.path("x")).unwrap()),
        obstacle("a symbolic link", link)
            .fails(&["can't write x"])
            .keeps(|fixture| {
                is_precious(fixture, "other");
                assert!(kind_of(fixture, "x").is_symlink());
            })
            .mends(|fixture| remove(fixture, "x")),
        obstacle("a symbolic link, --overwrite", link)
            .arguments(&["--overwrite"])
            .keeps(|fixture| {
                is_precious(fixture, "other");
                assert!(kind_of(fixture, "x").is_file());
            }),
        obstacle("a file with permissions, --overwrite", |fixture| {
            write(fixture, "x");
            permit(fixture, "x", 0o604);
        })
        .arguments(&["--overwrite"])
        .limit("-v 4194304; umask 027")
        .keeps(|fixture| assert_eq!(mode_of(fixture, "x"), 0o604)),
        obstacle("a symbolic link with permissions, --overwrite", |fixture| {
            link(fixture);
            permit(fixture, "other", 0o604);
        })
        .arguments(&["--overwrite"])
        .limit("-v 4194304; umask 027")
        .keeps(|fixture| {
            assert_eq!(mode_of(fixture, "x"), 0o640);
            assert_eq!(mode_of(fixture, "other"), 0o604);
        }),
        obstacle("a symbolic link to nowhere", |fixture| {
            symlink("nowhere", fixture.path("x")).unwrap();
        })
        .fails(&["can't write x"])
        .keeps(|fixture| {
            fixture.file("nowhere").is_absent();
            assert!(kind_of(fixture, "x").is_symlink());
        })
        .mends(|fixture| remove(fixture, "x")),
    ]
}

/// What stands at the final name and is no file at all.
fn no_files() -> Vec<Obstacle> {
    vec![
        obstacle("a FIFO", |fixture| node(fixture, "x", FileType::Fifo))
            .fails(&["can't write x"])
            .keeps(|fixture| assert!(kind_of(fixture, "x").is_fifo()))
            .mends(|fixture| remove(fixture, "x")),
        obstacle("a FIFO, --overwrite", |fixture| {
            node(fixture, "x", FileType::Fifo);
        })
        .arguments(&["--overwrite"])
        .fails(&["can't write x", "not a regular file"])
        .keeps(|fixture| assert!(kind_of(fixture, "x").is_fifo()))
        .mends(|fixture| remove(fixture, "x")),
        obstacle("a symbolic link to a device, --overwrite", |fixture| {
            symlink("/dev/null", fixture.path("x")).unwrap();
        })
        .arguments(&["--overwrite"])
        .fails(&["can't write x", "not a regular file"])
        .keeps(|fixture| assert!(kind_of(fixture, "x").is_symlink()))
        .mends(|fixture| remove(fixture, "x")),
        obstacle("a socket, --overwrite", |fixture| {
            node(fixture, "x", FileType::Socket);
        })
        .arguments(&["--overwrite"])
        .fails(&["can't write x", "not a regular file"])
        .keeps(|fixture| assert!(kind_of(fixture, "x").is_socket()))
        .mends(|fixture| remove(fixture, "x")),
    ]
}

/// The folder that the file goes into.
fn folders() -> Vec<Obstacle> {
    let mut table = vec![
        obstacle("folders that are missing", nothing)
            .arguments(&["-d", "a/b/c"])
            .output("a/b/c/x"),
        obstacle("a file where the folder should be", |fixture| {
            write(fixture, "folder");
        })
        .arguments(&["-d", "folder"])
        .fails(&["folder"])
        .keeps(|fixture| is_precious(fixture, "folder"))
        .mends(|fixture| remove(fixture, "folder"))
        .output("folder/x"),
        obstacle("a file above the folder", |fixture| write(fixture, "file"))
            .arguments(&["-d", "file/folder"])
            .fails(&["file/folder"])
            .keeps(|fixture| is_precious(fixture, "file"))
            .mends(|fixture| remove(fixture, "file"))
            .output("file/folder/x"),
        obstacle("a folder by a symbolic link", |fixture| {
            fs::create_dir(fixture.path("real")).unwrap();
            symlink("real", fixture.path("link")).unwrap();
        })
        .arguments(&["-d", "link"])
        .output("real/x"),
    ];
    if rustix::process::geteuid().is_root() {
        println!("skipped: a read-only folder: root may write into it");
    } else {
        table.push(
            obstacle("a read-only folder", |fixture| {
                fs::create_dir(fixture.path("folder")).unwrap();
                permit(fixture, "folder", 0o555);
            })
            .arguments(&["-d", "folder"])
            .fails(&["cannot create folder/x.part", "ermission"])
            .mends(|fixture| permit(fixture, "folder", 0o755))
            .output("folder/x"),
        );
    }
    table
}

fn permit(fixture: &Fixture, name: &str, mode: u32) {
    fs::set_permissions(fixture.path(name), Permissions::from_mode(mode)).unwrap();
}

/// Without `--overwrite`: a partwise that took it would take the machine's own away.
fn dev_null() {
    let origin = FaultOrigin::new(|_| Reply::status(404)).maybe_unasked();
    let fixture = Fixture::new();
    let arguments = ["get", "-k", "-o", "/dev/null", &origin.url("x")];
    let outcome = fixture.partwise(arguments).spawn().wait();
    let says = ["can't write /dev/null", "not a regular file"];
    assert_ends(&outcome, &Ends::with(6, &says));
    let kind = fs::metadata("/dev/null").unwrap().file_type();
    assert!(kind.is_char_device());
    assert!(origin.requests().is_empty(), "before any request");
}
