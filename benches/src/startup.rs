//! Rows 1 and 4: how long from exec to ready, and how big the binary is.

use anyhow::{Context as _, Result};
use edge_tests::api::Api;
use edge_tests::{Cluster, Options, Shape};
use serde_json::json;

use crate::report::{line, median};

const OBJECTS: usize = 10_000;

/// Five fresh starts of each shape, then five with many objects.
pub fn run() -> Result<()> {
    let binary = edge_tests::binaries().join("edged");
    let size = std::fs::metadata(&binary).with_context(|| format!("no {}", binary.display()))?.len();
    line("4", "edged, stripped", &format!("{:.1} MB", size as f64 / 1e6), "≤ 25 MB");
    for shape in [Shape::Whole, Shape::Split] {
        let fresh = (0..5).map(|_| Ok(ready_ms(&Cluster::start(shape)))).collect::<Result<Vec<_>>>()?;
        line(
            "1",
            &format!("exec → ready, fresh, {shape:?}"),
            &format!("{:.0} ms", median(fresh)),
            "≤ 100 ms",
        );
    }
    let mut cluster = Cluster::with(Options::new(Shape::Whole));
    let api = Api::of(&cluster);
    for index in 0..OBJECTS {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c{index}")}, "data": {"k": "x".repeat(400)}});
        api.post("/api/v1/namespaces/default/configmaps", &object)?;
    }
    let mut again = Vec::new();
    for _ in 0..5 {
        cluster.stop();
        cluster.start_again();
        again.push(ready_ms(&cluster));
    }
    line("1", "exec → ready with 10,000 ConfigMaps", &format!("{:.0} ms", median(again)), "≤ 500 ms");
    Ok(())
}

/// The time that the ready line tells.
pub fn ready_ms(cluster: &Cluster) -> f64 {
    let words: Vec<&str> = cluster.ready_line().split_whitespace().collect();
    words.iter().rev().nth(1).and_then(|word| word.parse().ok()).unwrap_or(f64::NAN)
}
