//! create, update, patch: what is kept, what is refused and in which words.

use std::collections::BTreeSet;

use bytes::Bytes;
use edge_api::protobuf;
use http::Method;
use serde_json::{Value, json};

use crate::http::tests::admission::warnings;
use crate::http::tests::harness::{Api, config_map};
use crate::identity::User;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const MAP: &str = "/api/v1/namespaces/default/configmaps/m";

#[tokio::test]
async fn an_object_is_stamped_and_found_again() {
    let api = Api::new().await;
    let made = api.make(MAPS, config_map("m", "1")).await;
    let metadata = &made["metadata"];
    assert_eq!((&metadata["namespace"], &metadata["name"]), (&json!("default"), &json!("m")));
    assert_eq!(metadata["creationTimestamp"], "2027-01-15T08:00:00Z");
    assert!(metadata["uid"].as_str().unwrap().len() == 36 && metadata["resourceVersion"].is_string());
    assert_eq!(api.get(MAP).await.expect(200), made);
    let again = api.call(Method::POST, MAPS, config_map("m", "1")).await;
    assert_eq!((again.code, again.message().as_str()), (409, "configmaps \"m\" already exists"));
    assert_eq!(again.json()["details"], json!({"name": "m", "kind": "configmaps"}));
    let nowhere = api.call(Method::POST, "/api/v1/namespaces/x/configmaps", config_map("m", "1")).await;
    assert_eq!((nowhere.code, nowhere.message().as_str()), (404, "namespaces \"x\" not found"));
}

#[tokio::test]
async fn bad_bodies_are_refused_in_kubernetes_words() {
    let api = Api::new().await;
    let client = api.client(User::admin("a")).await;
    let deep = "[".repeat(100_000);
    let large = Bytes::from(vec![b' '; 4 << 20]);
    let json = "application/json";
    for (media, body, code, words) in [
        (json, Bytes::from_static(b"{"), 400, "not valid JSON"),
        (json, Bytes::from_static(b"\xff"), 400, "not valid JSON"),
        (json, deep.clone().into(), 400, "recursion limit"),
        (json, Bytes::from_static(b"[]"), 400, "not an object"),
        (json, large, 413, "Request entity too large: limit is 3145728"),
        ("application/yaml", deep.into(), 400, "yaml"),
        ("application/yaml", Bytes::from_static(b"a: &a [*a]"), 400, ""),
        ("text/plain", Bytes::new(), 415, "unknown format"),
        ("application/vnd.kubernetes.protobuf", Bytes::from_static(b"k8s\0\xff\xff"), 400, "protobuf"),
        (json, Bytes::from_static(b"{\"kind\":\"Pod\"}"), 400, "does not match the expected kind"),
        (
            json,
            Bytes::from_static(b"{\"apiVersion\":\"v9\"}"),
            400,
            "does not match the expected API version",
        ),
        (
            json,
            Bytes::from_static(b"{\"metadata\":{\"namespace\":\"x\"}}"),
            400,
            "namespace of the provided object",
        ),
        (
            json,
            Bytes::from_static(b"{\"data\":{\"a\":1}}"),
            400,
            "cannot be handled as a ConfigMap: json: cannot",
        ),
        (json, Bytes::from_static(b"{}"), 422, "name or generateName is required"),
    ] {
        let answer = client.send(Method::POST, MAPS, &[("content-type", media)], body).await;
        assert_eq!(answer.code, code, "{words}: {}", answer.message());
        assert!(answer.message().contains(words), "{words}: {}", answer.message());
        assert_eq!(answer.json()["kind"], "Status");
    }
    let answer = api.call(Method::POST, MAPS, config_map("A_b", "1")).await;
    assert_eq!(answer.json()["details"]["causes"][0]["field"], "metadata.name");
}

#[tokio::test]
async fn unknown_fields_are_an_error_a_warning_or_nothing() {
    let api = Api::new().await;
    let client = api.client(User::admin("a")).await;
    let body = |name: &str| -> Bytes {
        format!("{{\"metadata\":{{\"name\":\"{name}\"}},\"dta\":1,\"data\":{{\"a\":\"1\",\"a\":\"2\"}}}}")
            .into()
    };
    let send = |name: &'static str, mode: &str| {
        let path = format!("{MAPS}?fieldValidation={mode}");
        let client = client.clone();
        async move { client.send(Method::POST, &path, &[], body(name)).await }
    };
    let strict = send("s", "Strict").await;
    assert_eq!(strict.code, 400);
    assert_eq!(
        strict.message(),
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: duplicate field \
         \"data.a\", unknown field \"dta\""
    );
    let warned = send("w", "Warn").await;
    let warnings: Vec<&str> = warned.headers.get_all("warning").iter().map(|v| v.to_str().unwrap()).collect();
    assert_eq!(warnings, ["299 - \"duplicate field \\\"data.a\\\"\"", "299 - \"unknown field \\\"dta\\\"\""]);
    assert_eq!(warned.expect(201)["data"], json!({"a": "2"}));
    let ignored = send("i", "Ignore").await;
    assert!(ignored.headers.get("warning").is_none() && ignored.expect(201).get("dta").is_none());
    assert_eq!(send("x", "Loud").await.code, 422);
}

