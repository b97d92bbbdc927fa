//! Controls a running download.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, Shared};
use futures::{FutureExt, Stream};
use tokio::task::{JoinError, JoinHandle};

use crate::engine::{self, Intent, Phase, Subscription};
use crate::{Error, ErrorKind, Event, Report};

/// Controls a running download: pause, resume, stop or cancel it, follow its events, await its end.
///
/// Clones control the same download, so one task can pause it while another awaits its end.
/// Dropping the last clone stops the download as [`stop`](Self::stop) does, without waiting for the
/// end.
#[derive(Clone)]
pub struct DownloadHandle {
    shared: Arc<engine::Shared>,
    end: Shared<BoxFuture<'static, Result<Report, Error>>>,
    _stops: Arc<StopOnDrop>,
}

/// Stops the download when the last handle is dropped.
struct StopOnDrop(Arc<engine::Shared>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.control.ask(Intent::Stop);
    }
}

impl fmt::Debug for DownloadHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownloadHandle")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

impl DownloadHandle {
    pub(crate) fn new(
        shared: Arc<engine::Shared>,
        task: JoinHandle<Result<Report, Error>>,
    ) -> Self {
        let end = task.map(|ended| ended.unwrap_or_else(|error| Err(died(&error))));
        Self {
            end: end.boxed().shared(),
            _stops: Arc::new(StopOnDrop(Arc::clone(&shared))),
            shared,
        }
    }

    /// Returns a stream of the download's events.
    ///
    /// It begins with the state changes so far, 64 of them at most, and ends when the download has
    /// ended. Each call returns an independent stream. A stream that is not read costs bounded
    /// memory and does not slow the download; [`Event`] says what it loses.
    #[must_use]
    pub fn events(&self) -> Events {
        Events {
            subscription: self.shared.events.subscribe(),
        }
    }

    /// Returns how much of each of `cells` equal stretches of the object is downloaded, in percent,
    /// rounded down.
    ///
    /// The result is empty before the length is known, and where the server does not tell it.
    #[must_use]
    pub fn coverage(&self, cells: usize) -> Vec<u8> {
        self.shared.coverage(cells)
    }

    /// Pauses the download: ends all transfers and commits the checkpoint.
    ///
    /// On `Ok` no request is under way, and a checkpoint with every completed part is on disk,
    /// unless an [`Event::Warning`] said that it can't be written. A [`resume`](Self::resume) that
    /// comes before that makes this call wait for the next pause, or for the end.
    ///
    /// Cancel safe: dropping the future does not take the pause back.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unexpected`] where the download has ended. [`finish`](Self::finish) tells how
    /// it ended.
    pub async fn pause(&self) -> Result<(), Error> {
        self.shared.control.ask(Intent::Pause);
        match self.shared.control.settled().await {
            Phase::Active | Phase::Quiet => Ok(()),
            Phase::Ended => Err(Error::new(
                ErrorKind::Unexpected,
                "can't pause the download",
                "it has ended",
            )),
        }
    }

    /// Resumes the download after [`pause`](Self::pause). Does nothing where it is not paused.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Stopped`] or [`ErrorKind::Cancelled`] where the download was stopped or
    /// cancelled.
    pub fn resume(&self) -> Result<(), Error> {
        let gone = |kind, why| Err(Error::new(kind, "can't resume the download", why));
        match self.shared.control.intent() {
            Intent::Stop => gone(ErrorKind::Stopped, "it was stopped; start it again instead"),
            Intent::Cancel => gone(ErrorKind::Cancelled, "it was cancelled"),
            Intent::Run | Intent::Pause => {
                self.shared.control.ask(Intent::Run);
                Ok(())
            }
        }
    }

    /// Commits the checkpoint, ends the download, and waits for the end. A later start resumes.
    ///
    /// [`finish`](Self::finish) then returns an error of kind [`ErrorKind::Stopped`], unless the
    /// download had ended before. [`Error::is_checkpoint_behind`] tells whether the checkpoint
    /// could not be written.
    ///
    /// Cancel safe: dropping the future does not take the stop back.
    pub async fn stop(&self) {
        self.shared.control.ask(Intent::Stop);
        self.shared.control.ended().await;
    }

    /// Ends the download, removes what was written (the partial file and its checkpoint, also those
    /// of an earlier run), and waits for the end. After a [`stop`](Self::stop), it removes what that
    /// left, unless another run has gone on with it.
    ///
    /// Cancel safe: dropping the future does not take the cancel back. After a stop, the files may
    /// stay then.
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::File`] where the files can't be removed, or another run holds them.
    /// * [`ErrorKind::Unexpected`] where the download had finished before, or where another run
    ///   changed the partial file or its checkpoint after the stop. The files stay.
    /// * The error of the download where that had failed before. The partial file and its checkpoint
    ///   stay then.
    pub async fn cancel(&self) -> Result<(), Error> {
        self.shared.control.ask(Intent::Cancel);
        match self.finish().await {
            Err(error) if error.kind() == ErrorKind::Cancelled => Ok(()),
            Err(error) if error.kind() == ErrorKind::Stopped => self.shared.remove_left().await,
            Err(error) => Err(error),
            Ok(report) => Err(Error::new(
                ErrorKind::Unexpected,
                "can't cancel the download",
                format_args!("{} is finished already", report.output.display()),
            )),
        }
    }

    /// Waits for the end of the download and returns its report.
    ///
    /// On `Ok` the file is whole, verified, and at its final name. Several clones may wait, and a
    /// later call returns the same result again. A paused download does not end.
    ///
    /// Cancel safe: the download runs on where the future is dropped.
    ///
    /// # Errors
    ///
    /// What ended the download before the file was whole. [`Error::kind`] tells the cause, and
    /// [`Error::checkpoint`] where [`resume_from`](crate::DownloadBuilder::resume_from) resumes.
    pub async fn finish(&self) -> Result<Report, Error> {
        self.end.clone().await
    }
}

/// The error of a download whose task did not return.
fn died(error: &JoinError) -> Error {
    let why = if error.is_panic() {
        "a defect in partwise ended it"
    } else {
        "the runtime was shut down"
    };
    Error::new(ErrorKind::Unexpected, "the download ended", why)
}

/// A stream of a download's [`Event`]s, which ends when the download has ended.
/// [`DownloadHandle::events`] returns it.
///
/// Dropping it does not affect the download. Its `next` is cancel safe: no event is lost.
#[derive(Debug)]
pub struct Events {
    subscription: Subscription,
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.get_mut().subscription.poll_next(cx)
    }
}
