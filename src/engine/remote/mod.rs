//! Where bytes come from: discovery, the servers of one object, and the trait through which workers
//! fetch.

mod concessions;
pub(crate) mod discovery;
pub(crate) mod http;
mod mirror_check;
pub(crate) mod mirrors;
pub(crate) mod object;
pub(crate) mod pool;
pub(crate) mod probe;
mod renewal;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::http::HttpError;
use crate::object::ByteRange;

/// Gives the bytes of an object: the servers in production, a script in simulations.
pub(crate) trait Remote: Send + Sync + 'static {
    type Body: RemoteBody;

    /// Asks for `range`. The body begins exactly there, and may end earlier. Where the remote has
    /// no ranges, it is the whole object.
    fn fetch(
        &self,
        range: ByteRange,
    ) -> impl Future<Output = Result<Self::Body, FetchError>> + Send;

    /// Whether there are no ranges: every body runs to the end of the object.
    fn is_whole(&self) -> bool;

    /// The indices of the servers whose replies prove nothing of their version, or are in doubt
    /// since the server changed.
    fn doubtful(&self) -> Vec<usize>;

    /// The indices of the mirrors that were found to have another version now, or of which nothing
    /// tells whether they have.
    fn changed(&self) -> Vec<usize> {
        Vec::new()
    }

    /// Whether a server is left by which what came can be compared.
    fn can_compare(&self) -> bool {
        true
    }

    /// Asks for `range`, to compare with what came: the server that the caller named, or one that
    /// is not in doubt. Otherwise as [`fetch`](Self::fetch).
    fn fetch_again(
        &self,
        range: ByteRange,
    ) -> impl Future<Output = Result<Self::Body, FetchError>> + Send {
        self.fetch(range)
    }

    /// Numbers the way in which requests are made now.
    fn manner(&self) -> u32 {
        0
    }

    /// Asks otherwise from now on, after a request for `wanted`, made in this manner, failed for
    /// good, if there is another way to ask. Returns whether there is.
    fn concede(
        &self,
        error: &HttpError,
        wanted: ByteRange,
        manner: u32,
    ) -> impl Future<Output = bool> + Send {
        let _ = (error, wanted, manner);
        async { false }
    }

    /// Numbers the access that requests use now.
    fn access(&self) -> u64 {
        0
    }

    /// Waits until there is another access than this one, which was refused. Returns whether there
    /// is one. Needs [`renewed`](Self::renewed) to be polled meanwhile.
    fn regained(&self, refused: u64) -> impl Future<Output = bool> + Send {
        let _ = refused;
        async { false }
    }

    /// Lets those that wait for another access go on with the one that was
    /// [`renewed`](Self::renewed).
    fn take_access(&self) {}

    /// Returns once the access was renewed, because it was refused or was about to run out.
    fn renewed(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Asks whether the object is still of the version whose bytes came, where no reply has told so
    /// for a while.
    ///
    /// # Errors
    ///
    /// `Changed` for another version; any other error where the remote does not tell.
    fn look(&self) -> impl Future<Output = Result<(), HttpError>> + Send;
}

/// The most bytes of a block that a spot check compares.
pub(crate) const BLOCK: u64 = 64 << 10;

/// What the caller is told of a server without ranges.
const NO_RANGES: &str =
    "the server has no byte ranges: one connection, and a resume fetches from the start";

/// Why nothing can be compared.
pub(crate) const NONE_LEFT: &str = "no server is left by which to compare what came";

/// Fetches all bytes of `range`, to compare with what came.
///
/// Cancel safe: dropping it drops the request.
///
/// # Errors
///
/// As [`Remote::fetch`] and [`RemoteBody::chunk`].
pub(crate) async fn collect<R: Remote>(
    remote: &R,
    range: ByteRange,
) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < range.len() {
        let position = range.start() + bytes.len() as u64;
        let Some(rest) = ByteRange::new(position, range.end()) else {
            break;
        };
        let mut body = remote.fetch_again(rest).await?;
        while let Some(chunk) = body.chunk().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 >= range.len() {
                // A remote without ranges sends more.
                break;
            }
        }
    }
    bytes.truncate(usize::try_from(range.len()).unwrap_or(usize::MAX));
    Ok(bytes)
}

/// The body of one reply.
pub(crate) trait RemoteBody: Send + 'static {
    /// Time to first byte of the reply.
    fn first_byte(&self) -> Duration;

    /// The position in the object at which it begins, where that is before the range that was asked
    /// for: the remote has no ranges.
    fn start(&self) -> Option<u64> {
        None
    }

    /// The position in the object at which it ends, where that is before the end of the range that
    /// was asked for.
    fn end(&self) -> Option<u64> {
        None
    }

    /// The index of the server that sends it.
    fn server(&self) -> usize;

    /// The next bytes; `None` only after exactly as many as were promised. Bounded in time.
    ///
    /// Not cancel safe: a body whose `chunk` was dropped midway must be dropped as well.
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, HttpError>> + Send;
}

/// Why a fetch brought no body.
#[derive(Debug)]
pub(crate) enum FetchError {
    Http(HttpError),
    /// The server answered a range with the whole object, and the range does not begin where the
    /// object does, or another body of it is being read.
    RangesIgnored,
}

impl From<HttpError> for FetchError {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}
