//! Who reads standard output: nobody, somebody who goes away, somebody who takes it all.

use partwise::origin::Object;

use crate::faults::table::{Ends, Row, assert_ends, row};
use crate::faults::{LENGTH, PART};
use crate::support::fault::{FaultOrigin, Reply, Step, honest};
use crate::support::fixture::{Fixture, Invocation};

const CLOSED: &str = "can't write to standard output: it is closed, or it is /dev/null";
/// The first bytes of the object; a pipe holds far fewer than follow them.
const SOME: u64 = 1000;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = vec![
        unopened("closed", ">&-"),
        unopened("/dev/null for reading and writing", "1<>/dev/null"),
        row("standard output dropped by the shell", dropped),
    ];
    for length_is_known in [true, false] {
        rows.push(not_writable(length_is_known));
        for further in [
            Further::Nothing,
            Further::Checksum,
            Further::JsonProgress,
            Further::Verbose,
        ] {
            rows.push(gone(length_is_known, further));
        }
        rows.push(satisfied(length_is_known));
        for (is_right, code) in [(true, 0), (false, 5)] {
            rows.push(compared(length_is_known, is_right, code));
        }
    }
    rows.push(row("the reader of a list goes away", gone_from_a_list));
    rows
}

fn object() -> Object {
    Object::new(9, LENGTH)
}

fn bytes() -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(LENGTH).unwrap()];
    object().read_at(0, &mut bytes);
    bytes
}

fn checksum(is_right: bool) -> String {
    let bytes = if is_right { bytes() } else { Vec::new() };
    format!("blake3={}", blake3::hash(&bytes).to_hex())
}

fn serve(length_is_known: bool) -> FaultOrigin {
    FaultOrigin::new(move |request| match (length_is_known, request.is_head()) {
        (true, _) => honest(&object(), request),
        (false, true) => Reply::status(405),
        (false, false) => Reply::status(200)
            .body(&object(), 0..LENGTH)
            .without("content-length")
            .header("ETag", "\"v1\"")
            .then(Step::Close),
    })
}

fn get(fixture: &Fixture, origin: &FaultOrigin, further: &[&str]) -> Invocation {
    let (url, part) = (origin.url("x?signature=QUERYSECRET"), PART.to_string());
    let get = ["get", "-k", "-o", "-", "-c", "2", "-p", &part, &url];
    fixture.partwise(get.iter().chain(further))
}

fn named(name: &str, length_is_known: bool) -> String {
    let length = if length_is_known { "known" } else { "unknown" };
    format!("standard output, length {length}: {name}")
}

/// Nothing is asked of the server: it would be for nothing.
fn unopened(name: &str, redirection: &'static str) -> Row {
    row(format!("standard output {name}"), move || {
        let (origin, fixture) = (serve(true).maybe_unasked(), Fixture::new());
        let outcome = get(&fixture, &origin, &[]).redirected(redirection);
        let says = [CLOSED, "hint: ", "'> /dev/null'", "'partwise bench'"];
        assert_ends(&outcome.spawn().wait(), &Ends::with(6, &says));
        assert!(origin.requests().is_empty(), "before any request");
    })
}

fn dropped() {
    let (origin, fixture) = (serve(true), Fixture::new());
    let outcome = get(&fixture, &origin, &[]).redirected("> /dev/null");
    outcome
        .exit_code(0)
        .stderr_has("wrote 256 KiB to standard output");
}

/// The system refuses the first write. A writer that takes this for a success loses every byte.
fn not_writable(length_is_known: bool) -> Row {
    row(named("not writable", length_is_known), move || {
        let (origin, fixture) = (serve(length_is_known), Fixture::new());
        let outcome = get(&fixture, &origin, &[]).redirected("1</dev/null");
        let says = ["can't write to standard output: Bad file descriptor"];
        assert_ends(&outcome.spawn().wait(), &Ends::with(6, &says));
    })
}

/// What else a run whose reader goes away is told to do.
#[derive(Clone, Copy, Debug)]
enum Further {
    Nothing,
    Checksum,
    JsonProgress,
    Verbose,
}

fn gone(length_is_known: bool, further: Further) -> Row {
    let name = format!("the reader goes away, {further:?}");
    row(named(&name, length_is_known), move || {
        let checksum = checksum(true);
        let arguments: &[&str] = match further {
            Further::Nothing => &["--progress", "none"],
            Further::Checksum => &["--progress", "none", "--checksum", &checksum],
            Further::JsonProgress => &["--progress", "json"],
            Further::Verbose => &["-v", "--progress", "none"],
        };
        let (origin, fixture) = (serve(length_is_known), Fixture::new());
        let mut running = get(&fixture, &origin, arguments).unread().spawn();
        running.read_and_leave(SOME);
        let outcome = running.exit_code(141);
        match further {
            Further::JsonProgress => {
                assert_eq!(outcome.events("probed").len(), 1);
                for name in ["failed", "finished"] {
                    assert!(outcome.events(name).is_empty(), "{}", outcome.stderr());
                }
                assert!(!outcome.stderr().contains("partwise: "));
            }
            _ => assert_eq!(outcome.stderr(), ""),
        }
        fixture.assert_holds_only([]);
    })
}

fn gone_from_a_list() {
    let (origin, fixture) = (serve(true), Fixture::new());
    std::fs::write(fixture.path(".list"), origin.url("x")).unwrap();
    let get = ["get", "-k", "-o", "-", "--progress", "none", "-i", ".list"];
    let mut running = fixture.partwise(get).unread().spawn();
    running.read_and_leave(SOME);
    assert_eq!(running.exit_code(141).stderr(), "");
}

/// Nobody waits for the end of the command who has all the bytes.
fn satisfied(length_is_known: bool) -> Row {
    row(named("read to the last byte", length_is_known), move || {
        let (origin, fixture) = (serve(length_is_known), Fixture::new());
        let mut running = get(&fixture, &origin, &[]).unread().spawn();
        running.read_and_leave(LENGTH);
        running
            .exit_code(0)
            .stderr_has("wrote 256 KiB to standard output");
    })
}

fn compared(length_is_known: bool, is_right: bool, code: i32) -> Row {
    let name = if is_right { "right" } else { "wrong" };
    row(
        named(&format!("{name} checksum"), length_is_known),
        move || {
            let (origin, fixture) = (serve(length_is_known), Fixture::new());
            let checksum = checksum(is_right);
            let arguments = ["-v", "--checksum", &checksum];
            let outcome = get(&fixture, &origin, &arguments).exit_code(code);
            outcome.stderr_has(match is_right {
                true => "blake3 from --checksum matches",
                false => "blake3 of the bytes: expected",
            });
            assert!(outcome.stdout() == bytes(), "other bytes");
        },
    )
}
