//! A last look at an object whose bytes have all come.

use std::time::Duration;

use hyper::header::{HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};

use super::client::Client;
use super::error::HttpError;
use super::pinned::Pinned;
use super::redirect::{Ask, FinalReply, follow};
use super::source::{Endpoint, Source};
use crate::object::{ContentRange, Identity, Proof};

/// How long to wait for a reply. The look delays the end of the download.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a reply tells of the object.
enum Seen {
    /// It is of the pinned version.
    Same,
    /// It may be of any version: the reply has no field of the pinned one.
    Unnamed,
    /// It is of another version, whose fields are these.
    Other(Box<Identity>, HttpError),
}

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
    let heard = by_head(client, source, pinned).await;
    if matches!(heard, Ok(Seen::Same)) {
        return Ok(());
    }
    match by_get(client, source, pinned).await? {
        Seen::Same => Ok(()),
        Seen::Other(claims, changed) if pinned.replies() == 1 => {
            let again = by_get(client, source, pinned).await?;
            settle(&claims, changed, again)
        }
        Seen::Other(_, changed) => Err(changed),
        Seen::Unnamed => match heard {
            // Only HEAD tells a version.
            Ok(Seen::Other(claims, changed)) => {
                let again = by_head(client, source, pinned).await?;
                settle(&claims, changed, again)
            }
            _ => Err(HttpError::protocol("no reply names the version")),
        },
    }
}

/// Judges a reply that contradicts the pinned version by a second one. Some servers make a new tag
/// for every reply, so that one reply differs from any other.
fn settle(claims: &Identity, changed: HttpError, again: Seen) -> Result<(), HttpError> {
    match again {
        Seen::Same => Ok(()),
        Seen::Other(found, _) if *found != *claims => {
            let why = "the server names another version in every reply";
            Err(HttpError::protocol(why))
        }
        Seen::Other(..) | Seen::Unnamed => Err(changed),
    }
}

async fn by_head(client: &Client, source: &Source, pinned: &Pinned) -> Result<Seen, HttpError> {
    let answer = ask(client, source, Method::HEAD, HeaderMap::new()).await?;
    let head = answer.head();
    if head.status != StatusCode::OK {
        return Err(answer.blame(head.status_error()));
    }
    let length = head.content_length();
    see(
        &answer,
        pinned,
        length.map_err(|error| answer.blame(error))?,
    )
}

/// Asks for the first byte, without a condition.
async fn by_get(client: &Client, source: &Source, pinned: &Pinned) -> Result<Seen, HttpError> {
    let range = [(RANGE, HeaderValue::from_static("bytes=0-0"))];
    let answer = ask(client, source, Method::GET, range.into_iter().collect()).await?;
    let head = answer.head();
    let length = match head.status {
        StatusCode::PARTIAL_CONTENT => match head.content_range()? {
            Some(ContentRange::Satisfied { total, .. }) => total,
            _ => None,
        },
        // One byte may be the range that was asked for.
        StatusCode::OK => head.content_length()?.filter(|length| *length != 1),
        _ => return Err(answer.blame(head.status_error())),
    };
    see(&answer, pinned, length)
}

/// What this reply tells, which names an object of `length` bytes.
fn see(answer: &FinalReply, pinned: &Pinned, length: Option<u64>) -> Result<Seen, HttpError> {
    let claims = (answer.head().claims()).map_err(|error| answer.blame(error))?;
    let other = |claims, changed| Seen::Other(Box::new(claims), answer.blame(changed));
    // A stream has no length.
    if let Some(length) = length.filter(|_| pinned.length > 0)
        && length != pinned.length
    {
        let why = format!("its length was {} bytes and is {length} now", pinned.length);
        return Ok(other(claims, HttpError::changed(why)));
    }
    Ok(match pinned.look_again(&claims) {
        Ok(Proof::None) => Seen::Unnamed,
        Ok(_) => Seen::Same,
        Err(changed) => other(claims, changed),
    })
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
