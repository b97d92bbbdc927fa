//! What to fetch, where to, and how.

use std::path::PathBuf;

use super::DownloadBuilder;
use crate::options::{Connections, Output, PartSize, Ranges, Verify, Writer};

impl DownloadBuilder {
    /// Writes to `file`, a path relative to [`dir`](Self::dir). Default: the last segment of the
    /// URL's path.
    #[must_use]
    pub fn output(self, file: impl Into<PathBuf>) -> Self {
        self.to(Output::File(file.into()))
    }

    /// Writes the bytes in order to the process's standard output. Nothing is kept for a resume.
    ///
    /// If the reader of a pipe closes it before it has every byte, the download fails with
    /// [`ErrorKind::ReaderGone`](crate::ErrorKind::ReaderGone).
    #[must_use]
    pub fn to_stdout(self) -> Self {
        self.to(Output::Stdout)
    }

    /// Fetches and checks every byte, and keeps none. [`build`](Self::build) refuses checksums
    /// then, as no byte is left to compute them from.
    #[must_use]
    pub fn discard(self) -> Self {
        self.to(Output::Discard)
    }

    /// Writes to memory of this process, which is freed at the end.
    #[doc(hidden)]
    #[must_use]
    pub fn to_memory(self) -> Self {
        self.to(Output::Memory)
    }

    fn to(self, output: Output) -> Self {
        Self {
            output,
            checkpoint: None,
            ..self
        }
    }

    /// Writes into the folder `dir`, which is created where it does not exist. Default: the current
    /// folder.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = dir.into();
        self
    }

    /// Resumes the download whose checkpoint is at `checkpoint`, such as the one that
    /// [`Error::checkpoint`](crate::Error::checkpoint) named.
    ///
    /// A checkpoint's path, `DIR/NAME.part.ckpt`, gives the output: this replaces
    /// [`output`](Self::output) and [`dir`](Self::dir). [`ranges`](Self::ranges) default to those
    /// of the checkpoint. The URL has to be given again, as a checkpoint holds no query string; it
    /// may be another one, as long as the object is the same.
    ///
    /// ```no_run
    /// # async fn example(url: &str, checkpoint: &std::path::Path) -> Result<(), partwise::Error> {
    /// let download = partwise::Download::builder(url).resume_from(checkpoint).build()?;
    /// let report = download.start().finish().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`build`](Self::build) reads the checkpoint. It fails with
    /// [`ErrorKind::File`](crate::ErrorKind::File) where there is none, it can't be used, or its
    /// partial file is missing, and with [`ErrorKind::Usage`](crate::ErrorKind::Usage) where the
    /// path does not end in `.part.ckpt` or [`fresh`](Self::fresh) contradicts the resume. An
    /// object that has changed since is found out later, by the download: it starts over, as any
    /// resume does.
    #[must_use]
    pub fn resume_from(mut self, checkpoint: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(checkpoint.into());
        self
    }

    /// Asks `url` for the metadata by `HEAD`, because a signed URL is valid for one method only.
    /// Default: the URL itself.
    #[must_use]
    pub fn head_url(mut self, url: impl Into<String>) -> Self {
        self.head_url = Some(url.into());
        self
    }

    /// Adds `url` as another source of the same object. Repeatable.
    ///
    /// A mirror is used if its length is the object's, and so are a digest that both servers send,
    /// or their strong entity tags, or their modification dates where not both have a strong tag;
    /// or if a [`checksum`](Self::checksum) is given. Besides, three blocks of it must be the same
    /// as at the first server. Otherwise it is left out with a warning. See
    /// [`trust_mirrors`](Self::trust_mirrors).
    #[must_use]
    pub fn mirror(mut self, url: impl Into<String>) -> Self {
        self.mirrors.push(url.into());
        self
    }

    /// Takes every mirror whose length is the object's, without any other proof. Default: `false`.
    ///
    /// A mirror that has another object then makes a file of two, which only a
    /// [`checksum`](Self::checksum) can tell.
    #[must_use]
    pub fn trust_mirrors(mut self, trust: bool) -> Self {
        self.trust_mirrors = trust;
        self
    }

    /// Downloads these bytes only, in this order, end to end in the file. Default: the whole
    /// object.
    #[must_use]
    pub fn ranges(mut self, ranges: Ranges) -> Self {
        self.ranges = Some(ranges);
        self
    }

    /// Uses this number of connections. Default: [`Connections::Auto`].
    #[must_use]
    pub fn connections(mut self, connections: Connections) -> Self {
        self.connections = connections;
        self
    }

    /// Limits [`Connections::Auto`] to `max` connections, at least 1. Default: 32.
    #[must_use]
    pub fn max_connections(mut self, max: u32) -> Self {
        self.max_connections = max;
        self
    }

    /// Records completed bytes in parts of this size. Default: [`PartSize::Auto`].
    #[must_use]
    pub fn part_size(mut self, size: PartSize) -> Self {
        self.part_size = size;
        self
    }

    /// Limits the rate over all connections to this many bytes a second, at least 1. Default: no
    /// limit.
    #[must_use]
    pub fn limit_rate(mut self, bytes_per_second: u64) -> Self {
        self.limit_rate = Some(bytes_per_second);
        self
    }

    /// Repeats a failed request for a range up to `retries` times, counted anew after each byte of
    /// progress. Default: 8.
    ///
    /// Only failures that another attempt may mend are retried: not a 404, for example. The pauses
    /// between attempts grow from 250 ms to 30 s. A server that does not answer at all (it refuses
    /// connections, or closes them) is asked more often than that, until twice the longest pauses
    /// together have passed: 2 minutes for 8 retries, 7.5 s for 4, none for 0. A server that has
    /// not answered before in this download gets half of that. For a network that is gone see
    /// [`wait_online`](Self::wait_online).
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Discards the partial file of an earlier run. Default: false, which resumes it.
    #[must_use]
    pub fn fresh(mut self, fresh: bool) -> Self {
        self.fresh = fresh;
        self
    }

    /// Replaces a file at the final name, once the new one is whole, and keeps its permissions.
    /// Default: false, which fails with [`ErrorKind::File`](crate::ErrorKind::File) before any
    /// request is sent.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Flushes the file before each checkpoint and at the end, so a power cut loses no completed
    /// part. Default: true.
    #[must_use]
    pub fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// Writes the file in this way. Default: [`Writer::Auto`].
    #[must_use]
    pub fn writer(mut self, writer: Writer) -> Self {
        self.writer = writer;
        self
    }

    /// Reads the completed parts of an earlier run back at these times. Default: [`Verify::Auto`].
    #[must_use]
    pub fn verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }
}
