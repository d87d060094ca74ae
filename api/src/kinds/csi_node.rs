//! CSINode: the drivers of volumes on a node.

use crate::error::FieldError;
use crate::kind::{Column, Kind, Scope, Subresource};
use crate::kinds::csi_driver;
use crate::meta;
use crate::name;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::Value;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "storage.k8s.io",
    version: "v1",
    kind: "CSINode",
    plural: "csinodes",
    singular: "csinode",
    scope: Scope::Cluster,
    schema: "io.k8s.api.storage.v1.CSINode",
    subresources: &[Subresource::Status],
    columns: &[Column::NAME, Column::new("Drivers", "integer", "How many drivers it has."), Column::AGE],
    row,
    checks,
    update_checks,
    ..Kind::PLAIN
};

fn row(node: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(node).into(),
        meta::items(node, &["spec", "drivers"]).len().into(),
        time::age(meta::creation_timestamp(node), now).into(),
    ]
}

/// How long the name of a node may be for a driver.
const NODE_ID: usize = 192;

fn checks(node: &At<'_>, errors: &mut Errors) {
    let mut names = Vec::new();
    for driver in node.get("spec").get("drivers").items() {
        let (name, node_id) = (driver.get("name"), driver.get("nodeID"));
        csi_driver::driver_name(&name, errors);
        validate::unique(&name, &mut names, errors);
        validate::required(&node_id, "", errors);
        if node_id.text().len() > NODE_ID {
            let why = format!("must be {NODE_ID} characters or less");
            errors.push(FieldError::invalid(&node_id.path, node_id.text(), &why));
        }
        validate::not_negative(&driver.get("allocatable").get("count"), errors);
        let mut keys = Vec::new();
        for key in driver.get("topologyKeys").items() {
            if validate::required(&key, "", errors) {
                validate::unique(&key, &mut keys, errors);
                validate::follows(&key, name::label_key, errors);
            }
        }
    }
}

/// A driver may come and go, but not change.
fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let before = old.get("spec").get("drivers");
    for driver in new.get("spec").get("drivers").items() {
        let same = |one: &At<'_>| one.get("name").text() == driver.get("name").text();
        if let Some(old) = before.items().find(same)
            && !meta::equal_but(driver.value, old.value, &[&["allocatable"]])
        {
            errors.push(FieldError::invalid(&driver.path, driver.value, validate::IMMUTABLE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;
    use serde_json::json;

    #[test]
    fn drivers_come_and_go_but_do_not_change() {
        let node = |drivers: Value| json!({"metadata": {"name": "n"}, "spec": {"drivers": drivers}});
        let old = node(json!([{"name": "a", "nodeID": "1"}]));
        assert_eq!(KIND.validate(&old), []);
        let text = |new: &Value| -> Vec<String> {
            KIND.validate_update(new, &old, Target::Main).iter().map(|e| e.field.clone()).collect()
        };
        assert_eq!(text(&node(json!([{"name": "b", "nodeID": "1"}]))), Vec::<String>::new());
        assert_eq!(text(&node(json!([{"name": "a", "nodeID": "2"}]))), ["spec.drivers[0]"]);
        assert_eq!(text(&node(json!([{"name": "b"}]))), ["spec.drivers[0].nodeID"]);
    }
}
