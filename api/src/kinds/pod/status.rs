//! The typed status of a Pod.

use crate::compact::object;
use crate::kinds::pod::spec::{ResourceRequirements, Resources};
use crate::meta::Condition;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

object! {
    /// What a Pod is.
    struct PodStatus {
        /// The generation the node has seen.
        observed_generation: Option<i64>,
        /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
        phase: String,
        /// `PodScheduled`, `Initialized`, `ContainersReady`, `Ready` …
        conditions: Vec<Condition>,
        /// One sentence for people.
        message: String,
        /// One word for machines.
        reason: String,
        /// The node a preempting Pod is meant for.
        nominated_node_name: String,
        /// The node's address.
        #[serde(rename = "hostIP")]
        host_ip: String,
        /// The node's addresses.
        #[serde(rename = "hostIPs")]
        host_ips: Vec<PodIp>,
        /// The Pod's address.
        #[serde(rename = "podIP")]
        pod_ip: String,
        /// The Pod's addresses, one a family.
        #[serde(rename = "podIPs")]
        pod_ips: Vec<PodIp>,
        /// When the node took it.
        start_time: Option<Timestamp>,
        /// `Guaranteed`, `Burstable` or `BestEffort`.
        qos_class: String,
        /// Of init containers.
        init_container_statuses: Vec<ContainerStatus>,
        /// Of containers.
        container_statuses: Vec<ContainerStatus>,
        /// Of ephemeral containers.
        ephemeral_container_statuses: Vec<ContainerStatus>,
    }

    /// An address.
    struct PodIp {
        /// The address.
        ip: String,
    }

    /// Exactly one is set; none means waiting.
    struct ContainerState {
        /// It does not run yet, or not again yet.
        waiting: Option<ContainerStateWaiting>,
        /// It runs.
        running: Option<ContainerStateRunning>,
        /// It has ended.
        terminated: Option<Box<ContainerStateTerminated>>,
    }

    /// A container does not run yet.
    struct ContainerStateWaiting {
        /// Such as `ContainerCreating` or `CrashLoopBackOff`.
        reason: String,
        /// One sentence for people.
        message: String,
    }

    /// A container runs.
    struct ContainerStateRunning {
        /// Since when.
        started_at: Option<Timestamp>,
    }
}

/// A container has ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerStateTerminated {
    /// Its exit status.
    pub exit_code: i32,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "crate::compact::is_blank")]
    pub signal: i32,
    /// Such as `Completed`, `Error` or `OOMKilled`.
    #[serde(skip_serializing_if = "crate::compact::is_blank")]
    pub reason: String,
    /// Its last words.
    #[serde(skip_serializing_if = "crate::compact::is_blank")]
    pub message: String,
    /// When it started.
    #[serde(skip_serializing_if = "crate::compact::is_blank")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "crate::compact::is_blank")]
    pub finished_at: Option<Timestamp>,
    /// Which run of it, `edgectl://…`.
    #[serde(rename = "containerID", skip_serializing_if = "crate::compact::is_blank")]
    pub container_id: String,
}

/// What a container is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerStatus {
    /// Its name.
    pub name: String,
    /// What it does now.
    pub state: ContainerState,
    /// How it ended before.
    pub last_state: ContainerState,
    /// Whether it may be sent requests.
    pub ready: bool,
    /// How often it was restarted.
    pub restart_count: i32,
    /// The image as wished.
    pub image: String,
    /// The image as found.
    #[serde(rename = "imageID")]
    pub image_id: String,
    /// Which run of it, `edgectl://…`.
    #[serde(rename = "containerID", skip_serializing_if = "crate::compact::is_blank")]
    pub container_id: String,
    /// Whether it has passed its startup probe.
    #[serde(skip_serializing_if = "crate::compact::is_blank")]
    pub started: Option<bool>,
    /// What the node has set aside for it, which is less than wished for while a resize waits.
    #[serde(skip_serializing_if = "crate::compact::is_blank")]
    pub allocated_resources: Resources,
    /// What it really has: requests and limits in force. Who reports none cannot resize.
    #[serde(skip_serializing_if = "crate::compact::is_blank")]
    pub resources: Option<Box<ResourceRequirements>>,
}

/// The condition of a Pod whose new resources the node has not accepted yet; its reason is [`RESIZE_DEFERRED`] or
/// [`RESIZE_INFEASIBLE`].
pub const RESIZE_PENDING: &str = "PodResizePending";
/// The condition of a Pod whose new resources are accepted and not all in force; its reason is empty or `Error`.
pub const RESIZE_IN_PROGRESS: &str = "PodResizeInProgress";
/// The node has no room for it now.
pub const RESIZE_DEFERRED: &str = "Deferred";
/// The node never has room for it.
pub const RESIZE_INFEASIBLE: &str = "Infeasible";
