//! What roles and bindings allow, and who may give them.

use http::Method;
use serde_json::{Value, json};

use crate::http::tests::harness::{Api, Client, config_map, pod};
use crate::identity::User;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn user(name: &str, groups: &[&str]) -> User {
    let groups = groups.iter().chain(&["system:authenticated"]).map(|group| (*group).to_owned()).collect();
    User { name: name.to_owned(), groups, ..User::default() }
}

/// A role with one rule about core resources.
fn role(name: &str, verbs: &[&str], resources: &[&str]) -> Value {
    json!({"metadata": {"name": name}, "rules": [{"verbs": verbs, "apiGroups": [""], "resources": resources}]})
}

fn binding(name: &str, kind: &str, role: &str, subjects: Value) -> Value {
    json!({"metadata": {"name": name}, "roleRef": {"kind": kind, "name": role}, "subjects": subjects})
}

fn in_default(plural: &str) -> String {
    format!("{RBAC}/namespaces/default/{plural}")
}

async fn code(client: &Client, path: &str) -> u16 {
    client.get(path, &[]).await.code
}

#[tokio::test]
async fn a_binding_gives_a_role_at_once_and_takes_it_back() {
    let api = Api::new().await;
    let ann = api.client(user("ann", &[])).await;
    let refused = ann.get(MAPS, &[]).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.message(),
        "configmaps is forbidden: User \"ann\" cannot list resource \"configmaps\" in API group \"\" in the namespace \
         \"default\""
    );
    let details = refused.json()["details"].clone();
    assert_eq!(details, json!({"kind": "configmaps"}));
    let to_ann = json!([{"kind": "User", "name": "ann"}]);
    api.make(&in_default("rolebindings"), binding("b", "Role", "r", to_ann.clone())).await;
    let dangling = ann.get(MAPS, &[]).await.message();
    assert!(
        dangling
            .ends_with("in the namespace \"default\": RBAC: role.rbac.authorization.k8s.io \"r\" not found"),
        "{dangling}"
    );
    api.make(&in_default("roles"), role("r", &["get", "list"], &["configmaps"])).await;
    assert_eq!(code(&ann, MAPS).await, 200);
    assert_eq!(code(&ann, &format!("{MAPS}?watch=true")).await, 403, "another verb");
    assert_eq!(code(&ann, "/api/v1/configmaps").await, 403, "another place");
    assert_eq!(code(&ann, PODS).await, 403, "another resource");
    let refused = ann.json(Method::POST, MAPS, config_map("m", "x")).await;
    assert_eq!(refused.code, 403);
    assert!(refused.message().starts_with("configmaps is forbidden: User \"ann\" cannot create"));
    let changed = role("r", &["create"], &["configmaps"]);
    api.call(Method::PUT, &in_default("roles/r"), changed).await.expect(200);
    assert_eq!(code(&ann, MAPS).await, 403);
    ann.json(Method::POST, MAPS, config_map("m", "x")).await.expect(201);
    api.call(Method::DELETE, &in_default("rolebindings/b"), Value::Null).await.expect(200);
    assert_eq!(ann.json(Method::POST, MAPS, config_map("n", "x")).await.code, 403);
}

#[tokio::test]
async fn roles_reach_users_groups_and_accounts_where_they_are_bound() {
    let api = Api::new().await;
    api.make("/api/v1/namespaces", json!({"metadata": {"name": "other"}})).await;
    let readers = role("readers", &["get", "list"], &["configmaps", "namespaces"]);
    api.make(&format!("{RBAC}/clusterroles"), readers).await;
    let subjects =
        json!([{"kind": "Group", "name": "dev"}, {"kind": "ServiceAccount", "name": "bot", "namespace": ""}]);
    api.make(&in_default("rolebindings"), binding("here", "ClusterRole", "readers", subjects)).await;
    let everywhere = json!([{"kind": "ServiceAccount", "name": "bot", "namespace": "other"}]);
    let bindings = format!("{RBAC}/clusterrolebindings");
    api.make(&bindings, binding("everywhere", "ClusterRole", "readers", everywhere)).await;
    let dev = api.client(user("ann", &["dev"])).await;
    let bot = api.client(User::service_account("default", "bot", "1")).await;
    let other = api.client(User::service_account("other", "bot", "2")).await;
    let namesake = api.client(user("dev", &[])).await;
    let theirs = "/api/v1/namespaces/other/configmaps";
    for (path, of_dev, of_bot, of_other) in [
        (MAPS, 200, 200, 200),
        (theirs, 403, 403, 200),
        ("/api/v1/configmaps", 403, 403, 200),
        ("/api/v1/namespaces/default", 200, 200, 200),
        ("/api/v1/namespaces/other", 403, 403, 200),
        ("/api/v1/namespaces", 403, 403, 200),
    ] {
        assert_eq!(code(&dev, path).await, of_dev, "{path}");
        assert_eq!(code(&bot, path).await, of_bot, "{path}");
        assert_eq!(code(&other, path).await, of_other, "{path}");
        assert_eq!(code(&namesake, path).await, 403, "{path}");
    }
}

