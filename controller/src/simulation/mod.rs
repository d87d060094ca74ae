//! The whole control plane against chance: the real registry, controllers, scheduler and mirrors over the real store in
//! memory, with simulated nodes, a user, and a time that jumps from one event to the next.
//!
//! A seed is a whole story, told the same way each time: workloads are made, changed and deleted while nodes die, are
//! cut off or slow, clocks jump, watches are lost and the process is killed between any two of its writes. Every change
//! is judged by the promises in [`rules`]; when the faults end, everything has to become what was declared, and when it
//! is all deleted, nothing may be left.
//!
//! What it deliberately leaves out: HTTP, the disk, and everything that nodes do beside running Pods. One thread tells
//! a story, without a runtime: a future is polled when the story says so.

#![allow(clippy::unwrap_used)]

mod clock;

mod agenda;
mod trace;

mod rule;

mod rules;

mod cluster;

mod process;

mod sandbox;

mod fleet;

mod manifest;

mod user;

mod fault;

mod story;

mod seeds;
