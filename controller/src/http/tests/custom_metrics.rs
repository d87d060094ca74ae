//! `custom.metrics.k8s.io`: how many requests come, from the nodes or from whoever is registered; and what the
//! autoscaler makes of them.

use bytes::Bytes;
use http::{Method, Response, StatusCode, Uri};
use http_body_util::Full;
use serde_json::{Value, json};

use super::autoscaler::until;
use super::harness::{Api, pod};
use super::outside::{self, Outside};
use crate::identity::User;

const GROUP: &str = "/apis/custom.metrics.k8s.io";
const METRICS: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default";
const SCALERS: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const WANTED: &str = "/edgectl.dev/v1/nodes/n1/wanted";

/// A cluster with the Service and Ingress `web` and Pods of it, and a node on which that many requests come.
async fn cluster() -> Api {
    let api = Api::new().await;
    api.make("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
    let labels = json!({"app": "web"});
    let service = json!({"metadata": {"name": "web", "labels": labels},
        "spec": {"selector": labels, "ports": [{"port": 80}]}});
    api.make("/api/v1/namespaces/default/services", service).await;
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    api.make(
        "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
        json!({"metadata": {"name": "web"}, "spec": {"defaultBackend": backend}}),
    )
    .await;
    let mut pods = Vec::new();
    for (name, rate) in [("web-1", 1.5), ("web-2", 0.0)] {
        let mut web = pod(name);
        web["metadata"]["labels"] = labels.clone();
        let web = api.make("/api/v1/namespaces/default/pods", web).await;
        pods.push(
            json!({"namespace": "default", "name": name, "uid": web["metadata"]["uid"], "perSecond": rate}),
        );
    }
    let named = |rate: f64| json!([{"namespace": "default", "name": "web", "perSecond": rate}]);
    let rates =
        json!({"windowSeconds": 15.2, "pods": pods, "services": named(2.0), "ingresses": named(0.0001)});
    let answer = move |uri: &Uri| {
        assert_eq!(uri.path(), "/stats/requests");
        Response::new(Full::new(Bytes::from(rates.to_string())))
    };
    assert_eq!(api.tunnel("n1", "n1", answer).await, StatusCode::SWITCHING_PROTOCOLS);
    api
}

#[tokio::test]
async fn discovery_lists_the_metric_of_each_resource() {
    let api = Api::new().await;
    let group = api.get(GROUP).await.expect(200);
    assert_eq!(group["preferredVersion"]["groupVersion"], "custom.metrics.k8s.io/v1beta2");
    let list = api.get(&format!("{GROUP}/v1beta2")).await.expect(200);
    let names: Vec<&str> =
        list["resources"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    let expected = [
        "ingresses.networking.k8s.io/http_requests_per_second",
        "pods/http_requests_per_second",
        "services/http_requests_per_second",
    ];
    assert_eq!(names, expected);
    assert_eq!(
        (&list["kind"], &list["resources"][0]["kind"]),
        (&json!("APIResourceList"), &json!("MetricValueList"))
    );
    let groups = api.get("/apis").await.expect(200);
    assert!(
        groups["groups"].as_array().unwrap().iter().any(|group| group["name"] == "custom.metrics.k8s.io")
    );
    let accept = [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
    let all = api.client(User::admin("a")).await.get("/apis", &accept).await.expect(200);
    let mut items = all["items"].as_array().unwrap().iter();
    let found = items.find(|item| item["metadata"]["name"] == "custom.metrics.k8s.io").unwrap();
    let pods = &found["versions"][0]["resources"][1];
    assert_eq!(
        (&pods["resource"], &pods["responseKind"]["kind"], &pods["verbs"]),
        (&json!("pods"), &json!(""), &json!([]))
    );
    assert_eq!(pods["subresources"][0]["subresource"], "http_requests_per_second");
    assert_eq!(pods["subresources"][0]["responseKind"]["kind"], "MetricValueList");
}

#[tokio::test]
async fn objects_have_the_rate_of_their_requests() {
    let api = cluster().await;
    let values = async |path: &str| {
        let list = api.get(&format!("{METRICS}/{path}/http_requests_per_second")).await.expect(200);
        let items = list["items"].as_array().unwrap().iter();
        let one = |item: &Value| {
            format!(
                "{}={}",
                item["describedObject"]["name"].as_str().unwrap(),
                item["value"].as_str().unwrap()
            )
        };
        items.map(one).collect::<Vec<_>>().join(" ")
    };
    for (path, expected) in [
        ("pods/*", "web-1=1500m web-2=0"),
        ("pods/web-1", "web-1=1500m"),
        ("services/web", "web=2"),
        ("services/*", "web=2"),
        ("ingresses.networking.k8s.io/web", "web=1m"),
        ("ingresses/web", "web=1m"),
    ] {
        assert_eq!(values(path).await, expected, "{path}");
    }
    let one = api.get(&format!("{METRICS}/services/web/http_requests_per_second")).await.expect(200);
    assert_eq!(
        (&one["kind"], &one["apiVersion"]),
        (&json!("MetricValueList"), &json!("custom.metrics.k8s.io/v1beta2"))
    );
    let item = &one["items"][0];
    assert_eq!(item["metric"], json!({"name": "http_requests_per_second", "selector": null}));
    assert_eq!((&item["describedObject"]["kind"], &item["windowSeconds"]), (&json!("Service"), &json!(15)));
    let older = api.get(&METRICS.replace("v1beta2", "v1beta1")).await;
    assert_eq!(older.code, 404);
    let older = format!("{}/services/web/http_requests_per_second", METRICS.replace("v1beta2", "v1beta1"));
    assert_eq!(api.get(&older).await.expect(200)["items"][0]["metricName"], "http_requests_per_second");
    let selected = api
        .get(&format!("{METRICS}/pods/*/http_requests_per_second?labelSelector=app%3Dother"))
        .await
        .expect(200);
    assert_eq!(selected["items"], json!([]));
    for (path, message) in [
        (
            "services/other/http_requests_per_second",
            "the server could not find the metric http_requests_per_second for services other",
        ),
        ("pods/*/queue_length", "the server could not find the metric queue_length for pods"),
        (
            "pods/*/http_requests_per_second?metricLabelSelector=a%3Db",
            "the server could not find the metric http_requests_per_second for pods",
        ),
    ] {
        let answer = api.get(&format!("{METRICS}/{path}")).await;
        assert_eq!((answer.code, answer.message()), (404, message.to_owned()));
    }
}

#[tokio::test]
async fn what_no_node_says_is_not_known() {
    let api = Api::new().await;
    let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}});
    api.make("/api/v1/namespaces/default/services", service).await;
    assert_eq!(api.get(&format!("{METRICS}/services/web/http_requests_per_second")).await.code, 404);
}

