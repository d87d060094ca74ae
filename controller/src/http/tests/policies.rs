//! ValidatingAdmissionPolicy: rules in CEL and their bindings.

use http::Method;
use serde_json::{Value, json};

use crate::http::tests::admission::{put, warnings};
use crate::http::tests::harness::{Answer, Api, config_map};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn policy(api: &Api, spec: Value) {
    let mut whole = json!({
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [
            {"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]},
        ]},
    });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"}, "spec": whole});
    put(api, "admissionregistration.k8s.io", "validatingadmissionpolicies", object).await;
}

async fn binding(api: &Api, spec: Value) {
    let mut whole = json!({"policyName": "p", "validationActions": ["Deny"]});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "b"}, "spec": whole});
    put(api, "admissionregistration.k8s.io", "validatingadmissionpolicybindings", object).await;
}

async fn make(api: &Api, name: &str, value: &str) -> Answer {
    api.call(Method::POST, MAPS, config_map(name, value)).await
}

const DENIED: &str = "is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: ";

#[tokio::test]
async fn a_policy_denies_once_it_is_bound() {
    let api = Api::new().await;
    policy(&api, json!({"validations": [{"expression": "object.data.a != 'x'"}]})).await;
    make(&api, "unbound", "x").await.expect(201);
    binding(&api, json!({})).await;
    let denied = make(&api, "m", "x").await;
    assert_eq!(
        (denied.code, denied.message()),
        (422, format!("configmaps \"m\" {DENIED}failed expression: object.data.a != 'x'"))
    );
    assert_eq!(denied.json()["reason"], "Invalid");
    make(&api, "m", "y").await.expect(201);
    let changed = api.merge(&format!("{MAPS}/m"), json!({"data": {"a": "x"}})).await;
    assert_eq!(changed.code, 422);
    api.call(Method::DELETE, &format!("{MAPS}/m"), Value::Null).await.expect(200);
}

#[tokio::test]
async fn a_policy_says_what_it_works_out() {
    let api = Api::new().await;
    binding(&api, json!({})).await;
    policy(
        &api,
        json!({
            "variables": [
                {"name": "value", "expression": "object.data.a"},
                {"name": "long", "expression": "size(variables.value) > 3"},
                {"name": "never", "expression": "object.data.nothing.at.all"},
            ],
            "matchConditions": [{"name": "c", "expression": "request.name.startsWith('m')"}],
            "validations": [{
                "expression": "!variables.long", "message": "too long",
                "messageExpression": "variables.value + ' is too long for ' + request.userInfo.username",
                "reason": "Forbidden",
            }],
        }),
    )
    .await;
    let denied = make(&api, "m", "abcd").await;
    assert_eq!(
        (denied.code, denied.message()),
        (403, format!("configmaps \"m\" {DENIED}abcd is too long for admin"))
    );
    make(&api, "m", "abc").await.expect(201);
    make(&api, "other", "abcd").await.expect(201);
    policy(&api, json!({"validations": [{"expression": "object.data.b == 'x'"}]})).await;
    let broken = make(&api, "n", "x").await;
    assert_eq!(
        (broken.code, broken.message()),
        (
            422,
            format!(
                "configmaps \"n\" {DENIED}expression 'object.data.b == 'x'' resulted in error: no such key: b"
            )
        )
    );
    policy(&api, json!({"failurePolicy": "Ignore", "validations": [{"expression": "object.data.b == 'x'"}]}))
        .await;
    make(&api, "n", "x").await.expect(201);
}

#[tokio::test]
async fn bindings_bring_parameters_warn_and_narrow() {
    let api = Api::new().await;
    policy(&api, json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "validations": [{"expression": "object.data.a in params.data.allowed.split(',')", "message": "not allowed"}],
    }))
    .await;
    let params = json!({"metadata": {"name": "params"}, "data": {"allowed": "red,green"}});
    api.make(MAPS, params).await;
    binding(&api, json!({"paramRef": {"name": "params", "parameterNotFoundAction": "Deny"}})).await;
    make(&api, "m", "red").await.expect(201);
    assert_eq!(make(&api, "n", "blue").await.message(), format!("configmaps \"n\" {DENIED}not allowed"));
    binding(&api, json!({"paramRef": {"name": "none", "parameterNotFoundAction": "Deny"}})).await;
    assert_eq!(
        make(&api, "n", "red").await.message(),
        format!(
            "configmaps \"n\" {DENIED}failed to configure binding: no params found for policy binding with `Deny` \
             parameterNotFoundAction"
        )
    );
    binding(&api, json!({"paramRef": {"name": "none", "parameterNotFoundAction": "Allow"}})).await;
    make(&api, "n", "blue").await.expect(201);
    let reference = json!({"name": "params", "parameterNotFoundAction": "Deny"});
    binding(&api, json!({"paramRef": reference, "validationActions": ["Warn"]})).await;
    let warned = make(&api, "o", "blue").await;
    assert_eq!(
        warnings(&warned),
        ["299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': not allowed\""]
    );
    warned.expect(201);
    binding(
        &api,
        json!({"paramRef": reference, "matchResources": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}},
        }}),
    )
    .await;
    make(&api, "p", "blue").await.expect(201);
}

#[tokio::test]
async fn a_policy_may_ask_what_its_author_may() {
    let api = Api::new().await;
    binding(&api, json!({})).await;
    policy(&api, json!({"validations": [
        {"expression": "authorizer.group('').resource('secrets').namespace('default').check('get').allowed()",
            "message": "may not read secrets"},
        {"expression": "authorizer.requestResource.check('create').allowed()"},
        {"expression": "!authorizer.serviceAccount('default', 'default').group('apps').resource('deployments').check('delete').allowed()"},
        {"expression": "authorizer.path('/healthz').check('get').allowed() && authorizer.path('/').check('x').reason() == ''"},
    ]}))
    .await;
    make(&api, "m", "x").await.expect(201);
    policy(&api, json!({"validations": [
        {"expression": "authorizer.serviceAccount('default', 'default').group('').resource('secrets').check('get').allowed()",
            "message": "may not read secrets"},
    ]}))
    .await;
    assert_eq!(
        make(&api, "n", "x").await.message(),
        format!("configmaps \"n\" {DENIED}may not read secrets")
    );
}
