//! Cookies that servers set: kept in memory, and sent back to the same host alone.

use std::sync::{Mutex, PoisonError};

use cookie_store::{CookieStore, RawCookie};
use hyper::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};

use super::source::Location;

/// The most cookies that are kept.
const MOST_COOKIES: usize = 200;

/// The longest cookie that is kept, in bytes, with its attributes.
const LONGEST_COOKIE: usize = 4096;

/// The cookies of all hosts.
#[derive(Default)]
pub(super) struct Cookies {
    /// Locked briefly and never over an await.
    store: Mutex<CookieStore>,
}

impl Cookies {
    /// Keeps the cookies that a reply from `from` sets. Returns whether there was one.
    pub(super) fn keep(&self, from: &Location, fields: &HeaderMap) -> bool {
        let mut has_one = false;
        for value in fields.get_all(SET_COOKIE) {
            let text = std::str::from_utf8(value.as_bytes()).ok();
            let short = text.filter(|text| text.len() <= LONGEST_COOKIE);
            let Some(Ok(mut cookie)) = short.map(RawCookie::parse) else {
                continue;
            };
            // A domain would send it to other hosts.
            cookie.unset_domain();
            let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
            let url = from.url();
            let is_known = || {
                store
                    .get_request_values(url)
                    .any(|(name, _)| name == cookie.name())
            };
            if store.iter_any().count() < MOST_COOKIES || is_known() {
                has_one |= store.insert_raw(&cookie, url).is_ok();
            }
        }
        has_one
    }

    /// Adds the cookies for `to` to the headers of a request, behind those that the caller gave.
    pub(super) fn add(&self, to: &Location, headers: &mut HeaderMap) {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let given = headers.get(COOKIE).map(HeaderValue::as_bytes);
        let mut all = given.unwrap_or_default().to_vec();
        for (name, value) in store.get_request_values(to.url()) {
            if !all.is_empty() {
                all.extend(b"; ");
            }
            all.extend(format!("{name}={value}").bytes());
        }
        if let Ok(mut value) = HeaderValue::from_bytes(&all)
            && !all.is_empty()
        {
            value.set_sensitive(true);
            headers.insert(COOKIE, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::header_map;

    /// What a request to `to` carries after replies from these URLs set these cookies.
    fn sent(set: &[(&str, &str)], to: &str) -> String {
        let cookies = Cookies::default();
        for (from, cookie) in set {
            let from = Location::parse(from).unwrap();
            cookies.keep(&from, &header_map(&[("set-cookie", cookie)]));
        }
        let mut headers = header_map(&[]);
        cookies.add(&Location::parse(to).unwrap(), &mut headers);
        let value = headers.get(COOKIE).map(|value| value.to_str().unwrap());
        value.unwrap_or_default().to_owned()
    }

    #[test]
    fn a_cookie_goes_to_its_host_and_path_alone() {
        let at = "https://a.example/d/x";
        let cases = [
            ("k=v", at, "k=v"),
            ("k=v", "https://a.example/e/x", ""),
            ("k=v; Path=/", "https://a.example/e/x", "k=v"),
            ("k=v; Path=/", "https://b.example/d/x", ""),
            ("k=v; Path=/; Domain=example", "https://b.example/d/x", ""),
            (
                "k=v; Path=/; Domain=example",
                "https://www.a.example/d/x",
                "",
            ),
            ("k=v; Path=/; Domain=example", at, "k=v"),
            ("k=v; Secure", "http://a.example/d/x", ""),
            ("k=v; Secure", at, "k=v"),
            ("k=v; Max-Age=0", at, ""),
            ("none", at, ""),
        ];
        for (cookie, to, expected) in cases {
            assert_eq!(sent(&[(at, cookie)], to), expected, "{cookie} to {to}");
        }
        let replaced = [(at, "k=v"), (at, "k=w")];
        assert_eq!(sent(&replaced, at), "k=w");
    }

    #[test]
    fn cookies_do_not_grow_without_end() {
        let at = "https://a.example/x";
        let many: Vec<String> = (0..1000).map(|n| format!("k{n}=v")).collect();
        let set: Vec<_> = many.iter().map(|cookie| (at, cookie.as_str())).collect();
        assert_eq!(sent(&set, at).matches('=').count(), MOST_COOKIES);
        let long = format!("k={}", "v".repeat(LONGEST_COOKIE));
        assert_eq!(sent(&[(at, &long)], at), "");
    }

    #[test]
    fn the_callers_cookies_come_first() {
        let cookies = Cookies::default();
        let at = Location::parse("https://a.example/x").unwrap();
        assert!(cookies.keep(&at, &header_map(&[("set-cookie", "k=v")])));
        let mut headers = header_map(&[("cookie", "given=1")]);
        cookies.add(&at, &mut headers);
        assert_eq!(headers[COOKIE], "given=1; k=v");
        assert!(headers[COOKIE].is_sensitive());
    }
}
