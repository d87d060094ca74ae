//! `/resize` of a Pod: how much processor and memory its containers have, while they run.
//!
//! The class of a Pod stays what it is, and what was asked for is never asked for no longer. Whether the node has room
//! is the node's to say, by the conditions `PodResizePending` and `PodResizeInProgress`.

use crate::error::FieldError;
use crate::kind::{Part, Subresource};
use crate::kinds::pod::update::qos_class;
use crate::meta::{self, items, text};
use crate::validate::{At, Errors};
use serde_json::Value;

/// The table entry.
pub(super) const PART: Part = Part { subresource: Subresource::Resize, take, checks };

const LISTS: [&str; 2] = ["containers", "initContainers"];
/// What changes of a container.
const FIELDS: [&str; 2] = ["resources", "resizePolicy"];
/// The resources that change.
const RESOURCES: [&str; 2] = ["cpu", "memory"];

fn take(pod: &mut Value, sent: &Value) {
    for list in LISTS {
        let wished = items(sent, &["spec", list]);
        let names = |of: &[Value]| of.iter().map(|one| text(one, &["name"]).to_owned()).collect::<Vec<_>>();
        let Some(containers) = pod["spec"].get_mut(list).and_then(Value::as_array_mut) else { continue };
        if names(containers) != names(wished) {
            // The checks tell what is wrong with it.
            *containers = wished.to_vec();
            continue;
        }
        for (container, wished) in containers.iter_mut().zip(wished) {
            for field in FIELDS {
                copy(container, wished, field);
            }
        }
    }
    if let Some(spec) = sent.get("spec") {
        copy(&mut pod["spec"], spec, "resources");
    }
}

fn copy(to: &mut Value, from: &Value, field: &str) {
    let Some(to) = to.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => drop(to.insert(field.to_owned(), value.clone())),
        None => drop(to.remove(field)),
    }
}

fn checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let refused = if meta::annotation(old.value, "kubernetes.io/config.mirror").is_some() {
        Some("static pods cannot be resized")
    } else if text(old.value, &["spec", "os", "name"]) == "windows" {
        Some("windows pods cannot be resized")
    } else {
        None
    };
    if let Some(why) = refused {
        errors.clear();
        errors.push(FieldError::forbidden("", why));
        return;
    }
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let class = match text(old.value, &["status", "qosClass"]) {
        "" => qos_class(before.value),
        class => class,
    };
    if class != qos_class(spec.value) {
        let why = "Pod QOS Class may not change as a result of resizing";
        errors.push(FieldError::invalid(&spec.path, class, why));
    } else if !can_resize(old.value) {
        errors.push(FieldError::forbidden(&spec.path, "Pod running on node without support for resize"));
    }
    of_whole(&spec, &before, errors);
    let known = errors.len();
    LISTS.iter().for_each(|list| same_order(&spec.get(list), &before.get(list), list, errors));
    if errors.len() == known {
        LISTS.iter().for_each(|list| containers(&spec.get(list), &before.get(list), list, errors));
    }
}

/// Whether the node, if the Pod runs, says what its containers really have, and so can change it.
fn can_resize(pod: &Value) -> bool {
    let statuses = items(pod, &["status", "containerStatuses"]);
    let running = statuses.iter().find(|status| meta::at(status, &["state", "running"]).is_some());
    running.is_none_or(|status| status.get("resources").is_some())
}

/// What the Pod as a whole has.
fn of_whole(spec: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    let (now, before) = (spec.get("resources"), before.get("resources"));
    if before.is_set() && !now.is_set() {
        errors.push(FieldError::forbidden(&now.path, "pod-level resources cannot be removed"));
        return;
    }
    kept(&now, &before, "pod-level resource", errors);
    if !same_but_movable(now.value, before.value) {
        let why = "only cpu and memory resources are mutable at pod-level";
        errors.push(FieldError::forbidden(&spec.path, why));
    }
}

