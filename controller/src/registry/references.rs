//! Which Secrets, ConfigMaps, ServiceAccounts and claims a Pod uses.

use edge_api::meta::{items, text};
use serde_json::Value;

/// An object of the Pod's namespace.
#[derive(Clone, Copy, Debug)]
pub struct Used<'a> {
    /// `secrets`, `configmaps`, `serviceaccounts` or `persistentvolumeclaims`.
    pub resource: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// Whether the Pod uses the object.
pub fn of_pod(pod: &Value, used: &Used<'_>) -> bool {
    match used.resource {
        _ if used.name.is_empty() => false,
        "serviceaccounts" => text(pod, &["spec", "serviceAccountName"]) == used.name,
        "secrets" => {
            names(items(pod, &["spec", "imagePullSecrets"]), &[], used.name)
                || by_volumes(pod, &["secret", "secretName"], &["secret", "name"], used.name)
                || by_containers(pod, "secretKeyRef", "secretRef", used.name)
        }
        "configmaps" => {
            by_volumes(pod, &["configMap", "name"], &["configMap", "name"], used.name)
                || by_containers(pod, "configMapKeyRef", "configMapRef", used.name)
        }
        "persistentvolumeclaims" => {
            let volumes = items(pod, &["spec", "volumes"]);
            volumes.iter().any(|volume| text(volume, &["persistentVolumeClaim", "claimName"]) == used.name)
        }
        _ => false,
    }
}

fn by_volumes(pod: &Value, direct: &[&str], projected: &[&str], name: &str) -> bool {
    items(pod, &["spec", "volumes"]).iter().any(|volume| {
        let sources = items(volume, &["projected", "sources"]);
        text(volume, direct) == name || sources.iter().any(|source| text(source, projected) == name)
    })
}

fn by_containers(pod: &Value, key_reference: &str, whole_reference: &str, name: &str) -> bool {
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    let mut containers = lists.iter().flat_map(|list| items(pod, &["spec", list]));
    containers.any(|container| {
        names(items(container, &["env"]), &["valueFrom", key_reference], name)
            || names(items(container, &["envFrom"]), &[whole_reference], name)
    })
}

/// Whether one of the list's items has `name` in the object at `path`.
fn names(list: &[Value], path: &[&str], name: &str) -> bool {
    let path: Vec<&str> = path.iter().copied().chain(["name"]).collect();
    list.iter().any(|item| text(item, &path) == name)
}

#[cfg(test)]
mod tests {
    use super::{Used, of_pod};
    use serde_json::json;

    #[test]
    fn every_way_to_name_an_object_is_found() {
        let pod = json!({"spec": {
            "serviceAccountName": "sa",
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"secret": {"secretName": "s1"}},
                {"configMap": {"name": "c1"}},
                {"persistentVolumeClaim": {"claimName": "data"}},
                {"projected": {"sources": [{"secret": {"name": "s2"}}, {"configMap": {"name": "c2"}}]}},
            ],
            "containers": [{"env": [
                {"valueFrom": {"secretKeyRef": {"name": "s3"}}},
                {"valueFrom": {"configMapKeyRef": {"name": "c3"}}},
            ]}],
            "initContainers": [{"envFrom": [{"secretRef": {"name": "s4"}}, {"configMapRef": {"name": "c4"}}]}],
        }});
        let uses = |resource, name| of_pod(&pod, &Used { resource, name });
        assert!(["pull", "s1", "s2", "s3", "s4"].iter().all(|name| uses("secrets", name)));
        assert!(["c1", "c2", "c3", "c4"].iter().all(|name| uses("configmaps", name)));
        assert!(uses("serviceaccounts", "sa") && uses("persistentvolumeclaims", "data"));
        assert!(
            !uses("secrets", "c1")
                && !uses("configmaps", "s1")
                && !uses("pods", "sa")
                && !uses("secrets", "")
        );
    }
}
