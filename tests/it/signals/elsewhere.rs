//! Signals in other places than a transfer.

use tokio::net::TcpListener;

use super::*;
use crate::support::soon;

/// Leaves what a run before the one in question kept.
async fn stop_after_five_parts(name: &str, fixture: &Fixture, origin: &FaultOrigin) {
    let first = spawn(fixture, &origin.url("x"), &[]);
    Moment::Bytes(5 * PART).comes(origin, &first).await;
    assert_stops(name, first, Signal::TERM, 143);
}

/// A run that comes to nothing leaves what the one before it kept as it was, and says that it is
/// there.
#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_checkpoint_stays_as_it_was() {
    let troubles: [(&str, Trouble); 2] = [
        ("HEAD hangs", |request, reply| match request.nth {
            0..3 => stalling(request, reply),
            _ => silence(),
        }),
        ("HEAD waits", |request, reply| match request.nth {
            0..3 => stalling(request, reply),
            _ => come_back_later(),
        }),
    ];
    for (name, trouble) in troubles {
        let healed = Arc::new(AtomicBool::new(false));
        let origin = troubled(trouble, &healed);
        let fixture = Fixture::new();
        stop_after_five_parts(name, &fixture, &origin).await;
        let missing = fixture.missing("x");
        assert!(volume(&missing) < LENGTH, "{name}");

        for (signal, code, told) in SIGNALS {
            let before = origin.requests().len();
            let running = spawn(&fixture, &origin.url("x"), &[]);
            origin.wait_for(|log| log.len() > before).await;
            let outcome = assert_stops(name, running, signal, code);
            assert_tells_how_to_go_on(&fixture, told, &outcome);
            assert_eq!(fixture.missing("x"), missing, "{name}");
        }
        healed.store(true, Ordering::Relaxed);
        assert_resumes(name, &fixture, &origin, &missing);
    }
}

/// A run that can't write its checkpoint stops all the same, and says that the one before it is
/// what the next run finds.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_without_a_checkpoint_claims_nothing() {
    for (signal, code, told) in SIGNALS {
        let healed = Arc::new(AtomicBool::new(false));
        let origin = troubled(stalling, &healed);
        let fixture = Fixture::new();
        stop_after_five_parts("first", &fixture, &origin).await;
        let missing = fixture.missing("x");

        let in_the_way = fixture.path("x.part.ckpt.tmp");
        std::fs::create_dir(&in_the_way).unwrap();
        let second = spawn(&fixture, &origin.url("x"), &[]);
        Moment::Bytes(LENGTH - volume(&missing) + 5 * PART)
            .comes(&origin, &second)
            .await;
        let outcome = assert_stops("no checkpoint", second, signal, code);
        outcome.stderr_has("the checkpoint can't be written: cannot remove x.part.ckpt.tmp");
        outcome.stderr_has(&format!(
            "partwise: stopped by {told}: x: the last checkpoint could not be written, what the one \
             before it names is kept, see x.part.ckpt\nhint: run the same command again to resume"
        ));
        assert_eq!(fixture.missing("x"), missing, "the older checkpoint");

        std::fs::remove_dir(in_the_way).unwrap();
        healed.store(true, Ordering::Relaxed);
        let from = origin.requests().len();
        // The second run changed the file, so what the older checkpoint names is read back.
        let outcome = spawn(&fixture, &origin.url("x"), &[]).exit_code(0);
        assert!(!outcome.events("verifying").is_empty());
        assert_eq!(asked(&origin, from), union(&missing));
        fixture.file("x").is(&object());
        fixture.assert_holds_only(["x"]);
    }
}

