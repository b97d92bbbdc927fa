//! The reins of a running download.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use tokio::task::JoinHandle;

use crate::engine::{Intent, Phase, Shared, Subscription};
use crate::{Error, ErrorKind, Event, Report};

/// A download that is under way: pause, resume, stop or cancel it, listen to it, await its end.
///
/// Dropping the handle stops the download as [`stop`](Self::stop) does, without waiting for it.
#[derive(Debug)]
pub struct DownloadHandle {
    shared: Arc<Shared>,
    // `None` once somebody waits for the end.
    task: Option<JoinHandle<Result<Report, Error>>>,
}

impl DownloadHandle {
    pub(crate) fn new(shared: Arc<Shared>, task: JoinHandle<Result<Report, Error>>) -> Self {
        Self {
            shared,
            task: Some(task),
        }
    }

    /// Listens. The stream begins with the last 64 state changes so far and ends with the download.
    #[must_use]
    pub fn events(&self) -> Events {
        Events {
            subscription: self.shared.events.subscribe(),
        }
    }

    /// How much of each of `cells` equal stretches of the object is there, in percent. Empty before the
    /// length is known.
    #[must_use]
    pub fn coverage(&self, cells: usize) -> Vec<u8> {
        self.shared.coverage(cells)
    }

    /// Ends all transfers and commits the checkpoint. `Ok` means: no request is under way, and a
    /// checkpoint with every completed part is on disk.
    ///
    /// Cancel safe: a pause that nobody waits for is still a pause.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unexpected`] where the download has ended; [`finish`](Self::finish) tells how.
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

    /// Goes on after [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Stopped`] or [`ErrorKind::Cancelled`] where the download has been ended.
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

    /// Commits the checkpoint and ends the download; a later start goes on from there.
    /// [`finish`](Self::finish) then returns an error of kind [`ErrorKind::Stopped`], unless the file was whole already.
    ///
    /// Cancel safe: a stop that nobody waits for is still a stop.
    pub async fn stop(&self) {
        self.shared.control.ask(Intent::Stop);
        self.shared.control.ended().await;
    }

    /// Ends the download and removes what was written: the partial file and its checkpoint.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::File`] where they can't be removed, and [`ErrorKind::Unexpected`] where the download had
    /// finished before.
    pub async fn cancel(self) -> Result<(), Error> {
        self.shared.control.ask(Intent::Cancel);
        match self.finish().await {
            Err(error) if error.kind() == ErrorKind::Cancelled => Ok(()),
            Err(error) => Err(error),
            Ok(report) => Err(Error::new(
                ErrorKind::Unexpected,
                "can't cancel the download",
                format_args!("{} is finished already", report.output.display()),
            )),
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    ///
    /// What ended the download before the file was whole; [`Error::checkpoint`] names where a later start goes on.
    pub async fn finish(mut self) -> Result<Report, Error> {
        let Some(task) = self.task.take() else {
            return Err(unexpected("its end was awaited before"));
        };
        match task.await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => Err(unexpected("a defect in partwise ended it")),
            Err(_) => Err(unexpected("the runtime was shut down")),
        }
    }
}

fn unexpected(why: &str) -> Error {
    Error::new(ErrorKind::Unexpected, "the download ended", why)
}

impl Drop for DownloadHandle {
    fn drop(&mut self) {
        if self.task.is_some() {
            self.shared.control.ask(Intent::Stop);
        }
    }
}

/// The stream of a download's events; ends with the download.
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
