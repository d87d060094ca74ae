//! Rows 2 and 3: what an idle cluster costs. Idle is the quickstart running and no client connected.

use std::time::Duration;

use anyhow::Result;
use edge_tests::agent::Agent;
use edge_tests::{Cluster, Options, Shape};

use crate::process::totals;
use crate::report::line;

const SETTLE: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_secs(60);

/// Both shapes and an agent alone, a minute each.
pub fn run() -> Result<()> {
    for (shape, goal) in [(Shape::Whole, "≤ 32 MiB"), (Shape::Split, "≤ 44 MiB")] {
        let cluster = Cluster::start(shape);
        quickstart(&cluster);
        watch(&format!("{shape:?}"), cluster.pid(), goal)?;
    }
    let cluster = Cluster::with(Options::new(Shape::Whole).flag("--no-node", "true"));
    let agent = Agent::join(&cluster, "shelf");
    quickstart(&cluster);
    watch("agent alone", agent.pid(), "≤ 24 MiB")
}

fn quickstart(cluster: &Cluster) {
    cluster.edgectl(&["apply", "-f", "manifests/quickstart"]).ok();
    let available = "wait --for=condition=available -n quickstart deployment/hello --timeout=60s";
    cluster.edgectl(&available.split(' ').collect::<Vec<_>>()).ok();
}

fn watch(who: &str, pid: u32, memory: &str) -> Result<()> {
    std::thread::sleep(SETTLE);
    let before = totals(pid)?;
    std::thread::sleep(WINDOW);
    let after = totals(pid)?;
    let share = (after.cpu - before.cpu) / WINDOW.as_secs_f64() * 100.0;
    let resident = format!("{:.1} MiB", after.resident as f64 / 1_048_576.0);
    line("2", &format!("idle memory, {who}"), &resident, memory);
    line("3", &format!("idle CPU over 60 s, {who}"), &format!("{share:.2} % of a core"), "< 0.1 %");
    let written = after.written - before.written;
    line("3", &format!("bytes written over 60 s, {who}"), &format!("{written} B"), "0 B");
    Ok(())
}
