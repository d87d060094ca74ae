//! Deployment: replicas of a Pod, and how they are replaced.

use crate::compact::object;
use crate::int_or_string::IntOrString;
use crate::kind::{Generation, Kind, ScalePaths, Subresource};
use crate::kinds::pod::PodTemplateSpec;
use crate::meta::{Condition, LabelSelector, ObjectMeta};

object! {
    /// A Deployment, as far as it is read here.
    struct Deployment {
        /// Metadata.
        metadata: ObjectMeta,
        /// What is wished.
        spec: DeploymentSpec,
        /// What is.
        status: DeploymentStatus,
    }

    /// What is wished of a Deployment.
    struct DeploymentSpec {
        /// How many Pods; 1 if absent.
        replicas: Option<i32>,
        /// Which Pods are its own.
        selector: LabelSelector,
        /// What they are made of.
        template: PodTemplateSpec,
        /// How old ones are replaced.
        strategy: DeploymentStrategy,
        /// Seconds a Pod must be ready to be available.
        min_ready_seconds: i32,
        /// How many old ReplicaSets are kept; 10 if absent.
        revision_history_limit: Option<i32>,
        /// Whether changes of the template wait.
        paused: bool,
        /// Seconds without progress that make it fail; 600 if absent.
        progress_deadline_seconds: Option<i32>,
    }

    /// How old Pods are replaced.
    struct DeploymentStrategy {
        /// `RollingUpdate` or `Recreate`.
        #[serde(rename = "type")]
        type_: String,
        /// The bounds of a rolling update.
        rolling_update: Option<RollingUpdateDeployment>,
    }

    /// The bounds of a rolling update.
    struct RollingUpdateDeployment {
        /// How many Pods may be missing; 25% if absent, rounded down.
        max_unavailable: Option<IntOrString>,
        /// How many Pods may be too many; 25% if absent, rounded up.
        max_surge: Option<IntOrString>,
    }

    /// What a Deployment is.
    struct DeploymentStatus {
        /// The generation the controller has seen.
        observed_generation: i64,
        /// Pods.
        replicas: i32,
        /// Pods of the current template.
        updated_replicas: i32,
        /// Ready Pods.
        ready_replicas: i32,
        /// Available Pods.
        available_replicas: i32,
        /// Pods that are missing.
        unavailable_replicas: i32,
        /// Pods that are ending.
        terminating_replicas: Option<i32>,
        /// `Available`, `Progressing`, `ReplicaFailure`.
        conditions: Vec<Condition>,
        /// Avoids equal names for different templates.
        collision_count: Option<i32>,
    }
}

/// The table entry.
pub static KIND: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    categories: &["all"],
    schema: "io.k8s.api.apps.v1.Deployment",
    subresources: &[Subresource::Status, Subresource::Scale],
    generation: Generation::SpecAndAnnotations,
    scale: Some(ScalePaths {
        replicas: &["spec", "replicas"],
        status_replicas: &["status", "replicas"],
        selector: &["spec", "selector"],
    }),
    ..Kind::PLAIN
};
