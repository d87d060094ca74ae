//! What a Pod may know about itself: `fieldRef` and `resourceFieldRef`, for variables and files alike.

use std::collections::BTreeMap;
use std::net::IpAddr;

use edge_api::kinds::pod::{Container, Pod, ResourceFieldSelector, Resources};
use edge_api::quantity::Quantity;

/// A Pod and what the node adds to it.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The Pod.
    pub pod: &'a Pod,
    /// Its address.
    pub ip: Option<IpAddr>,
    /// The node's address.
    pub host_ip: IpAddr,
    /// What a container without limits may use.
    pub allocatable: &'a Resources,
}

/// A reference to something that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactError {
    /// No such field.
    #[error("unsupported fieldPath: {0}")]
    Field(String),
    /// No such resource.
    #[error("unsupported container resource: {0}")]
    Resource(String),
    /// No such container.
    #[error("container {0} not found")]
    Container(String),
}

impl Facts<'_> {
    /// The value of a `fieldPath`.
    pub fn field(&self, path: &str) -> Result<String, FactError> {
        let meta = &self.pod.metadata;
        let address = |ip: Option<IpAddr>| ip.map(|ip| ip.to_string()).unwrap_or_default();
        if let Some((map, key)) = subscript(path) {
            let values = match map {
                "metadata.labels" => &meta.labels,
                "metadata.annotations" => &meta.annotations,
                _ => return Err(FactError::Field(path.to_owned())),
            };
            return Ok(values.get(key).cloned().unwrap_or_default());
        }
        Ok(match path {
            "metadata.name" => meta.name.clone(),
            "metadata.namespace" => meta.namespace.clone(),
            "metadata.uid" => meta.uid.clone(),
            "metadata.labels" => listed(&meta.labels),
            "metadata.annotations" => listed(&meta.annotations),
            "spec.nodeName" => self.pod.spec.node_name.clone(),
            "spec.serviceAccountName" => self.pod.spec.service_account_name.clone(),
            "status.podIP" | "status.podIPs" => address(self.ip),
            "status.hostIP" | "status.hostIPs" => address(Some(self.host_ip)),
            other => return Err(FactError::Field(other.to_owned())),
        })
    }

    /// The value of a `resourceFieldRef`; `own` is the container that asks, if one does.
    pub fn resource(
        &self,
        selector: &ResourceFieldSelector,
        own: Option<&Container>,
    ) -> Result<String, FactError> {
        let container = if selector.container_name.is_empty() {
            own.ok_or_else(|| FactError::Container(String::new()))?
        } else {
            let named = |each: &&Container| each.name == selector.container_name;
            let found = self.pod.spec.all_containers().find(named);
            found.ok_or_else(|| FactError::Container(selector.container_name.clone()))?
        };
        let unsupported = || FactError::Resource(selector.resource.clone());
        let (kind, name) = selector.resource.split_once('.').ok_or_else(unsupported)?;
        let known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
        let limits = &container.resources.limits;
        let requests = &container.resources.requests;
        let amount = match kind {
            _ if !known => return Err(unsupported()),
            "limits" => limits.get(name).or(self.allocatable.get(name)),
            "requests" => requests.get(name).or(limits.get(name)),
            _ => return Err(unsupported()),
        };
        Ok(divided(amount, selector.divisor.as_ref()).to_string())
    }
}

/// Rounded up, as Kubernetes does.
fn divided(amount: Option<&Quantity>, divisor: Option<&Quantity>) -> i64 {
    let amount = amount.map_or(0, Quantity::milli);
    let divisor = divisor.map_or(1000, Quantity::milli);
    if divisor <= 0 {
        amount / 1000
    } else {
        amount.div_euclid(divisor) + i64::from(amount.rem_euclid(divisor) != 0)
    }
}

/// `map['key']`
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once('[')?;
    let key = rest.strip_suffix(']')?;
    let key = key.strip_prefix('\'').and_then(|key| key.strip_suffix('\'')).unwrap_or(key);
    Some((map, key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key)))
}

fn listed(values: &BTreeMap<String, String>) -> String {
    values.iter().map(|(key, value)| format!("{key}={value:?}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"a": "1", "b/c": "\"x\""}},
            "spec": {"nodeName": "n", "serviceAccountName": "sa", "containers": [
                {"name": "c", "resources": {"limits": {"memory": "64Mi", "cpu": "250m"}, "requests": {"cpu": "100m"}}},
                {"name": "free"},
            ]},
        }))
        .expect("a Pod")
    }

    #[test]
    fn fields() {
        let pod = pod();
        let allocatable = Resources::new();
        let facts = Facts {
            pod: &pod,
            ip: "10.42.0.2".parse().ok(),
            host_ip: [1, 2, 3, 4].into(),
            allocatable: &allocatable,
        };
        for (path, expected) in [
            ("metadata.name", "p"),
            ("metadata.labels['a']", "1"),
            ("metadata.labels['none']", ""),
            ("metadata.labels", "a=\"1\"\nb/c=\"\\\"x\\\"\""),
            ("spec.nodeName", "n"),
            ("spec.serviceAccountName", "sa"),
            ("status.podIP", "10.42.0.2"),
            ("status.hostIP", "1.2.3.4"),
        ] {
            assert_eq!(facts.field(path).as_deref(), Ok(expected), "{path}");
        }
        assert_eq!(facts.field("spec.x"), Err(FactError::Field("spec.x".into())));
    }

    #[test]
    fn resources() {
        let pod = pod();
        let allocatable = Resources::from([("memory".to_owned(), Quantity::parse("2Gi").expect("valid"))]);
        let facts = Facts { pod: &pod, ip: None, host_ip: [1, 2, 3, 4].into(), allocatable: &allocatable };
        let read = |container: &str, resource: &str, divisor: Option<&str>| {
            let selector = ResourceFieldSelector {
                container_name: container.into(),
                resource: resource.into(),
                divisor: divisor.map(|text| Quantity::parse(text).expect("valid")),
            };
            facts.resource(&selector, None)
        };
        assert_eq!(read("c", "limits.cpu", None).as_deref(), Ok("1"));
        assert_eq!(read("c", "limits.cpu", Some("1m")).as_deref(), Ok("250"));
        assert_eq!(read("c", "requests.cpu", Some("1m")).as_deref(), Ok("100"));
        assert_eq!(read("c", "limits.memory", Some("1Mi")).as_deref(), Ok("64"));
        assert_eq!(read("c", "requests.memory", None).as_deref(), Ok("67108864"));
        assert_eq!(read("free", "limits.memory", Some("1Gi")).as_deref(), Ok("2"));
        assert_eq!(read("x", "limits.cpu", None), Err(FactError::Container("x".into())));
        assert_eq!(read("c", "limits.gpu", None), Err(FactError::Resource("limits.gpu".into())));
    }
}
