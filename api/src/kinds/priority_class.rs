//! PriorityClass: how important a Pod is.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Generation, Kind, Scope};
use crate::meta;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::{Value, json};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "scheduling.k8s.io",
    version: "v1",
    kind: "PriorityClass",
    plural: "priorityclasses",
    singular: "priorityclass",
    short_names: &["pc"],
    scope: Scope::Cluster,
    schema: "io.k8s.api.scheduling.v1.PriorityClass",
    generation: Generation::Spec,
    columns: &[
        Column::NAME,
        Column::new("Value", "integer", "The priority of its pods."),
        Column::new("Global-Default", "boolean", "Whether pods without a class have it."),
        Column::AGE,
        Column::new("PreemptionPolicy", "string", "Whether its pods may push others away."),
    ],
    row,
    defaults,
    checks,
    update_checks,
    ..Kind::PLAIN
};

/// The classes of the system: name, value, description.
pub const SYSTEM: &[(&str, i64, &str)] = &[
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
];

/// Names that begin so are the system's.
const SYSTEM_PREFIX: &str = "system-";
/// The highest priority a user may give.
const HIGHEST: i64 = 1_000_000_000;

/// A class of the system, as it is created.
pub fn system(name: &str) -> Option<Value> {
    let (name, value, description) = SYSTEM.iter().find(|(known, ..)| *known == name)?;
    Some(json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
        "value": value, "description": description,
    }))
}

fn row(class: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(class).into(),
        meta::number(class, &["value"]).unwrap_or(0).into(),
        class.get("globalDefault").and_then(Value::as_bool).unwrap_or(false).into(),
        time::age(meta::creation_timestamp(class), now).into(),
        meta::text(class, &["preemptionPolicy"]).into(),
    ]
}

fn defaults(class: &mut Value) {
    fill::absent(class, "preemptionPolicy", "PreemptLowerPriority");
}

fn checks(class: &At<'_>, errors: &mut Errors) {
    let (name, value) = (class.get("metadata").get("name"), class.get("value"));
    let number = value.number().unwrap_or(0);
    if name.text().starts_with(SYSTEM_PREFIX) {
        if let Some(why) = not_of_the_system(class, name.text(), number) {
            let why = format!(
                "priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: {why}"
            );
            errors.push(FieldError::forbidden(&name.path, &why));
        }
    } else if number > HIGHEST {
        let why = format!("maximum allowed value of a user defined priority is {HIGHEST}");
        errors.push(FieldError::forbidden(&value.path, &why));
    }
    validate::one_of(&class.get("preemptionPolicy"), &["PreemptLowerPriority", "Never"], errors);
}

fn not_of_the_system(class: &At<'_>, name: &str, value: i64) -> Option<String> {
    match SYSTEM.iter().find(|(known, ..)| *known == name) {
        None => Some(format!("{name} is not a known system priority class")),
        Some((_, known, _)) if *known != value => {
            Some(format!("value of {name} PriorityClass must be {known}"))
        }
        Some(_) if class.get("globalDefault").truth() => {
            Some(format!("globalDefault of {name} PriorityClass must be false"))
        }
        Some(_) => None,
    }
}

fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (value, before) = (new.get("value"), old.get("value"));
    if value.number().unwrap_or(0) != before.number().unwrap_or(0) {
        errors.push(FieldError::forbidden("value", "may not be changed in an update."));
    }
    validate::immutable(&new.get("preemptionPolicy"), &old.get("preemptionPolicy"), errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;

    #[test]
    fn the_system_has_its_own_classes() {
        for (name, ..) in SYSTEM {
            let mut class = system(name).expect("it is in the table");
            KIND.default(&mut class);
            assert_eq!(KIND.validate(&class), []);
        }
        let cases = [
            (
                "system-x",
                1,
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-x is not a known system priority class",
            ),
            (
                "system-node-critical",
                1,
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: value of system-node-critical PriorityClass must be 2000001000",
            ),
            (
                "high",
                1_000_000_001,
                "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
            ),
        ];
        for (name, value, expected) in cases {
            let mut class = json!({"metadata": {"name": name}, "value": value});
            KIND.default(&mut class);
            let found: Vec<String> = KIND.validate(&class).iter().map(ToString::to_string).collect();
            assert_eq!(found, [expected]);
        }
    }

    #[test]
    fn the_value_stays() {
        let class = |value: i64, policy: &str| json!({"metadata": {"name": "a"}, "value": value, "preemptionPolicy": policy});
        let found = KIND.validate_update(&class(2, "Never"), &class(1, "PreemptLowerPriority"), Target::Main);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "value: Forbidden: may not be changed in an update.",
                "preemptionPolicy: Invalid value: \"Never\": field is immutable"
            ]
        );
    }
}
