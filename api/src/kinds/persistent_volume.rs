//! PersistentVolume: storage that is there.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Kind, Scope, Subresource};
use crate::kinds::foreign_volume;
use crate::kinds::pod::{self, HostPathVolumeSource};
use crate::kinds::storage_class::LOCAL_PROVISIONER;
use crate::meta::{self, ObjectMeta};
use crate::name;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde::Deserialize;
use serde_json::{Value, json};

/// The annotation that says which provisioner made a volume.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// The annotation of volumes and claims that were bound by the control plane and not by who made them.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// The finalizer that keeps a volume while it is bound.
pub const PROTECTION: &str = "kubernetes.io/pv-protection";
/// The finalizer that keeps a volume until its node has removed the directory.
pub const LOCAL_FINALIZER: &str = "edgectl.dev/local";
/// The label with the node on which a volume's directory is.
pub const NODE_LABEL: &str = "edgectl.dev/node";

/// A PersistentVolume, as a node reads it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PersistentVolume {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// What it is.
    pub spec: PersistentVolumeSpec,
    /// What became of it.
    pub status: PersistentVolumeStatus,
}

/// What a volume is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PersistentVolumeSpec {
    /// The claim it is bound to.
    pub claim_ref: Option<ClaimRef>,
    /// A path of any host.
    pub host_path: Option<HostPathVolumeSource>,
    /// A path of the nodes that its affinity names.
    pub local: Option<LocalVolumeSource>,
    /// What becomes of it when its claim is gone.
    pub persistent_volume_reclaim_policy: String,
    /// `Filesystem` or `Block`.
    pub volume_mode: String,
}

/// A path of the nodes that a volume's affinity names.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct LocalVolumeSource {
    /// The path.
    pub path: String,
}

/// The claim that a volume is bound to, or is for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ClaimRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its identity; empty as long as it was only named.
    pub uid: String,
}

/// What became of a volume.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PersistentVolumeStatus {
    /// `Pending`, `Available`, `Bound`, `Released` or `Failed`.
    pub phase: String,
}

impl PersistentVolume {
    /// Whether its directory was made by our own provisioner.
    pub fn is_local(&self) -> bool {
        self.metadata.annotations.get(PROVISIONED_BY).is_some_and(|by| by == LOCAL_PROVISIONER)
    }
}

/// How a volume may be mounted, and how kubectl writes that.
pub const ACCESS_MODES: &[(&str, &str)] = &[
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
];

/// The fields of a volume that say where it is.
const SOURCES: &[&str] = &[
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "PersistentVolume",
    plural: "persistentvolumes",
    singular: "persistentvolume",
    short_names: &["pv"],
    scope: Scope::Cluster,
    schema: "io.k8s.api.core.v1.PersistentVolume",
    subresources: &[Subresource::Status],
    columns: &[
        Column::NAME,
        Column::new("Capacity", "string", "How much it holds."),
        Column::new("Access Modes", "string", "How it may be mounted."),
        Column::new("Reclaim Policy", "string", "What becomes of it when its claim is gone."),
        Column::new("Status", "string", "Whether it is bound to a claim."),
        Column::new("Claim", "string", "The claim it is bound to."),
        Column::new("StorageClass", "string", "The class of storage it is of."),
        Column::new("VolumeAttributesClass", "string", "The class of attributes it has."),
        Column::new("Reason", "string", "Why it is in this state."),
        Column::AGE,
        Column::wide("VolumeMode", "string", "Whether it is a file system or a block device."),
    ],
    row,
    defaults,
    create: |volume| fill::set(volume, "status", json!({"phase": "Pending"})),
    checks,
    update_checks,
    ..Kind::PLAIN
};

/// The access modes at a path as kubectl writes them.
pub(super) fn access_modes(object: &Value, path: &[&str]) -> String {
    let modes = meta::items(object, path);
    let has = |mode: &str| modes.iter().any(|one| one.as_str() == Some(mode));
    let short: Vec<&str> =
        ACCESS_MODES.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect();
    short.join(",")
}

