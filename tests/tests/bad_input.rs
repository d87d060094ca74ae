//! Bad input gets a message that says what, where and what is allowed; nothing else stops.
#![allow(clippy::unwrap_used)]

use edge_tests::api::Api;
use edge_tests::{Cluster, Options, Shape, eventually, tool};
use serde_json::json;

fn pod(name: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n  containers:\n  - name: main\n    image: {image}\n"
    )
}

#[test]
fn the_server_and_edgectl_name_field_file_and_line() {
    let cluster = Cluster::with(Options::new(Shape::Whole).flag("--no-node", "true"));
    let unknown = pod("a", "file:x.wasm") + "    imagee: y\n";
    let error = cluster.try_apply(&unknown).refused();
    assert!(error.contains("spec.containers[0].imagee") && error.contains(".yaml:9:5"), "{error}");

    let wrong = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  replicas: three\n";
    let error = cluster.try_apply(wrong).refused();
    assert!(error.contains("replicas"), "{error}");

    let error = cluster.try_apply(&pod("Not_A_Name", "file:x.wasm")).refused();
    assert!(error.contains("metadata.name") && error.contains("RFC 1123"), "{error}");

    let error = cluster.try_apply("apiVersion: v1\nkind: Pod\nmetadata: {name: a\n").refused();
    assert!(error.contains(".yaml:"), "{error}");

    let error = cluster.try_apply("apiVersion: v9\nkind: Gadget\nmetadata: {name: a}\n").refused();
    assert!(error.contains("Gadget") && error.contains(".yaml:2:1"), "{error}");

    let api = Api::of(&cluster);
    let (code, status) = api.post("/api/v1/namespaces/default/pods", &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": []}})).unwrap();
    assert_eq!((code, status["reason"].as_str()), (422, Some("Invalid")), "{status}");
    assert_eq!(status["details"]["causes"][0]["field"], "spec.containers", "{status}");
    let (code, status) =
        api.request("POST", "/api/v1/namespaces/default/pods", "application/json", "{\"kind\": ").unwrap();
    assert_eq!((code, status["kind"].as_str()), (400, Some("Status")), "{status}");
    let (code, _) = api.with_token("").get("/api/v1/pods").unwrap();
    assert_eq!(code, 401);
    let (code, _) = api.with_token("guess").get("/api/v1/pods").unwrap();
    assert_eq!(code, 401);
    let (code, _) = api.get("/readyz").unwrap();
    assert_eq!(code, 200);
}

#[test]
fn kubectl_says_what_is_wrong_as_it_does_elsewhere() {
    let Some(kubectl) = tool::find("kubectl-1_32") else { return };
    let cluster = Cluster::with(Options::new(Shape::Whole).flag("--no-node", "true"));
    let file = cluster.folder().join("bad.yaml");
    std::fs::write(&file, pod("a", "file:x.wasm") + "    imagee: y\n").unwrap();
    let error = cluster.kubectl(&kubectl, &["apply", "-f", file.to_str().unwrap()]).refused();
    assert!(error.contains("unknown field \"spec.containers[0].imagee\""), "{error}");
    std::fs::write(&file, pod("a", "file:x.wasm").replace("name: main", "name: Main_1")).unwrap();
    let error = cluster.kubectl(&kubectl, &["apply", "-f", file.to_str().unwrap()]).refused();
    assert!(error.contains("The Pod \"a\" is invalid: spec.containers[0].name: Invalid value"), "{error}");
}

#[test]
fn an_image_that_is_not_to_be_had_says_so_and_others_run() {
    let cluster = Cluster::start(Shape::Whole);
    std::fs::create_dir_all(cluster.folder().join("images")).unwrap();
    cluster.apply(&pod("missing", "file:guests/dist/nothing.wasm"));
    cluster.apply(&pod("no-wasm", "file:README.md"));
    cluster.apply(&pod("outside", "file:../../etc/passwd"));
    cluster.apply(&pod("good", "file:guests/dist/ticker.wasm"));
    let waiting = |name: &str| {
        let pod = cluster.get(&["pod", name])?;
        let state = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        let text = format!("{} {}", state["reason"], state["message"]);
        if state["reason"].is_string() { Ok(text) } else { Err(pod["status"].to_string()) }
    };
    for (name, words) in
        [("missing", vec!["nothing.wasm"]), ("no-wasm", vec!["README.md"]), ("outside", vec!["image"])]
    {
        eventually(&format!("{name} tells why it does not run"), || {
            let text = waiting(name)?;
            if words.iter().all(|word| text.contains(word)) && !text.contains("ContainerCreating") {
                Ok(())
            } else {
                Err(text)
            }
        });
    }
    cluster.edgectl(&["wait", "--for=condition=ready", "pod/good", "--timeout=60s"]).ok();
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--api-address", "--http-address", "--dns-address"] {
        let folder = tempfile::tempdir().unwrap();
        let log = Cluster::refused(&Options::new(Shape::Whole).flag(flag, &address), folder.path());
        assert!(log.contains(&address), "{flag}: {log}");
    }
}

#[test]
fn a_damaged_store_is_refused_and_left_as_it_is() {
    let mut cluster = Cluster::with(Options::new(Shape::Whole).flag("--no-node", "true"));
    cluster.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}\n");
    assert!(cluster.stop().success());
    let store = store_file(&cluster);
    let whole = std::fs::read(&store).unwrap();
    let options = Options::new(Shape::Whole).flag("--no-node", "true");

    let half = &whole[..whole.len() / 2];
    std::fs::write(&store, half).unwrap();
    let log = Cluster::refused(&options, cluster.folder());
    assert!(log.contains(store.file_name().unwrap().to_str().unwrap()), "{log}");
    assert_eq!(std::fs::read(&store).unwrap(), half, "a store that cannot be read must be left as it is");

    std::fs::write(&store, &whole).unwrap();
    cluster.start_again();
    cluster.edgectl(&["get", "configmap", "kept"]).ok();
}

fn store_file(cluster: &Cluster) -> std::path::PathBuf {
    fn find(folder: &std::path::Path) -> Option<std::path::PathBuf> {
        for entry in std::fs::read_dir(folder).ok()?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                if let Some(found) = find(&path) {
                    return Some(found);
                }
            } else if path.extension().is_some_and(|end| end == "redb") {
                return Some(path);
            }
        }
        None
    }
    find(&cluster.data_dir()).expect("a .redb file")
}
