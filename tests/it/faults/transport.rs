//! Connections that break, hang, drip or never come about, and servers that have enough.

mod ways;

use std::time::Duration;

use rustix::process::Signal;

use super::asked::Asked;
use super::fault::{Fault, fault};
use super::table::{Ends, Row, assert_ends, assert_no_secret, hold, row};
use super::{LENGTH, PART};
use crate::support::fault::{Certificate, Door, FaultOrigin, Reply, Step};
use crate::support::fixture::Fixture;
use partwise::origin::Object;

#[tokio::test(flavor = "multi_thread")]
async fn transport() {
    let tables = [
        breaks(),
        silences(),
        statuses(),
        crowds(),
        heads(),
        ways::trust(),
        ways::proxies(),
        ways::addresses(),
    ];
    let rows = tables.into_iter().flatten().map(Row::from);
    hold("transport", rows.chain(pauses()));
}

/// A fault in one answer, after which the range is asked for again.
fn passes(name: &'static str, reply: fn(&Asked<'_>) -> Reply) -> Fault {
    fault(name).later(reply).once()
}

fn breaks() -> Vec<Fault> {
    vec![
        passes("FIN before the head", |_| Reply::raw("").then(Step::Close)),
        passes("RST before the head", |_| Reply::raw("").then(Step::Reset)),
        passes("FIN in the head", |_| {
            Reply::raw("HTTP/1.1 206 Par").then(Step::Close)
        }),
        passes("FIN in a body", |asked| {
            asked.honest().cut_after(10_000).then(Step::Close)
        }),
        passes("RST in a body", |asked| {
            asked.honest().cut_after(10_000).then(Step::Reset)
        }),
        fault("FIN in every body")
            .later(|asked| asked.honest().cut_after(50_000).then(Step::Close)),
        fault("RST in every body")
            .option("--retries", "8")
            .later(|asked| asked.honest().cut_after(50_000).then(Step::Reset))
            .ends([0, 3], ["attempts"]),
        fault("FIN before every head")
            .later(|_| Reply::raw("").then(Step::Close))
            .fails(3, ["closed before it answered", "attempts"]),
        fault("RST before every head")
            .later(|_| Reply::raw("").then(Step::Reset))
            .fails(3, ["closed before it answered", "attempts"]),
        fault("keep-alive closed under us").serves(|asked| asked.honest().then(Step::Close)),
        fault("keep-alive reset under us").serves(|asked| {
            let reply = asked.honest();
            if asked.is_head() {
                reply.then(Step::Reset)
            } else {
                reply
            }
        }),
        fault("no keep-alive").serves(|asked| {
            asked
                .honest()
                .header("Connection", "close")
                .then(Step::Close)
        }),
    ]
}

fn silences() -> Vec<Fault> {
    let table = vec![
        passes("a stall in a body", |asked| {
            asked.honest().cut_after(10_000).then(Step::Stall)
        }),
        passes("a stall before the head", |_| {
            Reply::raw("").then(Step::Stall)
        }),
        passes("a stall in the head", |_| {
            Reply::raw("HTTP/1.1 206 Par").then(Step::Stall)
        }),
        fault("a stall before every head")
            .later(|_| Reply::raw("").then(Step::Stall))
            .fails(3, ["no byte came for 1 s"]),
        fault("nothing is ever answered")
            .serves(|_| Reply::raw("").then(Step::Stall))
            .fails(3, ["no byte came for 1 s"]),
        fault("a stall in the TLS handshake")
            .certificate(Certificate::self_signed("127.0.0.1"))
            .door(|_| Door::Silent)
            .arguments(["-k"])
            .healed_by(["-k"])
            .fails(3, ["could not connect"]),
        passes("a byte at a time", |asked| {
            let (start, end) = asked.bounds();
            let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
            asked.object.read_at(start, &mut bytes);
            let head = asked.honest().head_only();
            head.then(Step::Slowly(bytes, Duration::from_millis(200)))
        }),
        fault("heads that drip")
            .later(|_| {
                let head = b"HTTP/1.1 503 Slow\r\nContent-Length: 0\r\n\r\n";
                Reply::raw("").then(Step::Slowly(head.to_vec(), Duration::from_millis(2)))
            })
            .fails(3, ["503"]),
        fault("the first connection is never answered").door(|knock| match knock.number {
            0 => Door::Silent,
            _ => Door::Open,
        }),
    ];
    table.into_iter().map(Fault::impatient).collect()
}

