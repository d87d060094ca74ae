//! Kinds of every group: how they are found, listed, kept in several versions, and what is issued.

use edge_api::kinds::KINDS;
use http::Method;
use serde_json::{Value, json};

use super::harness::Api;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

#[tokio::test]
async fn every_kind_is_listed_and_explained() {
    let api = Api::new().await;
    let client = api.client(crate::identity::User::admin("admin")).await;
    for kind in KINDS.iter().filter(|kind| kind.verbs.contains(&"list")) {
        let prefix = if kind.group.is_empty() { "/api" } else { "/apis" };
        let path = format!("{prefix}/{}/{}", kind.api_version(), kind.plural);
        let list = client.get(&path, &[]).await.expect(200);
        assert_eq!(list["kind"], format!("{}List", kind.kind), "{path}");
        assert_eq!(list["apiVersion"], kind.api_version(), "{path}");
        let table = client.get(&path, &[("accept", TABLE)]).await.expect(200);
        let columns = table["columnDefinitions"].as_array().map_or(0, Vec::len);
        assert_eq!(columns, kind.columns.len(), "{path}");
        let group = format!("/openapi/v3{prefix}/{}", kind.api_version());
        let document = client.get(&group, &[]).await;
        assert_eq!(document.code, 200, "{group}");
        assert!(
            String::from_utf8_lossy(&document.bytes).contains(kind.schema),
            "{group} has {}",
            kind.schema
        );
    }
}

#[tokio::test]
async fn stable_versions_are_preferred() {
    let api = Api::new().await;
    let group = api.get("/apis/resource.k8s.io").await.expect(200);
    let versions: Vec<&str> =
        group["versions"].as_array().into_iter().flatten().filter_map(|v| v["version"].as_str()).collect();
    assert_eq!(versions, ["v1", "v1beta2", "v1beta1", "v1alpha3"]);
    assert_eq!(group["preferredVersion"]["version"], "v1");
}

#[tokio::test]
async fn an_object_is_there_in_every_version() {
    let api = Api::new().await;
    let claims = |version: &str| format!("/apis/resource.k8s.io/{version}/namespaces/default/resourceclaims");
    let request = json!({"name": "gpu", "deviceClassName": "gpu.example.com"});
    let claim = json!({"metadata": {"name": "a"}, "spec": {"devices": {"requests": [request]}}});
    let made = api.make(&claims("v1beta1"), claim).await;
    assert_eq!(made["apiVersion"], "resource.k8s.io/v1beta1");
    assert_eq!(made["spec"]["devices"]["requests"][0]["count"], 1);
    let newest = api.get(&format!("{}/a", claims("v1"))).await.expect(200);
    assert_eq!(newest["apiVersion"], "resource.k8s.io/v1");
    let exactly = json!({"deviceClassName": "gpu.example.com", "allocationMode": "ExactCount", "count": 1});
    assert_eq!(newest["spec"]["devices"]["requests"][0], json!({"name": "gpu", "exactly": exactly}));
    assert_eq!(newest["metadata"]["uid"], made["metadata"]["uid"]);
    let changed =
        api.merge(&format!("{}/a", claims("v1beta2")), json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(changed.expect(200)["metadata"]["labels"]["a"], "b");
    let changed = json!({"spec": {"devices": {"requests": []}}});
    let refused = api.merge(&format!("{}/a", claims("v1")), changed).await;
    assert_eq!(refused.code, 422, "{}", refused.message());
    assert!(refused.message().contains("field is immutable"), "{}", refused.message());
}

/// A request of the user `jane`, in PEM and base64.
fn request(organisation: &str) -> String {
    use base64::Engine as _;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "jane");
    params.distinguished_name.push(rcgen::DnType::OrganizationName, organisation);
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    base64::engine::general_purpose::STANDARD.encode(pem)
}

fn signing_request(name: &str, organisation: &str, usages: Value) -> Value {
    let signer = "kubernetes.io/kube-apiserver-client";
    json!({"metadata": {"name": name}, "spec": {
        "request": request(organisation), "signerName": signer, "usages": usages, "username": "somebody else"}})
}

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

