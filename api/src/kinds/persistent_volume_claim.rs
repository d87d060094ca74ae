//! PersistentVolumeClaim: a wish for storage.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Kind, Subresource};
use crate::kinds::persistent_volume::{ACCESS_MODES, access_modes};
use crate::meta::{self, ObjectMeta};
use crate::name;
use crate::quantity::Quantity;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde::Deserialize;
use serde_json::{Value, json};

/// The annotation with the node for which a claim's volume is to be made.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// The annotation with who is to make a claim's volume.
pub const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// The same, as it was called before.
pub const OLD_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";
/// How a claim or volume names its class the old way.
pub const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// The annotation of a claim that has been bound once: what it names is its volume for good.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// The finalizer that keeps a claim while a Pod uses it.
pub const PROTECTION: &str = "kubernetes.io/pvc-protection";

/// A PersistentVolumeClaim, as a node reads it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PersistentVolumeClaim {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// What is wished for.
    pub spec: PersistentVolumeClaimSpec,
}

/// What a claim wishes for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PersistentVolumeClaimSpec {
    /// The volume it is bound to, or asks for.
    pub volume_name: String,
}

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "PersistentVolumeClaim",
    plural: "persistentvolumeclaims",
    singular: "persistentvolumeclaim",
    short_names: &["pvc"],
    schema: "io.k8s.api.core.v1.PersistentVolumeClaim",
    subresources: &[Subresource::Status],
    columns: &[
        Column::NAME,
        Column::new("Status", "string", "Whether it has a volume."),
        Column::new("Volume", "string", "The volume it is bound to."),
        Column::new("Capacity", "string", "How much that holds."),
        Column::new("Access Modes", "string", "How it may be mounted."),
        Column::new("StorageClass", "string", "The class of storage it asks for."),
        Column::new("VolumeAttributesClass", "string", "The class of attributes it asks for."),
        Column::AGE,
        Column::wide("VolumeMode", "string", "Whether it is a file system or a block device."),
    ],
    row,
    defaults,
    create: |claim| fill::set(claim, "status", json!({"phase": "Pending"})),
    checks,
    update_checks,
    status_checks,
    ..Kind::PLAIN
};

fn row(claim: &Value, now: Timestamp) -> Vec<Value> {
    let or = |path: &[&str], other: &str| match meta::text(claim, path) {
        "" => other.to_owned(),
        text => text.to_owned(),
    };
    let phase = match meta::deletion_timestamp(claim) {
        Some(_) => "Terminating".to_owned(),
        None => or(&["status", "phase"], ""),
    };
    let volume = meta::text(claim, &["spec", "volumeName"]);
    let (capacity, modes) = match volume {
        "" => (String::new(), String::new()),
        _ => (or(&["status", "capacity", "storage"], "0"), access_modes(claim, &["status", "accessModes"])),
    };
    vec![
        meta::name(claim).into(),
        phase.into(),
        volume.into(),
        capacity.into(),
        modes.into(),
        or(&["spec", "storageClassName"], "").into(),
        or(&["spec", "volumeAttributesClassName"], "<unset>").into(),
        time::age(meta::creation_timestamp(claim), now).into(),
        or(&["spec", "volumeMode"], "<unset>").into(),
    ]
}

/// Fills in a claim, also where it is the template of one.
pub(super) fn defaults(claim: &mut Value) {
    let Some(spec) = fill::object(claim, "spec") else { return };
    fill::absent(spec, "volumeMode", "Filesystem");
    if let Some(resources) = fill::object(spec, "resources") {
        fill::quantities(resources, "limits");
        fill::quantities(resources, "requests");
    }
    // The two names of one field say the same, where the older one can say it.
    let (old, new) = (spec.get("dataSource").cloned(), spec.get("dataSourceRef").cloned());
    match (old, new) {
        (Some(source), None) => fill::set(spec, "dataSourceRef", source),
        (None, Some(source)) if meta::text(&source, &["namespace"]).is_empty() => {
            fill::set(spec, "dataSource", source);
        }
        _ => {}
    }
}

/// Checks a claim, or the template of one.
pub(super) fn checks(claim: &At<'_>, errors: &mut Errors) {
    let spec = claim.get("spec");
    modes(&spec.get("accessModes"), errors);
    validate::label_selector(&spec.get("selector"), errors);
    storage(&spec, errors);
    for field in ["storageClassName", "volumeAttributesClassName"] {
        validate::optional_name(&spec.get(field), name::dns1123_subdomain, errors);
    }
    validate::optional_one_of(&spec.get("volumeMode"), &["Block", "Filesystem"], errors);
    sources(&spec, errors);
}

fn modes(modes: &At<'_>, errors: &mut Errors) {
    if modes.is_empty() {
        errors.push(FieldError::required(&modes.path, "at least 1 access mode is required"));
    }
    for mode in modes.items().filter(|mode| ACCESS_MODES.iter().all(|(known, _)| *known != mode.text())) {
        let known: Vec<&str> = ACCESS_MODES.iter().map(|(known, _)| *known).collect();
        errors.push(FieldError::not_supported(&modes.path, mode.value, &known));
    }
    if modes.len() > 1 && modes.items().any(|mode| mode.text() == "ReadWriteOncePod") {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(&modes.path, detail));
    }
}

fn storage(spec: &At<'_>, errors: &mut Errors) {
    let resources = spec.get("resources");
    let request = resources.get("requests").get("storage");
    let at = At::new(request.value, &format!("{}[storage]", resources.path));
    if !at.is_set() {
        errors.push(FieldError::required(&at.path, ""));
    } else if validate::quantity(&at, errors).is_some_and(|quantity| quantity.is_zero()) {
        errors.push(FieldError::invalid(&at.path, at.value, "must be greater than zero"));
    }
}

