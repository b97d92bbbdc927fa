//! A server that does as a script says, down to the bytes: the counterpart of the honest origin.
//!
//! A script says only what differs from an honest answer:
//!
//! ```ignore
//! let origin = FaultOrigin::new(move |request| match request.nth {
//!     3 => Reply::status(503).header("Retry-After", "1"),
//!     _ => honest(&object, request),
//! });
//! ```

mod reply;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use partwise::origin::Object;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use reply::End;
pub(crate) use reply::{Reply, Step};

/// No wait of a test is longer than this.
const LONGEST: Duration = Duration::from_secs(30);
/// More than any request's head has.
const HEAD_LIMIT: usize = 64 << 10;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// How many requests came before it, on whichever connection.
    pub(crate) nth: usize,
    pub(crate) method: String,
    /// The path with the query, or whatever else stood in the request line.
    pub(crate) target: String,
    /// Names in lower case, in the order in which they came.
    pub(crate) headers: Vec<(String, String)>,
}

impl Request {
    /// The first header of this name, which is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// The single range that it asks for, half open and cut to the length of the object.
    pub(crate) fn range(&self, length: u64) -> Option<(u64, u64)> {
        let (first, last) = self
            .header("range")?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        let end = match last {
            "" => length,
            last => length.min(last.parse::<u64>().ok()? + 1),
        };
        Some((first.parse().ok()?, end))
    }

    fn parse(head: &str, nth: usize) -> Self {
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let headers = lines.filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        Self {
            nth,
            method: words.next().unwrap_or_default().to_owned(),
            target: words.next().unwrap_or_default().to_owned(),
            headers: headers.collect(),
        }
    }
}

/// The strong entity tag that [`honest`] sends for an object.
pub(crate) fn etag(object: &Object) -> String {
    format!("\"{}-{}\"", object.seed(), object.length())
}

/// What a correct server answers: 200, 206, 412 or 416, with a strong entity tag.
pub(crate) fn honest(object: &Object, request: &Request) -> Reply {
    let (length, etag) = (object.length(), etag(object));
    if request
        .header("if-match")
        .is_some_and(|wanted| wanted != etag)
    {
        return Reply::status(412);
    }
    let reply = match request.range(length).filter(|_| !request.is_head()) {
        Some((start, end)) if start >= end => {
            return Reply::status(416).header("Content-Range", format!("bytes */{length}"));
        }
        Some((start, end)) => Reply::status(206)
            .header(
                "Content-Range",
                format!("bytes {start}-{}/{length}", end - 1),
            )
            .body(object, start..end),
        None => Reply::status(200).body(object, 0..length),
    };
    let reply = reply.header("ETag", etag).header("Accept-Ranges", "bytes");
    if request.is_head() {
        reply.head_only()
    } else {
        reply
    }
}

/// What happens to a connection before a byte is read from it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Door {
    /// Requests are read and answered.
    Open,
    /// It is closed at once.
    Shut,
    /// It stays open and nothing is ever read or said.
    Silent,
}

/// A connection that wants to come in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Knock {
    /// How many connections came before it.
    pub(crate) number: usize,
    /// How many others are open.
    pub(crate) open: usize,
}

/// The script of an origin.
type Script = Box<dyn FnMut(&Request) -> Reply + Send>;
/// Decides about a new connection.
type Doorkeeper = Box<dyn FnMut(Knock) -> Door + Send>;

/// A server on 127.0.0.1 that follows a script. Lives until it is dropped, and then fails the test if it was never
/// asked, or if its script panicked.
pub(crate) struct FaultOrigin {
    port: u16,
    stage: Arc<Stage>,
    accepting: AbortHandle,
}

struct Stage {
    // Locked while the script decides, never over an await. Poisoned = the script panicked.
    script: Mutex<Script>,
    log: watch::Sender<Vec<Request>>,
}

impl FaultOrigin {
    /// A server that answers every request as `script` says. Runs on the caller's Tokio runtime.
    pub(crate) fn new(script: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        Self::with_door(|_| Door::Open, script)
    }

    /// The same, with somebody at the door who sees each connection first.
    pub(crate) fn with_door(
        door: impl FnMut(Knock) -> Door + Send + 'static,
        script: impl FnMut(&Request) -> Reply + Send + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let listener = TcpListener::from_std(listener).unwrap();
        let stage = Arc::new(Stage {
            script: Mutex::new(Box::new(script)),
            log: watch::Sender::new(Vec::new()),
        });
        let accepting = tokio::spawn(accept(listener, Box::new(door), Arc::clone(&stage)));
        Self {
            port,
            stage,
            accepting: accepting.abort_handle(),
        }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.stage.log.borrow().clone()
    }

