//! Who somebody is, what he may do, and acting as somebody else.

use edge_api::protobuf;
use http::Method;
use serde_json::{Value, json};

use crate::http::tests::harness::{Answer, Api, Client, config_map};
use crate::identity::User;

const AUTHORIZATION: &str = "/apis/authorization.k8s.io/v1";
const AUTHENTICATION: &str = "/apis/authentication.k8s.io/v1";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn user(name: &str, groups: &[&str]) -> User {
    let groups = groups.iter().chain(&["system:authenticated"]).map(|group| (*group).to_owned()).collect();
    User { name: name.to_owned(), groups, ..User::default() }
}

async fn ask(client: &Client, group: &str, plural: &str, spec: Value) -> Answer {
    client.json(Method::POST, &format!("{group}/{plural}"), json!({"spec": spec})).await
}

/// Lets ann read ConfigMaps of `default`.
async fn with_ann() -> Api {
    let api = Api::with_roles().await;
    let rules = json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"]}]);
    let here = format!("{RBAC}/namespaces/default");
    api.make(&format!("{here}/roles"), json!({"metadata": {"name": "r"}, "rules": rules})).await;
    let binding = json!({"metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "ann"}]});
    api.make(&format!("{here}/rolebindings"), binding).await;
    api
}

#[tokio::test]
async fn everybody_may_ask_what_he_may() {
    let api = with_ann().await;
    let ann = api.client(user("ann", &[])).await;
    let about = |verb: &str, resource: &str| json!({"resourceAttributes": {"verb": verb, "resource": resource, "namespace": "default"}});
    let answer = ask(&ann, AUTHORIZATION, "selfsubjectaccessreviews", about("list", "configmaps")).await;
    let answer = answer.expect(201);
    assert_eq!(answer["kind"], "SelfSubjectAccessReview");
    assert_eq!(
        answer["status"],
        json!({"allowed": true, "reason": "RBAC: allowed by RoleBinding \"b/default\" of Role \"r\" to User \"ann\""})
    );
    let answer = ask(&ann, AUTHORIZATION, "selfsubjectaccessreviews", about("list", "secrets")).await;
    assert_eq!(answer.expect(201)["status"], json!({"allowed": false}));
    let path = json!({"nonResourceAttributes": {"verb": "get", "path": "/api"}});
    let answer = ask(&ann, AUTHORIZATION, "selfsubjectaccessreviews", path).await.expect(201);
    assert_eq!(answer["status"]["allowed"], true);
    let none = ask(&ann, AUTHORIZATION, "selfsubjectaccessreviews", json!({})).await;
    assert_eq!(none.code, 422);
    assert!(
        none.message().starts_with("SelfSubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.")
    );
    let rules = json!({"namespace": "default"});
    let rules =
        ask(&ann, AUTHORIZATION, "selfsubjectrulesreviews", rules).await.expect(201)["status"].clone();
    assert_eq!(rules["incomplete"], false);
    let own = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"]});
    assert!(rules["resourceRules"].as_array().unwrap().contains(&own), "{rules}");
    assert!(rules["nonResourceRules"][0]["nonResourceURLs"].is_array(), "{rules}");
    let who =
        ann.json(Method::POST, &format!("{AUTHENTICATION}/selfsubjectreviews"), json!({})).await.expect(201);
    assert_eq!(who["status"]["userInfo"], json!({"username": "ann", "groups": ["system:authenticated"]}));
    let nothing = ann.get(&format!("{AUTHORIZATION}/selfsubjectaccessreviews"), &[]).await;
    assert_eq!(nothing.code, 405, "nothing is kept");
}

/// `kubectl auth can-i` sends protobuf and never tries anything else.
#[tokio::test]
async fn reviews_are_asked_in_protobuf() {
    let api = with_ann().await;
    let ann = api.client(user("ann", &[])).await;
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
        "spec": {"resourceAttributes": {"verb": "get", "resource": "configmaps", "namespace": "default"}}});
    let body = protobuf::encode(&review).unwrap();
    let path = format!("{AUTHORIZATION}/selfsubjectaccessreviews");
    let media = "application/vnd.kubernetes.protobuf";
    for (accept, binary) in [("application/vnd.kubernetes.protobuf", true), ("application/json", false)] {
        let headers = [("content-type", media), ("accept", accept)];
        let answer = ann.send(Method::POST, &path, &headers, body.clone().into()).await;
        assert_eq!(answer.code, 201);
        let told = if binary { protobuf::decode(&answer.bytes).unwrap() } else { answer.json() };
        assert_eq!(told["status"]["allowed"], true);
    }
}

