//! Histories for the rules' own tests: changes told to one rule by hand.
//!
//! Each rule shows that it can be broken, and that it lets pass what is allowed: one that nothing breaks proves nothing.

use bytes::Bytes;
use edge_api::kinds;
use edge_api::patch;
use edge_api::time::Timestamp;
use serde_json::{Value, json};

use crate::mirror::{Settings, World};
use crate::simulation::rule::{Author, Rule, Step};

/// What happens next.
#[derive(Clone, Debug)]
pub enum Event {
    /// Somebody makes an object, or changes it.
    Put(Author, Value),
    /// Somebody takes an object away.
    Gone(Author, Value),
    /// The control plane knows everything and has nothing under way.
    Quiet,
    /// Nothing goes wrong any more, and everything has come to rest.
    Settled,
}

/// What it is about, what happens, and a part of the complaint about the last event; none if all is well.
pub type Case = (&'static str, Vec<Event>, Option<&'static str>);

/// Tells each history to a rule of its own; only the last event of one may break it.
pub fn check<R: Rule + Default>(cases: &[Case]) {
    for (about, events, complaint) in cases {
        let told = tell::<R>(about, events);
        match (told, complaint) {
            (Ok(()), None) => {}
            (Err(why), Some(part)) => assert!(why.contains(part), "{about}: {why}"),
            (told, _) => panic!("{about}: {told:?}, not {complaint:?}"),
        }
    }
}

/// The verdict about the last event.
fn tell<R: Rule + Default>(about: &str, events: &[Event]) -> Result<(), String> {
    let (mut rule, mut truth, mut verdict) = (R::default(), World::new(Settings::default()), Ok(()));
    truth.now = Timestamp::parse("2026-01-01T01:00:00Z").unwrap();
    for (revision, event) in (1..).zip(events) {
        assert_eq!(verdict, Ok(()), "{about}: before event {revision}");
        verdict = match event {
            Event::Put(author, object) => {
                see(&mut rule, &mut truth, revision, *author, object, Some(object.to_string().into()))
            }
            Event::Gone(author, object) => see(&mut rule, &mut truth, revision, *author, object, None),
            Event::Quiet => {
                rule.quiet(&truth);
                Ok(())
            }
            Event::Settled => rule.settled(&truth),
        };
    }
    verdict
}

fn see<R: Rule>(
    rule: &mut R,
    truth: &mut World,
    revision: u64,
    author: Author,
    object: &Value,
    after: Option<Bytes>,
) -> Result<(), String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = kinds::by_kind(&text(&object["apiVersion"]), &text(&object["kind"])).unwrap();
    let (namespace, name) = (&object["metadata"]["namespace"], &object["metadata"]["name"]);
    let key = kind.key(&text(namespace), &text(name));
    let delta = truth.apply(key, revision, after.as_ref()).unwrap();
    rule.see(&Step { author, delta: &delta, truth })
}

/// The user makes or changes an object.
pub fn user(object: Value) -> Event {
    Event::Put(Author::User, object)
}

/// A controller makes or changes an object.
pub fn controller(name: &'static str, object: Value) -> Event {
    Event::Put(Author::Controller(name), object)
}

/// An object with this change merged into it.
pub fn with(mut object: Value, change: Value) -> Value {
    patch::merge(&mut object, &change);
    object
}

/// An object of the API version and kind whose uid is its name, made an hour ago.
pub fn object(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "default", "uid": name,
        "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}})
}

/// An object's part that says who manages it.
pub fn managed(api_version: &str, kind: &str, name: &str) -> Value {
    let owner =
        json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": name, "controller": true});
    json!({"metadata": {"ownerReferences": [owner]}})
}

/// A node that takes so many Pods.
pub fn node(name: &str, pods: u32) -> Value {
    let allocatable = json!({"cpu": "1", "memory": "1Gi", "pods": pods.to_string()});
    let node = with(object("v1", "Node", name), json!({"status": {"allocatable": allocatable}}));
    with(node, json!({"metadata": {"namespace": null}}))
}

/// A Pod that serves on node `n`.
pub fn pod(name: &str) -> Value {
    let container =
        json!({"name": "c", "image": "v1", "resources": {"requests": {"cpu": "600m", "memory": "600Mi"}}});
    let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let change = json!({"spec": {"nodeName": "n", "containers": [container]},
        "status": {"phase": "Running", "conditions": [ready]}});
    with(object("v1", "Pod", name), change)
}

/// The same Pod, told to go.
pub fn going(object: Value) -> Value {
    with(object, json!({"metadata": {"deletionTimestamp": "2026-01-01T01:00:30Z"}}))
}

/// The same Pod in another phase, in which it does not serve.
pub fn phase(pod: Value, phase: &str) -> Value {
    with(pod, json!({"status": {"phase": phase, "conditions": []}}))
}
