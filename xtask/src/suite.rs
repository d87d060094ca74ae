//! `cargo xtask test`: every suite, with the seconds it took.

use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::run::{command, output, run, target_dir};
use crate::{build, check, tool};

/// Which suites to run.
#[derive(Args)]
pub struct Options {
    /// How much to run
    #[arg(long, value_enum, default_value = "full")]
    tier: Tier,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Tier {
    /// The crates' own tests
    Unit,
    /// And whole-system stories with real clients
    System,
    /// And format, lints, documentation and dependency checks: what CI runs
    Full,
}

/// Stories that are told once more with control plane and node apart, which only root can do.
const SPLIT: &[&str] = &["images", "kubectl_node", "network"];

/// Runs the suites of a tier; the last line counts them and names what was skipped.
///
/// # Errors
/// When a suite fails; the others run all the same.
pub fn test(options: &Options) -> Result<()> {
    let mut outcome = Outcome::default();
    let mut skipped = Vec::new();
    if options.tier >= Tier::System {
        outcome.suite("guests", build::guests)?;
        outcome.suite("binaries", || build::binaries().map(drop))?;
        let report = tool::fetch_all()?;
        report.print();
        skipped.extend(report.missing.into_keys());
    }
    let _ = outcome.suite("unit", || {
        let of = |names, which: &[&str]| {
            let mut tests = build::quick("test", names);
            tests.args(which).arg("--no-fail-fast");
            run(tests)
        };
        let units = [build::DAEMON, build::AROUND].map(|names| of(names, &["--lib", "--bins"]));
        let whole_crates = of(build::DAEMON, &["--test", "*"]);
        units.into_iter().chain([whole_crates]).collect()
    });
    if options.tier >= Tier::System {
        let _ = outcome.suite("system", || {
            let mut stories = build::quick("test", build::AROUND);
            // One story after the other: each has a node of its own and the machine to itself.
            stories.args(["--test", "*", "--no-fail-fast", "--", "--test-threads=2"]);
            stories.env("EDGE_BINARIES", target_dir().join(build::QUICK));
            run(stories)
        });
    }
    if options.tier >= Tier::System && output(command("id", &["-u"])).is_ok_and(|uid| uid.trim() == "0") {
        let _ = outcome.suite("split", || {
            let mut stories = build::quick("test", build::AROUND);
            stories.args(SPLIT.iter().flat_map(|name| ["--test", name]));
            // An ordinary user cannot start another one's process.
            stories.args(["--no-fail-fast", "--", "--test-threads=2", "--skip", "ordinary_user"]);
            stories.env("EDGE_BINARIES", target_dir().join(build::QUICK)).env("EDGE_SHAPE", "split");
            run(stories)
        });
    }
    if options.tier >= Tier::Full {
        let _ = outcome.suite("check", check::check);
    }
    outcome.finish(&skipped)
}

#[derive(Default)]
struct Outcome {
    lines: Vec<String>,
    failed: Vec<&'static str>,
}

impl Outcome {
    fn suite(&mut self, name: &'static str, body: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("── {name}");
        let start = Instant::now();
        let result = body();
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        self.lines.push(format!("{name:<10} {word:<7} {:>5} s", start.elapsed().as_secs()));
        if let Err(error) = &result {
            eprintln!("{name}: {error:#}");
            self.failed.push(name);
        }
        result
    }

    fn finish(self, skipped: &[String]) -> Result<()> {
        println!("──");
        for line in &self.lines {
            println!("{line}");
        }
        let skips = if skipped.is_empty() { String::new() } else { format!(" (no {})", skipped.join(", ")) };
        println!(
            "suites: {} passed, {} failed, {} skipped for want of a tool{skips}",
            self.lines.len() - self.failed.len(),
            self.failed.len(),
            skipped.len()
        );
        if !self.failed.is_empty() {
            bail!("failed: {}", self.failed.join(", "));
        }
        Ok(())
    }
}
