//! Asks a server for the metadata of an object.

use std::time::Duration;

use hyper::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};

use super::body::Body;
use super::client::Client;
use super::coding::Coding;
use super::conditions::{Conditions, Judgement};
use super::error::{HttpError, HttpErrorKind};
use super::head::{Head, Media};
use super::pinned::Pinned;
use super::redirect::{Ask, FinalReply, follow};
use super::source::{Endpoint, Source};
use crate::object::{ByteRange, ContentRange, Identity};

/// How long to wait for the reply to HEAD before GET is used instead: some servers never answer
/// HEAD.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);

/// The object's metadata, from the probe's reply.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    /// In bytes; `None` if the server does not name it.
    pub(crate) length: Option<u64>,
    /// All that tells this version from others.
    pub(crate) identity: Identity,
    /// Whether the version was so new that another change in the same second would not show.
    pub(crate) is_young: bool,
    /// The media type in lower case, without its parameters.
    pub(crate) media: Option<String>,
    /// The content coding in which the object is stored.
    pub(crate) coding: Option<Coding>,
    pub(crate) ranges: RangeSupport,
    /// The fields that may carry digests of the whole object, and the codings that these are of.
    /// Names are in lower case.
    pub(crate) fields: Vec<(String, String)>,
    /// The time from the open connection to the head of the reply.
    pub(crate) first_byte: Duration,
    /// How long a round trip to the server takes at most.
    pub(crate) round_trip: Duration,
}

impl Metadata {
    /// This version, of `length` bytes.
    pub(crate) fn pinned(&self, length: u64) -> Pinned {
        let pinned = Pinned::new(length, self.identity.clone());
        if self.is_young {
            pinned.note_young();
        }
        pinned
            .in_coding(self.coding.clone())
            .of_media(self.media.clone())
    }
}

/// Whether the server supports byte ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeSupport {
    Yes,
    No,
    Unknown,
}

/// The outcome of a probe.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one a download")]
pub(crate) enum Probed {
    Found {
        metadata: Metadata,
        /// The whole object from byte 0, if the server answered the ranged GET with it.
        stream: Option<Body>,
    },
    /// The caller's condition holds that there is no newer version.
    NotModified,
}

/// Requests the metadata by HEAD, and by a GET of the first byte if the reply to HEAD is not
/// enough.
///
/// Every wait is bounded. Cancel safe: dropping the future drops the request.
///
/// # Errors
///
/// `PreconditionFailed` if a condition of the caller does not hold; else any other
/// [`HttpErrorKind`].
pub(crate) async fn probe(
    client: &Client,
    source: &Source,
    conditions: &Conditions,
) -> Result<Probed, HttpError> {
    let ask = Ask {
        method: Method::HEAD,
        endpoint: Endpoint::Metadata,
        fields: conditions.fields()?,
        stall: client.stall_timeout().min(HEAD_PATIENCE),
    };
    match follow(client, source, &ask).await {
        Ok(answer) => match judge_head(answer.head()) {
            Heard::Length(length) => found(&answer, conditions, Some(length), None),
            Heard::NotModified if conditions.ask_for_another() => Ok(Probed::NotModified),
            Heard::Failed(error) => Err(answer.blame(error)),
            Heard::TooLittle | Heard::NotModified => {
                let is_there = answer.head().status == StatusCode::OK;
                let probed = by_get(client, source, conditions, is_there).await?;
                Ok(pinned_as_by_head(probed, answer.head()))
            }
        },
        Err(error) if may_be_head_alone(error.kind()) => {
            probe_by_get(client, source, conditions).await
        }
        Err(error) => Err(error),
    }
}

/// Requests the metadata by a GET of the first byte, which is right where HEAD is wrong.
///
/// # Errors
///
/// The errors of [`probe`].
pub(crate) async fn probe_by_get(
    client: &Client,
    source: &Source,
    conditions: &Conditions,
) -> Result<Probed, HttpError> {
    by_get(client, source, conditions, false).await
}

