//! From `volumeMounts` to what the sandbox opens.
//!
//! WASI knows directories only, so a `subPath` that is a file becomes a directory with that file in it. What a
//! guest could have changed meanwhile (a `subPath`, a `hostPath`) is opened here without leaving its volume and
//! handed on as `/proc/self/fd/…`, so that nobody can swap it before the sandbox opens it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use edge_api::kinds::pod::{Container, Volume, VolumeMount};

use crate::beneath::Beneath;
use crate::sandbox::Preopen;
use crate::volume::host_path;
use crate::volume::persistent::{Backing, Claims, Directories};

/// The directories of a container, and the descriptors that must live as long as it does.
#[derive(Debug, Default)]
pub struct Mounts {
    /// What the sandbox opens.
    pub preopens: Vec<Preopen>,
    /// Keeps `/proc/self/fd/…` valid.
    pub holds: Vec<OwnedFd>,
}

/// A mount that cannot be made; Kubernetes' reason is `CreateContainerConfigError`.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The volume is not in the Pod.
    #[error("volume {0:?} not found")]
    NoVolume(String),
    /// The `subPath` leads out of its volume or cannot be opened.
    #[error("failed to prepare subPath {path:?} of volume {volume:?}: {source}")]
    SubPath {
        /// The volume.
        volume: String,
        /// The path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Two things at one place.
    #[error("mount path {0:?} is already a volume; a file cannot be mounted into it")]
    Taken(String),
    /// The host's path.
    #[error(transparent)]
    HostPath(#[from] host_path::HostPathError),
    /// The node's own directory.
    #[error("cannot prepare mounts: {0}")]
    Io(#[from] io::Error),
}

/// Where a Pod's volumes are and what they may be.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// `<pod>/volumes`, with one directory for each volume of ours.
    pub volumes: &'a Path,
    /// `<pod>/files`, for files mounted alone.
    pub files: &'a Path,
    /// What claims are bound to, by volume.
    pub claims: &'a Claims,
    /// The directories of persistent volumes.
    pub persistent: &'a Directories,
    /// Below which `hostPath` may be.
    pub host_roots: &'a [PathBuf],
}

/// The mounts of a container. `sub_path` expands a mount's `subPathExpr`.
pub fn mounts(
    container: &Container,
    volumes: &[Volume],
    place: Place<'_>,
    sub_path: impl Fn(&VolumeMount) -> String,
) -> Result<Mounts, MountError> {
    let mut result = Mounts::default();
    // Files mounted alone, by the directory they appear in.
    let mut files: BTreeMap<String, Vec<(String, fs::File, bool)>> = BTreeMap::new();
    for mount in &container.volume_mounts {
        let volume = volumes
            .iter()
            .find(|volume| volume.name == mount.name)
            .ok_or_else(|| MountError::NoVolume(mount.name.clone()))?;
        let sub = sub_path(mount);
        match target(volume, &sub, place)? {
            Target::Ours(host) => result.preopens.push(preopen(host, mount, volume)),
            Target::Directory(fd) => {
                let host = format!("/proc/self/fd/{}", fd.as_raw_fd()).into();
                result.preopens.push(preopen(host, mount, volume));
                result.holds.push(fd);
            }
            Target::File(file) => {
                let path = mount.mount_path.trim_end_matches('/');
                let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
                let parent = if parent.is_empty() { "/" } else { parent };
                let read_only = mount.read_only || !is_writable(volume);
                files.entry(parent.to_owned()).or_default().push((name.to_owned(), file, read_only));
            }
        }
    }
    for (number, (parent, entries)) in files.into_iter().enumerate() {
        if result.preopens.iter().any(|other| other.guest == parent) {
            return Err(MountError::Taken(parent));
        }
        let host = place.files.join(&container.name).join(number.to_string());
        let read_only = entries.iter().all(|(_, _, read_only)| *read_only);
        lay_out(&host, entries)?;
        result.preopens.push(Preopen { host, guest: parent, read_only });
    }
    Ok(result)
}

enum Target {
    /// A directory of ours that no guest can move.
    Ours(PathBuf),
    Directory(OwnedFd),
    File(fs::File),
}

fn preopen(host: PathBuf, mount: &VolumeMount, volume: &Volume) -> Preopen {
    Preopen { host, guest: mount.mount_path.clone(), read_only: mount.read_only || !is_writable(volume) }
}

fn target(volume: &Volume, sub: &str, place: Place<'_>) -> Result<Target, MountError> {
    let claim = place.claims.get(&volume.name);
    let host = match claim {
        Some(Backing::Host(source)) => Some(source),
        _ => volume.host_path.as_ref(),
    };
    let ours = match claim {
        Some(Backing::Own(name)) => place.persistent.path(name)?,
        _ => place.volumes.join(&volume.name),
    };
    let root = match host {
        Some(source) => match host_path::open(source, place.host_roots)? {
            host_path::Opened::Directory(directory) => directory,
            host_path::Opened::File(file) => return Ok(Target::File(file)),
        },
        None if sub.is_empty() => return Ok(Target::Ours(ours)),
        None => Beneath::open(&ours)?,
    };
    if sub.is_empty() {
        return Ok(Target::Directory(root.into_fd()));
    }
    let failed = |source| MountError::SubPath { volume: volume.name.clone(), path: sub.to_owned(), source };
    match root.kind(Path::new(sub)) {
        Ok(kind) if kind.is_file() => root.file(Path::new(sub)).map(Target::File).map_err(failed),
        Ok(_) => Ok(Target::Directory(root.directory(Path::new(sub)).map_err(failed)?.into_fd())),
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_writable(volume) => {
            let made = root.make(Path::new(sub)).map_err(failed)?;
            Ok(Target::Directory(made.into_fd()))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Volumes that a guest may write into, and in which a `subPath` that is not there yet is made: data that the node
/// keeps up to date is nobody else's to change.
fn is_writable(volume: &Volume) -> bool {
    let claimed = volume.claim("").is_some_and(|(_, read_only)| !read_only);
    volume.empty_dir.is_some() || volume.host_path.is_some() || claimed
}

/// Copies files to where they are mounted alone: as in Kubernetes they do not follow their volume.
fn lay_out(directory: &Path, entries: Vec<(String, fs::File, bool)>) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir_all(directory)?,
    }
    for (name, mut source, _) in entries {
        let mut out = fs::File::create(directory.join(name))?;
        io::copy(&mut source, &mut out)?;
        out.set_permissions(source.metadata()?.permissions())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use serde_json::{Value, json};

    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Fixture {
            let dir = tempfile::tempdir().expect("a directory");
            fs::create_dir_all(dir.path().join("volumes/v/sub")).expect("made");
            fs::create_dir_all(dir.path().join("host/data")).expect("made");
            fs::write(dir.path().join("volumes/v/file"), "text").expect("written");
            fs::write(dir.path().join("secret"), "secret").expect("written");
            symlink("../../secret", dir.path().join("volumes/v/escape")).expect("linked");
            symlink("/etc", dir.path().join("volumes/v/etc")).expect("linked");
            Fixture { dir }
        }

        fn mounts(&self, mounts: Value, volume: Value) -> Result<Mounts, MountError> {
            self.claimed(mounts, volume, &Claims::new())
        }

        fn claimed(&self, mounts: Value, volume: Value, claims: &Claims) -> Result<Mounts, MountError> {
            let container: Container =
                serde_json::from_value(json!({"name": "c", "volumeMounts": mounts})).expect("a container");
            let volumes: Vec<Volume> = serde_json::from_value(json!([volume])).expect("volumes");
            let (at, files) = (self.dir.path().join("volumes"), self.dir.path().join("files"));
            let roots = [self.dir.path().join("host")];
            let persistent = Directories::new(self.dir.path().join("persistent"));
            let place =
                Place { volumes: &at, files: &files, claims, persistent: &persistent, host_roots: &roots };
            super::mounts(&container, &volumes, place, |mount| mount.sub_path.clone())
        }
    }

    #[test]
    fn directories_and_sub_paths() {
        let fixture = Fixture::new();
        let volume = json!({"name": "v", "emptyDir": {}});
        let whole =
            fixture.mounts(json!([{"name": "v", "mountPath": "/data", "readOnly": true}]), volume.clone());
        let whole = whole.expect("mounted").preopens;
        assert_eq!(
            whole,
            [Preopen { host: fixture.dir.path().join("volumes/v"), guest: "/data".into(), read_only: true }]
        );
        let sub = json!([{"name": "v", "mountPath": "/s", "subPath": "sub"}, {"name": "v", "mountPath": "/n", "subPath": "new/deep"}]);
        let sub = fixture.mounts(sub, volume).expect("mounted");
        fs::write(sub.preopens[0].host.join("x"), "x").expect("written through the descriptor");
        assert!(fixture.dir.path().join("volumes/v/sub/x").is_file());
        assert!(fixture.dir.path().join("volumes/v/new/deep").is_dir());
    }

    #[test]
    fn claims() {
        let fixture = Fixture::new();
        fs::create_dir_all(fixture.dir.path().join("persistent/pvc-1")).expect("made");
        let claims = Claims::from([("v".to_owned(), Backing::Own("pvc-1".to_owned()))]);
        let volume = |read_only: bool| json!({"name": "v", "persistentVolumeClaim": {"claimName": "data", "readOnly": read_only}});
        let whole = json!([{"name": "v", "mountPath": "/data"}]);
        for read_only in [false, true] {
            let found = fixture.claimed(whole.clone(), volume(read_only), &claims).expect("mounted");
            let host = fixture.dir.path().join("persistent/pvc-1");
            assert_eq!(found.preopens, [Preopen { host, guest: "/data".into(), read_only }]);
        }
        let part = json!([{"name": "v", "mountPath": "/data", "subPath": "a/b"}]);
        fixture.claimed(part.clone(), volume(false), &claims).expect("mounted");
        assert!(fixture.dir.path().join("persistent/pvc-1/a/b").is_dir());
        let inside = fixture.dir.path().join("host/data").display().to_string();
        let host = |path: &str| {
            let source = json!({"path": path});
            Claims::from([("v".to_owned(), Backing::Host(serde_json::from_value(source).expect("a path")))])
        };
        let found = fixture.claimed(whole.clone(), volume(true), &host(&inside)).expect("mounted");
        assert!(found.preopens[0].read_only);
        let error = fixture.claimed(whole, volume(false), &host("/etc")).expect_err("outside");
        assert!(error.to_string().contains("not below a directory"), "{error}");
    }

    #[test]
    fn files_alone() {
        let fixture = Fixture::new();
        let mounts = json!([{"name": "v", "mountPath": "/etc/app/one.conf", "subPath": "file"}]);
        let found =
            fixture.mounts(mounts, json!({"name": "v", "configMap": {"name": "x"}})).expect("mounted");
        assert_eq!((found.preopens[0].guest.as_str(), found.preopens[0].read_only), ("/etc/app", true));
        assert_eq!(fs::read_to_string(found.preopens[0].host.join("one.conf")).expect("there"), "text");
    }

    #[test]
    fn nothing_leads_out() {
        let fixture = Fixture::new();
        for sub in ["escape", "etc", "etc/passwd", "../../secret", "/etc"] {
            let mounts = json!([{"name": "v", "mountPath": "/m", "subPath": sub}]);
            let error = fixture.mounts(mounts, json!({"name": "v", "emptyDir": {}})).expect_err(sub);
            assert!(matches!(error, MountError::SubPath { .. }), "{sub}: {error}");
        }
        let outside = json!({"name": "v", "hostPath": {"path": "/etc"}});
        let error = fixture.mounts(json!([{"name": "v", "mountPath": "/m"}]), outside).expect_err("outside");
        assert!(error.to_string().contains("not below a directory"), "{error}");
        let inside = json!({"name": "v", "hostPath": {"path": fixture.dir.path().join("host/data")}});
        assert!(fixture.mounts(json!([{"name": "v", "mountPath": "/m"}]), inside).is_ok());
    }
}
