//! The choices that compiled code is bound to, made once for a data directory.

use std::fs;
use std::io;
use std::path::Path;

use crate::sandbox::{Machine, Tunables};

/// Reads the choices, or makes and stores them.
pub fn load(path: &Path, machine: &Machine) -> io::Result<Tunables> {
    if let Some(known) = fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        return Ok(known);
    }
    let chosen = Tunables::for_machine(machine);
    let part = path.with_extension("part");
    fs::write(&part, serde_json::to_vec(&chosen)?)?;
    fs::rename(part, path)?;
    Ok(chosen)
}
