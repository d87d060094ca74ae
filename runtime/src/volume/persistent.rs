//! Persistent volumes: what a claim is bound to, and the directories that this node has made for them.
//!
//! A volume of the class `edgectl.dev/local` is the directory of its own name below one of the node's, whatever path
//! it says; so nobody can name somebody else's. Other volumes are paths of the host, as `hostPath` is. A directory is
//! made when a Pod needs it and outlives every Pod; it is removed by [`Directories::remove`] and nothing else.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use edge_api::kinds::persistent_volume::PersistentVolume;
use edge_api::kinds::persistent_volume_claim::PersistentVolumeClaim;
use edge_api::kinds::pod::HostPathVolumeSource;
use serde::{Deserialize, Serialize};

/// What a claim is bound to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Backing {
    /// Our directory of this name.
    Own(String),
    /// A path of the host.
    Host(HostPathVolumeSource),
}

/// The claims of a Pod by the names of its volumes. What a claim is bound to never changes.
pub type Claims = BTreeMap<String, Backing>;

/// Why a claim cannot be mounted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Claim or volume cannot be read.
    #[error("failed to fetch {what} from API server: {why}")]
    Fetch {
        /// `PVC` or `PV`.
        what: &'static str,
        /// What the server said.
        why: String,
    },
    /// It is on its way out.
    #[error("can't start pod because PVC is being deleted")]
    Deleting,
    /// It has no volume.
    #[error("PVC is not bound")]
    Unbound,
    /// The volume is somebody else's.
    #[error("PV {0:?} is bound to another claim")]
    Foreign(String),
    /// A volume that no guest could use.
    #[error("PV {0:?} is no directory of this node")]
    Unsupported(String),
}

/// The name of the volume that a claim is bound to.
pub fn volume_of(claim: &PersistentVolumeClaim) -> Result<&str, ClaimError> {
    if claim.metadata.deletion_timestamp.is_some() {
        return Err(ClaimError::Deleting);
    }
    match claim.spec.volume_name.as_str() {
        "" => Err(ClaimError::Unbound),
        name => Ok(name),
    }
}

/// What a claim is bound to, if the volume says so as well.
pub fn backing(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Result<Backing, ClaimError> {
    let name = volume.metadata.name.clone();
    let of = volume.spec.claim_ref.as_ref();
    if of.is_none_or(|of| of.uid.is_empty()) {
        return Err(ClaimError::Unbound);
    }
    if of.is_none_or(|of| of.uid != claim.metadata.uid) {
        return Err(ClaimError::Foreign(name));
    }
    if volume.spec.volume_mode == "Block" {
        return Err(ClaimError::Unsupported(name));
    }
    match (&volume.spec.host_path, &volume.spec.local) {
        _ if volume.is_local() => Ok(Backing::Own(name)),
        (Some(path), _) => Ok(Backing::Host(path.clone())),
        (None, Some(local)) => {
            Ok(Backing::Host(HostPathVolumeSource { path: local.path.clone(), type_: None }))
        }
        (None, None) => Err(ClaimError::Unsupported(name)),
    }
}

/// The directories that this node has made for volumes.
#[derive(Debug, Clone)]
pub struct Directories {
    root: PathBuf,
}

impl Directories {
    /// Those below `root`, which is there.
    pub fn new(root: PathBuf) -> Directories {
        Directories { root }
    }

    /// The directory of a volume.
    pub fn path(&self, volume: &str) -> io::Result<PathBuf> {
        let mut parts = Path::new(volume).components();
        match (parts.next(), parts.next()) {
            (Some(Component::Normal(_)), None) => Ok(self.root.join(volume)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "no name of a volume")),
        }
    }

    /// Makes the directory of a volume if it is not there, so that it outlives a crash.
    pub fn make(&self, volume: &str) -> io::Result<PathBuf> {
        let path = self.path(volume)?;
        match fs::create_dir(&path) {
            Ok(()) => self.settle()?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(path)
    }

    /// Removes the directory of a volume with all that is in it, for good.
    pub fn remove(&self, volume: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.path(volume)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.settle(),
        }
    }

    fn settle(&self) -> io::Result<()> {
        File::open(&self.root)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(claim: Value, volume: Value) -> Result<Backing, ClaimError> {
        let claim: PersistentVolumeClaim = serde_json::from_value(claim).expect("a claim");
        let volume: PersistentVolume = serde_json::from_value(volume).expect("a volume");
        volume_of(&claim)?;
        backing(&claim, &volume)
    }

    #[test]
    fn a_claim_is_what_both_say_it_is() {
        let claim = json!({"metadata": {"uid": "c"}, "spec": {"volumeName": "v"}});
        let volume = |uid: &str, spec: Value| {
            let mut volume = json!({"metadata": {"name": "v"}, "spec": spec});
            volume["spec"]["claimRef"] = json!({"name": "data", "uid": uid});
            volume
        };
        let host = |path: &str| Backing::Host(HostPathVolumeSource { path: path.into(), type_: None });
        let mut ours = volume("c", json!({"local": {"path": "/etc"}}));
        assert_eq!(check(claim.clone(), ours.clone()), Ok(host("/etc")));
        ours["metadata"]["annotations"] = json!({"pv.kubernetes.io/provisioned-by": "edgectl.dev/local"});
        assert_eq!(check(claim.clone(), ours), Ok(Backing::Own("v".into())));
        let path = volume("c", json!({"hostPath": {"path": "/srv/a"}}));
        assert_eq!(check(claim.clone(), path.clone()), Ok(host("/srv/a")));
        assert_eq!(check(claim.clone(), volume("", json!({}))), Err(ClaimError::Unbound));
        assert_eq!(check(claim.clone(), volume("d", json!({}))), Err(ClaimError::Foreign("v".into())));
        assert_eq!(
            check(claim.clone(), volume("c", json!({"nfs": {}}))),
            Err(ClaimError::Unsupported("v".into()))
        );
        let block = volume("c", json!({"local": {"path": "/dev/a"}, "volumeMode": "Block"}));
        assert_eq!(check(claim, block), Err(ClaimError::Unsupported("v".into())));
        assert_eq!(check(json!({"metadata": {"uid": "c"}}), path.clone()), Err(ClaimError::Unbound));
        let gone = json!({"metadata": {"uid": "c", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"volumeName": "v"}});
        assert_eq!(check(gone, path), Err(ClaimError::Deleting));
    }

    #[test]
    fn directories_have_plain_names_and_keep_what_is_in_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("volumes");
        fs::create_dir(&root).expect("made");
        let directories = Directories::new(root.clone());
        let path = directories.make("pvc-1").expect("made");
        fs::write(path.join("a"), "1").expect("written");
        assert_eq!(directories.make("pvc-1").expect("there"), path);
        assert_eq!(fs::read(path.join("a")).expect("kept"), b"1");
        for name in ["", ".", "..", "../pods", "a/b", "/etc"] {
            assert!(directories.make(name).is_err() && directories.remove(name).is_err(), "{name}");
        }
        std::os::unix::fs::symlink(dir.path(), path.join("out")).expect("linked");
        fs::write(dir.path().join("stays"), "").expect("written");
        directories.remove("pvc-1").expect("removed");
        directories.remove("pvc-1").expect("as well");
        assert!(!root.join("pvc-1").exists() && dir.path().join("stays").exists());
    }
}
