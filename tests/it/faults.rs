//! What servers, disks and people do wrong, one fault a row.
//!
//! For every fault the exit code is 0 if and only if the bytes are those of one version of the
//! object. Otherwise the final name stays untouched and the message names the cause. Nothing ever
//! shows a secret, memory and time are bounded, and the next run, in a world that has come to its
//! senses, completes the file.

mod access;
mod asked;
mod checkpoint;
mod coding;
mod discovery;
mod disk;
mod fault;
mod identity;
mod last_step;
mod lines;
mod names;
mod outputs;
mod redirects;
mod replies;
mod second_run;
mod table;
mod transport;
mod weak_evidence;

/// The size of the parts, in bytes.
const PART: u64 = 16 << 10;
/// The length of the object, in bytes.
const LENGTH: u64 = 16 * PART + 3;
