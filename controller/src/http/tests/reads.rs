//! get, list and discovery, in every form.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};

use crate::http::tests::harness::{Api, config_map};
use crate::identity::User;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn with_maps(count: usize) -> Api {
    let api = Api::new().await;
    for i in 0..count {
        let mut map = config_map(&format!("m{i:03}"), "1");
        map["metadata"]["labels"] = json!({"odd": (i % 2 == 1).to_string()});
        api.make(MAPS, map).await;
    }
    api
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pages_show_one_moment() {
    let api = with_maps(7).await;
    let first = api.get(&format!("{MAPS}?limit=3")).await.expect(200);
    assert_eq!((names(&first).len(), &first["metadata"]["remainingItemCount"]), (3, &json!(4)));
    api.make(MAPS, config_map("m000a", "late")).await;
    api.call(Method::DELETE, &format!("{MAPS}/m004"), Value::Null).await.expect(200);
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    let second = api.get(&format!("{MAPS}?limit=3&continue={token}")).await.expect(200);
    assert_eq!(names(&second), ["m003", "m004", "m005"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap().to_owned();
    let third = api.get(&format!("{MAPS}?limit=3&continue={token}")).await.expect(200);
    assert_eq!(names(&third), ["m006"]);
    // Of a list that has expired, the rest can be had as it is now.
    let token = URL_SAFE_NO_PAD.encode(r#"{"rv":null,"start":"m002"}"#);
    let rest = api.get(&format!("{MAPS}?limit=9&continue={token}")).await.expect(200);
    assert_eq!(names(&rest), ["m003", "m005", "m006"]);
    assert!(third["metadata"].get("continue").is_none());
    assert_eq!(api.get(&format!("{MAPS}?limit=3&continue=x")).await.code, 400);
    assert_eq!(names(&api.get(&format!("{MAPS}?limit=7")).await.json()).len(), 7);
}

#[tokio::test]
async fn selectors_choose_over_pages() {
    let api = with_maps(9).await;
    let page = api.get(&format!("{MAPS}?labelSelector=odd%3Dtrue&limit=3")).await.expect(200);
    assert_eq!(names(&page), ["m001", "m003", "m005"]);
    assert!(page["metadata"].get("remainingItemCount").is_none());
    let token = page["metadata"]["continue"].as_str().unwrap();
    let rest =
        api.get(&format!("{MAPS}?labelSelector=odd%3Dtrue&limit=3&continue={token}")).await.expect(200);
    assert_eq!(names(&rest), ["m007"]);
    for (query, expected) in [
        ("fieldSelector=metadata.name%3Dm002", vec!["m002"]),
        ("fieldSelector=metadata.name%3Dm002&labelSelector=odd%3Dtrue", vec![]),
        (
            "fieldSelector=metadata.name!%3Dm002&labelSelector=odd%3Dfalse,odd",
            vec!["m000", "m004", "m006", "m008"],
        ),
    ] {
        assert_eq!(names(&api.get(&format!("{MAPS}?{query}")).await.expect(200)), expected, "{query}");
    }
    assert_eq!(api.get(&format!("{MAPS}?labelSelector=((")).await.code, 400);
    assert_eq!(api.get(&format!("{MAPS}?fieldSelector=spec.x%3D1")).await.code, 400);
}

#[tokio::test]
async fn revisions_bind_lists() {
    let api = with_maps(2).await;
    let now = api.get(MAPS).await.expect(200)["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    api.make(MAPS, config_map("z", "1")).await;
    let exact = format!("{MAPS}?resourceVersionMatch=Exact&resourceVersion={now}");
    assert_eq!(names(&api.get(&exact).await.expect(200)).len(), 2);
    let newer = format!("{MAPS}?resourceVersionMatch=NotOlderThan&resourceVersion={now}");
    assert_eq!(names(&api.get(&newer).await.expect(200)).len(), 3);
    assert_eq!(names(&api.get(&format!("{MAPS}?resourceVersion=0")).await.expect(200)).len(), 3);
    let future = api.get(&format!("{MAPS}?resourceVersion=99999999")).await;
    assert_eq!(future.code, 504);
    assert_eq!(future.json()["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    for query in ["resourceVersion=x", "limit=-1"] {
        assert_eq!(api.get(&format!("{MAPS}?{query}")).await.code, 400, "{query}");
    }
    assert_eq!(api.get(&format!("{MAPS}?resourceVersionMatch=Some&resourceVersion=1")).await.code, 422);
}

#[tokio::test]
async fn a_long_list_is_streamed_and_compressed() {
    let api = Api::new().await;
    for i in 0..60 {
        api.make(MAPS, config_map(&format!("m{i:03}"), &"x".repeat(4000))).await;
    }
    let plain = api.get(MAPS).await;
    assert_eq!(names(&plain.expect(200)).len(), 60);
    let client = api.client(User::admin("a")).await;
    let packed = client.get(MAPS, &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(packed.bytes.len() * 10 < plain.bytes.len());
    let read: Value = serde_json::from_reader(flate2::read::GzDecoder::new(&packed.bytes[..])).unwrap();
    assert_eq!(read, plain.json());
}

#[tokio::test]
async fn tables_and_metadata_are_given_where_asked() {
    let api = with_maps(2).await;
    let client = api.client(User::admin("a")).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let list = client.get(MAPS, &[("accept", table)]).await.expect(200);
    assert_eq!((&list["kind"], &list["columnDefinitions"][0]["name"]), (&json!("Table"), &json!("Name")));
    assert_eq!(list["rows"][1]["cells"][0], "m001");
    assert_eq!(list["rows"][1]["object"]["kind"], "PartialObjectMetadata");
    let whole =
        client.get(&format!("{MAPS}/m001?includeObject=Object"), &[("accept", table)]).await.expect(200);
    assert_eq!(whole["rows"][0]["object"]["data"]["a"], "1");
    let metadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let partial = client.get(MAPS, &[("accept", metadata)]).await.expect(200);
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert!(partial["items"][0].get("data").is_none());
    assert_eq!(client.get(MAPS, &[("accept", "image/png")]).await.code, 406);
    let yaml = client.get(&format!("{MAPS}/m001"), &[("accept", "application/yaml")]).await;
    assert!(String::from_utf8_lossy(&yaml.bytes).contains("name: m001"));
    // Failures are plain, whatever was asked for.
    assert_eq!(client.get(&format!("{MAPS}/none"), &[("accept", table)]).await.expect(404)["kind"], "Status");
}

#[tokio::test]
async fn discovery_is_complete_and_remembered() {
    let api = Api::new().await;
    let client = api.client(User::admin("a")).await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let groups = client.get("/apis", &[("accept", accept)]).await;
    assert_eq!(
        groups.headers["content-type"],
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    let tag = groups.headers["etag"].to_str().unwrap().to_owned();
    let known = client.get("/apis", &[("accept", accept), ("if-none-match", &tag)]).await;
    assert_eq!((known.code, known.bytes.len()), (304, 0));
    let groups = groups.json();
    let apps = groups["items"].as_array().unwrap().iter().find(|g| g["metadata"]["name"] == "apps").unwrap();
    let resources = apps["versions"][0]["resources"].as_array().unwrap();
    let deployments = resources.iter().find(|r| r["responseKind"]["kind"] == "Deployment").unwrap();
    let scale = deployments["subresources"].as_array().unwrap().iter().find(|s| s["subresource"] == "scale");
    assert_eq!(scale.unwrap()["responseKind"]["group"], "autoscaling");
    assert_eq!(
        client.get("/api", &[("accept", accept)]).await.expect(200)["items"][0]["versions"][0]["version"],
        "v1"
    );
    assert_eq!(client.get("/api", &[]).await.expect(200)["versions"], json!(["v1"]));
    let core = client.get("/api/v1", &[]).await.expect(200);
    let evict = core["resources"].as_array().unwrap().iter().find(|r| r["name"] == "pods/eviction").unwrap();
    assert_eq!((&evict["group"], &evict["kind"]), (&json!("policy"), &json!("Eviction")));
    assert_eq!(client.get("/apis/apps", &[]).await.expect(200)["preferredVersion"]["version"], "v1");
    assert_eq!(client.get("/apis/nothing/v1", &[]).await.code, 404);
    let index = client.get("/openapi/v3", &[]).await.expect(200);
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = client.get(&url, &[]).await;
    assert!(document.expect(200)["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"].is_object());
    let tag = document.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(client.get(&url, &[("if-none-match", &tag)]).await.code, 304);
    assert_eq!(client.get("/openapi/v3/apis/nothing/v1", &[]).await.code, 404);
    assert!(
        client.get("/version", &[]).await.expect(200)["gitVersion"].as_str().unwrap().starts_with("v1.37.")
    );
    assert!(
        String::from_utf8_lossy(&client.get("/metrics", &[]).await.bytes).contains("apiserver_request_total")
    );
    assert_eq!(client.get("/readyz?verbose", &[]).await.bytes, "[+]ping ok\nreadyz check passed\n");
}

#[tokio::test]
async fn events_are_the_same_objects_in_both_groups() {
    let api = Api::new().await;
    let event = json!({
        "metadata": {"name": "e", "namespace": "default"}, "reason": "Testing", "message": "hello", "type": "Normal",
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}, "source": {"component": "test"},
    });
    api.make("/api/v1/namespaces/default/events", event).await;
    let newer = api.get("/apis/events.k8s.io/v1/namespaces/default/events/e").await.expect(200);
    assert_eq!((&newer["note"], &newer["regarding"]["name"]), (&json!("hello"), &json!("p")));
    let path = "/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name%3Dp";
    assert_eq!(names(&api.get(path).await.expect(200)), ["e"]);
    let path =
        "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp,involvedObject.kind%3DPod";
    assert_eq!(names(&api.get(path).await.expect(200)), ["e"]);
}
