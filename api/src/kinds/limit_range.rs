//! LimitRange: what a single object of a namespace may ask for, and what it gets that asks for nothing.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Kind};
use crate::meta;
use crate::name;
use crate::quantity::Quantity;
use crate::time::Timestamp;
use crate::validate::{self, At, Errors};
use serde_json::Value;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "LimitRange",
    plural: "limitranges",
    singular: "limitrange",
    short_names: &["limits"],
    schema: "io.k8s.api.core.v1.LimitRange",
    columns: &[Column::NAME, Column::new("Created At", "date", "When the object was created.")],
    row,
    defaults,
    checks,
    ..Kind::PLAIN
};

const MAPS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];
const TYPES: &[&str] = &["Pod", "Container", "PersistentVolumeClaim"];
const STANDARD: &[&str] = &["cpu", "memory", "ephemeral-storage", "storage", "requests.storage", "pods"];

fn row(range: &Value, _: Timestamp) -> Vec<Value> {
    vec![meta::name(range).into(), meta::text(range, &["metadata", "creationTimestamp"]).into()]
}

fn defaults(range: &mut Value) {
    let Some(spec) = fill::there(range, "spec") else { return };
    fill::each(spec, "limits", |limit| {
        MAPS.iter().for_each(|map| fill::quantities(limit, map));
        if meta::text(limit, &["type"]) == "Container" {
            container(limit);
        }
    });
}

/// A container's limit is the most it may have, its request its limit or else the least it may have.
fn container(limit: &mut Value) {
    for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
        let Some(amounts) = limit.get(from).and_then(Value::as_object).cloned() else { continue };
        if amounts.is_empty() {
            continue;
        }
        if let Some(target) = fill::object(limit, to) {
            amounts.into_iter().for_each(|(name, amount)| fill::absent(target, &name, amount));
        }
    }
}

fn checks(range: &At<'_>, errors: &mut Errors) {
    let mut seen = Vec::new();
    for limit in range.get("spec").get("limits").items() {
        let type_ = limit.get("type");
        if let Err(why) = name::label_key(type_.text()) {
            errors.push(FieldError::invalid(&type_.path, type_.text(), &why));
        } else if !type_.text().contains('/') && !TYPES.contains(&type_.text()) {
            let why = "must be a standard limit type or fully qualified";
            errors.push(FieldError::invalid(&type_.path, type_.text(), why));
        }
        validate::unique(&type_, &mut seen, errors);
        item(&limit, errors);
    }
}

fn item(limit: &At<'_>, errors: &mut Errors) {
    let type_ = limit.get("type").text();
    let [max, min, default, request, ratio] = MAPS.map(|map| limit.get(map));
    if type_ == "Pod" {
        for map in [&default, &request].into_iter().filter(|map| !map.is_empty()) {
            errors.push(FieldError::forbidden(&map.path, "may not be specified when `type` is 'Pod'"));
        }
    }
    if type_ == "PersistentVolumeClaim" && !min.get("storage").is_set() && !max.get("storage").is_set() {
        let detail = "either minimum or maximum storage value is required, but neither was provided";
        errors.push(FieldError::required(&limit.path, detail));
    }
    for map in [&max, &min, &default, &request, &ratio] {
        for (name, amount) in map.entries() {
            resource_name(type_, name, &amount, errors);
            validate::quantity(&amount, errors);
        }
    }
    let mut names: Vec<&str> = [&max, &min, &default, &request, &ratio]
        .iter()
        .flat_map(|map| map.entries())
        .map(|(name, _)| name)
        .collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        bounds(limit, name, errors);
    }
}

fn resource_name(type_: &str, name: &str, at: &At<'_>, errors: &mut Errors) {
    if let Err(why) = name::label_key(name) {
        errors.push(FieldError::invalid(&at.path, name, &why));
        return;
    }
    if name.contains('/') || name.starts_with("hugepages-") {
        return;
    }
    if !STANDARD.contains(&name) {
        let why = "must be a standard resource type or fully qualified";
        errors.push(FieldError::invalid(&at.path, name, why));
    }
    let of_container = ["cpu", "memory", "ephemeral-storage"].contains(&name);
    if matches!(type_, "Pod" | "Container") && !of_container {
        errors.push(FieldError::invalid(&at.path, name, "must be a standard resource for containers"));
    }
}

