//! Plans reach the store through the registry, like every other request: authorised, admitted, validated.

use std::collections::HashMap;
use std::sync::Arc;

use edge_api::kinds;
use edge_api::time::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::mirror::fnv;
use crate::reconcile::driver::{WriteError, Writer};
use crate::reconcile::plan::{Act, Cascade, Note, Tone, Write};
use crate::registry::{ApiError, Context, DeleteOptions, PatchKind, Propagation, Reason, Registry, Target};

/// Writes through the registry, as an account of the cluster's own.
pub struct RegistryWriter {
    registry: Registry,
}

impl RegistryWriter {
    /// A writer for this registry.
    pub fn new(registry: Registry) -> RegistryWriter {
        RegistryWriter { registry }
    }

    async fn act(&self, cx: &Context, write: &Write) -> Result<(), ApiError> {
        let target = Target::one(write.kind, &write.key.namespace, &write.key.name);
        match &write.act {
            Act::Create(_) | Act::Copy(_) => {
                let all = Target::all(write.kind, &write.key.namespace);
                self.registry.create(cx, &all, write.object().unwrap_or_default()).await.map(drop)
            }
            Act::Update(object) => self.registry.update(cx, &target, object.clone()).await.map(drop),
            Act::Status(object) => {
                self.registry.update(cx, &target.sub("status"), object.clone()).await.map(drop)
            }
            Act::Finalize(object) => {
                self.registry.update(cx, &target.sub("finalize"), object.clone()).await.map(drop)
            }
            Act::Patch(patch) => {
                let mut patch = patch.clone();
                if let Some(revision) = write.on {
                    patch["metadata"]["resourceVersion"] = json!(revision.to_string());
                }
                self.registry.patch(cx, &target, PatchKind::Merge, &patch).await.map(drop)
            }
            Act::Delete { uid, grace, cascade, disruption } => {
                let options = DeleteOptions {
                    grace_period_seconds: *grace,
                    uid: uid.clone(),
                    resource_version: write.on.map(|revision| revision.to_string()),
                    propagation: Some(match cascade {
                        Cascade::Background => Propagation::Background,
                        Cascade::Foreground => Propagation::Foreground,
                        Cascade::Orphan => Propagation::Orphan,
                    }),
                    disruption: *disruption,
                };
                self.registry.delete(cx, &target, &options).await.map(drop)
            }
            Act::Bind { uid, node } => {
                let binding = json!({
                    "apiVersion": "v1",
                    "kind": "Binding",
                    "metadata": {"name": &*write.key.name, "namespace": &*write.key.namespace, "uid": uid},
                    "target": {"apiVersion": "v1", "kind": "Node", "name": node},
                });
                self.registry.create(cx, &target.sub("binding"), binding).await.map(drop)
            }
        }
    }
}

impl Writer for RegistryWriter {
    async fn write(&self, account: &'static str, write: &Write) -> Result<(), WriteError> {
        let cx = Context::controller(account);
        match self.act(&cx, write).await {
            Ok(()) => Ok(()),
            Err(error) if error.is_not_found() && matches!(write.act, Act::Delete { .. }) => Ok(()),
            Err(error) => Err(judge(error)),
        }
    }

    fn head(&self) -> u64 {
        self.registry.store().head().0
    }
}

fn judge(error: ApiError) -> WriteError {
    let terminating =
        error.details.iter().flat_map(|d| &d.causes).any(|cause| cause.reason == "NamespaceTerminating");
    match error.reason {
        Reason::Conflict | Reason::AlreadyExists | Reason::NotFound => WriteError::Stale(error.message),
        Reason::Forbidden if terminating => WriteError::Stale(error.message),
        _ => WriteError::Refused(error.message),
    }
}

/// How many Events an object may have in a row before further ones are dropped, as Kubernetes' recorder does.
const BURST: u32 = 25;
/// How many seconds give an object one more.
const REFILL_SECONDS: i64 = 300;
/// How many Events of the same reason are written apart before they are combined.
const APART: u32 = 10;
/// How much is remembered of what was told before.
const REMEMBERED: usize = 4096;

