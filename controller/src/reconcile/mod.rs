//! The controllers: each one file, each a pure function from a key and the [`World`] to a [`Plan`]; and the one driver
//! that carries the plans out.
//!
//! A controller knows neither HTTP nor nodes nor other controllers. It is woken by changes that concern a key, or at a
//! time it asked for; nothing polls. To add one is to add a file of the same shape and a line to [`CONTROLLERS`].

mod plan;
mod queue;

mod condition;
mod ownership;
mod template;

mod deployment;
mod replicaset;

mod config_digest;
mod revision;

mod daemonset;
mod statefulset;

mod cronjob;
mod job;
mod ttl;

mod disruption;

mod ephemeral_volume;
mod persistent_volume;
mod storage_protection;

mod endpoints;

mod namespace;
mod policy_status;
mod resource_quota;
mod root_ca;
mod service_account;
mod token_secret;

mod signing;

mod cluster_role;

mod definition;
mod garbage;
mod pod_gc;
mod registration;

mod node;
mod node_ipam;

mod event;

mod autoscaler;
mod error_rate;

mod driver;
mod writer;

#[cfg(test)]
pub mod ledger;

pub use autoscaler::{Outside as Measures, run as autoscale};
pub use driver::{Driver, Progress, RunError, Status, Task, WriteError, Writer, carry_out, run};
pub use error_rate::run as watch_errors;
pub use persistent_volume::{
    candidates as volumes_for, makes as makes_volumes, reference as claim_reference,
};
pub use plan::{Act, Cascade, Note, Plan, Tone, Write};
pub use queue::{Job, Lengths, Outcome, Queue};
pub use writer::{Recorder, RegistryWriter};

use crate::mirror::{Delta, Name, World};

/// A controller: what wakes it, and what it makes of a key.
#[derive(Clone, Copy)]
pub struct Controller {
    /// Its name, as kube-controller-manager's; also the account it writes as.
    pub name: &'static str,
    /// The keys that are planned at the start although nothing concerns them yet.
    pub begins: &'static [(&'static str, &'static str)],
    /// Tells which keys a change concerns.
    pub wakes: fn(&Delta, &World, &mut dyn FnMut(Name)),
    /// Plans a key.
    pub reconcile: fn(&Name, &World) -> Plan,
}

/// Every controller of this folder; [`crate::controllers`] has them all.
pub static CONTROLLERS: &[Controller] = &[
    config_digest::CONTROLLER,
    deployment::CONTROLLER,
    replicaset::CONTROLLER,
    replicaset::LEGACY,
    daemonset::CONTROLLER,
    statefulset::CONTROLLER,
    job::CONTROLLER,
    job::STRAYS,
    cronjob::CONTROLLER,
    ttl::CONTROLLER,
    disruption::CONTROLLER,
    ephemeral_volume::CONTROLLER,
    persistent_volume::CONTROLLER,
    storage_protection::CLAIMS,
    storage_protection::VOLUMES,
    endpoints::CONTROLLER,
    namespace::CONTROLLER,
    policy_status::CONTROLLER,
    resource_quota::CONTROLLER,
    root_ca::CONTROLLER,
    service_account::CONTROLLER,
    token_secret::CONTROLLER,
    signing::CONTROLLER,
    cluster_role::CONTROLLER,
    definition::CONTROLLER,
    registration::CONTROLLER,
    garbage::CONTROLLER,
    pod_gc::CONTROLLER,
    node::CONTROLLER,
    node_ipam::CONTROLLER,
    event::CONTROLLER,
];
