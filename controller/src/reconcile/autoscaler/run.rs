//! The task that looks, decides and carries out, every fifteen seconds while there is an autoscaler.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use edge_api::catalogue::Catalogue;
use edge_api::kind::{Kind, Subresource};
use edge_api::kinds::{horizontal_pod_autoscaler, pod, pod_metrics};
use edge_api::meta::{self, number, text};
use edge_api::time::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::mirror::Name;
use crate::reconcile::Note;
use crate::reconcile::autoscaler::pace::Memory;
use crate::reconcile::autoscaler::plan::{Decision, decide};
use crate::reconcile::autoscaler::sight::{Pod, Reference, Sample, Scale, Sight, Spec};
use crate::registry::{ApiError, Context, PatchKind, Registry, Target};
use crate::store::{Cursor, ReadError};
use crate::usage::Usage;

/// Its name, as kube-controller-manager's; also the account it writes as.
const ACCOUNT: &str = "horizontal-pod-autoscaler";
/// How often load is looked at.
const PERIOD: Duration = Duration::from_secs(15);

/// Looks after all autoscalers until `stop`.
///
/// # Errors
/// When the store cannot be followed.
pub async fn run(
    registry: Registry,
    usage: Usage,
    notes: mpsc::Sender<(&'static str, Note)>,
    stop: CancellationToken,
) -> Result<(), ReadError> {
    let prefix = format!("{}/", horizontal_pod_autoscaler::KIND.key_prefix());
    let mut task = Task { registry, usage, notes, known: BTreeMap::new() };
    let mut cursor = task.follow(&prefix)?;
    loop {
        let sleep = task.look().await;
        tokio::select! {
            changes = cursor.next() => match changes {
                Ok(_) => {}
                Err(ReadError::Compacted { .. }) => cursor = task.follow(&prefix)?,
                Err(error) => return Err(error),
            },
            () = tokio::time::sleep(sleep.unwrap_or_default()), if sleep.is_some() => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// An autoscaler between two looks.
struct Known {
    uid: String,
    spec: Value,
    memory: Memory,
    due: Timestamp,
}

struct Task {
    registry: Registry,
    usage: Usage,
    notes: mpsc::Sender<(&'static str, Note)>,
    known: BTreeMap<Name, Known>,
}

impl Task {
    fn follow(&self, prefix: &str) -> Result<Cursor, ReadError> {
        self.registry.store().watch(prefix, self.registry.store().head())
    }

    /// Decides about all that are due; how long nothing is to be done then, which is for ever without autoscalers.
    async fn look(&mut self) -> Option<Duration> {
        let all: BTreeMap<Name, Value> =
            self.list(&horizontal_pod_autoscaler::KIND, "", "").into_iter().collect();
        let now = self.registry.now();
        self.known.retain(|key, known| all.get(key).is_some_and(|scaler| meta::uid(scaler) == known.uid));
        for (key, scaler) in &all {
            let known = self.known.entry(key.clone()).or_insert_with(|| Known {
                uid: meta::uid(scaler).to_owned(),
                spec: Value::Null,
                memory: Memory::default(),
                due: now,
            });
            if known.spec != scaler["spec"] {
                known.spec = scaler["spec"].clone();
                known.due = now;
            }
        }
        let due: Vec<Name> =
            self.known.iter().filter(|(_, known)| known.due <= now).map(|(key, _)| key.clone()).collect();
        if !due.is_empty() {
            let sights = self.sights(&all, &due).await;
            for (key, sight) in sights {
                self.decide(&key, &all[&key], sight).await;
            }
        }
        let now = self.registry.now();
        self.known.values().map(|known| known.due.since(now)).min()
    }

    async fn decide(&mut self, key: &Name, scaler: &Value, sight: Sight) {
        let now = self.registry.now();
        let Some(known) = self.known.get_mut(key) else { return };
        known.due = now.plus(PERIOD);
        let mut decision = decide(scaler, &sight, &mut known.memory, now);
        if let Some(rescale) = decision.rescale.clone() {
            let outcome = rescale_target(&self.registry, scaler, rescale.to).await;
            if outcome.is_ok() {
                let spec: Spec = meta::read(&scaler["spec"]).unwrap_or_default();
                known.memory.scaled(rescale.from, rescale.to, spec.behavior.as_ref(), now);
            }
            decision.settle(&outcome, now);
        }
        self.tell(scaler, &decision);
        if scaler.get("status") != Some(&decision.status) {
            self.write_status(key, decision.status).await;
        }
    }

    fn tell(&self, scaler: &Value, decision: &Decision) {
        let meta = crate::mirror::Meta {
            name: meta::name(scaler).into(),
            namespace: meta::namespace(scaler).into(),
            uid: meta::uid(scaler).into(),
            ..crate::mirror::Meta::default()
        };
        for (tone, reason, message) in &decision.said {
            let note = Note::normal(&horizontal_pod_autoscaler::KIND, &meta, reason, message.clone());
            // Full means that people cannot read that fast.
            let _ = self.notes.try_send((ACCOUNT, Note { tone: *tone, ..note }));
        }
    }

    async fn write_status(&self, key: &Name, status: Value) {
        let target = Target::one(&horizontal_pod_autoscaler::KIND, &key.namespace, &key.name).sub("status");
        let cx = Context::controller(ACCOUNT);
        let patch = json!([{"op": "add", "path": "/status", "value": status}]);
        match self.registry.patch(&cx, &target, PatchKind::Json, &patch).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => tracing::warn!(autoscaler = %key, error = error.message, "status not written"),
        }
    }

    /// What is seen of those that are due. The nodes are asked once for all of them.
    async fn sights(&self, all: &BTreeMap<Name, Value>, due: &[Name]) -> Vec<(Name, Sight)> {
        let samples = self.samples().await;
        let catalogue = self.registry.catalogue();
        let mut pods: BTreeMap<&Name, BTreeSet<String>> = BTreeMap::new();
        let mut sights = Vec::new();
        for (key, scaler) in all {
            let scale = self.scale(&catalogue, key, scaler).await;
            let selector = scale.as_ref().map(|scale| scale.selector.clone()).unwrap_or_default();
            let own = if selector.is_empty() {
                Vec::new()
            } else {
                self.list(&pod::KIND, &key.namespace, &selector)
            };
            pods.insert(key, own.iter().map(|(name, _)| name.name.to_string()).collect());
            if !due.contains(key) {
                continue;
            }
            let found =
                own.iter().filter_map(|(name, _)| Some((name.name.to_string(), samples.get(name)?.clone())));
            let sight = Sight {
                scale,
                samples: found.collect(),
                pods: own.iter().map(|(_, pod)| Pod::of(pod)).collect(),
                rivals: Vec::new(),
            };
            sights.push((key.clone(), sight));
        }
        for (key, sight) in &mut sights {
            let own = &pods[key];
            let shared = |other: &&Name| other.namespace == key.namespace && !pods[*other].is_disjoint(own);
            let sharing: Vec<String> =
                pods.keys().copied().filter(shared).map(|other| other.name.to_string()).collect();
            if sharing.len() > 1 {
                sight.rivals = sharing;
            }
        }
        sights
    }

    async fn samples(&self) -> BTreeMap<Name, Sample> {
        let target = Target::all(&pod_metrics::KIND, "");
        let metrics = self.usage.of_pods(&target).await.unwrap_or_default();
        let named = |metrics: &Value| Name::new(meta::namespace(metrics), meta::name(metrics));
        metrics.iter().map(|metrics| (named(metrics), Sample::of(metrics))).collect()
    }

    async fn scale(&self, catalogue: &Catalogue, key: &Name, scaler: &Value) -> Result<Scale, String> {
        let spec: Spec = meta::read(&scaler["spec"]).unwrap_or_default();
        let kind = target_kind(catalogue, &spec.scale_target_ref)?;
        let target = Target::one(kind, &key.namespace, &spec.scale_target_ref.name).sub("scale");
        let scale = self.registry.get(&Context::controller(ACCOUNT), &target).await;
        let scale = scale.map_err(|error| error.message)?.value();
        Ok(Scale {
            replicas: number(&scale, &["spec", "replicas"]).unwrap_or(0),
            selector: text(&scale, &["status", "selector"]).to_owned(),
        })
    }

    fn list(&self, kind: &'static Kind, namespace: &str, labels: &str) -> Vec<(Name, Value)> {
        let objects = self.registry.labelled(&Target::all(kind, namespace), labels);
        let objects = objects.unwrap_or_else(|error: ApiError| {
            tracing::warn!(kind = kind.kind, error = error.message, "objects cannot be listed");
            Vec::new()
        });
        let named = |value: Value| (Name::new(meta::namespace(&value), meta::name(&value)), value);
        objects.iter().map(|object| named(object.value())).collect()
    }
}

/// The kind of a target, which must be one that can be scaled.
fn target_kind(catalogue: &Catalogue, target: &Reference) -> Result<&'static Kind, String> {
    let (group, _) = meta::split_api_version(&target.api_version);
    let exact = catalogue.by_kind(&target.api_version, &target.kind);
    let scaled = |kind: &&'static Kind| kind.has(Subresource::Scale) && kind.is_namespaced();
    let other =
        || catalogue.all().filter(scaled).find(|kind| kind.group == group && kind.kind == target.kind);
    exact.filter(scaled).or_else(other).ok_or_else(|| {
        format!(
            "unable to determine resource for scale target reference: no matches for kind {:?} in group {group:?}",
            target.kind
        )
    })
}

async fn rescale_target(registry: &Registry, scaler: &Value, replicas: i64) -> Result<(), String> {
    let spec: Spec = meta::read(&scaler["spec"]).unwrap_or_default();
    let kind = target_kind(&registry.catalogue(), &spec.scale_target_ref)?;
    let target = Target::one(kind, meta::namespace(scaler), &spec.scale_target_ref.name).sub("scale");
    let patch = json!({"spec": {"replicas": replicas}});
    let done = registry.patch(&Context::controller(ACCOUNT), &target, PatchKind::Merge, &patch).await;
    done.map(drop).map_err(|error| error.message)
}
