//! Writing a volume of data so that a reader sees all of the old files or all of the new ones.
//!
//! The files lie in a directory of their own; `..data` is a link to it that is replaced in one step, and every
//! name at the top is a link through `..data`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use crate::volume::payload::{File, Payload};

/// The link to the current files.
const DATA: &str = "..data";
/// What the next link is called until it takes the place of the old one.
const DATA_NEXT: &str = "..data_tmp";

/// Brings the directory to hold exactly `payload`. Writes nothing if it does already; answers whether it wrote.
pub fn write(directory: &Path, payload: &Payload) -> io::Result<bool> {
    fs::create_dir_all(directory)?;
    if read(directory).is_ok_and(|found| found == *payload) {
        return Ok(false);
    }
    let name = format!("..{}", uuid::Uuid::new_v4().simple());
    let fresh = directory.join(&name);
    fill(&fresh, payload)?;
    let next = directory.join(DATA_NEXT);
    remove(&next)?;
    symlink(&name, &next)?;
    fs::rename(&next, directory.join(DATA))?;
    link_names(directory, payload)?;
    sweep(directory, &name, payload)?;
    Ok(true)
}

fn fill(directory: &Path, payload: &Payload) -> io::Result<()> {
    fs::create_dir(directory)?;
    for (path, file) in payload {
        let path = directory.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        out.write_all(&file.bytes)?;
        out.set_permissions(fs::Permissions::from_mode(file.mode))?;
    }
    Ok(())
}

fn tops(payload: &Payload) -> BTreeSet<&str> {
    payload.keys().filter_map(|path| path.trim_start_matches("./").split('/').next()).collect()
}

fn link_names(directory: &Path, payload: &Payload) -> io::Result<()> {
    for name in tops(payload) {
        let link = directory.join(name);
        let target = Path::new(DATA).join(name);
        if fs::read_link(&link).is_ok_and(|found| found == target) {
            continue;
        }
        remove(&link)?;
        symlink(target, link)?;
    }
    Ok(())
}

/// Removes earlier files and the names that are gone.
fn sweep(directory: &Path, current: &str, payload: &Payload) -> io::Result<()> {
    let keep = tops(payload);
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == current || name == DATA || keep.contains(name.as_ref()) {
            continue;
        }
        remove(&entry.path())?;
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn read(directory: &Path) -> io::Result<Payload> {
    let mut found = BTreeMap::new();
    collect(&directory.join(DATA), "", &mut found)?;
    Ok(found)
}

fn collect(directory: &Path, prefix: &str, found: &mut Payload) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| io::ErrorKind::InvalidData)?;
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &path, found)?;
        } else {
            let mode = entry.metadata()?.permissions().mode() & 0o777;
            found.insert(path, File { bytes: fs::read(entry.path())?, mode });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), File { bytes: text.as_bytes().to_vec(), mode: 0o640 }))
            .collect()
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .expect("there")
            .map(|entry| entry.expect("readable").file_name().into_string().expect("text"))
            .collect();
        names.retain(|name| name == DATA || !name.starts_with(".."));
        names.sort();
        names
    }

    #[test]
    fn files_change_together_and_only_when_they_change() {
        let dir = tempfile::tempdir().expect("a directory");
        let volume = dir.path().join("volume");
        let first = payload(&[("a", "1"), ("sub/b", "2")]);
        assert!(write(&volume, &first).expect("written"));
        assert_eq!(fs::read_to_string(volume.join("sub/b")).expect("there"), "2");
        assert_eq!(fs::metadata(volume.join("a")).expect("there").permissions().mode() & 0o777, 0o640);
        let target = fs::read_link(volume.join(DATA)).expect("a link");
        assert!(!write(&volume, &first).expect("read"), "nothing changed");
        assert_eq!(fs::read_link(volume.join(DATA)).expect("a link"), target);
        assert!(write(&volume, &payload(&[("a", "3"), ("c", "4")])).expect("written"));
        assert_eq!(fs::read_to_string(volume.join("a")).expect("there"), "3");
        assert_eq!(names(&volume), [DATA, "a", "c"]);
        assert_eq!(fs::read_dir(&volume).expect("there").count(), 4, "the old files are gone");
    }

    #[test]
    fn a_half_written_volume_is_repaired() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("..abandoned")).expect("made");
        symlink("nowhere", dir.path().join(DATA_NEXT)).expect("linked");
        fs::write(dir.path().join("a"), "not a link").expect("written");
        assert!(write(dir.path(), &payload(&[("a", "1")])).expect("written"));
        assert_eq!(fs::read_to_string(dir.path().join("a")).expect("there"), "1");
        assert_eq!(names(dir.path()), [DATA, "a"]);
    }
}