/// A status in one answer, which passes, and without end, which does not.
fn status(name: &'static str, status: u16, retry_after: Option<&'static str>) -> [Fault; 2] {
    let reply = move |_: &Asked<'_>| match retry_after {
        Some(pause) => Reply::status(status).header("Retry-After", pause),
        None => Reply::status(status),
    };
    [
        fault(name).later(reply).once(),
        fault(name)
            .later(reply)
            .fails(3, [status.to_string().as_str(), "attempts"]),
    ]
}

fn statuses() -> Vec<Fault> {
    let passing = [
        status("408", 408, None),
        status("425", 425, None),
        status("429", 429, None),
        status("500", 500, None),
        status("502", 502, None),
        status("503", 503, None),
        status("504", 504, None),
        status("429 with Retry-After: 0", 429, Some("0")),
        status("503 with Retry-After: 1", 503, Some("1")),
        status(
            "503 with a date that is past",
            503,
            Some("Mon, 01 Jan 2024 00:00:00 GMT"),
        ),
        status(
            "503 with a garbled date",
            503,
            Some("Mon, 32 Jan 2024 00:00:00 GMT"),
        ),
        status("503 with a negative Retry-After", 503, Some("-1e9")),
        status("503 with no number in Retry-After", 503, Some("soon")),
    ];
    let burst = |name, code| {
        fault(name)
            .option("--retries", "8")
            .serves(move |asked| match asked.request.nth {
                2..7 => Reply::status(code),
                _ => asked.honest(),
            })
    };
    let staying = [
        fault("404 for good")
            .later(|_| Reply::status(404))
            .fails(3, ["404", "hint: check the URL; what came so far is kept"]),
        fault("404 for a reason that steers a terminal")
            .later(|_| Reply::status(404).reason("\x1b[2JNo\u{202e}"))
            .fails(3, []),
        fault("404 with a page that steers a terminal")
            .later(|_| {
                let page = "<html><title>\x1b[2JGone fishing\u{202e}</title></html>";
                Reply::status(404)
                    .text(page)
                    .header("Content-Type", "text/html")
            })
            .fails(3, ["404 Not Found: ", "Gone fishing"]),
        fault("400 with a reason in XML, in place of every range")
            .later(|_| {
                let error = "<Error><Code>InvalidArgument</Code><Message>no KEYSECRET and \
                             TOKENSECRET</Message></Error>";
                Reply::status(400)
                    .text(error)
                    .header("Content-Type", "application/xml")
            })
            .fails(3, ["400 Bad Request: InvalidArgument: no … and …"]),
        fault("503 with a body without end")
            .later(|_| {
                let reply = Reply::status(503).text(vec![b'x'; 64 << 20]);
                reply.header("Content-Type", "text/plain")
            })
            .fails(3, ["503"]),
        fault("503 with a body that stalls")
            .later(|_| {
                let reply = Reply::status(503).text("{\"message\": \"busy\"}");
                reply.cut_after(10).then(Step::Stall)
            })
            .fails(3, ["503"]),
        fault("410 for good")
            .later(|_| Reply::status(410))
            .fails(3, ["410"]),
        fault("400 for good")
            .later(|_| Reply::status(400))
            .fails(3, ["400"]),
        fault("505 for good")
            .later(|_| Reply::status(505))
            .fails(3, ["505"]),
        fault("500 from the first request on")
            .serves(|_| Reply::status(500))
            .fails(3, ["500"]),
        fault("503 from the first request on")
            .serves(|_| Reply::status(503))
            .fails(3, ["503"]),
        burst("a burst of 500", 500),
        burst("a burst of 502", 502),
        burst("a burst of 504", 504),
    ];
    passing.into_iter().flatten().chain(staying).collect()
}

