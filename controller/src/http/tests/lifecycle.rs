//! delete in its ways, namespaces, Pods, scale and tokens.

use http::Method;
use serde_json::{Value, json};

use crate::http::tests::harness::{Api, config_map, pod};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn bind(api: &Api, name: &str, node: &str) -> u16 {
    let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": node}});
    api.call(Method::POST, &format!("{PODS}/{name}/binding"), binding).await.code
}

#[tokio::test]
async fn deleting_answers_what_is_gone() {
    let api = Api::new().await;
    let made = api.make(MAPS, config_map("m", "1")).await;
    let path = format!("{MAPS}/m");
    let wrong = json!({"preconditions": {"uid": "x"}});
    assert_eq!(api.call(Method::DELETE, &path, wrong).await.code, 409);
    let status =
        api.call(Method::DELETE, &path, json!({"propagationPolicy": "Background"})).await.expect(200);
    assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(status["details"]["uid"], made["metadata"]["uid"]);
    let gone = api.call(Method::DELETE, &path, Value::Null).await;
    assert_eq!((gone.code, gone.message().as_str()), (404, "configmaps \"m\" not found"));
    assert_eq!(api.call(Method::DELETE, &path, json!({"propagationPolicy": "Sometimes"})).await.code, 422);
}

#[tokio::test]
async fn finalizers_hold_an_object() {
    let api = Api::new().await;
    let mut map = config_map("m", "1");
    map["metadata"]["finalizers"] = json!(["example.com/a"]);
    api.make(MAPS, map).await;
    let path = format!("{MAPS}/m");
    let waiting = api.call(Method::DELETE, &path, Value::Null).await.expect(200);
    assert_eq!(waiting["metadata"]["deletionTimestamp"], "2027-01-15T08:00:00Z");
    let more =
        api.merge(&path, json!({"metadata": {"finalizers": ["example.com/a", "example.com/b"]}})).await;
    assert_eq!(more.code, 422, "{}", more.message());
    api.merge(&path, json!({"metadata": {"finalizers": null}})).await.expect(200);
    assert_eq!(api.get(&path).await.code, 404);
}

#[tokio::test]
async fn the_collector_is_told_by_finalizers() {
    let api = Api::new().await;
    for (policy, expected) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        api.make(MAPS, config_map("m", "1")).await;
        let path = format!("{MAPS}/m");
        let held = api.call(Method::DELETE, &path, json!({"propagationPolicy": policy})).await.expect(200);
        assert_eq!(held["metadata"]["finalizers"], json!([expected]));
        let gone =
            api.call(Method::DELETE, &path, json!({"propagationPolicy": "Background"})).await.expect(200);
        assert_eq!(gone["status"], "Success");
    }
}

