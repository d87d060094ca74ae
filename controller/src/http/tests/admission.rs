//! What the cluster says to writes: limits, quotas, Pod security, priorities, classes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use crate::http::tests::harness::{Answer, Api, pod};
use crate::identity::User;
use crate::registry::encode;
use crate::store::{Durability, Key, Op, Write};

const PODS: &str = "/api/v1/namespaces/default/pods";
const DEFAULT: &str = "/api/v1/namespaces/default";

/// Puts an object into the store as it is.
pub async fn put(api: &Api, group: &str, plural: &str, object: Value) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let key = Key::of(group, plural, &text("namespace"), &text("name"));
    let op = Op::Put(encode(object));
    let write = Write { key, op, when: Vec::new(), durability: Durability::Durable };
    api.server.registry().store().write(write).await.unwrap();
}

async fn create(api: &Api, path: &str, object: Value) -> Answer {
    api.call(Method::POST, path, object).await
}

/// The warnings of an answer, as they are sent.
pub fn warnings(answer: &Answer) -> Vec<String> {
    answer.headers.get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pods_get_the_priority_of_their_class() {
    let api = Api::new().await;
    let class = |name: &str, value: i64, default: bool| {
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "globalDefault": default, "preemptionPolicy": "Never"})
    };
    let with = |name: &str, class: &str| {
        let mut pod = pod(name);
        pod["spec"]["priorityClassName"] = class.into();
        pod
    };
    assert_eq!(create(&api, PODS, pod("plain")).await.expect(201)["spec"]["priority"], 0);
    let none = create(&api, PODS, with("a", "high")).await;
    assert_eq!(
        (none.code, none.message().as_str()),
        (403, "pods \"a\" is forbidden: no PriorityClass with name high was found")
    );
    put(&api, "scheduling.k8s.io", "priorityclasses", class("high", 1000, false)).await;
    let made = create(&api, PODS, with("a", "high")).await.expect(201);
    assert_eq!(
        (&made["spec"]["priority"], &made["spec"]["preemptionPolicy"]),
        (&json!(1000), &json!("Never"))
    );
    let mut wrong = with("b", "high");
    wrong["spec"]["priority"] = json!(7);
    assert_eq!(
        create(&api, PODS, wrong).await.message(),
        "pods \"b\" is forbidden: the integer value of priority (7) must not be provided in pod spec; priority \
         admission controller computed 1000 from the given PriorityClass name"
    );
    put(&api, "scheduling.k8s.io", "priorityclasses", class("usual", 5, true)).await;
    let made = create(&api, PODS, pod("c")).await.expect(201);
    assert_eq!((&made["spec"]["priorityClassName"], &made["spec"]["priority"]), (&json!("usual"), &json!(5)));
    let critical = create(&api, PODS, with("d", "system-node-critical")).await.expect(201);
    assert_eq!(critical["spec"]["priority"], 2_000_001_000);
}

#[tokio::test]
async fn limit_ranges_fill_in_and_refuse() {
    let api = Api::new().await;
    let range = json!({"apiVersion": "v1", "kind": "LimitRange",
    "metadata": {"name": "l", "namespace": "default"}, "spec": {"limits": [{
        "type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"},
    }]}});
    put(&api, "core", "limitranges", range).await;
    let made = create(&api, PODS, pod("a")).await.expect(201);
    assert_eq!(
        made["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}})
    );
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container main; cpu limit for container main"
    );
    let mut large = pod("b");
    large["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "2"}});
    let refused = create(&api, PODS, large).await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (403, "pods \"b\" is forbidden: maximum cpu usage per Container is 1, but limit is 2")
    );
    assert_eq!(refused.json()["reason"], "Forbidden");
}

