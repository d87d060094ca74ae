//! Custom resources: from their definition to every verb.

use http::Method;
use serde_json::{Value, json};

use super::harness::{Answer, Api};
use crate::identity::User;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

fn definition() -> Value {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1, "description": "How large it is."},
            "color": {"type": "string", "default": "red"},
            "replicas": {"type": "integer"},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string"}, "port": {"type": "integer"}}}},
            "tags": {"type": "array", "items": {"type": "string"}},
            "anything": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }, "x-kubernetes-validations": [{"rule": "self.size < 100", "message": "too large"}]},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}},
    }});
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}, "scale": {
                "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector"}},
            "additionalPrinterColumns": [
                {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}],
            "selectableFields": [{"jsonPath": ".spec.color"}],
        })
    };
    let mut beta = version("v1beta1", false);
    beta["deprecated"] = json!(true);
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
            "versions": [version("v1", true), beta]},
    })
}

fn widget(name: &str, size: i64) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": size}})
}

impl Api {
    /// Does for a definition what its controller does.
    pub(super) async fn establish(&self, name: &str) -> Answer {
        let path = format!("{DEFINITIONS}/{name}");
        let mut definition = self.get(&path).await.expect(200);
        definition["status"]["acceptedNames"] = definition["spec"]["names"].clone();
        definition["status"]["conditions"] = json!([
            {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found",
                "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "Established", "status": "True", "reason": "InitialNamesAccepted", "message": "accepted",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        self.call(Method::PUT, &format!("{path}/status"), definition).await
    }

    async fn with_widgets() -> Api {
        let api = Api::new().await;
        api.make(DEFINITIONS, definition()).await;
        api.establish("widgets.example.com").await.expect(200);
        api
    }

    async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.client(User::admin("admin")).await.get(path, &[("accept", accept)]).await
    }
}

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

#[tokio::test]
async fn a_kind_is_served_once_it_is_established() {
    let api = Api::new().await;
    let before = api.get_as("/apis", AGGREGATED).await;
    let made = api.make(DEFINITIONS, definition()).await;
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(made["spec"]["names"]["listKind"], "WidgetList");
    api.get(WIDGETS).await.expect(404);
    api.establish("widgets.example.com").await.expect(200);
    assert_eq!(api.get(WIDGETS).await.expect(200)["kind"], "WidgetList");
    let after = api.get_as("/apis", AGGREGATED).await;
    assert_ne!(before.headers["etag"], after.headers["etag"]);
    let groups = after.json();
    let group =
        groups["items"].as_array().unwrap().iter().find(|g| g["metadata"]["name"] == "example.com").unwrap();
    assert_eq!(group["versions"][0]["version"], "v1");
    let resource = &group["versions"][0]["resources"][0];
    assert_eq!((&resource["resource"], &resource["singularResource"]), (&json!("widgets"), &json!("widget")));
    assert_eq!((&resource["shortNames"], &resource["categories"]), (&json!(["wd"]), &json!(["all"])));
    let subresources: Vec<&Value> =
        resource["subresources"].as_array().unwrap().iter().map(|s| &s["subresource"]).collect();
    assert_eq!(subresources, ["status", "scale"]);
    let legacy = api.get("/apis/example.com").await.expect(200);
    assert_eq!(legacy["preferredVersion"]["groupVersion"], "example.com/v1");
    assert_eq!(api.get("/apis/example.com/v1beta1").await.expect(200)["resources"][0]["kind"], "Widget");
}

#[tokio::test]
async fn objects_are_pruned_defaulted_and_validated() {
    let api = Api::with_widgets().await;
    let mut sent = widget("a", 3);
    sent["spec"]["odd"] = json!(1);
    sent["spec"]["anything"] = json!({"goes": [1]});
    let answer = api.call(Method::POST, WIDGETS, sent.clone()).await;
    let made = answer.expect(201);
    assert_eq!(made["spec"], json!({"size": 3, "color": "red", "anything": {"goes": [1]}}));
    assert_eq!(
        (&made["metadata"]["generation"], &made["metadata"]["namespace"]),
        (&json!(1), &json!("default"))
    );
    assert_eq!(answer.headers["warning"], "299 - \"unknown field \\\"spec.odd\\\"\"");
    sent["metadata"]["name"] = json!("b");
    let strict = api.call(Method::POST, &format!("{WIDGETS}?fieldValidation=Strict"), sent).await;
    assert_eq!(
        (strict.code, strict.message().as_str()),
        (
            400,
            "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \"spec.odd\""
        )
    );
    let mut wrong = widget("b", 0);
    wrong["spec"]["size"] = json!("big");
    let refused = api.call(Method::POST, WIDGETS, wrong).await.expect(422);
    let message = refused["message"].as_str().unwrap();
    assert!(message.starts_with("Widget.example.com \"b\" is invalid: [spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\", "), "{message}");
    assert_eq!(refused["details"]["causes"][0]["field"], "spec.size");
    assert_eq!(refused["details"]["causes"][0]["reason"], "FieldValueTypeInvalid");
    let refused = api.call(Method::POST, WIDGETS, widget("b", 100)).await;
    assert_eq!(
        refused.message(),
        "Widget.example.com \"b\" is invalid: spec: Invalid value: \"object\": too large"
    );
    let nothing = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "c"}});
    assert_eq!(api.make(WIDGETS, nothing).await.get("spec"), None);
}

