//! Quotas: what an object costs its namespace, which quotas it counts against, and what they are used.

use crate::meta::{self, at, items, map, text};
use crate::pod_resources::{self, Amounts, add, amounts};
use crate::quantity::{Format, Quantity};
use serde_json::Value;
use std::collections::BTreeSet;

/// What the storage of a class is called.
const CLASS: &str = ".storageclass.storage.k8s.io/";
/// Resources that every container must speak about when a quota does.
const SPOKEN: &[&str] = &["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];
/// Resources of the core group that quotas also know by their bare name.
const BARE: &[&str] = &["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];

/// The objects of a resource, as counting needs them.
pub enum Objects {
    /// How many there are.
    Number(usize),
    /// All of them.
    All(Vec<Value>),
}

/// What an object costs, under every name by which a quota may ask for it.
pub fn usage(group: &str, plural: &str, object: &Value) -> Amounts {
    let mut usage = Amounts::new();
    let dot = if group.is_empty() { "" } else { "." };
    usage.insert(format!("count/{plural}{dot}{group}"), one());
    match (group, plural) {
        ("", "pods") => of_pod(object, &mut usage),
        ("", "services") => of_service(object, &mut usage),
        ("", "persistentvolumeclaims") => of_claim(object, &mut usage),
        ("", _) if BARE.contains(&plural) => drop(usage.insert(plural.to_owned(), one())),
        _ => {}
    }
    usage
}

/// Whether an update of the object can change what it costs.
pub fn varies(group: &str, plural: &str) -> bool {
    group.is_empty() && matches!(plural, "pods" | "services" | "persistentvolumeclaims")
}

fn one() -> Quantity {
    Quantity::from_units(1, Format::DecimalSi)
}

fn number(of: usize) -> Quantity {
    Quantity::from_units(i64::try_from(of).unwrap_or(i64::MAX), Format::DecimalSi)
}

fn of_pod(pod: &Value, usage: &mut Amounts) {
    if matches!(text(pod, &["status", "phase"]), "Succeeded" | "Failed") {
        return;
    }
    usage.insert("pods".to_owned(), one());
    of_resources(&pod_resources::requests(pod), &pod_resources::limits(pod), usage);
}

fn of_resources(requests: &Amounts, limits: &Amounts, usage: &mut Amounts) {
    for (name, amount) in requests {
        let native = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
        if native || name.starts_with("hugepages-") {
            usage.insert(name.clone(), *amount);
        }
        usage.insert(format!("requests.{name}"), *amount);
    }
    for (name, amount) in limits {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            usage.insert(format!("limits.{name}"), *amount);
        }
    }
}

fn of_service(service: &Value, usage: &mut Amounts) {
    usage.insert("services".to_owned(), one());
    let ports = items(service, &["spec", "ports"]);
    let with_node_port =
        ports.iter().filter(|port| meta::number(port, &["nodePort"]).unwrap_or(0) != 0).count();
    let allocates = at(service, &["spec", "allocateLoadBalancerNodePorts"]).and_then(Value::as_bool);
    let (node_ports, balancers) = match text(service, &["spec", "type"]) {
        "NodePort" => (ports.len(), 0),
        "LoadBalancer" if allocates == Some(false) => (with_node_port, 1),
        "LoadBalancer" => (ports.len(), 1),
        _ => (0, 0),
    };
    usage.insert("services.nodeports".to_owned(), number(node_ports));
    usage.insert("services.loadbalancers".to_owned(), number(balancers));
}

fn of_claim(claim: &Value, usage: &mut Amounts) {
    let asked = amounts(claim, &["spec", "resources", "requests"]).get("storage").copied();
    let allocated = amounts(claim, &["status", "allocatedResources"]).get("storage").copied();
    let storage = asked.max(allocated);
    let annotated = meta::annotation(claim, "volume.beta.kubernetes.io/storage-class");
    let class = annotated.unwrap_or_else(|| text(claim, &["spec", "storageClassName"]));
    usage.insert("persistentvolumeclaims".to_owned(), one());
    if let Some(storage) = storage {
        usage.insert("requests.storage".to_owned(), storage);
    }
    if !class.is_empty() {
        usage.insert(format!("{class}{CLASS}persistentvolumeclaims"), one());
        if let Some(storage) = storage {
            usage.insert(format!("{class}{CLASS}requests.storage"), storage);
        }
    }
}

/// What the quota asks every container to say and one does not, as `limits.cpu for: a,b; …`.
pub fn unsaid(quota: &Value, group: &str, plural: &str, object: &Value) -> Option<String> {
    if (group, plural) != ("", "pods") {
        return None;
    }
    let hard = amounts(quota, &["spec", "hard"]);
    let spoken = SPOKEN.iter().filter(|name| hard.contains_key(**name));
    let containers: Vec<&Value> =
        ["containers", "initContainers"].iter().flat_map(|list| items(object, &["spec", list])).collect();
    let of_whole = usage(group, plural, &pod_level(object));
    let missing = spoken.filter_map(|name| {
        if of_whole.contains_key(*name) {
            return None;
        }
        let silent = containers.iter().filter(|container| !says(container, name));
        let silent: BTreeSet<&str> = silent.map(|container| text(container, &["name"])).collect();
        let silent: Vec<&str> = silent.into_iter().collect();
        (!silent.is_empty()).then(|| format!("{name} for: {}", silent.join(",")))
    });
    let missing: Vec<String> = missing.collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// The Pod with nothing but what it says for itself as a whole.
fn pod_level(pod: &Value) -> Value {
    serde_json::json!({"spec": {"resources": at(pod, &["spec", "resources"])}})
}

fn says(container: &Value, name: &str) -> bool {
    let mut usage = Amounts::new();
    let of = |what: &str| amounts(container, &["resources", what]);
    of_resources(&of("requests"), &of("limits"), &mut usage);
    usage.contains_key(name)
}

/// Whether an object counts against a quota.
pub fn selects(quota: &Value, group: &str, plural: &str, object: &Value) -> bool {
    let scopes = items(quota, &["spec", "scopes"]).iter().filter_map(Value::as_str);
    let expressions = items(quota, &["spec", "scopeSelector", "matchExpressions"]);
    let mut all = scopes
        .map(|scope| (scope, &Value::Null))
        .chain(expressions.iter().map(|e| (text(e, &["scopeName"]), e)));
    all.all(|(scope, expression)| in_scope(scope, expression, group, plural, object))
}

fn in_scope(scope: &str, expression: &Value, group: &str, plural: &str, object: &Value) -> bool {
    if (group, plural, scope) == ("", "persistentvolumeclaims", "VolumeAttributesClass") {
        return named(text(object, &["spec", "volumeAttributesClassName"]), expression);
    }
    if (group, plural) != ("", "pods") {
        return false;
    }
    let terminating = || meta::number(object, &["spec", "activeDeadlineSeconds"]).is_some();
    match scope {
        "Terminating" => terminating(),
        "NotTerminating" => !terminating(),
        "BestEffort" => is_best_effort(object),
        "NotBestEffort" => !is_best_effort(object),
        "PriorityClass" => named(text(object, &["spec", "priorityClassName"]), expression),
        "CrossNamespacePodAffinity" => looks_elsewhere(object),
        _ => false,
    }
}

/// Whether a name, which may be none, is one that the expression speaks of.
fn named(name: &str, expression: &Value) -> bool {
    let listed = || items(expression, &["values"]).iter().any(|value| value == name);
    match text(expression, &["operator"]) {
        "In" => !name.is_empty() && listed(),
        "NotIn" => name.is_empty() || !listed(),
        "DoesNotExist" => name.is_empty(),
        _ => !name.is_empty(),
    }
}

fn is_best_effort(pod: &Value) -> bool {
    let asks = |of: &Value| {
        let said = ["requests", "limits"].into_iter().flat_map(|what| amounts(of, &["resources", what]));
        said.into_iter().any(|(name, amount)| matches!(name.as_str(), "cpu" | "memory") && !amount.is_zero())
    };
    let lists = ["containers", "initContainers"];
    let mut containers = lists.iter().flat_map(|list| items(pod, &["spec", list]));
    !containers.any(asks) && !at(pod, &["spec"]).is_some_and(asks)
}

fn looks_elsewhere(pod: &Value) -> bool {
    let elsewhere = |term: &Value| {
        let namespaces = !items(term, &["namespaces"]).is_empty();
        namespaces || term.get("namespaceSelector").is_some_and(|selector| !selector.is_null())
    };
    ["podAffinity", "podAntiAffinity"].iter().filter_map(|kind| at(pod, &["spec", "affinity", kind])).any(
        |affinity| {
            let required = items(affinity, &["requiredDuringSchedulingIgnoredDuringExecution"]).iter();
            let preferred = items(affinity, &["preferredDuringSchedulingIgnoredDuringExecution"]).iter();
            required.chain(preferred.filter_map(|term| term.get("podAffinityTerm"))).any(elsewhere)
        },
    )
}

/// What an object costs a quota: nothing under names that the quota does not limit.
pub fn cost(quota: &Value, group: &str, plural: &str, object: &Value) -> Amounts {
    let Some(hard) = map(quota, &["spec", "hard"]) else { return Amounts::new() };
    if object.is_null() || !selects(quota, group, plural, object) {
        return Amounts::new();
    }
    let mut cost = usage(group, plural, object);
    cost.retain(|name, _| hard.contains_key(name));
    cost
}

/// Group and plural of the objects that a name counts.
pub fn counts(name: &str) -> (&str, &str) {
    if let Some(resource) = name.strip_prefix("count/") {
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        return (group, plural);
    }
    match name {
        "requests.storage" | "persistentvolumeclaims" => ("", "persistentvolumeclaims"),
        _ if name.contains(CLASS) => ("", "persistentvolumeclaims"),
        "services" | "services.nodeports" | "services.loadbalancers" => ("", "services"),
        _ if BARE.contains(&name) => ("", name),
        _ => ("", "pods"),
    }
}

/// What a quota is used, under every name that it limits.
pub fn used(quota: &Value, mut objects: impl FnMut(&str, &str) -> Objects) -> Amounts {
    let hard = map(quota, &["spec", "hard"]).into_iter().flatten();
    let names: Vec<&String> = hard.map(|(name, _)| name).collect();
    let mut used: Amounts = names.iter().map(|name| ((*name).clone(), Quantity::ZERO)).collect();
    let resources: BTreeSet<(&str, &str)> = names.iter().map(|name| counts(name)).collect();
    for (group, plural) in resources {
        match objects(group, plural) {
            Objects::All(all) => {
                all.iter().for_each(|object| add(&mut used, &cost(quota, group, plural, object)));
            }
            Objects::Number(count) => {
                let mut cost = cost(quota, group, plural, &serde_json::json!({}));
                cost.values_mut().for_each(|amount| *amount = number(count));
                add(&mut used, &cost);
            }
        }
    }
    used
}

/// Amounts as quotas print them: `cpu=1,pods=2`.
pub fn printed(amounts: &Amounts) -> String {
    amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(requests: Value, limits: Value) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": requests, "limits": limits}}]}})
    }

    #[test]
    fn objects_cost_what_they_ask_for() {
        let cases = [
            (("", "pods"), json!({"status": {"phase": "Succeeded"}}), "count/pods=1"),
            (
                ("", "pods"),
                pod(json!({"cpu": "1", "example.com/gpu": "2"}), json!({"memory": "1Gi"})),
                "count/pods=1,cpu=1,limits.memory=1Gi,pods=1,requests.cpu=1,requests.example.com/gpu=2",
            ),
            (
                ("", "services"),
                json!({"spec": {"type": "NodePort", "ports": [{}, {}]}}),
                "count/services=1,services=1,services.loadbalancers=0,services.nodeports=2",
            ),
            (
                ("", "services"),
                json!({"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{}]}}),
                "count/services=1,services=1,services.loadbalancers=1,services.nodeports=0",
            ),
            (
                ("", "persistentvolumeclaims"),
                json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}}),
                "count/persistentvolumeclaims=1,fast.storageclass.storage.k8s.io/persistentvolumeclaims=1,\
                 fast.storageclass.storage.k8s.io/requests.storage=1Gi,persistentvolumeclaims=1,requests.storage=1Gi",
            ),
            (("", "secrets"), json!({}), "count/secrets=1,secrets=1"),
            (("apps", "deployments"), json!({}), "count/deployments.apps=1"),
        ];
        for ((group, plural), object, expected) in cases {
            assert_eq!(printed(&usage(group, plural, &object)), expected);
        }
    }

    #[test]
    fn every_name_counts_objects_of_one_resource() {
        for (name, expected) in [
            ("pods", ("", "pods")),
            ("requests.example.com/gpu", ("", "pods")),
            ("limits.memory", ("", "pods")),
            ("requests.storage", ("", "persistentvolumeclaims")),
            ("fast.storageclass.storage.k8s.io/requests.storage", ("", "persistentvolumeclaims")),
            ("services.nodeports", ("", "services")),
            ("secrets", ("", "secrets")),
            ("count/widgets.example.com", ("example.com", "widgets")),
            ("count/configmaps", ("", "configmaps")),
        ] {
            assert_eq!(counts(name), expected, "{name}");
        }
    }

    #[test]
    fn scopes_choose_pods() {
        let plain = pod(json!({}), json!({}));
        let asking = pod(json!({"cpu": "1"}), json!({}));
        let mut job = plain.clone();
        job["spec"]["activeDeadlineSeconds"] = json!(5);
        let mut high = plain.clone();
        high["spec"]["priorityClassName"] = json!("high");
        let mut near = plain.clone();
        near["spec"]["affinity"] = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            [{"namespaces": ["other"]}]}});
        let class = |operator: &str, values: Value| {
            json!({"spec": {"scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": operator, "values": values},
            ]}}})
        };
        let scope = |name: &str| json!({"spec": {"scopes": [name]}});
        for (quota, chosen) in [
            (json!({}), [true, true, true, true, true]),
            (scope("Terminating"), [false, false, true, false, false]),
            (scope("NotTerminating"), [true, true, false, true, true]),
            (scope("BestEffort"), [true, false, true, true, true]),
            (scope("NotBestEffort"), [false, true, false, false, false]),
            (scope("PriorityClass"), [false, false, false, true, false]),
            (scope("CrossNamespacePodAffinity"), [false, false, false, false, true]),
            (class("In", json!(["high"])), [false, false, false, true, false]),
            (class("NotIn", json!(["high"])), [true, true, true, false, true]),
            (class("DoesNotExist", json!([])), [true, true, true, false, true]),
        ] {
            let pods = [&plain, &asking, &job, &high, &near];
            assert_eq!(pods.map(|pod| selects(&quota, "", "pods", pod)), chosen, "{quota}");
            let scoped = quota.get("spec").is_some();
            assert_eq!(selects(&quota, "", "secrets", &json!({})), !scoped);
        }
    }

    #[test]
    fn containers_must_speak_of_what_is_limited() {
        let quota = json!({"spec": {"hard": {"limits.cpu": "1", "requests.memory": "1Gi", "pods": "3"}}});
        let unsaid = |pod: &Value| unsaid(&quota, "", "pods", pod);
        assert_eq!(
            unsaid(&pod(json!({}), json!({}))).as_deref(),
            Some("limits.cpu for: c; requests.memory for: c")
        );
        assert_eq!(unsaid(&pod(json!({"memory": "1"}), json!({"cpu": "1"}))), None);
        let mut whole = pod(json!({"memory": "1"}), json!({}));
        whole["spec"]["resources"] = json!({"limits": {"cpu": "1"}});
        assert_eq!(unsaid(&whole), None);
    }

    #[test]
    fn what_is_used_is_counted_under_the_names_that_are_limited() {
        let quota = json!({"spec": {"hard": {"pods": "9", "requests.cpu": "9", "count/configmaps": "9", "secrets": "9"}}});
        let used = used(&quota, |_, plural| match plural {
            "pods" => Objects::All(vec![
                pod(json!({"cpu": "1"}), json!({})),
                pod(json!({"cpu": "500m"}), json!({})),
            ]),
            "configmaps" => Objects::Number(4),
            _ => Objects::Number(0),
        });
        assert_eq!(printed(&used), "count/configmaps=4,pods=2,requests.cpu=1500m,secrets=0");
    }
}
