//! Digests of whole objects: names, values and computation.

use std::fmt;

use crc_fast::CrcAlgorithm;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};

/// A digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Algorithm {
    Sha256,
    Sha512,
    Sha1,
    Md5,
    Blake3,
    /// CRC-32/ISCSI (Castagnoli).
    Crc32c,
    /// CRC-64/XZ, which object stores name `crc64ecma`.
    Crc64,
    /// CRC-64/NVME.
    Crc64Nvme,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 8] = [
        Self::Sha256,
        Self::Sha512,
        Self::Sha1,
        Self::Md5,
        Self::Blake3,
        Self::Crc32c,
        Self::Crc64,
        Self::Crc64Nvme,
    ];

    /// The name in a checksum's text and in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
            Self::Sha1 => "sha-1",
            Self::Md5 => "md5",
            Self::Blake3 => "blake3",
            Self::Crc32c => "crc32c",
            Self::Crc64 => "crc64",
            Self::Crc64Nvme => "crc64nvme",
        }
    }

    /// The algorithm with this name, in any case, with or without hyphens.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let plain = |name: &str| name.replace('-', "").to_ascii_lowercase();
        let wanted = plain(name);
        Self::ALL
            .into_iter()
            .find(|algorithm| plain(algorithm.name()) == wanted)
    }

    /// The length of a value in bytes.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Sha512 => 64,
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha1 => 20,
            Self::Md5 => 16,
            Self::Crc64 | Self::Crc64Nvme => 8,
            Self::Crc32c => 4,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The digest of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    algorithm: Algorithm,
    // INVARIANT: algorithm.size() bytes; a CRC's most significant byte comes first.
    value: Vec<u8>,
}

/// Why a text is not a digest of the form `ALGO=HEX`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DigestError {
    #[error("`{0}` is not of the form ALGO=HEX")]
    Syntax(String),
    #[error("`{0}` is none of sha-256, sha-512, sha-1, md5, blake3, crc32c, crc64, crc64nvme")]
    Algorithm(String),
    #[error("{algorithm} takes {expected} hexadecimal digits, and {found} characters were found")]
    Length {
        algorithm: Algorithm,
        expected: usize,
        found: usize,
    },
    #[error("the value of {0} holds a character that is no hexadecimal digit")]
    Character(Algorithm),
}

impl Digest {
    /// The digest with this value; `None` if the value does not have the algorithm's length.
    pub(crate) fn new(algorithm: Algorithm, value: Vec<u8>) -> Option<Self> {
        (value.len() == algorithm.size()).then_some(Self { algorithm, value })
    }

    /// Parses `ALGO=HEX`.
    pub(crate) fn parse(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text
            .split_once('=')
            .ok_or_else(|| DigestError::Syntax(escaped(text)))?;
        let algorithm = Algorithm::from_name(name.trim())
            .ok_or_else(|| DigestError::Algorithm(escaped(name)))?;
        let hex = hex.trim();
        if hex.chars().count() != algorithm.size() * 2 {
            return Err(DigestError::Length {
                algorithm,
                expected: algorithm.size() * 2,
                found: hex.chars().count(),
            });
        }
        let value = decode_hex(hex).ok_or(DigestError::Character(algorithm))?;
        Ok(Self { algorithm, value })
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The value in lower-case hexadecimal digits.
    pub(crate) fn hex(&self) -> String {
        self.value
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The digest with the value of a CRC-64/XZ.
    pub(crate) fn from_crc64(crc: u64) -> Self {
        Self {
            algorithm: Algorithm::Crc64,
            value: crc.to_be_bytes().to_vec(),
        }
    }
}

/// Formats the digest as `ALGO=HEX`.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.algorithm, self.hex())
    }
}

