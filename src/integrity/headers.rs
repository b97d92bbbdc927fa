//! Finds the digests of the whole object in a reply's header fields.
//!
//! A digest counts as the whole object's only if the field's definition says so. A malformed one,
//! or one that may cover a part or be a composite, is ignored: it proves nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::digest::{Algorithm, Digest, decode_hex};

/// A digest and the name of the field that carried it, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderDigest {
    pub(crate) source: String,
    pub(crate) digest: Digest,
}

/// The digests of the whole object in the header fields of one successful reply, in the order of
/// the fields.
///
/// The fields must be all of the reply's: `Content-Range` marks a partial reply, in which
/// `Content-MD5` and `x-amz-checksum-…` cover only the part.
pub(crate) fn whole_object_digests<'a>(
    fields: impl Iterator<Item = (&'a str, &'a str)>,
) -> Vec<HeaderDigest> {
    let fields: Vec<(String, &str)> = fields
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect();
    let context = DigestContext::of(&fields);
    let mut found = Vec::new();
    for (name, value) in &fields {
        for digest in digests_of(name, value, &context) {
            let source = name.clone();
            let digest = HeaderDigest { source, digest };
            if !found.contains(&digest) {
                found.push(digest);
            }
        }
    }
    found
}

/// Facts from other fields that decide what a digest covers.
struct DigestContext {
    /// Whether the reply is a part of the object.
    partial: bool,
    /// Whether the checksum is S3's checksum of the checksums of an upload's parts.
    composite: bool,
    /// Whether GCS stores the object compressed and sends it decompressed: then the hashes do not
    /// cover the bytes sent.
    transcoded: bool,
}

impl DigestContext {
    fn of(fields: &[(String, &str)]) -> Self {
        let value = |wanted: &str| {
            let field = fields.iter().find(|(name, _)| name == wanted);
            field.map(|(_, value)| value.to_ascii_lowercase())
        };
        let encoding = |name| value(name).filter(|encoding| encoding != "identity");
        let media_type = value("content-type").unwrap_or_default();
        Self {
            partial: value("content-range").is_some()
                || media_type.starts_with("multipart/byteranges"),
            composite: value("x-amz-checksum-type").is_some_and(|kind| kind != "full_object"),
            transcoded: encoding("x-goog-stored-content-encoding") != encoding("content-encoding")
                && value("x-goog-stored-content-encoding").is_some(),
        }
    }
}

fn digests_of(name: &str, value: &str, context: &DigestContext) -> Vec<Digest> {
    match name {
        "repr-digest" => listed(value, repr_digest),
        "digest" => listed(value, instance_digest),
        "x-goog-hash" if !context.transcoded => listed(value, goog_hash),
        "content-md5" if !context.partial => {
            from_base64(Algorithm::Md5, value).into_iter().collect()
        }
        "x-ms-blob-content-md5" => from_base64(Algorithm::Md5, value).into_iter().collect(),
        "x-oss-hash-crc64ecma" | "x-cos-hash-crc64ecma" | "x-tos-hash-crc64ecma" => {
            decimal_crc64(value).into_iter().collect()
        }
        _ if context.partial || context.composite => Vec::new(),
        _ => amz_checksum(name, value).into_iter().collect(),
    }
}

fn listed(value: &str, parse: impl Fn(&str, &str) -> Option<Digest>) -> Vec<Digest> {
    value
        .split(',')
        .filter_map(|item| item.split_once('='))
        .filter_map(|(key, value)| parse(key.trim(), value.trim()))
        .collect()
}

/// Parses a member of the dictionary of RFC 9530, section 3: `sha-256=:base64:`, with or without
/// parameters.
fn repr_digest(key: &str, value: &str) -> Option<Digest> {
    let algorithm = match key {
        "sha-256" => Algorithm::Sha256,
        "sha-512" => Algorithm::Sha512,
        "sha" => Algorithm::Sha1,
        "md5" => Algorithm::Md5,
        "crc32c" => Algorithm::Crc32c,
        _ => return None,
    };
    let (base64, parameters) = value.strip_prefix(':')?.split_once(':')?;
    let ended = parameters.is_empty() || parameters.trim_start().starts_with(';');
    ended.then(|| from_base64(algorithm, base64)).flatten()
}