#[tokio::test]
async fn a_namespace_enforces_a_standard_and_warns_of_another() {
    let api = Api::new().await;
    let label = |mode: &str| format!("pod-security.kubernetes.io/{mode}");
    let labels = |all: Value| json!({"metadata": {"labels": all}});
    let mut host = pod("host");
    host["spec"]["hostNetwork"] = json!(true);
    api.make(PODS, host.clone()).await;
    let refused = api.merge(DEFAULT, labels(json!({label("enforce"): "strict"}))).await;
    assert_eq!(refused.code, 422);
    assert_eq!(
        refused.message(),
        "Namespace \"default\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \
         \"strict\": must be one of privileged, baseline, restricted"
    );
    let set =
        api.merge(DEFAULT, labels(json!({label("enforce"): "baseline", label("warn"): "restricted"}))).await;
    assert_eq!(
        warnings(&set),
        [
            "299 - \"existing pods in namespace \\\"default\\\" violate the new PodSecurity enforce level \
             \\\"baseline:latest\\\"\"",
            "299 - \"host: host namespaces\"",
        ]
    );
    set.expect(200);
    host["metadata"]["name"] = "again".into();
    let refused = create(&api, PODS, host).await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (
            403,
            "pods \"again\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces \
             (hostNetwork=true)"
        )
    );
    assert!(warnings(&refused).is_empty());
    let made = create(&api, PODS, pod("a")).await;
    let warned = warnings(&made);
    assert!(
        warned[0].starts_with(
            "299 - \"would violate PodSecurity \\\"restricted:latest\\\": allowPrivilegeEscalation != false"
        ),
        "{warned:?}"
    );
    made.expect(201);
    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "x", "image": "file:1"}]}},
    }});
    let made = create(&api, "/apis/apps/v1/namespaces/default/deployments", deployment).await;
    assert_eq!(warnings(&made).len(), 1);
    made.expect(201);
    api.merge(&format!("{PODS}/host"), json!({"metadata": {"labels": {"x": "y"}}})).await.expect(200);
}

#[tokio::test]
async fn a_node_cannot_make_itself_what_pods_are_placed_by() {
    let api = Api::new().await;
    let node = api.client(User::node("a")).await;
    let made = |labels: Value| json!({"metadata": {"name": "a", "labels": labels}});
    let refused = node
        .json(Method::POST, "/api/v1/nodes", made(json!({"node-role.kubernetes.io/control-plane": ""})))
        .await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (
            403,
            "nodes \"a\" is forbidden: node \"a\" is not allowed to set the following labels: \
             node-role.kubernetes.io/control-plane"
        )
    );
    let own = made(json!({"kubernetes.io/hostname": "a", "example.com/rack": "1"}));
    node.json(Method::POST, "/api/v1/nodes", own).await.expect(201);
    let merge = |patch: Value| {
        let node = node.clone();
        let media = [("content-type", "application/merge-patch+json")];
        async move { node.send(Method::PATCH, "/api/v1/nodes/a", &media, patch.to_string().into()).await }
    };
    let refused = merge(json!({"metadata": {"labels": {"node-restriction.kubernetes.io/x": "1"}}})).await;
    assert!(refused.message().ends_with("not allowed to modify labels: node-restriction.kubernetes.io/x"));
    let refused = merge(json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}})).await;
    assert!(
        refused.message().ends_with("node \"a\" is not allowed to modify taints"),
        "{}",
        refused.message()
    );
    merge(json!({"metadata": {"labels": {"example.com/rack": "2"}}})).await.expect(200);
}

#[tokio::test]
async fn the_marked_class_is_everybodys() {
    let api = Api::new().await;
    let class = |name: &str, made: &str| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": {"name": name, "creationTimestamp": made,
                "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
            "spec": {"controller": "example.com/x"}})
    };
    let ingress = |name: &str| json!({"metadata": {"name": name}, "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}});
    let path = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
    assert!(api.make(path, ingress("a")).await["spec"].get("ingressClassName").is_none());
    put(&api, "networking.k8s.io", "ingressclasses", class("old", "2026-01-01T00:00:00Z")).await;
    put(&api, "networking.k8s.io", "ingressclasses", class("new", "2026-02-01T00:00:00Z")).await;
    assert_eq!(api.make(path, ingress("b")).await["spec"]["ingressClassName"], "new");
    let mut own = ingress("c");
    own["spec"]["ingressClassName"] = "old".into();
    assert_eq!(api.make(path, own).await["spec"]["ingressClassName"], "old");
}

#[tokio::test]
async fn the_clusters_own_namespaces_stay() {
    let api = Api::new().await;
    let refused = api.call(Method::DELETE, DEFAULT, Value::Null).await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (403, "namespaces \"default\" is forbidden: this namespace may not be deleted")
    );
}

fn quota(hard: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "default", "uid": "q"},
        "spec": {"hard": hard}})
}

fn used(api: &Api) -> Value {
    let stored =
        api.server.registry().store().get(&Key::of("core", "resourcequotas", "default", "q")).unwrap();
    serde_json::from_slice::<Value>(&stored.value).unwrap()["status"]["used"].clone()
}

