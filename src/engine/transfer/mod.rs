//! The transfer of one object: workers fetch what is missing, a committer keeps up with them, and
//! the caller may pause or end it.

mod attempt;
mod backpressure;
pub(crate) mod closing;
pub(crate) mod commit;
pub(crate) mod drawn_blocks;
mod expiry_notice;
mod one_stream;
mod progress;
pub(crate) mod rate_limit;
mod refusals;
pub(crate) mod replies;
mod run;
mod shared;
mod spot_check;
mod supervise;
mod waiting;
pub(crate) mod window;
mod worker;
mod writer;
pub(crate) mod written_blocks;

pub(crate) use run::TransferEnd;
pub(crate) use shared::{Layout, Transfer, TransferError};
