//! Node: a host that runs Pods.

use crate::compact::object;
use crate::kind::{Kind, Scope, Subresource};
use crate::kinds::pod::Resources;
use crate::meta::{Condition, ObjectMeta};
use crate::time::Timestamp;

object! {
    /// A Node, as far as it is read here.
    struct Node {
        /// Metadata.
        metadata: ObjectMeta,
        /// What is wished.
        spec: NodeSpec,
        /// What is.
        status: NodeStatus,
    }

    /// What is wished of a Node.
    struct NodeSpec {
        /// Its part of the Pod range.
        #[serde(rename = "podCIDR")]
        pod_cidr: String,
        /// Its parts, one a family.
        #[serde(rename = "podCIDRs")]
        pod_cidrs: Vec<String>,
        /// Who made it.
        #[serde(rename = "providerID")]
        provider_id: String,
        /// Whether no new Pods come to it.
        unschedulable: bool,
        /// What keeps Pods away.
        taints: Vec<Taint>,
    }

    /// What keeps Pods away.
    struct Taint {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
        /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
        effect: String,
        /// Since when.
        time_added: Option<Timestamp>,
    }

    /// What a Node is.
    struct NodeStatus {
        /// What it has.
        capacity: Resources,
        /// What Pods may have of it.
        allocatable: Resources,
        /// `Ready`, `MemoryPressure`, `DiskPressure`, `PIDPressure`.
        conditions: Vec<Condition>,
        /// Its addresses.
        addresses: Vec<NodeAddress>,
        /// Its ports.
        daemon_endpoints: NodeDaemonEndpoints,
        /// What it is.
        node_info: NodeSystemInfo,
        /// Its images.
        images: Vec<ContainerImage>,
    }

    /// An address of a Node.
    struct NodeAddress {
        /// `InternalIP`, `ExternalIP`, `Hostname` …
        #[serde(rename = "type")]
        type_: String,
        /// The address.
        address: String,
    }

    /// Ports of a Node.
    struct NodeDaemonEndpoints {
        /// The node agent's.
        kubelet_endpoint: Option<DaemonEndpoint>,
    }

    /// A port. Its field's name begins with a capital letter.
    struct DaemonEndpoint {
        /// The port.
        #[serde(rename = "Port")]
        port: i32,
    }

    /// What a Node is.
    struct NodeSystemInfo {
        /// Identity of the machine.
        #[serde(rename = "machineID")]
        machine_id: String,
        /// Identity of the hardware.
        #[serde(rename = "systemUUID")]
        system_uuid: String,
        /// Identity of the boot.
        #[serde(rename = "bootID")]
        boot_id: String,
        /// Kernel.
        kernel_version: String,
        /// Distribution.
        os_image: String,
        /// Runtime and version, `edged://0.1.0`.
        container_runtime_version: String,
        /// Version of the node agent.
        kubelet_version: String,
        /// Version of the proxy.
        kube_proxy_version: String,
        /// `linux`.
        operating_system: String,
        /// `amd64`, `arm64` …
        architecture: String,
    }

    /// An image on a Node.
    struct ContainerImage {
        /// Its names.
        names: Vec<String>,
        /// Its size.
        size_bytes: i64,
    }
}

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    scope: Scope::Cluster,
    schema: "io.k8s.api.core.v1.Node",
    subresources: &[Subresource::Status],
    ..Kind::PLAIN
};
