//! Decides which secrets a hop receives: headers, user and token go only to the origin that they
//! were given for.

use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TRANSFER_ENCODING,
    UPGRADE,
};

use super::config::ClientConfig;
use super::error::HttpError;
use super::netrc::Netrc;
use super::source::{Location, UserInfo, WebOrigin};

/// Fields that only the download itself sets: the checks of a reply depend on them.
const OWN_FIELDS: [HeaderName; 10] = [
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    ACCEPT_ENCODING,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The secrets that a client was given.
pub(super) struct Secrets {
    headers: HeaderMap,
    user: Option<UserInfo>,
    bearer: Option<HeaderValue>,
    netrc: Option<Netrc>,
}

/// The headers and the user that one hop receives.
#[derive(Debug, Default)]
pub(super) struct Permit {
    pub(super) headers: HeaderMap,
    /// User and password; never together with an `Authorization` in the headers.
    pub(super) basic: Option<UserInfo>,
}

impl Secrets {
    /// # Errors
    ///
    /// `Configuration` for a header that is invalid or that only partwise sets, a token that no
    /// field can carry, and a broken netrc file. The text repeats no value.
    pub(super) fn new(config: &ClientConfig) -> Result<Self, HttpError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let (name, value) = field(name, value)?;
            headers.append(name, value);
        }
        let bearer = config.bearer.as_ref().map(|token| bearer(token));
        Ok(Self {
            headers,
            user: config.user.as_ref().map(|(name, password)| UserInfo {
                name: name.clone(),
                password: password.clone(),
            }),
            bearer: bearer.transpose()?,
            netrc: config.netrc.then(Netrc::read).transpose()?,
        })
    }

    /// The secrets for `hop`, which the request for `given` has reached. `home` is the origin that
    /// headers, user and token were given for.
    ///
    /// The order of precedence: an `Authorization` header, the token, the user, the URL's user
    /// information, netrc.
    pub(super) fn permit(&self, home: &WebOrigin, given: &Location, hop: &Location) -> Permit {
        let mut permit = Permit::default();
        let origin = hop.origin();
        let is_home = origin == *home;
        let is_given = origin == given.origin();
        if is_home {
            permit.headers = self.headers.clone();
            if permit.headers.contains_key(AUTHORIZATION) {
                return permit;
            }
            if let Some(bearer) = &self.bearer {
                permit.headers.insert(AUTHORIZATION, bearer.clone());
                return permit;
            }
            permit.basic.clone_from(&self.user);
        }
        if is_given && permit.basic.is_none() {
            permit.basic = given.user().cloned();
        }
        if (is_given || is_home) && permit.basic.is_none() {
            permit.basic = self.netrc_user(hop);
        }
        permit
    }

    fn netrc_user(&self, hop: &Location) -> Option<UserInfo> {
        let host = hop.url().host_str()?;
        // netrc writes an IPv6 address without its brackets.
        self.netrc.as_ref()?.find(host.trim_matches(['[', ']']))
    }
}

fn field(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), HttpError> {
    let parsed = HeaderName::from_bytes(name.trim().as_bytes())
        .map_err(|_| HttpError::configuration(format!("not the name of a header: `{name}`")))?;
    if OWN_FIELDS.contains(&parsed) {
        return Err(HttpError::configuration(format!(
            "the header `{parsed}` is set by the download itself and can't be given"
        )));
    }
    let mut value = HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_| {
        HttpError::configuration(format!(
            "the value of the header `{parsed}` holds a character that no header may hold"
        ))
    })?;
    value.set_sensitive(true);
    Ok((parsed, value))
}

