//! Bodies that no other one can replace: the stream of a server without ranges, and the reply to a
//! link that may be used a few times.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::attempt::Carried;
use super::shared::{Transfer, TransferError};
use super::window::WriteTarget;
use super::written_blocks::Doubt;
use crate::engine::context::RequestFailed;
use crate::engine::remote::Remote;
use crate::engine::schedule::tuner::Tuner;
use crate::http::HttpError;
use crate::object::Proof;

/// A signed link that gave so many replies is no longer taken for one that may be used a few times.
const FEW: usize = 8;
/// For how long after the first reply some requests may not have been sent yet.
const EARLY: Duration = Duration::from_millis(100);

impl<R: Remote, W: WriteTarget> Transfer<R, W> {
    /// Whether a body may be all that the server gives, because the link may be used a few times
    /// and no fresh one is to be had: the server refused other requests, or may yet do so.
    pub(super) fn is_treasured(&self, carried: &Carried<R::Body>) -> bool {
        !self.can_refresh
            && !self.remote.is_whole()
            && (self.refusals.are_of_access() || self.is_early())
            && carried.has_more()
    }

    /// Whether a link that may be used a few times would not have shown that yet: requests are not
    /// answered, or not even sent. Far away the refusals come before the end of any lease.
    fn is_early(&self) -> bool {
        let replies = self.replies.count();
        if self.is_signed && replies < FEW {
            return true;
        }
        let wanted = usize::try_from(self.target_connections()).unwrap_or(usize::MAX);
        let began = self.has_replied.get();
        let just_began = began.is_none_or(|began| began.elapsed() < EARLY);
        self.is_near && replies < wanted && (just_began || self.dispatcher.awaits_replies())
    }

    /// What was refused under another URL tells nothing any more.
    pub(super) fn begin_with_fresh_access(&self) {
        self.refusals.forget();
        self.tune(Tuner::forget_refusals);
        self.has_asked.store(false, Ordering::Relaxed);
    }

    /// Whether a body that is given up may be lost for good, or with all that came before it. Then
    /// only its own timer ends it.
    pub(super) fn has_irreplaceable_body(&self) -> bool {
        self.remote.is_whole() || (!self.can_refresh && self.may_be_spent())
    }

    /// Whether the link may give no further reply, for all that is known.
    fn may_be_spent(&self) -> bool {
        let under_way = usize::try_from(self.metrics.active()).unwrap_or(usize::MAX);
        let none_was_over = self.is_signed && self.replies.count() <= under_way;
        self.refusals.are_of_access() || none_was_over
    }

    /// The failure of a transfer that can't go on with a second stream.
    pub(super) fn lost(&self) -> TransferError {
        let why = "without ranges and without a tag or a date, two replies may be of two versions";
        if !self.earlier.is_empty() {
            return TransferError::differs(HttpError::unproven(why), Doubt::Earlier);
        }
        let error = HttpError::protocol(why).passing();
        TransferError::StreamLost(RequestFailed { error, attempts: 0 })
    }

    /// Whether the remote turned out to have no ranges, and nothing tells whether what it sends is
    /// of one version, nor of that of an earlier run. Then all bytes must come in one stream, which
    /// begins anew, unless it is the first reply of one connection.
    pub(super) fn lacks_ranges(&self) -> bool {
        let is_unnamed = self.remote.is_whole() && self.pinned.proof() == Proof::None;
        is_unnamed && !(self.begins_with_whole() && self.earlier.is_empty())
    }

    /// Whether all bytes must come in one stream: no other one would be known to be of the same
    /// version. Ranges that don't ascend can't.
    pub(super) fn is_one_stream(&self) -> bool {
        self.begins_with_whole()
            && self.pinned.proof() == Proof::None
            && self.selection.is_ascending()
    }

    /// Whether the remote has no ranges, and no reply but whole ones came: that was known from the
    /// start, or one connection asked.
    pub(super) fn begins_with_whole(&self) -> bool {
        self.remote.is_whole() && (self.began_whole || self.is_alone)
    }
}
