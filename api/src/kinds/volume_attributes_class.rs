//! VolumeAttributesClass: properties of a volume that may change while it lives.

use crate::error::FieldError;
use crate::kind::{Column, Kind, Scope};
use crate::kinds::{csi_driver, storage_class};
use crate::meta;
use crate::time::{self, Timestamp};
use crate::validate::{At, Errors};
use serde_json::Value;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "storage.k8s.io",
    version: "v1",
    kind: "VolumeAttributesClass",
    plural: "volumeattributesclasses",
    singular: "volumeattributesclass",
    short_names: &["vac"],
    scope: Scope::Cluster,
    schema: "io.k8s.api.storage.v1.VolumeAttributesClass",
    columns: &[Column::NAME, Column::new("DriverName", "string", "The driver it is for."), Column::AGE],
    row,
    checks,
    update_checks,
    ..Kind::PLAIN
};

fn row(class: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(class).into(),
        meta::text(class, &["driverName"]).into(),
        time::age(meta::creation_timestamp(class), now).into(),
    ]
}

fn checks(class: &At<'_>, errors: &mut Errors) {
    csi_driver::driver_name(&class.get("driverName"), errors);
    let parameters = class.get("parameters");
    if parameters.is_empty() {
        errors.push(FieldError::required(&parameters.path, "must contain at least one key/value pair"));
    }
    storage_class::parameters(&parameters, errors);
}

fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    for field in ["driverName", "parameters"] {
        storage_class::stays(&new.get(field), &old.get(field), field, errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_class_has_a_driver_and_parameters() {
        let class = json!({"metadata": {"name": "a"}});
        let found: Vec<String> = KIND.validate(&class).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "driverName: Required value",
                "parameters: Required value: must contain at least one key/value pair"
            ]
        );
    }
}
