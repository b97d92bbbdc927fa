//! Reads the body of an error, with its length and the wait for it bounded.

use std::cmp::Reverse;
use std::time::Duration;

use reqwest::Response;
use tokio::time::timeout;

use super::client::Hop;
use super::explanation::Explanation;
use super::head::Head;

/// How much of the body is read, in bytes.
const MOST_BYTES: usize = 16 << 10;

/// How long the body is awaited, which delays the next attempt.
const PATIENCE: Duration = Duration::from_secs(1);

/// A part of what was sent that is shorter than this is no secret.
const SHORTEST_SECRET: usize = 4;

/// Reads the explanation in the body of a reply to `hop`; `None` if the reply is no error.
pub(super) async fn read(response: &mut Response, hop: &Hop<'_>) -> Option<Explanation> {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let head = Head {
        status,
        headers: response.headers(),
    };
    if !is_error || head.coding().is_some() {
        return None;
    }
    let media = head.media_type();
    let mut body = Vec::new();
    // What has come until then may be enough.
    let _ = timeout(PATIENCE, fill(&mut body, response)).await;
    let body = String::from_utf8_lossy(&body);
    Some(Explanation::of(
        status,
        media.as_deref(),
        &body,
        &secrets(hop),
    ))
}

async fn fill(body: &mut Vec<u8>, response: &mut Response) {
    while let Ok(Some(bytes)) = response.chunk().await {
        let room = MOST_BYTES - body.len();
        body.extend(&bytes[..room.min(bytes.len())]);
        if body.len() == MOST_BYTES {
            return;
        }
    }
}

/// What was sent with the request and is not to be shown.
fn secrets(hop: &Hop<'_>) -> Vec<String> {
    let headers = hop.permit.headers.values();
    let mut said: Vec<String> = headers
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    if let Some(user) = &hop.permit.basic {
        said.push(user.name.clone());
        said.extend(user.password.clone());
    }
    let url = hop.to.url();
    said.extend(url.query().map(str::to_owned));
    said.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
    let parts = said
        .iter()
        .flat_map(|text| text.split([' ', ';', ',', '=', '&', ':']));
    let mut parts: Vec<String> = parts
        .map(str::to_owned)
        .chain(said.iter().cloned())
        .collect();
    parts.retain(|part| part.len() >= SHORTEST_SECRET);
    // A long one may have a short one in it.
    parts.sort_unstable_by_key(|part| Reverse(part.len()));
    parts
}
