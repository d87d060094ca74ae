//! The task that looks, decides and carries out, every fifteen seconds while there is an autoscaler, and when one is
//! wanted.

use std::collections::BTreeMap;
use std::time::Duration;

use edge_api::kind::Kind;
use edge_api::kinds::horizontal_pod_autoscaler;
use edge_api::meta;
use edge_api::time::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::mirror::Name;
use crate::reconcile::Note;
use crate::reconcile::autoscaler::look::{self, ACCOUNT, Outside, target_kind};
use crate::reconcile::autoscaler::pace::Memory;
use crate::reconcile::autoscaler::plan::{Decision, decide};
use crate::reconcile::autoscaler::sight::{Sight, Spec};
use crate::registry::{Context, PatchKind, Registry, Target};
use crate::store::{Cursor, ReadError};

/// How often load is looked at.
const PERIOD: Duration = Duration::from_secs(15);

/// Looks after all autoscalers until `stop`.
///
/// # Errors
/// When the store cannot be followed.
pub async fn run(
    outside: Outside,
    notes: mpsc::Sender<(&'static str, Note)>,
    stop: CancellationToken,
) -> Result<(), ReadError> {
    let prefix = format!("{}/", horizontal_pod_autoscaler::KIND.key_prefix());
    let wanted = outside.wanted.clone();
    let mut task = Task { outside, notes, known: BTreeMap::new() };
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
            () = wanted.news() => task.hurry(),
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
    outside: Outside,
    notes: mpsc::Sender<(&'static str, Note)>,
    known: BTreeMap<Name, Known>,
}

impl Task {
    fn follow(&self, prefix: &str) -> Result<Cursor, ReadError> {
        let store = self.outside.registry.store();
        store.watch(prefix, store.head())
    }

    /// Those that requests wait for are due.
    fn hurry(&mut self) {
        let now = self.outside.registry.now();
        let wanted = self.known.iter_mut().filter(|(key, _)| self.outside.wanted.is(key));
        wanted.for_each(|(_, known)| known.due = now);
    }

    /// Decides about all that are due; how long nothing is to be done then, which is for ever without autoscalers.
    async fn look(&mut self) -> Option<Duration> {
        let all: BTreeMap<Name, Value> = self.list(&horizontal_pod_autoscaler::KIND).into_iter().collect();
        let now = self.outside.registry.now();
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
            let sights = self.outside.sights(&all, &due).await;
            for (key, sight) in sights {
                self.decide(&key, &all[&key], sight).await;
            }
        }
        let now = self.outside.registry.now();
        self.known.values().map(|known| known.due.since(now)).min()
    }

    async fn decide(&mut self, key: &Name, scaler: &Value, sight: Sight) {
        let now = self.outside.registry.now();
        let Some(known) = self.known.get_mut(key) else { return };
        known.due = now.plus(PERIOD);
        let mut decision = decide(scaler, &sight, &mut known.memory, now);
        if let Some(status) = decision.falling_asleep(now) {
            self.write_status(key, status).await;
        }
        let Some(known) = self.known.get_mut(key) else { return };
        if let Some(rescale) = decision.rescale.clone() {
            let outcome = rescale_target(&self.outside.registry, scaler, rescale.to).await;
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
        match self.outside.registry.patch(&cx, &target, PatchKind::Json, &patch).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => tracing::warn!(autoscaler = %key, error = error.message, "status not written"),
        }
    }

    fn list(&self, kind: &'static Kind) -> Vec<(Name, Value)> {
        look::list(&self.outside.registry, kind, "", "")
    }
}

async fn rescale_target(registry: &Registry, scaler: &Value, replicas: i64) -> Result<(), String> {
    let spec: Spec = meta::read(&scaler["spec"]).unwrap_or_default();
    let kind = target_kind(&registry.catalogue(), &spec.scale_target_ref)?;
    let target = Target::one(kind, meta::namespace(scaler), &spec.scale_target_ref.name).sub("scale");
    let patch = json!({"spec": {"replicas": replicas}});
    let done = registry.patch(&Context::controller(ACCOUNT), &target, PatchKind::Merge, &patch).await;
    done.map(drop).map_err(|error| error.message)
}
