//! Building the binaries and the example guests.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::run::{cargo, command, root, run, target_dir};

/// The profile of `up` and `test`.
pub const QUICK: &str = "quick";

/// Builds the binaries for `up` and `test` and gives the folder that holds them.
///
/// The whole workspace is named, as in every task of this profile: cargo takes the union of the
/// features that the named packages ask for, and another union would build wasmtime again.
///
/// # Errors
/// When the compiler fails.
pub fn binaries() -> Result<PathBuf> {
    run(cargo(&["build", "--locked", "--profile", QUICK, "--workspace", "--bins"]))?;
    Ok(target_dir().join(QUICK))
}

/// Builds the binaries as they are shipped, each with its own features only.
///
/// # Errors
/// When the compiler fails.
pub fn release() -> Result<PathBuf> {
    for package in ["edged", "edgectl"] {
        run(cargo(&["build", "--locked", "--release", "--package", package]))?;
    }
    Ok(target_dir().join("release"))
}

/// Builds every guest into `guests/dist`.
///
/// # Errors
/// When no Wasm toolchain can be had, or a guest does not compile.
pub fn guests() -> Result<()> {
    let mut build = command("bash", &["guests/build.sh"]);
    // The guests' own workspace has its own target directory and compiler.
    for name in ["CARGO_TARGET_DIR", "RUSTC", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "RUSTFLAGS"] {
        build.env_remove(name);
    }
    run(build).context("the guests could not be built")?;
    anyhow::ensure!(
        root().join("guests/dist/hello-http.wasm").is_file(),
        "guests/build.sh made no hello-http.wasm"
    );
    Ok(())
}
