use futures::FutureExt;
use reqwest::StatusCode;

use super::*;
use crate::engine::control::events::Subscription;
use crate::http::testing;

const SECOND: Duration = Duration::from_secs(1);

fn patience(retries: u32, wait_online: u64) -> Patience {
    let limits = Limits {
        retries,
        wait_online: SECOND * u32::try_from(wait_online).unwrap(),
    };
    let client = testing::client();
    let patience = Patience::new(
        limits,
        client,
        Arc::new(Metrics::start()),
        Arc::new(EventBus::default()),
    );
    patience.answered(Duration::from_millis(40));
    patience
}

fn error(kind: HttpErrorKind) -> HttpError {
    HttpError::scripted(kind, None)
}

/// Fails once, and waits until the next attempt may begin. Returns whether there is one.
async fn fail(patience: &Patience, kind: HttpErrorKind, failures: &mut Failures) -> bool {
    let turn = patience.turn().await;
    let error = error(kind);
    match patience.judge(turn, &error, || failures.add(Instant::now())) {
        Next::Again(pause) => {
            patience.pause(0, &error, pause).await;
            true
        }
        Next::GiveUp { .. } => false,
    }
}

fn told(events: &mut Subscription) -> Vec<Event> {
    std::iter::from_fn(|| std::future::poll_fn(|cx| events.poll_next(cx)).now_or_never())
        .flatten()
        .collect()
}

#[tokio::test(start_paused = true)]
async fn what_fails_without_a_network_does_not_count() {
    let patience = patience(2, 600);
    let mut failures = Failures::none(Instant::now());
    for _ in 0..300 {
        assert!(fail(&patience, HttpErrorKind::Unreachable, &mut failures).await);
    }
    assert_eq!(failures.count, 0);
    // The server is asked as often as after any other failure.
    let bad = HttpErrorKind::Status(StatusCode::BAD_GATEWAY);
    for is_tried_again in [true, true, false] {
        assert_eq!(
            fail(&patience, bad.clone(), &mut failures).await,
            is_tried_again
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_no_pause_gets_the_usual_ones() {
    let patience = patience(8, 600);
    let begun = Instant::now();
    let mut failures = Failures::none(begun);
    let busy = HttpErrorKind::Status(StatusCode::SERVICE_UNAVAILABLE);
    let busy = HttpError::scripted(busy, Some(Duration::ZERO));
    loop {
        let turn = patience.turn().await;
        match patience.judge(turn, &busy, || failures.add(Instant::now())) {
            Next::Again(pause) => patience.pause(0, &busy, pause).await,
            Next::GiveUp { attempts } => {
                assert_eq!(attempts, 9);
                break;
            }
        }
    }
    assert!(begun.elapsed() > SECOND * 30, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_network_has_a_bound() {
    let patience = patience(8, 60);
    let begun = Instant::now();
    let mut failures = Failures::none(begun);
    while fail(&patience, HttpErrorKind::Unreachable, &mut failures).await {}
    let waited = begun.elapsed();
    assert!((SECOND * 60..SECOND * 62).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_was_known_is_looked_up_again() {
    let unknown = HttpErrorKind::Resolve { temporary: false };
    let mut failures = Failures::none(Instant::now());
    assert!(fail(&patience(8, 600), unknown.clone(), &mut failures).await);
    let impatient = patience(8, 0);
    assert!(!fail(&impatient, unknown, &mut failures).await);
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_gone_over_a_pause_is_told_once() {
    let patience = patience(8, 600);
    let mut events = patience.events.subscribe();
    let mut failures = Failures::none(Instant::now());
    for _ in 0..2 {
        for _ in 0..3 {
            assert!(fail(&patience, HttpErrorKind::Unreachable, &mut failures).await);
        }
        patience.begin_anew();
    }
    patience.answered(SECOND);
    let told = told(&mut events);
    let is_gone = |event: &&Event| **event == Event::Offline;
    let is_back = |event: &&Event| matches!(event, Event::Online { .. });
    assert_eq!(told.iter().filter(is_gone).count(), 1, "{told:?}");
    assert_eq!(told.iter().filter(is_back).count(), 1, "{told:?}");
    assert!(
        told.iter().position(|event| is_gone(&event))
            < told.iter().position(|event| is_back(&event))
    );
}
