//! A digest that the finished file must have.

use std::fmt;
use std::str::FromStr;

use crate::integrity::{Digest, DigestError};

/// A digest that the finished file must have, for
/// [`DownloadBuilder::checksum`](crate::DownloadBuilder::checksum).
///
/// The text form is `ALGORITHM=HEX`. The algorithms are `sha-256`, `sha-512`, `sha-1`, `md5`,
/// `blake3`, `crc32c`, `crc64` (CRC-64/XZ) and `crc64nvme`; their names are taken in any case, with
/// or without hyphens. A CRC's most significant digit comes first.
///
/// ```
/// use partwise::Checksum;
///
/// let checksum: Checksum = "MD5=25F9E794323B453885F5181F1B624D0B".parse()?;
/// assert_eq!(checksum.algorithm(), "md5");
/// assert_eq!(checksum.hex(), "25f9e794323b453885f5181f1b624d0b");
/// assert!("md5=00".parse::<Checksum>().is_err());
/// # Ok::<(), partwise::ParseChecksumError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Checksum(Digest);

impl Checksum {
    /// The algorithm's name, as a report has it: `sha-256`, `crc64`, ….
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        self.0.algorithm().name()
    }

    /// The value in lower-case hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.hex()
    }

    pub(crate) fn into_digest(self) -> Digest {
        self.0
    }
}

impl FromStr for Checksum {
    type Err = ParseChecksumError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Digest::parse(text).map(Self).map_err(ParseChecksumError)
    }
}

/// The text form, which parses to an equal checksum.
impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({self})")
    }
}

/// A text is no `ALGORITHM=HEX`: what is wrong, what was expected and what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseChecksumError(DigestError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_survives_and_errors_say_why() {
        let checksum: Checksum = "SHA1=F7C3BC1D808E04732ADF679965CCC34CA7AE3441"
            .parse()
            .unwrap();
        let shown = "sha-1=f7c3bc1d808e04732adf679965ccc34ca7ae3441";
        assert_eq!(checksum.to_string(), shown);
        assert_eq!(shown.parse(), Ok(checksum.clone()));
        assert_eq!(format!("{checksum:?}"), format!("Checksum({shown})"));
        let refused = |text: &str| text.parse::<Checksum>().unwrap_err().to_string();
        assert_eq!(refused("md5"), "`md5` is not of the form ALGO=HEX");
        assert_eq!(
            refused("crc32c=0"),
            "crc32c takes 8 hexadecimal digits, and 1 characters were found"
        );
    }
}
