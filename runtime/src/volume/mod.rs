//! Volumes: the directory of each volume of a Pod, and what of them a container sees.
//!
//! Volumes of data (ConfigMap, Secret, projected, downward API) are written so that a reader sees all old or all
//! new files, and rewritten when their sources change. Everything a Pod has lies in one directory that goes with
//! it; what lies outside (`hostPath`) is never removed. This module asks no API: objects and tokens are handed in.

pub mod facts;
pub mod host_path;
pub mod mount;
pub mod objects;
pub mod payload;
mod write;

pub use facts::{FactError, Facts};
pub use mount::{MountError, Mounts};
pub use objects::{Entries, Lookup, Objects, Source};
pub use payload::{PayloadError, Tokens};

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use edge_api::kinds::pod::{Container, Volume, VolumeMount};

/// The volumes of a node's Pods.
#[derive(Debug, Clone)]
pub struct Volumes {
    directory: PathBuf,
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
    /// Opens (or makes) the directory, closed to other users.
    pub fn open(directory: PathBuf, host_roots: Vec<PathBuf>) -> io::Result<Volumes> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
        Ok(Volumes { directory, host_roots })
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
    ) -> Result<bool, VolumeError> {
        let mut changed = false;
        for volume in &facts.pod.spec.volumes {
            changed |= self.prepare_one(volume, facts, objects, tokens)?;
        }
        Ok(changed)
    }

    fn prepare_one(
        &self,
        volume: &Volume,
        facts: &Facts<'_>,
        objects: &Objects<'_>,
        tokens: &Tokens<'_>,
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
        match &volume.host_path {
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
        sub_path: impl Fn(&VolumeMount) -> String,
    ) -> Result<Mounts, MountError> {
        let (at, files) = (self.volumes(uid), self.pod(uid).join("files"));
        let place = mount::Place { volumes: &at, files: &files, host_roots: &self.host_roots };
        let mut mounts = mount::mounts(container, volumes, place, sub_path)?;
        for (preopen, mount) in mounts.preopens.iter_mut().zip(&container.volume_mounts) {
            // Data that the node keeps up to date is nobody else's to change.
            let volume = volumes.iter().find(|volume| volume.name == mount.name);
            let ours = volume.is_some_and(|volume| volume.empty_dir.is_none() && volume.host_path.is_none());
            preopen.read_only |= ours && preopen.guest == mount.mount_path;
        }
        Ok(mounts)
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
