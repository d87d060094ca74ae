//! Rollouts that protect themselves, with the whole control plane.

use bytes::Bytes;
use edge_api::time::Timestamp;
use http::{Method, Response, Uri};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::controllers::{Controllers, Outside};
use crate::http::tests::harness::{Api, NOW, config_map};
use crate::mirror::Settings;
use crate::reconcile::watch_errors;
use crate::requests::Requests;

const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";
const SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";
const PODS: &str = "/api/v1/namespaces/default/pods";
const LONG_AGO: &str = "2026-01-01T00:00:00Z";

/// A cluster of one node, on which every Pod is ready whose image is not `bad`.
struct Cluster {
    api: Api,
    _controllers: Controllers,
}

impl Cluster {
    async fn new() -> Cluster {
        let api = Api::new().await;
        let now = || Timestamp::from_seconds(NOW);
        let registry = api.server.registry();
        let controllers =
            Controllers::start(registry, Outside::of(registry), Settings::default(), now, || {});
        api.make("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
        let ready = json!({"type": "Ready", "status": "True", "lastHeartbeatTime": now()});
        let status =
            json!({"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "50"}, "conditions": [ready]});
        api.merge("/api/v1/nodes/n1/status", json!({ "status": status })).await.expect(200);
        Cluster { api, _controllers: controllers }
    }

    async fn deploy(&self, annotations: Value) {
        let container = json!({"name": "c", "image": "v1", "envFrom": [{"configMapRef": {"name": "a"}}]});
        let spec = json!({"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}});
        let web = json!({"metadata": {"name": "web", "annotations": annotations}, "spec": spec});
        self.api.make(WEB.trim_end_matches("/web"), web).await;
        self.until("the first rollout", async || self.is_complete().await).await;
    }

    async fn web(&self) -> Value {
        self.api.get(WEB).await.expect(200)
    }

    async fn image(&self) -> Value {
        self.web().await["spec"]["template"]["spec"]["containers"][0]["image"].clone()
    }

    async fn condition(&self, kind: &str) -> Value {
        let web = self.web().await;
        let all = web["status"]["conditions"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
    }

    async fn is_complete(&self) -> bool {
        let web = self.web().await;
        let count = |field: &str| web["status"][field].as_i64();
        web["status"]["observedGeneration"] == web["metadata"]["generation"]
            && ["updatedReplicas", "replicas", "availableReplicas"]
                .iter()
                .all(|field| count(field) == Some(2))
    }

    async fn roll_out(&self, image: &str) {
        let patch =
            json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image}]);
        self.api.patch(WEB, "application/json-patch+json", patch).await.expect(200);
    }

    /// Makes the controllers believe that nothing has happened for a long time.
    async fn age(&self) {
        let progressing = json!({"type": "Progressing", "lastUpdateTime": LONG_AGO});
        let patch = json!({"status": {"conditions": [progressing]}});
        let media = "application/strategic-merge-patch+json";
        self.api.patch(&format!("{WEB}/status"), media, patch).await.expect(200);
    }

    async fn events(&self) -> Vec<(String, String)> {
        let events = self.api.get("/api/v1/namespaces/default/events").await.expect(200);
        let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
        let all = events["items"].as_array().unwrap().iter();
        all.map(|event| (text(event, "reason"), text(event, "message"))).collect()
    }

    /// Lets the node do its work until `holds`.
    async fn until<F: AsyncFn() -> bool>(&self, what: &str, holds: F) {
        let store = self.api.server.registry().store();
        let mut cursor = store.watch("/", store.head()).unwrap();
        let waiting = async {
            loop {
                for pod in self.pods().await {
                    self.tend(&pod).await;
                }
                if holds().await {
                    return;
                }
                cursor.next().await.unwrap();
            }
        };
        if tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await.is_err() {
            panic!("{what} did not happen: {:#}", self.web().await);
        }
    }

    async fn pods(&self) -> Vec<Value> {
        self.api.get(PODS).await.expect(200)["items"].as_array().unwrap().clone()
    }

    async fn tend(&self, pod: &Value) {
        let path = format!("{PODS}/{}", pod["metadata"]["name"].as_str().unwrap());
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            self.api.call(Method::DELETE, &format!("{path}?gracePeriodSeconds=0"), Value::Null).await;
        } else if pod["spec"]["nodeName"] == "n1"
            && pod["status"]["phase"] != "Running"
            && pod["spec"]["containers"][0]["image"] != "bad"
        {
            let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": LONG_AGO});
            let status = json!({"phase": "Running", "conditions": [ready]});
            self.api.merge(&format!("{path}/status"), json!({ "status": status })).await;
        }
    }
}

#[tokio::test]
async fn a_wish_that_is_none_is_refused_with_what_is_allowed() {
    let api = Api::new().await;
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}}});
    let refused = async |kind: &str, key: &str, value: &str| {
        let object = json!({"metadata": {"name": "web", "annotations": {key: value}}, "spec": spec});
        api.call(Method::POST, &format!("/apis/apps/v1/namespaces/default/{kind}"), object).await
    };
    let answer = refused("deployments", "edgectl.dev/rollback-on", "luck").await;
    assert_eq!(answer.code, 422);
    let cause = &answer.json()["details"]["causes"][0];
    assert_eq!(cause["field"], "metadata.annotations[edgectl.dev/rollback-on]");
    assert_eq!(cause["reason"], "FieldValueNotSupported");
    let supported = "supported values: \"error-rate\", \"progress-deadline\"";
    assert!(answer.message().ends_with(supported), "{}", answer.message());
    for kind in ["deployments", "statefulsets", "daemonsets"] {
        let answer = refused(kind, "edgectl.dev/restart-on-change", "pod/a").await;
        assert_eq!(answer.code, 422, "{kind}");
    }
}