/// Writes Events: repeated ones are counted, similar ones combined, floods cut.
pub struct Recorder {
    registry: Registry,
    told: HashMap<Note, (String, u64)>,
    similar: HashMap<(Arc<str>, &'static str), u32>,
    allowance: HashMap<Arc<str>, (u32, i64)>,
}

impl Recorder {
    /// A recorder that has told nothing yet.
    pub fn new(registry: Registry) -> Recorder {
        Recorder { registry, told: HashMap::new(), similar: HashMap::new(), allowance: HashMap::new() }
    }

    /// Tells what comes until nobody can send any more.
    pub async fn run(mut self, mut notes: mpsc::Receiver<(&'static str, Note)>) {
        while let Some((account, note)) = notes.recv().await {
            let now = self.registry.now();
            if let Err(error) = self.tell(account, note, now).await {
                tracing::debug!(account, %error, "event not written");
            }
        }
    }

    async fn tell(&mut self, account: &'static str, mut note: Note, now: Timestamp) -> Result<(), ApiError> {
        if !self.may_tell(&note.uid, now) {
            return Ok(());
        }
        if !self.told.contains_key(&note) {
            let similar = self.similar.entry((note.uid.clone(), note.reason)).or_default();
            *similar += 1;
            if *similar > APART {
                note.message = format!("(combined from similar events): {}", note.message);
            }
        }
        let place = if note.message.starts_with("(combined") {
            Note { message: String::new(), ..note.clone() }
        } else {
            note.clone()
        };
        let cx = Context::controller(account);
        let namespace = event_namespace(&note).to_owned();
        if let Some((name, count)) = self.told.get_mut(&place) {
            *count += 1;
            let patch = json!({"count": *count, "lastTimestamp": now, "message": note.message});
            let target = Target::one(&kinds::event::KIND, &namespace, name);
            match self.registry.patch(&cx, &target, PatchKind::Merge, &patch).await {
                Err(error) if error.is_not_found() => {}
                other => return other.map(drop),
            }
        }
        let (name, event) = event(account, &note, now);
        self.remember(place, name);
        self.registry.create(&cx, &Target::all(&kinds::event::KIND, &namespace), event).await.map(drop)
    }

    fn remember(&mut self, note: Note, name: String) {
        if self.told.len() >= REMEMBERED {
            self.told.clear();
            self.similar.clear();
        }
        self.told.insert(note, (name, 1));
    }

    fn may_tell(&mut self, uid: &Arc<str>, now: Timestamp) -> bool {
        if self.allowance.len() >= REMEMBERED {
            self.allowance.clear();
        }
        let seconds = now.as_seconds();
        let (tokens, since) = self.allowance.entry(uid.clone()).or_insert((BURST, seconds));
        let more = u32::try_from(((seconds - *since) / REFILL_SECONDS).max(0)).unwrap_or(u32::MAX);
        *since += i64::from(more) * REFILL_SECONDS;
        *tokens = tokens.saturating_add(more).min(BURST);
        if *tokens == 0 {
            return false;
        }
        *tokens -= 1;
        true
    }
}

/// Events about cluster-scoped objects live in `default`.
fn event_namespace(note: &Note) -> &str {
    if note.key.namespace.is_empty() { "default" } else { &note.key.namespace }
}

fn event(account: &str, note: &Note, now: Timestamp) -> (String, Value) {
    let mark = fnv(format!("{} {} {} {}", note.uid, note.reason, note.message, now.as_micros()).as_bytes());
    let name = format!("{}.{mark:016x}", note.key.name);
    let component = if account == "scheduler" { "default-scheduler" } else { account };
    let mut involved = json!({
        "apiVersion": note.kind.api_version(),
        "kind": note.kind.kind,
        "name": &*note.key.name,
        "uid": &*note.uid,
    });
    if !note.key.namespace.is_empty() {
        involved["namespace"] = json!(&*note.key.namespace);
    }
    let event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": event_namespace(note)},
        "involvedObject": involved,
        "reason": note.reason,
        "message": note.message,
        "type": match note.tone { Tone::Normal => "Normal", Tone::Warning => "Warning" },
        "source": {"component": component},
        "reportingComponent": component,
        "reportingInstance": "",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    });
    (name, event)
}
