//! VolumeAttachment: the wish that a volume be attached to a node.

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
    kind: "VolumeAttachment",
    plural: "volumeattachments",
    singular: "volumeattachment",
    scope: Scope::Cluster,
    schema: "io.k8s.api.storage.v1.VolumeAttachment",
    subresources: &[Subresource::Status],
    columns: &[
        Column::NAME,
        Column::new("Attacher", "string", "Who attaches it."),
        Column::new("PV", "string", "The volume."),
        Column::new("Node", "string", "The node."),
        Column::new("Attached", "boolean", "Whether it is attached."),
        Column::AGE,
    ],
    row,
    checks,
    update_checks,
    ..Kind::PLAIN
};

fn row(attachment: &Value, now: Timestamp) -> Vec<Value> {
    let text = |path: &[&str]| meta::text(attachment, path).into();
    vec![
        meta::name(attachment).into(),
        text(&["spec", "attacher"]),
        text(&["spec", "source", "persistentVolumeName"]),
        text(&["spec", "nodeName"]),
        meta::at(attachment, &["status", "attached"]).and_then(Value::as_bool).unwrap_or(false).into(),
        time::age(meta::creation_timestamp(attachment), now).into(),
    ]
}

fn checks(attachment: &At<'_>, errors: &mut Errors) {
    let spec = attachment.get("spec");
    csi_driver::driver_name(&spec.get("attacher"), errors);
    validate::required_name(&spec.get("nodeName"), name::dns1123_subdomain, errors);
    let source = spec.get("source");
    match (source.get("inlineVolumeSpec").is_set(), source.get("persistentVolumeName").is_set()) {
        (false, false) => errors.push(FieldError::required(
            &source.path,
            "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
        )),
        (true, true) => errors.push(FieldError::forbidden(
            &source.path,
            "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
        )),
        _ => {}
    }
}

fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    validate::immutable(&new.get("spec"), &old.get("spec"), errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_attachment_has_one_source() {
        let cases = [
            (json!({"persistentVolumeName": "v"}), ""),
            (
                json!({}),
                "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
            ),
            (
                json!({"persistentVolumeName": "v", "inlineVolumeSpec": {}}),
                "spec.source: Forbidden: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
            ),
        ];
        for (source, expected) in cases {
            let attachment = json!({"metadata": {"name": "a"}, "spec": {"attacher": "a", "nodeName": "n", "source": source}});
            let found: Vec<String> = KIND.validate(&attachment).iter().map(ToString::to_string).collect();
            assert_eq!(found.join(""), expected);
        }
    }
}
