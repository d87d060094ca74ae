//! Row 14: many Pods on one node, and what one more costs.

use std::time::{Duration, Instant};

use anyhow::Result;
use edge_tests::{Cluster, Shape, eventually_within};

use crate::process::totals;
use crate::report::line;

const PODS: u32 = 500;

/// 500 Pods of a small guest that waits for connections.
pub fn run() -> Result<()> {
    let cluster = Cluster::start(Shape::Whole);
    cluster.apply(&deployment("warm", 1));
    ready(&cluster, "warm", 1);
    let before = totals(cluster.pid())?;
    let start = Instant::now();
    cluster.apply(&deployment("many", PODS));
    ready(&cluster, "many", PODS);
    let took = start.elapsed();
    let after = totals(cluster.pid())?;
    let each = (after.resident.saturating_sub(before.resident)) as f64 / f64::from(PODS) / 1024.0;
    line(
        "14",
        "500 Pods, created → Ready",
        &format!("{:.1} s, {:.0} Pods/s", took.as_secs_f64(), f64::from(PODS) / took.as_secs_f64()),
        "10,000 in ≤ 20 s",
    );
    line(
        "14",
        "memory of one more idle Pod",
        &format!("{each:.0} KiB"),
        "≤ 64 kB over the guest's own pages",
    );
    Ok(())
}

/// A Deployment of idle Pods.
pub fn deployment(name: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec:\n      containers:\n      - name: main\n        image: file:guests/dist/echo-tcp.wasm\n"
    )
}

/// Waits until all are Ready.
pub fn ready(cluster: &Cluster, name: &str, replicas: u32) {
    let wanted = replicas.to_string();
    eventually_within(Duration::from_secs(300), &format!("{replicas} Pods of {name} are Ready"), || {
        let ready = cluster
            .edgectl(&["get", "deployment", name, "-o", "jsonpath={.status.readyReplicas}"])
            .checked()?;
        if ready == wanted { Ok(()) } else { Err(ready) }
    });
}
