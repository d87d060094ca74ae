//! The table of kinds. A kind is one file here and one line in [`KINDS`].

pub mod namespace;
pub mod node;

pub mod config_map;
pub mod secret;
pub mod service_account;

pub mod pod;

pub mod load_balancer;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::{Subresource, Target};
    use crate::schema;
    use crate::time::Timestamp;
    use serde_json::{Value, json};

    #[test]
    fn every_kind_is_found_by_its_names() {
        for kind in KINDS {
            assert_eq!(by_resource(kind.group, kind.version, kind.plural), Some(*kind));
            assert_eq!(by_kind(&kind.api_version(), kind.kind), Some(*kind));
            assert_eq!(kind.singular, kind.kind.to_lowercase());
            assert!(schema::definition(kind.schema).is_some(), "{} has a schema", kind.kind);
        }
        assert_eq!(by_kind("apps/v1", "Pod"), None);
        assert_eq!(
            by_resource("", "v1", "pods").map(|kind| kind.key_prefix()),
            Some("/core/pods".to_owned())
        );
        assert_eq!(
            by_kind("apps/v1", "Deployment").map(|kind| kind.qualified()),
            Some("Deployment.apps".to_owned())
        );
    }

    /// Objects of every shape that a client may send before anything has looked at it.
    fn odd_objects() -> Vec<Value> {
        let leaves =
            [json!(null), json!(true), json!(-1), json!("x"), json!([]), json!({}), json!([null, 1, {}])];
        let mut objects: Vec<Value> = leaves.to_vec();
        let fields = [
            "metadata",
            "spec",
            "status",
            "data",
            "stringData",
            "type",
            "ports",
            "endpoints",
            "subsets",
            "involvedObject",
            "source",
            "series",
        ];
        for field in fields {
            objects.extend(leaves.iter().map(|leaf| json!({ field: leaf })));
        }
        let deep = [
            "template",
            "selector",
            "strategy",
            "containers",
            "initContainers",
            "volumes",
            "ports",
            "rules",
            "taints",
            "replicas",
            "clusterIP",
            "clusterIPs",
            "defaultBackend",
            "tls",
            "podCIDRs",
            "finalizers",
        ];
        for field in deep {
            objects.extend(leaves.iter().map(|leaf| json!({"spec": { field: leaf }})));
            objects
                .extend(leaves.iter().map(|leaf| json!({"spec": {"template": {"spec": { field: leaf }}}})));
            objects.extend(leaves.iter().map(|leaf| json!({"status": { field: leaf }})));
        }
        objects
    }

    #[test]
    fn no_object_is_too_odd() {
        let now = Timestamp::from_seconds(0);
        for kind in KINDS {
            for object in odd_objects() {
                let mut new = object.clone();
                kind.default(&mut new);
                let once = new.clone();
                kind.default(&mut new);
                assert_eq!(new, once, "{kind:?}: filling in twice is filling in once");
                assert_eq!(
                    (kind.row)(&new, now).len(),
                    kind.columns.len(),
                    "{kind:?}: a cell for each column"
                );
                let errors = kind.validate(&new);
                assert!(!errors.is_empty(), "{kind:?}: a name is missing at least");
                for target in [Target::Main, Target::Status] {
                    let mut changed = new.clone();
                    kind.prepare_update(&mut changed, &object, target);
                    kind.validate_update(&changed, &object, target);
                }
                if new.is_object() {
                    kind.prepare_create(&mut new);
                }
            }
        }
    }

    #[test]
    fn scale_and_its_paths_go_together() {
        for kind in KINDS {
            assert_eq!(kind.has(Subresource::Scale), kind.scale.is_some(), "{kind:?}");
        }
    }
}
