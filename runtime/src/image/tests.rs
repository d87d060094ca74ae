//! Images from hand-made layouts and files.

use std::fs;

use serde_json::json;

use super::*;

const MODULE: &[u8] = b"\0asm\x01\0\0\0";

struct Fixture {
    dir: tempfile::TempDir,
    store: Arc<ImageStore>,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("images")).expect("made");
        let store = Fixture::open(dir.path());
        Fixture { dir, store }
    }

    fn open(dir: &Path) -> Arc<ImageStore> {
        let config = Config {
            directory: dir.join("data"),
            image_dir: dir.join("images"),
            image_roots: Vec::new(),
            insecure_registries: Vec::new(),
            registry_ca: None,
        };
        Arc::new(ImageStore::open(config).expect("opened"))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("images").join(path)
    }

    async fn fetch(&self, image: &str) -> Result<Image, ImageError> {
        self.store.fetch(image, &[]).await
    }

    /// Writes a blob of the layout `name`; answers its descriptor.
    fn blob(&self, name: &str, media_type: &str, content: &[u8]) -> serde_json::Value {
        let directory = self.path(name).join("blobs/sha256");
        fs::create_dir_all(&directory).expect("made");
        let digest = Digest::of(content);
        fs::write(directory.join(digest.hex()), content).expect("written");
        json!({"mediaType": media_type, "digest": digest, "size": content.len()})
    }

    /// A layout with one image of one layer, tagged `v1`.
    fn layout(&self, name: &str, config: (&str, &[u8]), layer: (&str, &[u8])) {
        let config = self.blob(name, config.0, config.1);
        let layer = self.blob(name, layer.0, layer.1);
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]}).to_string();
        let mut entry = self.blob(name, "application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
        let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
        fs::write(self.path(name).join("index.json"), index).expect("written");
    }
}

fn tar_of(path: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, path, content).expect("memory");
    builder.into_inner().expect("memory")
}

#[tokio::test]
async fn every_media_type_of_a_layout() {
    let fixture = Fixture::new();
    let wasm = ("application/wasm", MODULE);
    fixture.layout("new", ("application/vnd.wasm.config.v0+json", b"{}"), wasm);
    fixture.layout(
        "old",
        ("application/vnd.wasm.config.v1+json", b"{}"),
        ("application/vnd.wasm.content.layer.v1+wasm", MODULE),
    );
    let config = json!({"config": {"Entrypoint": ["/bin/app.wasm", "serve"], "Env": ["A=b"]}}).to_string();
    let layer = tar_of("bin/app.wasm", MODULE);
    let tar = ("application/vnd.oci.image.layer.v1.tar", layer.as_slice());
    fixture.layout("box", ("application/vnd.oci.image.config.v1+json", config.as_bytes()), tar);
    for (image, name) in [("new", "new"), ("old:v1", "old"), ("box", "app.wasm")] {
        let found = fixture.fetch(&format!("oci-layout:{image}")).await.expect(image);
        assert_eq!(fs::read(&found.path).expect("kept"), MODULE, "{image}");
        assert_eq!((found.digest, found.name.as_str()), (Digest::of(MODULE), name));
    }
    let found = fixture.fetch("oci-layout:box").await.expect("again");
    assert_eq!(found.run.entrypoint, ["/bin/app.wasm", "serve"]);
    assert_eq!(found.run.env, ["A=b"]);
    assert_eq!(fixture.store.blobs.list().expect("listed").len(), 1, "only the module is kept");
}