fn same_order(now: &At<'_>, before: &At<'_>, list: &str, errors: &mut Errors) {
    if now.len() != before.len() {
        let why = format!("{list} may not be added or removed on resize");
        errors.push(FieldError::forbidden(&now.path, &why));
        return;
    }
    for (now, before) in now.items().zip(before.items()) {
        if now.get("name").text() != before.get("name").text() {
            let why = format!("{list} may not be renamed or reordered on resize");
            errors.push(FieldError::forbidden(now.field("name"), &why));
        }
    }
}

fn containers(now: &At<'_>, before: &At<'_>, list: &str, errors: &mut Errors) {
    for (now, before) in now.items().zip(before.items()) {
        let (resources, had) = (now.get("resources"), before.get("resources"));
        kept(&resources, &had, "resource", errors);
        let init = list == "initContainers";
        if !same_but_movable(resources.value, had.value)
            || now.get("resizePolicy").value != before.get("resizePolicy").value
        {
            let (path, what) = match init {
                true => (now.path.to_string(), " for init or sidecar containers"),
                false => ("spec".to_owned(), ""),
            };
            let why = format!("only cpu and memory resources{what} are mutable");
            errors.push(FieldError::forbidden(path, &why));
        }
        let restarts = |policy: At<'_>| policy.get("restartPolicy").text() == "RestartContainer";
        if init
            && now.value != before.value
            && now.get("restartPolicy").text() != "Always"
            && now.get("resizePolicy").items().any(restarts)
        {
            let why =
                "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
            errors.push(FieldError::forbidden(&now.path, why));
        }
    }
}

/// Nothing that was asked for or limited is so no longer.
fn kept(now: &At<'_>, before: &At<'_>, what: &str, errors: &mut Errors) {
    for list in ["requests", "limits"] {
        let now = now.get(list);
        if before.get(list).entries().any(|(name, _)| now.value.get(name).is_none_or(Value::is_null)) {
            errors.push(FieldError::forbidden(&now.path, &format!("{what} {list} cannot be removed")));
        }
    }
}

/// Whether two sets of resources differ in nothing but what may be changed.
fn same_but_movable(now: &Value, before: &Value) -> bool {
    let fixed = |resources: &Value| {
        let list = |name: &str| {
            let entries = resources.get(name).and_then(Value::as_object).into_iter().flatten();
            let fixed = entries.filter(|(resource, _)| !RESOURCES.contains(&resource.as_str()));
            fixed.map(|(resource, amount)| (resource.clone(), amount.clone())).collect::<Vec<_>>()
        };
        (list("requests"), list("limits"), items(resources, &["claims"]).to_vec())
    };
    fixed(now) == fixed(before)
}

#[cfg(test)]
mod tests {
    use crate::kind::{Subresource, Target};
    use crate::kinds::pod::KIND;
    use serde_json::{Value, json};

    const PART: Target = Target::Part(Subresource::Resize);

    fn pod(resources: Value) -> Value {
        let mut pod = json!({
            "metadata": {"name": "web", "namespace": "default", "generation": 1},
            "spec": {
                "containers": [{"name": "web", "image": "web:1", "resources": resources}],
                "initContainers": [{"name": "prepare", "image": "web:1"}],
            },
        });
        KIND.default(&mut pod);
        KIND.prepare_create(&mut pod);
        KIND.default(&mut pod);
        pod
    }

