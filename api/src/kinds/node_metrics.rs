//! NodeMetrics: what a Node uses. Nothing of it is stored: the API server asks the nodes when it is asked.

use crate::kind::{Column, Kind, Scope};
use crate::meta;

use crate::time::Timestamp;
use serde_json::Value;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "metrics.k8s.io",
    version: "v1beta1",
    kind: "NodeMetrics",
    plural: "nodes",
    singular: "",
    scope: Scope::Cluster,
    schema: "io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics",
    verbs: &["get", "list"],
    columns: &[
        Column::NAME,
        Column::new("cpu", "string", "CPU time used in a second, over the window."),
        Column::new("memory", "string", "Memory in use."),
        Column::new("window", "string", "The time over which the CPU time was measured."),
    ],
    row,
    ..Kind::PLAIN
};

fn row(metrics: &Value, _: Timestamp) -> Vec<Value> {
    let used = |resource: &str| meta::text(metrics, &["usage", resource]).into();
    let window = meta::text(metrics, &["window"]).into();
    vec![meta::name(metrics).into(), used("cpu"), used("memory"), window]
}
