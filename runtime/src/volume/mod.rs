//! Volumes: the directory of each volume of a Pod, and what of them a container sees.
//!
//! Volumes of data (ConfigMap, Secret, projected, downward API) are written so that a reader sees all old or all
//! new files, and rewritten when their sources change. Everything a Pod has lies in one directory that goes with
//! it; what lies outside (persistent volumes, `hostPath`) does not. This module asks no API: objects, tokens and what
//! claims are bound to are handed in.

pub mod facts;
pub mod host_path;
pub mod mount;
pub mod objects;
pub mod payload;
pub mod persistent;
mod write;

pub use facts::{FactError, Facts};
pub use mount::{MountError, Mounts};
pub use objects::{Entries, Lookup, Objects, Source};
pub use payload::{PayloadError, Tokens};
pub use persistent::{Backing, ClaimError, Claims, Directories};

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use edge_api::kinds::pod::{Container, Volume, VolumeMount};

/// What the claims of a Pod are bound to, in its directory.
const CLAIMS: &str = "claims.json";

/// The volumes of a node's Pods.
#[derive(Debug, Clone)]
pub struct Volumes {
    directory: PathBuf,
    persistent: Directories,
    host_roots: Vec<PathBuf>,
}

/// A volume that is not ready.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// Its files are not known.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {source}")]
    Payload {
        /// Which volume.
        volume: String,
        /// Why.
        source: PayloadError,
    },
    /// A claim.
    #[error("MountVolume.SetUp failed for volume {volume:?} : error processing PVC {claim}: {source}")]
    Claim {
        /// Which volume.
        volume: String,
        /// Which claim.
        claim: String,
        /// Why.
        source: ClaimError,
    },
    /// A kind of volume that this node does not have.
    #[error("volume {0:?} is of a kind that this node does not support")]
    Unsupported(String),
    /// The host's path.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {source}")]
    HostPath {
        /// Which volume.
        volume: String,
        /// Why.
        source: host_path::HostPathError,
    },
    /// The disk.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {source}")]
    Io {
        /// Which volume.
        volume: String,
        /// Why.
        source: io::Error,
    },
}

impl VolumeError {
    /// Whether something is merely still to arrive.
    pub fn is_waiting(&self) -> bool {
        matches!(self, VolumeError::Payload { source, .. } if source.is_waiting())
    }
}

impl Volumes {
    /// Opens (or makes) the directories, that of Pods and that of persistent volumes, closed to other users.
    pub fn open(directory: PathBuf, persistent: PathBuf, host_roots: Vec<PathBuf>) -> io::Result<Volumes> {
        for one in [&directory, &persistent] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(one)?;
            fs::set_permissions(one, fs::Permissions::from_mode(0o700))?;
        }
        Ok(Volumes { directory, persistent: Directories::new(persistent), host_roots })
    }

    /// The directories of persistent volumes.
    pub fn persistent(&self) -> &Directories {
        &self.persistent
    }

    /// What the Pod's claims were bound to when that was last found out.
    pub fn kept_claims(&self, uid: &str) -> Claims {
        let bytes = fs::read(self.pod(uid).join(CLAIMS)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Keeps what the Pod's claims are bound to.
    pub fn keep_claims(&self, uid: &str, claims: &Claims) -> io::Result<()> {
        let directory = self.pod(uid);
        fs::create_dir_all(&directory)?;
        let part = directory.join("claims.part");
        fs::write(&part, serde_json::to_vec(claims).expect("claims have only string keys"))?;
        fs::rename(part, directory.join(CLAIMS))
    }

    /// A Pod's directory.
    pub fn pod(&self, uid: &str) -> PathBuf {
        self.directory.join(uid)
    }

    /// Where a Pod's containers leave their last messages.
    pub fn messages(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("messages")
    }

    /// Brings every volume of the Pod to its newest state; answers whether anything was written.
    pub fn prepare(
        &self,
        facts: &Facts<'_>,
        objects: &Objects<'_>,
        tokens: &Tokens<'_>,
        claims: &Claims,
    ) -> Result<bool, VolumeError> {
        let mut changed = false;
        for volume in &facts.pod.spec.volumes {
            changed |= self.prepare_one(volume, facts, objects, tokens, claims)?;
        }
        Ok(changed)
    }

    fn prepare_one(
        &self,
        volume: &Volume,
        facts: &Facts<'_>,
        objects: &Objects<'_>,
        tokens: &Tokens<'_>,
        claims: &Claims,
    ) -> Result<bool, VolumeError> {
        let name = || volume.name.clone();
        let directory = self.volumes(&facts.pod.metadata.uid).join(&volume.name);
        let failed = |source| VolumeError::Io { volume: name(), source };
        let payload = payload::build(volume, facts, objects, tokens)
            .map_err(|source| VolumeError::Payload { volume: name(), source })?;
        if let Some(payload) = payload {
            return write::write(&directory, &payload).map_err(failed);
        }
        if volume.empty_dir.is_some() {
            let missing = !directory.is_dir();
            fs::create_dir_all(&directory).map_err(failed)?;
            return Ok(missing);
        }
        let host_path = match claims.get(&volume.name) {
            Some(Backing::Own(own)) => {
                self.persistent.make(own).map_err(failed)?;
                return Ok(false);
            }
            Some(Backing::Host(source)) => Some(source),
            None => volume.host_path.as_ref(),
        };
        match host_path {
            Some(source) => host_path::open(source, &self.host_roots)
                .map(|_| false)
                .map_err(|source| VolumeError::HostPath { volume: name(), source }),
            None => Err(VolumeError::Unsupported(name())),
        }
    }

    /// What a container sees of the Pod's volumes. `sub_path` expands a mount's `subPath` or `subPathExpr`.
    pub fn mounts(
        &self,
        uid: &str,
        container: &Container,
        volumes: &[Volume],
        claims: &Claims,
        sub_path: impl Fn(&VolumeMount) -> String,
    ) -> Result<Mounts, MountError> {
        let (at, files) = (self.volumes(uid), self.pod(uid).join("files"));
        let place = mount::Place {
            volumes: &at,
            files: &files,
            claims,
            persistent: &self.persistent,
            host_roots: &self.host_roots,
        };
        mount::mounts(container, volumes, place, sub_path)
    }

    /// A token that an earlier life of the node wrote, for a start without the server.
    pub fn kept_token(&self, uid: &str, volume: &str, path: &str) -> Option<String> {
        fs::read_to_string(self.volumes(uid).join(volume).join(path)).ok()
    }

    /// Removes everything that a Pod has here.
    pub fn remove(&self, uid: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.pod(uid)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// The UIDs of the Pods that have something here.
    pub fn pods(&self) -> io::Result<Vec<String>> {
        Ok(fs::read_dir(&self.directory)?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect())
    }

    fn volumes(&self, uid: &str) -> PathBuf {
        Path::new(&self.directory).join(uid).join("volumes")
    }
}
