//! An answer as data: a head, then steps.

use std::ops::Range;
use std::time::Duration;

use partwise::origin::Object;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

use super::tls::Wire;

/// A step of an answer, after its head.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes of the object.
    Object(Object, Range<u64>),
    /// These bytes, each after a pause.
    Slowly(Vec<u8>, Duration),
    /// Nothing more until this is true.
    Until(watch::Receiver<bool>),
    /// Nothing more comes, and the connection stays open until the origin is dropped.
    Stall,
    /// The connection ends with RST.
    Reset,
    /// The connection ends with FIN.
    Close,
    /// The connection ends with FIN, without a goodbye of TLS.
    Leave,
}

impl Step {
    /// Bytes that it sends.
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) | Self::Slowly(bytes, _) => bytes.len() as u64,
            Self::Object(_, range) => range.end - range.start,
            Self::Until(_) | Self::Stall | Self::Reset | Self::Close | Self::Leave => 0,
        }
    }
}

/// What becomes of the connection.
pub(super) enum End {
    NextRequest,
    Close,
    Leave,
    Reset,
}

/// An answer. Whatever it does not say is as an honest server would: `Content-Length` fits the
/// body.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    before: Vec<u8>,
    status: Option<u16>,
    version: &'static str,
    reason: String,
    is_chunked: bool,
    headers: Vec<(String, String)>,
    steps: Vec<Step>,
}

impl Reply {
    /// This status and no body.
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            headers: vec![("Content-Length".into(), "0".into())],
            ..Self::raw([])
        }
    }

    /// These bytes in place of a head.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            before: bytes.into(),
            status: None,
            version: "HTTP/1.1",
            reason: "Scripted".into(),
            is_chunked: false,
            headers: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// The head stays, its status changes.
    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The text behind the status.
    pub(crate) fn reason(mut self, reason: &str) -> Self {
        self.reason = reason.to_owned();
        self
    }

    /// From a server of the last century: HTTP/1.0, and the connection closed after the body.
    pub(crate) fn http10(mut self) -> Self {
        self.version = "HTTP/1.0";
        self.then(Step::Close)
    }

    /// The body in chunks, each step one, with no length in the head.
    pub(crate) fn chunked(mut self) -> Self {
        self.is_chunked = true;
        self.without("content-length")
            .add_header("Transfer-Encoding", "chunked")
    }

    /// These bytes come before the head: a 103, say.
    pub(crate) fn preceded_by(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.before = bytes.into();
        self
    }

    /// Sets a header in place of those of the same name.
    pub(crate) fn header(self, name: &str, value: impl Into<String>) -> Self {
        self.without(name).add_header(name, value)
    }

    /// Adds a header beside those of the same name.
    pub(crate) fn add_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Leaves a header out.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Bytes of the object, in place of the body there was.
    pub(crate) fn body(self, object: &Object, range: Range<u64>) -> Self {
        let length = range.end - range.start;
        self.with_body(Step::Object(object.clone(), range), length)
    }

    /// A text, in place of the body there was.
    pub(crate) fn text(self, text: impl Into<Vec<u8>>) -> Self {
        let text = text.into();
        let length = text.len() as u64;
        self.with_body(Step::Bytes(text), length)
    }

    fn with_body(mut self, body: Step, length: u64) -> Self {
        self.steps = vec![body];
        self.header("Content-Length", length.to_string())
    }

    /// The head as it is, and no body: the answer to `HEAD`.
    pub(crate) fn head_only(mut self) -> Self {
        self.steps.clear();
        self
    }

    /// Only the first bytes of the body; the head goes on promising them all.
    pub(crate) fn cut_after(mut self, bytes: u64) -> Self {
        let mut left = bytes;
        for step in &mut self.steps {
            match step {
                Step::Object(_, range) => {
                    range.end = range.end.min(range.start + left);
                    left -= range.end - range.start;
                }
                Step::Bytes(text) | Step::Slowly(text, _) => {
                    text.truncate(usize::try_from(left).unwrap());
                    left -= text.len() as u64;
                }
                Step::Until(_) | Step::Stall | Step::Reset | Step::Close | Step::Leave => {}
            }
        }
        self
    }

    /// Nothing beyond the first bytes of an object before `gate` is true.
    pub(crate) fn held_after(mut self, bytes: u64, gate: watch::Receiver<bool>) -> Self {
        let Some(Step::Object(object, range)) = self.steps.pop() else {
            panic!("the reply ends with bytes of an object");
        };
        let middle = range.start + bytes;
        let first = Step::Object(object.clone(), range.start..middle);
        let rest = Step::Object(object, middle..range.end);
        self.steps.extend([first, Step::Until(gate), rest]);
        self
    }

    /// A further step.
    pub(crate) fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Sends it.
    pub(super) async fn play(self, stream: &mut impl Wire) -> std::io::Result<End> {
        stream.write_all(&self.head()).await?;
        for step in self.steps {
            if self.is_chunked && step.length() > 0 {
                let size = format!("{:x}\r\n", step.length());
                stream.write_all(size.as_bytes()).await?;
            }
            let has_bytes = step.length() > 0;
            match step {
                Step::Bytes(bytes) => stream.write_all(&bytes).await?,
                Step::Object(object, range) => send(stream, &object, range).await?,
                Step::Slowly(bytes, pause) => {
                    for byte in bytes {
                        tokio::time::sleep(pause).await;
                        stream.write_u8(byte).await?;
                        stream.flush().await?;
                    }
                }
                Step::Until(mut gate) => {
                    stream.flush().await?;
                    // Without a sender nothing is held up any more.
                    let _ = gate.wait_for(|is_open| *is_open).await;
                }
                Step::Stall => {
                    stream.flush().await?;
                    return std::future::pending().await;
                }
                Step::Reset => return Ok(End::Reset),
                Step::Close => return Ok(End::Close),
                Step::Leave => {
                    stream.flush().await?;
                    return Ok(End::Leave);
                }
            }
            if self.is_chunked && has_bytes {
                stream.write_all(b"\r\n").await?;
            }
        }
        if self.is_chunked {
            stream.write_all(b"0\r\n\r\n").await?;
        }
        stream.flush().await?;
        Ok(End::NextRequest)
    }

    fn head(&self) -> Vec<u8> {
        let mut head = self.before.clone();
        if let Some(status) = self.status {
            head.extend_from_slice(
                format!("{} {status} {}\r\n", self.version, self.reason).as_bytes(),
            );
            for (name, value) in &self.headers {
                head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
            head.extend_from_slice(b"\r\n");
        }
        head
    }
}

async fn send(stream: &mut impl Wire, object: &Object, range: Range<u64>) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut position = range.start;
    while position < range.end {
        let count = buffer
            .len()
            .min(usize::try_from(range.end - position).unwrap_or(usize::MAX));
        object.read_at(position, &mut buffer[..count]);
        stream.write_all(&buffer[..count]).await?;
        position += count as u64;
    }
    Ok(())
}
