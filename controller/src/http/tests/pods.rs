//! Parts of Pods that change through subresources of their own.

use http::Method;
use serde_json::{Value, json};

use super::harness::{Api, pod};
use crate::identity::User;

const POD: &str = "/api/v1/namespaces/default/pods/p";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

async fn with_pod(resources: Value) -> Api {
    let api = Api::new().await;
    let mut pod = pod("p");
    pod["spec"]["containers"][0]["resources"] = resources;
    api.make("/api/v1/namespaces/default/pods", pod).await;
    api
}

/// What `kubectl debug p --image=toolbox:1 --target=…` sends.
fn debug(name: &str, target: &str) -> Value {
    json!({"spec": {"ephemeralContainers": [{
        "name": name, "image": "toolbox:1", "imagePullPolicy": "IfNotPresent", "resources": {},
        "targetContainerName": target, "stdin": true, "tty": true, "terminationMessagePolicy": "File",
    }]}})
}

#[tokio::test]
async fn a_container_is_put_into_a_pod_to_look_at_it() {
    let api = with_pod(json!({})).await;
    let path = format!("{POD}/ephemeralcontainers");
    let target = api.get(POD).await.json()["spec"]["containers"][0]["name"].as_str().unwrap().to_owned();
    let one = api.patch(&path, STRATEGIC, debug("one", &target)).await.expect(200);
    assert_eq!(one["spec"]["ephemeralContainers"][0]["targetContainerName"], json!(target));
    assert_eq!(one["metadata"]["generation"], 2);
    let two = api.patch(&path, STRATEGIC, debug("two", &target)).await.expect(200);
    assert_eq!(two["spec"]["ephemeralContainers"].as_array().unwrap().len(), 2);
    assert_eq!(api.get(&path).await.expect(200), two);

    let wrong = api.patch(&path, STRATEGIC, debug("three", "nobody")).await;
    assert_eq!((wrong.code, wrong.message().contains("targetContainerName: Not found")), (422, true));
    let gone = api.merge(&path, json!({"spec": {"ephemeralContainers": null}})).await;
    assert_eq!(gone.code, 422);
    assert!(gone.message().contains("existing ephemeral containers \"one\" may not be removed"));
    let through_the_pod = api.merge(POD, json!({"spec": {"ephemeralContainers": null}})).await;
    assert!(through_the_pod.message().contains("pod updates may not change fields other than"));

    let mut whole = two;
    whole["spec"]["ephemeralContainers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "three", "image": "x:1"}));
    whole["spec"]["containers"][0]["image"] = json!("other:1");
    let three = api.call(Method::PUT, &path, whole).await.expect(200);
    assert_eq!(three["spec"]["ephemeralContainers"][2]["name"], "three");
    assert_ne!(three["spec"]["containers"][0]["image"], "other:1");
}

#[tokio::test]
async fn a_new_pod_brings_no_ephemeral_containers() {
    let api = Api::new().await;
    let mut pod = pod("p");
    pod["spec"]["ephemeralContainers"] = json!([{"name": "one", "image": "toolbox:1"}]);
    let refused = api.call(Method::POST, "/api/v1/namespaces/default/pods", pod).await;
    assert!(refused.message().contains("spec.ephemeralContainers: Forbidden: cannot be set on create"));
}

#[tokio::test]
async fn a_pod_is_resized_through_its_subresource_alone() {
    let api = with_pod(json!({"requests": {"cpu": "1", "memory": "1Gi"}})).await;
    let name = api.get(POD).await.json()["spec"]["containers"][0]["name"].clone();
    let path = format!("{POD}/resize");
    let patch = |requests: Value| json!({"spec": {"containers": [{"name": name, "resources": {"requests": requests}}]}});
    let resized = api.patch(&path, STRATEGIC, patch(json!({"cpu": "1500m"}))).await.expect(200);
    let requests = &resized["spec"]["containers"][0]["resources"]["requests"];
    assert_eq!((&requests["cpu"], &requests["memory"]), (&json!("1500m"), &json!("1Gi")));
    assert_eq!(resized["metadata"]["generation"], 2);
    let otherwise = api.patch(POD, STRATEGIC, patch(json!({"cpu": "2"}))).await;
    assert_eq!(otherwise.code, 422);
    let removed = api.patch(&path, STRATEGIC, patch(json!({"memory": null}))).await;
    assert!(removed.message().contains("resource requests cannot be removed"), "{}", removed.message());
    let limits = json!({"cpu": "1500m", "memory": "1Gi"});
    let class = json!({"spec": {"containers": [{"name": name, "resources": {"limits": limits}}]}});
    let refused = api.patch(&path, STRATEGIC, class).await;
    assert!(refused.message().contains("Pod QOS Class may not change as a result of resizing"));
}

#[tokio::test]
async fn a_resize_counts_against_the_quota() {
    let api = Api::new().await;
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": "2"}}});
    api.make("/api/v1/namespaces/default/resourcequotas", quota).await;
    let mut one = pod("p");
    one["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    api.make("/api/v1/namespaces/default/pods", one.clone()).await;
    one["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("3");
    let patch = json!({"spec": {"containers": one["spec"]["containers"]}});
    let more = api.patch(&format!("{POD}/resize"), STRATEGIC, patch).await;
    assert_eq!(more.code, 403, "{}", more.message());
    assert!(more.message().contains("exceeded quota: q"), "{}", more.message());
}

#[tokio::test]
async fn only_who_is_allowed_the_subresource_may_use_it() {
    let api = with_pod(json!({})).await;
    let verbs = json!(["patch", "update"]);
    let rule = |resource: &str| json!([{"apiGroups": [""], "resources": [resource], "verbs": verbs}]);
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    api.make(&format!("{roles}/roles"), json!({"metadata": {"name": "r"}, "rules": rule("pods")})).await;
    let binding = json!({
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"}],
    });
    api.make(&format!("{roles}/rolebindings"), binding).await;
    let ann = api.client(User { name: "ann".into(), ..User::default() }).await;
    let path = format!("{POD}/ephemeralcontainers");
    let body = bytes::Bytes::from(debug("one", "").to_string());
    let headers = [("content-type", STRATEGIC)];
    assert_eq!(ann.send(Method::PATCH, &path, &headers, body.clone()).await.code, 403);
    api.merge(&format!("{roles}/roles/r"), json!({"rules": rule("pods/ephemeralcontainers")}))
        .await
        .expect(200);
    assert_eq!(ann.send(Method::PATCH, &path, &headers, body).await.code, 200);
}
