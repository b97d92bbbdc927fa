//! The manual: how partwise works, what it promises, and the format of its checkpoint.

#[doc = include_str!("design.md")]
pub mod design {}

#[doc = include_str!("promises.md")]
pub mod promises {}

#[doc = include_str!("checkpoint_format.md")]
pub mod checkpoint_format {}
