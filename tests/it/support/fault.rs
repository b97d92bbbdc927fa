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
mod request;
mod tls;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use reply::End;
pub(crate) use reply::{Reply, Step};
pub(crate) use request::{Request, honest};
pub(crate) use tls::Certificate;
use tls::Wire;

/// No wait of a test is longer than this.
const LONGEST: Duration = Duration::from_secs(30);
/// More than any request's head has.
const HEAD_LIMIT: usize = 64 << 10;

/// What happens to a connection before a byte is read from it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Door {
    /// Requests are read and answered.
    Open,
    /// It is closed at once.
    Shut,
    /// It is reset at once.
    Reset,
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

/// A server on 127.0.0.1 that follows a script. Lives until it is dropped, and then fails the test
/// if it was never asked, or if its script panicked.
pub(crate) struct FaultOrigin {
    /// Scheme, host and port.
    base: String,
    stage: Arc<Stage>,
    accepting: AbortHandle,
    must_be_asked: bool,
}

struct Stage {
    // Locked while the script decides, never over an await. Poisoned = the script panicked.
    script: Mutex<Script>,
    log: watch::Sender<Vec<Request>>,
    /// Connections so far.
    knocks: AtomicUsize,
    /// Connections that stand.
    open: AtomicUsize,
}

/// A server that does not run yet.
pub(crate) struct Builder {
    door: Doorkeeper,
    certificate: Option<Certificate>,
}

impl Builder {
    /// Lets somebody see each connection first.
    pub(crate) fn door(self, door: impl FnMut(Knock) -> Door + Send + 'static) -> Self {
        Self {
            door: Box::new(door),
            ..self
        }
    }

    /// Makes it a server of https.
    pub(crate) fn certificate(self, certificate: Certificate) -> Self {
        Self {
            certificate: Some(certificate),
            ..self
        }
    }

    /// Starts it on the caller's Tokio runtime; it answers every request as `script` says.
    pub(crate) fn start(
        self,
        script: impl FnMut(&Request) -> Reply + Send + 'static,
    ) -> FaultOrigin {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let stage = Arc::new(Stage {
            script: Mutex::new(Box::new(script)),
            log: watch::Sender::new(Vec::new()),
            knocks: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let scheme = match &self.certificate {
            Some(_) => "https",
            None => "http",
        };
        let acceptor = self.certificate.as_ref().map(Certificate::acceptor);
        let accepting = tokio::spawn(accept(listener, acceptor, self.door, Arc::clone(&stage)));
        FaultOrigin {
            base: format!("{scheme}://{address}/"),
            stage,
            accepting: accepting.abort_handle(),
            must_be_asked: true,
        }
    }
}

impl FaultOrigin {
    /// A server that answers every request as `script` says. Runs on the caller's Tokio runtime.
    pub(crate) fn new(script: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        Self::builder().start(script)
    }

    pub(crate) fn builder() -> Builder {
        Builder {
            door: Box::new(|_| Door::Open),
            certificate: None,
        }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }

    /// It is fine if nobody ever asks it.
    pub(crate) fn maybe_unasked(mut self) -> Self {
        self.must_be_asked = false;
        self
    }

    /// How many connections there were so far.
    pub(crate) fn knocks(&self) -> usize {
        self.stage.knocks.load(Ordering::Relaxed)
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
            self.knocks() > 0 || !self.must_be_asked,
            "the fault origin was never asked"
        );
    }
}

/// Accepts until it is aborted; the connections live in its join set and end with it.
async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    mut door: Doorkeeper,
    stage: Arc<Stage>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let number = stage.knocks.fetch_add(1, Ordering::Relaxed);
        let open = connections.len();
        match door(Knock { number, open }) {
            Door::Open => {
                connections.spawn(welcome(stream, acceptor.clone(), Arc::clone(&stage)));
            }
            Door::Shut => drop(stream),
            // A client that is gone already has no use for it.
            Door::Reset => drop(stream.set_zero_linger()),
            Door::Silent => {
                connections.spawn(async move {
                    std::future::pending::<()>().await;
                    drop(stream);
                });
            }
        }
    }
}

async fn welcome(stream: TcpStream, acceptor: Option<TlsAcceptor>, stage: Arc<Stage>) {
    let _standing = Standing::new(&stage);
    // A client that goes away, or trusts nobody, is no fault of the script's.
    let _ = match acceptor {
        None => converse(stream, &stage).await,
        Some(acceptor) => match acceptor.accept(stream).await {
            Ok(stream) => converse(stream, &stage).await,
            Err(error) => Err(error),
        },
    };
}

/// A connection that is counted as long as it stands.
struct Standing<'a>(&'a Stage);

impl<'a> Standing<'a> {
    fn new(stage: &'a Stage) -> Self {
        stage.open.fetch_add(1, Ordering::Relaxed);
        Self(stage)
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn converse(mut stream: impl Wire, stage: &Stage) -> std::io::Result<()> {
    stream.tcp().set_nodelay(true)?;
    let mut received = Vec::new();
    while let Some(head) = next_head(&mut stream, &mut received).await? {
        let reply = {
            let mut script = stage
                .script
                .lock()
                .expect("a script that did not panic before");
            let open = stage.open.load(Ordering::Relaxed);
            let request = Request::parse(&head, stage.log.borrow().len(), open);
            stage.log.send_modify(|log| log.push(request.clone()));
            script(&request)
        };
        match reply.play(&mut stream).await? {
            End::NextRequest => {}
            End::Close => return stream.shutdown().await,
            End::Leave => return Ok(()),
            End::Reset => return stream.tcp().set_zero_linger(),
        }
    }
    Ok(())
}

/// Reads to the empty line; `None` = the client closed the connection.
async fn next_head(
    stream: &mut impl Wire,
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
    use partwise::origin::Object;

    use super::request::etag;
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
        let origin = FaultOrigin::builder()
            .door(|knock| {
                if knock.number == 0 {
                    Door::Shut
                } else {
                    Door::Open
                }
            })
            .start(|_| Reply::status(204).without("content-length"));
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
