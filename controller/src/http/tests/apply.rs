//! Server-side apply and owners of fields.

use http::Method;
use serde_json::{Value, json};

use crate::http::tests::harness::{Answer, Api};
use crate::identity::User;

const MAP: &str = "/api/v1/namespaces/default/configmaps/m";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/d";
const APPLY: &str = "application/apply-patch+yaml";

async fn apply(api: &Api, path: &str, config: Value) -> Answer {
    api.patch(path, APPLY, config).await
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data})
}

/// Managers with their operations, and what they own in `part`.
fn owners(object: &Value, part: &str) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let told = entries.iter().map(|entry| {
        let fields = entry["fieldsV1"][part].as_object().cloned().unwrap_or_default();
        let fields: Vec<&str> = fields.keys().map(String::as_str).filter(|key| *key != ".").collect();
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        format!("{} {}{}: {}", text("operation"), text("manager"), text("subresource"), fields.join(" "))
    });
    told.collect()
}

#[tokio::test]
async fn applying_creates_changes_and_removes() {
    let api = Api::new().await;
    let path = format!("{MAP}?fieldManager=one");
    let client = api.client(User::admin("admin")).await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: m\ndata:\n  a: '1'\n  b: '2'\n";
    let made = client.send(Method::PATCH, &path, &[("content-type", APPLY)], yaml.into()).await.expect(201);
    assert_eq!(owners(&made, "f:data"), ["Apply one: f:a f:b"]);
    assert_eq!(made["metadata"]["managedFields"][0]["fieldsType"], "FieldsV1");
    assert_eq!(made["metadata"]["managedFields"][0]["apiVersion"], "v1");
    let same = apply(&api, &path, map(json!({"a": "1", "b": "2"}))).await.expect(200);
    assert_eq!(same, made, "what changes nothing writes nothing");
    assert_eq!(api.get(MAP).await.expect(200), made, "owners are stored");
    let theirs = apply(&api, &format!("{MAP}?fieldManager=two"), map(json!({"b": "2", "c": "3"}))).await;
    assert_eq!(owners(&theirs.expect(200), "f:data"), ["Apply one: f:a f:b", "Apply two: f:b f:c"]);
    let less = apply(&api, &path, map(json!({}))).await.expect(200);
    assert_eq!(less["data"], json!({"b": "2", "c": "3"}));
    let dry = apply(&api, &format!("{MAP}2?fieldManager=x&dryRun=All"), json!({"data": {"a": "1"}})).await;
    assert_eq!((dry.code, api.get(&format!("{MAP}2")).await.code), (201, 404));
}

#[tokio::test]
async fn conflicts_name_the_owner_until_forced() {
    let api = Api::new().await;
    apply(&api, &format!("{MAP}?fieldManager=one"), map(json!({"a": "1"}))).await.expect(201);
    let two = format!("{MAP}?fieldManager=two");
    let refused = apply(&api, &two, map(json!({"a": "2"}))).await;
    assert_eq!(refused.code, 409);
    assert_eq!(refused.message(), "Apply failed with 1 conflict: conflict with \"one\": .data.a");
    let status = refused.json();
    assert_eq!(status["reason"], "Conflict");
    let cause =
        json!({"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.a"});
    assert_eq!(status["details"]["causes"], json!([cause]));
    let forced = apply(&api, &format!("{two}&force=true"), map(json!({"a": "2"}))).await.expect(200);
    assert_eq!(
        (&forced["data"], owners(&forced, "f:data")),
        (&json!({"a": "2"}), vec!["Apply two: f:a".into()])
    );
}

#[tokio::test]
async fn every_write_of_a_user_is_recorded() {
    let api = Api::new().await;
    let labels = json!({"a": "b"});
    let container = json!({"name": "c", "image": "file:a", "ports": [{"containerPort": 80}]});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    });
    let made =
        api.call(Method::POST, &format!("{DEPLOYMENTS}?fieldManager=cli"), deployment).await.expect(201);
    assert!(owners(&made, "f:spec")[0].starts_with("Update cli: f:progressDeadlineSeconds f:replicas "));
    let scale = json!({"spec": {"replicas": 4}});
    let media = "application/merge-patch+json";
    api.patch(&format!("{DEPLOYMENT}/scale?fieldManager=auto"), media, scale).await.expect(200);
    let status = json!({"status": {"replicas": 4}});
    api.patch(&format!("{DEPLOYMENT}/status?fieldManager=auto"), media, status).await.expect(200);
    let now = api.get(DEPLOYMENT).await.expect(200);
    assert_eq!(now["spec"]["replicas"], 4);
    assert!(owners(&now, "f:spec").contains(&"Update autoscale: f:replicas".to_owned()));
    assert!(!owners(&now, "f:spec").concat().contains("f:progressDeadlineSeconds f:replicas"));
    assert!(owners(&now, "f:status").contains(&"Update autostatus: f:replicas".to_owned()));
    let config = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 2}});
    let refused = apply(&api, &format!("{DEPLOYMENT}?fieldManager=me"), config.clone()).await;
    let owner = "conflict with \"auto\" with subresource \"scale\" using apps/v1 at 2027-01-15T08:00:00Z";
    assert_eq!(refused.message(), format!("Apply failed with 1 conflict: {owner}: .spec.replicas"));
    let forced = apply(&api, &format!("{DEPLOYMENT}?fieldManager=me&force=true"), config).await.expect(200);
    assert_eq!((&forced["spec"]["replicas"], &forced["metadata"]["generation"]), (&json!(2), &json!(3)));
    let same = api.call(Method::PUT, &format!("{DEPLOYMENT}?fieldValidation=Strict"), forced.clone()).await;
    assert_eq!(same.expect(200), forced, "owners may be sent back");
}

