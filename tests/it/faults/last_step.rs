//! A run that ended between the final name and the removal of its checkpoint, or whose bytes were
//! refused: whose file stands there then?

use std::fs;

use crc_fast::{CrcAlgorithm, checksum};
use partwise::origin::Object;

use super::table::{Ends, Row, assert_ends, assert_no_secret, hold, row};
use super::{LENGTH, PART};
use crate::support::fault::{FaultOrigin, honest};
use crate::support::fixture::{Fixture, Outcome};

#[tokio::test(flavor = "multi_thread")]
async fn last_step() {
    let finished = [
        ("the same URL", "x", vec![]),
        (
            "the same URL, the right checksum",
            "x",
            vec!["--checksum", right()],
        ),
        (
            "the same URL, --if-match",
            "x",
            vec!["--if-match", "\"9-262147\""],
        ),
        (
            "the same URL, --if-none-match of another",
            "x",
            vec!["--if-none-match", "\"other\""],
        ),
    ];
    let in_the_way = [
        ("another URL", "y", vec![]),
        ("another query", "x?other", vec![]),
        ("a range", "x", vec!["--range", "0-99"]),
        (
            "a wrong checksum",
            "x",
            vec!["--checksum", "crc32c=00000000"],
        ),
        (
            "--if-match of another",
            "x",
            vec!["--if-match", "\"other\""],
        ),
        (
            "--if-none-match of it",
            "x",
            vec!["--if-none-match", "\"9-262147\""],
        ),
    ];
    let finished = finished.map(|(name, url, more)| row(name, move || is_finished(url, &more)));
    let in_the_way =
        in_the_way.map(|(name, url, more)| row(name, move || is_in_the_way(url, &more)));
    let others = [
        row("refused, and named by hand", refused_and_named),
        row("named by hand, and changed", named_and_changed),
        row("another file, --verify never", another_unverified),
        row("changed in place after a clean end", changed_in_place),
        row("touched after a clean end", touched),
    ];
    let rows: Vec<Row> = finished
        .into_iter()
        .chain(in_the_way)
        .chain(others)
        .collect();
    hold("last step", rows);
}

fn object() -> Object {
    Object::new(9, LENGTH)
}

fn right() -> &'static str {
    let mut bytes = vec![0; usize::try_from(LENGTH).unwrap()];
    object().read_at(0, &mut bytes);
    let crc = checksum(CrcAlgorithm::Crc32Iscsi, &bytes);
    format!("crc32c={crc:08x}").leak()
}

fn server() -> FaultOrigin {
    FaultOrigin::new(move |request| honest(&object(), request))
}

fn run(fixture: &Fixture, origin: &FaultOrigin, url: &str, more: &[&str]) -> Outcome {
    let (url, part) = (
        origin.url(&format!("{url}?signature=QUERYSECRET")),
        PART.to_string(),
    );
    let mut arguments = vec!["get", "-k", "-c", "2", "-p", &part, "-o", "x"];
    arguments.extend(["--progress", "json", "--json"]);
    arguments.extend(more);
    arguments.push(&url);
    fixture.partwise(arguments).spawn().wait()
}

/// A folder in which a run brought every byte and failed at the last check.
fn refused(origin: &FaultOrigin) -> Fixture {
    let fixture = Fixture::new();
    let outcome = run(&fixture, origin, "x", &["--checksum", "crc32c=00000000"]);
    assert_ends(&outcome, &Ends::with(5, &["x is not what it should be"]));
    fixture
}

/// A folder as a run leaves it that is killed right after the file got its name, and its server.
fn named() -> (Fixture, FaultOrigin) {
    let fixture = Fixture::new();
    let output = fixture.path("x");
    let origin = FaultOrigin::new(move |request| {
        if request.nth == 1 {
            fs::write(&output, "in the way").unwrap();
        }
        honest(&object(), request)
    });
    // It brings every byte, and can't give them the name.
    let outcome = run(&fixture, &origin, "x", &[]);
    assert_ends(&outcome, &Ends::with(6, &["already exists"]));
    fs::rename(fixture.path("x.part"), fixture.path("x")).unwrap();
    (fixture, origin)
}