fn row(volume: &Value, now: Timestamp) -> Vec<Value> {
    let or = |path: &[&str], other: &str| match meta::text(volume, path) {
        "" => other.to_owned(),
        text => text.to_owned(),
    };
    let phase = match meta::deletion_timestamp(volume) {
        Some(_) => "Terminating".to_owned(),
        None => or(&["status", "phase"], ""),
    };
    let claim = match meta::text(volume, &["spec", "claimRef", "name"]) {
        "" => String::new(),
        name => format!("{}/{name}", meta::text(volume, &["spec", "claimRef", "namespace"])),
    };
    vec![
        meta::name(volume).into(),
        or(&["spec", "capacity", "storage"], "0").into(),
        access_modes(volume, &["spec", "accessModes"]).into(),
        or(&["spec", "persistentVolumeReclaimPolicy"], "").into(),
        phase.into(),
        claim.into(),
        or(&["spec", "storageClassName"], "").into(),
        or(&["spec", "volumeAttributesClassName"], "<unset>").into(),
        or(&["status", "reason"], "").into(),
        time::age(meta::creation_timestamp(volume), now).into(),
        or(&["spec", "volumeMode"], "<unset>").into(),
    ]
}

fn defaults(volume: &mut Value) {
    let Some(spec) = fill::object(volume, "spec") else { return };
    fill::blank(spec, "persistentVolumeReclaimPolicy", "Retain");
    fill::absent(spec, "volumeMode", "Filesystem");
    fill::quantities(spec, "capacity");
    if let Some(path) = fill::there(spec, "hostPath") {
        fill::absent(path, "type", "");
    }
}

fn checks(volume: &At<'_>, errors: &mut Errors) {
    let spec = volume.get("spec");
    modes(&spec.get("accessModes"), errors);
    capacity(&spec.get("capacity"), errors);
    let policy = spec.get("persistentVolumeReclaimPolicy");
    validate::optional_one_of(&policy, &["Delete", "Recycle", "Retain"], errors);
    let affinity = spec.get("nodeAffinity");
    if affinity.is_set() {
        let required = affinity.get("required");
        if required.is_set() {
            pod::validate_node_selector(&required, errors);
        } else {
            errors.push(FieldError::required(&required.path, "must specify required node constraints"));
        }
    }
    source(&spec, errors);
    for field in ["storageClassName", "volumeAttributesClassName"] {
        validate::optional_name(&spec.get(field), name::dns1123_subdomain, errors);
    }
    validate::optional_one_of(&spec.get("volumeMode"), &["Block", "Filesystem"], errors);
}

fn modes(modes: &At<'_>, errors: &mut Errors) {
    if modes.is_empty() {
        errors.push(FieldError::required(&modes.path, ""));
    }
    let known: Vec<&str> = ACCESS_MODES.iter().map(|(known, _)| *known).collect();
    for mode in modes.items().filter(|mode| !known.contains(&mode.text())) {
        errors.push(FieldError::not_supported(&modes.path, mode.value, &known));
    }
    if modes.len() > 1 && modes.items().any(|mode| mode.text() == "ReadWriteOncePod") {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(&modes.path, detail));
    }
}

fn capacity(capacity: &At<'_>, errors: &mut Errors) {
    if capacity.is_empty() {
        errors.push(FieldError::required(&capacity.path, ""));
    }
    if !capacity.get("storage").is_set() || capacity.len() > 1 {
        errors.push(FieldError::not_supported(&capacity.path, capacity.value, &["storage"]));
    }
    for (_, amount) in capacity.entries() {
        if validate::quantity(&amount, errors).is_some_and(|quantity| quantity.is_zero()) {
            errors.push(FieldError::invalid(&amount.path, amount.value, "must be greater than zero"));
        }
    }
}

fn source(spec: &At<'_>, errors: &mut Errors) {
    let mut found = 0;
    for source in SOURCES.iter().map(|source| spec.get(source)).filter(At::is_set) {
        found += 1;
        if found > 1 {
            errors.push(FieldError::forbidden(&source.path, "may not specify more than 1 volume type"));
        }
    }
    if found == 0 {
        errors.push(FieldError::required(&spec.path, "must specify a volume type"));
    }
    let (host, local) = (spec.get("hostPath"), spec.get("local"));
    for place in [&host, &local].into_iter().filter(|place| place.is_set()) {
        let path = place.get("path");
        if validate::required(&path, "", errors) {
            validate::no_way_up(&path, errors);
        }
    }
    let policy = spec.get("persistentVolumeReclaimPolicy");
    if host.get("path").text() == "/" && policy.text() == "Recycle" {
        let detail = "may not be 'recycle' for a hostPath mount of '/'";
        errors.push(FieldError::forbidden(&policy.path, detail));
    }
    if local.is_set() && !spec.get("nodeAffinity").is_set() {
        errors.push(FieldError::required("metadata.annotations", "Local volume requires node affinity"));
    }
    foreign_volume::check(spec, errors);
    let csi = spec.get("csi");
    if csi.is_set() {
        validate::required(&csi.get("volumeHandle"), "", errors);
    }
}

fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (new, old) = (new.get("spec"), old.get("spec"));
    if SOURCES.iter().any(|source| new.get(source).value != old.get(source).value) {
        let detail = "spec.persistentvolumesource is immutable after creation";
        errors.push(FieldError::forbidden(new.field("persistentvolumesource"), detail));
    }
    if new.get("volumeMode").value != old.get("volumeMode").value {
        let mode = new.get("volumeMode");
        errors.push(FieldError::invalid("volumeMode", mode.value, validate::IMMUTABLE));
    }
    if old.get("nodeAffinity").is_set() {
        validate::immutable(&new.get("nodeAffinity"), &old.get("nodeAffinity"), errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;

    fn volume() -> Value {
        let mut volume = json!({
            "metadata": {"name": "pv"},
            "spec": {"capacity": {"storage": "1024Mi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                "hostPath": {"path": "/data"}, "claimRef": {"namespace": "default", "name": "data"}},
        });
        KIND.default(&mut volume);
        KIND.prepare_create(&mut volume);
        volume
    }

    #[test]
    fn a_bare_volume_gets_kubernetes_defaults_and_columns() {
        let volume = volume();
        assert!(KIND.validate(&volume).is_empty());
        let expected = json!([
            "pv",
            "1Gi",
            "RWO,RWX",
            "Retain",
            "Pending",
            "default/data",
            "",
            "<unset>",
            "",
            "<unknown>",
            "Filesystem"
        ]);
        assert_eq!(Value::from(row(&volume, Timestamp::from_seconds(0))), expected);
    }

    #[test]
    fn a_volume_is_checked() {
        type Change = fn(&mut Value);
        let cases: &[(Change, &str)] = &[
            (|s| s["accessModes"] = json!([]), "spec.accessModes: Required value"),
            (
                |s| s["capacity"] = json!({"storage": "1Gi", "iops": "5"}),
                "spec.capacity: Unsupported value: {\"iops\":\"5\",\"storage\":\"1Gi\"}: supported values: \"storage\"",
            ),
            (
                |s| s["persistentVolumeReclaimPolicy"] = json!("X"),
                "spec.persistentVolumeReclaimPolicy: Unsupported value: \"X\": supported values: \"Delete\", \"Recycle\", \"Retain\"",
            ),
            (|s| s["hostPath"] = Value::Null, "spec: Required value: must specify a volume type"),
            (
                |s| s["nfs"] = json!({"server": "a", "path": "/"}),
                "spec.nfs: Forbidden: may not specify more than 1 volume type",
            ),
            (
                |s| {
                    s["hostPath"] = Value::Null;
                    s["local"] = json!({"path": "/data"});
                },
                "metadata.annotations: Required value: Local volume requires node affinity",
            ),
            (
                |s| s["nodeAffinity"] = json!({}),
                "spec.nodeAffinity.required: Required value: must specify required node constraints",
            ),
        ];
        for (change, expected) in cases {
            let mut volume = volume();
            change(&mut volume["spec"]);
            let found: Vec<String> = KIND.validate(&volume).iter().map(ToString::to_string).collect();
            assert_eq!(found, [*expected]);
        }
    }

    #[test]
    fn where_a_volume_is_stays() {
        let old = volume();
        let mut new = old.clone();
        new["spec"]["capacity"]["storage"] = json!("2Gi");
        assert!(KIND.validate_update(&new, &old, Target::Main).is_empty());
        new["spec"]["hostPath"]["path"] = json!("/other");
        let errors = KIND.validate_update(&new, &old, Target::Main);
        assert_eq!(
            errors[0].to_string(),
            "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"
        );
    }
}