#[tokio::test]
async fn names_and_subresources_are_apart() {
    let api = Api::new().await;
    api.make(PODS, pod("p")).await;
    api.make(MAPS, config_map("own", "x")).await;
    let rules = json!({"metadata": {"name": "r"}, "rules": [
        {"verbs": ["get", "list", "watch", "create"], "apiGroups": [""], "resources": ["configmaps"],
            "resourceNames": ["own"]},
        {"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"]},
        {"verbs": ["patch"], "apiGroups": ["apps"], "resources": ["*/scale"]},
    ]});
    api.make(&in_default("roles"), rules).await;
    let to_ann = json!([{"kind": "User", "name": "ann"}]);
    api.make(&in_default("rolebindings"), binding("b", "Role", "r", to_ann)).await;
    let ann = api.client(user("ann", &[])).await;
    for (path, expected) in [
        (format!("{MAPS}/own"), 200),
        (format!("{MAPS}/other"), 403),
        (MAPS.to_owned(), 403),
        (format!("{MAPS}?fieldSelector=metadata.name%3Down"), 200),
        (format!("{MAPS}?fieldSelector=metadata.name%3Dother"), 403),
        (format!("{PODS}/p/log"), 200),
        (format!("{PODS}/p"), 403),
        (format!("{PODS}/p/status"), 403),
    ] {
        assert_eq!(code(&ann, &path).await, expected, "{path}");
    }
    let made = ann.json(Method::POST, MAPS, config_map("own", "x")).await;
    assert_eq!(made.code, 403, "a name cannot allow to create");
    let path = "/apis/apps/v1/namespaces/default/deployments/d/scale";
    let media = [("content-type", "application/merge-patch+json")];
    assert_eq!(ann.send(Method::PATCH, path, &media, "{}".into()).await.code, 404);
    assert_eq!(ann.send(Method::PATCH, path.trim_end_matches("/scale"), &media, "{}".into()).await.code, 403);
}

#[tokio::test]
async fn everybody_may_discover_and_few_may_see_metrics() {
    let api = Api::with_roles().await;
    let ann = api.client(user("ann", &[])).await;
    let monitor = api.client(user("prometheus", &["system:monitoring"])).await;
    for path in ["/api", "/apis", "/apis/apps", "/apis/apps/v1", "/api/v1", "/openapi/v3"] {
        assert_eq!(code(&ann, path).await, 200, "{path}");
    }
    let refused = ann.get("/metrics", &[]).await;
    assert_eq!(refused.code, 403);
    assert_eq!(refused.message(), "forbidden: User \"ann\" cannot get path \"/metrics\"");
    assert_eq!(code(&monitor, "/metrics").await, 200);
    assert_eq!(code(&monitor, "/debug/reconcilers").await, 403);
    assert_eq!(code(&ann, "/nothing").await, 403);
}

#[tokio::test]
async fn the_default_roles_are_kubernetes_own() {
    let api = Api::with_roles().await;
    let roles = api.get(&format!("{RBAC}/clusterroles")).await.expect(200);
    let names: Vec<&str> =
        roles["items"].as_array().unwrap().iter().map(|r| r["metadata"]["name"].as_str().unwrap()).collect();
    for name in ["admin", "cluster-admin", "edit", "view", "system:node", "system:controller:job-controller"]
    {
        assert!(names.contains(&name), "{name}");
    }
    let before = api.server.registry().store().head();
    crate::bootstrap::roles::settle(api.server.registry()).await;
    assert_eq!(api.server.registry().store().head(), before, "what is as it should be is not written again");
    let admin = api.client(user("root", &[])).await;
    let bindings = format!("{RBAC}/clusterrolebindings");
    let to_root = json!([{"kind": "User", "name": "root"}]);
    assert_eq!(code(&admin, "/api/v1/secrets").await, 403);
    api.make(&bindings, binding("root", "ClusterRole", "cluster-admin", to_root)).await;
    for path in ["/api/v1/secrets", "/metrics", "/debug/reconcilers"] {
        assert_eq!(code(&admin, path).await, 200, "{path}");
    }
}