/// The probe by GET. Where HEAD told that the object `is_there`, a GET without a range follows one
/// that is refused.
async fn by_get(
    client: &Client,
    source: &Source,
    conditions: &Conditions,
    is_there: bool,
) -> Result<Probed, HttpError> {
    let plain = conditions.fields()?;
    let mut ranged = plain.clone();
    ranged.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
    let answer = get(client, source, ranged).await?;
    let got = judge_ranged(answer.head());
    let total = match answer.head().content_range() {
        Ok(Some(ContentRange::Satisfied { total, .. })) => total,
        _ => None,
    };
    match got {
        Got::Unusable => {}
        Got::Failed(_) if is_there && may_be_range_alone(answer.head().status) => {}
        Got::Stream(None) => {
            let mut probed = take(client, answer, got, conditions)?;
            if is_more_than_asked(&mut probed).await? {
                return Ok(probed);
            }
        }
        got => return take(client, answer, got, conditions),
    }
    let answer = get(client, source, plain).await?;
    let got = match judge_plain(answer.head()) {
        // The reply to the range told the length.
        Got::Stream(None) => Got::Stream(total),
        got => got,
    };
    take(client, answer, got, conditions)
}

/// Whether a reply without a length, to a request for one byte, has more than that: it is the whole
/// object then. Some servers send the range that was asked for as if it were that.
async fn is_more_than_asked(probed: &mut Probed) -> Result<bool, HttpError> {
    match probed {
        Probed::Found {
            stream: Some(body), ..
        } => body.is_longer_than(1).await,
        _ => Ok(true),
    }
}

/// What a reply to GET tells, with its body where that is the whole object.
fn take(
    client: &Client,
    answer: FinalReply,
    got: Got,
    conditions: &Conditions,
) -> Result<Probed, HttpError> {
    match got {
        Got::Ranged(length) => found(&answer, conditions, Some(length), None),
        Got::Stream(length) => {
            let range = length.map(ByteRange::whole);
            let probed = found(&answer, conditions, length, Some(RangeSupport::No))?;
            Ok(match probed {
                Probed::Found { metadata, .. } => Probed::Found {
                    metadata,
                    stream: Some(Body::new(answer, range, client)),
                },
                Probed::NotModified => Probed::NotModified,
            })
        }
        Got::NotModified if conditions.ask_for_another() => Ok(Probed::NotModified),
        Got::Failed(error) => Err(answer.blame(error)),
        Got::Unusable | Got::NotModified => Err(answer.blame(answer.head().status_error())),
    }
}

async fn get(client: &Client, source: &Source, fields: HeaderMap) -> Result<FinalReply, HttpError> {
    let ask = Ask {
        method: Method::GET,
        endpoint: Endpoint::Object,
        fields,
        stall: client.stall_timeout(),
    };
    follow(client, source, &ask).await
}

/// Takes the validator from the reply to HEAD if the object is empty: a 416 names no version.
fn pinned_as_by_head(probed: Probed, head: Head<'_>) -> Probed {
    match probed {
        Probed::Found {
            metadata,
            stream: None,
        } if metadata.length == Some(0) && !metadata.identity.has_fields() => Probed::Found {
            metadata: Metadata {
                identity: head.claims().unwrap_or_default(),
                ..metadata
            },
            stream: None,
        },
        probed => probed,
    }
}

/// The result of a HEAD request.
enum Heard {
    Length(u64),
    TooLittle,
    NotModified,
    Failed(HttpError),
}

fn judge_head(head: Head<'_>) -> Heard {
    match head.status {
        StatusCode::OK => match head.content_length() {
            // Some servers name a coding that no GET has.
            _ if head.coding().is_some() => Heard::TooLittle,
            // Many servers name a length of 0 when they do not know it.
            Ok(Some(length)) if length > 0 => Heard::Length(length),
            _ => Heard::TooLittle,
        },
        StatusCode::NOT_MODIFIED => Heard::NotModified,
        StatusCode::PRECONDITION_FAILED => Heard::Failed(precondition_failed()),
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => Heard::Failed(head.status_error()),
        _ => Heard::TooLittle,
    }
}

/// Whether the failure may concern HEAD only, so that GET is worth a try.
fn may_be_head_alone(kind: &HttpErrorKind) -> bool {
    matches!(
        kind,
        HttpErrorKind::Stalled
            | HttpErrorKind::Closed
            | HttpErrorKind::Transport
            | HttpErrorKind::Protocol(_)
            | HttpErrorKind::Unreadable { .. }
    )
}

/// Whether the status may concern the range only, so that a GET without one is worth a try. Some
/// servers refuse every range of an empty object.
fn may_be_range_alone(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::INTERNAL_SERVER_ERROR
    )
}

