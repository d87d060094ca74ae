//! `/ephemeralcontainers` of a Pod: containers that join it while it runs, to look at it.
//!
//! They are added and never changed or taken away. What a service needs (ports, probes, hooks, resources) they may
//! not have.

use crate::error::FieldError;
use crate::kind::{Part, Subresource};
use crate::kinds::pod::update::field_names;
use crate::meta;
use crate::validate::{At, Errors};
use serde_json::Value;

/// The table entry.
pub(super) const PART: Part = Part { subresource: Subresource::EphemeralContainers, take, checks };

const FIELD: &str = "ephemeralContainers";

/// Fields of a container that an ephemeral one may have.
const ALLOWED: &[&str] = &[
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "envFrom",
    "env",
    "volumeMounts",
    "volumeDevices",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
    "targetContainerName",
];

fn take(pod: &mut Value, sent: &Value) {
    let spec = meta::object_mut(pod, "spec");
    match meta::at(sent, &["spec", FIELD]) {
        Some(containers) => drop(spec.insert(FIELD.to_owned(), containers.clone())),
        None => drop(spec.remove(FIELD)),
    }
}

/// What an ephemeral container may not say beside what no container may. `others` are the names of those that are not
/// ephemeral.
pub(super) fn container(one: &At<'_>, others: &[&str], errors: &mut Errors) {
    let looks_at = one.get("targetContainerName");
    if !looks_at.text().is_empty() && !others.contains(&looks_at.text()) {
        errors.push(FieldError::not_found(&looks_at.path, looks_at.value));
    }
    let detail = "cannot be set for an Ephemeral Container";
    for (field, value) in one.entries() {
        if !ALLOWED.contains(&field) && !is_zero(value.value) {
            errors.push(FieldError::forbidden(one.field(field), detail));
        }
    }
    for mount in one.get("volumeMounts").items() {
        for part in ["subPath", "subPathExpr"].map(|field| mount.get(field)) {
            if !part.text().is_empty() {
                errors.push(FieldError::forbidden(&part.path, detail));
            }
        }
    }
}

/// Whether a field that is set to this might as well be absent.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_zero),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    if meta::annotation(old.value, "kubernetes.io/config.mirror").is_some() {
        errors.clear();
        errors.push(FieldError::forbidden("", "static pods do not support ephemeral containers"));
        return;
    }
    let list = new.get("spec").get(FIELD);
    for before in old.get("spec").get(FIELD).items() {
        let name = before.get("name").text();
        match list.items().find(|one| one.get("name").text() == name) {
            None => {
                let detail = format!("existing ephemeral containers {name:?} may not be removed\n");
                errors.push(FieldError::forbidden(&list.path, &detail));
            }
            Some(now) if now.value != before.value => {
                let fields = field_names(now.value, before.value).into_iter();
                let changed: Vec<&str> =
                    fields.filter(|field| now.value.get(field) != before.value.get(field)).collect();
                let detail = format!(
                    "existing ephemeral containers {name:?} may not be changed\nchanged: {}",
                    changed.join(", ")
                );
                errors.push(FieldError::forbidden(&list.path, &detail));
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::kind::{Subresource, Target};
    use crate::kinds::pod::KIND;
    use serde_json::{Value, json};

    const PART: Target = Target::Part(Subresource::EphemeralContainers);

    fn pod(ephemeral: Value) -> Value {
        let mut pod = json!({
            "metadata": {"name": "web", "namespace": "default", "generation": 1},
            "spec": {
                "containers": [{"name": "web", "image": "web:1"}],
                "initContainers": [{"name": "prepare", "image": "web:1"}],
                "volumes": [{"name": "data"}], "ephemeralContainers": ephemeral,
            },
        });
        KIND.default(&mut pod);
        pod
    }

    fn wrong(new: &Value, old: &Value) -> Vec<String> {
        KIND.validate_update(new, old, PART).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_ephemeral_container_is_checked_in_kubernetes_words() {
        let forbidden = |field: &str| {
            vec![format!(
                "spec.ephemeralContainers[0].{field}: Forbidden: cannot be set for an Ephemeral Container"
            )]
        };
        let cases = [
            (json!({"name": "look"}), vec![]),
            (json!({"name": "look", "targetContainerName": "web", "stdin": true, "tty": true}), vec![]),
            (
                json!({"name": "web"}),
                vec!["spec.ephemeralContainers[0].name: Duplicate value: \"web\"".to_owned()],
            ),
            (
                json!({"name": "prepare"}),
                vec!["spec.ephemeralContainers[0].name: Duplicate value: \"prepare\"".to_owned()],
            ),
            (
                json!({"name": "look", "targetContainerName": "look"}),
                vec!["spec.ephemeralContainers[0].targetContainerName: Not found: \"look\"".to_owned()],
            ),
            (json!({"name": "look", "ports": [{"containerPort": 80}]}), forbidden("ports")),
            (
                json!({"name": "look", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}),
                forbidden("lifecycle"),
            ),
            (
                json!({"name": "look", "livenessProbe": {"tcpSocket": {"port": 80}}}),
                forbidden("livenessProbe"),
            ),
            (json!({"name": "look", "resources": {"limits": {"cpu": "1"}}}), forbidden("resources")),
            (json!({"name": "look", "restartPolicy": "Always"}), forbidden("restartPolicy")),
            (
                json!({"name": "look", "volumeMounts": [{"name": "data", "mountPath": "/d", "subPath": "x"}]}),
                forbidden("volumeMounts[0].subPath"),
            ),
        ];
        for (mut container, expected) in cases {
            container["image"] = json!("toolbox:1");
            assert_eq!(wrong(&pod(json!([container])), &pod(json!([]))), expected, "{container}");
        }
    }

    #[test]
    fn ephemeral_containers_are_added_and_stay() {
        let one = json!({"name": "a", "image": "toolbox:1"});
        let two = json!({"name": "b", "image": "toolbox:1"});
        let old = pod(json!([one]));
        assert_eq!(wrong(&pod(json!([two, one])), &old), Vec::<String>::new());
        let gone = wrong(&pod(json!([two])), &old);
        assert_eq!(
            gone,
            ["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"a\" may not be removed\n"]
        );
        let changed = wrong(&pod(json!([{"name": "a", "image": "other:1"}])), &old);
        assert_eq!(
            changed,
            [
                "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"a\" may not be changed\nchanged: image"
            ]
        );
    }

    #[test]
    fn nothing_else_of_the_pod_changes_with_them() {
        let old = pod(json!([]));
        let mut new = pod(json!([{"name": "a", "image": "toolbox:1"}]));
        new["spec"]["containers"][0]["image"] = json!("other:1");
        new["metadata"]["labels"] = json!({"a": "b"});
        KIND.prepare_update(&mut new, &old, PART);
        assert_eq!(new["spec"]["containers"], old["spec"]["containers"]);
        assert_eq!(new["metadata"].get("labels"), None);
        assert_eq!(new["metadata"]["generation"], 2);
        // A write of the Pod itself takes none away.
        let errors = KIND.validate_update(&old, &new, Target::Main);
        let told = |error: &crate::error::FieldError| {
            error.to_string().ends_with("changed: spec.ephemeralContainers")
        };
        assert!(errors.iter().any(told), "{errors:?}");
        // Only a new Pod may not bring any.
        assert_eq!(KIND.validate(&new).len(), 1);
        assert_eq!(KIND.validate_update(&new, &new, Target::Main), []);
    }
}
