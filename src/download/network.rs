//! Options of the connection to the server.

use std::path::PathBuf;
use std::time::Duration;

use super::DownloadBuilder;
use crate::options::HttpVersion;

impl DownloadBuilder {
    /// Sends this header with every request to the URL's own origin, and to no other. Repeatable.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.network.headers.push((name.into(), value.into()));
        self
    }

    /// Sends Basic authentication (RFC 7617) to the URL's own origin, and to no other. Default:
    /// what the URL itself says.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: Option<String>) -> Self {
        self.network.user = Some((name.into(), password));
        self
    }

    /// Sends Bearer authentication (RFC 6750) to the URL's own origin, and to no other. Default:
    /// none.
    #[must_use]
    pub fn bearer(mut self, token: impl Into<String>) -> Self {
        self.network.bearer = Some(token.into());
        self
    }

    /// Takes user and password from the file that `$NETRC` names, or from `~/.netrc`. Default:
    /// false.
    #[must_use]
    pub fn netrc(mut self, netrc: bool) -> Self {
        self.network.netrc = netrc;
        self
    }

    /// Sends this `User-Agent`. Default: `partwise/` and the version.
    #[must_use]
    pub fn user_agent(mut self, agent: impl Into<String>) -> Self {
        self.network.user_agent = Some(agent.into());
        self
    }

    /// Connects through the proxy at `url`: `http`, `https` or `socks5`, with user information
    /// where the proxy wants it. Default: the one that the environment names (`http_proxy`,
    /// `https_proxy`, `all_proxy`, in lower or upper case). One there that can't be used is an
    /// error of kind [`ErrorKind::Usage`](crate::ErrorKind::Usage).
    ///
    /// What `no_proxy` lists goes through no proxy, also not through `url`: domains, addresses and
    /// networks, each with or without a port, or `*` for everything.
    #[must_use]
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.network.proxy = Some(url.into());
        self
    }

    /// Connects without a proxy, also where the environment names one. Default: false.
    #[must_use]
    pub fn no_proxy(mut self, no_proxy: bool) -> Self {
        self.network.no_proxy = no_proxy;
        self
    }

    /// Trusts the certificates in this PEM file in addition to those of the system. Default: none.
    #[must_use]
    pub fn ca_certificate(mut self, file: impl Into<PathBuf>) -> Self {
        self.network.ca_certificate = Some(file.into());
        self
    }

    /// Presents the certificate in this PEM file to the server. The file may hold the private key
    /// as well. Default: none.
    #[must_use]
    pub fn client_certificate(mut self, file: impl Into<PathBuf>) -> Self {
        self.network.client_certificate = Some(file.into());
        self
    }

    /// Takes the private key of the client certificate from this PEM file. Default: the
    /// certificate's own file.
    #[must_use]
    pub fn client_key(mut self, file: impl Into<PathBuf>) -> Self {
        self.network.client_key = Some(file.into());
        self
    }

    /// Does not check the server's certificate, so an attacker on the path can impersonate the
    /// server. Default: false.
    #[must_use]
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.network.insecure = insecure;
        self
    }

    /// Speaks this version of HTTP. Default: [`HttpVersion::Http11`].
    #[must_use]
    pub fn http_version(mut self, version: HttpVersion) -> Self {
        self.network.http_version = version;
        self
    }

    /// Gives an attempt up where no connection is made within `timeout`, more than 0. Default: 10
    /// s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.network.connect_timeout = timeout;
        self
    }

    /// Gives an attempt up where no byte comes for `timeout`, more than 0. Default: 15 s.
    ///
    /// Where all transfers fall silent at once, one of them is given up for a new connection after
    /// about 1 s (3 s if there is one alone), unless its reply may be all that the URL gives.
    #[must_use]
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.network.stall_timeout = timeout;
        self
    }

    /// Waits up to this long for a network that is gone, while nothing arrives: no route to the
    /// server, no address, no answer of a name server, or, after the server had answered before, no
    /// connection within 2 s or a name that is not known any more. Default: 600 s.
    ///
    /// The network is tried about once a second, and no attempt is counted. With 0 it is a failure
    /// like any other, and [`retries`](Self::retries) apply.
    #[must_use]
    pub fn wait_online(mut self, longest: Duration) -> Self {
        self.wait_online = longest;
        self
    }

    /// Replaces a transfer that is slower than `bytes_per_second`, at least 1, for `span`, more
    /// than 0: another connection goes on in its place. Where the whole download is slower than
    /// that for twice the span, it fails with [`ErrorKind::Network`](crate::ErrorKind::Network).
    /// Default: none.
    ///
    /// Time in which the network is gone does not count, nor does time that a transfer waits for
    /// the disk. A rate limit must be higher than the lowest speed.
    #[must_use]
    pub fn lowest_speed(mut self, bytes_per_second: u64, span: Duration) -> Self {
        self.lowest_speed = Some((bytes_per_second, span));
        self
    }
}
