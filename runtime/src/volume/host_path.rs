//! `hostPath`: directories of the host, only below configured ones.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use edge_api::kinds::pod::HostPathVolumeSource;

use crate::beneath::{Beneath, locate};

/// A path of the host that a Pod may not have or that is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum HostPathError {
    /// Outside.
    #[error("hostPath {path:?} is not below a directory that the node allows (allowed: {allowed})")]
    Outside {
        /// The path.
        path: String,
        /// What is allowed.
        allowed: String,
    },
    /// Not what `type` demands.
    #[error("hostPath type check failed: {path} is not a {wanted}")]
    Type {
        /// The path.
        path: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A type that no guest could use.
    #[error("hostPath type {0:?} is not supported; directories and files are")]
    Unsupported(String),
    /// It cannot be opened.
    #[error("hostPath {path} cannot be used: {source}")]
    Io {
        /// The path.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// What is there.
#[derive(Debug)]
pub enum Opened {
    /// A directory.
    Directory(Beneath),
    /// A file.
    File(fs::File),
}

/// Opens the path, making it if its type says so.
pub fn open(source: &HostPathVolumeSource, roots: &[PathBuf]) -> Result<Opened, HostPathError> {
    let path = &source.path;
    let failed = |source| HostPathError::Io { path: path.clone(), source };
    let located = Path::new(path).is_absolute().then(|| locate(roots, Path::new(path))).flatten();
    let Some((root, rest)) = located else {
        let allowed: Vec<_> = roots.iter().map(|root| root.display().to_string()).collect();
        let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
        return Err(HostPathError::Outside { path: path.clone(), allowed });
    };
    let root = Beneath::open(root).map_err(failed)?;
    let wanted = source.type_.as_deref().unwrap_or_default();
    let (make_directory, make_file) = match wanted {
        "" | "Directory" | "File" => (false, false),
        "DirectoryOrCreate" => (true, false),
        "FileOrCreate" => (false, true),
        other => return Err(HostPathError::Unsupported(other.to_owned())),
    };
    let kind = match root.kind(&rest) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && make_directory => {
            return root.make(&rest).map(Opened::Directory).map_err(failed);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && make_file => {
            return root.make_file(&rest).map(Opened::File).map_err(failed);
        }
        other => other.map_err(failed)?,
    };
    let wrong = |wanted| HostPathError::Type { path: path.clone(), wanted };
    match wanted {
        "Directory" | "DirectoryOrCreate" if !kind.is_dir() => Err(wrong("directory")),
        "File" | "FileOrCreate" if !kind.is_file() => Err(wrong("file")),
        _ if kind.is_file() => root.file(&rest).map(Opened::File).map_err(failed),
        _ => root.directory(&rest).map(Opened::Directory).map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("d")).expect("made");
        fs::write(dir.path().join("f"), "x").expect("written");
        let roots = [dir.path().to_owned()];
        let check = |name: &str, type_: &str| {
            let path = dir.path().join(name).display().to_string();
            open(&HostPathVolumeSource { path, type_: Some(type_.to_owned()) }, &roots)
        };
        assert!(matches!(check("d", ""), Ok(Opened::Directory(_))));
        assert!(matches!(check("d", "Directory"), Ok(Opened::Directory(_))));
        assert!(matches!(check("f", "File"), Ok(Opened::File(_))));
        assert!(matches!(check("f", "Directory"), Err(HostPathError::Type { .. })));
        assert!(matches!(check("d", "File"), Err(HostPathError::Type { .. })));
        assert!(matches!(check("new/deep", "DirectoryOrCreate"), Ok(Opened::Directory(_))));
        assert!(matches!(check("made", "FileOrCreate"), Ok(Opened::File(_))));
        assert!(matches!(check("none", ""), Err(HostPathError::Io { .. })));
        assert!(matches!(check("d", "Socket"), Err(HostPathError::Unsupported(_))));
        let relative = HostPathVolumeSource { path: "d".into(), type_: None };
        assert!(matches!(open(&relative, &roots), Err(HostPathError::Outside { .. })));
    }
}
