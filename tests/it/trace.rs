//! What `-vv` and `PARTWISE_LOG` show of the engine.

use partwise::origin::{Object, Origin};

use crate::support::fixture::{Fixture, Invocation};

const PART: u64 = 64 << 10;

fn download(fixture: &Fixture, origin: &Origin, option: &str) -> Invocation {
    let url = origin.url("x?signature=QUERYSECRET");
    let url = url.replacen("://", "://me:USERSECRET@", 1);
    let (part, header) = (PART.to_string(), "X-Key: HEADERSECRET");
    fixture.partwise(["get", "-p", &part, "-H", header, option, &url])
}

async fn origin() -> Origin {
    Origin::start(Object::new(3, 4 * PART)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_is_a_span_and_none_shows_a_secret() {
    let (fixture, origin) = (Fixture::new(), origin().await);
    let outcome = download(&fixture, &origin, "-vv").exit_code(0);
    for span in [
        "download{",
        "probe{",
        "lease{",
        "attempt{",
        "commit{",
        "publish{",
    ] {
        outcome.stderr_has(span);
    }
    for field in [
        "range=",
        "server=http://127.0.0.1:",
        "status=206",
        "attempt=1",
    ] {
        outcome.stderr_has(field);
    }
    outcome.assert_no_secret("SECRET");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_variable_sets_the_level() {
    let (fixture, origin) = (Fixture::new(), origin().await);
    let quiet = download(&fixture, &origin, "-vv").env("PARTWISE_LOG", "off");
    let outcome = quiet.exit_code(0);
    assert!(
        !outcome.stderr().contains("download{"),
        "{}",
        outcome.stderr()
    );
    std::fs::remove_file(fixture.path("x")).unwrap();
    let traced = download(&fixture, &origin, "-v").env("PARTWISE_LOG", "trace");
    let outcome = traced.exit_code(0);
    outcome.stderr_has("reply method=GET");
    outcome.assert_no_secret("SECRET");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_that_is_none_is_a_wrong_command_line() {
    let fixture = Fixture::new();
    let command = fixture.partwise(["get", "http://127.0.0.1:9/x"]);
    let outcome = command.env("PARTWISE_LOG", "loud").exit_code(2);
    outcome.stderr_has(
        "PARTWISE_LOG: expected `off`, `error`, `warn`, `info`, `debug` or `trace`, found `loud`",
    );
}
