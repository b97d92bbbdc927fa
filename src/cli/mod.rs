//! The command line. It stands on the library's public API alone.
//!
//! `args` holds what was typed, `settings` and `options` what it means; `get`, `bench`, `inspect`, `demo` and `manual` are the commands;
//! `progress` and `report` show how a download goes and went; `exit` is the one place that knows exit codes.

pub(crate) mod args;
pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod exit;
pub(crate) mod get;
mod input_file;
pub(crate) mod inspect;
pub(crate) mod manual;
mod options;
pub(crate) mod output;
mod progress;
mod report;
mod runtime;
mod settings;
mod signals;
mod temporary;
mod text;
mod trace;
mod value;
