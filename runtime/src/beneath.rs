//! Opening files below a directory and nowhere else, whatever links lie on the way.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

/// An opened directory that paths are resolved below.
#[derive(Debug)]
pub struct Beneath {
    root: OwnedFd,
}

impl Beneath {
    /// Opens the directory itself; its own path may contain links.
    pub fn open(root: &Path) -> io::Result<Beneath> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Beneath { root: rustix::fs::openat(CWD, root, flags, Mode::empty())? })
    }

    /// Opens a regular file below. Links may point elsewhere below, never out; a device or pipe is refused.
    pub fn file(&self, path: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(self.resolve(path, flags)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(file)
    }

    /// Opens a directory below.
    pub fn directory(&self, path: &Path) -> io::Result<Beneath> {
        let root = self.resolve(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
        Ok(Beneath { root })
    }

    /// Reads a whole file below, unless it is longer than `most` bytes.
    pub fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file(path)?.take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {most} bytes")));
        }
        Ok(bytes)
    }

    /// What is at a path below, links followed.
    pub fn kind(&self, path: &Path) -> io::Result<std::fs::FileType> {
        let found = self.resolve(path, OFlags::PATH | OFlags::CLOEXEC)?;
        Ok(File::from(found).metadata()?.file_type())
    }

    /// Makes a directory below and those it lies in, and opens it.
    pub fn make(&self, path: &Path) -> io::Result<Beneath> {
        if let Ok(found) = self.directory(path) {
            return Ok(found);
        }
        let (parent, name) = split(path)?;
        let parent = self.make(parent)?;
        match rustix::fs::mkdirat(&parent.root, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => parent.directory(Path::new(name)),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes an empty file below, in a directory that is there.
    pub fn make_file(&self, path: &Path) -> io::Result<File> {
        let (parent, name) = split(path)?;
        let parent = self.directory(parent)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&parent.root, name, flags, Mode::from_raw_mode(0o644))?))
    }

    /// The directory's descriptor (`O_PATH`).
    pub fn into_fd(self) -> OwnedFd {
        self.root
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(self.root.as_fd(), path, flags, Mode::empty(), how).map_err(|error| match error {
            rustix::io::Errno::XDEV => {
                io::Error::new(io::ErrorKind::PermissionDenied, "the path leads out of its directory")
            }
            error => error.into(),
        })
    }
}

fn split(path: &Path) -> io::Result<(&Path, &std::ffi::OsStr)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((path.parent().unwrap_or(Path::new("")), name))
}

/// The root that `path` lies below and the rest of the path; a relative path belongs to the first root.
pub fn locate<'a>(roots: &'a [PathBuf], path: &Path) -> Option<(&'a Path, PathBuf)> {
    if path.is_relative() {
        return roots.first().map(|root| (root.as_path(), path.to_owned()));
    }
    roots.iter().find_map(|root| Some((root.as_path(), path.strip_prefix(root).ok()?.to_owned())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_below() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("sub")).expect("made");
        std::fs::write(root.join("sub/a"), b"inside").expect("written");
        std::fs::write(dir.path().join("secret"), b"outside").expect("written");
        symlink("sub/a", root.join("good")).expect("linked");
        symlink("../secret", root.join("up")).expect("linked");
        symlink(dir.path().join("secret"), root.join("absolute")).expect("linked");
        symlink("..", root.join("parent")).expect("linked");
        let beneath = Beneath::open(&root).expect("opened");
        assert_eq!(beneath.read(Path::new("good"), 100).expect("inside"), b"inside");
        assert_eq!(
            beneath.directory(Path::new("sub")).expect("a directory").read(Path::new("a"), 6).expect("read"),
            b"inside"
        );
        for escape in ["up", "absolute", "parent/secret", "../secret", "/etc/passwd"] {
            let error = beneath.file(Path::new(escape)).expect_err(escape);
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{escape}: {error}");
        }
        assert_eq!(
            beneath.read(Path::new("sub/a"), 3).expect_err("long").kind(),
            io::ErrorKind::FileTooLarge
        );
        assert_eq!(
            beneath.file(Path::new("sub")).expect_err("a directory").kind(),
            io::ErrorKind::InvalidInput
        );
    }

    #[test]
    fn pipes_are_refused_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR, 0).expect("made");
        let beneath = Beneath::open(dir.path()).expect("opened");
        assert!(beneath.file(Path::new("pipe")).is_err());
    }

    #[test]
    fn roots() {
        let roots = [PathBuf::from("/srv/images"), PathBuf::from("/opt")];
        let at = |path: &str| locate(&roots, Path::new(path)).map(|(root, rest)| (root.to_owned(), rest));
        assert_eq!(at("a/b"), Some(("/srv/images".into(), "a/b".into())));
        assert_eq!(at("/opt/x"), Some(("/opt".into(), "x".into())));
        assert_eq!(at("/optional/x"), None);
    }
}
