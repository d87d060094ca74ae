//! MutatingAdmissionPolicy: changes in CEL and their bindings.

use http::Method;
use serde_json::{Value, json};

use crate::http::tests::admission::put;
use crate::http::tests::harness::{Answer, Api, config_map, pod};

const GROUP: &str = "admissionregistration.k8s.io";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn policy(api: &Api, name: &str, resource: &str, spec: Value) {
    let mut whole = json!({
        "failurePolicy": "Fail", "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [
            {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": [resource]},
        ]},
    });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let object = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name}, "spec": whole});
    put(api, GROUP, "mutatingadmissionpolicies", object).await;
    let object = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name}, "spec": {"policyName": name}});
    put(api, GROUP, "mutatingadmissionpolicybindings", object).await;
}

fn part(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

fn operations(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

async fn make(api: &Api, name: &str) -> Answer {
    api.call(Method::POST, MAPS, config_map(name, "1")).await
}

#[tokio::test]
async fn a_part_of_the_object_is_merged_into_it() {
    let api = Api::new().await;
    let sidecar = "Object{spec: Object.spec{initContainers: [Object.spec.initContainers{\
                   name: 'proxy', image: 'proxy:1', restartPolicy: 'Always'}]}}";
    policy(
        &api,
        "p",
        "pods",
        json!({
            "mutations": [part(sidecar)],
            "matchConditions": [{"name": "once",
                "expression": "!object.spec.?initContainers.orValue([]).exists(c, c.name == 'proxy')"}],
        }),
    )
    .await;
    let mut web = pod("web");
    web["spec"]["initContainers"] = json!([{"name": "prepare", "image": "prepare:1"}]);
    let made = api.make(PODS, web).await;
    let names: Vec<&Value> =
        made["spec"]["initContainers"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["proxy", "prepare"], "what is applied comes first");
    assert_eq!(made["spec"]["initContainers"][0]["terminationMessagePolicy"], "File", "and gets defaults");
}

#[tokio::test]
async fn operations_change_the_object() {
    let api = Api::new().await;
    let add = "[JSONPatch{op: 'add', path: '/metadata/labels', value: {'a/b': variables.value}},
        JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('c/d'), value: 'x'}]";
    let variables = json!([{"name": "value", "expression": "object.data.a + '2'"}]);
    policy(&api, "p", "configmaps", json!({"variables": variables, "mutations": [operations(add)]})).await;
    let made = make(&api, "m").await.expect(201);
    assert_eq!(made["metadata"]["labels"], json!({"a/b": "12", "c/d": "x"}));
}

#[tokio::test]
async fn each_policy_sees_what_those_before_it_left() {
    let api = Api::new().await;
    let count = "Object{data: {'count': string(int(object.data.?count.orValue('0')) + 1)}}";
    for name in ["a", "b"] {
        policy(&api, name, "configmaps", json!({"mutations": [part(count), part(count)]})).await;
    }
    assert_eq!(make(&api, "m").await.expect(201)["data"]["count"], "4");
    let again = json!({"reinvocationPolicy": "IfNeeded", "mutations": [part(count)]});
    policy(&api, "a", "configmaps", again).await;
    // It is asked again because the other one changed the object after it.
    assert_eq!(make(&api, "n").await.expect(201)["data"]["count"], "4");
}

#[tokio::test]
async fn what_cannot_be_made_is_refused_or_passed_over() {
    let denied =
        "configmaps \"m\" is forbidden: MutatingAdmissionPolicy 'p' with binding 'p' denied request: ";
    for (mutation, expected) in [
        (part("Object{data: {'a': object.data.b}}"), "no such key: b"),
        (part("Object{nothing: 1}"), "strict decoding error: unknown field \"nothing\""),
        (part("'text'"), "must evaluate to an object"),
        (operations("[JSONPatch{op: 'remove', path: '/data/b'}]"), "/data/b"),
        (operations("[JSONPatch{operation: 'remove'}]"), "undefined field 'operation'"),
    ] {
        let api = Api::new().await;
        policy(&api, "p", "configmaps", json!({"mutations": [mutation]})).await;
        let refused = make(&api, "m").await;
        assert_eq!(refused.code, 422, "{expected}");
        let message = refused.message();
        assert!(message.starts_with(denied) && message.contains(expected), "{message}");
        policy(&api, "p", "configmaps", json!({"mutations": [mutation], "failurePolicy": "Ignore"})).await;
        assert_eq!(make(&api, "m").await.expect(201)["data"], json!({"a": "1"}));
    }
}

#[tokio::test]
async fn what_is_atomic_is_no_part_that_can_be_applied() {
    let api = Api::new().await;
    let arguments =
        "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'main', args: ['x']}]}}";
    policy(&api, "p", "pods", json!({"mutations": [part(arguments)]})).await;
    let refused = api.call(Method::POST, PODS, pod("web")).await;
    let message = refused.message();
    assert_eq!(refused.code, 422, "{message}");
    let expected = "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: \
                    .spec.containers[0].args";
    assert!(message.ends_with(expected), "{message}");
    // Operations may.
    let add = "[JSONPatch{op: 'add', path: '/spec/containers/0/args', value: ['x']}]";
    policy(&api, "p", "pods", json!({"mutations": [operations(add)]})).await;
    let made = api.make(PODS, pod("web")).await;
    assert_eq!(made["spec"]["containers"][0]["args"], json!(["x"]));
}
