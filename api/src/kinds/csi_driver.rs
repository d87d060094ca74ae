//! CSIDriver: what the cluster has to know of a driver of volumes.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Generation, Kind, Scope};
use crate::meta;
use crate::name;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::{Value, json};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "storage.k8s.io",
    version: "v1",
    kind: "CSIDriver",
    plural: "csidrivers",
    singular: "csidriver",
    scope: Scope::Cluster,
    schema: "io.k8s.api.storage.v1.CSIDriver",
    generation: Generation::Spec,
    columns: &[
        Column::NAME,
        Column::new("AttachRequired", "boolean", "Whether its volumes are attached to nodes first."),
        Column::new("PodInfoOnMount", "boolean", "Whether it is told for which pod it mounts."),
        Column::new("StorageCapacity", "boolean", "Whether it says how much it has left."),
        Column::new("TokenRequests", "string", "The tokens it gets."),
        Column::new("RequiresRepublish", "boolean", "Whether it is asked to mount again and again."),
        Column::new("Modes", "string", "The kinds of volumes it makes."),
        Column::AGE,
    ],
    row,
    defaults,
    checks,
    update_checks,
    ..Kind::PLAIN
};

fn row(driver: &Value, now: Timestamp) -> Vec<Value> {
    let truth =
        |field: &str| meta::at(driver, &["spec", field]).and_then(Value::as_bool).unwrap_or(false).into();
    let audiences: Vec<&str> = meta::items(driver, &["spec", "tokenRequests"])
        .iter()
        .map(|request| meta::text(request, &["audience"]))
        .collect();
    let tokens = if audiences.is_empty() { "<unset>".to_owned() } else { audiences.join(",") };
    let modes: Vec<&str> =
        meta::items(driver, &["spec", "volumeLifecycleModes"]).iter().filter_map(Value::as_str).collect();
    vec![
        meta::name(driver).into(),
        truth("attachRequired"),
        truth("podInfoOnMount"),
        truth("storageCapacity"),
        tokens.into(),
        truth("requiresRepublish"),
        modes.join(",").into(),
        time::age(meta::creation_timestamp(driver), now).into(),
    ]
}

fn defaults(driver: &mut Value) {
    let Some(spec) = fill::object(driver, "spec") else { return };
    fill::absent(spec, "attachRequired", true);
    for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        fill::absent(spec, field, false);
    }
    fill::absent(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if meta::items(spec, &["volumeLifecycleModes"]).is_empty() {
        fill::set(spec, "volumeLifecycleModes", json!(["Persistent"]));
    }
}

/// Checks the name of a driver.
pub(super) fn driver_name(at: &At<'_>, errors: &mut Errors) {
    const MAX: usize = 63;
    if at.text().len() > MAX {
        errors.push(FieldError::too_long(&at.path, MAX));
    }
    if validate::required(at, "", errors)
        && let Err(why) = name::dns1123_subdomain(&at.text().to_lowercase())
    {
        errors.push(FieldError::invalid(&at.path, at.text(), &why));
    }
}

fn checks(driver: &At<'_>, errors: &mut Errors) {
    let spec = driver.get("spec");
    driver_name(&driver.get("metadata").get("name"), errors);
    for mode in spec.get("volumeLifecycleModes").items() {
        validate::one_of(&mode, &["Persistent", "Ephemeral"], errors);
    }
    let policies = ["None", "File", "ReadWriteOnceWithFSType"];
    validate::one_of(&spec.get("fsGroupPolicy"), &policies, errors);
    let mut audiences = Vec::new();
    for request in spec.get("tokenRequests").items() {
        let (audience, seconds) = (request.get("audience"), request.get("expirationSeconds"));
        if audiences.contains(&audience.text()) {
            errors.push(FieldError::duplicate(&audience.path, audience.value));
        }
        audiences.push(audience.text());
        if let Some(number) = seconds.number() {
            if number < 600 {
                let why = "may not specify a duration less than 10 minutes";
                errors.push(FieldError::invalid(&seconds.path, number, why));
            } else if number > 1 << 32 {
                let why = "may not specify a duration larger than 2^32 seconds";
                errors.push(FieldError::invalid(&seconds.path, number, why));
            }
        }
    }
}

fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    for field in ["attachRequired", "volumeLifecycleModes"] {
        validate::immutable(&new.get("spec").get(field), &old.get("spec").get(field), errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;

    #[test]
    fn drivers_are_filled_in_shown_and_checked() {
        let mut driver = json!({"metadata": {"name": "a.b"}, "spec": {"tokenRequests": [{"audience": "x"}]}});
        KIND.default(&mut driver);
        assert_eq!(KIND.validate(&driver), []);
        let row = row(&driver, Timestamp::from_seconds(0));
        assert_eq!(
            row[..7],
            [
                json!("a.b"),
                json!(true),
                json!(false),
                json!(false),
                json!("x"),
                json!(false),
                json!("Persistent")
            ]
        );
        let mut new = driver.clone();
        new["spec"]["attachRequired"] = false.into();
        new["spec"]["tokenRequests"] = json!([{"audience": "", "expirationSeconds": 5}, {"audience": ""}]);
        let found = KIND.validate_update(&new, &driver, Target::Main);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "spec.tokenRequests[0].expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes",
                "spec.tokenRequests[1].audience: Duplicate value: \"\"",
                "spec.attachRequired: Invalid value: false: field is immutable",
            ]
        );
    }
}
