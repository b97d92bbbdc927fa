//! The options by which a caller says which version of the object is wanted, and how to stay
//! allowed to fetch it.

use std::error::Error as StdError;

use super::DownloadBuilder;
use crate::options::{Checksum, HttpDate, OnChange, Refresh};

impl DownloadBuilder {
    /// Compares the finished file with `checksum` before it gets its final name. Repeatable.
    /// Default: none.
    ///
    /// A mismatch ends the download with [`ErrorKind::Checksum`](crate::ErrorKind::Checksum).
    /// Digests that the server sends of the whole object are compared in any case.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = partwise::Download::builder("https://example.org/v.mp4")
    ///     .checksum("md5=25f9e794323b453885f5181f1b624d0b".parse()?);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn checksum(mut self, checksum: Checksum) -> Self {
        self.checksums.push(checksum);
        self
    }

    /// Does this when the object changes during the download. Default: [`OnChange::Fail`].
    #[must_use]
    pub fn on_change(mut self, on_change: OnChange) -> Self {
        self.on_change = on_change;
        self
    }

    /// Downloads only the version with this entity tag, its double quotes included, or any version
    /// for `*` (RFC 9110, section 13.1.1). Another version ends the download with
    /// [`ErrorKind::Changed`](crate::ErrorKind::Changed). Default: no condition.
    #[must_use]
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.if_match = Some(etag.into());
        self
    }

    /// Downloads only a version with another entity tag than this one, its double quotes included
    /// (RFC 9110, section 13.1.2). Where the server has that very version, the download finishes
    /// without a byte, and [`Report::not_modified`](crate::Report::not_modified) is true. Default:
    /// no condition.
    #[must_use]
    pub fn if_none_match(mut self, etag: impl Into<String>) -> Self {
        self.if_none_match = Some(etag.into());
        self
    }

    /// Downloads only a version that is newer than `date` (RFC 9110, section 13.1.3). Where the
    /// server has none, the download finishes without a byte, and
    /// [`Report::not_modified`](crate::Report::not_modified) is true. Default: no condition.
    #[must_use]
    pub fn if_modified_since(mut self, date: impl Into<HttpDate>) -> Self {
        self.if_modified_since = Some(date.into());
        self
    }

    /// Downloads only a version that is not newer than `date` (RFC 9110, section 13.1.4). A newer
    /// one ends the download with [`ErrorKind::Changed`](crate::ErrorKind::Changed). Default: no
    /// condition.
    #[must_use]
    pub fn if_unmodified_since(mut self, date: impl Into<HttpDate>) -> Self {
        self.if_unmodified_since = Some(date.into());
        self
    }

    /// Calls `refresh` with the URL, its query included, when access to it has run out, and
    /// continues under the URL that it returns. Access has run out if nothing else is being
    /// transferred and the server refuses a request with 401, 403 or 410, with a code of an object
    /// store such as `ExpiredToken`, or, after bytes came under the URL, with any status of the 4xx
    /// class that may be due to the URL. Replaces [`refresh_command`](Self::refresh_command).
    /// Default: none, and the download fails.
    ///
    /// If the query tells when the URL expires, `refresh` is called before that: when a tenth of
    /// the time is left, but at most 60 s. This needs a version with a strong entity tag, or
    /// something stronger, and a fresh URL with the same host and path. The query parameters that
    /// are understood are `X-Amz-Date` with `X-Amz-Expires`, the same of Google Cloud Storage
    /// (`X-Goog-`) and of Alibaba Cloud OSS (`x-oss-`), `Expires` in seconds since 1970, and the
    /// `se` of Azure Storage. An error of the function is a warning then, and the old URL is kept
    /// until it is refused.
    ///
    /// The function is called up to three times without a byte of progress in between. partwise
    /// sets no time limit; stopping or cancelling the download drops the future. The new URL must
    /// lead to the same version of the object. Headers and credentials stay with the origin that
    /// they were given for.
    ///
    /// An error of the function ends the download with
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused). It is the
    /// [`source`](std::error::Error::source) of the download's error, whose own text does not
    /// repeat it.
    ///
    /// ```
    /// # async fn sign(path: &str) -> Result<String, std::io::Error> { Ok(path.to_owned()) }
    /// let builder = partwise::Download::builder("https://example.org/v.mp4?signature=1")
    ///     .refresh_with(|_expired| async { Ok(sign("/v.mp4").await?) });
    /// ```
    #[must_use]
    pub fn refresh_with<F>(mut self, refresh: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        self.refresh = Some(Refresh::function(refresh));
        self
    }

    /// Runs `command` through `/bin/sh` when access has run out, and continues under the URL that
    /// is the first line of its output. The environment variable `PARTWISE_URL` holds the old URL,
    /// its query included. Replaces [`refresh_with`](Self::refresh_with), which describes the rest.
    /// Default: none.
    ///
    /// A run may take 60 s. One that takes longer, fails or prints no URL is tried once more. The
    /// command has a process group of its own and no standard input. The group is killed when the
    /// shell ends, when the download ends, and when this process ends, however that is.
    #[must_use]
    pub fn refresh_command(mut self, command: impl Into<String>) -> Self {
        self.refresh = Some(Refresh::Command(command.into()));
        self
    }
}
