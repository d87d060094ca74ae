//! PodMetrics: what the containers of a Pod use. Nothing of it is stored: the API server asks the nodes when it is asked.

use crate::kind::{Column, Kind};
use crate::meta;
use crate::quantity::Quantity;
use crate::time::Timestamp;
use serde_json::Value;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "metrics.k8s.io",
    version: "v1beta1",
    kind: "PodMetrics",
    plural: "pods",
    singular: "",

    schema: "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics",
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
    let containers = meta::items(metrics, &["containers"]);
    let used = |resource: &str| {
        let quantities =
            containers.iter().filter_map(|c| Quantity::parse(meta::text(c, &["usage", resource])).ok());
        quantities.reduce(|sum, each| sum.add(&each)).unwrap_or_default().to_string().into()
    };
    let window = meta::text(metrics, &["window"]).into();
    vec![meta::name(metrics).into(), used("cpu"), used("memory"), window]
}
