//! Pulling from a tiny registry on the loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

use crate::image::{
    Config, Credential, Digest, Image, ImageError, ImageStore, Presence, PullPolicy, credentials,
};

const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// What it demands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    Open,
    Basic,
    Token,
}

struct Registry {
    address: SocketAddr,
    _task: tokio_util::task::AbortOnDropHandle<()>,
}

fn descriptor(media_type: &str, content: &[u8]) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": Digest::of(content), "size": content.len()})
}

fn manifest() -> String {
    let config = descriptor("application/vnd.wasm.config.v0+json", b"{}");
    json!({"schemaVersion": 2, "config": config, "layers": [descriptor("application/wasm", MODULE)]})
        .to_string()
}

fn index() -> String {
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest().as_bytes());
    entry["platform"] = json!({"os": "wasip1", "architecture": "wasm"});
    let mut other = descriptor("application/vnd.oci.image.manifest.v1+json", b"elsewhere");
    other["platform"] = json!({"os": "linux", "architecture": "amd64"});
    json!({"schemaVersion": 2, "manifests": [other, entry]}).to_string()
}

fn answer(request: &Request<Incoming>, guard: Guard, own: SocketAddr) -> Response<Full<Bytes>> {
    let reply = |status: StatusCode, body: Vec<u8>| {
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        response
    };
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let path = request.uri().path();
    // u:p
    let basic = Some("Basic dTpw");
    if path == "/token" {
        let asked = request.uri().query().unwrap_or_default();
        assert!(
            asked.contains("service=tiny") && asked.contains("scope=repository%3Aa%2Fb%3Apull"),
            "{asked}"
        );
        return match authorization == basic {
            true => reply(StatusCode::OK, json!({"token": "t"}).to_string().into_bytes()),
            false => reply(StatusCode::UNAUTHORIZED, Vec::new()),
        };
    }
    let challenge = match guard {
        Guard::Basic if authorization != basic => Some("Basic realm=\"tiny\"".to_owned()),
        Guard::Token if authorization != Some("Bearer t") => Some(format!(
            "Bearer realm=\"http://{own}/token\",service=\"tiny\",scope=\"repository:a/b:pull\""
        )),
        _ => None,
    };
    if let Some(challenge) = challenge {
        let mut response = reply(StatusCode::UNAUTHORIZED, Vec::new());
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge.parse().expect("a header"));
        return response;
    }
    let digest = |content: &str| Digest::of(content.as_bytes()).to_string();
    match path.strip_prefix("/v2/a/b/").and_then(|rest| rest.split_once('/')) {
        Some(("manifests", "v1")) => reply(StatusCode::OK, manifest().into_bytes()),
        Some(("manifests", "multi")) => reply(StatusCode::OK, index().into_bytes()),
        Some(("manifests", name)) if name == digest(&manifest()) => {
            reply(StatusCode::OK, manifest().into_bytes())
        }
        Some(("blobs", name)) if name == Digest::of(MODULE).to_string() => {
            let mut response = reply(StatusCode::TEMPORARY_REDIRECT, Vec::new());
            response.headers_mut().insert(header::LOCATION, "/elsewhere".parse().expect("a header"));
            response
        }
        Some(("blobs", name)) if name == digest("{}") => reply(StatusCode::OK, b"{}".to_vec()),
        _ if path == "/elsewhere" => reply(StatusCode::OK, MODULE.to_vec()),
        _ => reply(StatusCode::NOT_FOUND, br#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#.to_vec()),
    }
}

impl Registry {
    async fn start(guard: Guard) -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let service = service_fn(move |request| async move {
                    Ok::<_, Infallible>(answer(&request, guard, address))
                });
                tokio::spawn(async move {
                    // The client tries TLS first, which breaks here.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Registry { address, _task: tokio_util::task::AbortOnDropHandle::new(task) }
    }

    fn image(&self, rest: &str) -> String {
        format!("{}/a/b{rest}", self.address)
    }

    fn credentials(&self) -> Vec<Credential> {
        let document = json!({"auths": {self.address.to_string(): {"username": "u", "password": "p"}}});
        credentials::read(document.to_string().as_bytes())
    }
}

fn store(dir: &Path) -> Arc<ImageStore> {
    let config = Config {
        directory: dir.join("data"),
        image_dir: dir.to_owned(),
        image_roots: Vec::new(),
        insecure_registries: Vec::new(),
        registry_ca: None,
    };
    Arc::new(ImageStore::open(config).expect("opened"))
}

async fn pull(guard: Guard, rest: &str, known: bool) -> Result<Image, ImageError> {
    let dir = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(guard).await;
    let credentials = if known { registry.credentials() } else { Vec::new() };
    let store = store(dir.path());
    let image = store.fetch(&registry.image(rest), &credentials).await?;
    assert_eq!(std::fs::read(&image.path).expect("kept"), MODULE);
    let found = store.find(&registry.image(rest), PullPolicy::IfNotPresent).expect("valid");
    assert!(matches!(found, Presence::Here(here) if *here == image));
    assert!(matches!(store.find(&registry.image(rest), PullPolicy::Always), Ok(Presence::Absent)));
    Ok(image)
}

#[tokio::test]
async fn tags_digests_and_indexes() {
    let by_tag = pull(Guard::Open, ":v1", false).await.expect("pulled");
    assert!(by_tag.id.ends_with(&format!("/a/b@{}", Digest::of(manifest().as_bytes()))), "{}", by_tag.id);
    let digest = Digest::of(manifest().as_bytes());
    pull(Guard::Open, &format!("@{digest}"), false).await.expect("pulled");
    let by_index = pull(Guard::Open, ":multi", false).await.expect("pulled");
    assert!(by_index.id.ends_with(&Digest::of(index().as_bytes()).to_string()));
}

#[tokio::test]
async fn who_may_pull() {
    for guard in [Guard::Basic, Guard::Token] {
        pull(guard, ":v1", true).await.expect("with credentials");
        let denied = pull(guard, ":v1", false).await.expect_err("without");
        assert!(denied.to_string().starts_with("pull access denied for 127.0.0.1:"), "{denied}");
        assert_eq!(denied.reason(), "ErrImagePull");
    }
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let missing = pull(Guard::Open, ":v9", false).await.expect_err("no such tag");
    assert!(missing.to_string().contains("/a/b:v9 not found in 127.0.0.1:"), "{missing}");
    let dir = tempfile::tempdir().expect("a directory");
    let refused = store(dir.path()).fetch("127.0.0.1:1/a/b:v1", &[]).await.expect_err("nobody there");
    assert!(refused.to_string().contains("cannot connect to 127.0.0.1:1"), "{refused}");
}
