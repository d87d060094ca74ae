//! `cargo xtask simulate`: the stories of the control plane's simulation for a range of seeds.

use anyhow::{Context as _, Result};
use clap::Args;

use crate::run::{cargo, run};

/// The profile: quick to run, without the long link of a release.
const PROFILE: &str = "simulate";
/// The test that tells the stories it is asked for.
const TEST: &str = "simulation::seeds::the_seeds_asked_for_keep_every_promise";

/// Which stories to tell.
#[derive(Args)]
pub struct Options {
    /// How many seeds from 0 on, or a range of them such as 17..18
    #[arg(long, default_value = "10000")]
    seeds: String,
}

/// Tells the stories; the first promise that is broken is shown with what led to it.
///
/// # Errors
/// When a promise is broken, or the range is none.
pub fn simulate(options: &Options) -> Result<()> {
    let (start, end) = options.seeds.split_once("..").unwrap_or(("0", &options.seeds));
    let number = |text: &str| text.parse::<u64>().with_context(|| format!("{text:?} is no seed"));
    let seeds = format!("{}..{}", number(start)?, number(end)?);
    let mut tests =
        cargo(&["test", "--locked", "--profile", PROFILE, "--package", "edge-controller", "--lib"]);
    tests.args(["--", "--exact", TEST, "--nocapture"]).env("EDGE_SEEDS", seeds);
    run(tests)
}
