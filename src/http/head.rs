//! The head of a reply, parsed strictly.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hyper::header::{
    ACCEPT_RANGES, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap,
    HeaderName, HeaderValue, LAST_MODIFIED, RETRY_AFTER, TRANSFER_ENCODING,
};
use reqwest::StatusCode;

use super::coding::Coding;
use super::error::HttpError;
use super::retry::parse_retry_after;
use crate::object::{ContentRange, Date, Identity, Tag};

/// The longest object in bytes: file offsets are signed 64-bit numbers.
const LONGEST_OBJECT: u64 = i64::MAX.unsigned_abs();

/// The fields in which object stores name a version.
const VERSION_IDS: [&str; 4] = [
    "x-amz-version-id",
    "x-oss-version-id",
    "x-goog-generation",
    "x-ms-version-id",
];

/// The fields with one digest of the whole object, also in a reply with a part of it.
const DIGESTS: [&str; 4] = [
    "x-oss-hash-crc64ecma",
    "x-cos-hash-crc64ecma",
    "x-tos-hash-crc64ecma",
    "x-ms-blob-content-md5",
];

/// The field with a list of digests of the whole object, each after the name of its algorithm, also
/// in a reply with a part of it.
const LIST_OF_DIGESTS: &str = "x-goog-hash";

/// The fields with such a list (RFC 9530; RFC 3230) that some servers compute over what they send.
/// A reply with a part proves nothing by them.
const LISTS_OF_WHOLE: [&str; 2] = ["repr-digest", "digest"];

/// Status and fields of a reply.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
}

/// The kinds of `Content-Type` that the checks tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Multipart,
    Html,
    Other,
}

/// Whether a media type, in lower case and without its parameters, is that of a page.
pub(crate) fn is_html(media: Option<&str>) -> bool {
    matches!(media, Some("text/html" | "application/xhtml+xml"))
}

/// Whether errors come in this media type.
pub(super) fn is_message(media: &str) -> bool {
    let types = [
        "application/json",
        "application/xml",
        "text/xml",
        "text/plain",
    ];
    types.contains(&media) || media.starts_with("application/problem+")
}

