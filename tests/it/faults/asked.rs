//! What the rows of a table are told: the request, and the world around the command.

use partwise::origin::Object;

use super::PART;
use crate::support::fault::{FaultOrigin, Reply, Request, honest};
use crate::support::fixture::Fixture;

/// A request, and what may be needed to answer it.
pub(super) struct Asked<'a> {
    pub(super) request: &'a Request,
    pub(super) object: &'a Object,
    pub(super) elsewhere: Option<&'a FaultOrigin>,
}

impl Asked<'_> {
    pub(super) fn is_head(&self) -> bool {
        self.request.is_head()
    }

    /// What a correct server answers. Of a range that begins at 0 it gives no more than four parts,
    /// so that others are sure to follow.
    pub(super) fn honest(&self) -> Reply {
        self.correct(self.request)
    }

    fn correct(&self, request: &Request) -> Reply {
        let limit = if self.is_later() { u64::MAX } else { 4 * PART };
        self.cut(honest(self.object, request), limit)
    }

    /// What a correct server answers that gives no more than so many bytes at once.
    pub(super) fn no_more_than(&self, bytes: u64) -> Reply {
        self.cut(honest(self.object, self.request), bytes)
    }

    fn cut(&self, reply: Reply, bytes: u64) -> Reply {
        let total = self.object.length();
        match self.request.range(total) {
            Some((start, end)) if !self.is_head() && end.saturating_sub(start) > bytes => {
                let middle = start + bytes;
                let range = format!("bytes {start}-{}/{total}", middle - 1);
                reply
                    .header("Content-Range", range)
                    .body(self.object, start..middle)
            }
            _ => reply,
        }
    }

    /// What a server answers that ignores every condition, with this entity tag or none.
    pub(super) fn tagged(&self, tag: Option<&str>) -> Reply {
        let mut request = self.request.clone();
        request.headers.retain(|(name, _)| name != "if-match");
        let reply = self.correct(&request).without("etag");
        match tag {
            Some(tag) => reply.header("ETag", tag),
            None => reply,
        }
    }

    /// The range that it asks for, half open, or the whole object.
    pub(super) fn bounds(&self) -> (u64, u64) {
        let length = self.object.length();
        self.request.range(length).unwrap_or((0, length))
    }

    /// Whether it asks for a range that does not begin at 0, so that discovery is over by then.
    pub(super) fn is_later(&self) -> bool {
        !self.is_head() && self.bounds().0 > 0
    }

    /// An answer to a range that is right but for a `Content-Range` that is off by so much at
    /// either end.
    pub(super) fn content_range(&self, first: i64, last: i64, total: u64) -> String {
        let (start, end) = self.bounds();
        let (start, last) = (
            start.saturating_add_signed(first),
            (end - 1).saturating_add_signed(last),
        );
        format!("bytes {start}-{last}/{total}")
    }

    /// A URL of the other server.
    pub(super) fn elsewhere(&self, name: &str) -> String {
        let elsewhere = self.elsewhere.expect("a row with `elsewhere`");
        elsewhere.url(name)
    }
}

/// What there is around the command.
pub(super) struct World<'a> {
    pub(super) origin: &'a FaultOrigin,
    pub(super) elsewhere: Option<&'a FaultOrigin>,
    pub(super) fixture: &'a Fixture,
}

impl World<'_> {
    /// The requests that ask for bytes.
    pub(super) fn gets(&self) -> usize {
        let requests = self.origin.requests();
        requests.iter().filter(|r| !r.is_head()).count()
    }

    /// The requests that ask for no bytes.
    pub(super) fn heads(&self) -> usize {
        self.origin.requests().len() - self.gets()
    }

    /// The other server.
    pub(super) fn elsewhere(&self) -> &FaultOrigin {
        self.elsewhere.expect("a row with `elsewhere`")
    }
}
