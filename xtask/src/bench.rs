//! `cargo xtask bench`: builds for release and runs the benchmark program.

use anyhow::Result;
use clap::Args;

use crate::run::{command, run, target_dir};
use crate::{build, tool};

/// Which benchmarks to run.
#[derive(Args)]
pub struct Options {
    /// Names of benchmarks; all when none is named
    names: Vec<String>,
}

/// Builds `edged` for release and measures it.
///
/// # Errors
/// When a build or a benchmark fails.
pub fn bench(options: &Options) -> Result<()> {
    build::guests()?;
    tool::fetch_all()?.print();
    let binaries = build::release()?;
    let mut around = build::quick("build", build::AROUND);
    around.arg("--bins");
    run(around)?;
    let program = target_dir().join(build::QUICK).join("edge-bench");
    let mut bench = command(&program.to_string_lossy(), &[]);
    bench.args(&options.names).env("EDGE_BINARIES", binaries);
    run(bench)
}
