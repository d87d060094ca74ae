//! Clusters in a few words, and what the scheduler makes of them.

#![allow(clippy::unwrap_used)]

mod counts;
mod model;
mod plugins;
mod preemption;
mod waiting;
mod why;
mod wording;

use std::collections::BTreeMap;

use bytes::Bytes;
use edge_api::time::Timestamp;
use serde_json::{Value, json};

use crate::mirror::{Packing, World};
use crate::reconcile::ledger::{Ledger, settings};
use crate::reconcile::{Act, Plan, Write};
use crate::schedule::round;

/// A node with two CPUs, 1 GiB and room for three Pods.
pub fn node(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "disk": "ssd"}}, "spec": spec,
        "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3"}},
    })
}

/// The same in a zone.
pub fn zoned(name: &str, zone: &str) -> Value {
    let mut node = node(name, json!({}));
    node["metadata"]["labels"]["zone"] = json!(zone);
    node["status"]["allocatable"]["pods"] = json!("10");
    node
}

/// A Pod.
pub fn pod(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

/// A Pod with a label `app`.
pub fn labelled(name: &str, app: &str, spec: Value) -> Value {
    let mut pod = pod(name, spec);
    pod["metadata"]["labels"] = json!({"app": app});
    pod
}

/// A specification that asks for so much.
pub fn asks(cpu: &str, memory: &str) -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]})
}

/// The same on a node.
pub fn on(node: &str, mut spec: Value) -> Value {
    spec["nodeName"] = json!(node);
    spec
}

/// The same with more fields.
pub fn with(mut spec: Value, more: Value) -> Value {
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    spec
}

/// A namespace with a label.
pub fn namespace(name: &str, team: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": team}}})
}

/// The world that consists of these.
pub fn world(objects: &[Value]) -> World {
    Ledger::with(Timestamp::from_seconds(1000), objects).world()
}

/// The same for nodes that are to be filled evenly.
pub fn spreading_world(objects: &[Value]) -> World {
    let mut settings = settings();
    settings.packing = Packing::LeastAllocated;
    let mut world = World::new(settings);
    objects.iter().for_each(|object| show(&mut world, object));
    world
}

/// Shows a world one object more, or changed.
pub fn show(world: &mut World, object: &Value) {
    let mut object = object.clone();
    if object["metadata"]["uid"].is_null() {
        object["metadata"]["uid"] = json!(format!("uid of {}", object["metadata"]["name"].as_str().unwrap()));
    }
    let bytes = Bytes::from(serde_json::to_vec(&object).unwrap());
    world.apply(key(&object), world.revision + 1, Some(&bytes));
}

/// Shows a world that an object is gone.
pub fn hide(world: &mut World, object: &Value) {
    world.apply(key(object), world.revision + 1, None);
}

fn key(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = edge_api::kinds::by_kind(&text(&object["apiVersion"]), &text(&object["kind"])).unwrap();
    let meta = &object["metadata"];
    kind.key(&text(&meta["namespace"]), &text(&meta["name"]))
}

/// Makes a plan as the driver does: who is without a node is remembered.
pub fn planned(world: &mut World) -> Plan {
    let plan = round(world).plan;
    world.waiting.tried(&plan.without_node, world.revision);
    plan
}

/// Where Pods go, or the condition's message.
pub fn decisions_in(world: &World) -> BTreeMap<String, String> {
    let decision = |write: &Write| match &write.act {
        Act::Bind { node, .. } => Some((write.key.name.to_string(), node.clone())),
        Act::Status(pod) => {
            let conditions = pod["status"]["conditions"].as_array().unwrap();
            let scheduled = conditions.iter().find(|one| one["type"] == "PodScheduled")?;
            Some((write.key.name.to_string(), scheduled["message"].as_str().unwrap().to_owned()))
        }
        Act::Delete { .. } => None,
        other => panic!("{other:?}"),
    };
    round(world).plan.writes().filter_map(decision).collect()
}

/// The same for a cluster of these objects.
pub fn decisions(objects: &[Value]) -> BTreeMap<String, String> {
    decisions_in(&world(objects))
}

/// What becomes of one Pod beside others.
pub fn decision(spec: Value, others: &[Value]) -> String {
    placed(pod("p", spec), others)
}

/// What becomes of this Pod beside others.
pub fn placed(pod: Value, others: &[Value]) -> String {
    let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
    decisions(&[others, &[pod]].concat()).remove(&name).unwrap()
}
