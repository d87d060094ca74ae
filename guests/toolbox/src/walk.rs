//! What lies below a path.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;

/// The entries of a directory by name, or the file itself; links are not followed.
pub fn list(path: &Path) -> io::Result<Vec<(String, Metadata)>> {
    let itself = fs::metadata(path)?;
    if !itself.is_dir() {
        return Ok(vec![(path.display().to_string(), itself)]);
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let found = fs::symlink_metadata(entry.path())?;
        entries.push((name, found));
    }
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(entries)
}
