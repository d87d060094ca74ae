//! What a Pod as a whole asks for and is limited to: the sum of its containers, or what its init containers need at
//! the same time, whichever is more, and its overhead.

use crate::meta::{at, items, map, text};
use crate::quantity::Quantity;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Amounts by the name of the resource.
pub type Amounts = BTreeMap<String, Quantity>;

/// The amounts of a map such as `resources.limits`; what cannot be read is left out.
pub fn amounts(object: &Value, path: &[&str]) -> Amounts {
    let entries = map(object, path).into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), Quantity::deserialize(value).ok()?))).collect()
}

/// What a Pod asks for.
pub fn requests(pod: &Value) -> Amounts {
    whole(pod, "requests")
}

/// What a Pod is limited to.
pub fn limits(pod: &Value) -> Amounts {
    whole(pod, "limits")
}

fn whole(pod: &Value, what: &str) -> Amounts {
    let of = |container: &Value| amounts(container, &["resources", what]);
    let mut sum = Amounts::new();
    for container in items(pod, &["spec", "containers"]) {
        add(&mut sum, &of(container));
    }
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in items(pod, &["spec", "initContainers"]) {
        let mut now = of(container);
        if text(container, &["restartPolicy"]) == "Always" {
            add(&mut sum, &now);
            add(&mut sidecars, &now);
            now = sidecars.clone();
        } else {
            add(&mut now, &sidecars);
        }
        raise(&mut peak, &now);
    }
    raise(&mut sum, &peak);
    // Said for the Pod as a whole, it counts instead.
    for (name, amount) in amounts(pod, &["spec", "resources", what]) {
        sum.insert(name, amount);
    }
    if at(pod, &["spec", "overhead"]).is_some() {
        let overhead = amounts(pod, &["spec", "overhead"]);
        // A limit of overhead alone would be none.
        let counted = overhead.into_iter().filter(|(name, _)| what == "requests" || sum.contains_key(name));
        let counted: Amounts = counted.collect();
        add(&mut sum, &counted);
    }
    sum
}

/// Adds amounts.
pub fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = to.get(name).map_or(*amount, |have| have.add(amount));
        to.insert(name.clone(), sum);
    }
}

/// Takes amounts away; what is not there counts as nothing.
pub fn subtract(from: &mut Amounts, less: &Amounts) {
    for (name, amount) in less {
        let rest = from.get(name).copied().unwrap_or(Quantity::ZERO).sub(amount);
        from.insert(name.clone(), rest);
    }
}

fn raise(to: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        if to.get(name).is_none_or(|have| have < amount) {
            to.insert(name.clone(), *amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: Value) -> String {
        let amounts = requests(&json!({ "spec": spec }));
        amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
    }

    fn container(cpu: &str) -> Value {
        json!({"resources": {"requests": {"cpu": cpu}}})
    }

    fn sidecar(cpu: &str) -> Value {
        json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}})
    }

    #[test]
    fn the_most_that_is_needed_at_once_counts() {
        for (spec, expected) in [
            (json!({}), ""),
            (json!({"containers": [container("100m"), container("200m")]}), "cpu=300m"),
            (json!({"containers": [container("100m")], "initContainers": [container("1")]}), "cpu=1"),
            (
                json!({"containers": [container("1")], "initContainers": [container("1"), container("500m")]}),
                "cpu=1",
            ),
            (json!({"containers": [container("1")], "initContainers": [sidecar("100m")]}), "cpu=1100m"),
            (
                json!({"containers": [container("1")], "initContainers": [sidecar("500m"), container("2")]}),
                "cpu=2500m",
            ),
            (
                json!({"containers": [container("1")], "overhead": {"cpu": "50m", "memory": "1Mi"}}),
                "cpu=1050m,memory=1Mi",
            ),
            (json!({"containers": [container("1")], "resources": {"requests": {"cpu": "3"}}}), "cpu=3"),
        ] {
            assert_eq!(pod(spec.clone()), expected, "{spec}");
        }
    }
}
