//! Runs the engine in a simulation: a scripted server, a disk that loses power, and a paused clock
//! that advances when every task waits. All code between the probe and the published file is the
//! real one.
//!
//! # What is deterministic
//!
//! A run is a function of its seed: requests, replies, faults, retries, leases, commits, every step
//! of the disk, and the time of each by the paused clock are the same in a second run. A test holds
//! this. Three rules ensure it:
//!
//! * The engine runs on one thread, and its clock advances only when every task waits and no
//!   blocking task runs.
//! * A blocking task takes a step of the disk only while that thread is idle ([`idle_gate`]), and
//!   at most one task at a time takes steps.
//! * The engine's own randomness (the jitter of retries, the key of the URL's hash) comes from the
//!   thread's generator, which is seeded.
//!
//! Three things are not deterministic, and affect none of this: which thread reads which part back,
//! the processor time in the report, and whether a hint to start write-back has an effect.
//!
//! `PARTWISE_SIM_RUNS` sets the number of random schedules, and `PARTWISE_SIM_SEED` the seed of the
//! first. If only the seed is set, one schedule runs and prints what happens.

mod chance;
mod disk_errors;
mod few_uses;
mod idle_gate;
mod line;
mod networks;
mod oracle;
mod overwrites;
mod persistence;
mod power_cuts;
mod remote;
mod scenario;
mod schedule;
mod schedules;
mod verdict;
mod world;
