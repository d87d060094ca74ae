//! The harness of the whole-system stories: a real `edged`, real clients, conditions to wait for.
//!
//! A story starts a [`Cluster`] on free ports in a directory of its own, drives it as its users do,
//! and drops it. Every wait names what it waits for and says what it saw last when it gives up. No
//! story takes a fixed port, a program from `PATH`, or anything another story left behind.
#![allow(clippy::unwrap_used, missing_docs)]

pub mod agent;
pub mod api;
pub mod cluster;
pub mod kubectl;
pub mod registry;
pub mod tool;
pub mod wait;
pub mod web;
pub mod yaml;

pub use cluster::{Cluster, Options, Shape};
pub use wait::{eventually, eventually_within};

use std::path::{Path, PathBuf};

/// The project's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The folder of `edged` and `edgectl`, built before the stories run.
pub fn binaries() -> PathBuf {
    if let Some(folder) = std::env::var_os("EDGE_BINARIES") {
        return PathBuf::from(folder);
    }
    // target/<profile>/deps/<this test> → target/<profile>
    std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned()
}
