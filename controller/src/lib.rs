//! The control plane of edgectl: store, API server, controllers, scheduler.

pub mod aggregate;
pub mod custom_metrics;
pub mod http;
pub mod identity;
pub mod outward;
pub mod registry;
pub mod store;
pub mod tunnel;
pub mod usage;

pub mod rates;
pub mod requests;
pub mod wanted;

mod keeper;
mod sorted;

pub mod mirror;
pub mod reconcile;
pub mod schedule;

pub mod bootstrap;
pub mod standing;

pub mod controllers;

#[cfg(test)]
mod simulation;

pub mod plane;

pub use mirror::Packing;
pub use plane::{Bound, BuildError, Caller, Config, ControlPlane, RunError};