    fn burstable() -> Value {
        pod(json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}}))
    }

    type Change = fn(&mut Value);

    fn resized(old: &Value, change: Change) -> (Value, Vec<String>) {
        let mut new = old.clone();
        change(&mut new);
        KIND.default(&mut new);
        KIND.prepare_update(&mut new, old, PART);
        let wrong = KIND.validate_update(&new, old, PART).iter().map(ToString::to_string).collect();
        (new, wrong)
    }

    #[test]
    fn processor_and_memory_of_a_pod_change_and_nothing_else() {
        let old = burstable();
        let (new, wrong) = resized(&old, |pod| {
            pod["spec"]["containers"][0]["resources"] =
                json!({"requests": {"cpu": "1500m", "memory": "2Gi"}, "limits": {"cpu": "3"}});
            pod["spec"]["containers"][0]["image"] = json!("other:1");
            pod["spec"]["hostname"] = json!("other");
        });
        assert_eq!(wrong, Vec::<String>::new());
        assert_eq!(new["spec"]["containers"][0]["resources"]["requests"]["cpu"], "1500m");
        assert_eq!(new["spec"]["containers"][0]["image"], "web:1");
        assert_eq!(new["spec"].get("hostname"), None);
        assert_eq!(new["metadata"]["generation"], 2);
    }

    #[test]
    fn a_resize_is_refused_in_kubernetes_words() {
        let cases: &[(Change, &[&str])] = &[
            (
                |pod| pod["spec"]["containers"][0]["resources"]["limits"] = json!({}),
                &["spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed"],
            ),
            (
                |pod| pod["spec"]["containers"][0]["resources"]["requests"] = json!({"cpu": "1"}),
                &["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"],
            ),
            (
                |pod| {
                    let same = json!({"cpu": "1", "memory": "1Gi"});
                    for list in ["containers", "initContainers"] {
                        pod["spec"][list][0]["resources"] = json!({"requests": same, "limits": same});
                    }
                },
                &["spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing"],
            ),
            (
                |pod| {
                    pod["spec"]["containers"][0]["resources"]["requests"]["ephemeral-storage"] = json!("1Gi")
                },
                &["spec: Forbidden: only cpu and memory resources are mutable"],
            ),
            (
                |pod| {
                    pod["spec"]["containers"][0]["resizePolicy"] =
                        json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}])
                },
                &["spec: Forbidden: only cpu and memory resources are mutable"],
            ),
            (
                |pod| pod["spec"]["initContainers"] = json!([]),
                &["spec.initContainers: Forbidden: initContainers may not be added or removed on resize"],
            ),
            (
                |pod| pod["spec"]["containers"][0]["name"] = json!("other"),
                &["spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize"],
            ),
        ];
        for (change, expected) in cases {
            assert_eq!(resized(&burstable(), *change).1, *expected);
        }
    }

    #[test]
    fn a_node_that_does_not_say_what_a_container_has_cannot_change_it() {
        let change: Change = |pod| pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("2");
        let mut old = burstable();
        old["status"]["containerStatuses"] = json!([{"name": "web", "state": {"running": {}}}]);
        let why = "spec: Forbidden: Pod running on node without support for resize";
        assert_eq!(resized(&old, change).1, [why]);
        old["status"]["containerStatuses"][0]["resources"] = json!({"requests": {"cpu": "1"}});
        assert_eq!(resized(&old, change).1, Vec::<String>::new());
    }

    #[test]
    fn the_policy_of_resizing_is_checked() {
        let mut pod = burstable();
        pod["spec"]["containers"][0]["resizePolicy"] = json!([
            {"resourceName": "cpu", "restartPolicy": "Sometimes"},
            {"resourceName": "cpu", "restartPolicy": "NotRequired"},
            {"resourceName": "disk", "restartPolicy": "NotRequired"},
        ]);
        let wrong: Vec<String> = KIND.validate(&pod).iter().map(ToString::to_string).collect();
        assert_eq!(
            wrong,
            [
                "spec.containers[0].resizePolicy: Unsupported value: \"Sometimes\": supported values: \"NotRequired\", \"RestartContainer\"",
                "spec.containers[0].resizePolicy[1]: Duplicate value: \"cpu\"",
                "spec.containers[0].resizePolicy: Unsupported value: \"disk\": supported values: \"cpu\", \"memory\"",
            ]
        );
    }
}
