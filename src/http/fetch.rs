//! One ranged GET, with the head of its reply checked.

use hyper::header::{HeaderMap, HeaderValue, IF_MATCH, IF_UNMODIFIED_SINCE, RANGE};
use reqwest::{Method, StatusCode};

use super::body::Body;
use super::client::Client;
use super::error::{HttpError, HttpErrorKind};
use super::head::{Head, Media};
use super::pinned::Pinned;
use super::redirect::{Ask, FinalReply, follow};
use super::source::{Endpoint, Source};
use crate::object::{ByteRange, ContentRange, Proof, Validator};

/// A reply whose head passed all checks.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A 206 that starts where the requested range starts and ends at or before its end.
    Part(Body),
    /// A 200 with the whole object from byte 0, whose head agrees with the pinned version.
    Whole(Body),
}

/// The bytes that the head of a reply promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    Part(ByteRange),
    Whole,
}

/// Requests a range of the pinned version (RFC 9110, sections 13.1 and 14.2) and checks the head of
/// the reply.
///
/// A different entity tag is a change, even between two nodes of a CDN. Every wait is bounded, by
/// the connect timeout and the stall timeout of each hop. Cancel safe: dropping the future drops
/// the request.
///
/// # Errors
///
/// `Changed` for another version; `Protocol` for a reply that violates HTTP and for an empty range,
/// which can't be requested; else any other [`HttpErrorKind`].
pub(crate) async fn fetch(
    client: &Client,
    source: &Source,
    pinned: &Pinned,
    range: ByteRange,
) -> Result<Reply, HttpError> {
    let ask = Ask {
        method: Method::GET,
        endpoint: Endpoint::Object,
        fields: fields(pinned, range)?,
        stall: client.stall_timeout(),
    };
    let is_alone = range == ByteRange::whole(pinned.length) && pinned.is_open();
    let answer = ask_alone(client, source, ask, is_alone).await?;
    let promise = check(answer.head(), pinned, range).map_err(|error| answer.blame(error))?;
    let body = |range| Body::new(answer, Some(range), client);
    Ok(match promise {
        Promise::Part(range) => Reply::Part(body(range)),
        Promise::Whole => Reply::Whole(body(ByteRange::whole(pinned.length))),
    })
}

/// Requests the whole pinned version from a server without ranges, and checks the head of the
/// reply.
///
/// Bounded and cancel safe like [`fetch`].
///
/// # Errors
///
/// The errors of [`fetch`].
pub(crate) async fn fetch_whole(
    client: &Client,
    source: &Source,
    pinned: &Pinned,
) -> Result<Body, HttpError> {
    let ask = Ask {
        method: Method::GET,
        endpoint: Endpoint::Object,
        fields: conditions(pinned),
        stall: client.stall_timeout(),
    };
    let answer = ask_alone(client, source, ask, pinned.is_open()).await?;
    let head = answer.head();
    let checked = match head.status {
        StatusCode::OK => check_whole(head, pinned, ByteRange::whole(pinned.length)),
        StatusCode::PRECONDITION_FAILED => Err(precondition_failed()),
        _ => Err(head.status_error()),
    };
    checked.map_err(|error| answer.blame(error))?;
    let all = ByteRange::whole(pinned.length);
    Ok(Body::new(answer, Some(all), client))
}

/// Sends a request, and once more without its condition where the server refuses that and the reply
/// is all that is fetched. Servers behind one name may each have a tag of their own; one reply with
/// the whole object is one version, whatever the probe said.
async fn ask_alone(
    client: &Client,
    source: &Source,
    mut ask: Ask,
    is_alone: bool,
) -> Result<FinalReply, HttpError> {
    let answer = follow(client, source, &ask).await?;
    if !is_alone || answer.head().status != StatusCode::PRECONDITION_FAILED {
        return Ok(answer);
    }
    for condition in [IF_MATCH, IF_UNMODIFIED_SINCE] {
        ask.fields.remove(condition);
    }
    follow(client, source, &ask).await
}

fn precondition_failed() -> HttpError {
    HttpError::changed(HttpError::PRECONDITION)
}

/// `Range`, and the condition that the version allows.
fn fields(pinned: &Pinned, range: ByteRange) -> Result<HeaderMap, HttpError> {
    let range = range
        .to_header()
        .ok_or_else(|| HttpError::protocol("an empty range can't be asked for"))?;
    let mut fields = conditions(pinned);
    fields.insert(RANGE, ascii(&range));
    Ok(fields)
}

/// The condition that the version allows.
fn conditions(pinned: &Pinned) -> HeaderMap {
    let mut fields = HeaderMap::new();
    let Some(validator) = pinned.condition() else {
        return fields;
    };
    if let Some(tag) = validator.if_match() {
        fields.insert(IF_MATCH, ascii(tag.as_str()));
    }
    if let Some(date) = validator.if_unmodified_since() {
        fields.insert(IF_UNMODIFIED_SINCE, ascii(&httpdate::fmt_http_date(date)));
    }
    fields
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("ranges, entity tags and dates are visible ASCII")
}

