//! Groups that somebody else serves behind a Service.

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::harness::Api;
use super::outside::{self, Outside};
use crate::identity::User;

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const FISH: &str = "/apis/sea.example.com/v1/namespaces/default/fish";

/// Serves the group `sea.example.com` at a path, and repeats of other requests what it was asked.
fn sea(place: &'static str) -> Outside {
    Outside::new(&["outside.default.svc", "localhost"], move |parts, body| {
        let of = |name: &str| {
            let all = parts.headers.get_all(name).iter();
            all.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let answer = match parts.uri.path() {
            "/apis/sea.example.com/v1" if place.is_empty() => json!({"kind": "Status"}),
            path if path == place => json!({
                "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "sea.example.com/v1",
                "resources": [
                    {"name": "fish", "singularName": "fish", "namespaced": true, "kind": "Fish", "verbs": ["get"]},
                    {"name": "fish/status", "singularName": "", "namespaced": true, "kind": "Fish", "verbs": ["get"]},
                ],
            }),
            path => json!({
                "path": path, "query": parts.uri.query(), "method": parts.method.as_str(),
                "user": of("x-remote-user"), "groups": of("x-remote-group"), "scopes": of("x-remote-extra-scopes"),
                "authorization": of("authorization"), "body": String::from_utf8_lossy(&body),
            }),
        };
        let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
        if answer["kind"] == "Status" {
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        }
        response.headers_mut().insert("content-type", "application/json".parse().unwrap());
        response
    })
}

fn api_service(bundle: &str) -> Value {
    json!({"metadata": {"name": "v1.sea.example.com"}, "spec": {
        "group": "sea.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
        "service": {"namespace": "default", "name": "outside"}, "caBundle": bundle}})
}

/// Lets the server ask until the condition has this reason; the condition then.
async fn until(api: &Api, reason: &str) -> Value {
    let stop = CancellationToken::new();
    let running = api.server.aggregation().clone().run(stop.clone());
    let store = api.server.registry().store();
    let waiting = async {
        let mut cursor = store.watch("/apiregistration.k8s.io/", store.head()).unwrap();
        loop {
            let service = api.get(&format!("{SERVICES}/v1.sea.example.com")).await.expect(200);
            if service["status"]["conditions"][0]["reason"] == reason {
                stop.cancel();
                return service["status"]["conditions"][0].clone();
            }
            cursor.next().await.unwrap();
        }
    };
    let (ended, condition) = tokio::join!(running, waiting);
    ended.unwrap();
    condition
}

async fn with_sea() -> Api {
    let (api, sea) = (Api::new().await, sea("/apis/sea.example.com/v1"));
    sea.in_a_pod(&api).await;
    outside::service(&api).await;
    api.make(SERVICES, api_service(&sea.bundle)).await;
    api
}

#[tokio::test]
async fn a_request_is_passed_on_in_the_callers_name() {
    let api = with_sea().await;
    assert_eq!(api.get(FISH).await.code, 503, "nobody has asked yet");
    let condition = until(&api, "Passed").await;
    assert_eq!((&condition["status"], &condition["message"]), (&json!("True"), &json!("all checks passed")));
    let mut ann = User::admin("ann");
    ann.extra.insert("scopes".to_owned(), vec!["a".to_owned(), "b".to_owned()]);
    let client = api.client(ann).await;
    let headers = [("x-remote-user", "somebody"), ("authorization", "Bearer secret")];
    let path = format!("{FISH}/nemo?pretty=true");
    let asked = client.send(Method::PUT, &path, &headers, Bytes::from("{}")).await.expect(200);
    assert_eq!(
        asked,
        json!({"path": format!("{FISH}/nemo"), "query": "pretty=true", "method": "PUT", "body": "{}", "user": ["ann"],
            "groups": ["system:masters", "system:authenticated"], "scopes": ["a", "b"], "authorization": []})
    );
}

#[tokio::test]
async fn who_may_do_nothing_is_not_passed_on() {
    let api = with_sea().await;
    until(&api, "Passed").await;
    let ann = api.client(User { name: "ann".into(), ..User::default() }).await;
    let refused = ann.get(&format!("{FISH}/nemo"), &[]).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.message(),
        "fish.sea.example.com \"nemo\" is forbidden: User \"ann\" cannot get resource \"fish\" in API group \
         \"sea.example.com\" in the namespace \"default\""
    );
}

