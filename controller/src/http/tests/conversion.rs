//! Custom resources in versions that a webhook makes of each other, and what ends with a definition.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::Full;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::harness::Api;
use super::outside::{self, Outside};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn lamps(version: &str) -> String {
    format!("/apis/example.com/{version}/namespaces/default/lamps")
}

fn definition(client: &Value) -> Value {
    let version = |name: &str, field: &str| {
        let spec = json!({"type": "object", "properties": {field: {"type": "string"}}});
        json!({"name": name, "served": true, "storage": name == "v1",
            "selectableFields": [{"jsonPath": format!(".spec.{field}")}],
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}})
    };
    json!({
        "metadata": {"name": "lamps.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "lamps", "kind": "Lamp"},
            "versions": [version("v1", "colour"), version("v1beta1", "color")],
            "conversion": {"strategy": "Webhook",
                "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]}}},
    })
}

fn lamp(name: &str, version: &str, field: &str, value: &str) -> Value {
    json!({"apiVersion": format!("example.com/{version}"), "kind": "Lamp", "metadata": {"name": name},
        "spec": {field: value}})
}

/// What a webhook does with an object that it converts.
type Change = fn(&mut Value);

/// The names of the two fields are `colour` in v1 and `color` in v1beta1.
fn convert(review: &Value, change: Change) -> Value {
    let wished = &review["request"]["desiredAPIVersion"];
    let objects = review["request"]["objects"].as_array().unwrap().iter().map(|object| {
        let mut object = object.clone();
        object["apiVersion"] = wished.clone();
        let spec = object["spec"].as_object_mut().unwrap();
        let value = spec.remove("colour").or_else(|| spec.remove("color"));
        let field = if wished == "example.com/v1" { "colour" } else { "color" };
        spec.extend(value.map(|value| (field.to_owned(), value)));
        change(&mut object);
        object
    });
    let objects: Vec<Value> = objects.collect();
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": {
        "uid": review["request"]["uid"], "result": {"status": "Success"}, "convertedObjects": objects}})
}

/// A cluster with the definition, whose webhook counts the objects of each question.
async fn with_lamps(change: Change) -> (Api, Arc<Mutex<Vec<usize>>>) {
    let asked: Arc<Mutex<Vec<usize>>> = Arc::default();
    let counted = asked.clone();
    let webhook = Outside::new(&[], move |parts, body| {
        assert_eq!((parts.uri.path(), parts.uri.query()), ("/convert", Some("timeout=30s")));
        let review: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(review["kind"], "ConversionReview");
        counted.lock().push(review["request"]["objects"].as_array().unwrap().len());
        Response::new(Full::new(Bytes::from(convert(&review, change).to_string())))
    });
    let url = format!("https://{}/convert", webhook.listen().await);
    let api = Api::new().await;
    api.make(DEFINITIONS, definition(&json!({"url": url, "caBundle": webhook.bundle}))).await;
    api.establish("lamps.example.com").await.expect(200);
    (api, asked)
}

#[tokio::test]
async fn objects_are_stored_in_one_version_and_had_in_any() {
    let (api, asked) = with_lamps(|_| {}).await;
    let made = api.make(&lamps("v1beta1"), lamp("a", "v1beta1", "color", "red")).await;
    assert_eq!(
        (&made["apiVersion"], &made["spec"]),
        (&json!("example.com/v1beta1"), &json!({"color": "red"}))
    );
    let key = crate::store::Key::new("/example.com/lamps/default/a");
    let stored = api.server.registry().store().get(&key).unwrap().value;
    let stored: Value = serde_json::from_slice(&stored).unwrap();
    assert_eq!(
        (&stored["apiVersion"], &stored["spec"]),
        (&json!("example.com/v1"), &json!({"colour": "red"}))
    );
    api.make(&lamps("v1"), lamp("b", "v1", "colour", "blue")).await;
    asked.lock().clear();
    let one = format!("{}/a", lamps("v1"));
    assert_eq!(api.get(&one).await.expect(200)["spec"], json!({"colour": "red"}));
    assert_eq!(*asked.lock(), [0; 0], "as it is stored nobody is asked");
    let list = api.get(&lamps("v1beta1")).await.expect(200);
    let colors: Vec<&Value> =
        list["items"].as_array().unwrap().iter().map(|lamp| &lamp["spec"]["color"]).collect();
    assert_eq!(colors, ["red", "blue"]);
    assert_eq!(*asked.lock(), [2], "once for a list");
    let selected =
        api.get(&format!("{}?fieldSelector=spec.color%3Dblue", lamps("v1beta1"))).await.expect(200);
    assert_eq!(selected["items"].as_array().unwrap().len(), 1);
    let patched =
        api.merge(&format!("{}/a", lamps("v1beta1")), json!({"spec": {"color": "green"}})).await.expect(200);
    assert_eq!(patched["spec"], json!({"color": "green"}));
    assert_eq!(patched["metadata"]["generation"], 2);
    let mut whole = api.get(&one).await.expect(200);
    assert_eq!(whole["spec"], json!({"colour": "green"}));
    whole["spec"]["colour"] = json!("white");
    api.call(Method::PUT, &one, whole).await.expect(200);
    let gone = api.call(Method::DELETE, &format!("{}/a", lamps("v1beta1")), Value::Null).await.expect(200);
    assert_eq!(gone["status"], "Success");
}

