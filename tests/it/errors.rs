//! What an error tells a program, and what neither it nor its sources tell anybody.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use partwise::origin::Object;
use partwise::{Download, DownloadBuilder, Error, ErrorKind, Remedy};

use crate::support::fault::{Certificate, FaultOrigin, Reply, Step, honest};
use crate::support::fixture::Fixture;
use crate::support::soon;

const LENGTH: u64 = 300_000;

/// The error itself and its sources, the nearest first.
fn chain(error: &Error) -> Vec<&(dyn StdError + 'static)> {
    let mut chain: Vec<&(dyn StdError + 'static)> = vec![error];
    let mut next = error.source();
    while let Some(cause) = next {
        chain.push(cause);
        next = cause.source();
    }
    chain
}

fn io_kind(error: &Error) -> Option<io::ErrorKind> {
    let chain = chain(error);
    let mut found = chain.iter().filter_map(|e| e.downcast_ref::<io::Error>());
    found.next().map(io::Error::kind)
}

async fn failure(download: DownloadBuilder) -> Error {
    let handle = download.retries(0).build().unwrap().start();
    soon(handle.finish()).await.unwrap_err()
}

fn status(status: u16) -> FaultOrigin {
    FaultOrigin::new(move |_| Reply::status(status))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_s_status_is_in_the_error() {
    for (code, kind, remedy) in [
        (404, ErrorKind::Network, Remedy::CheckUrl),
        (410, ErrorKind::Network, Remedy::CheckUrl),
        (503, ErrorKind::Network, Remedy::StartAgain),
        (401, ErrorKind::Refused, Remedy::RenewAccess),
        (403, ErrorKind::Refused, Remedy::RenewAccess),
    ] {
        let (origin, fixture) = (status(code), Fixture::new());
        let error = failure(fixture.download(origin.url("x"))).await;
        assert_eq!(error.status(), Some(code), "{error}");
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.remedy(), Some(&remedy), "{error}");
        assert!(error.source().is_some(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_system_s_error_tells_one_local_failure_from_another() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path("file"), "").unwrap();
    std::fs::create_dir(fixture.path("folder")).unwrap();
    std::os::unix::fs::symlink("loop", fixture.path("loop")).unwrap();
    let download = || fixture.download("http://127.0.0.1:9/x");
    let error = failure(download().dir(fixture.path("file/sub"))).await;
    assert_eq!(error.kind(), ErrorKind::File);
    assert_eq!(io_kind(&error), Some(io::ErrorKind::NotADirectory));
    let error = failure(download().dir(fixture.path("loop"))).await;
    assert_eq!(error.kind(), ErrorKind::File);
    assert!(io_kind(&error).is_some_and(|kind| kind != io::ErrorKind::NotADirectory));

    let error = failure(download().output("folder")).await;
    assert_eq!(error.remedy(), Some(&Remedy::OtherOutput));
    let error = failure(download().output("file")).await;
    assert_eq!(error.remedy(), Some(&Remedy::Overwrite));
    assert_eq!(io_kind(&error), None);
}

/// Every way in which a reply may break, with secrets wherever a request may have one.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_an_error_nor_in_its_sources() {
    let object = Object::new(1, LENGTH);
    let fixture = Fixture::new();
    let to_elsewhere = "http://u:TARGETSECRET@127.0.0.1:9/y?TARGETSECRET";
    let broken = object.clone();
    let origins = [
        status(404),
        status(401),
        status(503),
        FaultOrigin::new(move |_| Reply::status(302).header("Location", to_elsewhere)),
        FaultOrigin::new(|_| Reply::status(302).header("Location", "ftp://h/TARGETSECRET?")),
        FaultOrigin::new(|_| Reply::raw("no HTTP at all\r\n\r\n")),
        FaultOrigin::new(move |asked| honest(&broken, asked).cut_after(1000)),
        FaultOrigin::new(|_| {
            Reply::status(200)
                .without("Content-Length")
                .then(Step::Reset)
        }),
        FaultOrigin::builder()
            .certificate(Certificate::self_signed("127.0.0.1"))
            .start(|_| Reply::status(404))
            .maybe_unasked(),
    ];
    let mut urls: Vec<String> = origins.iter().map(|origin| origin.url("x")).collect();
    urls.push(urls[0].replacen("http:", "https:", 1));
    urls.push("http://127.0.0.1:9/x".to_owned());
    urls.push("http://no-such-host.invalid/x".to_owned());
    for url in urls {
        let url = url.replacen("://", "://user:USERSECRET@", 1) + "?signature=QUERYSECRET#SECRET";
        let download = fixture
            .download(url)
            .header("X-Key", "HEADERSECRET")
            .header("Authorization", "Custom AUTHSECRET")
            .connect_timeout(Duration::from_secs(1))
            .stall_timeout(Duration::from_secs(1))
            .fresh(true)
            .no_proxy(true);
        let error = failure(download).await;
        assert_ne!(error.kind(), ErrorKind::Usage, "{error}");
        let mut told = String::new();
        for error in chain(&error) {
            writeln!(told, "{error}\n{error:?}\n{error:#?}").unwrap();
        }
        assert!(!told.contains("SECRET"), "{told}");
    }
}

#[test]
fn an_option_that_can_t_be_used_has_a_remedy() {
    let nameless = Download::builder("http://h/").build().unwrap_err();
    assert_eq!(nameless.kind(), ErrorKind::Usage);
    assert_eq!(nameless.remedy(), Some(&Remedy::NameOutput));
    let unquoted = Download::builder("http://h/x").if_match("abc");
    let unquoted = unquoted.build().unwrap_err();
    assert_eq!(unquoted.remedy(), Some(&Remedy::QuoteEntityTag));
    assert_eq!(
        unquoted.remedy().unwrap().to_string(),
        "an entity tag includes its double quotes: `\"abc\"`"
    );
}

#[test]
fn the_command_says_why_it_failed_as_an_event_as_well() {
    let fixture = Fixture::new();
    let url = "http://127.0.0.1:9/x?SECRET";
    let outcome = fixture
        .partwise(["get", "--progress", "json", "--retries", "0", url])
        .exit_code(3);
    outcome.assert_no_secret("SECRET");
    let failed = outcome.events("failed");
    let [failed] = failed.as_slice() else {
        panic!("{failed:?}");
    };
    assert_eq!(failed["code"], 3);
    assert_eq!(failed["hint"], "run the same command again");
    let text = failed["error"].as_str().unwrap();
    assert!(text.starts_with("can't download http://127.0.0.1:9/x: "));
    outcome.stderr_has(&format!("partwise: error: {text}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_calls_a_checksum_by_its_option() {
    let object = Object::new(1, LENGTH);
    let origin = {
        let object = object.clone();
        FaultOrigin::new(move |asked| honest(&object, asked))
    };
    let fixture = Fixture::new();
    let mut bytes = vec![0; usize::try_from(LENGTH).unwrap()];
    object.read_at(0, &mut bytes);
    let digest = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &bytes);
    let checksum = format!("crc32c={digest:08x}");
    let arguments = ["get", "--json", "--progress", "json", "--checksum"];
    let url = origin.url("x");
    let outcome = fixture
        .partwise(arguments.into_iter().chain([checksum.as_str(), &url]))
        .exit_code(0);
    assert_eq!(outcome.json()["integrity"][0]["source"], "--checksum");
    let finished = outcome.events("finished");
    assert_eq!(finished[0]["integrity"][0]["source"], "--checksum");
}

/// The command words what the library says by its own options; the library doesn't know them.
#[test]
fn the_library_names_no_option_of_the_command() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let of_the_command = ["cli", "main.rs", "bench", "manual"].map(|name| root.join(name));
    let mut folders = vec![root];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            if of_the_command.contains(&path) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.extend(options_in(&path));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Lines of a file that mention a long option, other than those that run a test.
fn options_in(path: &PathBuf) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let is_option = |word: &str| {
        let word = word.trim_start_matches(|c: char| "`'\"([".contains(c));
        word.strip_prefix("--")
            .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    text.lines()
        .filter(|line| !line.contains("cargo test") && !line.contains("--exact"))
        .filter(|line| line.split([' ', '`']).any(is_option))
        .map(|line| format!("{}: {}", path.display(), line.trim()))
        .collect()
}