impl Head<'_> {
    /// `Content-Length` in bytes; `None` where there is none, or where a transfer coding overrides
    /// it (RFC 9112, section 6.3).
    ///
    /// # Errors
    ///
    /// `Protocol` for a value that is not a number, contradicts itself or exceeds 2^63 - 1, and for
    /// a transfer coding that was not asked for.
    pub(super) fn content_length(&self) -> Result<Option<u64>, HttpError> {
        if self.headers.contains_key(TRANSFER_ENCODING) {
            return self.check_transfer_coding().map(|()| None);
        }
        let Some(text) = self.single(&CONTENT_LENGTH)? else {
            return Ok(None);
        };
        let wrong = || HttpError::protocol(format!("not a Content-Length: `{text}`"));
        let mut members = text.split(',').map(str::trim);
        let first = members.next().unwrap_or_default();
        if first.is_empty()
            || !first.bytes().all(|b| b.is_ascii_digit())
            || members.any(|member| member != first)
        {
            return Err(wrong());
        }
        let length = first.parse().map_err(|_| wrong())?;
        if length > LONGEST_OBJECT {
            return Err(wrong());
        }
        Ok(Some(length))
    }

    /// hyper undoes `chunked` alone; the bytes of any other coding would go to the file.
    fn check_transfer_coding(&self) -> Result<(), HttpError> {
        for value in self.headers.get_all(TRANSFER_ENCODING) {
            let text = String::from_utf8_lossy(value.as_bytes());
            let mut codings = text.split(',').map(str::trim);
            let known = ["chunked", "identity", ""];
            if let Some(other) =
                codings.find(|coding| !known.iter().any(|known| coding.eq_ignore_ascii_case(known)))
            {
                return Err(HttpError::protocol(format!(
                    "the transfer coding `{other}`, which was not asked for"
                )));
            }
        }
        Ok(())
    }

    /// # Errors
    ///
    /// `Protocol` for a malformed field, two that differ, or a total beyond 2^63 - 1.
    pub(super) fn content_range(&self) -> Result<Option<ContentRange>, HttpError> {
        let Some(text) = self.single(&CONTENT_RANGE)? else {
            return Ok(None);
        };
        let wrong =
            |why: &str| HttpError::protocol(format!("not a usable Content-Range: `{text}`: {why}"));
        let range = ContentRange::parse(text).map_err(|error| wrong(&error.to_string()))?;
        let last = match range {
            ContentRange::Satisfied { range, total } => total.unwrap_or(range.end()),
            ContentRange::Unsatisfied { total } => total,
        };
        if last > LONGEST_OBJECT {
            return Err(wrong("it names a position beyond 2^63"));
        }
        Ok(Some(range))
    }

    /// The content coding of the body; `None` if it has none.
    pub(super) fn coding(&self) -> Option<Coding> {
        Coding::of(self.headers)
    }

    /// Whether an HTTP/1.1 connection stays open after the reply (RFC 9112, sections 6.3 and 9.3).
    pub(super) fn keeps_connection(&self) -> bool {
        let has_end = [CONTENT_LENGTH, TRANSFER_ENCODING]
            .iter()
            .any(|name| self.headers.contains_key(name));
        let mut options = self.headers.get_all(CONNECTION).iter();
        has_end
            && !options.any(|value| {
                let text = String::from_utf8_lossy(value.as_bytes());
                text.split(',')
                    .any(|option| option.trim().eq_ignore_ascii_case("close"))
            })
    }

    pub(super) fn media(&self) -> Media {
        match self.media_type().as_deref() {
            media if is_html(media) => Media::Html,
            Some(media) if media.starts_with("multipart/") => Media::Multipart,
            _ => Media::Other,
        }
    }

    /// The media type in lower case, without its parameters.
    pub(super) fn media_type(&self) -> Option<String> {
        let value = self.headers.get(CONTENT_TYPE)?.as_bytes();
        let text = String::from_utf8_lossy(value).to_ascii_lowercase();
        let media = text.split(';').next()?.trim();
        (!media.is_empty()).then(|| media.to_owned())
    }

    /// Whether `Accept-Ranges` lists `bytes`; `None` if it lists neither `bytes` nor `none`.
    pub(super) fn accepts_ranges(&self) -> Option<bool> {
        let text = self.headers.get(ACCEPT_RANGES)?.to_str().ok()?;
        let mut units = text.split(',').map(str::trim);
        if units.clone().any(|unit| unit.eq_ignore_ascii_case("bytes")) {
            return Some(true);
        }
        units
            .any(|unit| unit.eq_ignore_ascii_case("none"))
            .then_some(false)
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        let value = self.headers.get(RETRY_AFTER)?.to_str().ok()?;
        parse_retry_after(value, SystemTime::now())
    }

    /// The error for the status.
    pub(super) fn status_error(&self) -> HttpError {
        HttpError::status_of(self.status, self.retry_after())
    }

    /// What the reply says of its version, in well-formed fields and others.
    ///
    /// # Errors
    ///
    /// `Protocol` for two fields of one name that differ.
    pub(super) fn claims(&self) -> Result<Identity, HttpError> {
        let mut version_id = None;
        for name in VERSION_IDS {
            let value = self.once(&HeaderName::from_static(name))?;
            // A version that has no name of its own is `null` for every overwrite of it.
            let text = value.and_then(|value| value.to_str().ok());
            if let Some(text) = text.filter(|text| *text != "null" && version_id.is_none()) {
                version_id = Some(format!("{name}: {text}"));
            }
        }
        Ok(Identity {
            tag: self.filled(&ETAG)?.map(Tag::of_field),
            date: self.filled(&LAST_MODIFIED)?.map(Date::of_field),
            version_id,
            digests: self.digests(),
        })
    }

    /// The digests of the whole object, as text.
    fn digests(&self) -> BTreeMap<String, String> {
        let is_part = self.status == StatusCode::PARTIAL_CONTENT;
        let single = DIGESTS.iter().filter_map(|name| {
            let value = self.headers.get(*name)?.to_str().ok()?;
            Some(((*name).to_owned(), value.trim().to_owned()))
        });
        let of_whole = LISTS_OF_WHOLE.into_iter().filter(|_| !is_part);
        let lists = std::iter::once(LIST_OF_DIGESTS).chain(of_whole);
        let members = lists.flat_map(|name| {
            let values = self.headers.get_all(name).iter();
            let texts = values.filter_map(|value| value.to_str().ok());
            let members = texts.flat_map(|text| text.split(','));
            members.filter_map(move |member| {
                let (algorithm, value) = member.split_once('=')?;
                let algorithm = algorithm.trim().to_ascii_lowercase();
                Some((format!("{name} {algorithm}"), value.trim().to_owned()))
            })
        });
        single.chain(members).collect()
    }

    /// Whether the reply was sent within two seconds after the object was modified. Another change
    /// in the same second would show in no date, nor in a tag that is made of one.
    pub(super) fn is_young(&self) -> bool {
        let date = |name| httpdate::parse_http_date(self.single(name).ok()??).ok();
        match (date(&DATE), date(&LAST_MODIFIED)) {
            (Some(sent), Some(modified)) => {
                let age = sent.duration_since(modified).unwrap_or_default();
                age < Duration::from_secs(2)
            }
            _ => false,
        }
    }

    /// The text of a field that may occur once.
    fn single(&self, name: &HeaderName) -> Result<Option<&str>, HttpError> {
        let text = self.once(name)?.map(HeaderValue::to_str).transpose();
        text.map(|text| text.map(str::trim))
            .map_err(|_| HttpError::protocol(format!("`{name}` holds bytes that are no ASCII")))
    }

    /// The value of a field that may occur once, unless it is empty.
    fn filled(&self, name: &HeaderName) -> Result<Option<&[u8]>, HttpError> {
        let value = self.once(name)?.map(HeaderValue::as_bytes);
        Ok(value.filter(|value| !value.trim_ascii().is_empty()))
    }

    /// The value of a field that may occur once; equal repetitions count as one.
    fn once(&self, name: &HeaderName) -> Result<Option<&HeaderValue>, HttpError> {
        let mut values = self.headers.get_all(name).iter();
        let Some(first) = values.next() else {
            return Ok(None);
        };
        if values.any(|value| value != first) {
            return Err(HttpError::protocol(format!(
                "several values of `{name}` that differ"
            )));
        }
        Ok(Some(first))
    }
}

