//! What a container says about its end: in a file of its own (`terminationMessagePath`).
//!
//! WASI knows directories only, so the file's directory is one of the Pod's on this node, unless the container
//! has a volume there already.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::beneath::Beneath;
use crate::sandbox::Preopen;

/// The longest message, in bytes.
pub const LONGEST: usize = 4096;

/// Where a container leaves its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageFile {
    /// A directory on the host.
    directory: PathBuf,
    /// The file in it.
    path: PathBuf,
    /// The directory where the guest sees it, if it is ours.
    guest: Option<String>,
}

impl MessageFile {
    /// The file at `path` of a container that sees `preopens`; `own` is a directory that it may get for it.
    pub fn new(path: &str, preopens: &[Preopen], own: PathBuf) -> Option<MessageFile> {
        let path = Path::new(path);
        let (parent, name) = (path.parent()?, path.file_name()?);
        let within = |preopen: &&Preopen| parent.starts_with(&preopen.guest);
        match preopens.iter().filter(within).max_by_key(|preopen| preopen.guest.len()) {
            Some(preopen) => Some(MessageFile {
                directory: preopen.host.clone(),
                path: path.strip_prefix(&preopen.guest).ok()?.to_owned(),
                guest: None,
            }),
            None => Some(MessageFile {
                directory: own,
                path: name.into(),
                guest: Some(parent.to_str()?.to_owned()),
            }),
        }
    }

    /// What the guest has to be given for it.
    pub fn preopen(&self) -> Option<Preopen> {
        let guest = self.guest.clone()?;
        Some(Preopen { host: self.directory.clone(), guest, read_only: false })
    }

    /// Makes the directory, if it is ours.
    pub fn make(&self) -> io::Result<()> {
        if self.guest.is_some() { fs::create_dir_all(&self.directory) } else { Ok(()) }
    }

    /// Begins anew, for another run.
    pub fn clear(&self) -> io::Result<()> {
        if self.guest.is_some() {
            // The whole directory: the last run may have put a link in the file's place.
            fs::remove_dir_all(&self.directory)?;
            fs::create_dir_all(&self.directory)?;
            Beneath::open(&self.directory)?.make_file(&self.path)?;
        }
        Ok(())
    }

    /// The message; nothing if there is none. Of a long one the end.
    pub fn read(&self) -> String {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = Beneath::open(&self.directory)?.file(&self.path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LONGEST as u64)))?;
            let mut bytes = Vec::new();
            file.take(LONGEST as u64).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

/// The beginning of a message that is too long.
pub fn shortened(mut text: String) -> String {
    let end = (0..=LONGEST.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preopen(host: &Path, guest: &str) -> Preopen {
        Preopen { host: host.to_owned(), guest: guest.to_owned(), read_only: false }
    }

    #[test]
    fn a_directory_of_its_own() {
        let dir = tempfile::tempdir().expect("a directory");
        let own = dir.path().join("messages/c");
        let data = [preopen(dir.path(), "/data")];
        let file = MessageFile::new("/dev/termination-log", &data, own.clone()).expect("a place");
        assert_eq!(file.preopen(), Some(preopen(&own, "/dev")));
        assert_eq!(file.read(), "");
        file.make().and_then(|()| file.clear()).expect("made");
        fs::write(own.join("termination-log"), format!("{}end", "x".repeat(5000))).expect("written");
        let message = file.read();
        assert!(message.len() == LONGEST && message.ends_with("xend"));
        fs::remove_file(own.join("termination-log")).expect("removed");
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").expect("written");
        std::os::unix::fs::symlink(&victim, own.join("termination-log")).expect("linked");
        assert_eq!(file.read(), "", "no link leads out");
        file.clear().expect("cleared");
        assert_eq!(
            (file.read().as_str(), fs::read(&victim).expect("there").as_slice()),
            ("", &b"precious"[..])
        );
    }

    #[test]
    fn a_file_of_a_volume() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("sub")).expect("made");
        fs::write(dir.path().join("sub/last"), "words").expect("written");
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("sub/link")).expect("linked");
        let outer = tempfile::tempdir().expect("a directory");
        let preopens = [preopen(outer.path(), "/"), preopen(dir.path(), "/data")];
        let at = |path| MessageFile::new(path, &preopens, "/nowhere".into()).expect("a place");
        let file = at("/data/sub/last");
        assert_eq!((file.preopen(), file.read().as_str()), (None, "words"));
        assert_eq!(at("/data/sub/link").read(), "", "no link leads out");
        assert_eq!(MessageFile::new("/", &preopens, "/nowhere".into()), None);
    }

    #[test]
    fn long_messages_keep_their_beginning() {
        assert_eq!(shortened("short".into()), "short");
        let long = shortened(format!("{}é{}", "x".repeat(LONGEST - 1), "y".repeat(10)));
        assert_eq!(long, "x".repeat(LONGEST - 1));
    }
}
