//! The integration tests.

mod cli;
