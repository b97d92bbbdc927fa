//! A new URL for one that has expired.

mod command;

use std::sync::Arc;

use tokio::time::Instant;

use crate::engine::context::Context;
use crate::engine::failures::Failures;
use crate::engine::patience::{Next, Patience};
use crate::error::{Error, ErrorKind};
use crate::http::{self, Client, Conditions, Source};
use crate::options::Refresh;

/// Asks the caller for fresh URLs of a source.
#[derive(Debug)]
pub(crate) struct Refresher {
    refresh: Refresh,
    client: Client,
    pub(super) source: Source,
    patience: Arc<Patience>,
}

impl Refresher {
    /// `None` where the caller gives none.
    pub(crate) fn of(context: &Context<'_>) -> Option<Self> {
        Some(Self {
            refresh: context.job.refresh.clone()?,
            client: context.job.client.clone(),
            source: context.source.clone(),
            patience: Arc::clone(&context.patience),
        })
    }

    /// Asks the caller for a new URL and returns the source under it.
    ///
    /// Cancel safe: dropping it kills the caller's command, and drops the future of the caller's
    /// function.
    ///
    /// # Errors
    ///
    /// `Refused` where the caller gives no URL.
    pub(crate) async fn fresh(&self) -> Result<Source, Error> {
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
        let events = self.patience.events();
        events.warn(format!("the refresh command is run once more: {why}"));
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
