//! The administrator's kubeconfig.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::identity::files;

/// The name of our cluster, user and context in a kubeconfig.
const ENTRY: &str = "edgectl";

/// Why a kubeconfig was not written.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// Reading or writing failed.
    #[error("cannot write the kubeconfig {0}")]
    Io(std::path::PathBuf, #[source] std::io::Error),
    /// The file belongs to somebody else.
    #[error("{0} holds other clusters and is left alone; choose another file with --kubeconfig")]
    Foreign(std::path::PathBuf),
}

/// What a kubeconfig of ours says.
#[derive(Clone, PartialEq, Eq)]
pub struct Kubeconfig {
    /// The address of the server, such as `https://127.0.0.1:6443`.
    pub server: String,
    /// The certificate of the authority, as PEM.
    pub authority: String,
    /// The administrator's bearer token.
    pub token: String,
}

impl Kubeconfig {
    /// Reads the file; `None` if there is none or it holds nothing of use.
    pub fn read(path: &Path) -> Result<Option<Kubeconfig>, KubeconfigError> {
        let io = |error| KubeconfigError::Io(path.to_owned(), error);
        let Some(text) = files::read_private(path).map_err(io)? else { return Ok(None) };
        if text.trim().is_empty() {
            return Ok(None);
        }
        let Ok(document) = serde_saphyr::from_str::<Value>(&text) else {
            return Err(KubeconfigError::Foreign(path.to_owned()));
        };
        let clusters = document["clusters"].as_array().map(Vec::as_slice).unwrap_or_default();
        if clusters.iter().any(|c| c["name"] != ENTRY) {
            return Err(KubeconfigError::Foreign(path.to_owned()));
        }
        Ok(Kubeconfig::of_document(&document))
    }

    /// Writes the file, private to its owner.
    pub fn write(&self, path: &Path) -> Result<(), KubeconfigError> {
        let io = |error| KubeconfigError::Io(path.to_owned(), error);
        files::write_private(path, self.to_yaml().as_bytes()).map_err(io)
    }

    fn of_document(document: &Value) -> Option<Kubeconfig> {
        let cluster = &document["clusters"][0]["cluster"];
        let authority = STANDARD.decode(cluster["certificate-authority-data"].as_str()?).ok()?;
        Some(Kubeconfig {
            server: cluster["server"].as_str()?.to_owned(),
            authority: String::from_utf8(authority).ok()?,
            token: document["users"][0]["user"]["token"].as_str()?.to_owned(),
        })
    }

    fn to_yaml(&self) -> String {
        let authority = STANDARD.encode(&self.authority);
        let (server, token) = (&self.server, &self.token);
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: {ENTRY}\n  cluster:\n    server: {server}\n    \
             certificate-authority-data: {authority}\nusers:\n- name: {ENTRY}\n  user:\n    token: {token}\n\
             contexts:\n- name: {ENTRY}\n  context:\n    cluster: {ENTRY}\n    user: {ENTRY}\n\
             current-context: {ENTRY}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Kubeconfig, KubeconfigError};

    #[test]
    fn it_reads_what_it_writes_and_leaves_others_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        assert!(Kubeconfig::read(&path).unwrap().is_none());
        let ours =
            Kubeconfig { server: "https://[::1]:1".into(), authority: "PEM\n".into(), token: "t-_".into() };
        ours.write(&path).unwrap();
        assert!(Kubeconfig::read(&path).unwrap() == Some(ours));
        std::fs::write(&path, "clusters: [{name: prod, cluster: {server: x}}]").unwrap();
        assert!(matches!(Kubeconfig::read(&path), Err(KubeconfigError::Foreign(_))));
    }
}
