//! What Kubernetes fills in for a Pod and for a Pod template.
//!
//! What admission adds (tokens, tolerations, priority) is not here: it needs other objects.

use crate::fill;
use serde_json::{Value, json};

/// Fills in a Pod: what a template gets, and what only Pods get.
pub(super) fn pod(object: &mut Value) {
    let Some(spec) = fill::object(object, "spec") else { return };
    template_spec(spec);
    fill::absent(spec, "enableServiceLinks", true);
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        fill::each(spec, list, |container| {
            requests_from_limits(container);
            if host_network {
                fill::each(container, "ports", host_port);
            }
        });
    }
}

/// Fills in the Pod template in the field `template` of a spec.
pub fn template(spec: &mut Value) {
    if let Some(template) = fill::object(spec, "template") {
        fill::object(template, "metadata");
        if let Some(spec) = fill::object(template, "spec") {
            template_spec(spec);
        }
    }
}

/// Fills in a Pod's spec as it stands in a template.
fn template_spec(spec: &mut Value) {
    fill::blank(spec, "restartPolicy", "Always");
    fill::blank(spec, "dnsPolicy", "ClusterFirst");
    fill::blank(spec, "schedulerName", "default-scheduler");
    fill::absent(spec, "terminationGracePeriodSeconds", 30);
    fill::absent(spec, "securityContext", json!({}));
    mirror_service_account(spec);
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        fill::each(spec, list, container);
    }
    fill::each(spec, "volumes", volume);
    fill::quantities(spec, "overhead");
    if let Some(resources) = fill::there(spec, "resources") {
        resource_requirements(resources);
    }
}

/// The two names of one field say the same.
fn mirror_service_account(spec: &mut Value) {
    let text = |spec: &Value, field: &str| {
        spec.get(field).and_then(Value::as_str).filter(|name| !name.is_empty()).map(str::to_owned)
    };
    match (text(spec, "serviceAccountName"), text(spec, "serviceAccount")) {
        (Some(name), _) => fill::set(spec, "serviceAccount", name),
        (None, Some(name)) => fill::set(spec, "serviceAccountName", name),
        (None, None) => {}
    }
}

fn container(container: &mut Value) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or("").to_owned();
    fill::blank(container, "imagePullPolicy", pull_policy(&image));
    fill::blank(container, "terminationMessagePath", "/dev/termination-log");
    fill::blank(container, "terminationMessagePolicy", "File");
    if let Some(resources) = fill::object(container, "resources") {
        resource_requirements(resources);
    }
    fill::each(container, "ports", |port| fill::blank(port, "protocol", "TCP"));
    fill::each(container, "env", |variable| {
        if let Some(source) = fill::there(variable, "valueFrom") {
            field_source(source);
        }
    });
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = fill::there(container, name) {
            fill::zero(probe, "timeoutSeconds", 1);
            fill::zero(probe, "periodSeconds", 10);
            fill::zero(probe, "successThreshold", 1);
            fill::zero(probe, "failureThreshold", 3);
            handler(probe);
        }
    }
    if let Some(lifecycle) = fill::there(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(hook) = fill::there(lifecycle, name) {
                handler(hook);
            }
        }
    }
}

