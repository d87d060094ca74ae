//! PodDisruptionBudget: how many Pods of an application may be taken away on purpose.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Generation, Kind, Subresource};
use crate::kinds::workload;
use crate::meta;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::{Value, json};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "policy",
    version: "v1",
    kind: "PodDisruptionBudget",
    plural: "poddisruptionbudgets",
    singular: "poddisruptionbudget",
    short_names: &["pdb"],
    schema: "io.k8s.api.policy.v1.PodDisruptionBudget",
    subresources: &[Subresource::Status],
    generation: Generation::Spec,
    columns: &[
        Column::NAME,
        Column::new("Min Available", "string", "The minimum number of pods that must be available."),
        Column::new("Max Unavailable", "string", "The maximum number of pods that may be unavailable."),
        Column::new("Allowed Disruptions", "integer", "How many pods may be taken away now."),
        Column::AGE,
    ],
    row,
    create: |budget| {
        let status =
            json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0});
        fill::set(budget, "status", status);
    },
    checks,
    status_checks: |new, _, errors| {
        const COUNTS: &[&str] = &["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];
        workload::counts(&new.get("status"), COUNTS, errors);
    },
    ..Kind::PLAIN
};

fn row(budget: &Value, now: Timestamp) -> Vec<Value> {
    let bound = |field: &str| match meta::at(budget, &["spec", field]) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "N/A".to_owned(),
    };
    vec![
        meta::name(budget).into(),
        bound("minAvailable").into(),
        bound("maxUnavailable").into(),
        meta::number(budget, &["status", "disruptionsAllowed"]).unwrap_or(0).into(),
        time::age(meta::creation_timestamp(budget), now).into(),
    ]
}

fn checks(budget: &At<'_>, errors: &mut Errors) {
    let spec = budget.get("spec");
    let bounds = [spec.get("minAvailable"), spec.get("maxUnavailable")];
    if bounds.iter().all(At::is_set) {
        let why = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid(&spec.path, spec.value, why));
    }
    for bound in bounds.iter().filter(|bound| bound.is_set()) {
        workload::count_or_percent(bound, errors);
        workload::at_most_all(bound, errors);
    }
    validate::label_selector(&spec.get("selector"), errors);
    let policy = spec.get("unhealthyPodEvictionPolicy");
    validate::optional_one_of(&policy, &["AlwaysAllow", "IfHealthyBudget"], errors);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_checked_and_shown() {
        let budget = |spec: Value| json!({"metadata": {"name": "b", "namespace": "default"}, "spec": spec});
        let found = |spec: Value| -> Vec<String> {
            KIND.validate(&budget(spec)).iter().map(ToString::to_string).collect()
        };
        let cases = [
            (json!({"minAvailable": "50%", "selector": {"matchLabels": {"a": "b"}}}), vec![]),
            (
                json!({"minAvailable": 1, "maxUnavailable": 1}),
                vec![
                    "spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":1}: minAvailable and maxUnavailable cannot be both set",
                ],
            ),
            (
                json!({"maxUnavailable": "101%"}),
                vec!["spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"],
            ),
            (
                json!({"unhealthyPodEvictionPolicy": "X"}),
                vec![
                    "spec.unhealthyPodEvictionPolicy: Unsupported value: \"X\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\"",
                ],
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(found(spec), expected);
        }
        let row = row(&budget(json!({"minAvailable": 2})), Timestamp::from_seconds(0));
        assert_eq!(Value::from(row), json!(["b", "2", "N/A", 0, "<unknown>"]));
    }
}
