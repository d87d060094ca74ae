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
pub mod network_policy;
pub mod service;

mod foreign_volume;

pub mod persistent_volume;
pub mod persistent_volume_claim;

pub mod limit_range;
pub mod resource_quota;

mod workload;

pub mod deployment;
pub mod replica_set;
pub mod replication_controller;

pub mod controller_revision;
pub mod daemon_set;
pub mod stateful_set;

pub mod job;

pub mod cron_job;

pub mod horizontal_pod_autoscaler;
pub mod horizontal_pod_autoscaler_v1;
pub mod pod_disruption_budget;

pub mod component_status;
pub mod pod_template;

pub mod event;
pub mod events_event;
pub mod lease;

pub mod node_metrics;
pub mod pod_metrics;
pub mod priority_class;
pub mod runtime_class;

pub mod csi_driver;
pub mod csi_node;
pub mod storage_class;
pub mod volume_attachment;
pub mod volume_attributes_class;

pub mod api_service;
pub mod certificate_signing_request;

mod admission_policy;

pub mod mutating_admission_policy;
pub mod mutating_admission_policy_binding;
pub mod validating_admission_policy;
pub mod validating_admission_policy_binding;

mod webhook;

pub mod mutating_webhook_configuration;
pub mod validating_webhook_configuration;

mod rbac;
pub mod store_only;

pub mod cluster_role;
pub mod role;
pub mod role_binding;

pub mod cluster_role_binding;

mod review;

pub mod local_subject_access_review;
pub mod self_subject_access_review;
pub mod self_subject_review;
pub mod self_subject_rules_review;
pub mod subject_access_review;
pub mod token_review;

pub mod custom_resource_definition;

use crate::kind::Kind;
use crate::meta;

