//! One who serves a version of a group, as an APIService names him.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_api::kinds::custom_resource_definition::holds;
use edge_api::meta::{self, number, text};
use serde_json::Value;

use crate::outward::Destination;
use crate::registry::{self, Registry};

/// Somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The name of the APIService.
    pub name: String,
    /// The group he serves.
    pub group: String,
    /// The version of it.
    pub version: String,
    /// The namespace and name of his Service.
    pub service: (String, String),
    /// Its port.
    pub port: i64,
    /// Whom to believe, PEM; empty is whom the host believes.
    pub authority: Vec<u8>,
    /// Whether anybody is to be believed.
    pub insecure: bool,
    /// Whether he answered when he was last asked.
    pub available: bool,
}

impl Remote {
    /// Whom an APIService names; none if it is local.
    pub(super) fn of(service: &Value) -> Option<Remote> {
        let spec = service.get("spec")?;
        let target = spec.get("service").filter(|target| target.is_object())?;
        let named = |of: &Value, field: &str| text(of, &[field]).to_owned();
        Some(Remote {
            name: meta::name(service).to_owned(),
            group: named(spec, "group"),
            version: named(spec, "version"),
            service: (named(target, "namespace"), named(target, "name")),
            port: number(target, &["port"]).unwrap_or(443),
            authority: STANDARD.decode(text(spec, &["caBundle"])).unwrap_or_default(),
            insecure: spec["insecureSkipTLSVerify"] == true,
            available: holds(service, "Available"),
        })
    }

    /// Where his group is.
    pub fn root(&self) -> String {
        format!("/apis/{}/{}", self.group, self.version)
    }

    /// The way to a path of his. The error says in Kubernetes' words why there is none.
    pub fn destination(&self, registry: &Registry, path: &str) -> Result<Destination, String> {
        let (namespace, name) = &self.service;
        registry::service(registry, (namespace, name), self.port, path.to_owned())
    }
}
