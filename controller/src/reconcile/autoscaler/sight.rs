//! What an autoscaler looks at, read from the objects of the API.

use std::collections::BTreeMap;
use std::time::Duration;

use edge_api::meta::{self, items, text};
use edge_api::pod_resources::{Amounts, amounts};
use edge_api::quantity::Quantity;
use edge_api::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// What is wished of an autoscaler.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    /// What it scales.
    pub scale_target_ref: Reference,
    /// The least replicas; one if absent.
    pub min_replicas: Option<i64>,
    /// The most.
    pub max_replicas: i64,
    /// What is measured.
    pub metrics: Vec<Value>,
    /// How fast it may happen.
    pub behavior: Option<Behavior>,
}

/// An object by its kind and name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Reference {
    /// Group and version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
}

/// How fast replicas may come and go.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Behavior {
    /// How they come.
    pub scale_up: Rules,
    /// How they go.
    pub scale_down: Rules,
}

/// The rules of one direction.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Rules {
    /// For how long earlier recommendations count.
    pub stabilization_window_seconds: Option<i64>,
    /// `Max`, `Min` or `Disabled`.
    pub select_policy: String,
    /// How much may change in which time.
    pub policies: Vec<Policy>,
    /// How far the load may be off; a tenth if absent.
    pub tolerance: Option<Quantity>,
}

/// How much may change in some time.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Policy {
    /// `Pods` or `Percent`.
    #[serde(rename = "type")]
    pub type_: String,
    /// How many, or how much.
    pub value: i64,
    /// In how many seconds.
    pub period_seconds: i64,
}

/// The target as its scale shows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Scale {
    /// Replicas that are wished for.
    pub replicas: i64,
    /// Replicas that there are.
    pub present: i64,
    /// Which Pods are its own, as text.
    pub selector: String,
}

/// A Pod of the target.
#[derive(Clone, Debug, Default)]
pub(super) struct Pod {
    /// Its name.
    pub name: String,
    /// Whether it is being deleted.
    pub going: bool,
    /// Its phase.
    pub phase: String,
    /// Whether it is ready, and since when so.
    pub ready: Option<(bool, Timestamp)>,
    /// When its node began it.
    pub started: Option<Timestamp>,
    /// What its containers that go on ask for.
    pub containers: Vec<(String, Amounts)>,
    /// What it asks for as a whole.
    pub requests: Amounts,
}

impl Pod {
    /// Reads a Pod.
    pub(super) fn of(pod: &Value) -> Pod {
        let time = |value: &Value, path: &[&str]| Timestamp::parse(text(value, path)).ok();
        let ready = meta::condition(pod, "Ready").map(|condition| {
            let since = time(condition, &["lastTransitionTime"]).unwrap_or_default();
            (text(condition, &["status"]) != "False", since)
        });
        let sidecars = items(pod, &["spec", "initContainers"]).iter();
        let containers = items(pod, &["spec", "containers"])
            .iter()
            .chain(sidecars.filter(|one| text(one, &["restartPolicy"]) == "Always"))
            .map(|one| (text(one, &["name"]).to_owned(), amounts(one, &["resources", "requests"])));
        Pod {
            name: meta::name(pod).to_owned(),
            going: meta::deletion_timestamp(pod).is_some(),
            phase: text(pod, &["status", "phase"]).to_owned(),
            ready,
            started: time(pod, &["status", "startTime"]),
            containers: containers.collect(),
            requests: amounts(pod, &["spec", "resources", "requests"]),
        }
    }
}

/// What the containers of a Pod use.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// When that was so.
    pub at: Timestamp,
    /// Over which time it is the mean.
    pub window: Duration,
    /// Every container's amounts.
    pub containers: BTreeMap<String, Amounts>,
}

impl Sample {
    /// Reads a PodMetrics.
    pub(super) fn of(metrics: &Value) -> Sample {
        let seconds = text(metrics, &["window"]).trim_end_matches('s').parse().unwrap_or_default();
        let containers = items(metrics, &["containers"]).iter();
        Sample {
            at: Timestamp::parse(text(metrics, &["timestamp"])).unwrap_or_default(),
            window: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
            containers: containers
                .map(|one| (text(one, &["name"]).to_owned(), amounts(one, &["usage"])))
                .collect(),
        }
    }
}

/// What was found of a metric that is not of what containers use. In thousandths, or why there is nothing.
#[derive(Clone, Debug)]
pub(super) enum Reading {
    /// It is of what containers use.
    Usage,
    /// Of Pods, by name.
    Pods(Result<BTreeMap<String, i64>, String>),
    /// Of something as a whole.
    Whole(Result<i64, String>),
}

/// Samples by the Pod's name.
pub(super) type Samples = BTreeMap<String, Sample>;

/// Everything a decision is made of beside the autoscaler itself.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    /// The target's scale, or why it cannot be seen.
    pub scale: Result<Scale, String>,
    /// The target's Pods.
    pub pods: Vec<Pod>,
    /// What they use.
    pub samples: Samples,
    /// The other metrics, in the order of the specification.
    pub readings: Vec<Reading>,
    /// Whether requests wait for the target to have a replica.
    pub wanted: bool,
    /// Other autoscalers whose targets have Pods of this one.
    pub rivals: Vec<String>,
}
