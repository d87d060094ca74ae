//! Images from registries, layouts and files, in every form that is accepted.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;

use base64::Engine as _;
use edge_tests::registry::{PASSWORD, Registry, USER};
use edge_tests::yaml::Pod;
use edge_tests::{Cluster, Shape, eventually, tool};
use serde_json::{Value, json};

fn ticker() -> Vec<u8> {
    std::fs::read(edge_tests::root().join("guests/dist/ticker.wasm")).unwrap()
}

fn runs(cluster: &Cluster, name: &str, image: &str, more: &str) {
    cluster.apply(&Pod::new(name, "ticker").spec(more).yaml().replace("file:guests/dist/ticker.wasm", image));
    cluster.edgectl(&["wait", "--for=condition=ready", &format!("pod/{name}"), "--timeout=60s"]).ok();
    eventually(&format!("{name} prints"), || {
        let log = cluster.edgectl(&["logs", name]).checked()?;
        if log.contains("tick 1") { Ok(()) } else { Err(log) }
    });
}

#[test]
fn every_form_of_image_in_a_registry_runs() {
    let Some(program) = tool::find("registry") else { return };
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(&program, folder.path(), false);
    let cluster = Cluster::start(Shape::Whole);
    let wasm = ticker();
    let wasm_config = json!({"created": "2026-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip1", "layerDigests": []});
    let image = registry.push(
        "story/v0",
        "1",
        ("application/vnd.wasm.config.v0+json", &wasm_config),
        ("application/wasm", &wasm),
    );
    runs(&cluster, "v0", &image, "");
    let old = registry.push(
        "story/v1",
        "1",
        ("application/vnd.wasm.config.v1+json", &json!({})),
        ("application/vnd.wasm.content.layer.v1+wasm", &wasm),
    );
    runs(&cluster, "v1", &old, "");
    let (config, layer) = scratch(&wasm);
    let container = registry.push(
        "story/scratch",
        "1",
        ("application/vnd.oci.image.config.v1+json", &config),
        ("application/vnd.oci.image.layer.v1.tar+gzip", &layer),
    );
    runs(&cluster, "scratch", &container, "");
    let pod = cluster.get(&["pod", "v0"]).unwrap();
    assert!(pod["status"]["containerStatuses"][0]["imageID"].as_str().unwrap().contains("sha256:"), "{pod}");
}

/// A container image from scratch whose entry point is a module.
fn scratch(wasm: &[u8]) -> (Value, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.wasm"), wasm).unwrap();
    let output = std::process::Command::new("tar")
        .args(["czf", "-", "-C"])
        .arg(folder.path())
        .arg("app.wasm")
        .output()
        .unwrap();
    assert!(output.status.success());
    (
        json!({"architecture": "wasm", "os": "wasip1", "config": {"Entrypoint": ["/app.wasm"]}, "rootfs": {"type": "layers", "diff_ids": []}}),
        output.stdout,
    )
}

#[test]
fn a_closed_registry_wants_the_pull_secret() {
    let Some(program) = tool::find("registry") else { return };
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(&program, folder.path(), true);
    let cluster = Cluster::start(Shape::Whole);
    let image = registry.push(
        "story/closed",
        "1",
        ("application/vnd.wasm.config.v0+json", &json!({})),
        ("application/wasm", &ticker()),
    );
    cluster.apply(&Pod::new("without", "ticker").yaml().replace("file:guests/dist/ticker.wasm", &image));
    eventually("the Pod without a secret says why it waits", || {
        let pod = cluster.get(&["pod", "without"])?;
        let waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"].clone();
        let reason = waiting["reason"].as_str().unwrap_or_default();
        if reason == "ErrImagePull" || reason == "ImagePullBackOff" {
            Ok(())
        } else {
            Err(waiting.to_string())
        }
    });
    let login = base64::prelude::BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let docker = json!({"auths": {registry.address.to_string(): {"auth": login}}}).to_string();
    let docker = base64::prelude::BASE64_STANDARD.encode(docker);
    cluster.apply(&format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\ntype: kubernetes.io/dockerconfigjson\ndata: {{.dockerconfigjson: {docker}}}\n"));
    runs(&cluster, "with", &image, "imagePullSecrets: [{name: login}]");
    assert!(!cluster.log().contains(PASSWORD) && !cluster.log().contains(&login), "a secret is in the log");
}

#[test]
fn an_oci_layout_on_disk_runs() {
    let folder = tempfile::Builder::new()
        .prefix("layout-")
        .tempdir_in(edge_tests::root().join("guests/dist"))
        .unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    layout(folder.path(), &ticker());
    let cluster = Cluster::start(Shape::Whole);
    let path = folder.path().strip_prefix(edge_tests::root()).unwrap();
    runs(&cluster, "layout", &format!("oci-layout:{}", path.display()), "");
}

fn layout(folder: &std::path::Path, wasm: &[u8]) {
    use sha2::Digest as _;
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let blob = |kind: &str, bytes: &[u8]| {
        let digest: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::File::create(blobs.join(&digest)).unwrap().write_all(bytes).unwrap();
        json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len()})
    };
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.wasm.config.v0+json", b"{}"), "layers": [blob("application/wasm", wasm)]});
    let manifest = blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    std::fs::write(
        folder.join("index.json"),
        json!({"schemaVersion": 2, "manifests": [manifest]}).to_string(),
    )
    .unwrap();
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
}
