//! Priority: the number that a Pod's PriorityClass stands for; and that at most one class is everybody's.

use edge_api::meta::{self, number, text};
use serde_json::Value;

use crate::registry::admit::{Mutation, Operation, Plugin, Request, Validation};
use crate::registry::{ApiError, Object};

/// Where PriorityClasses are.
const GROUP: &str = "scheduling.k8s.io";
/// Their resource.
const CLASSES: &str = "priorityclasses";
/// Classes that every cluster has, even before anybody has made their objects.
const BUILT_IN: &[(&str, i64)] =
    &[("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];
/// What a Pod may do to others unless its class says otherwise.
const PREEMPT: &str = "PreemptLowerPriority";

/// The table's entry.
pub(super) const PLUGIN: Plugin = Plugin {
    name: "Priority",
    concerns,
    mutate: Mutation::Now(give),
    validate: Validation::Now(one_default),
};

fn concerns(request: &Request<'_>) -> bool {
    request.operation != Operation::Delete && (request.is("", "pods") || request.is(GROUP, CLASSES))
}

/// What a class gives to a Pod.
struct Class {
    name: String,
    priority: i64,
    preemption: String,
}

impl Class {
    fn of(class: &Value) -> Class {
        let preemption = match text(class, &["preemptionPolicy"]) {
            "" => PREEMPT,
            policy => policy,
        };
        Class {
            name: meta::name(class).to_owned(),
            priority: number(class, &["value"]).unwrap_or(0),
            preemption: preemption.to_owned(),
        }
    }

    fn plain(name: &str, priority: i64) -> Class {
        Class { name: name.to_owned(), priority, preemption: PREEMPT.to_owned() }
    }
}

fn give(request: &Request<'_>, pod: &mut Value) -> Result<(), ApiError> {
    if request.kind().plural == CLASSES {
        return Ok(());
    }
    if request.operation == Operation::Update {
        keep(request.old, pod);
        return Ok(());
    }
    let class = class_of(request, text(pod, &["spec", "priorityClassName"]))?;
    let spec = meta::object_mut(pod, "spec");
    if let Some(given) = spec.get("priority").and_then(Value::as_i64)
        && given != class.priority
    {
        return Err(request.forbidden(&format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission \
             controller computed {} from the given PriorityClass name",
            class.priority
        )));
    }
    if let Some(given) = spec.get("preemptionPolicy").and_then(Value::as_str)
        && given != class.preemption
    {
        return Err(request.forbidden(&format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
             controller computed {} from the given PriorityClass name",
            class.preemption
        )));
    }
    if !class.name.is_empty() {
        spec.insert("priorityClassName".to_owned(), class.name.into());
    }
    spec.insert("priority".to_owned(), class.priority.into());
    spec.insert("preemptionPolicy".to_owned(), class.preemption.into());
    Ok(())
}

/// Who replaces a Pod need not repeat what admission gave it.
fn keep(old: &Value, pod: &mut Value) {
    let spec = meta::object_mut(pod, "spec");
    for field in ["priority", "preemptionPolicy"] {
        if spec.get(field).is_none_or(Value::is_null)
            && let Some(value) = meta::at(old, &["spec", field])
        {
            spec.insert(field.to_owned(), value.clone());
        }
    }
}

fn class_of(request: &Request<'_>, name: &str) -> Result<Class, ApiError> {
    if name.is_empty() {
        let defaults = defaults(request);
        let lowest = defaults.iter().map(Class::of).min_by_key(|class| class.priority);
        return Ok(lowest.unwrap_or_else(|| Class::plain("", 0)));
    }
    if let Some(class) = request.stored(GROUP, CLASSES, "", name) {
        return Ok(Class::of(&class.value()));
    }
    let built_in = BUILT_IN.iter().find(|(class, _)| *class == name);
    let missing = || request.forbidden(&format!("no PriorityClass with name {name} was found"));
    built_in.map(|(name, priority)| Class::plain(name, *priority)).ok_or_else(missing)
}

/// The classes that say they are everybody's.
fn defaults(request: &Request<'_>) -> Vec<Value> {
    let classes = request.all(GROUP, CLASSES, "").into_iter().map(|(_, class): (_, Object)| class.value());
    classes.filter(is_default).collect()
}

fn is_default(class: &Value) -> bool {
    class.get("globalDefault").and_then(Value::as_bool) == Some(true)
}

fn one_default(request: &Request<'_>, class: &Value) -> Result<(), ApiError> {
    if request.kind().plural != CLASSES || !is_default(class) {
        return Ok(());
    }
    match defaults(request).iter().map(meta::name).find(|name| *name != request.target.name) {
        Some(other) => Err(request.forbidden(&format!(
            "PriorityClass {other} is already marked as default. Only one default can exist"
        ))),
        None => Ok(()),
    }
}
