//! EndpointSlice: addresses behind a Service.

use crate::compact::object;
use crate::kind::{Generation, Kind};
use crate::kinds::endpoints::ObjectReference;
use crate::meta::ObjectMeta;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The label that names a slice's Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// The label that names who writes a slice.
pub const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";

/// An EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointSlice {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: String,
    /// The endpoints; written even when there are none, as Kubernetes does.
    pub endpoints: Vec<Endpoint>,
    /// The ports, for every endpoint alike.
    pub ports: Vec<EndpointPort>,
}

object! {
    /// One endpoint: a Pod, mostly.
    struct Endpoint {
        /// Its addresses; the first is used.
        addresses: Vec<String>,
        /// Whether it may be sent requests.
        conditions: EndpointConditions,
        /// Its host name under the Service's.
        hostname: Option<String>,
        /// Its Pod.
        target_ref: Option<ObjectReference>,
        /// Older labels of its place.
        deprecated_topology: BTreeMap<String, String>,
        /// Its node.
        node_name: Option<String>,
        /// Its zone.
        zone: Option<String>,
    }

    /// Whether an endpoint may be sent requests.
    struct EndpointConditions {
        /// It serves and does not end; absent counts as true.
        ready: Option<bool>,
        /// It serves; absent counts as `ready`.
        serving: Option<bool>,
        /// It ends; absent counts as false.
        terminating: Option<bool>,
    }
}

/// A port of a slice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointPort {
    /// Its name; an empty one is written as Kubernetes does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `TCP`, `UDP` or `SCTP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Its number; absent means every port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// What is spoken on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

/// The table entry.
pub static KIND: Kind = Kind {
    group: "discovery.k8s.io",
    version: "v1",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    schema: "io.k8s.api.discovery.v1.EndpointSlice",
    generation: Generation::Spec,
    ..Kind::PLAIN
};