/// Parses an item of the list of RFC 3230, section 4.3.2: `SHA-256=base64`, names in any case.
/// Servers send CRC32C in hexadecimal digits or in base64.
fn instance_digest(key: &str, value: &str) -> Option<Digest> {
    match key.to_ascii_lowercase().as_str() {
        "sha-256" => from_base64(Algorithm::Sha256, value),
        "sha-512" => from_base64(Algorithm::Sha512, value),
        "sha" => from_base64(Algorithm::Sha1, value),
        "md5" => from_base64(Algorithm::Md5, value),
        "crc32c" if value.ends_with('=') => from_base64(Algorithm::Crc32c, value),
        "crc32c" => Digest::new(Algorithm::Crc32c, decode_hex(value)?),
        _ => None,
    }
}

/// Parses an item of Google Cloud Storage: `crc32c=base64,md5=base64`.
fn goog_hash(key: &str, value: &str) -> Option<Digest> {
    match key {
        "crc32c" => from_base64(Algorithm::Crc32c, value),
        "md5" => from_base64(Algorithm::Md5, value),
        _ => None,
    }
}

/// Parses a checksum of S3, in base64. A composite ends in `-` and the number of parts, which is
/// not base64.
fn amz_checksum(name: &str, value: &str) -> Option<Digest> {
    let algorithm = match name.strip_prefix("x-amz-checksum-")? {
        "sha256" => Algorithm::Sha256,
        "sha512" => Algorithm::Sha512,
        "sha1" => Algorithm::Sha1,
        "md5" => Algorithm::Md5,
        "crc32c" => Algorithm::Crc32c,
        "crc64nvme" => Algorithm::Crc64Nvme,
        _ => return None,
    };
    from_base64(algorithm, value)
}

/// Parses the CRC-64/XZ of the object stores of Alibaba, Tencent and Volcengine, a decimal number.
fn decimal_crc64(value: &str) -> Option<Digest> {
    let plain = value.bytes().all(|byte| byte.is_ascii_digit());
    plain
        .then(|| value.parse().ok())
        .flatten()
        .map(Digest::from_crc64)
}

