//! Checksums: the CRC of a part, digests of whole objects, and the header fields that carry those.

mod crc;
mod digest;
mod headers;

pub(crate) use crc::{Crc64, Crc64Combiner, combine_parts};
pub(crate) use digest::{Algorithm, Digest, Hasher};
pub(crate) use headers::whole_object_digests;