#[tokio::test]
async fn a_quota_is_never_exceeded_however_many_write_at_once() {
    let api = Api::new().await;
    api.make(PODS, pod("before")).await;
    put(&api, "core", "resourcequotas", quota(json!({"pods": "6"}))).await;
    let all = futures::future::join_all((0..20).map(|i| {
        let name = format!("p{i}");
        let api = &api;
        async move { create(api, PODS, pod(&name)).await }
    }))
    .await;
    let made = all.iter().filter(|answer| answer.code == 201).count();
    assert_eq!(made, 5, "{:?}", all.iter().map(Answer::message).collect::<Vec<_>>());
    assert_eq!(used(&api), json!({"pods": "6"}));
    let refused = create(&api, PODS, pod("late")).await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (
            403,
            "pods \"late\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=6, limited: pods=6"
        )
    );
    api.call(Method::DELETE, &format!("{PODS}/before"), Value::Null).await.expect(200);
    assert_eq!(used(&api), json!({"pods": "5"}));
    create(&api, PODS, pod("late")).await.expect(201);
    api.merge(&format!("{PODS}/late/status"), json!({"status": {"phase": "Succeeded"}})).await.expect(200);
    assert_eq!(used(&api), json!({"pods": "5"}), "what has ended costs nothing");
}

#[tokio::test]
async fn a_quota_counts_what_is_asked_for_and_only_what_is_written() {
    let api = Api::new().await;
    put(
        &api,
        "core",
        "resourcequotas",
        quota(json!({
            "requests.cpu": "1", "count/configmaps": "1", "services.nodeports": "2",
        })),
    )
    .await;
    let refused = create(&api, PODS, pod("a")).await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (403, "pods \"a\" is forbidden: failed quota: q: must specify requests.cpu for: main")
    );
    let asking = |name: &str, cpu: &str| {
        let mut pod = pod(name);
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
        pod
    };
    create(&api, PODS, asking("a", "600m")).await.expect(201);
    assert_eq!(
        create(&api, PODS, asking("b", "500m")).await.message(),
        "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: \
         requests.cpu=1"
    );
    create(&api, &format!("{PODS}?dryRun=All"), asking("b", "400m")).await.expect(201);
    assert_eq!(create(&api, PODS, asking("a", "300m")).await.code, 409);
    assert_eq!(used(&api)["requests.cpu"], "600m", "what was not written costs nothing");
    let maps = format!("{DEFAULT}/configmaps");
    let map = |name: &str| json!({"metadata": {"name": name}});
    api.make(&maps, map("m")).await;
    assert_eq!(
        create(&api, &maps, map("n")).await.message(),
        "configmaps \"n\" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=1, \
         limited: count/configmaps=1"
    );
    let services = format!("{DEFAULT}/services");
    let ports = |many: &[i64]| -> Value {
        many.iter().map(|port| json!({"port": port, "name": format!("p{port}")})).collect()
    };
    let service = json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": ports(&[1])}});
    api.make(&services, service).await;
    let more = |many: &[i64]| json!({"spec": {"ports": ports(many)}});
    api.merge(&format!("{services}/s"), more(&[1, 2])).await.expect(200);
    assert_eq!(api.merge(&format!("{services}/s"), more(&[1, 2, 3])).await.code, 403);
    assert_eq!(used(&api)["services.nodeports"], "2");
    api.merge(
        &format!("{services}/s"),
        json!({"spec": {"type": "ClusterIP", "externalTrafficPolicy": null, "ports": ports(&[1])}}),
    )
    .await
    .expect(200);
    assert_eq!(used(&api)["services.nodeports"], "0");
}

#[tokio::test]
async fn a_secret_that_asks_for_a_token_gets_one() {
    let api = Api::new().await;
    let secrets = format!("{DEFAULT}/secrets");
    let secret = |account: &str| {
        json!({"metadata": {"name": account, "annotations": {"kubernetes.io/service-account.name": account}},
            "type": "kubernetes.io/service-account-token"})
    };
    let made = api.make(&secrets, secret("default")).await;
    let read = |field: &str| {
        let text = made["data"][field].as_str().unwrap();
        String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
    };
    assert_eq!(read("namespace"), "default");
    let registry = api.server.registry();
    assert_eq!(read("ca.crt"), registry.pki().authority_pem());
    let claims = registry.pki().signer().read(&read("token")).unwrap();
    assert_eq!(claims.user().name, "system:serviceaccount:default:default");
    assert!(registry.exists(&claims.bound));
    let account = api.get(&format!("{DEFAULT}/serviceaccounts/default")).await.json();
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/service-account.uid"],
        account["metadata"]["uid"]
    );
    api.call(Method::DELETE, &format!("{secrets}/default"), Value::Null).await.expect(200);
    assert!(!registry.exists(&claims.bound), "the token goes with its Secret");
    assert!(api.make(&secrets, secret("nobody")).await.get("data").is_none());
}
