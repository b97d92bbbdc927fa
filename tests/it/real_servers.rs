//! nginx, Apache, Caddy and lighttpd, each through the same five stories, and what two of them
//! store with a content coding.

use partwise::origin::Object;
use rustix::process::Signal;

use crate::support::fixture::{Fixture, Outcome};
use crate::support::servers::{Program, Server};

const PART: u64 = 256 << 10;
/// More than the sockets' buffers hold, so that a server that ends takes bytes with it.
const LENGTH: u64 = 64 << 20;
/// Slow enough that a download is under way for seconds.
const SLOW: &str = "6M";

fn old() -> Object {
    Object::cheap(LENGTH)
}

/// Of the same length, so that the validator alone tells the two apart.
fn new() -> Object {
    Object::new(2, LENGTH)
}

fn arguments<'a>(url: &'a str, rate: &'a str) -> [&'a str; 11] {
    [
        "get",
        "-c",
        "2",
        "-p",
        "256KiB",
        "--limit-rate",
        rate,
        "--progress",
        "json",
        "--json",
        url,
    ]
}

fn fast(url: &str) -> [&str; 9] {
    [
        "get",
        "-c",
        "4",
        "-p",
        "256KiB",
        "--progress",
        "json",
        "--json",
        url,
    ]
}

fn downloads(program: Program) {
    let Some(server) = Server::start(program) else {
        return;
    };
    for length in [0, 1, PART - 1, PART, 10 * PART + 1] {
        let object = Object::new(length, length);
        // A name of its own for each: lighttpd remembers a file's length for a second.
        let name = format!("x{length}");
        server.put(&name, &object, 0);
        let fixture = Fixture::new();
        let url = server.url(&name);
        let report = fixture.partwise(fast(&url)).exit_code(0).json();
        fixture.file(&name).is(&object);
        fixture.assert_holds_only([&*name]);
        assert_eq!(report["bytes"], length);
        if length > 0 {
            assert_eq!(report["validator"], "strong-etag");
        }
    }
}

fn resumes_after_a_kill(program: Program) {
    let Some(server) = Server::start(program) else {
        return;
    };
    server.put("x", &old(), 0);
    let fixture = Fixture::new();
    let url = server.url("x");
    let running = fixture.partwise(arguments(&url, SLOW)).spawn();
    running.wait_for_commit(4);
    running.kill();
    fixture.file("x").is_absent();

    let report = fixture.partwise(fast(&url)).exit_code(0).json();
    fixture.file("x").is(&old());
    fixture.assert_holds_only(["x"]);
    assert!(
        report["resumed_bytes"].as_u64() >= Some(4 * PART),
        "{report}"
    );
    let moved =
        report["resumed_bytes"].as_u64().unwrap() + report["fetched_bytes"].as_u64().unwrap();
    assert_eq!(
        moved - report["wasted_bytes"].as_u64().unwrap(),
        LENGTH,
        "{report}"
    );
}

fn starts_over_when_it_changed_between_runs(program: Program) {
    let Some(server) = Server::start(program) else {
        return;
    };
    server.put("x", &old(), 0);
    let fixture = Fixture::new();
    let url = server.url("x");
    let mut running = fixture.partwise(arguments(&url, SLOW)).spawn();
    running.wait_for_commit(1);
    running.signal(Signal::INT);
    running.exit_code(130);

    server.put("x", &new(), 1);
    let outcome = fixture.partwise(fast(&url)).exit_code(0);
    assert_eq!(outcome.events("restarted").len(), 1);
    assert_eq!(outcome.json()["resumed_bytes"], 0);
    fixture.file("x").is(&new());
    fixture.assert_holds_only(["x"]);
}

fn refuses_to_mix_when_it_changes_in_mid_run(program: Program) {
    let Some(mut server) = Server::start(program) else {
        return;
    };
    server.put("x", &old(), 0);
    let fixture = Fixture::new();
    let url = server.url("x");
    let running = fixture.partwise(arguments(&url, SLOW)).spawn();
    running.wait_for_commit(1);
    server.put("x", &new(), 1);
    // Open replies would go on with the old file: they must be asked for again.
    server.restart();
    running.exit_code(4);
    fixture.file("x").is_absent();

    fixture.partwise(fast(&url)).exit_code(0);
    fixture.file("x").is(&new());
    fixture.assert_holds_only(["x"]);
}

