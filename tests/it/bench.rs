//! `partwise bench`: what it measures, what it prints, how it ends, and that it keeps to its traffic.

use partwise::origin::{Object, Origin};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::fixture::Fixture;

const MIB: u64 = 1 << 20;

/// Of one cell, that its figures are there and agree with each other.
#[track_caller]
fn assert_measured(cell: &Value, runs: u64) {
    let number = |of: &str, field: &str| cell[of][field].as_f64().unwrap_or(-1.0);
    for of in [
        "bytes_per_second",
        "first_byte_seconds",
        "tail_seconds",
        "cpu_seconds_per_gib",
    ] {
        assert_eq!(cell[of]["runs"].as_u64(), Some(runs), "{of}: {cell}");
        let (min, mean, max) = (number(of, "min"), number(of, "mean"), number(of, "max"));
        assert!(
            0.0 <= min && min <= mean * 1.000_001 && mean <= max * 1.000_001,
            "{of}: {cell}"
        );
    }
    assert!(number("bytes_per_second", "min") > 0.0, "{cell}");
    for of in ["connection_bytes_per_second", "request_first_byte_seconds"] {
        assert!(number(of, "count") >= 1.0, "{of}: {cell}");
        let ordered = ["p5", "p25", "p50", "p75", "p95", "p99"].map(|field| number(of, field));
        assert!(ordered.is_sorted() && ordered[0] > 0.0, "{of}: {cell}");
    }
    let each = cell["each_bytes_per_second"].as_array().unwrap();
    assert_eq!(each.len() as u64, runs, "{cell}");
}

