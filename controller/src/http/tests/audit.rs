//! What the audit log says of a request beside the request: who allowed it, and what admission thought of it.

use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use crate::http::tests::admission::put;
use crate::http::tests::harness::{Api, config_map, pod};
use crate::identity::User;

const GROUP: &str = "admissionregistration.k8s.io";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// The annotations of the last event about an object. Another thread writes them.
async fn annotations(path: &Path, resource: &str, name: &str) -> Value {
    loop {
        let text = std::fs::read_to_string(path).unwrap();
        let mut events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let about = |event: &Value| {
            let object = &event["objectRef"];
            object["resource"] == resource && (object["name"] == name || event["verb"] == name)
        };
        if let Some(event) = events.rfind(about) {
            return event["annotations"].clone();
        }
        tokio::task::yield_now().await;
    }
}

async fn policy(api: &Api, spec: Value, binding: Value) {
    let mut whole = json!({"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [
        {"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let object = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"}, "spec": whole});
    put(api, GROUP, "validatingadmissionpolicies", object).await;
    let mut whole = json!({"policyName": "p"});
    whole.as_object_mut().unwrap().extend(binding.as_object().unwrap().clone());
    let object = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "b"}, "spec": whole});
    put(api, GROUP, "validatingadmissionpolicybindings", object).await;
}

#[tokio::test]
async fn who_allows_something_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let api = Api::audited(&path).await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]});
    api.make(&format!("{rbac}/roles"), json!({"metadata": {"name": "reads"}, "rules": [rule]})).await;
    let group = "rbac.authorization.k8s.io";
    let binding = json!({"metadata": {"name": "eve-reads"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "reads"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "eve"}]});
    api.make(&format!("{rbac}/rolebindings"), binding).await;
    let eve = api.client(User { name: "eve".to_owned(), ..User::default() }).await;
    eve.get(&format!("{MAPS}/none"), &[]).await.expect(404);
    assert_eq!(
        annotations(&path, "configmaps", "none").await,
        json!({"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason":
            "RBAC: allowed by RoleBinding \"eve-reads/default\" of Role \"reads\" to User \"eve\""})
    );
    eve.json(Method::DELETE, &format!("{MAPS}/other"), Value::Null).await.expect(403);
    let told = annotations(&path, "configmaps", "other").await;
    assert_eq!(told["authorization.k8s.io/decision"], "forbid");
}

#[tokio::test]
async fn what_policies_find_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let api = Api::audited(&path).await;
    for name in ["m", "n"] {
        api.make(MAPS, config_map(name, "1")).await;
    }
    let spec = json!({
        "auditAnnotations": [
            {"key": "value", "valueExpression": "'it is ' + object.data.a"},
            {"key": "nothing", "valueExpression": "null"},
        ],
        "validations": [
            {"expression": "object.data.a != 'y'"}, {"expression": "object.data.a != 'x'", "message": "no x"},
        ],
    });
    policy(&api, spec, json!({"validationActions": ["Audit"]})).await;
    api.merge(&format!("{MAPS}/m"), json!({"data": {"a": "x"}})).await.expect(200);
    let told = annotations(&path, "configmaps", "m").await;
    assert_eq!(told["p/value"], "it is x", "{told}");
    assert!(told.get("p/nothing").is_none(), "{told}");
    let failure = told["validation.policy.admission.k8s.io/validation_failure"].as_str().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(failure).unwrap(),
        json!([{"message": "no x", "policy": "p", "binding": "b", "expressionIndex": 1, "validationActions": ["Audit"]}])
    );
    let spec = json!({"auditAnnotations": [{"key": "value", "valueExpression": "1 + 1"}]});
    policy(&api, spec, json!({"validationActions": ["Deny"]})).await;
    let refused = api.merge(&format!("{MAPS}/n"), json!({"data": {"a": "x"}})).await;
    assert_eq!(refused.code, 422);
    let expected = "resulted in unsupported return type: int. Return type must be either string or null.";
    assert!(refused.message().ends_with(expected), "{}", refused.message());
}

#[tokio::test]
async fn what_breaks_a_standard_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let api = Api::audited(&path).await;
    let labels = json!({"pod-security.kubernetes.io/audit": "restricted"});
    api.merge("/api/v1/namespaces/default", json!({"metadata": {"labels": labels}})).await.expect(200);
    api.make("/api/v1/namespaces/default/pods", pod("web")).await;
    let told = annotations(&path, "pods", "create").await;
    assert_eq!(told["pod-security.kubernetes.io/enforce-policy"], "privileged:latest");
    let violations = told["pod-security.kubernetes.io/audit-violations"].as_str().unwrap();
    assert!(violations.starts_with("would violate PodSecurity \"restricted:latest\": "), "{violations}");
}