#[tokio::test]
async fn what_is_most_likely_a_mistake_is_told_once_for_each_wish() {
    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
    let api = Api::new().await;
    let env = json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]);
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "file:c.wasm", "env": env}]},
        }},
    });
    let told = [
        "299 - \"spec.template.spec.containers[0].env[1]: hides previous definition of \\\"A\\\", which may be dropped when using apply\"",
    ];
    let made = api.call(Method::POST, DEPLOYMENTS, deployment).await;
    assert_eq!(warnings(&made), told);
    let mut deployment = made.expect(201);
    let path = format!("{DEPLOYMENTS}/d");
    deployment["metadata"]["labels"] = json!({"a": "b"});
    let labelled = api.call(Method::PUT, &path, deployment).await;
    assert_eq!(warnings(&labelled), [] as [&str; 0], "nothing else is wished");
    let mut deployment = labelled.expect(200);
    deployment["spec"]["replicas"] = json!(2);
    assert_eq!(warnings(&api.call(Method::PUT, &path, deployment).await), told);
}

#[tokio::test]
async fn updates_bind_to_the_revision_they_name() {
    let api = Api::new().await;
    let first = api.make(MAPS, config_map("m", "1")).await;
    let mut changed = first.clone();
    changed["data"]["a"] = "2".into();
    let second = api.call(Method::PUT, MAP, changed.clone()).await.expect(200);
    assert_ne!(first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);
    let stale = api.call(Method::PUT, MAP, changed).await;
    assert_eq!(stale.code, 409);
    assert_eq!(
        stale.message(),
        "Operation cannot be fulfilled on configmaps \"m\": the object has been modified; please apply your changes \
         to the latest version and try again"
    );
    assert_eq!(stale.json()["reason"], "Conflict");
    let same = api.call(Method::PUT, MAP, second.clone()).await.expect(200);
    assert_eq!(same, second, "what changes nothing writes nothing");
    let unbound = api.call(Method::PUT, MAP, config_map("m", "3")).await.expect(200);
    assert_eq!(unbound["metadata"]["uid"], first["metadata"]["uid"]);
    let renamed = api.call(Method::PUT, MAP, config_map("n", "3")).await;
    assert_eq!(renamed.code, 400);
    let other = json!({"metadata": {"name": "m", "uid": "x"}});
    assert!(api.call(Method::PUT, MAP, other).await.message().contains("UID in precondition: x"));
    assert_eq!(api.call(Method::PUT, &MAP.replace("/m", "/none"), json!({})).await.code, 404);
}

#[tokio::test]
async fn three_kinds_of_patches_apply() {
    let api = Api::new().await;
    api.make(MAPS, config_map("m", "1")).await;
    let merged = api.merge(MAP, json!({"data": {"b": "2", "a": null}})).await.expect(200);
    assert_eq!(merged["data"], json!({"b": "2"}));
    let json_patch = json!([{"op": "test", "path": "/data/b", "value": "2"}, {"op": "add", "path": "/data/c", "value": "3"}]);
    let patched = api.patch(MAP, "application/json-patch+json", json_patch).await.expect(200);
    assert_eq!(patched["data"], json!({"b": "2", "c": "3"}));
    let failing = json!([{"op": "test", "path": "/data/b", "value": "9"}]);
    assert_eq!(api.patch(MAP, "application/json-patch+json", failing).await.code, 422);
    assert_eq!(api.patch(MAP, "application/json-patch+json", json!({"a": 1})).await.code, 400);
    assert_eq!(api.patch(MAP, "application/xml", json!({})).await.code, 415);
    assert_eq!(api.merge(MAP, json!({"metadata": {"name": "x"}})).await.code, 422);
    assert_eq!(api.merge(MAP, json!({"metadata": {"resourceVersion": "1"}})).await.code, 409);
    let before = api.get(MAP).await.json();
    assert_eq!(api.merge(MAP, json!({"data": {"b": "2"}})).await.json(), before, "nothing changed");

    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "x", "image": "file:1"}]}},
    }});
    api.make("/apis/apps/v1/namespaces/default/deployments", deployment).await;
    let path = "/apis/apps/v1/namespaces/default/deployments/d";
    let strategic =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "y", "image": "file:2"}]}}}});
    let patched = api.patch(path, "application/strategic-merge-patch+json", strategic).await.expect(200);
    let names: BTreeSet<&str> = patched["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|container| container["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, BTreeSet::from(["x", "y"]));
    assert_eq!(patched["metadata"]["generation"], 2);
}

