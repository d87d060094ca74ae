//! A real OCI registry on loopback, and what is pushed to it.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{eventually, web};

/// The user of a registry that asks for one.
pub const USER: &str = "box";
/// Their password.
pub const PASSWORD: &str = "shelf";
/// The password's bcrypt hash, cost 4.
const HTPASSWD: &str = "box:$2b$04$T.bZ8YnZe8g3ZRQI7qh6wu/zlOK0UQS7pzC93Vcfo1i2/hY1gmlZ2\n";

/// A running registry; dropped, it is killed.
pub struct Registry {
    child: Child,
    pub address: SocketAddr,
    authorization: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// Starts one with its data below `folder`; with `closed` only [`USER`] may read it.
    pub fn start(program: &Path, folder: &Path, closed: bool) -> Registry {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let passwords = folder.join("htpasswd");
        std::fs::write(&passwords, HTPASSWD).unwrap();
        let mut config = json!({"version": "0.1", "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": folder.join("registry")}}, "http": {"addr": address.to_string()}});
        if closed {
            config["auth"] = json!({"htpasswd": {"realm": "story", "path": passwords}});
        }
        let file = folder.join("registry.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let child = Command::new(program)
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let login = base64::prelude::BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
        let authorization = if closed { format!("authorization: Basic {login}\r\n") } else { String::new() };
        let registry = Registry { child, address, authorization };
        eventually("the registry answers", || {
            let answer = registry.request("GET", "/v2/", "", &[])?;
            if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
        });
        registry
    }

    /// Pushes an image of one layer and gives its reference.
    pub fn push(&self, repository: &str, tag: &str, config: (&str, &Value), layer: (&str, &[u8])) -> String {
        let config_bytes = config.1.to_string().into_bytes();
        let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self.blob(repository, config.0, &config_bytes), "layers": [self.blob(repository, layer.0, layer.1)]});
        let kind = "content-type: application/vnd.oci.image.manifest.v1+json\r\n";
        let answer = self
            .request(
                "PUT",
                &format!("/v2/{repository}/manifests/{tag}"),
                kind,
                manifest.to_string().as_bytes(),
            )
            .unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
        format!("{}/{repository}:{tag}", self.address)
    }

    fn blob(&self, repository: &str, kind: &str, bytes: &[u8]) -> Value {
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let begun = self.request("POST", &format!("/v2/{repository}/blobs/uploads/"), "", &[]).unwrap();
        let location = begun
            .head
            .lines()
            .find_map(|line| line.strip_prefix("Location: "))
            .unwrap_or_else(|| panic!("{begun:?}"));
        let path = location.split_once(&self.address.to_string()).map_or(location, |(_, path)| path);
        let path = format!("{path}&digest=sha256:{digest}");
        let answer = self.request("PUT", &path, "content-type: application/octet-stream\r\n", bytes).unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
        json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len()})
    }

    fn request(&self, method: &str, path: &str, head: &str, body: &[u8]) -> Result<web::Answer, String> {
        let head = format!("{}{head}", self.authorization);
        web::send(self.address, method, &self.address.to_string(), path, &head, body)
    }
}
