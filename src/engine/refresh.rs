//! A new URL for one that has expired.

mod command;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::engine::control::events::EventBus;
use crate::engine::failures::Failures;
use crate::engine::job::Job;
use crate::engine::metrics::Metrics;
use crate::engine::patience::{Next, Patience};
use crate::error::{Error, ErrorKind};
use crate::http::{self, Client, Conditions, Source};
use crate::options::Refresh;

/// How often the caller is asked for a URL without a byte of progress in between.
const MOST_FRUITLESS: u32 = 3;

/// Asks the caller of one run for fresh URLs of the source.
#[derive(Debug)]
pub(crate) struct Refresher {
    refresh: Refresh,
    client: Client,
    source: Source,
    patience: Arc<Patience>,
    metrics: Arc<Metrics>,
    // Held to compare and to set, never across an await.
    asked: Mutex<Asked>,
}

/// What came of the questions since the last progress.
#[derive(Debug, Default)]
struct Asked {
    /// The bytes that had been brought at the last question.
    brought: u64,
    times: u32,
    failed: Option<Error>,
}

impl Refresher {
    /// `None` where the caller gives none.
    pub(crate) fn new(
        job: &Job,
        patience: &Arc<Patience>,
        metrics: &Arc<Metrics>,
    ) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            refresh: job.refresh.clone()?,
            client: job.client.clone(),
            source: job.source.clone(),
            patience: Arc::clone(patience),
            metrics: Arc::clone(metrics),
            asked: Mutex::default(),
        }))
    }

    /// The source, under the URL that it has now.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// The client that asks the source.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Where the caller is told of what happens.
    pub(crate) fn events(&self) -> &EventBus {
        self.patience.events()
    }

    /// Asks the caller for a new URL and returns the source under it; `None` where the caller was
    /// asked too often without progress.
    ///
    /// Cancel safe: dropping it kills the caller's command, and drops the future of the caller's
    /// function.
    ///
    /// # Errors
    ///
    /// `Refused` where the caller gives no URL, or gave none since the last progress.
    pub(crate) async fn fresh(&self) -> Result<Option<Source>, Error> {
        if !self.may_ask()? {
            return Ok(None);
        }
        let fresh = self.ask().await;
        if let Err(error) = &fresh {
            self.asked().failed = Some(error.clone());
        }
        fresh.map(Some)
    }

    fn may_ask(&self) -> Result<bool, Error> {
        let brought = self.metrics.brought_bytes();
        let mut asked = self.asked();
        if brought > asked.brought {
            *asked = Asked {
                brought,
                ..Asked::default()
            };
        }
        if let Some(error) = &asked.failed {
            return Err(error.clone());
        }
        asked.times += 1;
        Ok(asked.times <= MOST_FRUITLESS)
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        // Only assignments happen under the lock, so a panic elsewhere leaves the value consistent.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks once, ahead of time. It does not count: the URL can still be used.
    ///
    /// Cancel safe as [`fresh`](Self::fresh).
    ///
    /// # Errors
    ///
    /// `Refused` where the caller gives no URL.
    pub(crate) async fn ask(&self) -> Result<Source, Error> {
        let old = self.source.given_url();
        let (what, url) = match &self.refresh {
            Refresh::Command(command) => {
                let what = "the refresh command gave no URL";
                let printed = self.printed(command, &old).await;
                (what, printed.map_err(|why| refused(what, why))?)
            }
            Refresh::Function(function) => {
                let what = "the refresh function gave no URL";
                let returned = function(old).await;
                let failed = |error| refused(what, "it returned an error").with_source(error);
                (what, returned.map_err(failed)?)
            }
        };
        let fresh = self.source.refreshed(url.trim());
        fresh.map_err(|error| refused(what, error))
    }

    /// The first line that the command prints. If a run fails, the command is run once more: it may
    /// have needed the network.
    async fn printed(&self, command: &str, old: &str) -> Result<String, String> {
        let why = match command::url(command, old).await {
            Err(why) => why,
            printed => return printed,
        };
        let warning = format!("the refresh command is run once more: {why}");
        self.events().warn(warning);
        self.await_network().await;
        command::url(command, old).await
    }

    /// Waits for the network, if it is gone. Any answer of the source says that it is there.
    async fn await_network(&self) {
        let mut failures = Failures::none(Instant::now());
        loop {
            let turn = self.patience.turn().await;
            let asked = http::probe(&self.client, &self.source, &Conditions::default()).await;
            let error = match asked {
                Err(error) if error.is_unanswered() => error,
                _ => return,
            };
            let count = || failures.add(Instant::now());
            match self.patience.judge(turn, &error, count) {
                Next::Again(pause) => self.patience.pause(0, &error, pause).await,
                Next::GiveUp { .. } => return,
            }
        }
    }
}

fn refused(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Refused, what, why)
}

#[cfg(test)]
mod tests;
