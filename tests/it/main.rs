//! The integration tests: the library and the real command against servers on the loopback
//! interface.

mod account;
mod bench;
mod cli;
mod control;
mod crash;
mod download;
mod errors;
mod faults;
mod file_systems;
mod house;
mod minimum_rust;
mod mirrors;
mod networks;
mod power_cut;
mod real_servers;
mod refresh;
mod resume;
mod signals;
mod support;
mod trace;
mod validators;
