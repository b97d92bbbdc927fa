//! The configuration of an HTTP client.

use std::path::PathBuf;
use std::time::Duration;

use crate::options::HttpVersion;

/// The configuration of an HTTP client.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientConfig {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) user: Option<(String, Option<String>)>,
    pub(crate) bearer: Option<String>,
    pub(crate) netrc: bool,
    /// `None` for `partwise/` and the version.
    pub(crate) user_agent: Option<String>,
    /// `None` for the environment's proxy.
    pub(crate) proxy: Option<String>,
    pub(crate) no_proxy: bool,
    pub(crate) ca_certificate: Option<PathBuf>,
    pub(crate) client_certificate: Option<PathBuf>,
    pub(crate) client_key: Option<PathBuf>,
    pub(crate) insecure: bool,
    pub(crate) http_version: HttpVersion,
    pub(crate) connect_timeout: Duration,
    pub(crate) stall_timeout: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            headers: Vec::new(),
            user: None,
            bearer: None,
            netrc: false,
            user_agent: None,
            proxy: None,
            no_proxy: false,
            ca_certificate: None,
            client_certificate: None,
            client_key: None,
            insecure: false,
            http_version: HttpVersion::Http11,
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(15),
        }
    }
}

#[cfg(test)]
impl ClientConfig {
    /// A configuration without secrets and proxy, with short timeouts.
    pub(super) fn for_tests() -> Self {
        Self {
            no_proxy: true,
            connect_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(5),
            ..Self::default()
        }
    }
}
