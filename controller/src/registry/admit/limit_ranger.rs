//! LimitRanger: what the LimitRanges of a namespace give to containers that say nothing, and what they refuse.

use edge_api::meta::{self, items, text};
use edge_api::pod_resources::{self, Amounts, amounts};
use edge_api::quantity::Quantity;
use serde_json::{Map, Value, json};

use crate::registry::ApiError;
use crate::registry::admit::{Mutation, Operation, Plugin, Request, Validation};

/// Where a Pod says what it was given.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// The table's entry.
pub(super) const PLUGIN: Plugin = Plugin {
    name: "LimitRanger",
    concerns,
    mutate: Mutation::Now(mutate),
    validate: Validation::Now(validate),
};

/// A running Pod's resources change by `resize` alone.
fn concerns(request: &Request<'_>) -> bool {
    let claim = request.is("", "persistentvolumeclaims") && request.operation != Operation::Delete;
    let resized = request.is_part_of("", "pods") && request.target.subresource == "resize";
    claim || resized || request.creates("", "pods")
}

/// The limits of the namespace, range after range.
fn limits(request: &Request<'_>) -> Vec<Value> {
    let ranges = request.all("core", "limitranges", request.target.namespace);
    ranges.into_iter().flat_map(|(_, range)| items(&range.value(), &["spec", "limits"]).to_vec()).collect()
}

fn of_type<'a>(limits: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let kind = kind.to_owned();
    limits.iter().filter(move |limit| text(limit, &["type"]) == kind)
}

fn mutate(request: &Request<'_>, object: &mut Value) -> Result<(), ApiError> {
    if request.creates("", "pods") {
        let limits = limits(request);
        if !limits.is_empty() {
            fill(&limits, object);
        }
    }
    Ok(())
}

/// Gives every container what it does not say itself.
fn fill(limits: &[Value], pod: &mut Value) {
    let (mut given_limits, mut given_requests) = (Map::new(), Map::new());
    for limit in of_type(limits, "Container") {
        given_limits.extend(meta::map(limit, &["default"]).cloned().unwrap_or_default());
        given_requests.extend(meta::map(limit, &["defaultRequest"]).cloned().unwrap_or_default());
    }
    let mut said = Vec::new();
    for (list, prefix) in [("containers", "container"), ("initContainers", "init container")] {
        let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let name = text(container, &["name"]).to_owned();
            let resources = meta::object_mut(container, "resources");
            for (what, word, given) in
                [("requests", "request", &given_requests), ("limits", "limit", &given_limits)]
            {
                let set = merge(resources, what, given);
                if !set.is_empty() {
                    said.push(format!("{} {word} for {prefix} {name}", set.join(", ")));
                }
            }
        }
    }
    if !said.is_empty() {
        meta::set_annotation(pod, ANNOTATION, &format!("LimitRanger plugin set: {}", said.join("; ")));
    }
}

/// Adds what is missing, and answers what that was.
fn merge<'a>(resources: &mut Map<String, Value>, what: &str, given: &'a Map<String, Value>) -> Vec<&'a str> {
    if given.is_empty() {
        return Vec::new();
    }
    let slot = resources.entry(what).or_insert_with(|| json!({}));
    let Some(has) = slot.as_object_mut() else { return Vec::new() };
    let missing: Vec<&String> = given.keys().filter(|name| !has.contains_key(*name)).collect();
    for name in &missing {
        has.insert((*name).clone(), given[*name].clone());
    }
    missing.into_iter().map(String::as_str).collect()
}

fn validate(request: &Request<'_>, object: &Value) -> Result<(), ApiError> {
    let limits = limits(request);
    if limits.is_empty() || meta::deletion_timestamp(object).is_some() {
        return Ok(());
    }
    let mut wrong = match request.kind().plural {
        "pods" => of_pod(&limits, object),
        _ => of_claim(&limits, object),
    };
    let mut seen = Vec::new();
    wrong.retain(|why| {
        !seen.contains(why) && {
            seen.push(why.clone());
            true
        }
    });
    match wrong.as_slice() {
        [] => Ok(()),
        [one] => Err(request.forbidden(one)),
        many => Err(request.forbidden(&format!("[{}]", many.join(", ")))),
    }
}

