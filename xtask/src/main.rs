//! The project's tasks, each one command: `cargo xtask up`, `cargo xtask test`, …
//!
//! Why: a newcomer needs cargo and nothing else, and CI runs what a developer runs. Every task
//! installs or builds what it needs and says clearly when it cannot. Recipes of the justfile are
//! aliases of these tasks; there is no second implementation of any of them.

mod bench;
mod build;
mod check;
mod rings;
mod run;
mod simulate;
mod suite;
mod tool;
mod up;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The tasks of the edgectl project")]
struct CommandLine {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build everything, start a node, apply the quickstart and say how to reach it
    Up(up::Options),
    /// Run the tests, the same as CI
    Test(suite::Options),
    /// Format, lints, documentation, dependencies
    Check,
    /// Build the example guests into guests/dist
    Guests,
    /// Bring the pinned tools of tools.toml into .tools
    Tools,
    /// Measure, each figure beside its reference
    Bench(bench::Options),
    /// Tell stories of the whole control plane in which everything goes wrong, one for each seed
    Simulate(simulate::Options),
}

fn main() -> Result<()> {
    match CommandLine::parse().task {
        Task::Up(options) => up::up(&options),
        Task::Test(options) => suite::test(&options),
        Task::Check => check::check(),
        Task::Guests => build::guests(),
        Task::Tools => tool::fetch_all().map(|report| report.print()),
        Task::Bench(options) => bench::bench(&options),
        Task::Simulate(options) => simulate::simulate(&options),
    }
}