#[tokio::test]
async fn administrators_ask_about_others() {
    let api = with_ann().await;
    let admin = api.client(User::admin("admin")).await;
    let about = json!({"verb": "get", "resource": "configmaps", "namespace": "default"});
    let spec = |user: &str| json!({"user": user, "resourceAttributes": about});
    for (name, allowed) in [("ann", true), ("bob", false), ("system:edgectl:in-process", false)] {
        let answer = ask(&admin, AUTHORIZATION, "subjectaccessreviews", spec(name)).await.expect(201);
        assert_eq!(answer["status"]["allowed"], allowed, "{name}");
    }
    let forged = json!({"groups": ["system:edgectl:in-process"], "user": "bob", "resourceAttributes": about});
    let answer = ask(&admin, AUTHORIZATION, "subjectaccessreviews", forged).await.expect(201);
    assert_eq!(answer["status"]["allowed"], false);
    let masters = json!({"groups": ["system:masters"], "resourceAttributes": about});
    let answer = ask(&admin, AUTHORIZATION, "subjectaccessreviews", masters).await.expect(201);
    assert_eq!(answer["status"]["allowed"], true);
    let local = "namespaces/default/localsubjectaccessreviews";
    let answer = ask(&admin, AUTHORIZATION, local, spec("ann")).await.expect(201);
    assert_eq!(answer["status"]["allowed"], true);
    let elsewhere = "namespaces/kube-system/localsubjectaccessreviews";
    let refused = ask(&admin, AUTHORIZATION, elsewhere, spec("ann")).await;
    assert_eq!(
        refused.message(),
        "LocalSubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.resourceAttributes.namespace: Invalid value: \
         \"default\": must match metadata.namespace"
    );
    let ann = api.client(user("ann", &[])).await;
    assert_eq!(ask(&ann, AUTHORIZATION, "subjectaccessreviews", spec("bob")).await.code, 403);
}

#[tokio::test]
async fn tokens_are_reviewed_for_their_audiences() {
    let api = Api::new().await;
    let admin = api.client(User::admin("admin")).await;
    let tokens = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let vault = api.make(tokens, json!({"spec": {"audiences": ["vault", "other"]}})).await;
    let own = api.make(tokens, json!({"spec": {}})).await;
    let review =
        |token: &Value, audiences: Value| json!({"token": token["status"]["token"], "audiences": audiences});
    let issuer = "https://kubernetes.default.svc.cluster.local";
    for (spec, audiences) in [
        (review(&own, json!([])), json!([issuer])),
        (review(&vault, json!(["vault", "bank"])), json!(["vault"])),
        (review(&vault, json!([])), json!(null)),
        (review(&own, json!(["vault"])), json!(null)),
        (json!({"token": "wrong"}), json!(null)),
    ] {
        let status = ask(&admin, AUTHENTICATION, "tokenreviews", spec).await.expect(201)["status"].clone();
        if audiences.is_null() {
            assert_eq!(status, json!({"user": {}, "error": "invalid bearer token"}));
        } else {
            assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &audiences));
            assert_eq!(status["user"]["username"], "system:serviceaccount:default:default");
        }
    }
    assert_eq!(ask(&admin, AUTHENTICATION, "tokenreviews", json!({})).await.code, 400);
}

