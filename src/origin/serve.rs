//! Connections, and what they share.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hyper::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Object;
use super::answer::Answer;
use super::conditions::Validators;
use super::config::Config;
use super::gate::Gate;
use super::log::Log;
use super::pacer::Pacer;

/// What all connections share.
pub(super) struct Shared {
    pub(super) config: Config,
    // Locked to read or replace a version as a whole, never over an await.
    version: Mutex<Version>,
    pub(super) log: Log,
    pub(super) gate: Gate,
    pub(super) pacer: Pacer,
    /// Each message ends every connection that is open then. Connections subscribe before they are served.
    pub(super) hang_up: watch::Sender<()>,
}

/// The object as it stands, with its validators.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) object: Object,
    pub(super) etag: Option<String>,
    pub(super) modified: Option<SystemTime>,
}

impl Shared {
    pub(super) fn new(config: Config, object: Object) -> Self {
        Self {
            version: Mutex::new(Version {
                etag: config.etag.of(&object),
                object,
                modified: config.modified,
            }),
            log: Log::new(),
            gate: Gate::new(config.hold_after),
            pacer: Pacer::new(config.rate),
            hang_up: watch::Sender::new(()),
            config,
        }
    }

    pub(super) fn version(&self) -> Version {
        self.version
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn replace(&self, object: Object) {
        let mut version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        version.etag = self.config.etag.of(&object);
        version.object = object;
        // A date has no more than seconds, so a version that came at once needs a date that differs.
        version.modified = version
            .modified
            .map(|date| date + Duration::from_secs(3600));
    }
}

impl Version {
    pub(super) fn validators(&self) -> Validators<'_> {
        Validators {
            etag: self.etag.as_deref(),
            modified: self.modified,
        }
    }
}

/// Accepts connections until it is aborted; that ends them too, because they live in its join set.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    for number in 0.. {
        let stream = loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => break stream,
                    // Out of descriptors, say: time may help.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                },
                Some(_) = connections.join_next() => {}
            }
        };
        connections.spawn(converse(stream, number, Arc::clone(&shared)));
    }
}

/// Serves one connection to its end. A client that goes away is no fault of this server's, so errors are not told.
async fn converse(stream: TcpStream, number: u64, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut hang_up = shared.hang_up.subscribe();
    let pacer = Arc::new(Pacer::new(shared.config.rate_per_connection));
    let service = service_fn(move |request: Request<_>| {
        let answer = Answer {
            shared: Arc::clone(&shared),
            pacer: Arc::clone(&pacer),
            version: shared.version(),
            connection: number,
        };
        let (request, _body): (_, hyper::body::Incoming) = request.into_parts();
        async move { Ok::<_, Infallible>(answer.to(&request)) }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // Looked at first, so that what happens after the call, such as a release, reaches no connection that it ends.
        biased;
        _ = hang_up.changed() => {}
        _ = served => {}
    }
}
