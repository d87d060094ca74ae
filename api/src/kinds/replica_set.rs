//! ReplicaSet: so many Pods of one template.

use crate::compact::object;
use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Field, Generation, Kind, ScalePaths, Subresource};
use crate::kinds::pod::{self, PodTemplateSpec};
use crate::kinds::workload;
use crate::meta;
use crate::meta::{Condition, LabelSelector, ObjectMeta};
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

object! {
    /// A ReplicaSet, as far as it is read here.
    struct ReplicaSet {
        /// Metadata.
        metadata: ObjectMeta,
        /// What is wished.
        spec: ReplicaSetSpec,
        /// What is.
        status: ReplicaSetStatus,
    }

    /// What is wished of a ReplicaSet.
    struct ReplicaSetSpec {
        /// How many Pods; 1 if absent.
        replicas: Option<i32>,
        /// Seconds a Pod must be ready to be available.
        min_ready_seconds: i32,
        /// Which Pods are its own.
        selector: LabelSelector,
        /// What they are made of.
        template: PodTemplateSpec,
    }
}

/// What a ReplicaSet is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ReplicaSetStatus {
    /// Pods; written even when zero, as Kubernetes does.
    pub replicas: i32,
    /// Pods with exactly the template's labels.
    #[serde(skip_serializing_if = "crate::compact::is_blank")]
    pub fully_labeled_replicas: i32,
    /// Ready Pods.
    #[serde(skip_serializing_if = "crate::compact::is_blank")]
    pub ready_replicas: i32,
    /// Available Pods.
    #[serde(skip_serializing_if = "crate::compact::is_blank")]
    pub available_replicas: i32,
    /// Pods that are ending.
    #[serde(skip_serializing_if = "crate::compact::is_blank")]
    pub terminating_replicas: Option<i32>,
    /// The generation the controller has seen.
    #[serde(skip_serializing_if = "crate::compact::is_blank")]
    pub observed_generation: i64,
    /// `ReplicaFailure`.
    #[serde(skip_serializing_if = "crate::compact::is_blank")]
    pub conditions: Vec<Condition>,
}

impl crate::compact::Blank for ReplicaSetStatus {
    fn is_blank(&self) -> bool {
        false
    }
}

/// What is shown of one.
pub(super) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new("Desired", "integer", "Pods that are wished."),
    Column::new("Current", "integer", "Pods that are there."),
    Column::new("Ready", "integer", "Pods that are ready."),
    Column::AGE,
    Column::wide("Containers", "string", "Names of each container in the template."),
    Column::wide("Images", "string", "Images referenced by each container in the template."),
    Column::wide("Selector", "string", "Which pods are its own."),
];

/// The table entry.
pub static KIND: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "ReplicaSet",
    plural: "replicasets",
    singular: "replicaset",
    short_names: &["rs"],
    categories: &["all"],
    schema: "io.k8s.api.apps.v1.ReplicaSet",
    subresources: &[Subresource::Status, Subresource::Scale],
    generation: Generation::Spec,
    scale: Some(ScalePaths {
        replicas: &["spec", "replicas"],
        status_replicas: &["status", "replicas"],
        selector: &["spec", "selector"],
    }),
    columns: COLUMNS,
    row,
    fields: &[Field { name: "status.replicas", path: &["status", "replicas"], absent: "0" }],
    defaults,
    create: |set| fill::set(set, "status", json!({ "replicas": 0 })),
    warnings: workload::warnings,
    checks,
    update_checks: workload::selector_stays,
    status_checks,
    ..Kind::PLAIN
};

/// A row of [`COLUMNS`].
pub(super) fn row(set: &Value, now: Timestamp) -> Vec<Value> {
    let number = |path: &[&str]| Value::from(meta::number(set, path).unwrap_or(0));
    let mut row = vec![
        meta::name(set).into(),
        number(&["spec", "replicas"]),
        number(&["status", "replicas"]),
        number(&["status", "readyReplicas"]),
        time::age(meta::creation_timestamp(set), now).into(),
    ];
    row.extend(workload::wide_cells(&set["spec"]));
    row
}

fn defaults(set: &mut Value) {
    let Some(spec) = fill::object(set, "spec") else { return };
    fill::absent(spec, "replicas", 1);
    pod::default_template(spec);
}

fn checks(set: &At<'_>, errors: &mut Errors) {
    let spec = set.get("spec");
    validate::not_negative(&spec.get("replicas"), errors);
    validate::not_negative(&spec.get("minReadySeconds"), errors);
    workload::selector(&spec, "deployment", errors);
    workload::template(&spec, "ReplicaSet", errors);
}

/// Counts are not negative, and a part is at most the whole.
pub(super) fn status_checks(new: &At<'_>, _: &At<'_>, errors: &mut Errors) {
    const PARTS: &[&str] = &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    let status = new.get("status");
    workload::counts(&status, &["replicas", "observedGeneration"], errors);
    workload::counts(&status, PARTS, errors);
    let all = status.get("replicas").number().unwrap_or(0);
    for part in PARTS.iter().map(|part| status.get(part)) {
        if part.number().is_some_and(|number| number > all) {
            let why = "cannot be greater than status.replicas";
            errors.push(FieldError::invalid(&part.path, part.value, why));
        }
    }
}