#[tokio::test]
async fn who_may_acts_as_somebody_else() {
    let api = with_ann().await;
    let admin = api.client(User::admin("admin")).await;
    let ann = api.client(user("ann", &[])).await;
    let as_ann =
        [("impersonate-user", "ann"), ("impersonate-extra-reason", "test"), ("impersonate-uid", "1")];
    assert_eq!(admin.get(MAPS, &as_ann).await.code, 200);
    assert_eq!(admin.get("/api/v1/secrets", &as_ann).await.code, 403);
    let path = format!("{AUTHENTICATION}/selfsubjectreviews");
    let who = admin.send(Method::POST, &path, &as_ann, "{}".into()).await.expect(201);
    assert_eq!(
        who["status"]["userInfo"],
        json!({"username": "ann", "uid": "1", "groups": ["system:authenticated"], "extra": {"reason": ["test"]}})
    );
    let refused = ann.get(MAPS, &[("impersonate-user", "bob")]).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.message(),
        "users \"bob\" is forbidden: User \"ann\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope"
    );
    let rules = json!([
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["bob"]},
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["serviceaccounts"]},
    ]);
    api.make(&format!("{RBAC}/clusterroles"), json!({"metadata": {"name": "i"}, "rules": rules})).await;
    let binding = json!({"metadata": {"name": "i"}, "roleRef": {"kind": "ClusterRole", "name": "i"},
        "subjects": [{"kind": "User", "name": "ann"}]});
    api.make(&format!("{RBAC}/clusterrolebindings"), binding).await;
    for (headers, expected) in [
        (vec![("impersonate-user", "bob")], 403),
        (vec![("impersonate-user", "bob"), ("impersonate-group", "system:masters")], 403),
        (vec![("impersonate-user", "admin")], 403),
        (vec![("impersonate-user", "system:serviceaccount:default:default")], 403),
        (vec![("impersonate-group", "dev")], 400),
    ] {
        assert_eq!(ann.get(MAPS, &headers).await.code, expected, "{headers:?}");
    }
    let bob = ann.get("/api", &[("impersonate-user", "bob")]).await;
    assert_eq!(bob.code, 200, "what bob may");
    let account = [("impersonate-user", "system:serviceaccount:default:default")];
    let who = ann.send(Method::POST, &path, &account, "{}".into()).await.expect(201);
    assert_eq!(who["status"]["userInfo"]["groups"][1], "system:serviceaccounts:default");
    let forged = [("impersonate-user", "x"), ("impersonate-group", "system:edgectl:in-process")];
    let made = admin.send(Method::POST, MAPS, &forged, config_map("m", "x").to_string().into()).await;
    assert_eq!(made.code, 403, "no header makes somebody a part of this process");
}

#[tokio::test]
async fn the_issuer_of_tokens_says_its_keys() {
    let api = Api::with_roles().await;
    let account = api.client(User::service_account("default", "default", "1")).await;
    let configuration = account.get("/.well-known/openid-configuration", &[]).await.expect(200);
    assert_eq!(configuration["issuer"], "https://kubernetes.default.svc.cluster.local");
    assert_eq!(configuration["id_token_signing_alg_values_supported"], json!(["ES256"]));
    let keys = account.get("/openid/v1/jwks", &[]).await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    assert_eq!(keys.json()["keys"][0]["crv"], "P-256");
    let ann = api.client(user("ann", &[])).await;
    assert_eq!(ann.get("/openid/v1/jwks", &[]).await.code, 403);
}

#[tokio::test]
async fn reviews_are_discovered_as_what_is_only_made() {
    let api = Api::new().await;
    let resources = api.get(AUTHORIZATION).await.expect(200);
    let review =
        resources["resources"].as_array().unwrap().iter().find(|r| r["name"] == "selfsubjectaccessreviews");
    let review = review.unwrap();
    assert_eq!(review["verbs"], json!(["create"]));
    assert_eq!(review.get("storageVersionHash"), None);
}