pub(super) fn decode_hex(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    hex.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

fn escaped(text: &str) -> String {
    text.escape_debug().collect()
}

/// Computes a digest.
pub(crate) struct Hasher {
    algorithm: Algorithm,
    state: State,
}

enum State {
    Sha256(Sha256),
    Sha512(Sha512),
    Sha1(Sha1),
    Md5(Md5),
    Blake3(Box<blake3::Hasher>),
    Crc(crc_fast::Digest),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let crc = |algorithm| State::Crc(crc_fast::Digest::new(algorithm));
        let state = match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
            Algorithm::Sha1 => State::Sha1(Sha1::new()),
            Algorithm::Md5 => State::Md5(Md5::new()),
            Algorithm::Blake3 => State::Blake3(Box::default()),
            Algorithm::Crc32c => crc(CrcAlgorithm::Crc32Iscsi),
            Algorithm::Crc64 => crc(CrcAlgorithm::Crc64Xz),
            Algorithm::Crc64Nvme => crc(CrcAlgorithm::Crc64Nvme),
        };
        Self { algorithm, state }
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
            State::Sha1(state) => state.update(bytes),
            State::Md5(state) => state.update(bytes),
            State::Blake3(state) => {
                state.update(bytes);
            }
            State::Crc(state) => state.update(bytes),
        }
    }

    /// The digest of all bytes so far.
    pub(crate) fn finish(self) -> Digest {
        let value = match self.state {
            State::Sha256(state) => state.finalize().to_vec(),
            State::Sha512(state) => state.finalize().to_vec(),
            State::Sha1(state) => state.finalize().to_vec(),
            State::Md5(state) => state.finalize().to_vec(),
            State::Blake3(state) => state.finalize().as_bytes().to_vec(),
            State::Crc(state) => {
                let bytes = state.finalize().to_be_bytes();
                bytes[bytes.len() - self.algorithm.size()..].to_vec()
            }
        };
        Digest {
            algorithm: self.algorithm,
            value,
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hasher").field(&self.algorithm).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of `123456789`; the SHAs and MD5 as coreutils say, the CRCs as the catalogue of parametrised
    /// CRCs says.
    const CHECKS: [&str; 8] = [
        "sha-256=15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
        "sha-512=d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274ad27fcd5811b313d681f7e55ec02d73d499c95455b6b5bb503acf574fba8ffe85",
        "sha-1=f7c3bc1d808e04732adf679965ccc34ca7ae3441",
        "md5=25f9e794323b453885f5181f1b624d0b",
        "blake3=b7d65b48420d1033cb2595293263b6f72eabee20d55e699d0df1973b3c9deed1",
        "crc32c=e3069283",
        "crc64=995dc9bbdf1939fa",
        "crc64nvme=ae8b14860a799888",
    ];

    #[test]
    fn the_check_values_of_all_algorithms() {
        for (text, algorithm) in CHECKS.into_iter().zip(Algorithm::ALL) {
            let expected = Digest::parse(text).unwrap();
            assert_eq!(expected.algorithm(), algorithm);
            assert_eq!(expected.to_string(), text);
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"1234");
            hasher.update(b"56789");
            assert_eq!(hasher.finish(), expected);
        }
    }

    #[test]
    fn names_are_taken_in_any_spelling() {
        for name in ["sha-256", "sha256", "SHA256", "Sha-256"] {
            assert_eq!(
                Algorithm::from_name(name),
                Some(Algorithm::Sha256),
                "{name}"
            );
        }
        assert_eq!(Algorithm::from_name("md-5"), Some(Algorithm::Md5));
        assert_eq!(Algorithm::from_name("sha"), None);
        assert_eq!(Algorithm::from_name(""), None);
    }

    #[test]
    fn what_is_refused() {
        let length = |algorithm, expected, found| DigestError::Length {
            algorithm,
            expected,
            found,
        };
        for (text, error) in [
            ("md5", DigestError::Syntax("md5".into())),
            ("crc\x1b=00", DigestError::Algorithm("crc\\u{1b}".into())),
            ("crc32c=e306928", length(Algorithm::Crc32c, 8, 7)),
            ("crc32c=", length(Algorithm::Crc32c, 8, 0)),
            ("crc32c=e306928g", DigestError::Character(Algorithm::Crc32c)),
            ("crc32c=+3069283", DigestError::Character(Algorithm::Crc32c)),
            ("crc32c=äääääääé", DigestError::Character(Algorithm::Crc32c)),
        ] {
            assert_eq!(Digest::parse(text), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_survives(text in "\\PC{0,30}|(crc32c|crc64)=[0-9a-fA-F]{7,17}") {
            if let Ok(digest) = Digest::parse(&text) {
                prop_assert_eq!(Digest::parse(&digest.to_string()), Ok(digest));
            }
        }
    }
}