    /// Waits until the log is as `reached` wants it.
    pub(crate) async fn wait_for(&self, mut reached: impl FnMut(&[Request]) -> bool) {
        let mut log = self.stage.log.subscribe();
        let waiting = log.wait_for(|log| reached(log));
        let Ok(waited) = tokio::time::timeout(LONGEST, waiting).await else {
            panic!("the fault origin was asked only {:#?}", self.requests());
        };
        waited.expect("the sender lives in self");
    }
}

impl Drop for FaultOrigin {
    fn drop(&mut self) {
        self.accepting.abort();
        if std::thread::panicking() {
            return;
        }
        assert!(
            !self.stage.script.is_poisoned(),
            "the fault origin's script panicked"
        );
        assert!(
            !self.stage.log.borrow().is_empty(),
            "the fault origin was never asked"
        );
    }
}

/// Accepts until it is aborted; the connections live in its join set and end with it.
async fn accept(listener: TcpListener, mut door: Doorkeeper, stage: Arc<Stage>) {
    let mut connections = JoinSet::new();
    for number in 0.. {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        let open = connections.len();
        match door(Knock { number, open }) {
            Door::Open => {
                let stage = Arc::clone(&stage);
                connections.spawn(async move {
                    // A client that goes away is no fault of the script's.
                    let _ = converse(stream, &stage).await;
                });
            }
            Door::Shut => drop(stream),
            Door::Silent => {
                connections.spawn(async move {
                    std::future::pending::<()>().await;
                    drop(stream);
                });
            }
        }
    }
}

async fn converse(mut stream: TcpStream, stage: &Stage) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::new();
    while let Some(head) = next_head(&mut stream, &mut received).await? {
        let reply = {
            let mut script = stage
                .script
                .lock()
                .expect("a script that did not panic before");
            let request = Request::parse(&head, stage.log.borrow().len());
            stage.log.send_modify(|log| log.push(request.clone()));
            script(&request)
        };
        match reply.play(&mut stream).await? {
            End::NextRequest => {}
            End::Close => return stream.shutdown().await,
            End::Reset => return stream.set_zero_linger(),
        }
    }
    Ok(())
}

/// Reads to the empty line; `None` = the client closed the connection.
async fn next_head(
    stream: &mut TcpStream,
    received: &mut Vec<u8>,
) -> std::io::Result<Option<String>> {
    loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = received.drain(..end + 4).take(end).collect::<Vec<_>>();
            return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
        }
        assert!(received.len() < HEAD_LIMIT, "a request's head is too long");
        if stream.read_buf(received).await? == 0 {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(url: String, range: &str) -> reqwest::Result<reqwest::Response> {
        let client = crate::support::plain_client();
        client.get(url).header("range", range).send().await
    }

    #[tokio::test]
    async fn a_script_says_only_what_differs() {
        let object = Object::new(1, 1000);
        let script = object.clone();
        let origin = FaultOrigin::new(move |request| {
            let reply = honest(&script, request);
            match request.nth {
                0 => reply,
                1 => Reply::status(503).header("Retry-After", "1"),
                2 => reply
                    .without("content-range")
                    .preceded_by("HTTP/1.1 103 Hint\r\n\r\n"),
                3 => reply.cut_after(3).then(Step::Reset),
                _ => reply.cut_after(3).then(Step::Close),
            }
        });
        let reply = get(origin.url("x"), "bytes=10-19").await.unwrap();
        assert_eq!(reply.status(), 206);
        assert_eq!(reply.headers()["etag"], etag(&object).as_str());
        let mut expected = [0; 10];
        object.read_at(10, &mut expected);
        assert_eq!(reply.bytes().await.unwrap(), expected[..]);

        let reply = get(origin.url("x"), "bytes=0-").await.unwrap();
        assert_eq!(
            (reply.status().as_u16(), &reply.headers()["retry-after"]),
            (503, &"1".parse().unwrap())
        );
        let reply = get(origin.url("x"), "bytes=0-").await.unwrap();
        assert!(!reply.headers().contains_key("content-range"));
        for _ in 0..2 {
            let cut = get(origin.url("x"), "bytes=0-").await;
            assert!(cut.unwrap().bytes().await.is_err());
        }
        origin.wait_for(|log| log.len() == 5).await;
        assert_eq!(origin.requests()[4].range(1000), Some((0, 1000)));
    }

    #[tokio::test]
    async fn somebody_at_the_door() {
        let origin = FaultOrigin::with_door(
            |knock| {
                if knock.number == 0 {
                    Door::Shut
                } else {
                    Door::Open
                }
            },
            |_| Reply::status(204).without("content-length"),
        );
        assert!(get(origin.url("x"), "bytes=0-").await.is_err());
        assert_eq!(
            get(origin.url("x"), "bytes=0-").await.unwrap().status(),
            204
        );
    }

    #[tokio::test]
    #[should_panic(expected = "never asked")]
    async fn an_origin_that_is_never_asked_fails_the_test() {
        FaultOrigin::new(|_| Reply::status(200));
    }
}
