//! The engine in a world of its own: a scripted server, a disk that loses power, a clock that
//! stands still until everybody waits. Everything between the probe and the published file is the
//! code that downloads.
//!
//! # What is deterministic
//!
//! A run is a function of its seed: requests, replies, faults, retries, leases, commits, every step
//! of the disk, and the moment of each by the paused clock are the same the second time (a test
//! holds this). For that
//!
//! * the engine runs on one thread, and its clock moves only when nothing can go on and no blocking
//!   task is out;
//! * a blocking task takes a step of the disk only while that thread has nothing to do ([`turn`]),
//!   and there is one task at most that takes steps;
//! * the engine's own chance (the jitter of retries, the key of the URL's hash) comes from the
//!   thread's generator, which is seeded.
//!
//! Not deterministic, and without effect on any of this: which thread reads which part back, the
//! processor time in the report, and whether the process that write-back was hinted to heard it.
//!
//! `PARTWISE_SIM_RUNS` sets the number of random schedules, `PARTWISE_SIM_SEED` the first one's
//! seed: alone, it plays that one and tells what happens.

mod chance;
mod life;
mod oracle;
mod persistence;
mod power_cuts;
mod remote;
mod schedule;
mod schedules;
mod syncs;
mod turn;
mod verdict;
mod world;
