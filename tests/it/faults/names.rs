//! Names that lead elsewhere, and what a server says to steer a terminal.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use partwise::origin::Object;

use super::LENGTH;
use super::fault::{Fault, fault};
use super::table::{Ends, Row, assert_ends, assert_no_secret, hold, row};
use crate::support::fault::{FaultOrigin, Reply, honest};
use crate::support::fixture::{Fixture, Outcome};

/// C1's CSI and a right-to-left override. ESC is more than any header may have.
const STEERING: &str = "\u{9b}2J\u{202e}gpj";

#[tokio::test(flavor = "multi_thread")]
async fn names() {
    let tables = [told(), told_in_mid_run()];
    let rows = tables.into_iter().flatten().map(Row::from);
    let others = [harmless(), hidden(), long(), none(), given()];
    hold(
        "names",
        rows.chain(others.into_iter().flatten())
            .chain(dispositions()),
    );
}

/// The last segment of a URL, and the file that it makes.
fn named(segment: impl Into<String>, file: impl Into<String>) -> Row {
    let (segment, file) = (segment.into(), file.into());
    let shown: String = segment.chars().take(40).collect();
    row(format!("/{shown}"), move || {
        let (fixture, outcome) = get(&segment, &[], |reply| reply);
        assert_ends(&outcome, &Ends::well());
        assert_stands_alone(&fixture, &file);
    })
}

/// Downloads into the folder `a/b`, so that there is something above it.
fn get(name: &str, more: &[&str], change: fn(Reply) -> Reply) -> (Fixture, Outcome) {
    let object = Object::new(9, LENGTH);
    let origin = FaultOrigin::new(move |request| change(honest(&object, request)));
    // What is wrong may be noticed before anything is asked.
    let origin = origin.maybe_unasked();
    let fixture = Fixture::new();
    let url = format!("{}?signature=QUERYSECRET", origin.url(name));
    let mut arguments = vec!["get", "-k", "-v", "-d", "a/b"];
    arguments.extend(more);
    arguments.push(&url);
    let outcome = fixture.partwise(arguments).spawn().wait();
    assert_no_secret(&outcome);
    (fixture, outcome)
}

/// Holds that this file is all that there is below the fixture.
#[track_caller]
fn assert_stands_alone(fixture: &Fixture, file: &str) {
    let found = files(fixture.folder());
    assert_eq!(found, BTreeSet::from([format!("a/b/{file}")]));
    fixture
        .file(&format!("a/b/{file}"))
        .is(&Object::new(9, LENGTH));
}

/// Every file below a folder, as a path from there.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            let below = files(&entry.path());
            found.extend(below.into_iter().map(|below| format!("{name}/{below}")));
        } else {
            found.insert(name);
        }
    }
    found
}

/// Names that lead nowhere else, whatever they try.
fn harmless() -> Vec<Row> {
    vec![
        named("../../../evil", "evil"),
        named("..%2f..%2fevil", "evil"),
        named("%2e%2e%2f%2e%2e%2fevil", "evil"),
        named("%2e%2e/%2e%2e/evil", "evil"),
        named("%2fetc%2fpasswd", "passwd"),
        named("..%5c..%5cevil", "evil"),
        named("..\\..\\evil", "evil"),
        named("C:evil", "C_evil"),
        named("C:%5cevil", "evil"),
        named("C%3aevil", "C_evil"),
        named("x:stream", "x_stream"),
        named(".bashrc", "_bashrc"),
        named("%2ebashrc", "_bashrc"),
        named("..evil", "_.evil"),
        named("-rf", "-rf"),
        named("~root", "~root"),
        named("%24HOME", "$HOME"),
        named("a%2500b", "a%00b"),
        named("caf%c3%a9", "caf\u{e9}"),
        named("caf%e9", "caf\u{fffd}"),
    ]
}

/// Names that hide something.
fn hidden() -> Vec<Row> {
    vec![
        named("a%00b", "a_b"),
        named("a%0ab", "a_b"),
        named("a%1b%5b2Jb", "a_[2Jb"),
        named("a%c2%9b2Jb", "a_2Jb"),
        named("a%7fb", "a_b"),
        named("exe%e2%80%aegpj.txt", "exe_gpj.txt"),
        named("%e2%81%a6x%e2%81%a9", "_x_"),
        named("%20x%20", "x"),
    ]
}

fn long() -> Vec<Row> {
    vec![
        named("x".repeat(300), "x".repeat(240)),
        named("%c3%a9".repeat(150), "\u{e9}".repeat(120)),
        named(
            format!("x{}", "%c3%a9".repeat(150)),
            format!("x{}", "\u{e9}".repeat(119)),
        ),
        named("%1b".repeat(300), "_".repeat(240)),
        named(
            format!("{}.iso", "x".repeat(240)),
            format!("{}.iso", "x".repeat(236)),
        ),
        named(
            format!("{}.Tar.gz", "%c3%a9".repeat(150)),
            format!("{}.Tar.gz", "\u{e9}".repeat(116)),
        ),
        named(
            format!("{}.{}", "x".repeat(200), "y".repeat(100)),
            format!("{}.{}", "x".repeat(200), "y".repeat(39)),
        ),
    ]
}

