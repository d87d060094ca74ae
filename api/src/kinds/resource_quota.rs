//! ResourceQuota: how much a namespace may use.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Kind, Subresource};
use crate::meta;
use crate::name;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::{Value, json};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "ResourceQuota",
    plural: "resourcequotas",
    singular: "resourcequota",
    short_names: &["quota"],
    schema: "io.k8s.api.core.v1.ResourceQuota",
    subresources: &[Subresource::Status],
    columns: &[
        Column::NAME,
        Column::new("Request", "string", "What is asked for, of what may be."),
        Column::new("Limit", "string", "What is allowed to be used at most, of what may be."),
        Column::AGE,
    ],
    row,
    defaults: |quota| {
        for part in ["spec", "status"] {
            if let Some(part) = fill::there(quota, part) {
                fill::quantities(part, "hard");
                fill::quantities(part, "used");
            }
        }
    },
    create: |quota| fill::set(quota, "status", json!({})),
    checks,
    update_checks: |new, old, errors| {
        let (new, old) = (new.get("spec").get("scopes"), old.get("spec").get("scopes"));
        if sorted(&new) != sorted(&old) {
            errors.push(FieldError::invalid(&new.path, new.value, validate::IMMUTABLE));
        }
    },
    status_checks,
    ..Kind::PLAIN
};

fn sorted<'a>(list: &At<'a>) -> Vec<&'a str> {
    let mut texts: Vec<&str> = list.items().map(|item| item.text()).collect();
    texts.sort_unstable();
    texts
}

fn row(quota: &Value, now: Timestamp) -> Vec<Value> {
    let hard = meta::map(quota, &["status", "hard"]).into_iter().flatten();
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (name, hard) in hard {
        let used = meta::text(quota, &["status", "used", name]);
        let used = if used.is_empty() { "0" } else { used };
        let cell = format!("{name}: {used}/{}", hard.as_str().unwrap_or("0"));
        if name.starts_with("limits.") { limits.push(cell) } else { requests.push(cell) }
    }
    vec![
        meta::name(quota).into(),
        requests.join(", ").into(),
        limits.join(", ").into(),
        time::age(meta::creation_timestamp(quota), now).into(),
    ]
}

