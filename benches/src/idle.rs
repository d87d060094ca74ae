//! Rows 2 and 3: what an idle cluster costs. Idle is the quickstart running and no client connected.

use std::time::Duration;

use anyhow::Result;
use edge_tests::{Cluster, Shape};

use crate::process::totals;
use crate::report::line;

const SETTLE: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_secs(60);

/// Both shapes, a minute each.
pub fn run() -> Result<()> {
    for (shape, goal) in [(Shape::Whole, "≤ 32 MiB"), (Shape::Split, "≤ 44 MiB")] {
        let cluster = Cluster::start(shape);
        cluster.edgectl(&["apply", "-f", "manifests/quickstart"]).ok();
        cluster
            .edgectl(&[
                "wait",
                "--for=condition=available",
                "-n",
                "quickstart",
                "deployment/hello",
                "--timeout=60s",
            ])
            .ok();
        std::thread::sleep(SETTLE);
        let before = totals(cluster.pid())?;
        std::thread::sleep(WINDOW);
        let after = totals(cluster.pid())?;
        let share = (after.cpu - before.cpu) / WINDOW.as_secs_f64() * 100.0;
        line(
            "2",
            &format!("idle memory, {shape:?}"),
            &format!("{:.1} MiB", after.resident as f64 / 1_048_576.0),
            goal,
        );
        line("3", &format!("idle CPU over 60 s, {shape:?}"), &format!("{share:.2} % of a core"), "< 0.1 %");
        line(
            "3",
            &format!("bytes written over 60 s, {shape:?}"),
            &format!("{} B", after.written - before.written),
            "0 B",
        );
    }
    Ok(())
}
