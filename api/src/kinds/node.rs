//! Node: a host that runs Pods.

use crate::compact::object;
use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Field, Kind, Scope, StatusOnCreate, Subresource, Volatility, Written};
use crate::kinds::pod::Resources;
use crate::meta;
use crate::meta::{Condition, ObjectMeta};
use crate::name;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::Value;

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
    status_on_create: StatusOnCreate::Kept,
    columns: &[
        Column::NAME,
        Column::new("Status", "string", "Whether it is ready, and whether pods come to it."),
        Column::new("Roles", "string", "Its roles."),
        Column::AGE,
        Column::new("Version", "string", "The version of its agent."),
        Column::wide("Internal-IP", "string", "Its address inside."),
        Column::wide("External-IP", "string", "Its address outside."),
        Column::wide("OS-Image", "string", "Its distribution."),
        Column::wide("Kernel-Version", "string", "Its kernel."),
        Column::wide("Container-Runtime", "string", "What runs its containers."),
    ],
    row,
    fields: &[Field { name: "spec.unschedulable", path: &["spec", "unschedulable"], absent: "false" }],
    defaults,
    checks,
    update_checks,
    volatility,
    ..Kind::PLAIN
};

fn row(node: &Value, now: Timestamp) -> Vec<Value> {
    let info = |field: &str| match meta::text(node, &["status", "nodeInfo", field]) {
        "" => Value::from("<unknown>"),
        text => text.into(),
    };
    vec![
        meta::name(node).into(),
        status(node).into(),
        roles(node).into(),
        time::age(meta::creation_timestamp(node), now).into(),
        meta::text(node, &["status", "nodeInfo", "kubeletVersion"]).into(),
        address(node, "InternalIP").into(),
        address(node, "ExternalIP").into(),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn status(node: &Value) -> String {
    let ready = match meta::condition(node, "Ready") {
        None => "Unknown",
        Some(condition) if meta::text(condition, &["status"]) == "True" => "Ready",
        Some(_) => "NotReady",
    };
    if meta::at(node, &["spec", "unschedulable"]) == Some(&Value::Bool(true)) {
        format!("{ready},SchedulingDisabled")
    } else {
        ready.to_owned()
    }
}

fn roles(node: &Value) -> String {
    let labels = meta::labels(node);
    let mut roles: Vec<&str> = labels
        .iter()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => Some(role),
            _ if key == "kubernetes.io/role" && !value.is_empty() => Some(value.as_str()),
            _ => None,
        })
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }
}

fn address<'a>(node: &'a Value, type_: &str) -> &'a str {
    let addresses = meta::items(node, &["status", "addresses"]);
    let found = addresses.iter().find(|address| meta::text(address, &["type"]) == type_);
    found.map_or("<none>", |address| meta::text(address, &["address"]))
}

fn defaults(node: &mut Value) {
    let Some(status) = fill::there(node, "status") else { return };
    fill::quantities(status, "capacity");
    fill::quantities(status, "allocatable");
    if let Some(capacity) = status.get("capacity").cloned() {
        fill::absent(status, "allocatable", capacity);
    }
}

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

fn checks(node: &At<'_>, errors: &mut Errors) {
    let spec = node.get("spec");
    let mut seen = Vec::new();
    for taint in spec.get("taints").items() {
        let (key, effect) = (taint.get("key"), taint.get("effect"));
        validate::follows(&key, name::label_key, errors);
        validate::optional_name(&taint.get("value"), name::label_value, errors);
        validate::one_of(&effect, EFFECTS, errors);
        let pair = (key.text(), effect.text());
        if seen.contains(&pair) {
            errors.push(FieldError::duplicate(&taint.path, taint.value));
        }
        seen.push(pair);
    }
    let ranges = spec.get("podCIDRs");
    for range in ranges.items() {
        validate::cidr(&range, errors);
    }
    let amounts = node.get("status").get("capacity");
    for (_, amount) in amounts.entries() {
        validate::quantity(&amount, errors);
    }
}

fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (new, old) = (new.get("spec"), old.get("spec"));
    let kept = [("podCIDRs", "podCIDR"), ("providerID", "providerID")];
    for (field, shown) in kept {
        let (new, old) = (new.get(field), old.get(field));
        if !old.is_set() || old.text().is_empty() && old.is_empty() || new.value == old.value {
            continue;
        }
        let detail = format!("node updates may not change {shown} except from \"\" to valid");
        errors.push(FieldError::forbidden(&new.path, &detail));
    }
}

/// A heartbeat comes again soon; everything else a node says of itself is kept.
fn volatility(written: Written<'_>) -> Volatility {
    let Written { old, new, .. } = written;
    let essence = |node: &Value| {
        let mut conditions = meta::at(node, &["status", "conditions"]).cloned().unwrap_or_default();
        for condition in conditions.as_array_mut().into_iter().flatten() {
            condition.as_object_mut().map(|fields| fields.remove("lastHeartbeatTime"));
        }
        conditions
    };
    let same = !old.is_null()
        && meta::equal_but(new, old, &[&["status", "conditions"]])
        && essence(new) == essence(old);
    if same { Volatility::Volatile } else { Volatility::Durable }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;
    use serde_json::json;

    #[test]
    fn a_node_is_shown_as_kubectl_shows_it() {
        let node = json!({
            "metadata": {"name": "edge-1", "labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}},
            "spec": {"unschedulable": true},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                "nodeInfo": {"kubeletVersion": "v1.37.0", "osImage": "Debian", "kernelVersion": "6", "containerRuntimeVersion": "edged://1"},
            },
        });
        let expected = [
            "edge-1",
            "Ready,SchedulingDisabled",
            "control-plane,worker",
            "<unknown>",
            "v1.37.0",
            "10.0.0.1",
            "<none>",
            "Debian",
            "6",
            "edged://1",
        ];
        assert_eq!(row(&node, Timestamp::from_seconds(0)), expected);
        assert_eq!(status(&json!({})), "Unknown");
        assert_eq!(
            status(&json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})),
            "NotReady"
        );
    }

    #[test]
    fn only_a_heartbeat_may_be_lost() {
        let node = |heartbeat: &str, status: &str| {
            json!({"metadata": {"name": "a"}, "status": {"conditions":
                [{"type": "Ready", "status": status, "lastHeartbeatTime": heartbeat}]}})
        };
        let old = node("1", "True");
        let check = |new: &Value| KIND.volatility(Written { old: &old, new, user: "" });
        assert_eq!(check(&node("2", "True")), Volatility::Volatile);
        assert_eq!(check(&node("2", "False")), Volatility::Durable);
    }

    #[test]
    fn a_new_node_brings_its_status_and_keeps_its_range() {
        let mut node = json!({"metadata": {"name": "a"}, "spec": {"podCIDRs": ["10.42.0.0/24"]},
            "status": {"capacity": {"cpu": "1000m"}}});
        KIND.default(&mut node);
        KIND.prepare_create(&mut node);
        assert_eq!(node["status"], json!({"capacity": {"cpu": "1"}, "allocatable": {"cpu": "1"}}));
        let mut moved = node.clone();
        moved["spec"]["podCIDRs"] = json!(["10.42.1.0/24"]);
        let errors = KIND.validate_update(&moved, &node, Target::Main);
        assert_eq!(
            errors[0].to_string(),
            "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid"
        );
        moved["spec"]["podCIDRs"] = json!(["10.42.1.0/33"]);
        moved["spec"]["taints"] = json!([{"key": "a", "effect": "Never"}]);
        let errors: Vec<String> = KIND.validate(&moved).iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "spec.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoExecute\", \"NoSchedule\", \"PreferNoSchedule\"",
                "spec.podCIDRs[0]: Invalid value: \"10.42.1.0/33\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ]
        );
    }
}
