//! The typed status of a Pod.

use crate::compact::object;
use crate::kinds::pod::spec::{ResourceRequirements, Resources};
use crate::meta::{self, Condition};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

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

    /// A volume as a container sees it.
    struct VolumeMountStatus {
        /// The volume.
        name: String,
        /// Where.
        mount_path: String,
        /// Whether the container may only read.
        read_only: bool,
        /// `Disabled` or `Enabled`, where it may only read.
        recursive_read_only: Option<String>,
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
    /// Its volumes as it sees them.
    #[serde(skip_serializing_if = "crate::compact::is_blank")]
    pub volume_mounts: Vec<VolumeMountStatus>,
}

/// The condition of a Pod that goes for a reason that is not its own.
pub const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// Who takes a Pod away that has done nothing wrong: what its condition [`DISRUPTION_TARGET`] says, which Jobs may
/// ignore. The node has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disruption {
    /// One word for machines.
    pub reason: &'static str,
    /// One sentence for people.
    pub message: &'static str,
}

impl Disruption {
    /// Somebody with the eviction API, such as `kubectl drain`.
    pub const EVICTION: Disruption =
        Disruption { reason: "EvictionByEvictionAPI", message: "Eviction API: evicting" };
    /// A taint of its node that it does not put up with.
    pub const TAINT: Disruption = Disruption {
        reason: "DeletionByTaintManager",
        message: "Taint manager: deleting due to NoExecute taint",
    };
    /// A Pod that matters more.
    pub const PREEMPTION: Disruption = Disruption {
        reason: "PreemptionByScheduler",
        message: "default-scheduler: preempting to accommodate a higher priority pod",
    };
    /// The garbage collector, since its node is gone.
    pub const GARBAGE: Disruption =
        Disruption { reason: "DeletionByPodGC", message: "PodGC: node no longer exists" };

    /// Says so in the status of a Pod.
    pub fn tell(self, pod: &mut Value, now: Timestamp) {
        set_condition(pod, DISRUPTION_TARGET, "True", (self.reason, self.message), now);
    }
}

/// Sets a condition of a Pod; the time of its transition moves with `status` only.
pub fn set_condition(
    pod: &mut Value,
    type_: &str,
    status: &str,
    (reason, message): (&str, &str),
    now: Timestamp,
) {
    let generation = meta::generation(pod);
    let before = meta::condition(pod, type_).filter(|before| meta::text(before, &["status"]) == status);
    let since = before.and_then(|before| before.get("lastTransitionTime").cloned());
    let mut condition = json!({
        "type": type_, "status": status, "lastProbeTime": null,
        "lastTransitionTime": since.unwrap_or_else(|| now.seconds().into()),
    });
    for (field, text) in [("reason", reason), ("message", message)] {
        if !text.is_empty() {
            condition[field] = text.into();
        }
    }
    if generation > 0 {
        condition["observedGeneration"] = generation.into();
    }
    let conditions = meta::object_mut(pod, "status").entry("conditions").or_insert_with(|| json!([]));
    if let Some(conditions) = conditions.as_array_mut() {
        conditions.retain(|other| meta::text(other, &["type"]) != type_);
        conditions.push(condition);
    }
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