#[tokio::test]
async fn a_watch_tells_the_version_that_was_asked_for() {
    let (api, _) = with_lamps(|_| {}).await;
    api.make(&lamps("v1"), lamp("a", "v1", "colour", "red")).await;
    let client = api.client(crate::identity::User::admin("admin")).await;
    let mut watch =
        client.watch(&format!("{}?watch=true&fieldSelector=spec.color%21%3Dblack", lamps("v1beta1"))).await;
    let event = watch.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["spec"]), (&json!("ADDED"), &json!({"color": "red"})));
    api.merge(&format!("{}/a", lamps("v1")), json!({"spec": {"colour": "black"}})).await.expect(200);
    let event = watch.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["spec"]), (&json!("DELETED"), &json!({"color": "red"})));
    api.merge(&format!("{}/a", lamps("v1")), json!({"spec": {"colour": "blue"}})).await.expect(200);
    let event = watch.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["apiVersion"]),
        (&json!("ADDED"), &json!("example.com/v1beta1"))
    );
}

#[tokio::test]
async fn what_a_webhook_may_not_do_is_told_as_kubernetes_tells_it() {
    let of = "conversion webhook for example.com/v1, Kind=Lamp";
    let cases: [(Change, &str); 4] = [
        (
            |lamp| lamp["metadata"]["name"] = json!("b"),
            "returned invalid converted object at index 0: must have the same name: a != b",
        ),
        (
            |lamp| lamp["apiVersion"] = json!("example.com/v3"),
            "returned invalid converted object at index 0: invalid groupVersion (expected example.com/v1beta1, received example.com/v3)",
        ),
        (
            |lamp| lamp["kind"] = json!("Light"),
            "returned invalid converted object at index 0: invalid kind (expected Lamp, received Light)",
        ),
        (
            |lamp| lamp["metadata"] = json!(null),
            "returned invalid converted object at index 0: must have the same name: a != ",
        ),
    ];
    for (change, expected) in cases {
        let (api, _) = with_lamps(change).await;
        api.make(&lamps("v1"), lamp("a", "v1", "colour", "red")).await;
        let answer = api.get(&format!("{}/a", lamps("v1beta1"))).await;
        assert_eq!((answer.code, answer.message()), (500, format!("{of} {expected}")));
    }
    let (api, _) = with_lamps(|lamp| {
        lamp["metadata"]["labels"] = json!({"converted": "yes"});
        lamp["metadata"]["finalizers"] = json!(["example.com/x"]);
        lamp["spec"]["unknown"] = json!(1);
    })
    .await;
    api.make(&lamps("v1"), lamp("a", "v1", "colour", "red")).await;
    let lamp = api.get(&format!("{}/a", lamps("v1beta1"))).await.expect(200);
    assert_eq!(lamp["metadata"]["labels"], json!({"converted": "yes"}));
    assert_eq!(lamp["metadata"].get("finalizers"), None, "the rest of the metadata stays");
    assert_eq!(lamp["spec"], json!({"color": "red"}));
}

#[tokio::test]
async fn nothing_is_written_when_the_webhook_cannot_be_asked() {
    let api = Api::new().await;
    let client = json!({"service": {"name": "lamps", "namespace": "default", "path": "/convert"}});
    api.make(DEFINITIONS, definition(&client)).await;
    api.establish("lamps.example.com").await.expect(200);
    let refused = api.call(Method::POST, &lamps("v1beta1"), lamp("a", "v1beta1", "color", "red")).await;
    assert_eq!(refused.code, 500);
    assert_eq!(
        refused.message(),
        "conversion webhook for example.com/v1beta1, Kind=Lamp failed: service \"lamps\" not found"
    );
    api.get(&format!("{}/a", lamps("v1"))).await.expect(404);
}

#[tokio::test]
async fn a_watch_ends_with_its_definition() {
    let (api, _) = with_lamps(|_| {}).await;
    let client = api.client(crate::identity::User::admin("admin")).await;
    let mut watch = client.watch(&format!("{}?watch=true", lamps("v1"))).await;
    let path = format!("{DEFINITIONS}/lamps.example.com");
    api.call(Method::DELETE, &path, Value::Null).await.expect(200);
    api.merge(&path, json!({"metadata": {"finalizers": null}})).await.expect(200);
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn a_webhook_in_a_pod_is_asked_over_the_tunnel_of_its_node() {
    let webhook = Outside::new(&["outside.default.svc"], |_, body| {
        let review: Value = serde_json::from_slice(&body).unwrap();
        Response::new(Full::new(Bytes::from(convert(&review, |_| {}).to_string())))
    });
    let api = Api::new().await;
    webhook.in_a_pod(&api).await;
    outside::service(&api).await;
    let client = json!({"service": {"name": "outside", "namespace": "default", "path": "/convert"},
        "caBundle": webhook.bundle});
    api.make(DEFINITIONS, definition(&client)).await;
    api.establish("lamps.example.com").await.expect(200);
    let made = api.make(&lamps("v1beta1"), lamp("a", "v1beta1", "color", "red")).await;
    assert_eq!(made["spec"], json!({"color": "red"}));
    assert_eq!(api.get(&format!("{}/a", lamps("v1"))).await.expect(200)["spec"], json!({"colour": "red"}));
}
