//! `cargo xtask bench`: builds for release and runs the benchmark program.

use anyhow::Result;
use clap::Args;

use crate::run::run;
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
    let mut bench = build::quick("run", &["edge-bench"]);
    bench.args(["--quiet", "--"]).args(&options.names).env("EDGE_BINARIES", binaries);
    run(bench)
}
