//! Building the binaries and the example guests.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::run::{cargo, command, root, run, target_dir};

/// The profile of `up` and `test`.
pub const QUICK: &str = "quick";

/// The daemon and what it is made of. Always named together: cargo takes the union of the features
/// that the named packages ask for, and another union would build wasmtime again.
pub const DAEMON: &[&str] = &["edge-api", "edge-controller", "edge-runtime", "edged"];
/// The rest, which has no wasmtime in it.
pub const AROUND: &[&str] = &["edgectl", "edge-tests", "edge-bench", "xtask"];

/// `--package` for each.
pub fn packages(names: &[&'static str]) -> Vec<&'static str> {
    names.iter().flat_map(|name| ["--package", name]).collect()
}

/// A cargo command in the profile of these tasks.
pub fn quick(verb: &str, names: &[&'static str]) -> Command {
    let mut command = cargo(&[verb, "--locked", "--profile", QUICK]);
    command.args(packages(names));
    command
}

/// Builds the binaries for `up` and `test` and gives the folder that holds them.
///
/// # Errors
/// When the compiler fails.
pub fn binaries() -> Result<PathBuf> {
    for names in [DAEMON, AROUND] {
        let mut build = quick("build", names);
        build.arg("--bins");
        run(build)?;
    }
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