#[tokio::test]
async fn who_may_know_is_asked() {
    let api = cluster().await;
    let ann = api.client(User { name: "ann".into(), ..User::default() }).await;
    let refused = ann.get(&format!("{METRICS}/pods/*/http_requests_per_second"), &[]).await;
    assert_eq!(refused.code, 403);
    assert!(
        refused
            .message()
            .contains("\"pods/http_requests_per_second\" in API group \"custom.metrics.k8s.io\"")
    );
}

/// A Deployment `web` of so many replicas, and an autoscaler that may scale it to zero.
async fn with_scaler(api: &Api, replicas: u32, conditions: Value) {
    let labels = json!({"app": "web"});
    let template = json!({"metadata": {"labels": labels}, "spec": pod("x")["spec"]});
    let web = json!({"metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}});
    api.make(DEPLOYMENTS, web).await;
    let metric = json!({"type": "Object", "object": {"describedObject": {"apiVersion": "v1", "kind": "Service", "name": "web"},
        "metric": {"name": "http_requests_per_second"}, "target": {"type": "AverageValue", "averageValue": "1"}}});
    let scaler = json!({"metadata": {"name": "web"}, "spec": {"minReplicas": 0, "maxReplicas": 10,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "metrics": [metric]}});
    api.make(SCALERS, scaler).await;
    let status = json!({"status": {"desiredReplicas": 0, "conditions": conditions}});
    api.merge(&format!("{SCALERS}/web/status"), status).await.expect(200);
}

fn asleep() -> Value {
    json!([{"type": "ScaledToZero", "status": "True", "reason": "ScaledToZero", "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}])
}

#[tokio::test]
async fn an_autoscaler_follows_the_requests_of_a_service() {
    let api = cluster().await;
    with_scaler(&api, 0, asleep()).await;
    let (scaler, _) = until(&api, "SucceededRescale").await;
    assert_eq!(api.get(&format!("{DEPLOYMENTS}/web")).await.json()["spec"]["replicas"], 2);
    let current = &scaler["status"]["currentMetrics"][0]["object"];
    assert_eq!(
        (&current["current"]["averageValue"], &current["metric"]["name"]),
        (&json!("2"), &json!("http_requests_per_second"))
    );
}

#[tokio::test]
async fn requests_that_wait_bring_a_target_back_at_once() {
    // No node says how many requests come.
    let api = Api::new().await;
    with_scaler(&api, 0, asleep()).await;
    let telling = async {
        // The first look, which finds out nothing.
        until_condition(&api, "FailedGetObjectMetric").await;
        let wanted = json!({"autoscalers": [{"namespace": "default", "name": "web"}]});
        let node = api.client(User::node("n1")).await;
        node.json(Method::POST, WANTED, wanted).await.expect(200);
    };
    let ((scaler, told), ()) = tokio::join!(until(&api, "SucceededRescale"), telling);
    assert_eq!(api.get(&format!("{DEPLOYMENTS}/web")).await.json()["spec"]["replicas"], 1);
    let conditions = scaler["status"]["conditions"].as_array().unwrap().iter();
    let zero: Vec<&Value> = conditions.filter(|one| one["type"] == "ScaledToZero").collect();
    assert_eq!((&zero[0]["status"], &zero[0]["reason"]), (&json!("False"), &json!("NotScaledToZero")));
    assert!(told.contains(&"SuccessfulRescale"), "{told:?}");
}

async fn until_condition(api: &Api, reason: &str) {
    let store = api.server.registry().store();
    let mut cursor = store.watch("/autoscaling/", store.head()).unwrap();
    loop {
        let scaler = api.get(&format!("{SCALERS}/web")).await.expect(200);
        let conditions = scaler["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if conditions.iter().any(|condition| condition["reason"] == reason) {
            return;
        }
        cursor.next().await.unwrap();
    }
}

#[tokio::test]
async fn nodes_see_autoscalers_and_leave_them_alone() {
    let api = Api::new().await;
    with_scaler(&api, 1, json!([])).await;
    let node = api.client(User::node("n1")).await;
    let list = node.get("/apis/autoscaling/v2/horizontalpodautoscalers", &[]).await.expect(200);
    assert_eq!(list["items"][0]["metadata"]["name"], "web");
    assert_eq!(node.json(Method::DELETE, &format!("{SCALERS}/web"), Value::Null).await.code, 403);
}

#[tokio::test]
async fn only_a_node_says_what_waits_on_it() {
    let api = Api::new().await;
    let wanted = json!({"autoscalers": [{"namespace": "default", "name": "web"}]});
    for user in [User::admin("a"), User::node("n2")] {
        let answer = api.client(user).await.json(Method::POST, WANTED, wanted.clone()).await;
        assert_eq!(
            (answer.code, answer.message()),
            (403, "forbidden: only node \"n1\" may say what waits on it".to_owned())
        );
    }
    let name = crate::mirror::Name::new("default", "web");
    assert!(!api.server.wanted().is(&name));
    api.client(User::node("n1")).await.json(Method::POST, WANTED, wanted).await.expect(200);
    assert!(api.server.wanted().is(&name));
}

/// Serves both groups of metrics in the place of ours.
fn adapter() -> Outside {
    Outside::new(&["outside.default.svc"], |parts, _| {
        let of =
            |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!(of("x-remote-user"), "system:serviceaccount:kube-system:horizontal-pod-autoscaler");
        let path = parts.uri.path_and_query().unwrap().as_str();
        let (code, answer) = match path {
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue?labelSelector=of%3Dweb" => (
                200,
                json!({"kind": "ExternalMetricValueList", "items": [{"metricName": "queue", "value": "40"}, {"value": "20"}]}),
            ),
            "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/services/web/hits" => (
                200,
                json!({"items": [{"describedObject": {"name": "web"}, "metricName": "hits", "value": "5500m"}]}),
            ),
            _ => (404, json!({"kind": "Status", "message": format!("no {path}")})),
        };
        let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
        *response.status_mut() = StatusCode::from_u16(code).unwrap();
        response
    })
}

#[tokio::test]
async fn who_is_registered_for_metrics_is_asked_in_our_place() {
    let api = Api::new().await;
    let adapter = adapter();
    adapter.in_a_pod(&api).await;
    outside::service(&api).await;
    let services = "/apis/apiregistration.k8s.io/v1/apiservices";
    for group in ["external.metrics.k8s.io", "custom.metrics.k8s.io"] {
        let service = json!({"metadata": {"name": format!("v1beta1.{group}")}, "spec": {
            "group": group, "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 10,
            "service": {"namespace": "default", "name": "outside"}, "caBundle": adapter.bundle}});
        api.make(services, service).await;
        let condition = json!({"type": "Available", "status": "True", "reason": "Passed", "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        api.merge(
            &format!("{services}/v1beta1.{group}/status"),
            json!({"status": {"conditions": [condition]}}),
        )
        .await
        .expect(200);
    }
    assert_eq!(api.get(&format!("{GROUP}/v1beta2")).await.code, 404, "the group is somebody else's");
    let metrics = api.server.custom_metrics();
    let user = User::controller("horizontal-pod-autoscaler");
    let question = crate::custom_metrics::Question {
        namespace: "default",
        resource: "services",
        name: "web",
        metric: "hits",
        selector: "",
        metric_selector: "",
    };
    let rates = crate::rates::Rates::default();
    assert!(!metrics.is_own());
    assert_eq!(metrics.values(&user, &question, &rates).await, Ok(vec![("web".to_owned(), 5500)]));
    let absent = crate::custom_metrics::Question { metric: "http_requests_per_second", ..question };
    assert_eq!(
        metrics.values(&user, &absent, &rates).await,
        Err(
            "no /apis/custom.metrics.k8s.io/v1beta1/namespaces/default/services/web/http_requests_per_second"
                .to_owned()
        )
    );
    assert_eq!(metrics.external(&user, "default", "queue", "of=web").await, Ok(vec![40_000, 20_000]));
}
