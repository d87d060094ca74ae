//! What the spec of a Pod says that is allowed and most likely a mistake, in the words of kube-apiserver.

use std::collections::{BTreeMap, BTreeSet};

use crate::quantity::Quantity;
use crate::validate::At;

/// Labels of nodes that have other names by now, and those.
const RENAMED_LABELS: [(&str, &str, &str); 5] = [
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
];

/// The warnings about the spec of a Pod or of a template.
pub fn spec(spec: &At<'_>, warnings: &mut Vec<String>) {
    node_selector(&spec.get("nodeSelector"), warnings);
    let mut ports = BTreeMap::new();
    for list in ["initContainers", "containers"] {
        for container in spec.get(list).items() {
            environment(&container.get("env"), warnings);
            bytes(&container.get("resources"), warnings);
            for port in container.get("ports").items() {
                duplicate(&port, &mut ports, warnings);
            }
        }
    }
}

fn node_selector(selector: &At<'_>, warnings: &mut Vec<String>) {
    for (old, since, new) in RENAMED_LABELS {
        if selector.value.get(old).is_some() {
            warnings.push(format!("{}[{old}]: deprecated since {since}; use {new:?} instead", selector.path));
        }
    }
}

fn environment(env: &At<'_>, warnings: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for one in env.items() {
        let name = one.get("name").text();
        if !seen.insert(name) {
            let path = &one.path;
            warnings.push(format!(
                "{path}: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
}

fn bytes(resources: &At<'_>, warnings: &mut Vec<String>) {
    for list in ["limits", "requests"] {
        for resource in ["memory", "ephemeral-storage"] {
            let text = resources.value[list][resource].as_str().unwrap_or_default();
            if Quantity::parse(text).is_ok_and(|amount| !amount.is_whole()) {
                let path = &resources.path;
                warnings.push(format!(
                    "{path}.{list}[{resource}]: fractional byte value {text:?} is invalid, must be an integer"
                ));
            }
        }
    }
}

/// Ports with the same number and protocol, of the same address of the host if they have one.
fn duplicate(
    port: &At<'_>,
    seen: &mut BTreeMap<(i64, String, i64, String), String>,
    warnings: &mut Vec<String>,
) {
    let number = |field| port.value[field].as_i64().unwrap_or(0);
    let text = |field| port.value[field].as_str().unwrap_or_default().to_owned();
    let key = (number("containerPort"), text("protocol"), number("hostPort"), text("hostIP"));
    match seen.get(&key) {
        Some(first) => warnings.push(format!("{}: duplicate port definition with {first}", port.path)),
        None => drop(seen.insert(key, port.path.to_string())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_most_likely_a_mistake_is_told() {
        let quiet = json!({
            "nodeSelector": {"kubernetes.io/os": "wasi"},
            "containers": [{
                "name": "c", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}],
                "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "UDP"}],
                "resources": {"limits": {"cpu": "100m", "memory": "1Gi"}},
            }],
        });
        let mut loud = quiet.clone();
        loud["nodeSelector"]["beta.kubernetes.io/os"] = json!("wasi");
        let container = &mut loud["containers"][0];
        container["env"][1]["name"] = json!("A");
        container["ports"][1]["protocol"] = json!("TCP");
        container["resources"]["requests"] = json!({"memory": "100m"});
        let told = |value: &Value| {
            let mut warnings = Vec::new();
            spec(&At::new(value, "spec"), &mut warnings);
            warnings
        };
        assert_eq!(told(&quiet), [] as [&str; 0]);
        let expected = [
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            "spec.containers[0].resources.requests[memory]: fractional byte value \"100m\" is invalid, must be an integer",
            "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
        ];
        assert_eq!(told(&loud), expected);
    }
}
