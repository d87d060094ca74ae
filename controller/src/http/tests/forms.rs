//! In which forms requests and answers travel: protobuf, YAML, the schema documents, options that contradict.

use bytes::Bytes;
use edge_api::protobuf;
use http::Method;
use serde_json::{Value, json};

use crate::http::tests::harness::{Answer, Api, Client, config_map, pod};
use crate::identity::User;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

async fn client(api: &Api) -> Client {
    api.client(User::admin("a")).await
}

fn media(answer: &Answer) -> &str {
    answer.headers["content-type"].to_str().unwrap()
}

/// The frames of a watch: of each the type and the object.
fn frames(mut bytes: &[u8]) -> Vec<(String, Value)> {
    let mut told = Vec::new();
    while let Some((length, rest)) = bytes.split_at_checked(4) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let (frame, rest) = rest.split_at(length);
        let name = String::from_utf8(frame[2..2 + usize::from(frame[1])].to_vec()).unwrap();
        let magic = frame.windows(4).position(|window| window == protobuf::MAGIC).unwrap();
        told.push((name, protobuf::decode(&frame[magic..]).unwrap()));
        bytes = rest;
    }
    told
}

#[tokio::test]
async fn watches_come_in_frames_of_protobuf_where_nothing_else_is_taken() {
    let api = Api::new().await;
    api.make(MAPS, config_map("a", "1")).await;
    let client = client(&api).await;
    let query = "watch=true&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan\
                 &allowWatchBookmarks=true";
    let path = format!("{MAPS}?{query}");
    let answer = client.get(&path, &[("accept", PROTOBUF)]).await;
    assert_eq!((answer.code, media(&answer)), (200, "application/vnd.kubernetes.protobuf;stream=watch"));
    let told = frames(&answer.bytes);
    assert_eq!((told[0].0.as_str(), &told[0].1["data"]), ("ADDED", &json!({"a": "1"})));
    assert!(told[0].1["metadata"]["resourceVersion"].is_string());
    assert_eq!(told[1].0, "BOOKMARK");
    assert_eq!(told[1].1["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let partial = format!("{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
    let answer = client.get(&path, &[("accept", &partial)]).await;
    assert_eq!(frames(&answer.bytes)[0].1["kind"], "PartialObjectMetadata");
    let both = client.get(&path, &[("accept", &format!("{PROTOBUF},application/json"))]).await;
    assert_eq!(media(&both), "application/json");
    assert_eq!(client.get(&path, &[("accept", "application/yaml")]).await.code, 406);
}

#[tokio::test]
async fn lists_and_failures_are_written_as_asked_for() {
    let api = Api::new().await;
    api.make(MAPS, config_map("a", "1")).await;
    let client = client(&api).await;
    let list = client.get(MAPS, &[("accept", PROTOBUF)]).await;
    assert_eq!(media(&list), PROTOBUF);
    let list = protobuf::decode(&list.bytes).unwrap();
    assert_eq!((&list["kind"], &list["items"][0]["data"]["a"]), (&json!("ConfigMapList"), &json!("1")));
    let partial = format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let list = protobuf::decode(&client.get(MAPS, &[("accept", &partial)]).await.bytes).unwrap();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["metadata"]["name"], "a");
    let missing = client.get(&format!("{MAPS}/none"), &[("accept", PROTOBUF)]).await;
    assert_eq!((missing.code, media(&missing)), (404, PROTOBUF));
    assert_eq!(protobuf::decode(&missing.bytes).unwrap()["reason"], "NotFound");
    let missing = client.get(&format!("{MAPS}/none"), &[("accept", "application/yaml")]).await;
    assert!(String::from_utf8_lossy(&missing.bytes).contains("reason: NotFound"));
}

#[tokio::test]
async fn every_document_of_the_schema_has_its_media_type() {
    let api = Api::new().await;
    let client = client(&api).await;
    let old = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let answer = client.get("/openapi/v2", &[("accept", old)]).await;
    assert_eq!(
        (answer.code, media(&answer)),
        (200, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
    );
    assert_eq!(answer.bytes[..5], *b"\x0a\x032.0");
    assert_eq!(client.get("/openapi/v2", &[]).await.expect(200)["swagger"], "2.0");
    assert_eq!(client.get("/openapi/v2", &[("accept", "text/html")]).await.code, 406);

    let index = client.get("/openapi/v3", &[("accept", "application/json, */*")]).await.expect(200);
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    let apps = client.get(url, &[]).await;
    assert_eq!(apps.headers["cache-control"], "public, immutable");
    assert_eq!(apps.expect(200)["openapi"], "3.0.0");
    let tag = apps.headers["etag"].to_str().unwrap();
    assert_eq!(client.get(url, &[("if-none-match", tag)]).await.code, 304);
    let stale = client.get("/openapi/v3/apis/apps/v1?hash=00", &[]).await;
    assert_eq!((stale.code, stale.headers["location"].to_str().unwrap()), (301, url));
    let only = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";
    assert_eq!(client.get(url, &[("accept", only)]).await.code, 406);
    let paths = client.get("/", &[]).await.expect(200);
    for path in ["/api/v1", "/apis/apps/v1", "/openapi/v3", "/readyz"] {
        assert!(paths["paths"].as_array().unwrap().contains(&json!(path)), "{path}");
    }
}

#[tokio::test]
async fn yaml_is_read_as_strictly_as_json() {
    let api = Api::new().await;
    let client = client(&api).await;
    let send = |mode: &str, text: &str| {
        let (client, path) = (client.clone(), format!("{MAPS}?fieldValidation={mode}"));
        let body = Bytes::from(text.to_owned());
        async move { client.send(Method::POST, &path, &[("content-type", "application/yaml")], body).await }
    };
    let twice = "metadata: {name: two}\ndata:\n  a: '1'\n  a: '2'\n";
    let strict = send("Strict", twice).await;
    assert_eq!(strict.code, 400);
    assert!(strict.message().ends_with("strict decoding error: duplicate field \"data.a\""));
    let warned = send("Warn", twice).await;
    assert_eq!(warned.headers["warning"], "299 - \"duplicate field \\\"data.a\\\"\"");
    assert_eq!(warned.expect(201)["data"]["a"], "2");
    let path = format!("{MAPS}/two?fieldValidation=Strict");
    let media = [("content-type", "application/merge-patch+json")];
    let twice = Bytes::from_static(b"{\"data\":{\"b\":\"1\",\"b\":\"2\"}}");
    let patched = client.send(Method::PATCH, &path, &media, twice).await;
    assert!(patched.message().ends_with("strict decoding error: duplicate field \"data.b\""));
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, of) in ('b'..='k').zip('a'..='j') {
        bomb += &format!(
            "{name}: &{name} [*{of}, *{of}, *{of}, *{of}, *{of}, *{of}, *{of}, *{of}, *{of}, *{of}]\n"
        );
    }
    for bad in [bomb.as_str(), &"- ".repeat(1000), "{\"a\": [1, 2", "a: 1\n---\nb: 2\n"] {
        assert_eq!(send("Warn", bad).await.code, 400, "{}", &bad[..bad.len().min(40)]);
    }
}

#[tokio::test]
async fn a_delete_may_say_how_in_any_encoding() {
    let api = Api::new().await;
    let client = client(&api).await;
    let made = api.make(MAPS, config_map("a", "1")).await;
    let path = format!("{MAPS}/a");
    let send = |media: &'static str, body: Bytes| {
        let (client, path) = (client.clone(), path.clone());
        async move { client.send(Method::DELETE, &path, &[("content-type", media)], body).await }
    };
    for (body, code, words) in [
        (json!({"kind": "ConfigMap"}), 400, "not a \"ConfigMap\""),
        (json!({"gracePeriodSeconds": "soon"}), 400, "DeleteOptions cannot be handled"),
        (
            json!({"dryRun": ["Some"]}),
            422,
            "DeleteOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value",
        ),
        (json!({"propagationPolicy": "Sideways"}), 422, "propagationPolicy: Unsupported value: \"Sideways\""),
        (
            json!({"propagationPolicy": "Orphan", "orphanDependents": true}),
            422,
            "orphanDependents and deletionPropagation cannot be both set",
        ),
        (json!({"preconditions": {"uid": "x"}}), 409, "Precondition failed: UID in precondition: x"),
        (json!({"preconditions": {"resourceVersion": "1"}}), 409, "Precondition failed: ResourceVersion"),
    ] {
        let answer = send("application/json", body.to_string().into()).await;
        assert_eq!(answer.code, code, "{words}: {}", answer.message());
        assert!(answer.message().contains(words), "{words}: {}", answer.message());
    }
    let options = |more: Value| {
        let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Bytes::from(protobuf::encode(&options).unwrap())
    };
    send(PROTOBUF, options(json!({"dryRun": ["All"]}))).await.expect(200);
    let uid = made["metadata"]["uid"].clone();
    let done = send(PROTOBUF, options(json!({"preconditions": {"uid": uid}}))).await.expect(200);
    assert_eq!((&done["status"], &done["details"]["uid"]), (&json!("Success"), &uid));
    assert_eq!(api.get(&path).await.code, 404);
}

#[tokio::test]
async fn wishes_that_contradict_are_refused() {
    let api = Api::new().await;
    api.make(MAPS, config_map("a", "1")).await;
    for (method, path, code, words) in [
        (Method::GET, "?resourceVersionMatch=Exact", 422, "is forbidden unless resourceVersion is provided"),
        (Method::GET, "?watch=1&resourceVersionMatch=NotOlderThan", 422, "is forbidden for watch unless"),
        (Method::GET, "?continue=%7B", 400, "continue key is not valid"),
        (Method::GET, "/a?resourceVersion=99999999", 504, "Too large resource version"),
        (Method::GET, "/a?resourceVersion=-1", 400, "resourceVersion"),
        (Method::GET, "?timeoutSeconds=-1&watch=1", 400, "timeoutSeconds"),
        (Method::DELETE, "/a?dryRun=Some", 422, "DeleteOptions.meta.k8s.io \"\" is invalid: dryRun"),
        (
            Method::PUT,
            "/a?fieldValidation=Loud",
            422,
            "UpdateOptions.meta.k8s.io \"\" is invalid: fieldValidation",
        ),
        (Method::PUT, "/a?fieldManager=%07", 422, "fieldManager: Invalid value"),
        (Method::PATCH, "/a?force=true", 422, "force: Forbidden: may not be specified for non-apply patch"),
    ] {
        let client = client(&api).await;
        let headers = [("content-type", "application/merge-patch+json")];
        let headers = if method == Method::PATCH { &headers[..] } else { &[] };
        let answer = client.send(method, &format!("{MAPS}{path}"), headers, "{}".into()).await;
        assert_eq!(answer.code, code, "{path}: {}", answer.message());
        assert!(answer.message().contains(words), "{path}: {}", answer.message());
    }
    let refused = api.get(&format!("{MAPS}?resourceVersionMatch=Exact")).await.json();
    assert_eq!(refused["details"]["causes"][0]["field"], "resourceVersionMatch");
}

#[tokio::test]
async fn large_things_are_refused_or_borne() {
    let api = Api::new().await;
    let mut many = config_map("many", "1");
    many["metadata"]["labels"] = (0..10_000).map(|i| (format!("label-{i}"), json!("v"))).collect::<Value>();
    api.make(MAPS, many).await;
    let terms = |count: usize| -> String {
        let terms: Vec<String> = (0..count).map(|i| format!("label-{i}%3Dv")).collect();
        format!("{MAPS}?labelSelector={}", terms.join(","))
    };
    let found = api.get(&terms(1000)).await.expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    assert_eq!(api.get(&terms(3000)).await.message(), "a selector may have at most 1024 requirements");
    let mut heavy = pod("heavy");
    heavy["metadata"]["annotations"] = json!({"a": "x".repeat(300 * 1024)});
    let refused = api.call(Method::POST, "/api/v1/namespaces/default/pods", heavy).await;
    assert_eq!(refused.code, 422);
    assert!(refused.message().contains("metadata.annotations: Too long"), "{}", refused.message());
}
