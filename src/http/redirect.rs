//! Follows redirects. The HTTP client below would send secrets along.

use std::borrow::Cow;
use std::time::Duration;

use hyper::header::{HeaderMap, LOCATION};
use percent_encoding::{AsciiSet, percent_encode};
use reqwest::{Method, Response, StatusCode};

use super::access::is_for_the_link;
use super::client::{Client, Hop, Replied};
use super::connections::Generation;
use super::error::{HttpError, HttpErrorKind};
use super::error_body;
use super::explanation::Explanation;
use super::head::Head;
use super::source::{Endpoint, Location, Source, Start};

/// How many redirects one request follows.
const MOST_REDIRECTS: usize = 10;

/// A request to a source, before redirects.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) endpoint: Endpoint,
    pub(super) fields: HeaderMap,
    /// The longest wait for the head of each hop's reply.
    pub(super) stall: Duration,
}

/// The reply at the end of the redirects, of any status.
pub(super) struct FinalReply {
    pub(super) response: Response,
    pub(super) first_byte: Duration,
    /// The pool of the connection that the reply came over.
    pub(super) generation: Generation,
    /// How long a round trip to the server takes at most.
    pub(super) round_trip: Duration,
    /// The origin that the redirects led to, if it is not the source's.
    pub(super) origin: Option<String>,
    /// What the body says, if the status is an error's.
    pub(super) explanation: Option<Explanation>,
}

impl FinalReply {
    pub(super) fn head(&self) -> Head<'_> {
        Head {
            status: self.response.status(),
            headers: self.response.headers(),
        }
    }

    /// Adds to an error what the reply says of it, and the origin, if the redirects led to another
    /// one than the source's.
    pub(super) fn blame(&self, error: HttpError) -> HttpError {
        let error = match &self.explanation {
            Some(explanation) => error.explained(explanation),
            None => error,
        };
        match &self.origin {
            Some(origin) => error.at(origin.clone()),
            None => error,
        }
    }
}

/// Sends a request and follows its redirects. It goes to the last redirect target first; if that
/// refuses, the original URL is resolved again.
///
/// # Errors
///
/// The errors of [`Client::send`], and `Redirect`. A status is not an error here.
pub(super) async fn follow(
    client: &Client,
    source: &Source,
    ask: &Ask,
) -> Result<FinalReply, HttpError> {
    let start = source.start(ask.endpoint);
    if let Some(target) = &start.target {
        match walk(client, &start, target, ask).await {
            Ok((answer, _)) if is_for_the_link(answer.response.status()) => {
                source.forget_this_target(target);
            }
            Ok((answer, _)) => return Ok(answer),
            Err(error) => {
                if is_unreachable(error.kind()) {
                    source.forget_this_target(target);
                }
                return Err(error);
            }
        }
    }
    let (answer, end) = walk(client, &start, &start.given, ask).await?;
    if end != start.given && answer.response.status().is_success() {
        source.remember_target(&start.given, end);
    }
    Ok(answer)
}

/// Follows the redirects from `first`. Also returns where they ended.
async fn walk(
    client: &Client,
    start: &Start,
    first: &Location,
    ask: &Ask,
) -> Result<(FinalReply, Location), HttpError> {
    let own = start.given.origin();
    let mut at = first.clone();
    let (mut hops, mut seen) = (0, Vec::new());
    loop {
        let origin = at.origin();
        let origin = (origin != own).then(|| origin.to_string());
        let blame = |error: HttpError| match &origin {
            Some(origin) => error.at(origin.clone()),
            None => error,
        };
        let mut permit = client.secrets().permit(&start.home, &start.given, &at);
        client.cookies().add(&at, &mut permit.headers);
        let hop = Hop {
            method: &ask.method,
            to: &at,
            fields: &ask.fields,
            permit,
            stall: ask.stall,
        };
        let Replied {
            mut response,
            first_byte,
            generation,
        } = client.send(&hop).await.map_err(blame)?;
        note(&at, ask, response.status(), first_byte);
        let has_cookie = client.cookies().keep(&at, response.headers());
        let Some(next) = next_hop(&at, response.status(), response.headers()).map_err(blame)?
        else {
            let explanation = error_body::read(&mut response, &hop).await;
            let answer = FinalReply {
                round_trip: client.handshakes().round_trip(&at, first_byte),
                response,
                explanation,
                first_byte,
                generation,
                origin,
            };
            return Ok((answer, at));
        };
        hops += 1;
        if hops > MOST_REDIRECTS {
            return Err(HttpError::redirect(format!(
                "more than {MOST_REDIRECTS} redirects"
            )));
        }
        if has_cookie {
            // With it, every URL may lead elsewhere.
            seen.clear();
        } else {
            seen.push(at);
        }
        if seen.contains(&next) {
            return Err(HttpError::redirect("the redirects lead in a circle"));
        }
        at = next;
    }
}

/// Records a reply in the span of its request. Of a URL it shows only the origin: a redirect may
/// lead to a signed URL.
fn note(at: &Location, ask: &Ask, status: StatusCode, first_byte: Duration) {
    let span = tracing::Span::current();
    if span.is_disabled() {
        return;
    }
    let server = tracing::field::display(at.origin());
    span.record("server", &server);
    span.record("status", status.as_u16());
    tracing::trace!(method = %ask.method, server, status = status.as_u16(), ?first_byte, "reply");
}

/// The target of a redirect; `None` if the reply is not a redirect.
fn next_hop(
    from: &Location,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Option<Location>, HttpError> {
    match status {
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => {}
        _ => return Ok(None),
    }
    let refused = |why: &str| {
        HttpError::redirect(format!(
            "a redirect ({}) that can't be followed: {why}",
            status.as_str()
        ))
    };
    let location = headers
        .get(LOCATION)
        .ok_or_else(|| refused("it has no Location"))?;
    let url = from
        .url()
        .join(&text_of(location.as_bytes()))
        .map_err(|error| refused(&format!("its Location is no URL: {error}")))?;
    match (from.url().scheme(), url.scheme()) {
        ("http", "http") | (_, "https") => Ok(Some(Location::from_url(url))),
        ("https", "http") => Err(refused("it leads from https to http")),
        (_, scheme) => Err(refused(&format!("it leads to the scheme `{scheme}`"))),
    }
}

/// The bytes of a `Location` as text. A path in Latin-1 names the file by these very bytes, so they
/// are percent-encoded as they are.
fn text_of(location: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(location) {
        Ok(text) => text.into(),
        Err(_) => percent_encode(location, &AsciiSet::EMPTY).into(),
    }
}

/// Whether a target does not answer at all, so that the next attempt should resolve a new one.
fn is_unreachable(kind: &HttpErrorKind) -> bool {
    matches!(
        kind,
        HttpErrorKind::Resolve { .. }
            | HttpErrorKind::Connect
            | HttpErrorKind::Unreachable
            | HttpErrorKind::Tls
            | HttpErrorKind::Timeout
            | HttpErrorKind::Stalled
            | HttpErrorKind::Closed
            | HttpErrorKind::Redirect(_)
    )
}

#[cfg(test)]
mod tests;