#[tokio::test]
async fn a_rollout_that_misses_its_deadline_goes_back_and_says_so() {
    let cluster = Cluster::new().await;
    cluster.api.make("/api/v1/namespaces/default/configmaps", config_map("a", "1")).await;
    cluster.deploy(json!({"edgectl.dev/rollback-on": "progress-deadline"})).await;
    cluster.roll_out("bad").await;
    let stuck = async || {
        let all_of = cluster.pods().await;
        let bad = all_of.iter().any(|pod| pod["spec"]["containers"][0]["image"] == "bad");
        bad && cluster.condition("Progressing").await["reason"] == "ReplicaSetUpdated"
    };
    cluster.until("the bad rollout", stuck).await;
    cluster.age().await;
    let back = async || {
        cluster.image().await == "v1"
            && cluster.is_complete().await
            && cluster.condition("RolledBack").await["status"] == "True"
            && cluster.events().await.iter().any(|(reason, _)| reason == "RolledBack")
    };
    cluster.until("the way back", back).await;
    let events = cluster.events().await;
    let told = events.iter().find(|(reason, _)| reason == "RolledBack").unwrap();
    assert!(told.1.starts_with("Rolled back from revision 2 to revision 1: ReplicaSet "), "{told:?}");
    assert_eq!(cluster.condition("RolledBack").await["reason"], "ProgressDeadlineExceeded");
}

#[tokio::test]
async fn a_rollout_whose_pods_fail_requests_goes_back() {
    let cluster = Cluster::new().await;
    cluster.api.make("/api/v1/namespaces/default/configmaps", config_map("a", "1")).await;
    cluster.deploy(json!({"edgectl.dev/rollback-on": "error-rate"})).await;
    cluster.age().await;
    cluster.roll_out("v2").await;
    let rolled_out = async || cluster.is_complete().await && cluster.image().await == "v2";
    cluster.until("the second rollout", rolled_out).await;
    let counters: Vec<String> = cluster
        .pods()
        .await
        .iter()
        .filter(|pod| pod["spec"]["containers"][0]["image"] == "v2")
        .map(|pod| format!("{{container=\"c\",namespace=\"default\",pod={}}}", pod["metadata"]["name"]))
        .flat_map(|labels| {
            [
                format!("edged_container_requests_total{labels} 20\n"),
                format!("edged_container_failed_requests_total{labels} 2\n"),
            ]
        })
        .collect();
    let text = counters.concat();
    let answer = move |uri: &Uri| {
        assert_eq!(uri.path(), "/metrics");
        Response::new(Full::new(Bytes::from(text.clone())))
    };
    cluster.api.tunnel("n1", "n1", answer).await;
    let (registry, requests) =
        (cluster.api.server.registry().clone(), Requests::new(cluster.api.server.tunnels().clone()));
    let watching = watch_errors(registry, requests, CancellationToken::new());
    let back =
        async || cluster.image().await == "v1" && cluster.condition("RolledBack").await["status"] == "True";
    tokio::select! {
        ended = watching => panic!("{ended:?}"),
        () = cluster.until("the way back", back) => {}
    }
    let condition = cluster.condition("RolledBack").await;
    assert_eq!(condition["reason"], "ErrorRateExceeded");
    let message = condition["message"].as_str().unwrap();
    assert!(
        message.ends_with(" failed 4 of 40 requests within 60s, more than a share of 0.05."),
        "{message}"
    );
}

#[tokio::test]
async fn a_changed_config_map_restarts_the_workload_once() {
    let cluster = Cluster::new().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    cluster.api.make(maps, config_map("a", "1")).await;
    cluster.deploy(json!({"edgectl.dev/restart-on-change": "all"})).await;
    let digest = "edgectl.dev/config-digest";
    let noted = async || cluster.web().await["metadata"]["annotations"][digest].is_string();
    cluster.until("the digest", noted).await;
    let sets = async || cluster.api.get(SETS).await.expect(200)["items"].as_array().unwrap().len();
    assert_eq!(sets().await, 1, "Pods have it from the beginning");
    cluster.api.merge(&format!("{maps}/a"), json!({"data": {"a": "2"}})).await.expect(200);
    let in_template = async || {
        let web = cluster.web().await;
        let template = &web["spec"]["template"]["metadata"]["annotations"];
        template[digest].is_string()
            && web["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
            && cluster.is_complete().await
            && cluster.events().await.iter().any(|(reason, _)| reason == "ConfigChanged")
    };
    cluster.until("the restart", in_template).await;
    assert_eq!(sets().await, 2);
    let pods = cluster.pods().await;
    let staying = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    assert!(staying.clone().count() == 2);
    assert!(staying.into_iter().all(|pod| pod["metadata"]["annotations"][digest].is_string()));
    let told = cluster.events().await.into_iter().find(|(reason, _)| reason == "ConfigChanged").unwrap();
    assert_eq!(told.1, "Restarting Pods for configmap/a");
}
