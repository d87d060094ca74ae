//! ReplicaSet: so many Pods of one template.

use crate::compact::object;
use crate::kind::{Generation, Kind, ScalePaths, Subresource};
use crate::kinds::pod::PodTemplateSpec;
use crate::meta::{Condition, LabelSelector, ObjectMeta};
use serde::{Deserialize, Serialize};

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
    ..Kind::PLAIN
};