/// A URL without a name that a file could have.
fn none() -> Vec<Row> {
    let unnamed = |segment: &'static str| {
        row(format!("no name in /{segment}"), move || {
            let (fixture, outcome) = get(segment, &[], |reply| reply);
            assert_ends(&outcome, &Ends::with(2, &["hint: "]));
            assert_eq!(files(fixture.folder()), BTreeSet::new());
        })
    };
    [
        "",
        "folder/",
        "..",
        "%2e%2e",
        "...",
        "%2f",
        "%2e%2e%2f",
        "%5c",
        "%20",
    ]
    .map(unnamed)
    .into()
}

/// Names on the command line.
fn given() -> Vec<Row> {
    let refused = |what: &'static str, code: i32, name: String| {
        row(format!("-o with {what}"), move || {
            let (fixture, outcome) = get("x", &["-o", &name], |reply| reply);
            assert_ends(&outcome, &Ends::with(code, &[]));
            assert_eq!(files(fixture.folder()), BTreeSet::new());
        })
    };
    vec![
        refused("no name", 2, String::new()),
        refused("a folder above", 2, "..".to_owned()),
        refused("300 bytes", 2, "x".repeat(300)),
        refused("a slash at its end", 2, "folder/".to_owned()),
    ]
}

/// `Content-Disposition` is not trusted.
fn dispositions() -> Vec<Row> {
    let disposition = |name: &'static str, change: fn(Reply) -> Reply| {
        row(format!("Content-Disposition: {name}"), move || {
            let (fixture, outcome) = get("x", &[], change);
            assert_ends(&outcome, &Ends::well());
            assert_stands_alone(&fixture, "x");
        })
    };
    vec![
        disposition("another name", |reply| {
            reply.header("Content-Disposition", "attachment; filename=\"evil\"")
        }),
        disposition("a name above", |reply| {
            reply.header("Content-Disposition", "attachment; filename=\"../../evil\"")
        }),
        disposition("an encoded name above", |reply| {
            reply.header(
                "Content-Disposition",
                "attachment; filename*=UTF-8''..%2f..%2fevil",
            )
        }),
        disposition("a name that steers", |reply| {
            reply.header(
                "Content-Disposition",
                format!("attachment; filename=\"{STEERING}\""),
            )
        }),
    ]
}

/// This header of every answer steers a terminal.
fn says(name: &'static str, header: &'static str, before: &'static str) -> Fault {
    fault(name).serves(move |asked| asked.honest().header(header, format!("{before}{STEERING}")))
}

/// What a server says that steers a terminal, from the first answer on.
fn told() -> Vec<Fault> {
    let either = |fault: Fault| fault.ends([0, 3], []);
    vec![
        either(says("an entity tag that steers", "ETag", "\"")),
        either(says("a date that steers", "Last-Modified", "")),
        either(says("a type that steers", "Content-Type", "text/")),
        either(says("a server's name that steers", "Server", "")),
        either(says("a coding that steers", "Content-Encoding", "")),
        either(says("a unit that steers", "Accept-Ranges", "")),
        either(says("a digest that steers", "Repr-Digest", "sha-256=")),
        fault("a Location that steers")
            .serves(|_| Reply::status(302).header("Location", format!("file:{STEERING}")))
            .fails(3, []),
        fault("a Location's path that steers")
            .serves(|_| Reply::status(302).header("Location", "/%1b[2J\u{9b}\u{202e}"))
            .fails(3, []),
        fault("a realm that steers")
            .serves(|_| {
                Reply::status(401).header("WWW-Authenticate", format!("Basic realm=\"{STEERING}\""))
            })
            .ends([3, 7], []),
        fault("an ESC in a header").serves(|asked| asked.honest().header("Server", "\u{1b}[2J")),
        fault("a header's name that steers").serves(|asked| asked.honest().header(STEERING, "x")),
        fault("a reason that steers")
            .serves(|_| Reply::status(404).reason("\u{202e}oN"))
            .fails(3, []),
        fault("a status line that steers")
            .serves(|_| Reply::raw(format!("\u{1b}[2J{STEERING}\r\n\r\n")))
            .fails(3, []),
    ]
}

/// The same in answers to ranges.
fn told_in_mid_run() -> Vec<Fault> {
    vec![
        fault("a range that steers")
            .later(|asked| {
                asked
                    .honest()
                    .header("Content-Range", format!("bytes {STEERING}"))
            })
            .fails(3, ["ontent-"]),
        fault("a unit of ranges that steers, in ASCII")
            .later(|asked| asked.honest().header("Content-Range", "\u{7f}bytes\t0-1/2"))
            .fails(3, []),
        fault("a length that steers")
            .later(|asked| asked.honest().header("Content-Length", STEERING))
            .fails(3, []),
        fault("a coding that steers, of a part")
            .later(|asked| asked.honest().header("Content-Encoding", STEERING))
            .fails(3, ["found `\\u{9b}2j\\u{202e}gpj`"]),
        fault("a tag that steers, of a part")
            .later(|asked| asked.honest().header("ETag", format!("\"{STEERING}\"")))
            .ends([0, 3, 4], []),
        fault("a redirect that steers, of a part")
            .later(|_| Reply::status(302).header("Location", format!("{STEERING}:x")))
            .fails(3, []),
        fault("a page that steers")
            .later(|_| {
                Reply::status(200)
                    .header("Content-Type", "text/html")
                    .text(format!("<title>{STEERING}</title>"))
            })
            .fails(3, ["HTML"]),
        fault("a trailer that steers")
            .later(|asked| asked.honest().chunked().header("Trailer", STEERING)),
    ]
}