fn of_pod(limits: &[Value], pod: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for limit in of_type(limits, "Container") {
        for list in ["containers", "initContainers"] {
            for container in items(pod, &["spec", list]) {
                let requests = amounts(container, &["resources", "requests"]);
                let limits = amounts(container, &["resources", "limits"]);
                Usage { kind: "Container", requests, limits }.check(limit, &mut wrong);
            }
        }
    }
    for limit in of_type(limits, "Pod") {
        let (requests, limits) = (pod_resources::requests(pod), pod_resources::limits(pod));
        Usage { kind: "Pod", requests, limits }.check(limit, &mut wrong);
    }
    wrong
}

fn of_claim(limits: &[Value], claim: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for limit in of_type(limits, "PersistentVolumeClaim") {
        let requests = amounts(claim, &["spec", "resources", "requests"]);
        let usage = Usage { kind: "PersistentVolumeClaim", requests, limits: Amounts::new() };
        for (name, least) in amounts(limit, &["min"]) {
            usage.at_least(&name, &least, &mut wrong);
        }
        for (name, most) in amounts(limit, &["max"]) {
            usage.requests_at_most(&name, &most, &mut wrong);
        }
    }
    wrong
}

/// What is asked for and limited to by one thing.
struct Usage {
    kind: &'static str,
    requests: Amounts,
    limits: Amounts,
}

impl Usage {
    fn check(&self, limit: &Value, wrong: &mut Vec<String>) {
        for (name, least) in amounts(limit, &["min"]) {
            self.at_least(&name, &least, wrong);
        }
        for (name, most) in amounts(limit, &["max"]) {
            self.at_most(&name, &most, wrong);
        }
        for (name, ratio) in amounts(limit, &["maxLimitRequestRatio"]) {
            self.ratio(&name, &ratio, wrong);
        }
    }

    fn at_least(&self, name: &str, least: &Quantity, wrong: &mut Vec<String>) {
        let head = format!("minimum {name} usage per {} is {least}", self.kind);
        match (self.requests.get(name), self.limits.get(name)) {
            (None, _) => wrong.push(format!("{head}.  No request is specified")),
            (Some(request), _) if request < least => {
                wrong.push(format!("{head}, but request is {request}"));
            }
            (_, Some(limit)) if limit < least => wrong.push(format!("{head}, but limit is {limit}")),
            _ => {}
        }
    }

    fn at_most(&self, name: &str, most: &Quantity, wrong: &mut Vec<String>) {
        let head = format!("maximum {name} usage per {} is {most}", self.kind);
        match (self.requests.get(name), self.limits.get(name)) {
            (_, None) => wrong.push(format!("{head}.  No limit is specified")),
            (_, Some(limit)) if limit > most => wrong.push(format!("{head}, but limit is {limit}")),
            (Some(request), _) if request > most => wrong.push(format!("{head}, but request is {request}")),
            _ => {}
        }
    }

    fn requests_at_most(&self, name: &str, most: &Quantity, wrong: &mut Vec<String>) {
        let head = format!("maximum {name} usage per {} is {most}", self.kind);
        match self.requests.get(name) {
            None => wrong.push(format!("{head}.  No request is specified")),
            Some(request) if request > most => wrong.push(format!("{head}, but request is {request}")),
            Some(_) => {}
        }
    }

    fn ratio(&self, name: &str, most: &Quantity, wrong: &mut Vec<String>) {
        let head = format!("{name} max limit to request ratio per {} is {most}", self.kind);
        let given = |all: &Amounts| all.get(name).copied().filter(|amount| !amount.is_zero());
        let Some(request) = given(&self.requests) else {
            wrong.push(format!("{head}, but no request is specified or request is 0"));
            return;
        };
        let Some(limit) = given(&self.limits) else {
            wrong.push(format!("{head}, but no limit is specified or limit is 0"));
            return;
        };
        let ratio = size(&limit) / size(&request);
        if ratio > size(most) {
            wrong.push(format!("{head}, but provided ratio is {ratio:.6}"));
        }
    }
}

