//! One ranged GET, with the head of its reply checked.

use hyper::header::{HeaderMap, HeaderValue, IF_MATCH, IF_UNMODIFIED_SINCE, RANGE};
use reqwest::{Method, StatusCode};

use super::body::Body;
use super::client::Client;
use super::error::HttpError;
use super::head::{Head, Media};
use super::redirect::{Ask, follow};
use super::source::{Endpoint, Source};
use crate::object::{ByteRange, ContentRange, Validator};

/// The version that every reply must belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pinned {
    /// In bytes.
    pub(crate) length: u64,
    pub(crate) validator: Validator,
}

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
/// which can't be requested; else any other [`HttpErrorKind`](super::HttpErrorKind).
pub(crate) async fn fetch(
    client: &Client,
    source: &Source,
    pinned: &Pinned,
    range: ByteRange,
) -> Result<Reply, HttpError> {
    let ask = Ask {
        method: Method::GET,
        endpoint: Endpoint::Object,
        fields: fields(&pinned.validator, range)?,
        stall: client.stall_timeout(),
    };
    let answer = follow(client, source, &ask).await?;
    let promise = check(answer.head(), pinned, range).map_err(|error| answer.blame(error))?;
    let body = |range| Body::new(answer.response, Some(range), answer.first_byte, client);
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
        fields: conditions(&pinned.validator),
        stall: client.stall_timeout(),
    };
    let answer = follow(client, source, &ask).await?;
    let head = answer.head();
    let checked = match head.status {
        StatusCode::OK => check_whole(head, pinned),
        StatusCode::PRECONDITION_FAILED => Err(precondition_failed()),
        _ => Err(head.status_error()),
    };
    checked.map_err(|error| answer.blame(error))?;
    Ok(Body::new(
        answer.response,
        Some(ByteRange::whole(pinned.length)),
        answer.first_byte,
        client,
    ))
}

fn precondition_failed() -> HttpError {
    HttpError::changed("the server says that it is no longer the version asked for (412)")
}

/// `Range`, and the condition that the validator allows.
fn fields(validator: &Validator, range: ByteRange) -> Result<HeaderMap, HttpError> {
    let range = range
        .to_header()
        .ok_or_else(|| HttpError::protocol("an empty range can't be asked for"))?;
    let mut fields = conditions(validator);
    fields.insert(RANGE, ascii(&range));
    Ok(fields)
}

/// The condition that the validator allows.
fn conditions(validator: &Validator) -> HeaderMap {
    let mut fields = HeaderMap::new();
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
        StatusCode::OK => check_whole(head, pinned).map(|()| Promise::Whole),
        StatusCode::PRECONDITION_FAILED => Err(precondition_failed()),
        StatusCode::RANGE_NOT_SATISFIABLE => Err(check_unsatisfied(head, pinned, asked)),
        _ => Err(head.status_error()),
    }
}

fn check_part(head: Head<'_>, pinned: &Pinned, asked: ByteRange) -> Result<ByteRange, HttpError> {
    head.refuse_coding()?;
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
    check_version(head, pinned)?;
    match total {
        Some(total) => check_total(total, pinned.length)?,
        None if !names_pinned_tag(head, &pinned.validator) => {
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
        _ => Ok(range),
    }
}

fn check_whole(head: Head<'_>, pinned: &Pinned) -> Result<(), HttpError> {
    head.refuse_coding()?;
    if head.media() == Media::Multipart {
        return Err(HttpError::protocol("200 with a multipart body"));
    }
    check_version(head, pinned)?;
    let length = head.content_length()?;
    // Most likely a login page or an error page in place of the object.
    if head.media() == Media::Html
        && length != Some(pinned.length)
        && !names_pinned_tag(head, &pinned.validator)
    {
        return Err(HttpError::protocol(
            "200 with a page of HTML in place of the bytes asked for",
        ));
    }
    match length {
        Some(total) => check_total(total, pinned.length),
        None if proves_version(head, &pinned.validator) => Ok(()),
        None => Err(HttpError::protocol(
            "200 that proves neither length nor version",
        )),
    }
}

fn check_unsatisfied(head: Head<'_>, pinned: &Pinned, asked: ByteRange) -> HttpError {
    if let Err(error) = check_version(head, pinned) {
        return error;
    }
    match head.content_range() {
        Ok(Some(ContentRange::Unsatisfied { total })) => match check_total(total, pinned.length) {
            Err(error) => error,
            Ok(()) => HttpError::protocol(format!(
                "416 for the range {asked}, which lies within the {total} bytes that it names"
            )),
        },
        Ok(_) => HttpError::protocol(format!("416 for the range {asked}, without a length")),
        Err(error) => error,
    }
}

fn check_version(head: Head<'_>, pinned: &Pinned) -> Result<(), HttpError> {
    pinned
        .validator
        .check(head.etag().as_ref(), head.last_modified())
        .map_err(|mismatch| HttpError::changed(mismatch.to_string()))
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

/// Whether the reply carries the pinned entity tag, and the tag is strong.
fn names_pinned_tag(head: Head<'_>, validator: &Validator) -> bool {
    matches!(validator, Validator::Strong(pinned) if head.etag().as_ref() == Some(pinned))
}

/// Whether the reply carries the pinned validator; true if nothing is pinned.
fn proves_version(head: Head<'_>, validator: &Validator) -> bool {
    match validator {
        Validator::Strong(pinned) | Validator::Weak { tag: pinned, .. } => {
            head.etag().as_ref() == Some(pinned)
        }
        Validator::LastModified(pinned) => head.last_modified() == Some(*pinned),
        Validator::None => true,
    }
}

#[cfg(test)]
mod tests;