/// The result of a GET request.
enum Got {
    /// The server supports ranges; the object's length in bytes.
    Ranged(u64),
    Stream(Option<u64>),
    /// The reply to the range is unusable; a GET without a range may succeed.
    Unusable,
    NotModified,
    Failed(HttpError),
}

fn judge_ranged(head: Head<'_>) -> Got {
    match head.status {
        StatusCode::PARTIAL_CONTENT => match (head.content_range(), head.content_length()) {
            (
                Ok(Some(ContentRange::Satisfied {
                    range,
                    total: Some(total),
                })),
                Ok(None | Some(1)),
            ) if range == ByteRange::whole(1) && head.media() != Media::Multipart => {
                Got::Ranged(total)
            }
            _ => Got::Unusable,
        },
        StatusCode::RANGE_NOT_SATISFIABLE => match head.content_range() {
            Ok(Some(ContentRange::Unsatisfied { total: 0 })) => Got::Ranged(0),
            _ => Got::Unusable,
        },
        // One byte, or a slice that says so: whether it is the whole object, only a GET without a
        // range tells.
        StatusCode::OK
            if head.headers.contains_key(CONTENT_RANGE)
                || matches!(head.content_length(), Ok(Some(1))) =>
        {
            Got::Unusable
        }
        _ => judge_plain(head),
    }
}

fn judge_plain(head: Head<'_>) -> Got {
    match head.status {
        StatusCode::OK => match (head.content_length(), head.coding()) {
            (Ok(None), Some(coding)) => Got::Failed(coding.without_length()),
            (Ok(length), _) => Got::Stream(length),
            (Err(error), _) => Got::Failed(error),
        },
        StatusCode::NOT_MODIFIED => Got::NotModified,
        StatusCode::PRECONDITION_FAILED => Got::Failed(precondition_failed()),
        _ => Got::Failed(head.status_error()),
    }
}

fn precondition_failed() -> HttpError {
    HttpError::precondition_failed("the server says that the condition does not hold (412)")
}

/// The metadata in a reply, if the caller's conditions hold.
fn found(
    answer: &FinalReply,
    conditions: &Conditions,
    length: Option<u64>,
    ranges: Option<RangeSupport>,
) -> Result<Probed, HttpError> {
    let head = answer.head();
    let identity = head.claims().map_err(|error| answer.blame(error))?;
    match conditions.judge(&identity) {
        Judgement::Holds => {}
        Judgement::NotModified => return Ok(Probed::NotModified),
        Judgement::Failed(why) => {
            return Err(answer.blame(HttpError::precondition_failed(why)));
        }
    }
    let metadata = Metadata {
        length,
        identity,
        is_young: head.is_young(),
        media: head.media_type(),
        // The body of a 416 is a message, and not the object.
        coding: head.coding().filter(|_| head.status.is_success()),
        ranges: ranges.unwrap_or_else(|| range_support(head)),
        fields: digest_fields(head),
        first_byte: answer.first_byte,
        round_trip: answer.round_trip,
    };
    Ok(Probed::Found {
        metadata,
        stream: None,
    })
}

fn range_support(head: Head<'_>) -> RangeSupport {
    match (head.status, head.accepts_ranges()) {
        (StatusCode::PARTIAL_CONTENT, _) | (_, Some(true)) => RangeSupport::Yes,
        (_, Some(false)) => RangeSupport::No,
        (_, None) => RangeSupport::Unknown,
    }
}

/// The fields whose names suggest a digest, and those that tell whether Google's cover the bytes
/// that it sends. In a partial reply, those defined over the message's content (RFC 9530, section 2;
/// RFC 1864) are left out: they cover only the part.
fn digest_fields(head: Head<'_>) -> Vec<(String, String)> {
    let is_part = head.status != StatusCode::OK;
    head.headers
        .iter()
        .filter(|(name, _)| {
            let name = name.as_str();
            let is_of_content = name == "content-digest" || name == "content-md5";
            [
                "digest",
                "hash",
                "checksum",
                "md5",
                "crc",
                "sha1",
                "sha256",
                "sha-",
                "content-encoding",
            ]
            .iter()
            .any(|word| name.contains(word))
                && !(is_part && is_of_content)
        })
        .filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests;
