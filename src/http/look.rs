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

/// How often an object that came in one reply is asked for again where a reply tells another
/// version. Of several servers behind one name, each with a tag of its own, one may have sent it.
const MORE_LOOKS: u32 = 4;

/// What a reply tells of the object.
enum Seen {
    /// It is of the pinned version.
    Same,
    /// It may be of any version: the reply has no field of the pinned one.
    Unnamed,
    /// It is of another version, whose fields are these.
    Other(Box<Identity>, HttpError),
    /// It has another length.
    Resized(HttpError),
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
        Seen::Resized(changed) => Err(changed),
        Seen::Other(claims, changed) => {
            let more = if pinned.replies() == 1 { MORE_LOOKS } else { 1 };
            for _ in 0..more {
                let again = by_get(client, source, pinned).await?;
                if let Some(settled) = settle(&claims, again, pinned) {
                    return settled;
                }
            }
            Err(changed)
        }
        Seen::Unnamed => match heard {
            // Only HEAD tells a version.
            Ok(Seen::Other(claims, changed)) => {
                let again = by_head(client, source, pinned).await?;
                settle(&claims, again, pinned).unwrap_or(Err(changed))
            }
            Ok(Seen::Resized(changed)) => match by_head(client, source, pinned).await? {
                Seen::Resized(_) => Err(changed),
                _ => Ok(()),
            },
            // Nothing that the server sends could tell more.
            _ if pinned.identity().best_proof() == Proof::None => Ok(()),
            _ => Err(HttpError::protocol("no reply names the version")),
        },
    }
}

/// What a further reply says of one that contradicts the pinned version with these claims; `None`
/// where it says the same. Some servers make a new tag for every reply: then one reply brought all
/// bytes, or they would not have agreed.
fn settle(claims: &Identity, again: Seen, pinned: &Pinned) -> Option<Result<(), HttpError>> {
    match again {
        Seen::Same => Some(Ok(())),
        Seen::Resized(changed) => Some(Err(changed)),
        Seen::Other(found, _) if *found != *claims && pinned.replies() == 1 => {
            let why = "the server names another version in every reply";
            Some(Err(HttpError::protocol(why)))
        }
        Seen::Other(..) | Seen::Unnamed => None,
    }
}

async fn by_head(client: &Client, source: &Source, pinned: &Pinned) -> Result<Seen, HttpError> {
    let answer = ask(client, source, Method::HEAD, HeaderMap::new()).await?;
    let head = answer.head();
    if head.status != StatusCode::OK {
        return Err(answer.blame(head.status_error()));
    }
    // Many servers name a length of 0 when they do not know it, or one of coded bytes.
    let length = head.content_length().ok().flatten();
    let length = length.filter(|length| *length > 0 && head.coding().is_none());
    see(&answer, pinned, length)
}

/// Asks for the first byte, without a condition.
async fn by_get(client: &Client, source: &Source, pinned: &Pinned) -> Result<Seen, HttpError> {
    let range = [(RANGE, HeaderValue::from_static("bytes=0-0"))];
    let answer = ask(client, source, Method::GET, range.into_iter().collect()).await?;
    let head = answer.head();
    let length = match head.status {
        StatusCode::PARTIAL_CONTENT => match head.content_range() {
            Ok(Some(ContentRange::Satisfied { total, .. })) => total,
            _ => None,
        },
        StatusCode::RANGE_NOT_SATISFIABLE => match head.content_range() {
            Ok(Some(ContentRange::Unsatisfied { total })) => Some(total),
            _ => return Err(answer.blame(head.status_error())),
        },
        // One byte may be the range that was asked for.
        StatusCode::OK => {
            let length = head.content_length().ok().flatten();
            length.filter(|length| *length != 1)
        }
        _ => return Err(answer.blame(head.status_error())),
    };
    see(&answer, pinned, length)
}

/// What this reply tells, which names an object of `length` bytes.
fn see(answer: &FinalReply, pinned: &Pinned, length: Option<u64>) -> Result<Seen, HttpError> {
    let head = answer.head();
    let blame = |error| answer.blame(error);
    if head.status == StatusCode::OK && length != Some(pinned.length) {
        pinned
            .check_media(head.media_type().as_deref())
            .map_err(blame)?;
    }
    let claims = head.claims().map_err(blame)?;
    // A stream has no length.
    if let Some(length) = length.filter(|_| pinned.length > 0)
        && length != pinned.length
    {
        let why = format!("its length was {} bytes and is {length} now", pinned.length);
        return Ok(Seen::Resized(blame(HttpError::changed(why))));
    }
    Ok(match pinned.look_again(&claims) {
        Ok(Proof::None) => Seen::Unnamed,
        Ok(_) => Seen::Same,
        Err(changed) => Seen::Other(Box::new(claims), blame(changed)),
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