/// A server that wants an absurdly long pause: it is cut, and a signal ends it.
fn pauses() -> Vec<Row> {
    [
        ("503 that asks for a century", "3153600000"),
        ("503 that asks for eternity", "99999999999999999999999999"),
        ("503 until the year 9999", "Fri, 31 Dec 9999 23:59:59 GMT"),
    ]
    .into_iter()
    .map(|(name, pause)| row(name, move || assert_pause_is_cut(pause)))
    .collect()
}

fn assert_pause_is_cut(pause: &'static str) {
    let object = Object::new(9, LENGTH);
    let origin = FaultOrigin::new(move |request| {
        let asked = Asked {
            request,
            object: &object,
            elsewhere: None,
        };
        if asked.is_later() {
            Reply::status(503).header("Retry-After", pause)
        } else {
            asked.honest()
        }
    });
    let fixture = Fixture::new();
    let (url, part) = (origin.url("x?QUERYSECRET"), PART.to_string());
    let mut running = fixture
        .partwise([
            "get",
            "-k",
            "-c",
            "2",
            "-p",
            &part,
            "--progress",
            "json",
            &url,
        ])
        .spawn();
    let mut delay = 0.0;
    running.wait_for_event(|event| {
        let is_pause = event["event"] == "retrying";
        if is_pause {
            delay = event["delay_seconds"].as_f64().unwrap();
        }
        is_pause
    });
    assert!((119.0..=120.0).contains(&delay), "a pause of {delay} s");
    running.signal(Signal::INT);
    let outcome = running.wait();
    let ends = Ends::with(130, &[]);
    assert_ends(&outcome, &ends);
    assert_no_secret(&outcome);
}

/// One connection at a time, and what becomes of the others.
fn crowds() -> Vec<Fault> {
    let crowd = |name| {
        fault(name)
            .option("--connections", "4")
            .option("--retries", "8")
    };
    let door = |others: Door| {
        move |knock: crate::support::fault::Knock| match knock.open {
            0 => Door::Open,
            _ => others,
        }
    };
    vec![
        crowd("further connections are closed").door(door(Door::Shut)),
        crowd("further connections are reset").door(door(Door::Reset)),
        crowd("further connections get 503").serves(|asked| match asked.request.open {
            0 | 1 => asked.honest(),
            _ => Reply::status(503).then(Step::Close),
        }),
        crowd("further connections get 429").serves(|asked| match asked.request.open {
            0 | 1 => asked.honest(),
            _ => Reply::status(429)
                .header("Retry-After", "0")
                .then(Step::Close),
        }),
    ]
}

fn heads() -> Vec<Fault> {
    vec![
        fault("100 first")
            .later(|asked| asked.honest().preceded_by("HTTP/1.1 100 Continue\r\n\r\n")),
        fault("102 first").later(|asked| {
            asked
                .honest()
                .preceded_by("HTTP/1.1 102 Processing\r\n\r\n")
        }),
        fault("103 first, twice").serves(|asked| {
            let hint = "HTTP/1.1 103 Early Hints\r\nLink: </s>; rel=preload\r\n\r\n";
            asked.honest().preceded_by(hint.repeat(2))
        }),
        fault("200 headers")
            .later(|asked| with_headers(asked.honest(), 200))
            .ends([0, 3], ["can't be read"]),
        fault("a header of 1 MiB")
            .later(|asked| asked.honest().header("X-Filler", "x".repeat(1 << 20)))
            .fails(3, ["can't be read"]),
        fault("a head without end")
            .later(|_| {
                Reply::raw("HTTP/1.1 206 Yes\r\nX: ").then(Step::Bytes(vec![b'x'; 16 << 20]))
            })
            .fails(3, ["can't be read"]),
    ]
}

fn with_headers(reply: Reply, count: usize) -> Reply {
    (0..count).fold(reply, |reply, number| {
        reply.add_header("X-Filler", number.to_string())
    })
}