async fn approve(api: &Api, name: &str) -> Value {
    let path = format!("{REQUESTS}/{name}");
    let mut object = api.get(&path).await.expect(200);
    let approved =
        json!({"type": "Approved", "status": "True", "reason": "KubectlApprove", "message": "yes"});
    object["status"] = json!({"conditions": [approved], "certificate": "Zm9yZ2Vk"});
    api.call(Method::PUT, &format!("{path}/approval"), object).await.expect(200)
}

#[tokio::test]
async fn an_approved_request_gets_its_certificate() {
    let api = Api::new().await;
    let made = api.make(REQUESTS, signing_request("jane", "dev", json!(["client auth"]))).await;
    assert_eq!(made["spec"]["username"], "admin");
    assert_eq!(made["spec"]["groups"], json!(["system:masters", "system:authenticated"]));
    assert!(made["status"]["certificate"].is_null());
    let answered = approve(&api, "jane").await;
    let condition = &answered["status"]["conditions"][0];
    assert!(condition["lastTransitionTime"].is_string(), "{condition}");
    let certificate = answered["status"]["certificate"].as_str().unwrap();
    let pem = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, certificate).unwrap();
    assert!(pem.starts_with(b"-----BEGIN CERTIFICATE-----"));
    let row = api.client(crate::identity::User::admin("admin")).await;
    let table = row.get(&format!("{REQUESTS}/jane"), &[("accept", TABLE)]).await.expect(200);
    assert_eq!(table["rows"][0]["cells"][5], "Approved,Issued");
}

#[tokio::test]
async fn a_request_that_no_signer_signs_fails() {
    let api = Api::new().await;
    api.make(REQUESTS, signing_request("jane", "dev", json!(["server auth"]))).await;
    let answered = approve(&api, "jane").await;
    assert!(answered["status"]["certificate"].is_null(), "{answered}");
    assert_eq!(answered["status"]["conditions"][1]["reason"], "SignerValidationFailure");
    let masters = signing_request("root", "system:masters", json!(["client auth"]));
    let refused = api.call(Method::POST, REQUESTS, masters).await;
    assert_eq!(refused.code, 403, "{}", refused.message());
}

#[tokio::test]
async fn an_api_service_of_this_server_is_available() {
    let api = Api::new().await;
    let service = json!({"metadata": {"name": "v1.example.com"}, "spec": {
        "group": "example.com", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15}});
    let made = api.make("/apis/apiregistration.k8s.io/v1/apiservices", service).await;
    let condition = &made["status"]["conditions"][0];
    assert_eq!((condition["type"].as_str(), condition["status"].as_str()), (Some("Available"), Some("True")));
}

#[tokio::test]
async fn who_answers_requests_needs_the_signer_too() {
    let api = Api::new().await;
    api.make(REQUESTS, signing_request("jane", "dev", json!(["client auth"]))).await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let answers = json!({"apiGroups": ["certificates.k8s.io"], "verbs": ["get", "update"],
        "resources": ["certificatesigningrequests", "certificatesigningrequests/approval"]});
    api.make(roles, json!({"metadata": {"name": "answers"}, "rules": [answers]})).await;
    let binding = json!({"metadata": {"name": "answers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "answers"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "clerk"}]});
    api.make("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await;
    let clerk = crate::identity::User { name: "clerk".to_owned(), ..crate::identity::User::default() };
    let client = api.client(clerk).await;
    let path = format!("{REQUESTS}/jane");
    let mut object = client.get(&path, &[]).await.expect(200);
    object["status"] = json!({"conditions": [{"type": "Approved", "status": "True"}]});
    let refused = client.json(Method::PUT, &format!("{path}/approval"), object.clone()).await;
    assert_eq!(refused.code, 403, "{}", refused.message());
    assert!(refused.message().contains("user not permitted to approve requests with signerName"));
    let signer = json!({"apiGroups": ["certificates.k8s.io"], "verbs": ["approve"], "resources": ["signers"],
        "resourceNames": ["kubernetes.io/*"]});
    api.merge(&format!("{roles}/answers"), json!({"rules": [answers, signer]})).await.expect(200);
    let answered = client.json(Method::PUT, &format!("{path}/approval"), object).await.expect(200);
    assert!(answered["status"]["certificate"].is_string(), "{answered}");
}
