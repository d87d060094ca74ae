//! Benchmarks: each prints a figure beside what it must reach and beside its reference of the same run.
//!
//! Machines are noisy and shared, so what counts is the ratio to a reference that ran in the same
//! minute, and CPU time rather than wall time where it can be had. `cargo xtask bench [NAME…]` builds
//! for release and runs them; each is one file and one line of [`BENCHES`].

mod api;
mod client;
mod dense;
mod hollow;
mod idle;
mod ingress;
mod pods;
mod process;
mod report;
mod restart;
mod startup;

use anyhow::{Result, bail};
use clap::Parser;

/// Name, what it measures, how.
type Bench = (&'static str, &'static str, fn() -> Result<()>);

/// Every benchmark, in the order they run.
const BENCHES: &[Bench] = &[
    ("startup", "exec → ready, fresh and with 10,000 objects; size of the binary", startup::run),
    ("api", "creates, gets, patches, lists, watches and memory of the API beside etcd", api::run),
    ("idle", "memory, CPU and bytes written while nothing changes", idle::run),
    ("ingress", "requests through the Ingress beside wasmtime serve", ingress::run),
    ("pods", "500 Pods created → Ready; memory of one more idle Pod", pods::run),
    ("dense", "10,000 idle Pods on one node, and who still answers meanwhile", dense::run),
    ("hollow", "1,000 nodes that run nothing and 100,000 Pods: what the control plane needs", hollow::run),
    ("restart", "a container that crashes, and a node with 100 Pods, start again", restart::run),
];

#[derive(Parser)]
#[command(name = "cargo xtask bench", about = "Figures, each beside its reference")]
struct CommandLine {
    /// Which benchmarks; all when none is named
    names: Vec<String>,
}

fn main() -> Result<()> {
    let wanted = CommandLine::parse().names;
    if let Some(unknown) = wanted.iter().find(|name| !BENCHES.iter().any(|(known, ..)| known == name)) {
        let known: Vec<&str> = BENCHES.iter().map(|(name, ..)| *name).collect();
        bail!("no benchmark {unknown:?}; there are {}", known.join(", "));
    }
    for (name, what, run) in BENCHES {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            println!("── {name}: {what}");
            run()?;
        }
    }
    Ok(())
}