/// What a quota may count beside qualified names.
const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];
/// What scopes about Pods' resources apply to.
const POD_RESOURCES: &[&str] =
    &["pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

fn amounts(map: &At<'_>, errors: &mut Errors) {
    for (name, amount) in map.entries() {
        let huge = ["hugepages-", "requests.hugepages-"].iter().any(|prefix| name.starts_with(prefix));
        if let Err(why) = name::label_key(name) {
            errors.push(FieldError::invalid(&amount.path, name, &why));
        } else if !name.contains('/') && !STANDARD.contains(&name) && !huge {
            let why = "must be a standard resource type or fully qualified";
            errors.push(FieldError::invalid(&amount.path, name, why));
            errors.push(FieldError::invalid(&amount.path, name, "must be a standard resource for quota"));
        }
        let counted = STANDARD.iter().skip_while(|standard| **standard != "pods").any(|one| *one == name)
            || name.starts_with("count/");
        if let Some(quantity) = validate::quantity(&amount, errors)
            && counted
            && quantity.milli() % 1000 != 0
        {
            errors.push(FieldError::invalid(&amount.path, amount.value, "must be an integer"));
        }
    }
}

fn checks(quota: &At<'_>, errors: &mut Errors) {
    let spec = quota.get("spec");
    let hard = spec.get("hard");
    amounts(&hard, errors);
    scopes(&spec, errors);
    for one in spec.get("scopeSelector").get("matchExpressions").items() {
        scope_requirement(&one, errors);
    }
}

fn scopes(spec: &At<'_>, errors: &mut Errors) {
    let scopes = spec.get("scopes");
    let has = |scope: &str| scopes.items().any(|item| item.text() == scope);
    for scope in scopes.items() {
        if !SCOPES.contains(&scope.text()) {
            errors.push(FieldError::invalid(&scopes.path, scopes.value, "unsupported scope"));
        }
        for (resource, _) in spec.get("hard").entries() {
            let allowed = match scope.text() {
                "BestEffort" => resource == "pods",
                "Terminating"
                | "NotTerminating"
                | "NotBestEffort"
                | "PriorityClass"
                | "CrossNamespacePodAffinity" => POD_RESOURCES.contains(&resource),
                _ => true,
            };
            if !allowed {
                let why = "unsupported scope applied to resource";
                errors.push(FieldError::invalid(&scopes.path, scopes.value, why));
            }
        }
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if has(one) && has(other) {
            errors.push(FieldError::invalid(&scopes.path, scopes.value, "conflicting scopes"));
        }
    }
}

fn scope_requirement(one: &At<'_>, errors: &mut Errors) {
    let (scope, operator, values) = (one.get("scopeName"), one.get("operator"), one.get("values"));
    if !SCOPES.contains(&scope.text()) {
        errors.push(FieldError::invalid(&scope.path, scope.text(), "unsupported scope"));
    }
    let classed = matches!(scope.text(), "PriorityClass" | "VolumeAttributesClass");
    if !classed && operator.text() != "Exists" {
        let why = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.push(FieldError::invalid(&operator.path, operator.text(), why));
    }
    match operator.text() {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.push(FieldError::required(&values.path, detail));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.push(FieldError::invalid(&values.path, values.value, why));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.push(FieldError::invalid(&operator.path, other, "not a valid selector operator")),
    }
}

fn status_checks(new: &At<'_>, _: &At<'_>, errors: &mut Errors) {
    amounts(&new.get("status").get("hard"), errors);
    amounts(&new.get("status").get("used"), errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;

    fn quota() -> Value {
        let mut quota = json!({
            "metadata": {"name": "q", "namespace": "default"},
            "spec": {"hard": {"pods": 10, "requests.cpu": "1000m", "count/jobs.batch": "2", "requests.nvidia.com/gpu": "1"}},
        });
        KIND.default(&mut quota);
        quota
    }

    #[test]
    fn amounts_are_written_the_one_way_and_shown_as_used_of_hard() {
        let mut quota = quota();
        assert_eq!(quota["spec"]["hard"]["pods"], "10");
        assert_eq!(quota["spec"]["hard"]["requests.cpu"], "1");
        assert!(KIND.validate(&quota).is_empty());
        quota["status"] = json!({"hard": {"pods": "10", "limits.cpu": "2"}, "used": {"pods": "3"}});
        let expected = json!(["q", "pods: 3/10", "limits.cpu: 0/2", "<unknown>"]);
        assert_eq!(Value::from(row(&quota, Timestamp::from_seconds(0))), expected);
    }

    #[test]
    fn a_quota_is_checked() {
        type Change = fn(&mut Value);
        let cases: &[(Change, &[&str])] = &[
            (
                |s| s["hard"] = json!({"foo": "1"}),
                &[
                    "spec.hard[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified",
                    "spec.hard[foo]: Invalid value: \"foo\": must be a standard resource for quota",
                ],
            ),
            (
                |s| s["hard"] = json!({"pods": "-1"}),
                &["spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0"],
            ),
            (
                |s| s["hard"] = json!({"pods": "500m"}),
                &["spec.hard[pods]: Invalid value: \"500m\": must be an integer"],
            ),
            (
                |s| {
                    s["hard"] = json!({"pods": "1"});
                    s["scopes"] = json!(["BestEffort", "NotBestEffort"]);
                },
                &["spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes"],
            ),
            (
                |s| {
                    s["hard"] = json!({"services": "1"});
                    s["scopes"] = json!(["Terminating"]);
                },
                &["spec.scopes: Invalid value: [\"Terminating\"]: unsupported scope applied to resource"],
            ),
            (
                |s| {
                    s["scopeSelector"] =
                        json!({"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]})
                },
                &[
                    "spec.scopeSelector.matchExpressions[0].values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
                ],
            ),
        ];
        for (change, expected) in cases {
            let mut quota = quota();
            change(&mut quota["spec"]);
            let found: Vec<String> = KIND.validate(&quota).iter().map(ToString::to_string).collect();
            assert_eq!(found, *expected);
        }
        let (old, mut new) = (quota(), quota());
        new["spec"]["scopes"] = json!(["PriorityClass"]);
        new["spec"]["hard"] = json!({"pods": "1"});
        let errors = KIND.validate_update(&new, &old, Target::Main);
        assert_eq!(
            errors[0].to_string(),
            "spec.scopes: Invalid value: [\"PriorityClass\"]: field is immutable"
        );
    }
}