fn sources(spec: &At<'_>, errors: &mut Errors) {
    let (old, new) = (spec.get("dataSource"), spec.get("dataSourceRef"));
    for source in [&old, &new].into_iter().filter(|source| source.is_set()) {
        for field in ["name", "kind"] {
            validate::required(&source.get(field), "", errors);
        }
        let kind = source.get("kind").text();
        if source.get("apiGroup").text().is_empty() && !matches!(kind, "" | "PersistentVolumeClaim") {
            let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.push(FieldError::invalid(&source.path, kind, why));
        }
    }
    if !old.is_set() || !new.is_set() {
        return;
    }
    if !new.get("namespace").text().is_empty() {
        let why = "may not be specified when dataSourceRef.namespace is specified";
        errors.push(FieldError::invalid(&spec.path, &*old.path.to_string(), why));
    } else if !meta::equal_but(old.value, new.value, &[&["namespace"]]) {
        errors.push(FieldError::invalid(&spec.path, &*old.path.to_string(), "must match dataSourceRef"));
    }
}

/// A claim asks once; bound, it may ask for more.
fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let bound = old.get("status").get("phase").text() == "Bound";
    let capacity = old.get("status").get("capacity").get("storage");
    let (new, old) = (new.get("spec"), old.get("spec"));
    let mut free: Vec<&[&str]> = vec![&["volumeAttributesClassName"]];
    if old.get("volumeName").text().is_empty() {
        free.push(&["volumeName"]);
    }
    if !old.get("storageClassName").is_set() {
        free.push(&["storageClassName"]);
    }
    if bound {
        free.push(&["resources", "requests", "storage"]);
    }
    if !meta::equal_but(new.value, old.value, &free) {
        let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.push(FieldError::forbidden(&new.path, detail));
    }
    let request = new.get("resources").get("requests").get("storage");
    let earlier = old.get("resources").get("requests").get("storage");
    let amount = |at: &At<'_>| Quantity::parse(at.text()).ok();
    if let (Some(wished), Some(before)) = (amount(&request), amount(&earlier))
        && bound
        && wished < before
        && amount(&capacity).is_none_or(|capacity| wished < capacity)
    {
        let detail = "field can not be less than status.capacity";
        errors.push(FieldError::forbidden(&request.path, detail));
    }
    validate::immutable(&new.get("volumeMode"), &old.get("volumeMode"), errors);
}

fn status_checks(new: &At<'_>, _: &At<'_>, errors: &mut Errors) {
    let status = new.get("status");
    for map in ["capacity", "allocatedResources"].map(|field| status.get(field)) {
        for (_, amount) in map.entries() {
            validate::quantity(&amount, errors);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;

    fn claim() -> Value {
        let mut claim = json!({
            "metadata": {"name": "data", "namespace": "default"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}},
        });
        KIND.default(&mut claim);
        KIND.prepare_create(&mut claim);
        claim
    }

    fn shown(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_claim_is_pending_until_it_is_bound() {
        let mut claim = claim();
        assert_eq!(claim["spec"]["volumeMode"], "Filesystem");
        assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "1Gi");
        assert_eq!(shown(&KIND.validate(&claim)), Vec::<String>::new());
        let now = Timestamp::from_seconds(0);
        let expected = json!(["data", "Pending", "", "", "", "", "<unset>", "<unknown>", "Filesystem"]);
        assert_eq!(Value::from(row(&claim, now)), expected);
        claim["spec"]["volumeName"] = json!("pv");
        claim["spec"]["storageClassName"] = json!("local");
        claim["status"] =
            json!({"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]});
        let expected =
            json!(["data", "Bound", "pv", "1Gi", "RWO", "local", "<unset>", "<unknown>", "Filesystem"]);
        assert_eq!(Value::from(row(&claim, now)), expected);
    }

    #[test]
    fn a_claim_is_checked() {
        type Change = fn(&mut Value);
        let cases: &[(Change, &str)] = &[
            (
                |s| s["accessModes"] = json!([]),
                "spec.accessModes: Required value: at least 1 access mode is required",
            ),
            (
                |s| s["accessModes"] = json!(["X"]),
                "spec.accessModes: Unsupported value: \"X\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
            ),
            (
                |s| s["accessModes"] = json!(["ReadWriteOncePod", "ReadOnlyMany"]),
                "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            ),
            (|s| s["resources"] = json!({}), "spec.resources[storage]: Required value"),
            (
                |s| s["resources"]["requests"]["storage"] = json!("0"),
                "spec.resources[storage]: Invalid value: \"0\": must be greater than zero",
            ),
            (
                |s| s["volumeMode"] = json!("X"),
                "spec.volumeMode: Unsupported value: \"X\": supported values: \"Block\", \"Filesystem\"",
            ),
        ];
        for (change, expected) in cases {
            let mut claim = claim();
            change(&mut claim["spec"]);
            assert_eq!(shown(&KIND.validate(&claim)), [*expected]);
        }
    }

    #[test]
    fn a_claim_asks_once_and_a_bound_one_for_more() {
        let mut old = claim();
        let grown = |old: &Value, storage: &str| {
            let mut new = old.clone();
            new["spec"]["resources"]["requests"]["storage"] = json!(storage);
            shown(&KIND.validate_update(&new, old, Target::Main))
        };
        let refused = "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        assert_eq!(grown(&old, "2Gi"), [refused]);
        let mut new = old.clone();
        new["spec"]["volumeName"] = json!("pv");
        assert!(KIND.validate_update(&new, &old, Target::Main).is_empty());
        old = new;
        old["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
        assert!(grown(&old, "2Gi").is_empty());
        assert_eq!(
            grown(&old, "1Mi"),
            ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
        );
    }
}