/// Every kind, in the order discovery lists them.
pub static KINDS: &[&Kind] = &[
    &component_status::KIND,
    &config_map::KIND,
    &endpoints::KIND,
    &event::KIND,
    &limit_range::KIND,
    &namespace::KIND,
    &node::KIND,
    &persistent_volume_claim::KIND,
    &persistent_volume::KIND,
    &pod::KIND,
    &pod_template::KIND,
    &replication_controller::KIND,
    &resource_quota::KIND,
    &secret::KIND,
    &service_account::KIND,
    &service::KIND,
    &controller_revision::KIND,
    &daemon_set::KIND,
    &deployment::KIND,
    &replica_set::KIND,
    &stateful_set::KIND,
    &horizontal_pod_autoscaler::KIND,
    &horizontal_pod_autoscaler_v1::KIND,
    &cron_job::KIND,
    &job::KIND,
    &lease::KIND,
    &endpoint_slice::KIND,
    &events_event::KIND,
    &ingress::KIND,
    &ingress_class::KIND,
    &node_metrics::KIND,
    &pod_metrics::KIND,
    &network_policy::KIND,
    &store_only::IP_ADDRESS,
    &store_only::SERVICE_CIDR,
    &priority_class::KIND,
    &store_only::POD_GROUP,
    &store_only::WORKLOAD,
    &store_only::COMPOSITE_POD_GROUP,
    &store_only::POD_GROUP_V1ALPHA3,
    &store_only::WORKLOAD_V1ALPHA3,
    &csi_driver::KIND,
    &csi_node::KIND,
    &store_only::CSI_STORAGE_CAPACITY,
    &storage_class::KIND,
    &volume_attachment::KIND,
    &volume_attributes_class::KIND,
    &store_only::STORAGE_VERSION_MIGRATION,
    &store_only::STORAGE_VERSION_MIGRATION_V1BETA1,
    &runtime_class::KIND,
    &certificate_signing_request::KIND,
    &store_only::CLUSTER_TRUST_BUNDLE,
    &store_only::POD_CERTIFICATE_REQUEST,
    &store_only::CLUSTER_TRUST_BUNDLE_V1BETA1,
    &store_only::POD_CERTIFICATE_REQUEST_V1BETA1,
    &store_only::LEASE_CANDIDATE,
    &store_only::LEASE_CANDIDATE_V1ALPHA2,
    &api_service::KIND,
    &mutating_admission_policy::KIND,
    &mutating_admission_policy_binding::KIND,
    &mutating_webhook_configuration::KIND,
    &validating_admission_policy::KIND,
    &validating_admission_policy_binding::KIND,
    &validating_webhook_configuration::KIND,
    &store_only::MUTATING_POLICY_V1BETA1,
    &store_only::MUTATING_BINDING_V1BETA1,
    &store_only::MUTATING_POLICY_V1ALPHA1,
    &store_only::MUTATING_BINDING_V1ALPHA1,
    &store_only::FLOW_SCHEMA,
    &store_only::PRIORITY_LEVEL_CONFIGURATION,
    &store_only::STORAGE_VERSION,
    &store_only::DEVICE_CLASS,
    &store_only::DEVICE_TAINT_RULE,
    &store_only::RESOURCE_CLAIM,
    &store_only::RESOURCE_CLAIM_TEMPLATE,
    &store_only::RESOURCE_SLICE,
    &store_only::DEVICE_CLASS_V1BETA2,
    &store_only::DEVICE_TAINT_RULE_V1BETA2,
    &store_only::RESOURCE_CLAIM_V1BETA2,
    &store_only::RESOURCE_CLAIM_TEMPLATE_V1BETA2,
    &store_only::RESOURCE_SLICE_V1BETA2,
    &store_only::DEVICE_CLASS_V1BETA1,
    &store_only::RESOURCE_CLAIM_V1BETA1,
    &store_only::RESOURCE_CLAIM_TEMPLATE_V1BETA1,
    &store_only::RESOURCE_SLICE_V1BETA1,
    &store_only::DEVICE_TAINT_RULE_V1ALPHA3,
    &store_only::RESOURCE_POOL_STATUS_REQUEST,
    &store_only::EVICTION,
    &store_only::EVICTION_REQUEST,
    &pod_disruption_budget::KIND,
    &cluster_role_binding::KIND,
    &cluster_role::KIND,
    &role_binding::KIND,
    &role::KIND,
    &local_subject_access_review::KIND,
    &self_subject_access_review::KIND,
    &self_subject_rules_review::KIND,
    &subject_access_review::KIND,
    &self_subject_review::KIND,
    &token_review::KIND,
    &custom_resource_definition::KIND,
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
            assert!(kind.singular == kind.kind.to_lowercase() || kind.singular.is_empty());
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
            "template",
            "conditions",
            "rules",
            "roleRef",
            "subjects",
            "aggregationRule",
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
            "updateStrategy",
            "volumeClaimTemplates",
            "persistentVolumeClaimRetentionPolicy",
            "podFailurePolicy",
            "successPolicy",
            "jobTemplate",
            "schedule",
            "timeZone",
            "metrics",
            "currentMetrics",
            "behavior",
            "scaleTargetRef",
            "minAvailable",
            "hard",
            "scopes",
            "limits",
            "accessModes",
            "capacity",
            "nodeAffinity",
            "resources",
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

    /// Every object that differs from this one in one place.
    fn spoiled(value: &Value) -> Vec<Value> {
        let leaves = [
            json!(true),
            json!(-1),
            json!(""),
            json!("\u{0}é/.."),
            json!([]),
            json!({}),
            json!([1, {}]),
            json!({"": null}),
        ];
        let mut all: Vec<Value> = leaves.to_vec();
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    let mut without = fields.clone();
                    without.remove(name);
                    all.push(Value::Object(without));
                    for other in spoiled(field) {
                        let mut changed = fields.clone();
                        changed.insert(name.clone(), other);
                        all.push(Value::Object(changed));
                    }
                }
            }
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    for other in spoiled(item) {
                        let mut changed = items.clone();
                        changed[i] = other;
                        all.push(Value::Array(changed));
                    }
                }
            }
            _ => {}
        }
        all
    }

    #[test]
    fn no_spoiled_object_is_too_odd() {
        let pod = json!({
            "containers": [{"name": "a", "image": "a:1", "ports": [{"containerPort": 80, "hostPort": 80}],
                "env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}}],
                "envFrom": [{"configMapRef": {"name": "a"}}], "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
                "livenessProbe": {"httpGet": {"port": 80}}, "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
                "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "x"}]}],
            "volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}},
                {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels['a']"}}]}}]}}],
            "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}],
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
                [{"weight": 1, "podAffinityTerm": {"topologyKey": "a", "labelSelector": {"matchLabels": {"a": "b"}}}}]}},
            "hostNetwork": true,
        });
        let metadata = json!({"name": "a", "namespace": "b", "labels": {"a": "b"}, "finalizers": ["a/b"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1", "controller": true}]});
        let status = json!({"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}],
            "containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 1}}, "restartCount": 1,
                "lastState": {"terminated": {"finishedAt": "2026-01-01T00:00:00Z"}}}],
            "loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}, "addresses": [{"type": "InternalIP", "address": "a"}]});
        let template = json!({"replicas": 1, "selector": {"matchLabels": {"a": "b"}, "matchExpressions":
            [{"key": "a", "operator": "In", "values": ["b"]}]}, "strategy": {"rollingUpdate": {"maxSurge": "1%"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}});
        let service = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30000, "targetPort": "http"}],
            "clusterIP": "10.43.0.1", "clusterIPs": ["10.43.0.1"], "selector": {"a": "b"}, "externalIPs": ["10.0.0.1"]});
        let ingress = json!({"rules": [{"host": "a.b", "http": {"paths": [{"path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "a", "port": {"number": 80}}}}]}}], "tls": [{"hosts": ["a.b"]}]});
        let node = json!({"taints": [{"key": "a", "effect": "NoExecute"}], "podCIDRs": ["10.42.0.0/24"], "podCIDR": "10.42.0.0/24"});
        let of = |more: Value| {
            let mut spec = template.clone();
            for (field, value) in more.as_object().into_iter().flatten() {
                spec[field] = value.clone();
            }
            spec
        };
        let stateful =
            of(json!({"ordinals": {"start": 1}, "volumeClaimTemplates": [{"metadata": {"name": "v"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]}));
        let run = of(
            json!({"completions": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 1, "podFailurePolicy":
            {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}},
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]},
            "successPolicy": {"rules": [{"succeededIndexes": "0-1", "succeededCount": 1}]}}),
        );
        let cron = json!({"schedule": "@daily", "timeZone": "UTC", "jobTemplate": {"spec": run}});
        let scaler = json!({"maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "a"}, "metrics":
            [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 5}}},
                {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "a"}, "metric": {"name": "a"},
                    "target": {"type": "Value", "value": "1"}}}], "behavior": {"scaleDown": {}}});
        let older = json!({"maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "a"}, "targetCPUUtilizationPercentage": 5});
        let volume = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/a"},
            "claimRef": {"namespace": "a", "name": "b"}, "nodeAffinity": {"required": {"nodeSelectorTerms":
                [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}});
        let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            "dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}, "selector": {"matchLabels": {"a": "b"}}});
        let quota = json!({"hard": {"pods": "1"}, "scopes": ["Terminating"], "scopeSelector": {"matchExpressions":
            [{"scopeName": "PriorityClass", "operator": "In", "values": ["a"]}]}});
        let limits = json!({"limits": [{"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "1m"},
            "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1m"}, "maxLimitRequestRatio": {"cpu": "2"}}]});
        let budget = json!({"minAvailable": "50%", "selector": {"matchLabels": {"a": "b"}}});
        let cases: [(&Kind, Value); 17] = [
            (&stateful_set::KIND, stateful),
            (&daemon_set::KIND, of(json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": "1%"}}}))),
            (&replication_controller::KIND, of(json!({"selector": {"a": "b"}}))),
            (&job::KIND, run),
            (&cron_job::KIND, cron),
            (&horizontal_pod_autoscaler::KIND, scaler),
            (&horizontal_pod_autoscaler_v1::KIND, older),
            (&persistent_volume::KIND, volume),
            (&persistent_volume_claim::KIND, claim),
            (&resource_quota::KIND, quota),
            (&limit_range::KIND, limits),
            (&pod_disruption_budget::KIND, budget),
            (&pod::KIND, pod),
            (&deployment::KIND, template),
            (&service::KIND, service),
            (&ingress::KIND, ingress),
            (&node::KIND, node),
        ];
        let now = Timestamp::from_seconds(0);
        for (kind, spec) in cases {
            let mut good = json!({"metadata": metadata, "spec": spec, "status": status});
            kind.default(&mut good);
            for mut object in spoiled(&good).into_iter().filter(Value::is_object) {
                kind.default(&mut object);
                let once = object.clone();
                kind.default(&mut object);
                assert_eq!(object, once, "{kind:?}: filling in twice is filling in once");
                assert_eq!((kind.row)(&object, now).len(), kind.columns.len());
                kind.validate(&object);
                kind.validate_update(&object, &good, Target::Main);
                kind.validate_update(&good, &object, Target::Main);
                kind.volatility(crate::kind::Written { old: &good, new: &object, user: "system:node:a" });
                let mut changed = object.clone();
                kind.prepare_update(&mut changed, &good, Target::Main);
                kind.prepare_update(&mut good.clone(), &object, Target::Status);
                kind.prepare_create(&mut object);
                drop(crate::scale::of(kind, &object));
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
