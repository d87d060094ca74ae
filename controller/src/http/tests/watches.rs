//! watch: what is told, through selectors, in which form, and how it ends.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::http::tests::harness::{Api, config_map};
use crate::identity::User;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn selectors_turn_changes_into_comings_and_goings() {
    let api = Api::new().await;
    let client = api.client(User::admin("a")).await;
    let mut watch = client.watch(&format!("{MAPS}?watch=true&labelSelector=t%3D1")).await;
    api.make(MAPS, config_map("m", "1")).await;
    let path = format!("{MAPS}/m");
    for labels in [json!({"t": "1"}), json!({"u": "1"}), json!({"t": null}), json!({"t": "1"})] {
        api.merge(&path, json!({"metadata": {"labels": labels}})).await.expect(200);
    }
    api.call(Method::DELETE, &path, Value::Null).await.expect(200);
    let mut last = 0;
    for expected in ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"] {
        let event = watch.next().await.unwrap();
        assert_eq!(event["type"], expected);
        assert_eq!(event["object"]["metadata"]["labels"]["t"], "1", "a goer is shown as it last matched");
        let revision: u64 = event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        assert!(revision > last);
        last = revision;
    }
}

#[tokio::test]
async fn a_watch_goes_on_where_a_list_ended() {
    let api = Api::new().await;
    api.make(MAPS, config_map("a", "1")).await;
    let list = api.get(MAPS).await.expect(200);
    api.make(MAPS, config_map("b", "1")).await;
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    let client = api.client(User::admin("a")).await;
    let mut watch = client.watch(&format!("{MAPS}?watch=true&resourceVersion={revision}")).await;
    assert_eq!(watch.told().await, "ADDED b");
    let mut everything = client.watch(&format!("{MAPS}?watch=1&resourceVersion=0")).await;
    assert_eq!((everything.told().await, everything.told().await), ("ADDED a".into(), "ADDED b".into()));
    let mut one = client.watch(&format!("{MAPS}?watch=1&fieldSelector=metadata.name%3Db")).await;
    assert_eq!(one.told().await, "ADDED b");
    assert_eq!(client.get(&format!("{MAPS}?watch=1&resourceVersion=99999999"), &[]).await.code, 504);
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let api = Api::new().await;
    api.make(MAPS, config_map("a", "1")).await;
    let client = api.client(User::admin("a")).await;
    let query =
        "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = client.watch(&format!("{MAPS}?{query}")).await;
    assert_eq!(watch.told().await, "ADDED a");
    let bookmark = watch.next().await.unwrap();
    assert_eq!((&bookmark["type"], &bookmark["object"]["kind"]), (&json!("BOOKMARK"), &json!("ConfigMap")));
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    api.make(MAPS, config_map("b", "1")).await;
    assert_eq!(watch.told().await, "ADDED b");
    let refused = client.get(&format!("{MAPS}?watch=true&sendInitialEvents=true"), &[]).await;
    assert_eq!(refused.code, 422);
}

#[tokio::test]
async fn rows_of_tables_are_told() {
    let api = Api::new().await;
    api.make(MAPS, config_map("a", "1")).await;
    let client = api.client(User::admin("a")).await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let answer = client.get(&format!("{MAPS}?watch=true&timeoutSeconds=1"), &accept).await;
    let event: Value =
        serde_json::from_slice(answer.bytes.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!(
        (&event["object"]["kind"], &event["object"]["rows"][0]["cells"][0]),
        (&json!("Table"), &json!("a"))
    );
}

#[tokio::test]
async fn a_watch_ends_in_time_with_a_bookmark() {
    let api = Api::new().await;
    api.make(MAPS, config_map("a", "1")).await;
    let revision = api.get(MAPS).await.json()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let client = api.client(User::admin("a")).await;
    let query = format!("watch=1&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion={revision}");
    let mut watch = client.watch(&format!("{MAPS}?{query}")).await;
    let secret = json!({"metadata": {"name": "s"}});
    api.make("/api/v1/namespaces/default/secrets", secret).await;
    let told = watch.next().await.unwrap();
    assert_eq!(told["type"], "BOOKMARK");
    let reached: u64 = told["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(reached > revision.parse().unwrap());
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn draining_ends_watches_and_answers_requests() {
    let api = Api::new().await;
    let client = api.client(User::admin("a")).await;
    let mut watch = client.watch(&format!("{MAPS}?watch=1")).await;
    let draining = api.server.drain(Duration::from_secs(60));
    let (ended, ()) = tokio::join!(watch.next(), draining);
    assert!(ended.is_none());
}
