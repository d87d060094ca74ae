//! Rows 16 and 18: a container that crashes, and a node with 100 Pods, start again.

use std::time::Instant;

use anyhow::{Context as _, Result};
use edge_tests::yaml::Pod;
use edge_tests::{Cluster, Shape, eventually};

use crate::pods::{deployment, ready};
use crate::report::{line, median};
use crate::startup::ready_ms;

/// Crashes some containers once, then kills a node with 100 Pods and waits until all are Ready again.
pub fn run() -> Result<()> {
    crash()?;
    let mut cluster = Cluster::start(Shape::Whole);
    cluster.apply(&deployment("hundred", 100));
    ready(&cluster, "hundred", 100);
    cluster.kill();
    let start = Instant::now();
    cluster.start_again();
    let again = || cluster.node_metric("edged_containers_running");
    // What the API remembers from before says Ready all the time; what runs is what counts.
    eventually("all run again", || match again()? {
        100.0 => Ok(()),
        count => Err(count.to_string()),
    });
    ready(&cluster, "hundred", 100);
    let took = start.elapsed().as_secs_f64();
    let compiled = cluster.node_metric("edged_compilations_total").map_err(anyhow::Error::msg)?;
    line("18", "100 Pods: exec → all Ready again", &format!("{took:.2} s"), "≤ 1 s");
    line("18", "  modules compiled for that", &compiled.to_string(), "0");
    line("1", "  of that, exec → API ready", &format!("{:.0} ms", ready_ms(&cluster)), "≤ 500 ms");
    Ok(())
}

/// From the last line of a container that crashes to the first of its next run, by the times in its log.
fn crash() -> Result<()> {
    let cluster = Cluster::start(Shape::Whole);
    let mut gaps = Vec::new();
    for turn in 0..5 {
        let name = format!("crash-{turn}");
        cluster.apply(&Pod::new(&name, "crash").yaml());
        let log = |more: &[&str]| -> Result<jiff::Timestamp, String> {
            let text = cluster.edgectl(&[&["logs", &name, "--timestamps"], more].concat()).checked()?;
            let word = text.split_whitespace().next().ok_or("nothing is said yet")?.to_owned();
            word.parse().map_err(|error| format!("{word}: {error}"))
        };
        let (before, after) = eventually("it runs again", || Ok((log(&["--previous"])?, log(&[])?)));
        gaps.push(after.duration_since(before).as_secs_f64() * 1000.0);
        cluster.edgectl(&["delete", "pod", &name, "--timeout=30s"]).checked().map_err(anyhow::Error::msg)?;
    }
    let gap = Some(median(gaps)).filter(|gap| gap.is_finite()).context("no restart was seen")?;
    line("16", "crash → running again, first restart", &format!("{gap:.1} ms"), "≤ 10 ms");
    Ok(())
}
