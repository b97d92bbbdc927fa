//! A last look at an object whose bytes have all come.

use std::time::Duration;

use hyper::header::{HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};

use super::client::Client;
use super::error::HttpError;
use super::pinned::Pinned;
use super::redirect::{Ask, FinalReply, follow};
use super::source::{Endpoint, Source};
use crate::object::{Identity, Proof};

/// How long to wait for a reply. The look delays the end of the download.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks whether the object is still of the pinned version, by HEAD, and by a GET of the first byte
/// where HEAD does not say so.
///
/// Every wait is bounded. Cancel safe: dropping the future drops the request.
///
/// # Errors
///
/// `Changed` for another version; any other error where the server does not tell.
pub(crate) async fn look(
    client: &Client,
    source: &Source,
    pinned: &Pinned,
) -> Result<(), HttpError> {
    let head = ask(client, source, Method::HEAD, HeaderMap::new()).await;
    if let Ok(answer) = head
        && answer.head().status == StatusCode::OK
        && let Ok(claims) = answer.head().claims()
        && matches!(pinned.look_again(&claims), Ok(proof) if proof > Proof::None)
    {
        return Ok(());
    }
    let (found, changed) = match first_byte(client, source, pinned).await? {
        (_, Ok(_)) => return Ok(()),
        (found, Err(changed)) => (found, changed),
    };
    // Some servers make a new tag for every reply.
    let (again, looked) = first_byte(client, source, pinned).await?;
    if looked.is_ok() || found.compare(&again).is_ok() {
        return looked.map(|_| ()).map_err(|_| changed);
    }
    let why = "the server names another version in every reply";
    Err(HttpError::protocol(why))
}

/// Asks for the first byte without a condition. Returns what the reply says of its version, and how
/// that compares with the pinned one.
async fn first_byte(
    client: &Client,
    source: &Source,
    pinned: &Pinned,
) -> Result<(Identity, Result<Proof, HttpError>), HttpError> {
    let range = [(RANGE, HeaderValue::from_static("bytes=0-0"))];
    let answer = ask(client, source, Method::GET, range.into_iter().collect()).await?;
    let head = answer.head();
    if !matches!(head.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        return Err(answer.blame(head.status_error()));
    }
    let claims = head.claims().map_err(|error| answer.blame(error))?;
    let looked = pinned.look_again(&claims);
    Ok((claims, looked.map_err(|error| answer.blame(error))))
}

async fn ask(
    client: &Client,
    source: &Source,
    method: Method,
    fields: HeaderMap,
) -> Result<FinalReply, HttpError> {
    let endpoint = if method == Method::HEAD {
        Endpoint::Metadata
    } else {
        Endpoint::Object
    };
    let ask = Ask {
        method,
        endpoint,
        fields,
        stall: client.stall_timeout().min(PATIENCE),
    };
    follow(client, source, &ask).await
}
