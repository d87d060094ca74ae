//! Service: one name and address for many Pods.

use crate::compact::object;
use crate::int_or_string::IntOrString;
use crate::kind::{Kind, Subresource};
use crate::meta::{Condition, ObjectMeta};
use crate::name::NameRule;
use std::collections::BTreeMap;

object! {
    /// A Service, as far as it is read here.
    struct Service {
        /// Metadata.
        metadata: ObjectMeta,
        /// What is wished.
        spec: ServiceSpec,
        /// What is.
        status: ServiceStatus,
    }

    /// What is wished of a Service.
    struct ServiceSpec {
        /// `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`.
        #[serde(rename = "type")]
        type_: String,
        /// Its ports.
        ports: Vec<ServicePort>,
        /// Which Pods answer; empty if somebody else writes its endpoints.
        selector: BTreeMap<String, String>,
        /// Its address, or `None` for a headless Service.
        #[serde(rename = "clusterIP")]
        cluster_ip: String,
        /// Its addresses, one a family.
        #[serde(rename = "clusterIPs")]
        cluster_ips: Vec<String>,
        /// Further addresses of nodes.
        #[serde(rename = "externalIPs")]
        external_ips: Vec<String>,
        /// The name it is an alias of.
        external_name: String,
        /// `None` or `ClientIP`.
        session_affinity: String,
        /// Settings of the affinity.
        session_affinity_config: Option<Box<SessionAffinityConfig>>,
        /// `Cluster` or `Local`.
        external_traffic_policy: String,
        /// `Cluster` or `Local`.
        internal_traffic_policy: Option<String>,
        /// Port of the health check.
        health_check_node_port: i32,
        /// Whether names of Pods appear before they are ready.
        publish_not_ready_addresses: bool,
        /// `IPv4`, `IPv6`.
        ip_families: Vec<String>,
        /// `SingleStack`, `PreferDualStack` or `RequireDualStack`.
        ip_family_policy: Option<String>,
        /// Whether a LoadBalancer gets node ports.
        allocate_load_balancer_node_ports: Option<bool>,
        /// Who implements a LoadBalancer.
        load_balancer_class: Option<String>,
        /// The wished address of a LoadBalancer.
        #[serde(rename = "loadBalancerIP")]
        load_balancer_ip: String,
        /// Who may reach a LoadBalancer.
        load_balancer_source_ranges: Vec<String>,
        /// Which endpoints are preferred.
        traffic_distribution: Option<String>,
    }

    /// Settings of an affinity.
    struct SessionAffinityConfig {
        /// By the client's address.
        #[serde(rename = "clientIP")]
        client_ip: Option<ClientIpConfig>,
    }

    /// Affinity by the client's address.
    struct ClientIpConfig {
        /// How long it lasts; three hours if absent.
        timeout_seconds: Option<i32>,
    }

    /// A port of a Service.
    struct ServicePort {
        /// Its name.
        name: String,
        /// `TCP`, `UDP` or `SCTP`.
        protocol: String,
        /// What is spoken on it.
        app_protocol: Option<String>,
        /// Its number.
        port: i32,
        /// Number or name of the Pods' port.
        target_port: IntOrString,
        /// The port of every node that leads to it.
        node_port: i32,
    }

    /// What a Service is.
    struct ServiceStatus {
        /// Addresses of a LoadBalancer.
        load_balancer: LoadBalancerStatus,
        /// Conditions.
        conditions: Vec<Condition>,
    }

    /// Addresses of a load balancer.
    struct LoadBalancerStatus {
        /// The addresses.
        ingress: Vec<LoadBalancerIngress>,
    }

    /// An address of a load balancer.
    struct LoadBalancerIngress {
        /// The address.
        ip: String,
        /// Or its name.
        hostname: String,
    }
}

impl Service {
    /// Whether it has no address of its own.
    pub fn is_headless(&self) -> bool {
        self.spec.cluster_ip == "None"
    }
}

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    schema: "io.k8s.api.core.v1.Service",
    subresources: &[Subresource::Status],
    name_rule: NameRule::Label1035,
    ..Kind::PLAIN
};
