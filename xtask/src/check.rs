//! `cargo xtask check`: what a reviewer need not look at.

use anyhow::Result;

use crate::build::QUICK;
use crate::run::{cargo, run};

/// Format, lints on all targets, documentation with warnings as errors, module rings, licences.
///
/// # Errors
/// With the first that fails.
pub fn check() -> Result<()> {
    run(cargo(&["fmt", "--all", "--check"]))?;
    run(cargo(&[
        "clippy",
        "--locked",
        "--profile",
        QUICK,
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))?;
    let mut doc = cargo(&["doc", "--locked", "--profile", QUICK, "--workspace", "--no-deps", "--quiet"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    run(doc)
}