#[tokio::test]
async fn a_layout_says_what_is_wrong() {
    let fixture = Fixture::new();
    fixture.layout("a", ("application/vnd.wasm.config.v0+json", b"{}"), ("application/wasm", MODULE));
    let missing = fixture.fetch("oci-layout:a:v2").await.expect_err("no such tag");
    assert_eq!(missing.to_string(), "no image :v2 not found in the OCI layout \"a\"");
    assert_eq!(missing.reason(), "ErrImagePull");
    let nowhere = fixture.fetch("oci-layout:b").await.expect_err("no such layout");
    assert!(nowhere.to_string().contains("\"b\" cannot be read below"), "{nowhere}");
    let blob = fixture.path("a/blobs/sha256").join(Digest::of(MODULE).hex());
    fs::write(blob, b"\0asm\x02\0\0\0").expect("damaged");
    assert!(matches!(fixture.fetch("oci-layout:a").await, Err(ImageError::Digest { .. })));
}

#[tokio::test]
async fn files_are_followed_and_outlive_a_restart() {
    let fixture = Fixture::new();
    fs::write(fixture.path("a.wat"), b"(module)").expect("written");
    let first = fixture.fetch("file:a.wat").await.expect("there");
    assert_eq!(first.id, format!("file:a.wat@{}", Digest::of(b"(module)")));
    fs::write(fixture.path("a.wat"), b"(module (; two ;))").expect("written");
    let second = fixture.fetch("file:a.wat").await.expect("there");
    assert_ne!(first.digest, second.digest);
    fs::remove_file(fixture.path("a.wat")).expect("removed");
    assert!(fixture.fetch("file:a.wat").await.is_err());
    let reopened = Fixture::open(fixture.dir.path());
    assert_eq!(reopened.kept("file:a.wat"), Some(second));
}

#[tokio::test]
async fn files_stay_where_images_are() {
    let fixture = Fixture::new();
    fs::write(fixture.dir.path().join("secret.wasm"), MODULE).expect("written");
    std::os::unix::fs::symlink("../secret.wasm", fixture.path("link.wasm")).expect("linked");
    fs::write(fixture.path("text.wasm"), b"#!/bin/sh").expect("written");
    let outside = fixture.fetch(&format!("file:{}", fixture.dir.path().join("secret.wasm").display())).await;
    assert!(matches!(outside, Err(ImageError::Outside { .. })));
    assert!(matches!(fixture.fetch("file:link.wasm").await, Err(ImageError::Path { .. })));
    assert!(matches!(fixture.fetch("file:text.wasm").await, Err(ImageError::NotWasm { .. })));
    let inside = fixture.path("good.wasm");
    fs::write(&inside, MODULE).expect("written");
    assert!(fixture.fetch(&format!("file:{}", inside.display())).await.is_ok(), "absolute, but inside");
}

#[tokio::test]
async fn policies() {
    let fixture = Fixture::new();
    let never = fixture.store.find("ghcr.io/a/b:1", PullPolicy::Never).expect_err("not here");
    assert_eq!(never.reason(), "ErrImageNeverPull");
    assert_eq!(
        fixture.store.find("UPPER", PullPolicy::Always).expect_err("invalid").reason(),
        "InvalidImageName"
    );
    assert!(matches!(fixture.store.find("ghcr.io/a/b:1", PullPolicy::IfNotPresent), Ok(Presence::Absent)));
}

#[tokio::test]
async fn garbage_goes_oldest_first_and_never_what_is_used() {
    let fixture = Fixture::new();
    let mut digests = Vec::new();
    for (name, text) in [("a", "(module (; a ;))"), ("b", "(module (; b ;))"), ("c", "(module (; c ;))")] {
        fs::write(fixture.path(name), text).expect("written");
        digests.push(fixture.fetch(&format!("file:{name}")).await.expect("there").digest);
    }
    let used = HashSet::from([digests[0].clone()]);
    let each = "(module (; a ;))".len() as u64;
    assert_eq!(fixture.store.collect(&used, 3 * each).expect("collected"), 0);
    assert_eq!(fixture.store.collect(&used, 2 * each).expect("collected"), each);
    assert!(fixture.store.kept("file:a").is_some() && fixture.store.kept("file:b").is_none());
    assert_eq!(fixture.store.collect(&used, 0).expect("collected"), each);
    assert!(fixture.store.kept("file:a").is_some() && fixture.store.kept("file:c").is_none());
}
