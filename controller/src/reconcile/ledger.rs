//! For tests of single controllers: a cluster's objects in a map, with the rules of the API that controllers rely on and
//! nothing else. The whole control plane is tested by [`crate::simulation`], on the real API.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bytes::Bytes;
use edge_api::kind::Kind;
use edge_api::kinds;
use edge_api::time::Timestamp;
use futures::FutureExt;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::mirror::{Settings, World};
use crate::reconcile::plan::{Act, Cascade, Plan, Write};
use crate::reconcile::{WriteError, Writer};

/// A cluster in memory.
pub struct Ledger(Mutex<State>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, (u64, Value)>,
    head: u64,
    uids: u64,
    now: Timestamp,
    refuse: Option<(&'static str, String)>,
}

impl Ledger {
    /// An empty cluster at `now`.
    pub fn new(now: Timestamp) -> Ledger {
        Ledger(Mutex::new(State { now, ..State::default() }))
    }

    /// A cluster of these objects.
    pub fn with(now: Timestamp, objects: &[Value]) -> Ledger {
        let ledger = Ledger::new(now);
        for object in objects {
            ledger.put(object.clone());
        }
        ledger
    }

    /// Refuses the creation of a kind from now on, or of none.
    pub fn refuse(&self, what: Option<(&'static str, &str)>) {
        self.0.lock().refuse = what.map(|(kind, why)| (kind, why.to_owned()));
    }

    /// The time of this cluster.
    pub fn now(&self) -> Timestamp {
        self.0.lock().now
    }

    /// Lets time pass.
    pub fn pass(&self, seconds: f64) {
        let mut state = self.0.lock();
        state.now = state.now.plus(std::time::Duration::from_secs_f64(seconds));
    }

    /// Sets the clock, back too.
    pub fn set(&self, time: Timestamp) {
        self.0.lock().now = time;
    }

    /// Creates or replaces an object as it is, status and all; stamps what is missing.
    pub fn put(&self, object: Value) -> Value {
        self.0.lock().put(object)
    }

    /// An object.
    pub fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Value> {
        self.0.lock().objects.get(&key(kind, namespace, name)).map(|(_, object)| object.clone())
    }

    /// All objects of a kind.
    pub fn all(&self, kind: &Kind) -> Vec<Value> {
        let prefix = format!("{}/", kind.key_prefix());
        let state = self.0.lock();
        state
            .objects
            .range(prefix.clone()..)
            .take_while(|(k, _)| k.starts_with(&prefix))
            .map(|(_, o)| o.1.clone())
            .collect()
    }

    /// Changes an object.
    pub fn edit(&self, kind: &Kind, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.0.lock();
        let Some((_, object)) = state.objects.get(&key(kind, namespace, name)) else { return };
        let mut object = object.clone();
        change(&mut object);
        state.replace(kind, object, true);
    }

    /// Deletes an object as a user would.
    pub fn delete(&self, kind: &'static Kind, namespace: &str, name: &str) {
        let mut state = self.0.lock();
        let _ = state.delete(kind, namespace, name, None, None, Cascade::Background);
    }

    /// Takes an object away for good, as a node does with a Pod that has ended.
    pub fn remove(&self, kind: &Kind, namespace: &str, name: &str) {
        self.0.lock().remove(&key(kind, namespace, name));
    }

    /// The present state as controllers see it.
    pub fn world(&self) -> World {
        let state = self.0.lock();
        let mut world = World::new(settings());
        world.now = state.now;
        for (key, (revision, object)) in &state.objects {
            world.apply(key.as_str(), *revision, Some(&bytes(object)));
        }
        world.revision = state.head;
        world
    }

    /// Carries a plan out at once.
    pub fn carry_out(&self, plan: &Plan) -> crate::reconcile::Outcome {
        let done = crate::reconcile::carry_out(self, "test", plan).now_or_never();
        done.expect("nothing here waits").0
    }
}

/// What controllers are told in tests.
pub fn settings() -> Settings {
    Settings {
        pod_range: "10.42.0.0/16".to_owned(),
        authority: "PEM".to_owned(),
        service_address: "10.43.0.1".to_owned(),
        api_address: Some(([192, 0, 2, 1], 6443).into()),
        ..Settings::default()
    }
}

fn key(kind: &Kind, namespace: &str, name: &str) -> String {
    kind.key(namespace, name)
}

fn bytes(object: &Value) -> Bytes {
    Bytes::from(serde_json::to_vec(object).unwrap())
}

fn kind_of(object: &Value) -> &'static Kind {
    let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
    kinds::by_kind(&text("apiVersion"), &text("kind")).expect("tests use kinds that exist")
}

impl State {
    fn put(&mut self, mut object: Value) -> Value {
        let kind = kind_of(&object);
        if object["metadata"]["uid"].is_null() {
            self.uids += 1;
            object["metadata"]["uid"] = json!(format!("uid-{}", self.uids));
        }
        if object["metadata"]["creationTimestamp"].is_null() {
            object["metadata"]["creationTimestamp"] = json!(self.now);
        }
        if object["metadata"]["generation"].is_null() {
            object["metadata"]["generation"] = json!(1);
        }
        let key = self.key_of(kind, &object);
        self.store(&key, object)
    }

    fn key_of(&self, kind: &Kind, object: &Value) -> String {
        let meta = &object["metadata"];
        key(kind, meta["namespace"].as_str().unwrap_or(""), meta["name"].as_str().unwrap())
    }

    fn store(&mut self, key: &str, mut object: Value) -> Value {
        if let Some(meta) = object["metadata"].as_object_mut() {
            meta.remove("resourceVersion");
        }
        // A write that changes nothing is none.
        if self.objects.get(key).is_some_and(|(_, before)| *before == object) {
            return object;
        }
        self.head += 1;
        self.objects.insert(key.to_owned(), (self.head, object.clone()));
        object
    }

    fn remove(&mut self, key: &str) {
        if self.objects.remove(key).is_some() {
            self.head += 1;
        }
    }

    /// Replaces an object; a changed specification counts, and what is deleted and unblocked goes.
    fn replace(&mut self, kind: &Kind, mut object: Value, counts: bool) {
        let key = self.key_of(kind, &object);
        let before = self.objects[&key].1.clone();
        if counts && before["spec"] != object["spec"] {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            object["metadata"]["generation"] = json!(generation);
        }
        let empty = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
        let unblocked = empty(&object["metadata"]["finalizers"]) && empty(&object["spec"]["finalizers"]);
        let runs = kind.plural == "pods" && !object["spec"]["nodeName"].is_null();
        if !object["metadata"]["deletionTimestamp"].is_null() && unblocked && !runs {
            return self.remove(&key);
        }
        self.store(&key, object);
    }

    fn current(&self, write: &Write) -> Result<Value, WriteError> {
        let name = key(write.kind, &write.key.namespace, &write.key.name);
        let stale = |why: &str| WriteError::Stale(format!("{name}: {why}"));
        let (revision, object) = self.objects.get(&name).ok_or_else(|| stale("not found"))?;
        if write.on.is_some_and(|on| on != *revision) {
            return Err(stale("changed"));
        }
        Ok(object.clone())
    }

    fn delete(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
        grace: Option<i64>,
        cascade: Cascade,
    ) -> Result<(), WriteError> {
        let key = key(kind, namespace, name);
        let Some((_, object)) = self.objects.get(&key) else { return Ok(()) };
        let mut object = object.clone();
        if uid.is_some_and(|uid| object["metadata"]["uid"] != uid) {
            return Err(WriteError::Stale("another uid".to_owned()));
        }
        if kind.plural == "pods" && grace == Some(0) {
            self.remove(&key);
            return Ok(());
        }
        let finalizer = match cascade {
            Cascade::Background => None,
            Cascade::Foreground => Some("foregroundDeletion"),
            Cascade::Orphan => Some("orphan"),
        };
        if let Some(finalizer) = finalizer {
            let mut all = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
            if !all.contains(&json!(finalizer)) {
                all.push(json!(finalizer));
            }
            object["metadata"]["finalizers"] = json!(all);
        }
        let first = object["metadata"]["deletionTimestamp"].is_null();
        if first {
            object["metadata"]["deletionTimestamp"] = json!(self.now);
            if kind.plural == "namespaces" {
                object["status"]["phase"] = json!("Terminating");
            }
        }
        if first || finalizer.is_some() {
            self.replace(kind, object, false);
        }
        Ok(())
    }

    fn write(&mut self, write: &Write) -> Result<(), WriteError> {
        let name = key(write.kind, &write.key.namespace, &write.key.name);
        match &write.act {
            Act::Create(_) | Act::Copy(_) => {
                if let Some((kind, why)) = &self.refuse
                    && *kind == write.kind.kind
                {
                    return Err(WriteError::Refused(why.clone()));
                }
                if self.objects.contains_key(&name) {
                    return Err(WriteError::Stale(format!("{name} exists")));
                }
                self.put(write.object().unwrap_or_default());
            }
            Act::Update(object) | Act::Finalize(object) => {
                let mut object = object.clone();
                object["status"] = self.current(write)?["status"].clone();
                self.replace(write.kind, object, true);
            }
            Act::Status(object) => {
                let mut whole = self.current(write)?;
                whole["status"] = object["status"].clone();
                whole["metadata"]["annotations"] = object["metadata"]["annotations"].clone();
                self.replace(write.kind, whole, false);
            }
            Act::Patch(patch) => {
                let mut whole = self.current(write)?;
                json_patch(&mut whole, patch);
                self.replace(write.kind, whole, true);
            }
            Act::Delete { uid, grace, cascade, .. } => {
                if write.on.is_some() && self.objects.contains_key(&name) {
                    self.current(write)?;
                }
                let (namespace, name) = (&write.key.namespace, &write.key.name);
                self.delete(write.kind, namespace, name, uid.as_deref(), *grace, *cascade)?;
            }
            Act::Bind { uid, node } => {
                let mut pod = self.current(write)?;
                assert!(pod["spec"]["nodeName"].is_null(), "{name} is bound twice");
                assert_eq!(pod["metadata"]["uid"], json!(uid));
                pod["spec"]["nodeName"] = json!(node);
                self.replace(write.kind, pod, false);
            }
        }
        Ok(())
    }
}

/// RFC 7386.
fn json_patch(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (field, value) in fields {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(field);
        } else {
            json_patch(&mut target[field], value);
        }
    }
}

impl Writer for Ledger {
    async fn write(&self, _: &'static str, write: &Write) -> Result<(), WriteError> {
        self.0.lock().write(write)
    }

    fn head(&self) -> u64 {
        self.0.lock().head
    }
}