#[tokio::test]
async fn patches_at_once_all_arrive() {
    let api = Api::new().await;
    api.make(MAPS, config_map("m", "1")).await;
    let patches = (0..20).map(|i| api.merge(MAP, json!({"data": {format!("k{i}"): "v"}})));
    for answer in futures::future::join_all(patches).await {
        answer.expect(200);
    }
    assert_eq!(api.get(MAP).await.json()["data"].as_object().unwrap().len(), 21);
}

#[tokio::test]
async fn dry_runs_store_nothing() {
    let api = Api::new().await;
    let dry = api.call(Method::POST, &format!("{MAPS}?dryRun=All"), config_map("m", "1")).await.expect(201);
    assert!(dry["metadata"]["uid"].is_string() && dry["metadata"].get("resourceVersion").is_none());
    assert_eq!(api.get(MAP).await.code, 404);
    let made = api.make(MAPS, config_map("m", "1")).await;
    let wished = api.merge(&format!("{MAP}?dryRun=All"), json!({"data": {"a": "2"}})).await.expect(200);
    assert_eq!(wished["data"]["a"], "2");
    api.call(Method::DELETE, &format!("{MAP}?dryRun=All"), Value::Null).await.expect(200);
    assert_eq!(api.get(MAP).await.json(), made);
    assert_eq!(api.call(Method::POST, &format!("{MAPS}?dryRun=All"), config_map("m", "1")).await.code, 409);
}

#[tokio::test]
async fn generated_names_and_protobuf_bodies_work() {
    let api = Api::new().await;
    let made = api.make(MAPS, json!({"metadata": {"generateName": "g-"}})).await;
    assert!(made["metadata"]["name"].as_str().unwrap().starts_with("g-"));
    let namespace = api.make("/api/v1/namespaces", json!({"metadata": {"generateName": "n-"}})).await;
    assert_eq!(namespace["metadata"]["labels"]["kubernetes.io/metadata.name"], namespace["metadata"]["name"]);
    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "p"}, "data": {"a": "ü"}});
    let client = api.client(User::admin("a")).await;
    let media = "application/vnd.kubernetes.protobuf";
    let headers = [("content-type", media), ("accept", media)];
    let body = protobuf::encode(&object).unwrap().into();
    let answer = client.send(Method::POST, MAPS, &headers, body).await;
    assert_eq!(answer.code, 201);
    assert_eq!(answer.headers["content-type"], media);
    assert_eq!(protobuf::decode(&answer.bytes).unwrap()["data"], json!({"a": "ü"}));
    let yaml = Bytes::from_static(b"metadata:\n  name: from-yaml\ndata:\n  a: 'yes'\n");
    client.send(Method::POST, MAPS, &[("content-type", "application/yaml")], yaml).await.expect(201);
}

#[tokio::test]
async fn services_made_at_once_get_different_addresses() {
    let api = Api::new().await;
    let path = "/api/v1/namespaces/default/services";
    let service = |i: usize| json!({"metadata": {"name": format!("s{i}")}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    let made = futures::future::join_all((0..20).map(|i| api.make(path, service(i)))).await;
    let addresses: BTreeSet<String> = made.iter().map(|s| s["spec"]["clusterIP"].to_string()).collect();
    let ports: BTreeSet<String> =
        made.iter().map(|s| s["spec"]["ports"][0]["nodePort"].to_string()).collect();
    assert_eq!((addresses.len(), ports.len()), (20, 20));
    let taken = made[0]["spec"]["clusterIP"].clone();
    let wish = json!({"metadata": {"name": "w"}, "spec": {"clusterIP": taken, "ports": [{"port": 80}]}});
    let refused = api.call(Method::POST, path, wish.clone()).await;
    assert_eq!(refused.code, 422);
    assert!(refused.message().contains("provided IP is already allocated"), "{}", refused.message());
    api.call(Method::DELETE, &format!("{path}/s0"), Value::Null).await.expect(200);
    api.make(path, wish).await;
}