#[tokio::test]
async fn nodes_leave_owners_as_they_are() {
    let api = Api::new().await;
    let node = "/api/v1/nodes/n1";
    let client = api.client(User::node("n1")).await;
    let created = json!({"metadata": {"name": "n1"}});
    let made = client.json(Method::POST, "/api/v1/nodes", created).await.expect(201);
    assert!(made["metadata"].get("managedFields").is_none());
    let media = [("content-type", "application/merge-patch+json")];
    let labelled = format!("{node}?fieldManager=kubectl-label");
    let labelled = api.merge(&labelled, json!({"metadata": {"labels": {"a": "b"}}})).await.expect(200);
    let owned = &labelled["metadata"]["managedFields"];
    assert_eq!(owned[0]["manager"], "kubectl-label");
    let status = json!({"status": {"capacity": {"cpu": "1"}}}).to_string();
    let path = format!("{node}/status");
    let told = client.send(Method::PATCH, &path, &media, status.into()).await.expect(200);
    assert_eq!(&told["metadata"]["managedFields"], owned);
}

#[tokio::test]
async fn what_cannot_be_applied_is_refused() {
    let api = Api::new().await;
    let nobody = apply(&api, MAP, map(json!({}))).await;
    let why =
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
    assert_eq!((nobody.code, nobody.message().as_str()), (422, why));
    let forced = api.merge(&format!("{MAP}?force=true"), json!({})).await;
    assert_eq!(forced.code, 422, "{}", forced.message());
    let path = format!("{MAP}?fieldManager=one");
    for (config, words) in [
        (json!({"metadata": {"managedFields": [{"manager": "x"}]}}), "metadata.managedFields must be nil"),
        (json!({"dta": {}}), "unknown field \"dta\""),
        (json!({"metadata": {"name": "other"}}), "does not match the name on the URL"),
        (json!([1]), "is not an object"),
    ] {
        let answer = apply(&api, &path, config).await;
        assert_eq!(answer.code, 400, "{words}: {}", answer.message());
        assert!(answer.message().contains(words), "{words}: {}", answer.message());
    }
    let stale = json!({"metadata": {"resourceVersion": "1"}});
    assert_eq!(apply(&api, &path, stale.clone()).await.code, 404);
    apply(&api, &path, map(json!({}))).await.expect(201);
    assert_eq!(apply(&api, &path, stale).await.code, 409);
}

#[tokio::test]
async fn kubectl_may_change_what_it_applied_from_the_client() {
    let api = Api::new().await;
    let mut object = map(json!({"a": "1", "b": "1", "c": "1"}));
    let last = object.to_string();
    object["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": last});
    let maps = "/api/v1/namespaces/default/configmaps?fieldManager=kubectl-client-side-apply";
    api.make(maps, object).await;
    api.merge(&format!("{MAP}?fieldManager=other"), json!({"data": {"b": "2"}})).await.expect(200);
    let config = map(json!({"a": "3", "b": "3"}));
    let refused = apply(&api, &format!("{MAP}?fieldManager=kubectl"), config.clone()).await;
    let only =
        "Apply failed with 1 conflict: conflict with \"other\" using v1 at 2027-01-15T08:00:00Z: .data.b";
    assert_eq!(refused.message(), only, "it was not kubectl that set b");
    let another = apply(&api, &format!("{MAP}?fieldManager=me"), config).await;
    assert_eq!(another.json()["details"]["causes"].as_array().unwrap().len(), 2);
    let taken = apply(&api, &format!("{MAP}?fieldManager=kubectl"), map(json!({"a": "3"}))).await.expect(200);
    assert_eq!(taken["data"], json!({"a": "3", "b": "2", "c": "1"}));
}

#[tokio::test]
async fn a_scale_is_applied_to_the_object() {
    let api = Api::new().await;
    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "x", "image": "file:1"}]}},
    }});
    api.make(&format!("{DEPLOYMENTS}?fieldManager=maker"), deployment).await;
    let scale = |replicas: i64| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": replicas}});
    let path = format!("{DEPLOYMENT}/scale?fieldManager=scaler");
    let owned = apply(&api, &path, scale(3)).await;
    assert_eq!(owned.code, 409, "the number is of who made the object, although it is a default");
    let path = format!("{path}&force=true");
    let scaled = apply(&api, &path, scale(3)).await.expect(200);
    assert_eq!((&scaled["kind"], &scaled["spec"]["replicas"]), (&json!("Scale"), &json!(3)));
    let now = api.get(DEPLOYMENT).await.expect(200);
    assert_eq!(now["spec"]["replicas"], 3);
    assert!(owners(&now, "f:spec").contains(&"Apply scalerscale: f:replicas".to_owned()), "{now}");
    let other = apply(&api, &format!("{DEPLOYMENT}/scale?fieldManager=other"), scale(4)).await;
    assert_eq!(other.code, 409);
    assert_eq!(other.json()["details"]["causes"][0]["field"], ".spec.replicas");
    let forced = format!("{DEPLOYMENT}/scale?fieldManager=other&force=true");
    assert_eq!(apply(&api, &forced, scale(4)).await.expect(200)["spec"]["replicas"], 4);
    assert_eq!(apply(&api, &forced, scale(-1)).await.code, 422);
    let wrong = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}});
    assert_eq!(apply(&api, &forced, wrong).await.code, 400);
}