#[cfg(test)]
pub(super) fn header_map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            hyper::header::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &HeaderMap) -> Head<'_> {
        Head {
            status: StatusCode::OK,
            headers,
        }
    }

    #[test]
    fn content_length_table() {
        let cases: [(&[&str], Option<Option<u64>>); 12] = [
            (&[], Some(None)),
            (&["0"], Some(Some(0))),
            (&["17"], Some(Some(17))),
            (&["17", "17"], Some(Some(17))),
            (&["17, 17"], Some(Some(17))),
            (&["17, 18"], None),
            (&["17", "18"], None),
            (&["-1"], None),
            (&["+1"], None),
            (&["1e3"], None),
            (
                &["9223372036854775807"],
                Some(Some(i64::MAX.unsigned_abs())),
            ),
            (&["9223372036854775808"], None),
        ];
        for (values, expected) in cases {
            let fields: Vec<_> = values.iter().map(|v| ("content-length", *v)).collect();
            let headers = header_map(&fields);
            assert_eq!(head(&headers).content_length().ok(), expected, "{values:?}");
        }
        let coded = |coding| {
            let fields = [("content-length", "5"), ("transfer-encoding", coding)];
            head(&header_map(&fields)).content_length().ok()
        };
        for known in ["chunked", "Chunked", "identity, chunked"] {
            assert_eq!(coded(known), Some(None), "{known}");
        }
        for unknown in ["gzip, chunked", "chun ked", "gzip"] {
            assert_eq!(coded(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_connection_is_kept_where_the_reply_has_an_end_of_its_own() {
        let length = ("content-length", "5");
        let cases = [
            (&[][..], false),
            (&[length], true),
            (&[("transfer-encoding", "chunked")], true),
            (&[length, ("connection", "keep-alive")], true),
            (&[length, ("connection", "Close")], false),
            (&[length, ("connection", "upgrade, close")], false),
        ];
        for (fields, expected) in cases {
            let headers = header_map(fields);
            assert_eq!(head(&headers).keeps_connection(), expected, "{fields:?}");
        }
    }

    #[test]
    fn what_a_reply_claims() {
        let claims = |fields: &[(&str, &str)]| head(&header_map(fields)).claims();
        assert!(claims(&[("etag", "\"a\""), ("etag", "\"b\"")]).is_err());
        let version = "x-amz-version-id";
        assert!(claims(&[(version, "a"), (version, "b")]).is_err());
        assert!(claims(&[(version, "a"), (version, "a")]).is_ok());
        let same = claims(&[("etag", "\"a\""), ("etag", "\"a\"")]).unwrap();
        assert_eq!(same.tag.unwrap().text(), "\"a\"");
        assert!(!claims(&[("etag", " ")]).unwrap().has_fields());
        let null = claims(&[("x-amz-version-id", "null")]).unwrap();
        assert_eq!(null.version_id, None);
        let digests = claims(&[
            ("x-goog-hash", "crc32c=AAAA=="),
            ("x-goog-hash", "md5=BB=="),
            ("x-ms-blob-content-md5", "CC=="),
            ("Repr-Digest", "SHA-256=:D=:, md5=:E=:"),
        ]);
        let digests: Vec<_> = digests.unwrap().digests.into_iter().collect();
        let expected = [
            ("repr-digest md5", ":E=:"),
            ("repr-digest sha-256", ":D=:"),
            ("x-goog-hash crc32c", "AAAA=="),
            ("x-goog-hash md5", "BB=="),
            ("x-ms-blob-content-md5", "CC=="),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        assert_eq!(digests, expected.map(owned));
    }

    #[test]
    fn a_version_is_young_for_two_seconds() {
        let modified = ("last-modified", "Tue, 14 Nov 2023 22:13:20 GMT");
        let is_young = |sent| head(&header_map(&[modified, ("date", sent)])).is_young();
        assert!(is_young("Tue, 14 Nov 2023 22:13:20 GMT"));
        assert!(is_young("Tue, 14 Nov 2023 22:13:21 GMT"));
        assert!(!is_young("Tue, 14 Nov 2023 22:13:22 GMT"));
        // The clock of the one that set the date runs ahead.
        assert!(is_young("Tue, 14 Nov 2023 22:13:00 GMT"));
        assert!(!head(&header_map(&[modified])).is_young());
    }

    #[test]
    fn fields_that_are_words() {
        let accepts = |value| head(&header_map(&[("accept-ranges", value)])).accepts_ranges();
        assert_eq!(accepts("bytes"), Some(true));
        assert_eq!(accepts("none"), Some(false));
        assert_eq!(accepts("pages"), None);
        let media = |value| head(&header_map(&[("content-type", value)])).media();
        assert_eq!(media("Text/HTML; charset=x"), Media::Html);
        assert_eq!(media("multipart/byteranges; boundary=x"), Media::Multipart);
        assert_eq!(media("video/mp4"), Media::Other);
    }
}