#[tokio::test]
async fn discovery_tells_of_others_too() {
    let api = with_sea().await;
    until(&api, "Passed").await;
    let groups = api.get("/apis").await.expect(200);
    let sea =
        groups["groups"].as_array().unwrap().iter().find(|group| group["name"] == "sea.example.com").unwrap();
    assert_eq!(sea["preferredVersion"]["groupVersion"], "sea.example.com/v1");
    assert_eq!(api.get("/apis/sea.example.com").await.expect(200)["versions"][0]["version"], "v1");
    assert_eq!(api.get("/apis/sea.example.com/v1").await.expect(200)["resources"][0]["name"], "fish");
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let client = api.client(User::admin("admin")).await;
    let all = client.get("/apis", &[("accept", accept)]).await.expect(200);
    let items = all["items"].as_array().unwrap();
    let sea = items.iter().find(|group| group["metadata"]["name"] == "sea.example.com").unwrap();
    let fish = &sea["versions"][0]["resources"][0];
    assert_eq!((&fish["resource"], &fish["scope"]), (&json!("fish"), &json!("Namespaced")));
    assert_eq!(fish["subresources"][0]["subresource"], "status");
    assert!(items.iter().any(|group| group["metadata"]["name"] == "apps"), "and of what is served here");
    let index = api.get("/openapi/v3").await.expect(200);
    let place = index["paths"]["apis/sea.example.com/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    assert_eq!(api.get(&place).await.expect(200)["path"], "/openapi/v3/apis/sea.example.com/v1");
}

#[tokio::test]
async fn why_somebody_is_not_there_is_told_as_kubernetes_tells_it() {
    let (api, sea) = (Api::new().await, sea(""));
    sea.in_a_pod(&api).await;
    api.make(SERVICES, api_service(&sea.bundle)).await;
    let condition = until(&api, "ServiceNotFound").await;
    assert_eq!(condition["message"], "service/outside in \"default\" is not present");
    let service =
        json!({"metadata": {"name": "outside"}, "spec": {"ports": [{"name": "https", "port": 80}]}});
    let services = "/api/v1/namespaces/default/services";
    api.make(services, service).await;
    let condition = until(&api, "ServicePortError").await;
    assert_eq!(condition["message"], "service/outside in \"default\" is not listening on port 443");
    api.call(Method::DELETE, &format!("{services}/outside"), Value::Null).await.expect(200);
    outside::service(&api).await;
    let condition = until(&api, "FailedDiscoveryCheck").await;
    let place = "https://outside.default.svc:443/apis/sea.example.com/v1";
    assert_eq!(
        condition["message"],
        format!("failing or missing response from {place}: bad status from {place}: 503")
    );
    let slice = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/outside";
    api.merge(slice, json!({"endpoints": []})).await.expect(200);
    let condition = until(&api, "MissingEndpoints").await;
    assert_eq!(
        condition["message"],
        "endpoints for service/outside in \"default\" have no addresses with port name \"https\""
    );
    api.call(Method::DELETE, slice, Value::Null).await.expect(200);
    until(&api, "EndpointsNotFound").await;
    let local = json!({"spec": {"service": null, "caBundle": null}});
    api.merge(&format!("{SERVICES}/v1.sea.example.com"), local).await.expect(200);
    until(&api, "Local").await;
}

#[tokio::test]
async fn somebody_with_a_name_elsewhere_is_reached_and_believed_unseen() {
    let (api, sea) = (Api::new().await, sea("/apis/sea.example.com/v1"));
    let port = sea.listen().await.port();
    let service = json!({"metadata": {"name": "outside"}, "spec": {
        "type": "ExternalName", "externalName": "localhost", "ports": [{"name": "https", "port": port}]}});
    api.make("/api/v1/namespaces/default/services", service).await;
    let mut service = api_service("");
    service["spec"]["service"]["port"] = json!(port);
    service["spec"].as_object_mut().unwrap().remove("caBundle");
    let name = format!("{SERVICES}/v1.sea.example.com");
    api.make(SERVICES, service).await;
    let condition = until(&api, "FailedDiscoveryCheck").await;
    let message = condition["message"].as_str().unwrap();
    assert!(message.ends_with("x509: certificate signed by unknown authority"), "{message}");
    api.merge(&name, json!({"spec": {"insecureSkipTLSVerify": true}})).await.expect(200);
    until(&api, "Passed").await;
    assert_eq!(api.get(FISH).await.expect(200)["user"], json!(["admin"]));
}
