//! The reins of a running download.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;

use crate::{Error, Event, Report};

/// A download that is under way: pause, resume, stop or cancel it, listen to it, await its end.
pub struct DownloadHandle {}

impl DownloadHandle {
    /// Every event from now on.
    pub fn events(&self) -> Events {
        todo!()
    }

    /// How much of each of `cells` equal stretches of the object is there, in percent.
    pub fn coverage(&self, _cells: usize) -> Vec<u8> {
        todo!()
    }

    /// Ends all transfers and commits the checkpoint; the download stays able to [`resume`](Self::resume).
    pub async fn pause(&self) -> Result<(), Error> {
        todo!()
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(&self) -> Result<(), Error> {
        todo!()
    }

    /// Commits the checkpoint and ends the download; a later start goes on from there.
    /// [`finish`](Self::finish) then returns an error of kind [`Stopped`](crate::ErrorKind::Stopped).
    pub async fn stop(&self) -> Result<(), Error> {
        todo!()
    }

    /// Ends the download and removes what was written.
    pub async fn cancel(self) -> Result<(), Error> {
        todo!()
    }

    /// Waits for the end.
    pub async fn finish(self) -> Result<Report, Error> {
        todo!()
    }
}

/// The stream of a download's events; ends with the download.
pub struct Events {}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Event>> {
        todo!()
    }
}
