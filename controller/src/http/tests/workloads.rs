//! The kinds of workloads: versions, scales, selectors, over HTTP.

use edge_api::meta;
use http::Method;
use serde_json::{Value, json};

use crate::http::tests::harness::{Api, pod};

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

#[tokio::test]
async fn the_newer_version_of_a_group_is_preferred() {
    let api = Api::new().await;
    let group = api.get("/apis/autoscaling").await.expect(200);
    assert_eq!(group["preferredVersion"]["groupVersion"], "autoscaling/v2");
    assert_eq!(group["versions"][1]["version"], "v1");
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let client = api.client(crate::identity::User::admin("a")).await;
    let groups = client.get("/apis", &[("accept", accept)]).await.expect(200);
    let groups = groups["items"].as_array().unwrap();
    let autoscaling = groups.iter().find(|group| group["metadata"]["name"] == "autoscaling").unwrap();
    assert_eq!(autoscaling["versions"][0]["version"], "v2");
}

#[tokio::test]
async fn stateful_sets_and_replication_controllers_scale() {
    let api = Api::new().await;
    let set = json!({"metadata": {"name": "a"}, "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template()}});
    let controller = json!({"metadata": {"name": "a"}, "spec": {"template": template()}});
    for (path, object) in [
        ("/apis/apps/v1/namespaces/default/statefulsets", set),
        ("/api/v1/namespaces/default/replicationcontrollers", controller),
    ] {
        api.make(path, object).await;
        let scale = format!("{path}/a/scale");
        let read = api.get(&scale).await.expect(200);
        assert_eq!((&read["spec"]["replicas"], &read["status"]["selector"]), (&json!(1), &json!("app=a")));
        api.merge(&scale, json!({"spec": {"replicas": 4}})).await.expect(200);
        let now = api.get(&format!("{path}/a")).await.expect(200);
        assert_eq!((&now["spec"]["replicas"], &now["metadata"]["generation"]), (&json!(4), &json!(2)));
    }
}

#[tokio::test]
async fn an_autoscaler_is_one_object_in_two_versions() {
    let api = Api::new().await;
    let (v1, v2) = ["v1", "v2"]
        .map(|version| format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers"))
        .into();
    let spec = json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 50,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}});
    api.make(&v1, json!({"metadata": {"name": "a"}, "spec": spec})).await;
    let newer = api.get(&format!("{v2}/a")).await.expect(200);
    assert_eq!(newer["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50);
    let memory = json!({"type": "Resource", "resource": {"name": "memory",
        "target": {"type": "AverageValue", "averageValue": "1Gi"}}});
    let changed = api.merge(&format!("{v2}/a"), json!({"spec": {"metrics": [memory]}})).await.expect(200);
    let older = api.get(&format!("{v1}/a")).await.expect(200);
    assert_eq!(older["apiVersion"], "autoscaling/v1");
    assert_eq!(older["spec"].get("targetCPUUtilizationPercentage"), None);
    assert!(older["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"].is_string());
    api.call(Method::PUT, &format!("{v1}/a"), older).await.expect(200);
    let same = api.get(&format!("{v2}/a")).await.expect(200);
    assert_eq!(same["spec"], changed["spec"]);
}

#[tokio::test]
async fn a_job_selects_by_its_own_uid_whatever_name_it_gets() {
    let api = Api::new().await;
    let path = "/apis/batch/v1/namespaces/default/jobs";
    let mut template = template();
    template["spec"]["restartPolicy"] = json!("Never");
    let made =
        api.make(path, json!({"metadata": {"generateName": "a-"}, "spec": {"template": template}})).await;
    let labels = &made["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels["batch.kubernetes.io/job-name"], made["metadata"]["name"]);
    assert_eq!(labels["batch.kubernetes.io/controller-uid"], made["metadata"]["uid"]);
    let found = api.get(&format!("{path}?fieldSelector=status.successful%3D0")).await.expect(200);
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn nobody_keeps_component_statuses() {
    let api = Api::new().await;
    let list = api.get("/api/v1/componentstatuses").await.expect(200);
    assert_eq!((&list["kind"], &list["items"]), (&json!("ComponentStatusList"), &json!([])));
    let refused =
        api.call(Method::POST, "/api/v1/componentstatuses", json!({"metadata": {"name": "a"}})).await;
    assert_eq!(refused.code, 405);
}

#[tokio::test]
async fn an_eviction_is_taken_from_the_budget_or_refused_with_429() {
    let api = Api::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let evict = json!({"metadata": {"name": "web"}});
    let make = async || {
        let mut web = pod("web");
        web["metadata"]["labels"] = json!({"app": "web"});
        web["spec"]["nodeName"] = json!("n");
        api.make(pods, web).await;
        let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        api.merge(&format!("{pods}/web/status"), json!({ "status": status })).await.expect(200);
    };
    make().await;
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}});
    api.make(budgets, json!({"metadata": {"name": "b"}, "spec": spec})).await;
    let path = format!("{pods}/web/eviction");
    let unsure = api.call(Method::POST, &path, evict.clone()).await;
    assert_eq!(unsure.code, 429);
    assert_eq!(unsure.message(), "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(unsure.json()["details"]["retryAfterSeconds"], 10);
    let allow = async |allowed: i64| {
        let status = json!({"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 1,
            "desiredHealthy": 1, "expectedPods": 1});
        api.merge(&format!("{budgets}/b/status"), json!({ "status": status })).await.expect(200);
    };
    allow(0).await;
    let refused = api.call(Method::POST, &path, evict.clone()).await;
    assert_eq!(refused.code, 429);
    let cause = &refused.json()["details"]["causes"][0];
    assert_eq!(cause["reason"], "DisruptionBudget");
    assert_eq!(cause["message"], "The disruption budget b needs 1 healthy pods and has 1 currently");
    allow(1).await;
    api.call(Method::POST, &path, evict.clone()).await.expect(201);
    let budget = api.get(&format!("{budgets}/b")).await.expect(200);
    assert_eq!(budget["status"]["disruptionsAllowed"], 0);
    assert!(budget["status"]["disruptedPods"]["web"].is_string());
    let evicted = api.get(&format!("{pods}/web")).await.expect(200);
    assert!(evicted["metadata"]["deletionTimestamp"].is_string());
    let why = meta::condition(&evicted, "DisruptionTarget").unwrap();
    assert_eq!((&why["status"], &why["reason"]), (&json!("True"), &json!("EvictionByEvictionAPI")));
    let second = json!({"metadata": {"name": "c"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}});
    api.call(Method::DELETE, &format!("{pods}/web?gracePeriodSeconds=0"), Value::Null).await.expect(200);
    make().await;
    api.make(budgets, second).await;
    let many = api.call(Method::POST, &path, evict).await;
    assert_eq!(many.code, 500);
    assert!(many.message().starts_with("This pod has more than one PodDisruptionBudget"));
}