#[tokio::test]
async fn every_verb_works_on_custom_resources() {
    let api = Api::with_widgets().await;
    let mut lines = api.client(User::admin("admin")).await.watch(&format!("{WIDGETS}?watch=true")).await;
    let made = api.make(WIDGETS, widget("a", 3)).await;
    assert_eq!(lines.told().await, "ADDED a");
    let mut changed = made.clone();
    changed["spec"]["size"] = json!(4);
    changed["status"] = json!({"replicas": 9});
    let updated = api.call(Method::PUT, &format!("{WIDGETS}/a"), changed).await.expect(200);
    assert_eq!((&updated["metadata"]["generation"], updated.get("status")), (&json!(2), None));
    assert_eq!(lines.told().await, "MODIFIED a");
    let merged =
        api.merge(&format!("{WIDGETS}/a"), json!({"spec": {"color": null, "tags": ["x"]}})).await.expect(200);
    assert_eq!(merged["spec"], json!({"size": 4, "color": "red", "tags": ["x"]}));
    let strategic =
        api.patch(&format!("{WIDGETS}/a"), "application/strategic-merge-patch+json", json!({})).await;
    assert_eq!(strategic.code, 415);
    let test = json!([{"op": "test", "path": "/spec/size", "value": 4}, {"op": "replace", "path": "/spec/size", "value": 5}]);
    let patched = api.patch(&format!("{WIDGETS}/a"), "application/json-patch+json", test).await.expect(200);
    assert_eq!(patched["spec"]["size"], 5);
    let status = json!({"spec": {"size": 99}, "status": {"replicas": 2, "selector": "app=a", "odd": 1}});
    let told = api.merge(&format!("{WIDGETS}/a/status"), status).await.expect(200);
    assert_eq!(
        (&told["spec"]["size"], &told["status"]),
        (&json!(5), &json!({"replicas": 2, "selector": "app=a"}))
    );
    assert_eq!(told["metadata"]["generation"], patched["metadata"]["generation"]);
    let scale = api.merge(&format!("{WIDGETS}/a/scale"), json!({"spec": {"replicas": 7}})).await.expect(200);
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(7)));
    assert_eq!(scale["status"], json!({"replicas": 2, "selector": "app=a"}));
    assert_eq!(api.get(&format!("{WIDGETS}/a")).await.expect(200)["spec"]["replicas"], 7);
    let list = api.get(WIDGETS).await.expect(200);
    assert_eq!((&list["kind"], &list["items"][0]["kind"]), (&json!("WidgetList"), &json!("Widget")));
    api.call(Method::DELETE, &format!("{WIDGETS}/a"), Value::Null).await.expect(200);
    api.get(&format!("{WIDGETS}/a")).await.expect(404);
    while lines.told().await != "DELETED a" {}
}