/// Checks the head of a reply against the requested range and the pinned version.
fn check(head: Head<'_>, pinned: &Pinned, asked: ByteRange) -> Result<Promise, HttpError> {
    match head.status {
        StatusCode::PARTIAL_CONTENT => check_part(head, pinned, asked).map(Promise::Part),
        StatusCode::OK if is_slice(head, pinned, asked) => {
            check_part(head, pinned, asked).map(Promise::Part)
        }
        StatusCode::OK => check_whole(head, pinned, asked).map(|()| Promise::Whole),
        StatusCode::PRECONDITION_FAILED => Err(precondition_failed()),
        StatusCode::RANGE_NOT_SATISFIABLE => Err(check_unsatisfied(head, pinned, asked)),
        _ => Err(head.status_error()),
    }
}

fn check_part(head: Head<'_>, pinned: &Pinned, asked: ByteRange) -> Result<ByteRange, HttpError> {
    pinned.check_coding(head.coding().as_ref())?;
    if head.media() == Media::Multipart {
        return Err(HttpError::protocol(
            "several parts (multipart/byteranges) came though one range was asked for",
        ));
    }
    let (range, total) = match head.content_range()? {
        Some(ContentRange::Satisfied { range, total }) => (range, total),
        Some(ContentRange::Unsatisfied { .. }) => {
            return Err(HttpError::protocol("206 with an unsatisfied Content-Range"));
        }
        None => return Err(HttpError::protocol("206 without a Content-Range")),
    };
    let claims = head.claims()?;
    let is_all = range == ByteRange::whole(pinned.length);
    let proof = pinned.compare(&claims, is_all)?;
    match total {
        Some(total) => check_total(total, pinned.length)?,
        None if proof < Proof::StrongTag => {
            return Err(HttpError::protocol(
                "206 that names neither the total length nor the pinned entity tag",
            ));
        }
        None => {}
    }
    if range.start() != asked.start() || range.end() > asked.end() {
        return Err(HttpError::protocol(format!(
            "another range than the one asked for: expected {asked}, found {range}"
        )));
    }
    match head.content_length()? {
        Some(length) if length != range.len() => Err(HttpError::protocol(format!(
            "a Content-Length that is not the range's: expected {}, found {length}",
            range.len()
        ))),
        _ => {
            pinned.pin(&claims, is_all)?;
            Ok(range)
        }
    }
}

/// Checks a reply that is the whole object. A body as long as the range that was asked for, and not
/// as the object, is none (some servers answer so): it may be the range, but nothing says so. One
/// without a length may be either.
fn check_whole(head: Head<'_>, pinned: &Pinned, asked: ByteRange) -> Result<(), HttpError> {
    let coding = head.coding();
    pinned.check_coding(coding.as_ref())?;
    if head.media() == Media::Multipart {
        return Err(HttpError::protocol("200 with a multipart body"));
    }
    let claims = head.claims()?;
    let proof = pinned.compare(&claims, true)?;
    let length = head.content_length()?;
    if length != Some(pinned.length) && proof < Proof::StrongTag {
        pinned.check_media(head.media_type().as_deref())?;
    }
    let is_of_all = asked.len() == pinned.length;
    match (length, coding) {
        (Some(length), _) if length == asked.len() && !is_of_all => {
            return Err(HttpError::sliced());
        }
        (Some(total), _) => check_total(total, pinned.length)?,
        (None, Some(coding)) if proof < Proof::StrongTag => return Err(coding.without_length()),
        (None, _) if proof > Proof::None || pinned.validator() == Validator::None => {
            if !is_of_all {
                return Err(HttpError::sliced());
            }
        }
        (None, _) => {
            return Err(HttpError::protocol(
                "200 that proves neither length nor version",
            ));
        }
    }
    pinned.pin(&claims, true)
}

/// Whether a reply is a part, whatever its status says: it names a range, and its body is as long
/// as that. A range that is the whole object, and was not asked for, says that ranges are ignored.
fn is_slice(head: Head<'_>, pinned: &Pinned, asked: ByteRange) -> bool {
    let Ok(Some(ContentRange::Satisfied { range, .. })) = head.content_range() else {
        return false;
    };
    let has_length =
        matches!(head.content_length(), Ok(length) if length.is_none_or(|n| n == range.len()));
    has_length && (range == asked || range != ByteRange::whole(pinned.length))
}

fn check_unsatisfied(head: Head<'_>, pinned: &Pinned, asked: ByteRange) -> HttpError {
    if let Err(error) = check_version(head, pinned) {
        return error;
    }
    match head.content_range() {
        Ok(Some(ContentRange::Unsatisfied { total })) => match check_total(total, pinned.length) {
            Err(error) => error,
            Ok(()) => {
                let why = format!(
                    "416 for the range {asked}, which lies within the {total} bytes that it names"
                );
                match asked.len() {
                    // The server may take the end of a range for the byte after it.
                    1 => HttpError::new(HttpErrorKind::Unsatisfied, why),
                    _ => HttpError::protocol(why),
                }
            }
        },
        Ok(Some(ContentRange::Satisfied { .. })) => {
            HttpError::protocol("416 with a satisfied Content-Range")
        }
        Ok(None) => HttpError::unsatisfied(asked),
        Err(error) => error,
    }
}

fn check_version(head: Head<'_>, pinned: &Pinned) -> Result<(), HttpError> {
    pinned.compare(&head.claims()?, false).map(|_| ())
}

fn check_total(found: u64, pinned: u64) -> Result<(), HttpError> {
    if found == pinned {
        return Ok(());
    }
    Err(
        HttpError::changed(format!("its length was {pinned} bytes and is {found} now"))
            .with_found_length(found),
    )
}

#[cfg(test)]
mod tests;