/// What one resource's amounts say together.
fn bounds<'a>(limit: &At<'a>, name: &'a str, errors: &mut Errors) {
    let [max, min, default, request, ratio] = MAPS.map(|map| {
        let at = limit.get(map);
        let field = format!("{}[{name}]", at.path);
        Quantity::parse(at.get(name).text()).ok().map(|quantity| (field, quantity))
    });
    // What is larger than what, and which of the two is to blame.
    let rules = [
        (&min, &max, "min value", "max value", &min),
        (&min, &request, "min value", "default request value", &request),
        (&request, &max, "default request value", "max value", &request),
        (&request, &default, "default request value", "default limit value", &request),
        (&min, &default, "min value", "default value", &default),
        (&default, &max, "default value", "max value", &default),
    ];
    for (low, high, low_name, high_name, blamed) in rules {
        if let (Some((_, low)), Some((_, high)), Some((field, shown))) = (low, high, blamed)
            && low > high
        {
            let why = format!("{low_name} {low} is greater than {high_name} {high}");
            errors.push(FieldError::invalid(field, shown.to_string().as_str(), &why));
        }
    }
    let Some((field, ratio)) = ratio else { return };
    if ratio.milli() < 1000 {
        let why = format!("ratio {ratio} is less than 1");
        errors.push(FieldError::invalid(field, ratio.to_string().as_str(), &why));
    } else if let (Some((_, max)), Some((_, min))) = (&max, &min)
        && !min.is_zero()
    {
        // Exact enough for a message: amounts are far below 2^52.
        let most = max.milli() as f64 / min.milli() as f64;
        if ratio.milli() as f64 / 1000.0 > most {
            let why = format!("ratio {ratio} is greater than max/min = {most:.6}");
            errors.push(FieldError::invalid(field, ratio.to_string().as_str(), &why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn range(limit: Value) -> Value {
        let mut range =
            json!({"metadata": {"name": "l", "namespace": "default"}, "spec": {"limits": [limit]}});
        KIND.default(&mut range);
        range
    }

    #[test]
    fn a_container_s_defaults_follow_from_its_bounds() {
        let range = range(json!({"type": "Container", "max": {"cpu": "2000m"}, "min": {"memory": "1024Ki"}}));
        let expected = json!({"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"},
            "default": {"cpu": "2"}, "defaultRequest": {"cpu": "2", "memory": "1Mi"}});
        assert_eq!(range["spec"]["limits"][0], expected);
        assert!(KIND.validate(&range).is_empty());
    }

    #[test]
    fn a_limit_range_is_checked() {
        let cases = [
            (
                json!({"type": "X"}),
                "spec.limits[0].type: Invalid value: \"X\": must be a standard limit type or fully qualified",
            ),
            (
                json!({"type": "Pod", "default": {"cpu": "1"}}),
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            ),
            (
                json!({"type": "PersistentVolumeClaim"}),
                "spec.limits[0]: Required value: either minimum or maximum storage value is required, but neither was provided",
            ),
            (
                json!({"type": "Pod", "min": {"cpu": "2"}, "max": {"cpu": "1"}}),
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
            ),
            (
                json!({"type": "Container", "defaultRequest": {"cpu": "2"}, "default": {"cpu": "1"}}),
                "spec.limits[0].defaultRequest[cpu]: Invalid value: \"2\": default request value 2 is greater than default limit value 1",
            ),
            (
                json!({"type": "Pod", "maxLimitRequestRatio": {"cpu": "500m"}}),
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1",
            ),
        ];
        for (limit, expected) in cases {
            let found: Vec<String> = KIND.validate(&range(limit)).iter().map(ToString::to_string).collect();
            assert_eq!(found, [expected]);
        }
    }
}
