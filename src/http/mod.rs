//! The way to the server: every reply's head is checked before a byte of it is handed out.

mod access;
mod auth;
mod body;
mod causes;
mod client;
mod coding;
mod conditions;
mod config;
mod connect;
mod connections;
mod cookies;
mod error;
mod error_body;
mod escape;
mod expiry;
mod explanation;
mod fetch;
mod handshake;
mod head;
mod lenient;
mod look;
mod netrc;
mod pinned;
mod probe;
mod proxy;
mod redirect;
mod resolve;
mod retry;
mod reuse;
mod source;
#[cfg(test)]
pub(crate) mod testing;
mod tls;
mod trust;

pub(crate) use access::{may_be_crowded, may_have_expired};
pub(crate) use body::Body;
pub(crate) use client::Client;
pub(crate) use coding::Coding;
pub(crate) use conditions::Conditions;
pub(crate) use config::ClientConfig;
pub(crate) use error::{HttpError, HttpErrorKind};
pub(crate) use fetch::{Reply, fetch, fetch_whole};
pub(crate) use head::is_html;
pub(crate) use look::look;
pub(crate) use pinned::Pinned;
pub(crate) use probe::{Metadata, Probed, RangeSupport, probe, probe_by_get};
#[cfg(fuzzing)]
pub(crate) use retry::{LONGEST_RETRY_AFTER, parse_retry_after};
pub(crate) use retry::{Verdict, backoff, longest_backoff, verdict};
pub(crate) use source::Source;
