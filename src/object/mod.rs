//! The model of a download: ranges, validators, the plan and the bitmap. Pure: no I/O, no clock.

mod bitmap;
mod field;
mod identity;
mod plan;
mod range;
mod selection;
mod validator;

pub(crate) use bitmap::{BlockBitmap, PartBitmap};
pub(crate) use field::{Date, Tag};
pub(crate) use identity::{Identity, Mismatch, Proof};
pub(crate) use plan::{Block, BlockIndex, BlockPlan, MAX_PARTS, PartIndex, Plan, PlanError};
pub(crate) use range::{ByteRange, ContentRange};
pub(crate) use selection::{Selection, SelectionError, SelectionSpec};
pub(crate) use validator::{EntityTag, Validator};
