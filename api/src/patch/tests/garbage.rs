//! Patches of any shape over objects of any shape: an answer or a refusal, no panic, and no growth without bounds.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use crate::patch::apply::{Writer, apply, record};
use crate::patch::{json as json_patch, merge, strategic};

const SCHEMA: &str = "io.k8s.api.apps.v1.Deployment";

/// Names and values that mean something somewhere.
const WORDS: [&str; 24] = [
    "metadata",
    "managedFields",
    "fieldsV1",
    "f:spec",
    "k:{\"name\":\"a\"}",
    "k:[",
    "v:1",
    ".",
    "spec",
    "template",
    "containers",
    "name",
    "ports",
    "containerPort",
    "protocol",
    "finalizers",
    "labels",
    "selector",
    "$patch",
    "delete",
    "$retainKeys",
    "manager",
    "operation",
    "ü\u{0}",
];

fn any(rng: &mut Rng, depth: u32) -> Value {
    let word = |rng: &mut Rng| (*rng.choice(&WORDS).unwrap()).to_owned();
    match rng.u8(0..if depth == 0 { 4 } else { 9 }) {
        0 => Value::Null,
        1 => json!(rng.i8(-1..3)),
        2 => json!(rng.bool()),
        3 => json!(word(rng)),
        4 | 5 => (0..rng.usize(0..4)).map(|_| any(rng, depth - 1)).collect(),
        _ => Value::Object(
            (0..rng.usize(0..5)).map(|_| (word(rng), any(rng, depth - 1))).collect::<Map<_, _>>(),
        ),
    }
}

/// A Deployment of which one part is anything.
fn nearly(rng: &mut Rng) -> Value {
    let mut object = json!({
        "metadata": {"name": "d", "labels": {"a": "b"}, "finalizers": ["x"], "managedFields": [
            {"manager": "m", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": {
                "k:{\"name\":\"a\"}": {".": {}, "f:name": {}}}}}}}},
        ]},
        "spec": {"template": {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 1}]}]}}},
    });
    let places = [
        "/metadata",
        "/metadata/labels",
        "/metadata/finalizers",
        "/metadata/managedFields",
        "/metadata/managedFields/0",
        "/metadata/managedFields/0/fieldsV1",
        "/spec/template/spec/containers",
        "/spec/template/spec/containers/0",
        "/spec/template/spec/containers/0/ports",
        "/spec/template/spec/containers/0/ports/0",
        "/spec",
        "",
    ];
    *object.pointer_mut(rng.choice(places).unwrap()).unwrap() = any(rng, 4);
    object
}

#[test]
fn no_configuration_or_history_panics() {
    let mut rng = Rng::with_seed(31);
    let writer =
        Writer { manager: "m", subresource: "", api_version: "apps/v1", now: "T", ignored: &["status"] };
    for _ in 0..4000 {
        let (live, mut config) = (nearly(&mut rng), nearly(&mut rng));
        let _ = record(Some(&live), &mut config.clone(), SCHEMA, &writer);
        if let Some(metadata) = config.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        let size = live.to_string().len() + config.to_string().len();
        for (live, force) in [(None, false), (Some(&live), false), (Some(&live), true)] {
            if let Ok(object) = apply(live, &config, SCHEMA, &writer, force) {
                assert!(object.to_string().len() < 20 * size + 1000, "{object}");
            }
        }
    }
}

#[test]
fn no_patch_panics_and_a_refused_one_changes_nothing() {
    let mut rng = Rng::with_seed(32);
    for _ in 0..4000 {
        let (object, patch) = (nearly(&mut rng), nearly(&mut rng));
        let mut patched = object.clone();
        if strategic(&mut patched, &patch, SCHEMA).is_err() {
            assert_eq!(patched, object);
        }
        merge(&mut patched, &patch);
        let operations: Vec<Value> = (0..rng.usize(0..5)).map(|_| operation(&mut rng)).collect();
        let (mut patched, operations) = (object.clone(), Value::Array(operations));
        if json_patch(&mut patched, &operations).is_err() {
            assert_eq!(patched, object, "{operations}");
        }
    }
}

fn operation(rng: &mut Rng) -> Value {
    let path = |rng: &mut Rng| {
        let pointers = [
            "",
            "/",
            "/metadata",
            "/metadata/labels/a",
            "/metadata/finalizers/0",
            "/spec/-",
            "/metadata/finalizers/-",
            "/spec/template/spec/containers/0/ports/00",
            "/spec/~2",
            "/metadata/finalizers/18446744073709551616",
        ];
        json!(rng.choice(pointers))
    };
    let mut operation = json!({
        "op": rng.choice(["add", "remove", "replace", "move", "copy", "test", "x"]),
        "path": path(rng), "from": path(rng), "value": any(rng, 3),
    });
    if rng.u8(0..4) == 0 {
        operation.as_object_mut().unwrap().remove(*rng.choice(&["op", "path", "from", "value"]).unwrap());
    }
    operation
}
