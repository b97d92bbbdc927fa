use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::engine::patience::Limits;
use crate::http::testing::client;

/// A refresher of a source where nobody listens, which has no patience.
fn refresher(refresh: Refresh) -> Refresher {
    let (metrics, events) = (Arc::new(Metrics::start()), Arc::default());
    let limits = Limits {
        retries: 0,
        wait_online: Duration::ZERO,
    };
    let patience = Patience::new(limits, client(), Arc::clone(&metrics), events);
    Refresher {
        refresh,
        client: client(),
        source: Source::new("http://127.0.0.1:1/old", None).unwrap(),
        patience: Arc::new(patience),
        metrics,
        asked: Mutex::default(),
    }
}

async fn url(refresher: &Refresher) -> String {
    let fresh = refresher.fresh().await.unwrap();
    fresh.map_or_else(String::new, |fresh| fresh.given_url())
}

#[tokio::test]
async fn a_failed_run_is_tried_once_more() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let command = format!(
        "echo run >> {0}; [ $(wc -l < {0}) -gt 1 ] && echo http://h/new",
        runs.display()
    );
    let refresher = refresher(Refresh::Command(command));
    assert_eq!(url(&refresher).await, "http://h/new");
    assert_eq!(std::fs::read_to_string(runs).unwrap(), "run\nrun\n");
}

#[tokio::test]
async fn without_progress_the_caller_is_asked_three_times() {
    let refresher = refresher(Refresh::function(|_| async {
        Ok("http://h/new".to_owned())
    }));
    for _ in 0..MOST_FRUITLESS {
        assert_eq!(url(&refresher).await, "http://h/new");
    }
    assert_eq!(url(&refresher).await, "");
    refresher.metrics.useful(1);
    assert_eq!(url(&refresher).await, "http://h/new");
}

#[tokio::test]
async fn a_caller_that_failed_is_not_asked_again_before_there_is_progress() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let failing = move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Err("none".into()) }
    };
    let refresher = refresher(Refresh::function(failing));
    for _ in 0..2 {
        let error = refresher.fresh().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    refresher.metrics.useful(1);
    assert!(refresher.fresh().await.is_err());
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    // Ahead of time, nothing is counted.
    assert!(refresher.ask().await.is_err());
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}