#[tokio::test]
async fn tables_and_selectors_follow_the_definition() {
    let api = Api::with_widgets().await;
    let mut green = widget("a", 3);
    green["spec"]["color"] = json!("green");
    api.make(WIDGETS, green).await;
    api.make(WIDGETS, widget("b", 4)).await;
    let table = api.get_as(WIDGETS, TABLE).await.expect(200);
    let names: Vec<&Value> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["Name", "Size", "Age"]);
    assert_eq!(table["rows"][1]["cells"], json!(["b", 4, "0s"]));
    let red = api.get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dred")).await.expect(200);
    assert_eq!(red["items"].as_array().unwrap().len(), 1);
    let unknown = api.get(&format!("{WIDGETS}?fieldSelector=spec.size%3D3")).await;
    assert_eq!((unknown.code, unknown.message().as_str()), (400, "field label not supported: spec.size"));
}

#[tokio::test]
async fn a_watch_selects_by_a_default_that_came_later() {
    let color = |version: usize| {
        format!("/spec/versions/{version}/schema/openAPIV3Schema/properties/spec/properties/color")
    };
    let mut plain = definition();
    for version in 0..2 {
        plain.pointer_mut(&color(version)).unwrap().as_object_mut().unwrap().remove("default");
    }
    let api = Api::new().await;
    api.make(DEFINITIONS, plain).await;
    api.establish("widgets.example.com").await.expect(200);
    api.make(WIDGETS, widget("a", 3)).await;
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let mut with_default = api.get(&path).await.expect(200);
    for version in 0..2 {
        with_default.pointer_mut(&color(version)).unwrap()["default"] = json!("red");
    }
    api.call(Method::PUT, &path, with_default).await.expect(200);
    let red = format!("{WIDGETS}?fieldSelector=spec.color%3Dred");
    let list = api.get(&red).await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let from = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = api
        .client(User::admin("admin"))
        .await
        .watch(&format!("{red}&watch=true&resourceVersion={from}"))
        .await;
    let mut larger = api.get(&format!("{WIDGETS}/a")).await.expect(200);
    larger["spec"]["size"] = json!(8);
    api.call(Method::PUT, &format!("{WIDGETS}/a"), larger).await.expect(200);
    let event = watch.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["spec"]["color"]), (&json!("MODIFIED"), &json!("red")));
}

#[tokio::test]
async fn versions_are_the_same_objects() {
    let api = Api::with_widgets().await;
    api.make(WIDGETS, widget("a", 3)).await;
    let beta = WIDGETS.replace("/v1/", "/v1beta1/");
    let answer = api.get(&format!("{beta}/a")).await;
    assert_eq!(answer.headers["warning"], "299 - \"example.com/v1beta1 Widget is deprecated\"");
    let mut read = answer.expect(200);
    assert_eq!(read["apiVersion"], "example.com/v1beta1");
    read["spec"]["size"] = json!(8);
    let updated = api.call(Method::PUT, &format!("{beta}/a"), read).await.expect(200);
    assert_eq!(updated["apiVersion"], "example.com/v1beta1");
    let list = api.get(WIDGETS).await.expect(200);
    assert_eq!(
        (&list["items"][0]["apiVersion"], &list["items"][0]["spec"]["size"]),
        (&json!("example.com/v1"), &json!(8))
    );
    let mut lines =
        api.client(User::admin("admin")).await.watch(&format!("{beta}?watch=true&resourceVersion=0")).await;
    assert_eq!(lines.next().await.unwrap()["object"]["apiVersion"], "example.com/v1beta1");
}

