//! The command line. It uses only the public API of the library.
//!
//! `args` parses the command line; `settings` and `options` interpret it. `get`, `bench`,
//! `inspect`, `demo` and `manual` are the commands. `progress` and `report` show running and
//! finished downloads. `exit` defines the exit codes.

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
mod pace;
mod progress;
mod report;
mod runtime;
mod settings;
mod signals;
mod temporary;
mod text;
mod trace;
mod trouble;
mod value;
mod words;
