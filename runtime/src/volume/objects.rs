//! The ConfigMaps and Secrets that a Pod's volumes and variables name, looked at through one narrow window.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use edge_api::kinds::config_map::ConfigMap;
use edge_api::kinds::secret::Secret;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl Source {
    /// Its name in messages, as Kubernetes writes it there.
    pub fn noun(self) -> &'static str {
        match self {
            Source::ConfigMap => "configmap",
            Source::Secret => "secret",
        }
    }

    /// The kind's name.
    pub fn kind(self) -> &'static str {
        match self {
            Source::ConfigMap => "ConfigMap",
            Source::Secret => "Secret",
        }
    }
}

/// An object's keys and values.
pub type Entries = BTreeMap<String, Vec<u8>>;

/// What is known about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// Nothing yet.
    Unknown,
    /// It does not exist.
    Absent,
    /// It is this.
    Present(Arc<Entries>),
}

/// Looks objects of the Pod's namespace up.
pub type Objects<'a> = dyn Fn(Source, &str) -> Lookup + Send + Sync + 'a;

/// The keys and values of a ConfigMap.
pub fn config_map_entries(object: &ConfigMap) -> Entries {
    let text = object.data.iter().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    text.chain(object.binary_data.iter().filter_map(|(key, value)| Some((key.clone(), decode(value)?))))
        .collect()
}

/// The keys and values of a Secret.
pub fn secret_entries(object: &Secret) -> Entries {
    object.data.iter().filter_map(|(key, value)| Some((key.clone(), decode(value)?))).collect()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}