#[tokio::test]
async fn apply_knows_the_lists_of_the_schema() {
    let api = Api::with_widgets().await;
    let apply = async |manager: &str, spec: Value| {
        let mut object = widget("a", 3);
        object["spec"] = spec;
        let path = format!("{WIDGETS}/a?fieldManager={manager}");
        api.patch(&path, "application/apply-patch+yaml", object).await
    };
    apply("one", json!({"size": 3, "ports": [{"name": "a", "port": 1}]})).await.expect(201);
    let both = apply("two", json!({"ports": [{"name": "b", "port": 2}]})).await;
    // Whoever applies must apply what is required only if it is not there.
    let both = both.expect(200);
    assert_eq!(both["spec"]["ports"], json!([{"name": "b", "port": 2}, {"name": "a", "port": 1}]));
    assert!(
        both["metadata"]["managedFields"].to_string().contains(r#"k:{\"name\":\"b\"}"#),
        "{}",
        both["metadata"]["managedFields"]
    );
    let conflict = apply("two", json!({"size": 4})).await;
    assert_eq!(conflict.code, 409);
    assert!(conflict.message().contains("conflict with \"one\": .spec.size"), "{}", conflict.message());
    let gone = apply("two", json!({})).await.expect(200);
    assert_eq!(gone["spec"]["ports"], json!([{"name": "a", "port": 1}]));
}

#[tokio::test]
async fn openapi_describes_custom_resources() {
    let api = Api::with_widgets().await;
    let index = api.get("/openapi/v3").await.expect(200);
    let url = index["paths"]["apis/example.com/v1"]["serverRelativeURL"].as_str().unwrap();
    let document = api.get(url).await.expect(200);
    let schema = &document["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(schema["properties"]["spec"]["properties"]["size"]["description"], "How large it is.");
    assert_eq!(
        schema["x-kubernetes-group-version-kind"],
        json!([{"group": "example.com", "kind": "Widget", "version": "v1"}])
    );
    assert!(
        schema["properties"]["metadata"]["allOf"][0]["$ref"].as_str().unwrap().ends_with("v1.ObjectMeta")
    );
    let path = &document["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"]["patch"];
    assert!(path["parameters"].as_array().unwrap().iter().any(|p| p["name"] == "fieldValidation"));
    // Where it is named kubectl sends it, and custom resources have no strategies.
    let media: Vec<&String> = path["requestBody"]["content"].as_object().unwrap().keys().collect();
    let expected =
        ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
    assert_eq!(media, expected);
    let old = api.get("/openapi/v2").await.expect(200);
    let path = &old["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"]["patch"];
    assert_eq!(path["consumes"], json!(expected));
    assert!(
        old["definitions"]["com.example.v1.Widget"]["properties"]["spec"]["x-kubernetes-validations"]
            .is_null()
    );
    let mut changed = api.get(&format!("{DEFINITIONS}/widgets.example.com")).await.expect(200);
    changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["new"] =
        json!({"type": "string", "default": "x"});
    api.make(WIDGETS, widget("a", 3)).await;
    api.call(Method::PUT, &format!("{DEFINITIONS}/widgets.example.com"), changed).await.expect(200);
    let after = api.get("/openapi/v3").await.expect(200);
    assert_ne!(after["paths"]["apis/example.com/v1"]["serverRelativeURL"], url);
    // What was stored before has the new default when it is read.
    assert_eq!(api.get(&format!("{WIDGETS}/a")).await.expect(200)["spec"]["new"], "x");
}

#[tokio::test]
async fn what_is_no_definition_is_refused() {
    let api = Api::new().await;
    let mut wrong = definition();
    wrong["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] =
        json!([{"rule": "self.nope"}]);
    let refused = api.call(Method::POST, DEFINITIONS, wrong).await.expect(422);
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("compilation failed: ERROR: <input>:1:5: undefined field 'nope'"), "{message}");
    let field = "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule";
    assert_eq!(refused["details"]["causes"][0]["field"], field);
    let mut unknown = definition();
    unknown["spec"]["odd"] = json!(1);
    let strict = api.call(Method::POST, &format!("{DEFINITIONS}?fieldValidation=Strict"), unknown).await;
    assert_eq!(strict.code, 400);
}

#[tokio::test]
async fn a_definition_on_its_way_out_takes_nothing_new() {
    let api = Api::with_widgets().await;
    api.make(WIDGETS, widget("a", 3)).await;
    let leaving = api
        .call(Method::DELETE, &format!("{DEFINITIONS}/widgets.example.com"), Value::Null)
        .await
        .expect(200);
    assert_eq!(leaving["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    let refused = api.call(Method::POST, WIDGETS, widget("b", 3)).await;
    assert_eq!(
        (refused.code, refused.message().as_str()),
        (405, "create not allowed while custom resource definition is terminating")
    );
    api.get(&format!("{WIDGETS}/a")).await.expect(200);
    api.merge(&format!("{DEFINITIONS}/widgets.example.com"), json!({"metadata": {"finalizers": []}}))
        .await
        .expect(200);
    api.get(WIDGETS).await.expect(404);
}
