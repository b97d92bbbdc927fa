//! What somebody does to the files while half of them is on its way.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt;

use partwise::origin::{Object, Origin};
use tokio::runtime::Handle;

use super::write;
use crate::faults::table::{Ends, Row, assert_ends, assert_no_secret, row};
use crate::support::fixture::{Fixture, Outcome, Running};
use crate::support::soon;

const PART: u64 = 64 << 10;
const LENGTH: u64 = 32 * PART + 3;
/// Where the server waits.
const HALF: u64 = LENGTH / 2;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (writer, how) in [
        ("mmap", "under the map"),
        ("pwrite", "under positional writes"),
    ] {
        for meddling in meddlings() {
            let name = format!("{} {how}", meddling.name);
            rows.push(row(name, move || meddling.hold(writer)));
        }
    }
    rows.push(row("two runs at once", two_runs));
    rows.push(row("no descriptors", no_descriptors));
    rows.push(row(
        "a folder at the checkpoint's temporary name",
        folder_in_the_way,
    ));
    rows
}

/// What somebody does in mid-run, in the folder `d` that the file goes into.
struct Meddling {
    name: &'static str,
    act: fn(&Fixture),
    ends: Ends,
    /// Makes it possible to go on.
    mends: fn(&Fixture),
    /// Where the file stands in the end.
    output: &'static str,
}

fn meddling(name: &'static str, act: fn(&Fixture)) -> Meddling {
    Meddling {
        name,
        act,
        ends: Ends::well(),
        mends: |_| {},
        output: "d/x",
    }
}

impl Meddling {
    fn fails(self, says: &[&str]) -> Self {
        Self {
            ends: Ends::with(6, says),
            ..self
        }
    }

    fn hold(self, writer: &str) {
        let (origin, object) = held();
        let fixture = Fixture::new();
        let running = start(&fixture, &origin, writer);
        half_way(&origin);
        (self.act)(&fixture);
        origin.release();
        let outcome = running.wait();
        assert_ends(&outcome, &self.ends);
        assert_no_secret(&outcome);
        if outcome.code() != 0 {
            (self.mends)(&fixture);
            let again = start(&fixture, &origin, writer).wait();
            assert_ends(&again, &Ends::well());
        }
        fixture.file(self.output).is(&object);
    }
}

/// A server that waits half-way.
fn held() -> (Origin, Object) {
    let object = Object::new(9, LENGTH);
    let origin = Origin::builder(object.clone()).hold_after(HALF);
    (Handle::current().block_on(origin.start()).unwrap(), object)
}

fn half_way(origin: &Origin) {
    Handle::current().block_on(soon(origin.wait_for_bytes(HALF)));
}

fn start(fixture: &Fixture, origin: &Origin, writer: &str) -> Running {
    let (url, part) = (origin.url("x?signature=QUERYSECRET"), PART.to_string());
    let arguments = [
        "get",
        "-k",
        "-c",
        "4",
        "-p",
        &part,
        "-d",
        "d",
        "--writer",
        writer,
        "--progress",
        "json",
        &url,
    ];
    fixture.partwise(arguments).spawn()
}

fn set_length(fixture: &Fixture, length: u64) {
    let file = OpenOptions::new()
        .write(true)
        .open(fixture.path("d/x.part"))
        .unwrap();
    file.set_len(length).unwrap();
}

fn meddlings() -> Vec<Meddling> {
    vec![
        meddling(".part truncated", |fixture| set_length(fixture, PART))
            .fails(&["x.part", "changed its length"]),
        meddling(".part emptied", |fixture| set_length(fixture, 0))
            .fails(&["x.part", "changed its length"]),
        meddling(".part lengthened", |fixture| {
            set_length(fixture, LENGTH + 1);
        })
        .fails(&["x.part", "changed its length"]),
        meddling(".part removed", |fixture| {
            fs::remove_file(fixture.path("d/x.part")).unwrap();
        })
        .fails(&["x.part", "removed or replaced"]),
        Meddling {
            mends: |fixture| fs::remove_file(fixture.path("d/x.part")).unwrap(),
            ..meddling(".part replaced", |fixture| {
                fs::remove_file(fixture.path("d/x.part")).unwrap();
                fs::write(
                    fixture.path("d/x.part"),
                    vec![0; usize::try_from(LENGTH).unwrap()],
                )
                .unwrap();
            })
            .fails(&["x.part", "removed or replaced"])
        },
        meddling("the checkpoint removed", |fixture| {
            // It may not have been written yet.
            let _ = fs::remove_file(fixture.path("d/x.part.ckpt"));
        }),
        Meddling {
            mends: |fixture| fs::remove_file(fixture.path("d/x")).unwrap(),
            ..meddling("a file put at the final name", |fixture| {
                write(fixture, "d/x");
            })
            .fails(&["d/x", "already exists", "hint: "])
        },
        meddling("the folder removed", |fixture| {
            fs::remove_dir_all(fixture.path("d")).unwrap();
        })
        .fails(&["d/x.part"]),
        Meddling {
            output: "e/x",
            ..meddling("the folder renamed", |fixture| {
                fs::rename(fixture.path("d"), fixture.path("e")).unwrap();
            })
        },
    ]
}

fn two_runs() {
    let (origin, object) = held();
    let fixture = Fixture::new();
    let first = start(&fixture, &origin, "auto");
    half_way(&origin);
    let second = start(&fixture, &origin, "auto").wait();
    assert_ends(
        &second,
        &Ends::with(6, &["cannot lock d/x.part", "another run", "hint: "]),
    );
    origin.release();
    assert_ends(&first.wait(), &Ends::well());
    fixture.file("d/x").is(&object);
}

/// Holds that the run said once that it could write no checkpoint.
#[track_caller]
fn assert_warns_once(outcome: &Outcome, why: &str) {
    let warnings = outcome.events("warning");
    let told = warnings
        .iter()
        .filter_map(|event| event["message"].as_str());
    let about = told.filter(|told| told.starts_with("the checkpoint can't be written: "));
    let about: Vec<_> = about.collect();
    assert_eq!(about.len(), 1, "{}", outcome.stderr());
    let means = "; a run that is interrupted now starts again from the last one";
    assert!(
        about[0].contains(why) && about[0].contains(means),
        "{about:?}"
    );
}

/// One connection, so that no other has to be opened.
fn no_descriptors() {
    let (origin, object) = held();
    let fixture = Fixture::new();
    let url = origin.url("x");
    let get = ["get", "-c", "1", "-p", "64K", "--progress", "json", &url];
    let running = fixture.partwise(get).limit("-v 4194304; umask 027").spawn();
    half_way(&origin);
    running.forbid_descriptors();
    origin.release();
    let outcome = running.exit_code(0);
    assert_warns_once(&outcome, "Too many open files");
    fixture.file("x").is(&object);
    fixture.assert_holds_only(["x"]);
    let mode = fs::metadata(fixture.path("x"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640, "the umask was known before");
}

/// The folder is somebody else's and stays; the checkpoint does not.
fn folder_in_the_way() {
    let (origin, object) = held();
    let fixture = Fixture::new();
    let running = start(&fixture, &origin, "auto");
    half_way(&origin);
    // A commit may be under way, whose own file has the name for a moment.
    while fs::create_dir(fixture.path("d/x.part.ckpt.tmp")).is_err() {}
    origin.release();
    let outcome = running.exit_code(0);
    assert_warns_once(&outcome, "Is a directory");
    fixture.file("d/x").is(&object);
    let left = fs::read_dir(fixture.path("d")).unwrap();
    assert_eq!(left.count(), 2, "the file and the folder");
}
