//! Accepts connections and serves each to its end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::answer::Responder;
use super::pacer::Pacer;
use super::state::OriginState;

/// Accepts connections until it is aborted, which also ends the connections in its join set.
pub(super) async fn accept(listener: TcpListener, shared: Arc<OriginState>) {
    let mut connections = JoinSet::new();
    for number in 0.. {
        let stream = loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => break stream,
                    // For example, out of descriptors: try again later.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                },
                Some(_) = connections.join_next() => {}
            }
        };
        connections.spawn(converse(stream, number, Arc::clone(&shared)));
    }
}

/// Serves one connection to its end. Errors are ignored: a client may leave at any time.
async fn converse(stream: TcpStream, number: u64, shared: Arc<OriginState>) {
    let _ = stream.set_nodelay(true);
    let mut hang_up = shared.hang_up.subscribe();
    let pacer = Arc::new(Pacer::new(shared.config.rate_per_connection));
    let service = service_fn(move |request: Request<_>| {
        let answer = Responder {
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
        // Polled first: a call after `hang_up`, such as `release`, must not reach a connection that
        // it ends.
        biased;
        _ = hang_up.changed() => {}
        _ = served => {}
    }
}