#[tokio::test]
async fn nobody_gives_more_than_he_has() {
    let api = Api::new().await;
    let rules = json!([
        {"verbs": ["*"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"]},
        {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"]},
    ]);
    let to_ann = json!([{"kind": "User", "name": "ann"}]);
    let managers = format!("{RBAC}/clusterroles");
    api.make(&managers, json!({"metadata": {"name": "manager"}, "rules": rules})).await;
    let mut weak = rules.clone();
    weak[0]["verbs"] = json!(["get", "list", "create", "update", "patch"]);
    api.make(&in_default("roles"), json!({"metadata": {"name": "weak"}, "rules": weak})).await;
    api.make(&in_default("rolebindings"), binding("ann", "Role", "weak", to_ann.clone())).await;
    let ann = api.client(user("ann", &["dev"])).await;
    let roles = in_default("roles");
    ann.json(Method::POST, &roles, role("less", &["get"], &["configmaps"])).await.expect(201);
    let more = role("more", &["get", "delete", "watch"], &["configmaps", "secrets"]);
    let refused = ann.json(Method::POST, &roles, more).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.message(),
        "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"ann\" (groups=[\"dev\" \"system:authenticated\"]) is \
         attempting to grant RBAC permissions not currently held:\n\
         {APIGroups:[\"\"], Resources:[\"configmaps\"], Verbs:[\"delete\" \"watch\"]}\n\
         {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"delete\" \"watch\"]}"
    );
    let media = [("content-type", "application/merge-patch+json")];
    let path = in_default("roles/less");
    let label = json!({"metadata": {"labels": {"a": "b"}}}).to_string();
    assert_eq!(ann.send(Method::PATCH, &path, &media, label.into()).await.code, 200, "no rule changes");
    let wider = json!({"rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}).to_string();
    assert_eq!(ann.send(Method::PATCH, &path, &media, wider.into()).await.code, 403);
    let bindings = in_default("rolebindings");
    let mine = binding("mine", "ClusterRole", "manager", to_ann.clone());
    assert_eq!(ann.json(Method::POST, &bindings, mine.clone()).await.code, 403, "it has more verbs");
    let absent = ann.json(Method::POST, &bindings, binding("absent", "Role", "none", to_ann.clone())).await;
    assert_eq!((absent.code, absent.json()["reason"].clone()), (404, json!("NotFound")));
    ann.json(Method::POST, &bindings, binding("less", "Role", "less", to_ann.clone())).await.expect(201);
    let allowed = json!({"metadata": {"name": "binder"}, "rules": [
        {"verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
            "resourceNames": ["manager"]},
        {"verbs": ["escalate"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"]},
    ]});
    api.make(&roles, allowed).await;
    api.make(&bindings, binding("binder", "Role", "binder", to_ann)).await;
    ann.json(Method::POST, &bindings, mine).await.expect(201);
    ann.json(Method::POST, &roles, role("all", &["*"], &["secrets"])).await.expect(201);
}

#[tokio::test]
async fn only_administrators_make_roles_of_others() {
    let api = Api::new().await;
    let roles = format!("{RBAC}/clusterroles");
    let rules = json!([{"verbs": ["create"], "apiGroups": ["*"], "resources": ["clusterroles"]}]);
    api.make(&roles, json!({"metadata": {"name": "r"}, "rules": rules})).await;
    let to_ann = json!([{"kind": "User", "name": "ann"}]);
    api.make(&format!("{RBAC}/clusterrolebindings"), binding("b", "ClusterRole", "r", to_ann)).await;
    let ann = api.client(user("ann", &[])).await;
    let whole = json!({"metadata": {"name": "whole"},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}});
    let refused = ann.json(Method::POST, &roles, whole.clone()).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.message(),
        "clusterroles.rbac.authorization.k8s.io \"whole\" is forbidden: must have cluster-admin privileges to use an \
         aggregationRule"
    );
    api.make(&roles, whole).await;
}