/// `Always` for images whose tag is or counts as `latest`.
pub fn pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or(image);
    if name.contains('@') {
        return "IfNotPresent";
    }
    match name.split_once(':') {
        None | Some((_, "latest" | "")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn handler(handler: &mut Value) {
    if let Some(http) = fill::there(handler, "httpGet") {
        fill::blank(http, "path", "/");
        fill::blank(http, "scheme", "HTTP");
    }
    if let Some(grpc) = fill::there(handler, "grpc") {
        fill::absent(grpc, "service", "");
    }
}

fn field_source(source: &mut Value) {
    if let Some(field) = fill::there(source, "fieldRef") {
        fill::blank(field, "apiVersion", "v1");
    }
    if let Some(resource) = fill::there(source, "resourceFieldRef") {
        fill::absent(resource, "divisor", "0");
        if let Some(divisor) = fill::there(resource, "divisor") {
            fill::quantity(divisor);
        }
    }
}

fn resource_requirements(resources: &mut Value) {
    fill::quantities(resources, "limits");
    fill::quantities(resources, "requests");
}

/// On the host's network a port is the host's port. In a template it may stay open.
fn host_port(port: &mut Value) {
    if let Some(number) = port.get("containerPort").and_then(Value::as_i64) {
        fill::zero(port, "hostPort", number);
    }
}

/// A limit without a request is also the request.
fn requests_from_limits(container: &mut Value) {
    let Some(resources) = fill::there(container, "resources") else { return };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    if limits.is_empty() {
        return;
    }
    if let Some(requests) = fill::object(resources, "requests") {
        for (name, limit) in limits {
            fill::absent(requests, &name, limit);
        }
    }
}

/// The fields of a volume that are sources.
pub(super) const VOLUME_SOURCES: &[&str] = &[
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "hostPath",
    "image",
    "iscsi",
    "nfs",
    "persistentVolumeClaim",
    "photonPersistentDisk",
    "portworxVolume",
    "projected",
    "quobyte",
    "rbd",
    "scaleIO",
    "secret",
    "storageos",
    "vsphereVolume",
];

/// The mode of projected files, octal 0644.
const FILE_MODE: i64 = 0o644;

fn volume(volume: &mut Value) {
    let has_source = VOLUME_SOURCES.iter().any(|source| volume.get(source).is_some());
    if !has_source {
        fill::set(volume, "emptyDir", json!({}));
    }
    for source in ["configMap", "secret", "downwardAPI", "projected"] {
        if let Some(source) = fill::there(volume, source) {
            fill::absent(source, "defaultMode", FILE_MODE);
            fill::each(source, "items", field_source);
        }
    }
    if let Some(projected) = fill::there(volume, "projected") {
        fill::each(projected, "sources", |source| {
            if let Some(token) = fill::there(source, "serviceAccountToken") {
                fill::absent(token, "expirationSeconds", 3600);
            }
            if let Some(downward) = fill::there(source, "downwardAPI") {
                fill::each(downward, "items", field_source);
            }
        });
    }
    if let Some(path) = fill::there(volume, "hostPath") {
        fill::absent(path, "type", "");
    }
    if let Some(limit) = fill::there(volume, "emptyDir").and_then(|dir| fill::there(dir, "sizeLimit")) {
        fill::quantity(limit);
    }
    if let Some(image) = fill::there(volume, "image") {
        let reference = image.get("reference").and_then(Value::as_str).unwrap_or("").to_owned();
        fill::blank(image, "pullPolicy", pull_policy(&reference));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_pod_gets_kubernetes_defaults() {
        let mut object = json!({"spec": {
            "containers": [{"name": "a", "image": "registry:5000/a", "ports": [{"containerPort": 80}],
                "readinessProbe": {"httpGet": {"port": 80}},
                "resources": {"limits": {"cpu": 1, "memory": "1024Ki"}},
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}],
            "volumes": [{"name": "a"}, {"name": "b", "configMap": {"name": "b"}}, {"name": "c", "hostPath": {"path": "/c"}}],
        }});
        pod(&mut object);
        let expected = json!({"spec": {
            "containers": [{
                "name": "a", "image": "registry:5000/a", "imagePullPolicy": "Always",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "readinessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                    "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                "resources": {"limits": {"cpu": "1", "memory": "1Mi"}, "requests": {"cpu": "1", "memory": "1Mi"}},
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "configMap": {"name": "b", "defaultMode": 420}},
                {"name": "c", "hostPath": {"path": "/c", "type": ""}}],
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30, "securityContext": {}, "enableServiceLinks": true,
        }});
        assert_eq!(object, expected);
        let once = object.clone();
        pod(&mut object);
        assert_eq!(object, once, "filling in twice is filling in once");
    }

    #[test]
    fn the_pull_policy_follows_the_tag() {
        let cases = [
            ("a", "Always"),
            ("a:latest", "Always"),
            ("a:1", "IfNotPresent"),
            ("localhost:5000/a", "Always"),
            ("localhost:5000/a:1", "IfNotPresent"),
            ("a@sha256:00", "IfNotPresent"),
            ("file:guests/dist/hello.wasm", "Always"),
        ];
        for (image, expected) in cases {
            assert_eq!(pull_policy(image), expected, "{image}");
        }
    }
}
