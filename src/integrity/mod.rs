//! Checksums: the CRC of a part, digests of whole objects, and header fields with digests.

mod crc;
mod digest;
mod headers;

pub(crate) use crc::{Crc64, Crc64Combiner, combine_parts};
pub(crate) use digest::{Algorithm, Digest, DigestError, Hasher};
pub(crate) use headers::whole_object_digests;