fn from_base64(algorithm: Algorithm, value: &str) -> Option<Digest> {
    Digest::new(algorithm, STANDARD.decode(value).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // All of `123456789`.
    const MD5: &str = "JfnnlDI7RTiF9RgfG2JNCw==";
    const SHA256: &str = "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=";
    const CRC32C: &str = "4waSgw==";
    const CRC64NVME: &str = "rosUhgp5mIg=";

    fn found(fields: &[(&str, &str)]) -> Vec<String> {
        whole_object_digests(fields.iter().copied())
            .into_iter()
            .map(|found| format!("{} {}", found.source, found.digest))
            .collect()
    }

    fn md5_of(source: &str) -> String {
        format!("{source} md5=25f9e794323b453885f5181f1b624d0b")
    }

    #[test]
    fn every_field_is_read() {
        let sha256 = "sha-256=15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225";
        let repr = format!("sha-256=:{SHA256}:;a=1, md5=:{MD5}:, unixsum=1");
        let digest = format!("SHA-256={SHA256},MD5={MD5} , crc32c=e3069283");
        let goog = format!("crc32c={CRC32C},md5={MD5}");
        let table: [(&str, &str, Vec<String>); 9] = [
            (
                "Repr-Digest",
                &repr,
                vec![format!("repr-digest {sha256}"), md5_of("repr-digest")],
            ),
            (
                "Digest",
                &digest,
                vec![
                    format!("digest {sha256}"),
                    md5_of("digest"),
                    "digest crc32c=e3069283".into(),
                ],
            ),
            (
                "x-goog-hash",
                &goog,
                vec!["x-goog-hash crc32c=e3069283".into(), md5_of("x-goog-hash")],
            ),
            ("Content-MD5", MD5, vec![md5_of("content-md5")]),
            (
                "x-ms-blob-content-md5",
                MD5,
                vec![md5_of("x-ms-blob-content-md5")],
            ),
            (
                "x-oss-hash-crc64ecma",
                "11051210869376104954",
                vec!["x-oss-hash-crc64ecma crc64=995dc9bbdf1939fa".into()],
            ),
            (
                "x-amz-checksum-sha256",
                SHA256,
                vec![format!("x-amz-checksum-sha256 {sha256}")],
            ),
            (
                "x-amz-checksum-crc32c",
                CRC32C,
                vec!["x-amz-checksum-crc32c crc32c=e3069283".into()],
            ),
            (
                "x-amz-checksum-crc64nvme",
                CRC64NVME,
                vec!["x-amz-checksum-crc64nvme crc64nvme=ae8b14860a799888".into()],
            ),
        ];
        for (name, value, expected) in table {
            assert_eq!(found(&[(name, value)]), expected, "{name}: {value}");
        }
    }

    #[test]
    fn a_partial_reply_carries_only_what_is_defined_for_the_whole() {
        let goog = format!("md5={MD5}");
        let fields = [
            ("content-md5", MD5),
            ("x-amz-checksum-sha256", SHA256),
            ("x-goog-hash", goog.as_str()),
            ("x-oss-hash-crc64ecma", "7"),
        ];
        let whole = ["x-goog-hash", "x-oss-hash-crc64ecma"];
        for partial in [
            ("Content-Range", "bytes 0-0/9"),
            ("Content-Type", "Multipart/ByteRanges; boundary=x"),
        ] {
            let mut fields = fields.to_vec();
            fields.push(partial);
            let sources = whole_object_digests(fields.into_iter());
            let sources: Vec<String> = sources.into_iter().map(|found| found.source).collect();
            assert_eq!(sources, whole);
        }
    }

    #[test]
    fn composites_and_transcoded_objects_are_passed_over() {
        let composite = format!("{CRC32C}-3");
        assert!(found(&[("x-amz-checksum-crc32c", composite.as_str())]).is_empty());
        let typed = |kind| {
            found(&[
                ("x-amz-checksum-crc32c", CRC32C),
                ("x-amz-checksum-type", kind),
            ])
        };
        assert!(typed("COMPOSITE").is_empty());
        assert_eq!(typed("FULL_OBJECT").len(), 1);
        let goog = format!("md5={MD5}");
        let stored = ("x-goog-stored-content-encoding", "gzip");
        assert!(found(&[("x-goog-hash", &goog), stored]).is_empty());
        assert_eq!(
            found(&[("x-goog-hash", &goog), stored, ("content-encoding", "gzip")]).len(),
            1
        );
        let identity = ("x-goog-stored-content-encoding", "identity");
        assert_eq!(found(&[("x-goog-hash", &goog), identity]).len(), 1);
    }

    #[test]
    fn what_is_malformed_is_passed_over() {
        for (name, value) in [
            ("repr-digest", "sha-256=15e2"),
            ("repr-digest", "sha-256=:15e2:"),
            ("repr-digest", "sha-256=::"),
            ("repr-digest", "sha-256=:"),
            ("repr-digest", "md5=:JfnnlDI7RTiF9RgfG2JNCw==:junk"),
            ("digest", "crc32c=e306928"),
            ("digest", "crc32c=+3069283"),
            ("content-md5", "JfnnlDI7RTiF9RgfG2JNC"),
            ("content-md5", ""),
            ("x-oss-hash-crc64ecma", "18446744073709551616"),
            ("x-oss-hash-crc64ecma", "-1"),
            ("x-oss-hash-crc64ecma", ""),
            ("x-amz-checksum-", "x"),
            ("etag", "\"25f9e794323b453885f5181f1b624d0b\""),
        ] {
            assert_eq!(
                found(&[(name, value)]),
                Vec::<String>::new(),
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn a_digest_that_is_sent_twice_is_one() {
        assert_eq!(
            found(&[("content-md5", MD5), ("Content-MD5", MD5)]).len(),
            1
        );
    }

    proptest! {
        #[test]
        fn arbitrary_values_do_not_panic(
            name in "repr-digest|digest|x-goog-hash|content-md5|x-oss-hash-crc64ecma|x-amz-checksum-(sha256|crc32c)|\\PC{0,9}",
            value in "\\PC{0,40}|(sha-256|md5|crc32c|MD5)=:?[A-Za-z0-9+/=:;, é]{0,50}",
        ) {
            for HeaderDigest { digest, .. } in whole_object_digests([(name.as_str(), value.as_str())].into_iter()) {
                prop_assert_eq!(digest.hex().len(), 2 * digest.algorithm().size());
            }
        }
    }
}
