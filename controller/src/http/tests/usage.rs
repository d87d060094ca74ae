//! `metrics.k8s.io`: the figures of Nodes and Pods, from the nodes.

use bytes::Bytes;
use http::{Method, Response, StatusCode, Uri};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::http::tests::harness::{Api, pod};
use crate::identity::User;

const METRICS: &str = "/apis/metrics.k8s.io/v1beta1";

fn figures(cpu: u64, memory: u64) -> Value {
    json!({"cpu": {"time": "2026-01-01T00:00:00Z", "usageNanoCores": cpu}, "memory": {"workingSetBytes": memory}})
}

/// A cluster with two Nodes, of which one is connected and runs the Pod `web` of two containers.
async fn cluster() -> Api {
    let api = Api::new().await;
    for node in ["n1", "n2"] {
        api.make("/api/v1/nodes", json!({"metadata": {"name": node, "labels": {"at": node}}})).await;
    }
    let pods = "/api/v1/namespaces/default/pods";
    let mut web = pod("web");
    web["metadata"]["labels"] = json!({"app": "web"});
    let web = api.make(pods, web).await;
    api.make(pods, pod("idle")).await;
    let binding = json!({"target": {"kind": "Node", "name": "n1"}});
    api.call(Method::POST, &format!("{pods}/web/binding"), binding).await.expect(201);
    let named = |name: &str, mut figures: Value| {
        figures["name"] = name.into();
        figures
    };
    let summary = json!({
        "node": figures(250_000_000, 64 << 20),
        "windowSeconds": 1.5,
        "pods": [
            {"podRef": {"uid": web["metadata"]["uid"]},
                "containers": [named("a", figures(1_000_000, 2048)), named("b", figures(2_000_000, 4096))]},
            {"podRef": {"uid": "of a Pod that is gone"}, "containers": []},
        ],
    });
    let answer = move |uri: &Uri| {
        assert_eq!(uri.path(), "/stats/summary");
        Response::new(Full::new(Bytes::from(summary.to_string())))
    };
    assert_eq!(api.tunnel("n1", "n1", answer).await, StatusCode::SWITCHING_PROTOCOLS);
    api
}

#[tokio::test]
async fn nodes_that_answer_have_figures() {
    let api = cluster().await;
    let list = api.get(&format!("{METRICS}/nodes")).await.expect(200);
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("NodeMetricsList"), 1));
    let node = api.get(&format!("{METRICS}/nodes/n1")).await.expect(200);
    assert_eq!(node["usage"], json!({"cpu": "250000000n", "memory": "65536Ki"}));
    assert_eq!((&node["window"], &node["timestamp"]), (&json!("1.500s"), &json!("2026-01-01T00:00:00Z")));
    assert_eq!(node["metadata"]["labels"], json!({"at": "n1"}));
    for absent in ["n2", "n3"] {
        let answer = api.get(&format!("{METRICS}/nodes/{absent}")).await;
        assert_eq!(answer.code, 404);
        assert_eq!(answer.message(), format!("nodes.metrics.k8s.io \"{absent}\" not found"));
    }
}

#[tokio::test]
async fn pods_that_run_have_figures() {
    let api = cluster().await;
    for path in ["pods", "namespaces/default/pods", "pods?labelSelector=app%3Dweb"] {
        let list = api.get(&format!("{METRICS}/{path}")).await.expect(200);
        let names: Vec<&Value> =
            list["items"].as_array().unwrap().iter().map(|item| &item["metadata"]["name"]).collect();
        assert_eq!(names, ["web"], "{path}");
    }
    let list = api.get(&format!("{METRICS}/pods?labelSelector=app%3Dother")).await.expect(200);
    assert_eq!(list["items"], json!([]));
    let web = api.get(&format!("{METRICS}/namespaces/default/pods/web")).await.expect(200);
    assert_eq!(web["containers"][1], json!({"name": "b", "usage": {"cpu": "2000000n", "memory": "4Ki"}}));
    assert_eq!(api.get(&format!("{METRICS}/namespaces/default/pods/idle")).await.code, 404);
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let client = api.client(User::admin("a")).await;
    let table = client.get(&format!("{METRICS}/namespaces/default/pods"), &accept).await.expect(200);
    assert_eq!(table["rows"][0]["cells"], json!(["web", "3m", "6Ki", "1.500s"]));
}

#[tokio::test]
async fn figures_cannot_be_written() {
    let api = Api::new().await;
    let answer =
        api.call(Method::POST, &format!("{METRICS}/nodes"), json!({"metadata": {"name": "a"}})).await;
    assert_eq!(answer.code, 405);
    let found = api.get("/apis").await.expect(200);
    assert!(found["groups"].as_array().unwrap().iter().any(|group| group["name"] == "metrics.k8s.io"));
}