/// What is read back when the signal comes is read back again by the next run, and not fetched.
#[tokio::test(flavor = "multi_thread")]
async fn reading_back_stops_as_well() {
    for (signal, code, told) in SIGNALS {
        let healed = Arc::new(AtomicBool::new(false));
        let origin = troubled(stalling, &healed);
        let fixture = Fixture::new();
        stop_after_five_parts("first", &fixture, &origin).await;

        let second = spawn(&fixture, &origin.url("x"), &["--verify", "always"]);
        Moment::Event("verifying").comes(&origin, &second).await;
        let outcome = assert_stops("reading back", second, signal, code);
        assert_tells_how_to_go_on(&fixture, told, &outcome);
        let (missing, from) = (fixture.missing("x"), origin.requests().len());
        healed.store(true, Ordering::Relaxed);
        spawn(&fixture, &origin.url("x"), &["--verify", "always"]).exit_code(0);
        assert_eq!(asked(&origin, from), union(&missing));
        fixture.file("x").is(&object());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_hangs_stops_as_well() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("https://{}/x", silent.local_addr().unwrap());
    for (signal, code, _) in SIGNALS {
        let fixture = Fixture::new();
        let running = spawn(&fixture, &url, &[]);
        let _connection = soon(silent.accept()).await.unwrap();
        assert_stops("handshake", running, signal, code);
        fixture.assert_holds_only([]);
    }
}

/// Not the network this time: a pipe that is full and read by nobody.
async fn writing_to_a_full_pipe(fixture: &Fixture, origin: &FaultOrigin) -> Running {
    let url = origin.url("x");
    let get = ["get", "--progress", "json", "-o", "-", "-c", "2", &url];
    let running = fixture.partwise(get).unread().spawn();
    Moment::Bytes(LENGTH).comes(origin, &running).await;
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_holds_nothing_up() {
    let origin = FaultOrigin::new(|request| honest(&object(), request));
    for (signal, code, told) in SIGNALS {
        let fixture = Fixture::new();
        let running = writing_to_a_full_pipe(&fixture, &origin).await;
        let outcome = assert_stops("full pipe", running, signal, code);
        outcome.stderr_has(&format!("partwise: stopped by {told}: "));
        fixture.assert_holds_only([]);
    }
}

/// The first one waits for the pipe as long as a clean stop may take, and says that it stopped; the
/// second does neither.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_interrupt_leaves_at_once() {
    let origin = FaultOrigin::new(|request| honest(&object(), request));
    let fixture = Fixture::new();
    let running = writing_to_a_full_pipe(&fixture, &origin).await;
    let outcome = running.signal_until_it_ends(Signal::INT);
    assert_eq!(outcome.code(), 130);
    let told = outcome.stderr();
    assert!(!told.contains("stopped by"), "it was waited for:\n{told}");
}

/// The command for a fresh URL ends with partwise, and so does what it started: standard error is
/// closed.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_kill() {
    let origin = FaultOrigin::new(|_| Reply::status(403));
    let fixture = Fixture::new();
    let command = "echo begun >&2; sleep 600 & wait";
    let running = spawn(&fixture, &origin.url("x"), &["--refresh-cmd", command]);
    running.wait_for_text("begun");
    let outcome = running.kill();
    assert_eq!(outcome.code(), 137);
}

/// A signal that is ignored when the command starts does nothing, and another one is heard.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_ignored_at_the_start_stays_ignored() {
    for (ignored, name) in [(Signal::INT, "INT"), (Signal::HUP, "HUP")] {
        let healed = Arc::new(AtomicBool::new(false));
        let origin = troubled(stalling, &healed);
        let fixture = Fixture::new();
        let url = origin.url("x");
        let get = ["get", "--progress", "json", &url];
        let mut running = fixture.partwise(get).ignoring(name).spawn();
        Moment::Event("progress").comes(&origin, &running).await;
        running.signal(ignored);
        running.signal(ignored);
        let outcome = assert_stops(name, running, Signal::TERM, 143);
        outcome.stderr_has("partwise: stopped by SIGTERM: ");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_of_a_list_stops() {
    let healed = Arc::new(AtomicBool::new(false));
    let origin = troubled(stalling, &healed);
    let (fixture, part) = (Fixture::new(), PART.to_string());
    let urls = ["a", "b", "c"].map(|name| origin.url(name));
    let get = ["get", "-j", "2", "-c", "1", "-p", &part];
    let arguments = get.iter().copied().chain(urls.iter().map(String::as_str));
    let running = fixture.partwise(arguments.clone()).spawn();
    let is_get = |request: &&Request| !request.is_head();
    origin
        .wait_for(|log| log.iter().filter(is_get).count() == 2)
        .await;
    let outcome = assert_stops("a list", running, Signal::TERM, 143);
    for name in ["a", "b"] {
        let line = format!("partwise: stopped by SIGTERM: {name}: what is there is kept");
        outcome.stderr_has(&line);
    }
    let left = ["a", "b"].map(|name| [format!("{name}.part"), format!("{name}.part.ckpt")]);
    let left: Vec<_> = left.as_flattened().iter().map(String::as_str).collect();
    assert_eq!(
        fixture.names(),
        left.iter().map(|&name| name.into()).collect()
    );
    healed.store(true, Ordering::Relaxed);
    fixture.partwise(arguments).exit_code(0);
    fixture.assert_holds_only(["a", "b", "c"]);
}
