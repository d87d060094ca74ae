//! Autoscalers over the API, with the figures of a node.

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::harness::{Api, pod};

const SCALERS: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
const TARGETS: &str = "/apis/example.com/v1/namespaces/default/farms";

fn scaler(api_version: &str, kind: &str) -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"minReplicas": 1, "maxReplicas": 10,
        "scaleTargetRef": {"apiVersion": api_version, "kind": kind, "name": "web"},
        "metrics": [{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 50}}}]}})
}

/// A Pod on a node that says that it uses all it asks for.
async fn with_load() -> Api {
    let api = Api::new().await;
    api.make("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
    let mut web = pod("web-1");
    web["metadata"]["labels"] = json!({"app": "web"});
    web["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "100m"}});
    let web = api.make("/api/v1/namespaces/default/pods", web).await;
    let binding = json!({"target": {"kind": "Node", "name": "n1"}});
    api.call(Method::POST, "/api/v1/namespaces/default/pods/web-1/binding", binding).await.expect(201);
    let status = json!({"status": {"phase": "Running", "startTime": "2020-01-01T00:00:00Z", "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:05Z"}]}});
    api.merge("/api/v1/namespaces/default/pods/web-1/status", status).await.expect(200);
    let cpu = json!({"time": "2026-01-01T00:00:00Z", "usageNanoCores": 100_000_000});
    let summary = json!({"node": {"cpu": cpu}, "windowSeconds": 1.5, "pods": [{
        "podRef": {"uid": web["metadata"]["uid"]},
        "containers": [{"name": "main", "cpu": cpu, "memory": {"workingSetBytes": 1024}}]}]});
    api.tunnel("n1", "n1", move |_| Response::new(Full::new(Bytes::from(summary.to_string())))).await;
    api
}

/// Runs the autoscaler until the status of `web` has a condition of this reason; the autoscaler then, and the reasons
/// of what was told.
pub async fn until(api: &Api, reason: &str) -> (Value, Vec<&'static str>) {
    let (notes, mut inbox) = mpsc::channel(64);
    let registry = api.server.registry().clone();
    let stop = CancellationToken::new();
    let measures = crate::reconcile::Measures {
        registry: registry.clone(),
        usage: api.server.usage().clone(),
        custom_metrics: api.server.custom_metrics().clone(),
        wanted: api.server.wanted().clone(),
    };
    let running = crate::reconcile::autoscale(measures, notes, stop.clone());
    let waiting = async {
        let mut cursor = registry.store().watch("/autoscaling/", registry.store().head()).unwrap();
        loop {
            let scaler = api.get(&format!("{SCALERS}/web")).await.expect(200);
            let conditions = scaler["status"]["conditions"].as_array().cloned().unwrap_or_default();
            if conditions.iter().any(|condition| condition["reason"] == reason) {
                stop.cancel();
                return scaler;
            }
            cursor.next().await.unwrap();
        }
    };
    let (ended, scaler) = tokio::join!(running, waiting);
    ended.unwrap();
    let mut told = Vec::new();
    while let Ok((account, note)) = inbox.try_recv() {
        assert_eq!(account, "horizontal-pod-autoscaler");
        told.push(note.reason);
    }
    (scaler, told)
}

#[tokio::test]
async fn a_deployment_under_load_gets_more_replicas() {
    let api = with_load().await;
    let labels = json!({"app": "web"});
    let template = json!({"metadata": {"labels": labels}, "spec": pod("x")["spec"]});
    let web = json!({"metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}});
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    api.make(deployments, web).await;
    api.make(SCALERS, scaler("apps/v1", "Deployment")).await;
    let (scaler, told) = until(&api, "SucceededRescale").await;
    assert_eq!(api.get(&format!("{deployments}/web")).await.json()["spec"]["replicas"], 2);
    assert_eq!(scaler["status"]["desiredReplicas"], 2);
    assert_eq!(scaler["status"]["currentMetrics"][0]["resource"]["current"]["averageUtilization"], 100);
    assert!(told.contains(&"SuccessfulRescale"), "{told:?}");
}

#[tokio::test]
async fn a_custom_resource_with_a_scale_is_scaled() {
    let api = with_load().await;
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let scale = json!({"specReplicasPath": ".spec.count", "statusReplicasPath": ".status.count", "labelSelectorPath": ".status.selector"});
    let definition = json!({"metadata": {"name": "farms.example.com"}, "spec": {"group": "example.com",
        "scope": "Namespaced", "names": {"plural": "farms", "kind": "Farm"}, "versions": [{
            "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}, "scale": scale}}]}});
    api.make("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await;
    api.establish("farms.example.com").await.expect(200);
    api.make(TARGETS, json!({"metadata": {"name": "web"}, "apiVersion": "example.com/v1", "kind": "Farm", "spec": {"count": 1}})).await;
    let status = json!({"status": {"count": 1, "selector": "app=web"}});
    api.merge(&format!("{TARGETS}/web/status"), status).await.expect(200);
    api.make(SCALERS, scaler("example.com/v1", "Farm")).await;
    until(&api, "SucceededRescale").await;
    assert_eq!(api.get(&format!("{TARGETS}/web")).await.json()["spec"]["count"], 2);
}

#[tokio::test]
async fn a_target_that_is_not_there_or_cannot_be_scaled_is_told() {
    let api = Api::new().await;
    api.make(SCALERS, scaler("apps/v1", "Deployment")).await;
    let (scaler_of_nothing, told) = until(&api, "FailedGetScale").await;
    let message = &scaler_of_nothing["status"]["conditions"][0]["message"];
    assert!(message.as_str().unwrap().contains("deployments.apps \"web\" not found"), "{message}");
    assert_eq!(told, ["FailedGetScale"]);
    let api = Api::new().await;
    api.make(SCALERS, scaler("v1", "ConfigMap")).await;
    let (scaler, _) = until(&api, "FailedGetScale").await;
    let message = &scaler["status"]["conditions"][0]["message"];
    assert!(
        message.as_str().unwrap().contains("no matches for kind \"ConfigMap\" in group \"\""),
        "{message}"
    );
}
