//! The table of kinds. A kind is one file here and one line in [`KINDS`].

pub mod namespace;
pub mod node;

pub mod config_map;
pub mod secret;
pub mod service_account;

pub mod pod;

pub mod endpoint_slice;
pub mod endpoints;
pub mod ingress;
pub mod ingress_class;
pub mod service;

mod workload;

pub mod deployment;
pub mod replica_set;

pub mod event;
pub mod events_event;
pub mod lease;

use crate::kind::Kind;
use crate::meta;

/// Every kind, in the order discovery lists them.
pub static KINDS: &[&Kind] = &[
    &config_map::KIND,
    &endpoints::KIND,
    &event::KIND,
    &namespace::KIND,
    &node::KIND,
    &pod::KIND,
    &secret::KIND,
    &service_account::KIND,
    &service::KIND,
    &deployment::KIND,
    &replica_set::KIND,
    &lease::KIND,
    &endpoint_slice::KIND,
    &events_event::KIND,
    &ingress::KIND,
    &ingress_class::KIND,
];

/// The kind of a resource's path.
pub fn by_resource(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|k| k.plural == plural && k.group == group && k.version == version)
}

/// The kind an object says it is.
pub fn by_kind(api_version: &str, kind: &str) -> Option<&'static Kind> {
    let (group, version) = meta::split_api_version(api_version);
    KINDS.iter().copied().find(|k| k.kind == kind && k.group == group && k.version == version)
}