fn bearer(token: &str) -> Result<HeaderValue, HttpError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(|_| {
        HttpError::configuration("the bearer token holds a character that no header may hold")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HttpErrorKind;

    fn location(url: &str) -> Location {
        Location::parse(url).unwrap()
    }

    fn config(headers: &[(&str, &str)]) -> ClientConfig {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        ClientConfig {
            headers: headers.iter().map(owned).collect(),
            ..ClientConfig::for_tests()
        }
    }

    /// The number of headers and the user that a hop receives.
    fn told(config: &ClientConfig, given: &str, hop: &str) -> (usize, Option<String>) {
        let given = location(given);
        let permit = Secrets::new(config).unwrap().permit(
            &location("https://home/").origin(),
            &given,
            &location(hop),
        );
        (permit.headers.len(), permit.basic.map(|user| user.name))
    }

    #[test]
    fn only_the_origin_they_were_given_for_is_told() {
        let secrets = ClientConfig {
            user: Some(("u".to_owned(), None)),
            ..config(&[("Cookie", "a"), ("X-Key", "b")])
        };
        let user = || Some("u".to_owned());
        let cases = [
            ("https://home/a", (2, user())),
            ("https://HOME:443/b", (2, user())),
            ("http://home/a", (0, None)),
            ("https://home:8443/a", (0, None)),
            ("https://sub.home/a", (0, None)),
            ("https://other/a", (0, None)),
        ];
        for (hop, expected) in cases {
            assert_eq!(told(&secrets, "https://home/a", hop), expected, "{hop}");
        }
    }

    #[test]
    fn the_urls_own_user_goes_to_its_own_origin() {
        let secrets = ClientConfig {
            user: Some(("u".to_owned(), None)),
            ..config(&[("Cookie", "a")])
        };
        let mirror = "https://m:p@mirror/a";
        assert_eq!(
            told(&secrets, mirror, "https://mirror/b"),
            (0, Some("m".to_owned()))
        );
        assert_eq!(told(&secrets, mirror, "https://cdn/b"), (0, None));
        // User information in a Location comes from the server and not from the user.
        assert_eq!(told(&secrets, mirror, "https://x:y@cdn/b"), (0, None));
        assert_eq!(
            told(&config(&[]), "https://own:p@home/a", "https://home/b"),
            (0, Some("own".to_owned()))
        );
    }

    #[test]
    fn one_authorization_at_a_time() {
        let all = ClientConfig {
            user: Some(("u".to_owned(), None)),
            bearer: Some("t".to_owned()),
            ..config(&[("authorization", "Own x")])
        };
        let permit = |config: &ClientConfig| {
            let given = location("https://own:p@home/a");
            let permit =
                Secrets::new(config)
                    .unwrap()
                    .permit(&given.origin(), &given, &given.clone());
            let header = permit
                .headers
                .get(AUTHORIZATION)
                .map(|v| v.to_str().unwrap().to_owned());
            header
                .or(permit.basic.map(|user| user.name))
                .unwrap_or_default()
        };
        assert_eq!(permit(&all), "Own x");
        let without_header = ClientConfig {
            headers: Vec::new(),
            ..all
        };
        assert_eq!(permit(&without_header), "Bearer t");
        let without_bearer = ClientConfig {
            bearer: None,
            ..without_header
        };
        assert_eq!(permit(&without_bearer), "u");
    }

    #[test]
    fn unusable_headers_are_refused_without_their_value() {
        for (name, value) in [
            ("", "secret"),
            ("a b", "secret"),
            ("x", "sec\r\nret"),
            ("x", "sec\0ret"),
            ("Range", "bytes=0-secret"),
            ("if-match", "\"secret\""),
            ("Accept-Encoding", "secret"),
        ] {
            let error = Secrets::new(&config(&[(name, value)])).err().unwrap();
            assert_eq!(error.kind(), &HttpErrorKind::Configuration, "{name}");
            let text = error.to_string();
            assert!(!text.contains("sec") && !text.contains("ret"), "{text}");
        }
        let token = ClientConfig {
            bearer: Some("sec\nret".to_owned()),
            ..config(&[])
        };
        let text = Secrets::new(&token).err().unwrap().to_string();
        assert!(!text.contains("ret"), "{text}");
    }
}
