//! `cargo xtask check`: what a reviewer need not look at.

use anyhow::Result;

use crate::run::{cargo, run};
use crate::{build, rings};

/// Format, module rings, lints on all targets, documentation with warnings as errors.
///
/// # Errors
/// With the first that fails.
pub fn check() -> Result<()> {
    run(cargo(&["fmt", "--all", "--check"]))?;
    rings::check()?;
    for names in [build::DAEMON, build::AROUND] {
        let mut clippy = build::quick("clippy", names);
        clippy.args(["--all-targets", "--quiet", "--", "-D", "warnings"]);
        run(clippy)?;
        let mut doc = build::quick("doc", names);
        doc.args(["--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings");
        run(doc)?;
    }
    Ok(())
}