/// The amount as a number: in thousandths as long as they can be told.
fn size(amount: &Quantity) -> f64 {
    let units = amount.units();
    if units > i64::MAX / 1000 { units as f64 } else { amount.milli() as f64 / 1000.0 }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{fill, of_claim, of_pod};

    fn pod(resources: Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[test]
    fn containers_get_what_they_do_not_say_and_it_is_told() {
        let limits = [json!({
            "type": "Container",
            "default": {"cpu": "500m", "memory": "512Mi"},
            "defaultRequest": {"cpu": "100m", "memory": "256Mi"},
        })];
        let mut plain = pod(json!({}));
        fill(&limits, &mut plain);
        assert_eq!(
            plain["spec"]["containers"][0]["resources"],
            json!({"limits": {"cpu": "500m", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "256Mi"}})
        );
        assert_eq!(
            plain["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
            "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c"
        );
        let mut own =
            pod(json!({"requests": {"cpu": "1", "memory": "1"}, "limits": {"cpu": "2", "memory": "2"}}));
        let before = own.clone();
        fill(&limits, &mut own);
        assert_eq!(own, before);
    }

    #[test]
    fn what_is_too_little_too_much_or_too_far_apart_is_refused_in_kubernetes_words() {
        let both = |cpu: &str| json!({"requests": {"cpu": cpu}, "limits": {"cpu": cpu}});
        let min = json!({"min": {"cpu": "200m"}});
        let max = json!({"max": {"cpu": "800m"}});
        let ratio = json!({"maxLimitRequestRatio": {"cpu": "2"}});
        for (limit, resources, expected) in [
            (&min, both("200m"), ""),
            (&min, json!({}), "minimum cpu usage per Container is 200m.  No request is specified"),
            (&min, both("100m"), "minimum cpu usage per Container is 200m, but request is 100m"),
            (&max, both("800m"), ""),
            (&max, json!({}), "maximum cpu usage per Container is 800m.  No limit is specified"),
            (&max, both("1"), "maximum cpu usage per Container is 800m, but limit is 1"),
            (
                &max,
                json!({"requests": {"cpu": "1"}, "limits": {"cpu": "500m"}}),
                "maximum cpu usage per Container is 800m, but request is 1",
            ),
            (&ratio, json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}), ""),
            (
                &ratio,
                json!({"requests": {"cpu": "500m"}, "limits": {"cpu": "1250m"}}),
                "cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000",
            ),
            (
                &ratio,
                json!({"limits": {"cpu": "1"}}),
                "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
            ),
            (
                &ratio,
                json!({"requests": {"cpu": "1"}}),
                "cpu max limit to request ratio per Container is 2, but no limit is specified or limit is 0",
            ),
        ] {
            let mut limit = limit.clone();
            limit["type"] = "Container".into();
            assert_eq!(of_pod(&[limit], &pod(resources)).join(", "), expected);
        }
    }

    #[test]
    fn pods_are_measured_whole_and_claims_by_their_storage() {
        let two = json!({"spec": {"containers": [
            {"resources": {"limits": {"memory": "1Gi"}}}, {"resources": {"limits": {"memory": "2Gi"}}},
        ]}});
        let limit = json!({"type": "Pod", "max": {"memory": "2Gi"}});
        assert_eq!(of_pod(&[limit], &two), ["maximum memory usage per Pod is 2Gi, but limit is 3Gi"]);
        let claim = |size: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}});
        let limit =
            [json!({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}})];
        assert!(of_claim(&limit, &claim("1Gi")).is_empty());
        assert_eq!(
            of_claim(&limit, &claim("10Gi")),
            ["maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 10Gi"]
        );
        assert_eq!(
            of_claim(&limit, &claim("1Mi")),
            ["minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"]
        );
    }
}
