//! The content coding in which the bytes of a reply come (RFC 9110, section 8.4).

use std::fmt;

use hyper::header::{CONTENT_ENCODING, HeaderMap};

use super::error::HttpError;
use super::escape::escape;

/// Values that name no coding. S3 keeps `aws-chunked`, a coding of the upload, as if it were the
/// object's; some stores hold the name of a character set.
const NO_CODINGS: [&str; 6] = ["", "identity", "none", "utf-8", "utf8", "aws-chunked"];

/// One or more content codings, in the order in which they were applied: `gzip`. Names are in lower
/// case.
///
/// Every request asks for none. A reply that has one nevertheless has the object as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Coding(String);

impl Coding {
    /// What `Content-Encoding` names; `None` if that is no coding.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(CONTENT_ENCODING).iter();
        let texts = values.map(|value| String::from_utf8_lossy(value.as_bytes()).to_lowercase());
        let text = texts.collect::<Vec<_>>().join(",");
        let codings = text.split(',').map(|coding| match coding.trim() {
            // The older names mean the same (RFC 9110, section 8.4.1).
            "x-gzip" => "gzip",
            "x-compress" => "compress",
            coding => coding,
        });
        let codings: Vec<&str> = codings
            .filter(|coding| !NO_CODINGS.contains(coding))
            .collect();
        (!codings.is_empty()).then(|| Self(codings.join(", ")))
    }

    /// What a message calls a coding, or the lack of one.
    pub(crate) fn shown(coding: Option<&Self>) -> String {
        coding.map_or_else(|| "none".to_owned(), |coding| format!("`{coding}`"))
    }

    /// The error of a whole object in this coding that has no length: most likely the server codes
    /// it on the way, and nothing tells whether two replies have the same bytes.
    pub(super) fn without_length(&self) -> HttpError {
        HttpError::coding(format!(
            "the bytes come in the content coding `{self}` though none was asked for, and without \
             a length"
        ))
    }

    /// The coding of this name.
    #[cfg(test)]
    pub(crate) fn named(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::header_map;

    #[test]
    fn what_is_a_coding_and_what_is_none() {
        let cases: [(&[&str], Option<&str>); 20] = [
            (&[], None),
            (&[""], None),
            (&["identity"], None),
            (&["Identity"], None),
            (&["none"], None),
            (&["UTF-8"], None),
            (&["utf8"], None),
            (&["aws-chunked"], None),
            (&["aws-chunked, utf-8"], None),
            (&["identity", "none"], None),
            (&["gzip"], Some("gzip")),
            (&[" GZip "], Some("gzip")),
            (&["x-gzip"], Some("gzip")),
            (&["x-compress"], Some("compress")),
            (&["identity, br"], Some("br")),
            (&["aws-chunked,gzip"], Some("gzip")),
            (&["gzip", "br"], Some("gzip, br")),
            (&["br,gzip"], Some("br, gzip")),
            (&["nonesuch"], Some("nonesuch")),
            (&["x-\u{202e}"], Some("x-\\u{202e}")),
        ];
        for (values, expected) in cases {
            let fields: Vec<_> = values.iter().map(|v| ("content-encoding", *v)).collect();
            let coding = Coding::of(&header_map(&fields)).map(|coding| coding.to_string());
            assert_eq!(coding.as_deref(), expected, "{values:?}");
        }
    }

    #[test]
    fn a_message_names_the_lack_of_a_coding_too() {
        assert_eq!(Coding::shown(Some(&Coding::named("gzip"))), "`gzip`");
        assert_eq!(Coding::shown(None), "none");
    }
}
