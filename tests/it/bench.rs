//! `partwise bench`, against servers of this process and its own.

use partwise::origin::{Object, Origin};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::fixture::Fixture;

const MIB: u64 = 1 << 20;

fn sweep<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let sweep = ["bench", "-c", "1,3", "-p", "256K", "--runs", "2"];
    sweep.into_iter().chain(more.iter().copied()).collect()
}

fn assert_measured(results: &Value, sinks: &[&str]) {
    let cells = results["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 2 * sinks.len());
    for (number, cell) in cells.iter().enumerate() {
        assert_eq!(cell["sink"], sinks[number / 2]);
        assert_eq!(cell["connections"], [1, 3][number % 2]);
        assert_eq!(cell["part_size"], 256 << 10);
        let rate = &cell["bytes_per_second"];
        assert_eq!(rate["runs"], 2);
        assert!(rate["mean"].as_f64() > Some(0.0), "{cell}");
        assert!(rate["standard_deviation"].as_f64() >= Some(0.0), "{cell}");
        assert!(cell["first_byte_seconds"]["mean"].as_f64() > Some(0.0));
        let spread = &cell["connection_bytes_per_second"];
        assert!(spread["p5"].as_f64() <= spread["p95"].as_f64(), "{cell}");
        assert!(spread["p50"].as_f64() > Some(1000.0), "{cell}");
    }
    let advice = &results["advice"];
    let known = ["network", "server", "disk", "cpu"];
    assert!(known.contains(&advice["verdict"].as_str().unwrap()));
    assert!(advice["recommendation"].as_str().unwrap().contains("-c "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_keeps_to_its_traffic_and_leaves_nothing() {
    let origin = Origin::start(Object::cheap(64 * MIB)).await.unwrap();
    let fixture = Fixture::new();
    let url = origin.url("x?signature=SECRET");
    let options = ["--traffic", "64M", "--json", "--html", "page.html", &url];
    let outcome = fixture.partwise(sweep(&options)).exit_code(0);

    let results = outcome.json();
    assert_measured(&results, &["null", "file"]);
    assert!(results["fetched_bytes"].as_u64() <= Some(64 * MIB));
    let bytes = results["bytes_per_run"].as_u64().unwrap();
    assert!(origin.served_bytes() >= 9 * bytes, "a warm-up and 8 runs");
    outcome.stderr_has("this fetches at most 64.0 MiB from 127.0.0.1");
    outcome.assert_no_secret("SECRET");
    fixture.assert_holds_only(["page.html"]);
    let page = std::fs::read_to_string(fixture.path("page.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("src="));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_url_it_serves_itself() {
    let fixture = Fixture::new();
    let options = ["--traffic", "32M", "--sinks", "null,memory", "--json"];
    let outcome = fixture.partwise(sweep(&options)).exit_code(0);
    assert_measured(&outcome.json(), &["null", "memory"]);
    fixture.assert_holds_only([]);

    let options = ["--traffic", "32M", "--sinks", "null", "--markdown", "-q"];
    let outcome = fixture.partwise(sweep(&options)).exit_code(0);
    assert_eq!(outcome.stderr(), "");
    let text = String::from_utf8(outcome.stdout().to_vec()).unwrap();
    assert!(text.starts_with("| connections |"), "{text}");
    assert!(text.contains("recommended: -c "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_it_with_what_there_is() {
    let origin = Origin::builder(Object::cheap(64 * MIB)).hold_after(8 * MIB);
    let origin = origin.start().await.unwrap();
    let fixture = Fixture::new();
    let url = origin.url("x");
    let options = ["--traffic", "32M", "--json", &url];
    let mut running = fixture.partwise(sweep(&options)).spawn();
    origin.wait_for_bytes(8 * MIB).await;
    running.signal(Signal::INT);
    let results = running.exit_code(130).json();
    assert_eq!(results["ended_early"], "it was stopped");
    fixture.assert_holds_only([]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_while_a_file_is_written_leaves_nothing_of_it() {
    let origin = Origin::start(Object::cheap(4 * MIB)).await.unwrap();
    // The warm-up and two runs come through; the third one hangs.
    origin.hold_after(13 * MIB);
    let fixture = Fixture::new();
    let url = origin.url("x");
    let options = "bench -c 1 -p 256K --runs 3 --sinks file --traffic 32M --json";
    let options = options.split(' ').chain([url.as_str()]);
    let mut running = fixture.partwise(options).spawn();
    origin.wait_for_bytes(13 * MIB).await;
    running.signal(Signal::INT);
    let results = running.exit_code(130).json();
    assert_eq!(results["cells"][0]["bytes_per_second"]["runs"], 2);
    fixture.assert_holds_only([]);
}

#[test]
fn a_wrong_command_line_is_2() {
    let fixture = Fixture::new();
    for (arguments, why) in [
        ("bench -c 0", "invalid value '0'"),
        ("bench --sinks tape", "invalid value 'tape'"),
        ("bench --runs 0", "invalid value '0'"),
        ("bench --json --markdown", "cannot be used with"),
        ("bench -p 0 -c 1 --sinks null", "--part-sizes"),
        ("bench ftp://127.0.0.1/a", "ftp"),
        ("bench http://127.0.0.1/a http://127.0.0.1/b", "unexpected"),
    ] {
        let outcome = fixture.partwise(arguments.split(' ')).exit_code(2);
        outcome.stderr_has("partwise: error: ").stderr_has(why);
        assert_eq!(outcome.stdout(), b"", "{arguments}");
    }
    fixture.assert_holds_only([]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_ends_with_the_code_that_get_has() {
    let fixture = Fixture::new();
    let origin = Origin::start(Object::cheap(64 * MIB)).await.unwrap();
    let url = origin.url("x");
    let options = ["--traffic", "32M", "--html", "no/such/page.html", &url];
    let outcome = fixture.partwise(sweep(&options)).exit_code(6);
    outcome.stderr_has("write no/such/page.html");
    let options = [
        "--traffic",
        "32M",
        "--dir",
        "no/such",
        "--html",
        "page.html",
        &url,
    ];
    let outcome = fixture.partwise(sweep(&options)).exit_code(6);
    outcome.stderr_has("temporary folder");
    fixture.assert_holds_only([]);
    assert_eq!(origin.served_bytes(), 0);

    let origin = Origin::builder(Object::cheap(MIB)).without_length();
    let origin = origin.start().await.unwrap();
    let outcome = fixture.partwise(sweep(&["--traffic", "32M", &origin.url("x")]));
    let outcome = outcome.exit_code(3);
    outcome.stderr_has("does not tell the length");
    fixture.assert_holds_only([]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_measured_is_said() {
    let origin = Origin::builder(Object::cheap(64 * MIB)).without_ranges();
    let origin = origin
        .header("Accept-Ranges", "none")
        .start()
        .await
        .unwrap();
    let fixture = Fixture::new();
    let outcome = fixture
        .partwise(sweep(&["--traffic", "32M", &origin.url("x")]))
        .exit_code(3);
    outcome.stderr_has("the server has no byte ranges");
    let outcome = fixture.partwise(sweep(&["--traffic", "1M"])).exit_code(2);
    outcome.stderr_has("expected at least");
    fixture.assert_holds_only([]);
}
