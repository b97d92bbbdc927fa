//! The account of a download: where its time went and what stood in its way, in the report and with
//! `-v`.

use partwise::origin::{Object, Origin};
use serde_json::Value;

use crate::support::fault::{FaultOrigin, Reply, Step, honest};
use crate::support::fixture::{Fixture, Outcome};

const LENGTH: u64 = 1 << 20;

fn get(fixture: &Fixture, url: &str, more: &str) -> Outcome {
    let arguments = format!("get -v --json -p 64K -o x {more}");
    let arguments = arguments.split_whitespace().chain([url]);
    fixture.partwise(arguments).exit_code(0)
}

fn seconds(account: &Value, name: &str) -> f64 {
    account[name]
        .as_f64()
        .unwrap_or_else(|| panic!("no {name}: {account}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_times_fit_into_each_other() {
    let origin = Origin::builder(Object::new(1, LENGTH)).rate(4 << 20);
    let origin = origin.start().await.unwrap();
    let fixture = Fixture::new();
    let ran = get(&fixture, &origin.url("x"), "-c 3");
    let report = ran.json();
    let (account, elapsed) = (&report["account"], seconds(&report, "elapsed_seconds"));
    let times = ["first_byte_seconds", "closing_seconds", "tail_seconds"];
    let [first_byte, closing, tail] = times.map(|name| seconds(account, name));
    assert!(first_byte > 0.0 && closing > 0.0, "{account}");
    assert!(
        closing <= tail && first_byte + closing <= elapsed,
        "{report}"
    );
    let transfers = seconds(account, "transfer_seconds");
    assert!(transfers > elapsed - first_byte - tail, "{report}");
    assert!(transfers <= 3.0 * elapsed, "{report}");
    let waits = ["reply_wait_seconds", "disk_wait_seconds"].map(|name| seconds(account, name));
    assert!(
        waits[0] > 0.0 && waits[0] + waits[1] <= transfers,
        "{account}"
    );
    assert!(seconds(account, "cpu_seconds") > 0.0, "{account}");
    assert_eq!(account["connections_kept"], 3);
    for name in ["refusals", "stalls", "replaced"] {
        assert_eq!(account[name], 0, "{name}");
    }
    ran.stderr_has("in the way      0 refusals, 0 stalls, 0 connections given up for crawling")
        .stderr_has(" to the first byte, ")
        .stderr_has("% waiting for replies, ")
        .stderr_has(" busy, ")
        .stderr_has("held back by    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_stalls_are_counted() {
    let object = Object::new(1, LENGTH);
    let mut ranges = 0;
    let origin = FaultOrigin::new(move |request| {
        let honest = honest(&object, request);
        if request.method != "GET" {
            return honest;
        }
        ranges += 1;
        match ranges {
            1 => honest.cut_after(10_000).then(Step::Stall),
            2 => Reply::status(503).header("Retry-After", "0"),
            _ => honest,
        }
    });
    let fixture = Fixture::new();
    let ran = get(&fixture, &origin.url("x"), "-c 1 --stall-timeout 1");
    let report = ran.json();
    assert_eq!(report["account"]["stalls"], 1, "{report}");
    assert_eq!(report["account"]["refusals"], 1, "{report}");
    assert_eq!(report["retries"], 2, "{report}");
    assert_eq!(report["bottleneck"], "server");
    ran.stderr_has("1 refusal, 1 stall, 0 connections given up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_that_another_one_stands_in_for_is_a_retry() {
    let object = Object::new(1, LENGTH);
    let mut ranges = 0;
    let origin = FaultOrigin::new(move |request| {
        ranges += u32::from(request.method == "GET");
        match (request.method.as_str(), ranges) {
            ("GET", 1..=3) => Reply::status(503).header("Retry-After", "0"),
            _ => honest(&object, request),
        }
    });
    let report = get(&Fixture::new(), &origin.url("x"), "-c 4").json();
    assert_eq!(report["retries"], 3, "{report}");
}

/// Whether or not the probe told that there are none.
#[tokio::test(flavor = "multi_thread")]
async fn without_ranges_the_bytes_come_once() {
    let origin = Origin::builder(Object::new(1, LENGTH)).without_ranges();
    let origin = origin.start().await.unwrap();
    let report = get(&Fixture::new(), &origin.url("x"), "-c 4").json();
    assert_eq!(report["fetched_bytes"], LENGTH, "{report}");
    assert_eq!(report["wasted_bytes"], 0, "{report}");
    let requests = origin.requests();
    let gets = requests.iter().filter(|request| request.method == "GET");
    assert_eq!(gets.count(), 1);
}
