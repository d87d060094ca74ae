//! Reading OCI and Docker manifests: which of the layers is the module, and what the image says about running it.

use serde::{Deserialize, Serialize};

use crate::image::digest::Digest;

/// What to accept from a registry.
pub const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// Layer types that are a module as they are.
const MODULE_LAYERS: &[&str] = &[
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
];
/// Layer types that are a file system.
const TAR_LAYERS: &[&str] =
    &["application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar"];
/// The same, compressed by gzip.
const TAR_GZIP_LAYERS: &[&str] =
    &["application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip"];

/// A pointer to content.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What kind of content.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Of an index's entry: for which machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Notes; a layout keeps tags here.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// For which machine an image is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Platform {
    /// `wasm`, `amd64`, …
    #[serde(default)]
    pub architecture: String,
    /// `wasip1`, `wasi`, `linux`, …
    #[serde(default)]
    pub os: String,
}

/// A manifest or an index of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Image(Manifest),
    /// Several, to choose from.
    Index(Vec<Descriptor>),
}

/// One image: its configuration and layers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    /// The configuration's content.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
}

/// How the module is contained in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The layer is the module.
    Module(Descriptor),
    /// A container image; the entry point is a path in its layers.
    Container(Vec<(Descriptor, Compression)>),
}

/// How a tar layer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// By gzip.
    Gzip,
}

/// What an image says about running it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// The program and its first arguments.
    #[serde(deserialize_with = "nullable")]
    pub entrypoint: Vec<String>,
    /// More arguments, replaced by the Pod's `args`.
    #[serde(deserialize_with = "nullable")]
    pub cmd: Vec<String>,
    /// `NAME=value`.
    #[serde(deserialize_with = "nullable")]
    pub env: Vec<String>,
}

/// A manifest that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManifestError {
    /// Not JSON of the right shape.
    #[error("the manifest is malformed: {0}")]
    Malformed(String),
    /// An old or foreign format.
    #[error("manifests of type {0:?} are not supported")]
    Type(String),
    /// An index without a suitable entry.
    #[error("the index has no image for WebAssembly; it has {0}")]
    Platform(String),
    /// No layer is a module or a file system.
    #[error("no layer holds a WebAssembly module; layer types are {0}")]
    Layers(String),
    /// A container image whose program is not WebAssembly.
    #[error("the entry point {0:?} is not a .wasm file; only WebAssembly runs here")]
    EntryPoint(Vec<String>),
}

/// Reads a manifest or an index.
pub fn read(bytes: &[u8]) -> Result<Document, ManifestError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        #[serde(default)]
        media_type: String,
        #[serde(default)]
        schema_version: u32,
        #[serde(default)]
        manifests: Option<Vec<Descriptor>>,
    }
    let malformed = |error: serde_json::Error| ManifestError::Malformed(error.to_string());
    let head: Head = serde_json::from_slice(bytes).map_err(malformed)?;
    if head.schema_version != 2 {
        return Err(ManifestError::Type(format!(
            "{} (schema version {})",
            head.media_type, head.schema_version
        )));
    }
    match head.manifests {
        Some(manifests) => Ok(Document::Index(manifests)),
        None => serde_json::from_slice(bytes).map(Document::Image).map_err(malformed),
    }
}

/// The entry of an index to run here: WebAssembly if there is one, else a container image that may hold some.
pub fn choose(entries: &[Descriptor]) -> Result<&Descriptor, ManifestError> {
    let images: Vec<&Descriptor> =
        entries.iter().filter(|entry| entry.platform.as_ref().is_none_or(is_image)).collect();
    let rank = |entry: &Descriptor| match &entry.platform {
        Some(platform) if platform.architecture.starts_with("wasm") => 0,
        Some(platform) if platform.os.starts_with("wasi") => 1,
        None => 2,
        Some(platform) if platform.os == "linux" && platform.architecture == host_architecture() => 3,
        Some(platform) if platform.os == "linux" => 4,
        Some(_) => 5,
    };
    images.iter().min_by_key(|entry| rank(entry)).copied().ok_or_else(|| {
        let names: Vec<String> =
            entries.iter().filter_map(|entry| entry.platform.as_ref()).map(name).collect();
        ManifestError::Platform(if names.is_empty() { "none at all".to_owned() } else { names.join(", ") })
    })
}

/// Attestations lie in indexes as images for an unknown machine.
fn is_image(platform: &Platform) -> bool {
    platform.os != "unknown" && platform.architecture != "unknown"
}

fn name(platform: &Platform) -> String {
    format!("{}/{}", platform.os, platform.architecture)
}

fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Manifest {
    /// Where the module is.
    pub fn content(&self) -> Result<Content, ManifestError> {
        if let Some(layer) =
            self.layers.iter().find(|layer| MODULE_LAYERS.contains(&layer.media_type.as_str()))
        {
            return Ok(Content::Module(layer.clone()));
        }
        let unpack = |layer: &Descriptor| {
            let media_type = layer.media_type.as_str();
            if TAR_LAYERS.contains(&media_type) {
                Some((layer.clone(), Compression::None))
            } else if TAR_GZIP_LAYERS.contains(&media_type) {
                Some((layer.clone(), Compression::Gzip))
            } else {
                None
            }
        };
        match self.layers.iter().map(unpack).collect::<Option<Vec<_>>>() {
            Some(layers) if !layers.is_empty() => Ok(Content::Container(layers)),
            _ => {
                let types: Vec<&str> = self.layers.iter().map(|layer| layer.media_type.as_str()).collect();
                Err(ManifestError::Layers(if types.is_empty() {
                    "none".to_owned()
                } else {
                    types.join(", ")
                }))
            }
        }
    }
}

impl RunConfig {
    /// Reads an image configuration; those of plain Wasm artefacts say nothing about running.
    pub fn read(bytes: &[u8]) -> RunConfig {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Whole {
            config: Option<RunConfig>,
        }
        serde_json::from_slice::<Whole>(bytes).ok().and_then(|whole| whole.config).unwrap_or_default()
    }

    /// The path of the module inside a container image.
    pub fn module_path(&self) -> Result<String, ManifestError> {
        let words = || self.entrypoint.iter().chain(&self.cmd);
        match words().next() {
            Some(first) if is_wasm(first) => {
                Ok(first.trim_start_matches("./").trim_start_matches('/').to_owned())
            }
            _ => Err(ManifestError::EntryPoint(words().cloned().collect())),
        }
    }
}

fn is_wasm(path: &str) -> bool {
    path.ends_with(".wasm") || path.ends_with(".wat")
}

fn nullable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn descriptor(media_type: &str, platform: Option<(&str, &str)>) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(media_type.as_bytes()),
            size: 1,
            platform: platform
                .map(|(os, architecture)| Platform { architecture: architecture.into(), os: os.into() }),
            annotations: Default::default(),
        }
    }

    fn manifest(config: &str, layers: &[&str]) -> Manifest {
        Manifest {
            config: descriptor(config, None),
            layers: layers.iter().map(|each| descriptor(each, None)).collect(),
        }
    }

    #[test]
    fn every_accepted_form_has_a_module() {
        for layer in ["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"] {
            let found = manifest("application/vnd.wasm.config.v0+json", &["text/plain", layer]).content();
            assert_eq!(found, Ok(Content::Module(descriptor(layer, None))));
        }
        let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
        let tar = "application/vnd.docker.image.rootfs.diff.tar";
        assert_eq!(
            manifest("application/vnd.oci.image.config.v1+json", &[gzip, tar]).content(),
            Ok(Content::Container(vec![
                (descriptor(gzip, None), Compression::Gzip),
                (descriptor(tar, None), Compression::None)
            ]))
        );
        let error =
            manifest("x", &["application/vnd.oci.image.layer.v1.tar+zstd"]).content().expect_err("zstd");
        assert!(error.to_string().contains("tar+zstd"), "{error}");
    }

    #[test]
    fn the_best_platform_is_chosen() {
        let host = host_architecture();
        let of = |platforms: &[(&str, &str)]| {
            let entries: Vec<_> = platforms.iter().map(|each| descriptor("m", Some(*each))).collect();
            choose(&entries).map(|entry| name(entry.platform.as_ref().expect("has one")))
        };
        assert_eq!(of(&[("linux", host), ("wasip1", "wasm")]), Ok("wasip1/wasm".into()));
        assert_eq!(of(&[("linux", "riscv64"), ("linux", host)]), Ok(format!("linux/{host}")));
        assert_eq!(of(&[("unknown", "unknown")]), Err(ManifestError::Platform("unknown/unknown".into())));
        assert_eq!(of(&[]), Err(ManifestError::Platform("none at all".into())));
    }

    #[test]
    fn documents() {
        let digest = Digest::of(b"");
        let image = json!({"schemaVersion": 2, "config": {"digest": digest, "size": 2}, "layers": []});
        assert!(matches!(read(image.to_string().as_bytes()), Ok(Document::Image(_))));
        let index =
            json!({"schemaVersion": 2, "manifests": [{"digest": digest, "size": 2, "mediaType": "m"}]});
        assert!(
            matches!(read(index.to_string().as_bytes()), Ok(Document::Index(entries)) if entries.len() == 1)
        );
        assert!(matches!(read(br#"{"schemaVersion": 1}"#), Err(ManifestError::Type(_))));
        assert!(matches!(read(b"<html>"), Err(ManifestError::Malformed(_))));
    }

    #[test]
    fn entry_points() {
        let read = |config: serde_json::Value| RunConfig::read(config.to_string().as_bytes()).module_path();
        assert_eq!(read(json!({"config": {"Entrypoint": ["/app.wasm", "x"]}})), Ok("app.wasm".into()));
        assert_eq!(
            read(json!({"config": {"Entrypoint": null, "Cmd": ["./bin/a.wasm"]}})),
            Ok("bin/a.wasm".into())
        );
        assert_eq!(
            read(json!({"config": {"Cmd": ["nginx"]}})),
            Err(ManifestError::EntryPoint(vec!["nginx".into()]))
        );
        assert_eq!(read(json!({})), Err(ManifestError::EntryPoint(vec![])));
    }
}
