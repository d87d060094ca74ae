//! The client against a tiny server.

use serde_json::json;

use super::fake::Fake;
use super::watch::Verb;
use super::*;

#[tokio::test]
async fn the_life_of_an_object() {
    let fake = Fake::new();
    let client = fake.client();
    let path = Resource::CONFIG_MAPS.within("ns");
    client
        .create(&path, &json!({"kind": "ConfigMap", "metadata": {"name": "a", "namespace": "ns"}}))
        .await
        .expect("created");
    assert!(
        client.create(&path, &json!({"metadata": {"name": "a"}})).await.expect_err("twice").is_conflict()
    );
    let named = Resource::CONFIG_MAPS.named("ns", "a");
    let patched = client.patch(&named, Patch::Merge, &json!({"data": {"k": "v"}})).await.expect("patched");
    assert_eq!(patched["data"]["k"], "v");
    let list = client.list(&Resource::CONFIG_MAPS.all(), "").await.expect("listed");
    assert_eq!(
        (list.items.len(), list.items[0]["kind"].as_str()),
        (1, Some("Thing")),
        "items get their type back"
    );
    let mut watch = client.watch(&path, "", &list.revision).await.expect("watched");
    client.delete(&named, &json!({})).await.expect("deleted");
    let change = watch.next().await.expect("alive").expect("a change");
    assert_eq!((change.verb, change.object["metadata"]["name"].as_str()), (Verb::Deleted, Some("a")));
    assert!(client.get(&named).await.expect_err("gone").is_not_found());
    fake.compact();
    assert!(client.watch(&path, "", &list.revision).await.err().expect("too old").is_gone());
}

#[tokio::test]
async fn many_watches_do_not_hold_up_requests() {
    let fake = Fake::new();
    let client = fake.client();
    let mut watches = Vec::new();
    for _ in 0..250 {
        watches.push(client.watch("/api/v1/pods", "", "0").await.expect("watched"));
    }
    client.list("/api/v1/pods", "").await.expect("listed");
    fake.put("/api/v1/namespaces/ns/pods/p", json!({"metadata": {"name": "p"}}));
    for watch in &mut watches {
        assert_eq!(watch.next().await.expect("alive").expect("a change").verb, Verb::Added);
    }
}

#[tokio::test]
async fn an_unreachable_server_is_a_transient_error() {
    let connector =
        Connector::memory(|| Box::pin(async { Err(std::io::ErrorKind::ConnectionRefused.into()) }));
    let client = Client::new(connector, Credentials::Stream, "test");
    assert!(client.get("/x").await.expect_err("nobody there").is_transient());
}
