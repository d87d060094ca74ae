//! ComponentStatus: how the parts of a control plane are, which nobody keeps any more. The list is empty: the parts
//! of this one are one process, and `/livez` and `/readyz` speak for it.

use crate::kind::{Column, Kind, Scope};
use crate::meta;
use crate::time::Timestamp;
use serde_json::Value;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "ComponentStatus",
    plural: "componentstatuses",
    singular: "componentstatus",
    short_names: &["cs"],
    scope: Scope::Cluster,
    schema: "io.k8s.api.core.v1.ComponentStatus",
    verbs: &["get", "list"],
    columns: &[
        Column::NAME,
        Column::new("Status", "string", "Status of the component conditions."),
        Column::new("Message", "string", "Message of the component conditions."),
        Column::new("Error", "string", "Error of the component conditions."),
    ],
    row,
    ..Kind::PLAIN
};

fn row(component: &Value, _: Timestamp) -> Vec<Value> {
    let conditions = meta::items(component, &["conditions"]);
    let healthy = conditions.iter().find(|condition| meta::text(condition, &["type"]) == "Healthy");
    let text = |field: &str| healthy.map_or("", |condition| meta::text(condition, &[field])).to_owned();
    let status = match text("status").as_str() {
        "True" => "Healthy",
        "False" => "Unhealthy",
        _ => "Unknown",
    };
    vec![meta::name(component).into(), status.into(), text("message").into(), text("error").into()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_says_whether_the_component_is_healthy() {
        let component = json!({"metadata": {"name": "etcd-0"},
            "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}]});
        let now = Timestamp::from_seconds(0);
        assert_eq!(Value::from(row(&component, now)), json!(["etcd-0", "Healthy", "ok", ""]));
    }
}
