//! What may change in a Pod that exists, and what its start is.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Volatility, Written};
use crate::meta;
use crate::quantity::Quantity;
use crate::validate::{At, Errors};
use serde_json::{Value, json};

/// A new Pod waits; its quality of service is fixed by its resources.
pub(super) fn create(pod: &mut Value) {
    let class = pod.get("spec").map_or("BestEffort", qos_class);
    let gated = !meta::items(pod, &["spec", "schedulingGates"]).is_empty();
    fill::set(pod, "status", json!({ "phase": "Pending", "qosClass": class }));
    if gated {
        let condition = json!({
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        });
        fill::set(&mut pod["status"], "conditions", json!([condition]));
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`, from a Pod's spec.
pub fn qos_class(spec: &Value) -> &'static str {
    let amount = |container: &Value, list: &str, name: &str| {
        Quantity::parse(meta::text(container, &["resources", list, name])).ok().filter(|q| !q.is_zero())
    };
    let containers: Vec<&Value> = match spec.get("resources") {
        Some(_) => vec![spec],
        None => ["initContainers", "containers"].iter().flat_map(|list| meta::items(spec, &[list])).collect(),
    };
    let (mut any, mut all) = (false, true);
    for container in containers {
        for name in ["cpu", "memory"] {
            let (limit, request) = (amount(container, "limits", name), amount(container, "requests", name));
            any |= limit.is_some() || request.is_some();
            all &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Checks a changed Pod against the old one.
pub(super) fn checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (new, old) = (new.get("spec"), old.get("spec"));
    for list in ["containers", "initContainers"] {
        let list = (new.get(list), old.get(list));
        if list.0.len() != list.1.len() {
            let detail = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(&list.0.path, detail));
            return;
        }
    }
    let before = errors.len();
    active_deadline(&new, &old, errors);
    tolerations(&new, &old, errors);
    scheduling_gates(&new, &old, errors);
    if errors.len() > before {
        return;
    }
    let changed = forbidden_changes(new.value, old.value);
    if !changed.is_empty() {
        let detail = format!(
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
             `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
             `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\nchanged: {}",
            changed.join(", ")
        );
        errors.push(FieldError::forbidden(&new.path, &detail));
    }
}

fn active_deadline(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (new, old) = (new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds"));
    let why = match (new.number(), old.number()) {
        (Some(new), Some(old)) if new > old => "must be less than or equal to previous value",
        (None, Some(_)) => "must not update from a positive integer to nil value",
        _ => return,
    };
    errors.push(FieldError::invalid(&new.path, new.value, why));
}

fn tolerations(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let essence = |toleration: &Value| {
        let mut toleration = toleration.clone();
        toleration.as_object_mut().map(|map| map.remove("tolerationSeconds"));
        toleration
    };
    let new = new.get("tolerations");
    let now: Vec<Value> = new.items().map(|one| essence(one.value)).collect();
    if old.get("tolerations").items().any(|one| !now.contains(&essence(one.value))) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden(&new.path, detail));
    }
}

fn scheduling_gates(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let old = old.get("schedulingGates");
    for gate in new.get("schedulingGates").items() {
        let name = gate.get("name").text();
        if old.items().all(|one| one.get("name").text() != name) {
            let detail = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.push(FieldError::forbidden(new.field("schedulingGates"), &detail));
        }
    }
}

/// Paths of fields that differ and may not.
fn forbidden_changes(new: &Value, old: &Value) -> Vec<String> {
    let gated = !meta::items(old, &["schedulingGates"]).is_empty();
    let may_change = |field: &str| match field {
        "activeDeadlineSeconds" | "tolerations" | "schedulingGates" => true,
        "terminationGracePeriodSeconds" => {
            let grace = |spec: &Value| meta::number(spec, &["terminationGracePeriodSeconds"]).unwrap_or(0);
            grace(old) < 0 && grace(new) == 1
        }
        // What no scheduler has looked at yet may still be narrowed.
        "nodeSelector" | "affinity" => gated,
        _ => false,
    };
    let mut changed = Vec::new();
    for field in field_names(new, old) {
        let (new, old) = (new.get(field), old.get(field));
        if new == old || may_change(field) {
            continue;
        }
        match (field, new.and_then(Value::as_array), old.and_then(Value::as_array)) {
            ("containers" | "initContainers", Some(new), Some(old)) => {
                for (i, (new, old)) in new.iter().zip(old).enumerate() {
                    let fields = field_names(new, old).into_iter();
                    let differing = fields.filter(|f| *f != "image" && new.get(f) != old.get(f));
                    changed.extend(differing.map(|f| format!("spec.{field}[{i}].{f}")));
                }
            }
            _ => changed.push(format!("spec.{field}")),
        }
    }
    changed
}

/// The names of the fields that either of two objects has.
pub(super) fn field_names<'a>(new: &'a Value, old: &'a Value) -> Vec<&'a str> {
    let keys =
        |value: &'a Value| value.as_object().into_iter().flat_map(|map| map.keys().map(String::as_str));
    let mut names: Vec<&str> = keys(new).chain(keys(old)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The status of a Pod that goes on, written by its own node, may be lost: the node writes it
/// again. A phase that ends, and everything else, may not.
pub(super) fn volatility(written: Written<'_>) -> Volatility {
    let Written { old, new, user } = written;
    let node = meta::text(new, &["spec", "nodeName"]);
    let own_node = !node.is_empty() && user.strip_prefix("system:node:") == Some(node);
    let ended = matches!(meta::text(new, &["status", "phase"]), "Succeeded" | "Failed");
    if own_node
        && !ended
        && !old.is_null()
        && meta::equal_but(new, old, &[&["status"]])
        && !new_exit(new, old)
    {
        Volatility::Volatile
    } else {
        Volatility::Durable
    }
}

/// Whether a container's end is told that was not told before.
fn new_exit(new: &Value, old: &Value) -> bool {
    let ends = |pod: &Value| -> Vec<Value> {
        ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"]
            .iter()
            .flat_map(|list| meta::items(pod, &["status", list]))
            .map(|status| {
                let ended =
                    |state: &str| meta::at(status, &[state, "terminated"]).cloned().unwrap_or_default();
                json!([status.get("name"), status.get("restartCount"), ended("state"), ended("lastState")])
            })
            .filter(|end| end[2] != Value::Null || end[3] != Value::Null)
            .collect()
    };
    let before = ends(old);
    ends(new).iter().any(|end| !before.contains(end))
}
