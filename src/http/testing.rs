//! A scripted server. It sends raw bytes over TCP, so it can send replies that no HTTP library
//! would.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::client::Client;
use super::config::ClientConfig;
use super::source::Source;

/// A client for plain HTTP with default settings.
pub(crate) fn plain_client() -> reqwest::Client {
    // reqwest requires a TLS provider even for plain HTTP; installing a second one fails.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// A request as received.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    fields: Vec<(String, String)>,
    /// The number of the server's connection, from 0.
    pub(crate) connection: usize,
}

impl Seen {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self
            .fields
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    fn parse(head: &str, connection: usize) -> Self {
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap().split(' ');
        let fields = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Self {
            method: words.next().unwrap().to_owned(),
            target: words.next().unwrap().to_owned(),
            fields: fields.collect(),
            connection,
        }
    }
}

/// What the server does after the bytes of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    KeepOpen,
    Close,
    /// Sends nothing more and keeps the connection open.
    Stall,
}

/// A reply: its bytes, and what the server does after them.
pub(crate) struct Script(pub(super) Vec<u8>, pub(super) Then);

/// A reply with a status line, fields and a body; nothing is added.
pub(crate) fn script(status: &str, fields: &[&str], body: impl AsRef<[u8]>, then: Then) -> Script {
    let mut bytes = format!("HTTP/1.1 {status}\r\n").into_bytes();
    for field in fields {
        bytes.extend(field.as_bytes());
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"\r\n");
    bytes.extend(body.as_ref());
    Script(bytes, then)
}

/// A server that answers by script and runs until the test's runtime ends.
pub(crate) struct ScriptedServer {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

impl ScriptedServer {
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Script + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&seen));
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let connection = accepted.fetch_add(1, Ordering::AcqRel);
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                tokio::spawn(async move { serve(stream, connection, &*answer, &log).await });
            }
        });
        Self {
            port,
            seen,
            connections,
        }
    }

    /// How many connections were accepted, with or without a request.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn source(&self, path: &str) -> Source {
        Source::new(&self.url(path), None).unwrap()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Method and target of every request, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        let line = |seen: &Seen| format!("{} {}", seen.method, seen.target);
        self.seen().iter().map(line).collect()
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    answer: &(dyn Fn(&Seen) -> Script + Send + Sync),
    log: &Mutex<Vec<Seen>>,
) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        };
        let head: Vec<u8> = buffer.drain(..end + 4).collect();
        let seen = Seen::parse(std::str::from_utf8(&head[..end]).unwrap(), connection);
        log.lock().unwrap().push(seen.clone());
        let Script(bytes, then) = answer(&seen);
        if stream.write_all(&bytes).await.is_err() || then == Then::Close {
            return;
        }
        if then == Then::Stall {
            std::future::pending::<()>().await;
        }
    }
}

pub(crate) fn client() -> Client {
    Client::new(&ClientConfig::for_tests()).unwrap()
}
