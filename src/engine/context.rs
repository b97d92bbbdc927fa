//! What the steps of one download borrow: the job, the way to the caller, the counters, and the
//! texts of an end.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use super::control::events::EventBus;
use super::control::shared::Shared;
use super::control::{Control, Intent};
use super::job::Job;
use super::metrics::Metrics;
use super::patience::Patience;
use super::refresh::Refresher;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::http::{self, HttpError, Source};

/// What lasts through one download, over every version of the object and every URL.
pub(crate) struct Context<'a> {
    pub(crate) job: &'a Job,
    pub(crate) shared: &'a Shared,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) patience: Arc<Patience>,
    /// Where the caller can give fresh URLs.
    pub(crate) refresher: Option<Arc<Refresher>>,
    /// Where the object is fetched from: under the URL of the job, or the last one that a refresh
    /// gave.
    pub(crate) source: Source,
    /// The current boot of the machine; `None` where the system does not tell.
    pub(crate) boot: Option<[u8; 16]>,
    /// The final name, for messages and the report.
    pub(crate) output: PathBuf,
    /// Where the checkpoint is; `None` for an output that has none.
    pub(crate) checkpoint: Option<PathBuf>,
    /// Whether this run made the partial file, or took it over from an earlier run.
    pub(crate) has_partial: AtomicBool,
}

/// A request that failed for good.
#[derive(Debug)]
pub(crate) struct RequestFailed {
    pub(crate) error: HttpError,
    /// Failed attempts in a row without a byte of progress, the last one included.
    pub(crate) attempts: u32,
}

impl Context<'_> {
    pub(crate) fn control(&self) -> &Control {
        &self.shared.control
    }

    pub(crate) fn events(&self) -> &Arc<EventBus> {
        &self.shared.events
    }

    /// Announces that what came so far, in an earlier run or in this one, can't be used.
    pub(crate) fn restarted(&self, reason: impl Into<String>) {
        self.metrics.none_is_useful();
        self.events().emit(Event::Restarted {
            reason: reason.into(),
        });
    }

    /// What is being downloaded: the first half of an error's text.
    pub(crate) fn subject(&self) -> String {
        format!("can't download {}", self.source.shown())
    }

    /// The error of a request that failed for good.
    pub(crate) fn request_failed(&self, failed: &RequestFailed) -> Error {
        let RequestFailed { error, attempts } = failed;
        let expired = self.source.expiry().filter(|at| *at < SystemTime::now());
        let mut subject = self.subject();
        if let Some(at) = expired.filter(|_| http::may_have_expired(error, true)) {
            let at = httpdate::fmt_http_date(at);
            let _ = write!(subject, ", whose URL expired on {at}");
        }
        if let Some(gone) = self.patience.offline() {
            let _ = write!(subject, ", after {} s without a network", gone.as_secs());
        }
        Error::from_http(subject, error, *attempts)
    }

    /// The error in which a download ends that the caller stopped or cancelled.
    pub(crate) fn ended_by(&self, intent: Intent) -> Error {
        let (kind, why) = match intent {
            Intent::Cancel => (
                ErrorKind::Cancelled,
                "cancelled; what was written is removed",
            ),
            Intent::Run | Intent::Pause | Intent::Stop => (ErrorKind::Stopped, "stopped"),
        };
        Error::new(kind, self.subject(), why)
    }

    /// Runs `step` to its end. If the caller pauses the download, it is dropped, and begins anew
    /// after the pause.
    pub(crate) async fn unless_paused<T, F: Future<Output = T>>(
        &self,
        step: impl Fn() -> F,
    ) -> Result<T, Error> {
        loop {
            tokio::select! {
                biased;
                intent = self.control().halted() => self.rest(intent).await?,
                done = step() => return Ok(done),
            }
        }
    }

    /// Rests through a pause that the caller wants.
    ///
    /// # Errors
    ///
    /// The end that the caller wants instead, or after the pause.
    pub(crate) async fn rest(&self, wanted: Intent) -> Result<(), Error> {
        let mut intent = wanted;
        if intent == Intent::Pause {
            intent = self.patience.rest(self.control()).await;
        }
        match intent {
            Intent::Run | Intent::Pause => Ok(()),
            Intent::Stop | Intent::Cancel => Err(self.ended_by(intent)),
        }
    }

    /// Runs `step` to its end, unless the caller ends the download first: then `step` is dropped.
    pub(crate) async fn unless_ended<T>(&self, step: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            intent = self.control().ending() => Err(self.ended_by(intent)),
            done = step => Ok(done),
        }
    }
}
