//! Kubernetes' documented behaviours of EndpointSlices and Endpoints, as plans.

#![allow(clippy::unwrap_used)]

use edge_api::kinds;
use edge_api::time::Timestamp;
use serde_json::{Value, json};

use crate::mirror::Name;
use crate::reconcile::ledger::Ledger;
use crate::reconcile::{Act, Plan};

fn service(change: Value) -> Value {
    let mut spec = json!({"type": "ClusterIP", "clusterIP": "10.43.0.9", "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "web"}]});
    for (field, value) in change.as_object().unwrap() {
        spec[field] = value.clone();
    }
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default", "uid": "s",
        "labels": {"team": "x"}}, "spec": spec})
}

fn pod(index: usize, port: i64, ready: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("p{index:03}"), "namespace": "default", "uid": format!("p{index:03}"),
            "labels": {"app": "web"}},
        "spec": {"nodeName": "a", "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": port}]}]},
        "status": {"phase": "Running", "podIP": format!("10.42.0.{index}"),
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    })
}

fn plan(ledger: &Ledger) -> Plan {
    (super::CONTROLLER.reconcile)(&Name::new("default", "web"), &ledger.world())
}

fn settle(objects: &[Value]) -> Ledger {
    let ledger = Ledger::with(Timestamp::from_seconds(0), objects);
    ledger.carry_out(&plan(&ledger));
    assert_eq!(plan(&ledger), Plan::nothing(), "a second look changes nothing");
    ledger
}

fn slices(ledger: &Ledger) -> Vec<Value> {
    ledger.all(&kinds::endpoint_slice::KIND)
}

fn ends(slice: &Value) -> &Vec<Value> {
    slice["endpoints"].as_array().unwrap()
}

#[test]
fn a_pod_is_an_endpoint_with_its_conditions() {
    let mut leaving = pod(3, 8080, true);
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let mut ended = pod(4, 8080, true);
    ended["status"]["phase"] = json!("Succeeded");
    let ledger = settle(&[service(json!({})), pod(1, 8080, true), pod(2, 8080, false), leaving, ended]);
    let slices = slices(&ledger);
    let labels = &slices[0]["metadata"]["labels"];
    assert_eq!(labels["kubernetes.io/service-name"], "web");
    assert_eq!(labels["endpointslice.kubernetes.io/managed-by"], "endpointslice-controller.k8s.io");
    assert_eq!(labels["team"], "x");
    assert_eq!(slices[0]["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    let conditions: Vec<String> = ends(&slices[0])
        .iter()
        .map(|e| {
            format!(
                "{} {} {}",
                e["conditions"]["ready"], e["conditions"]["serving"], e["conditions"]["terminating"]
            )
        })
        .collect();
    assert_eq!(conditions, ["true true false", "false false false", "false true true"]);
    let endpoints = ledger.get(&kinds::endpoints::KIND, "default", "web").unwrap();
    let subset = &endpoints["subsets"][0];
    assert_eq!(subset["addresses"].as_array().unwrap().len(), 1);
    assert_eq!(subset["notReadyAddresses"].as_array().unwrap().len(), 1);
}

#[test]
fn unready_pods_are_ready_where_the_service_says_so() {
    let ledger = settle(&[service(json!({"publishNotReadyAddresses": true})), pod(1, 8080, false)]);
    assert_eq!(ends(&slices(&ledger)[0])[0]["conditions"]["ready"], true);
}

#[test]
fn a_pod_on_a_node_that_is_not_heard_of_is_not_ready() {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"},
        "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
    let ledger = settle(&[service(json!({})), pod(1, 8080, true), node]);
    assert_eq!(ends(&slices(&ledger)[0])[0]["conditions"]["ready"], false);
}

#[test]
fn a_service_without_pods_has_one_empty_slice() {
    let ledger = settle(&[service(json!({}))]);
    assert_eq!(slices(&ledger).len(), 1);
    assert!(ends(&slices(&ledger)[0]).is_empty());
}

#[test]
fn headless_services_list_hostnames_and_need_no_ports() {
    let mut named = pod(1, 8080, true);
    named["spec"]["hostname"] = json!("first");
    named["spec"]["subdomain"] = json!("web");
    let ledger = settle(&[service(json!({"clusterIP": "None", "ports": []})), named]);
    let slice = &slices(&ledger)[0];
    assert_eq!(ends(slice)[0]["hostname"], "first");
    assert_eq!(slice["metadata"]["labels"]["service.kubernetes.io/headless"], "");
}

#[test]
fn named_ports_with_other_numbers_get_slices_of_their_own() {
    let ledger = settle(&[service(json!({})), pod(1, 8080, true), pod(2, 9090, true)]);
    let mut ports: Vec<i64> =
        slices(&ledger).iter().map(|s| s["ports"][0]["port"].as_i64().unwrap()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [8080, 9090]);
}

#[test]
fn a_slice_has_at_most_a_hundred_and_a_change_writes_only_one() {
    let mut objects = vec![service(json!({}))];
    objects.extend((0..250).map(|index| pod(index, 8080, true)));
    let ledger = settle(&objects);
    let mut counts: Vec<usize> = slices(&ledger).iter().map(|slice| ends(slice).len()).collect();
    counts.sort_unstable();
    assert_eq!(counts, [50, 100, 100]);
    ledger.remove(&kinds::pod::KIND, "default", "p007");
    ledger.put(pod(300, 8080, true));
    let writes = plan(&ledger).writes().filter(|w| w.kind.kind == "EndpointSlice").count();
    assert_eq!(writes, 1);
}

#[test]
fn endpoints_go_with_their_service_and_others_stay() {
    let ledger = settle(&[service(json!({})), pod(1, 8080, true)]);
    ledger.remove(&kinds::service::KIND, "default", "web");
    let gone = plan(&ledger);
    assert!(matches!(gone.writes().next().unwrap().act, Act::Delete { .. }));
    let by_hand =
        json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web", "namespace": "default"}});
    let other = Ledger::with(Timestamp::from_seconds(0), &[by_hand]);
    assert_eq!(plan(&other), Plan::nothing());
}

#[test]
fn services_without_selector_and_external_names_are_left_alone() {
    for change in [json!({"selector": null}), json!({"type": "ExternalName"})] {
        let mut service = service(change);
        if service["spec"]["selector"].is_null() {
            service["spec"].as_object_mut().unwrap().remove("selector");
        }
        let ledger = Ledger::with(Timestamp::from_seconds(0), &[service, pod(1, 8080, true)]);
        assert_eq!(plan(&ledger), Plan::nothing());
    }
}
