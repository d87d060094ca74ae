//! The pinned tools, brought by `cargo xtask tools`.

use std::path::PathBuf;

/// The tool `name` of tools.toml; none when it could not be had, which CI does not forgive.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = crate::root().join(".tools").join(name);
    if path.exists() {
        return Some(path);
    }
    let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
    assert!(!in_ci, "the tool {name} is missing; run `cargo xtask tools`");
    eprintln!("SKIPPED for want of the tool {name}");
    None
}