#[tokio::test]
async fn collections_are_deleted_by_selector() {
    let api = Api::new().await;
    for name in ["a", "b", "c"] {
        let mut map = config_map(name, "1");
        map["metadata"]["labels"] = json!({"keep": (name == "b").to_string()});
        api.make(MAPS, map).await;
    }
    api.call(Method::DELETE, &format!("{MAPS}?labelSelector=keep%3Dfalse"), Value::Null).await.expect(200);
    assert_eq!(api.get(MAPS).await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_finalized() {
    let api = Api::new().await;
    api.make("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await;
    let going = api.call(Method::DELETE, "/api/v1/namespaces/n", Value::Null).await.expect(200);
    assert_eq!(going["status"]["phase"], "Terminating");
    let late = api.call(Method::POST, "/api/v1/namespaces/n/configmaps", config_map("m", "1")).await;
    assert_eq!(late.code, 403);
    assert_eq!(
        late.message(),
        "configmaps \"m\" is forbidden: unable to create new content in namespace n because it is being terminated"
    );
    assert_eq!(late.json()["details"]["causes"][0]["reason"], "NamespaceTerminating");
    let mut empty = going.clone();
    empty["spec"]["finalizers"] = json!([]);
    api.call(Method::PUT, "/api/v1/namespaces/n/finalize", empty).await.expect(200);
    assert_eq!(api.get("/api/v1/namespaces/n").await.code, 404);
    assert_eq!(api.call(Method::DELETE, "/api/v1/namespaces/default", Value::Null).await.code, 403);
}

#[tokio::test]
async fn a_pod_is_admitted_bound_and_given_time_to_end() {
    let api = Api::new().await;
    let made = api.make(PODS, pod("p")).await;
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(made["spec"]["tolerations"].as_array().unwrap().len(), 2);
    let mount = &made["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(mount["name"], made["spec"]["volumes"][0]["name"]);
    assert_eq!(bind(&api, "p", "node-1").await, 201);
    assert_eq!(bind(&api, "p", "node-2").await, 409);
    let path = format!("{PODS}/p");
    let bound = api.get(&path).await.json();
    assert_eq!(bound["spec"]["nodeName"], "node-1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    let ending = api.call(Method::DELETE, &path, Value::Null).await.expect(200);
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(ending["metadata"]["deletionTimestamp"], "2027-01-15T08:00:30Z");
    let again = api.call(Method::DELETE, &path, json!({"gracePeriodSeconds": 60})).await.expect(200);
    assert_eq!(again["metadata"]["resourceVersion"], ending["metadata"]["resourceVersion"], "never longer");
    let sooner = api.call(Method::DELETE, &path, json!({"gracePeriodSeconds": 5})).await.expect(200);
    assert_eq!(sooner["metadata"]["deletionGracePeriodSeconds"], 5);
    let gone = api.call(Method::DELETE, &path, json!({"gracePeriodSeconds": 0})).await.expect(200);
    assert_eq!(gone["kind"], "Pod");
    assert_eq!(api.get(&path).await.code, 404);
}

#[tokio::test]
async fn pods_that_run_nowhere_go_at_once() {
    let api = Api::new().await;
    api.make(PODS, pod("p")).await;
    api.call(Method::DELETE, &format!("{PODS}/p"), Value::Null).await.expect(200);
    assert_eq!(api.get(&format!("{PODS}/p")).await.code, 404);
    api.make(PODS, pod("q")).await;
    let eviction = json!({"metadata": {"name": "q"}});
    let done = api.call(Method::POST, &format!("{PODS}/q/eviction"), eviction).await.expect(201);
    assert_eq!(done["status"], "Success");
    assert_eq!(api.get(&format!("{PODS}/q")).await.code, 404);
    let mut orphan = pod("r");
    orphan["spec"]["serviceAccountName"] = "nobody".into();
    let refused = api.call(Method::POST, PODS, orphan).await;
    assert_eq!(refused.code, 403);
    assert!(refused.message().contains("serviceaccount \"nobody\" not found"));
}

#[tokio::test]
async fn status_and_spec_are_written_apart() {
    let api = Api::new().await;
    let mut with_status = pod("p");
    with_status["status"] = json!({"phase": "Running"});
    let made = api.make(PODS, with_status).await;
    assert_ne!(made["status"]["phase"], "Running");
    let path = format!("{PODS}/p");
    let status = json!({"status": {"phase": "Running"}, "spec": {"priority": 7}});
    let patched = api.merge(&format!("{path}/status"), status).await.expect(200);
    assert_eq!((&patched["status"]["phase"], &patched["spec"]["priority"]), (&json!("Running"), &json!(0)));
    let kept =
        api.merge(&path, json!({"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Failed"}})).await;
    assert_eq!(kept.expect(200)["status"]["phase"], "Running");
}

#[tokio::test]
async fn scale_reads_and_writes_replicas() {
    let api = Api::new().await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "x", "image": "file:1"}]}},
    }});
    api.make(deployments, deployment).await;
    let path = format!("{deployments}/d/scale");
    let scale = api.get(&path).await.expect(200);
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(1)));
    assert_eq!(scale["status"]["selector"], "a=b");
    let scaled = api.merge(&path, json!({"spec": {"replicas": 3}})).await.expect(200);
    assert_eq!(scaled["spec"]["replicas"], 3);
    assert_eq!(api.call(Method::PUT, &path, scale.clone()).await.code, 409);
    let mut wished = scaled.clone();
    wished["spec"]["replicas"] = json!(5);
    assert_eq!(api.call(Method::PUT, &path, wished).await.expect(200)["spec"]["replicas"], 5);
    assert_eq!(api.get(&format!("{deployments}/d")).await.json()["metadata"]["generation"], 3);
    assert_eq!(api.merge(&path, json!({"spec": {"replicas": -1}})).await.code, 422);
}