/// Two files of one size and one date: some servers give them one strong tag.
fn tells_two_files_of_one_date_apart(program: Program) {
    let Some(server) = Server::start(program) else {
        return;
    };
    server.put("a", &old(), 0);
    server.put("b", &new(), 0);
    server.put("c", &old(), 0);
    let (a, b, c) = (server.url("a"), server.url("b"), server.url("c"));
    for more in [&["--verify", "auto"][..], &["--verify", "always"]] {
        for (second, expected) in [(&b, new()), (&c, old())] {
            let fixture = Fixture::new();
            let mut running = fixture
                .partwise([&["-o", "a"][..], &arguments(&a, SLOW)[1..]].concat())
                .spawn();
            running.wait_for_commit(1);
            running.signal(Signal::INT);
            running.exit_code(130);
            let again = [&["-o", "a"][..], more, &fast(second)[1..]].concat();
            let outcome = fixture.partwise(again).exit_code(0);
            fixture.file("a").is(&expected);
            fixture.assert_holds_only(["a"]);
            // The inode is in lighttpd's tags.
            let is_same = second == &c && !matches!(program, Program::Lighttpd);
            assert_eq!(outcome.events("restarted").is_empty(), is_same);
            assert_eq!(outcome.json()["resumed_bytes"].as_u64() > Some(0), is_same);
        }
    }
    let fixture = Fixture::new();
    let mirrored = [&["--mirror", &b][..], &fast(&a)[1..]].concat();
    let outcome = fixture.partwise(mirrored).exit_code(0);
    fixture.file("a").is(&old());
    assert!(
        outcome.stderr().contains("is left out"),
        "{}",
        outcome.stderr()
    );
}

/// The one warning of a download of an object that is stored so.
#[track_caller]
fn assert_told_of_coding(outcome: &Outcome) {
    let told = outcome.events("warning");
    let told = told.iter().filter_map(|event| event["message"].as_str());
    let codings: Vec<&str> = told
        .filter(|text| text.contains("content coding"))
        .collect();
    assert_eq!(codings.len(), 1, "{codings:?}");
    assert!(codings[0].contains("`gzip`"), "{codings:?}");
}

#[test]
fn nginx_gives_a_compressed_file_as_it_is_stored() {
    let Some(server) = Server::start(Program::Nginx) else {
        return;
    };
    let object = Object::new(1, 10 * PART + 1);
    server.put("x.gz", &object, 0);
    let fixture = Fixture::new();
    let outcome = fixture.partwise(fast(&server.url("x"))).exit_code(0);
    assert_told_of_coding(&outcome);
    fixture.file("x").is(&object);
    fixture.assert_holds_only(["x"]);
}

#[test]
fn apache_gives_a_compressed_file_as_it_is_stored_and_resumes_it() {
    let Some(server) = Server::start(Program::Apache) else {
        return;
    };
    server.put("x.tgz", &old(), 0);
    let fixture = Fixture::new();
    let url = server.url("x.tgz");
    let mut running = fixture.partwise(arguments(&url, SLOW)).spawn();
    running.wait_for_commit(1);
    running.signal(Signal::INT);
    running.exit_code(130);

    let outcome = fixture.partwise(fast(&url)).exit_code(0);
    assert_told_of_coding(&outcome);
    assert!(outcome.json()["resumed_bytes"].as_u64() >= Some(PART));
    fixture.file("x.tgz").is(&old());
    fixture.assert_holds_only(["x.tgz"]);
}

macro_rules! stories {
    ($($module:ident: $program:expr;)*) => {$(
        mod $module {
            use super::*;

            #[test]
            fn downloads() {
                super::downloads($program);
            }

            #[test]
            fn resumes_after_a_kill() {
                super::resumes_after_a_kill($program);
            }

            #[test]
            fn starts_over_when_it_changed_between_runs() {
                super::starts_over_when_it_changed_between_runs($program);
            }

            #[test]
            fn tells_two_files_of_one_date_apart() {
                super::tells_two_files_of_one_date_apart($program);
            }

            #[test]
            fn refuses_to_mix_when_it_changes_in_mid_run() {
                super::refuses_to_mix_when_it_changes_in_mid_run($program);
            }
        }
    )*};
}

stories! {
    nginx: Program::Nginx;
    apache: Program::Apache;
    caddy: Program::Caddy;
    lighttpd: Program::Lighttpd;
}