fn is_finished(url: &str, more: &[&str]) {
    let (fixture, origin) = named();
    let before = origin.requests().len();
    let outcome = run(&fixture, &origin, url, more);
    assert_ends(&outcome, &Ends::well());
    assert_no_secret(&outcome);
    assert_eq!(origin.requests().len(), before, "nothing is asked for");
    assert_eq!(outcome.json()["resumed_bytes"], LENGTH);
    fixture.file("x").is(&object());
    fixture.assert_holds_only(["x"]);
}

fn is_in_the_way(url: &str, more: &[&str]) {
    let (fixture, origin) = named();
    let before = origin.requests().len();
    let outcome = run(&fixture, &origin, url, more);
    assert_ends(
        &outcome,
        &Ends::with(6, &["a file with that name is there already"]),
    );
    assert_no_secret(&outcome);
    assert_eq!(origin.requests().len(), before, "nothing is asked for");
    fixture.file("x").is(&object());
    // The run that it belongs to still finishes it.
    assert_ends(&run(&fixture, &origin, "x", &[]), &Ends::well());
    fixture.assert_holds_only(["x"]);
}

/// Nobody makes a refused file pass by renaming it.
fn refused_and_named() {
    let origin = server();
    let fixture = refused(&origin);
    fs::rename(fixture.path("x.part"), fixture.path("x")).unwrap();
    let outcome = run(&fixture, &origin, "x", &[]);
    assert_ends(
        &outcome,
        &Ends::with(6, &["a file with that name is there already"]),
    );
}

fn named_and_changed() {
    let (fixture, origin) = named();
    flip(&fixture, "x");
    let outcome = run(&fixture, &origin, "x", &[]);
    assert_ends(&outcome, &Ends::with(6, &["x is not whole"]));
    let again = run(&fixture, &origin, "x", &["--overwrite"]);
    assert_ends(&again, &Ends::well());
    fixture.file("x").is(&object());
    fixture.assert_holds_only(["x"]);
}

/// A file of the same length is not one that need not be read.
fn another_unverified() {
    let (fixture, origin) = named();
    fs::remove_file(fixture.path("x")).unwrap();
    fs::write(
        fixture.path("another"),
        vec![7; usize::try_from(LENGTH).unwrap()],
    )
    .unwrap();
    fs::rename(fixture.path("another"), fixture.path("x")).unwrap();
    let outcome = run(&fixture, &origin, "x", &["--verify", "never"]);
    assert_ends(
        &outcome,
        &Ends::with(6, &["a file with that name is there already"]),
    );
}

/// Changes four bytes in place.
fn flip(fixture: &Fixture, name: &str) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new()
        .write(true)
        .open(fixture.path(name))
        .unwrap();
    file.write_all_at(b"four", 2 * PART + 77).unwrap();
}

/// What a run left that ended cleanly, with every byte.
fn left() -> (Fixture, FaultOrigin) {
    let (fixture, origin) = named();
    fs::rename(fixture.path("x"), fixture.path("x.part")).unwrap();
    (fixture, origin)
}

fn changed_in_place() {
    let (fixture, origin) = left();
    flip(&fixture, "x.part");
    let outcome = run(&fixture, &origin, "x", &[]);
    assert_ends(&outcome, &Ends::well());
    assert_eq!(outcome.json()["damaged_parts"], 1);
    assert_eq!(outcome.json()["resumed_bytes"], LENGTH - PART);
    fixture.file("x").is(&object());
}

fn touched() {
    let (fixture, origin) = left();
    let file = fs::File::options()
        .write(true)
        .open(fixture.path("x.part"))
        .unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    let outcome = run(&fixture, &origin, "x", &[]);
    assert_ends(&outcome, &Ends::well());
    assert!(!outcome.events("verifying").is_empty(), "it is read back");
    assert_eq!(outcome.json()["resumed_bytes"], LENGTH);
    fixture.file("x").is(&object());
}