#[test]
fn without_a_url_it_needs_nothing() {
    let fixture = Fixture::new();
    let arguments = "bench --json --traffic 160M --runs 2 -c 1,3 -p 256K,auto";
    let ran = fixture.partwise(arguments.split(' ')).exit_code(0);
    ran.stderr_has("this fetches at most 160 MiB from an embedded server on this machine")
        .stderr_has("24 of 24 runs");
    let found = ran.json();
    let cells = found["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 3 * 2 * 2);
    for cell in cells {
        assert_measured(cell, 2);
    }
    for sink in ["null", "memory", "file"] {
        let of_sink = cells.iter().filter(|cell| cell["sink"] == sink);
        assert_eq!(of_sink.count(), 4, "{sink}");
    }
    let advice = &found["advice"];
    let verdicts = ["network", "server", "disk", "cpu"];
    assert!(
        verdicts.iter().any(|known| advice["verdict"] == *known),
        "{advice}"
    );
    assert_eq!(advice["sink"], "file");
    let recommended = advice["recommendation"].as_str().unwrap();
    assert!(recommended.starts_with("-c "), "{recommended}");
    assert_eq!(found["ended_early"], Value::Null);
    assert!(found["fetched_bytes"].as_u64().unwrap() <= 160 * MIB);
    fixture.assert_holds_only([]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_object_is_fetched_as_often_as_announced() {
    let origin = Origin::start(Object::new(7, 3 * MIB)).await.unwrap();
    let fixture = Fixture::new();
    let url = format!("{}?signature=secret", origin.url("v.mp4"));
    let arguments =
        "bench --markdown --html page.html --traffic 80M --runs 3 -c 2,4 -p 1M --sinks file,null";
    let ran = fixture
        .partwise(arguments.split(' ').chain([url.as_str()]))
        .exit_code(0);
    ran.stderr_has(&format!("at most 80.0 MiB from {}", origin.address()))
        .assert_no_secret("secret");
    // The warm-up and 2 × 2 × 3 runs, each of the whole object, which is smaller than a run may be.
    assert!(origin.served_bytes() >= 13 * 3 * MIB);
    let told = String::from_utf8(ran.stdout().to_vec()).unwrap();
    let rows: Vec<_> = told.lines().filter(|line| line.starts_with("| ")).collect();
    assert_eq!(rows.len(), 1 + 4, "{told}");
    assert!(told.contains("\nrecommended: -c "), "{told}");
    assert!(told.contains("\nheld back by: "), "{told}");
    let page = std::fs::read_to_string(fixture.path("page.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(page.matches("<svg").count() >= 4 && !page.contains("<script"));
    fixture.assert_holds_only(["page.html"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_what_one_reads() {
    let origin = Origin::start(Object::new(7, 2 * MIB)).await.unwrap();
    let fixture = Fixture::new();
    let arguments = "bench -q --traffic 9M --runs 1 -c 1,2 -p 512K --sinks null --writer pwrite";
    let ran = fixture
        .partwise(arguments.split(' ').chain([origin.url("a").as_str()]))
        .exit_code(0);
    assert_eq!(ran.stderr(), "");
    let told = String::from_utf8(ran.stdout().to_vec()).unwrap();
    let lines: Vec<_> = told.lines().collect();
    assert!(
        lines[0].contains("connections") && lines[0].contains("throughput"),
        "{told}"
    );
    assert!(lines[1].trim_start().starts_with("1  ") && lines[2].trim_start().starts_with("2  "));
    assert!(lines[3].starts_with("recommended: -c "), "{told}");
    assert!(lines[4].starts_with("held back by: "), "{told}");
    fixture.assert_holds_only([]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_before_it_fetches_more_than_was_allowed() {
    let origin = Origin::start(Object::new(7, 8 * MIB)).await.unwrap();
    let fixture = Fixture::new();
    let bench = |traffic: &str| {
        let arguments = "bench --json --runs 4 -c 4 -p 64K --sinks null --traffic";
        let url = origin.url("a");
        fixture.partwise(arguments.split(' ').chain([traffic, url.as_str()]))
    };
    for traffic in [6, 20] {
        let found = bench(&format!("{traffic}M")).exit_code(0).json();
        assert!(
            found["bytes_per_run"].as_u64().unwrap() * 5 <= traffic * MIB,
            "{found}"
        );
        // Reads that are under way when a request is given up may come on top of the last run.
        assert!(
            found["fetched_bytes"].as_u64().unwrap() <= (traffic + 1) * MIB,
            "{found}"
        );
    }
}

#[test]
fn a_wrong_command_line_is_2() {
    let fixture = Fixture::new();
    for (arguments, why) in [
        ("bench --traffic 5M", "expected at least"),
        ("bench -c 0", "invalid value '0'"),
        ("bench -c", "a value is required"),
        ("bench --sinks tape", "invalid value 'tape'"),
        ("bench --runs 0", "invalid value '0'"),
        ("bench --json --markdown", "cannot be used with"),
        ("bench -p 0 --traffic 64M -c 1 --sinks null", "--part-sizes"),
        ("bench ftp://127.0.0.1/a", "ftp"),
        (
            "bench http://127.0.0.1/a http://127.0.0.1/b",
            "unexpected argument",
        ),
    ] {
        let ran = fixture.partwise(arguments.split(' ')).exit_code(2);
        ran.stderr_has("partwise: error: ").stderr_has(why);
        assert_eq!(ran.stdout(), b"", "{arguments}");
    }
    fixture.assert_holds_only([]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_has_the_code_that_get_has() {
    let builder = || Origin::builder(Object::new(7, 2 * MIB));
    let fixture = Fixture::new();
    let bench = |url: String, more: &str| {
        let arguments = format!("bench --traffic 9M --runs 1 -c 2 -p 512K --sinks null {more}");
        let arguments: Vec<_> = arguments.split_whitespace().map(str::to_owned).collect();
        fixture.partwise(arguments.into_iter().chain([url]))
    };
    let whole = builder().without_ranges().header("accept-ranges", "none");
    let whole = whole.start().await.unwrap();
    bench(whole.url("a"), "")
        .exit_code(3)
        .stderr_has("no byte ranges");
    let endless = builder().without_length().start().await.unwrap();
    bench(endless.url("a"), "")
        .exit_code(3)
        .stderr_has("does not tell the length");
    let origin = builder().start().await.unwrap();
    bench(origin.url("a"), "--html no/such/page.html")
        .exit_code(6)
        .stderr_has("write no/such/page.html");
    bench(origin.url("a"), "--sinks file --dir no/such")
        .exit_code(6)
        .stderr_has("temporary folder");
    assert_eq!(origin.served_bytes(), 0);
    fixture.assert_holds_only([]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_it_with_what_was_measured() {
    let origin = Origin::start(Object::new(7, 2 * MIB)).await.unwrap();
    // The warm-up and two runs come through; the third one hangs.
    origin.hold_after(7 * MIB);
    let fixture = Fixture::new();
    let arguments = "bench --json --traffic 64M --runs 3 -c 1 -p 512K --sinks file";
    let mut running = fixture
        .partwise(arguments.split(' ').chain([origin.url("a").as_str()]))
        .spawn();
    origin.wait_for_bytes(7 * MIB).await;
    running.signal(Signal::INT);
    let found = running.exit_code(130).json();
    assert_measured(&found["cells"][0], 2);
    assert_eq!(found["ended_early"], "it was stopped");
    fixture.assert_holds_only([]);
}
