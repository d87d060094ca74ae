//! Row 18: a node with 100 Pods starts again.

use std::time::Instant;

use anyhow::Result;
use edge_tests::{Cluster, Shape};

use crate::pods::{deployment, ready};
use crate::report::line;
use crate::startup::ready_ms;

/// Kills a node with 100 Pods and waits until all are Ready again.
pub fn run() -> Result<()> {
    let mut cluster = Cluster::start(Shape::Whole);
    cluster.apply(&deployment("hundred", 100));
    ready(&cluster, "hundred", 100);
    cluster.kill();
    let start = Instant::now();
    cluster.start_again();
    ready(&cluster, "hundred", 100);
    line(
        "18",
        "100 Pods: exec → all Ready again",
        &format!("{:.2} s", start.elapsed().as_secs_f64()),
        "≤ 1 s",
    );
    line("1", "  of that, exec → API ready", &format!("{:.0} ms", ready_ms(&cluster)), "≤ 500 ms");
    Ok(())
}
