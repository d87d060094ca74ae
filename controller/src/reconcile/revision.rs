//! The templates that a StatefulSet or DaemonSet has had, kept as ControllerRevisions for going back.

use std::sync::Arc;

use edge_api::kind::Kind;
use edge_api::kinds;
use serde_json::{Value, json};

use crate::mirror::{Meta, Name, Object, Revision, Selector, World, fnv};
use crate::reconcile::ownership::{claim, reference, safe_letters};
use crate::reconcile::plan::Write;

const KIND: &Kind = &kinds::controller_revision::KIND;

/// The label of Pods with the revision that they are of.
pub const HASH: &str = "controller-revision-hash";
/// The label of revisions with their hash.
const REVISION_HASH: &str = "controller.kubernetes.io/hash";

/// A set's revisions.
pub struct History {
    /// All, the oldest first.
    pub all: Vec<Arc<Object<Revision>>>,
    /// What must be written before anything else is decided.
    pub writes: Vec<Write>,
    /// The name of the present template's revision.
    pub present: String,
}

/// Of what a revision is made.
fn data(set: &Value) -> Value {
    let mut template = set.pointer("/spec/template").cloned().unwrap_or_default();
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

/// The template in a revision.
pub fn template(revision: &Object<Revision>) -> Value {
    revision.tree().pointer("/data/spec/template").cloned().unwrap_or_default()
}

/// The hash in the name of a revision.
pub fn hash<'a>(set: &Meta, revision: &'a str) -> &'a str {
    revision.strip_prefix(&*set.name).and_then(|rest| rest.strip_prefix('-')).unwrap_or(revision)
}

/// Finds a set's revisions, and makes that of its present template or moves it to the front.
pub fn history(kind: &'static Kind, meta: &Meta, selector: &Selector, set: &Value, world: &World) -> History {
    let claimed = claim(kind, meta, selector, KIND, &world.revisions);
    let mut all = claimed.own;
    all.sort_by(|a, b| (a.body.number, &a.meta.name).cmp(&(b.body.number, &b.meta.name)));
    let mut writes = claimed.writes;
    let (data, latest) = (data(set), all.last().map_or(0, |revision| revision.body.number));
    let digest = fnv(&serde_json::to_vec(&data).unwrap_or_default());
    let same = all.iter().rev().find(|revision| revision.body.data == digest).cloned();
    if let Some(revision) = same {
        if revision.body.number < latest {
            let patch = json!({"metadata": {"uid": &*revision.meta.uid}, "revision": latest + 1});
            writes.push(Write::patch(KIND, revision.key(), revision.revision, patch));
        }
        let present = revision.meta.name.to_string();
        return History { all, writes, present };
    }
    let (name, hash) = (0_u32..)
        .map(|salt| safe_letters(&fold(digest, salt).to_string()))
        .map(|hash| (format!("{}-{hash}", meta.name), hash))
        .find(|(name, _)| world.revisions.get(&meta.namespace, name).is_none())
        .expect("there are more names than revisions");
    writes.push(create(kind, meta, set, data, (&name, &hash), latest + 1));
    History { all, writes, present: name }
}

fn fold(digest: u64, salt: u32) -> u32 {
    let mut bytes = digest.to_le_bytes().to_vec();
    if salt > 0 {
        bytes.extend(salt.to_le_bytes());
    }
    bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn create(
    kind: &'static Kind,
    meta: &Meta,
    set: &Value,
    data: Value,
    (name, hash): (&str, &str),
    number: i64,
) -> Write {
    let mut labels = set.pointer("/spec/template/metadata/labels").cloned().unwrap_or(json!({}));
    labels[REVISION_HASH] = json!(hash);
    let object = json!({
        "apiVersion": KIND.api_version(), "kind": KIND.kind,
        "metadata": {"name": name, "namespace": &*meta.namespace, "labels": labels, "annotations": &*meta.annotations,
            "ownerReferences": [reference(kind, meta)]},
        "data": data, "revision": number,
    });
    Write::create(KIND, Name::new(&meta.namespace, name), object)
}

/// Deletes the oldest revisions beyond the limit that nobody is of.
pub fn truncate(history: &History, limit: i64, used: impl Fn(&str) -> bool) -> Vec<Write> {
    let idle: Vec<&Arc<Object<Revision>>> = history
        .all
        .iter()
        .filter(|revision| *revision.meta.name != *history.present && !used(&revision.meta.name))
        .collect();
    let surplus = idle.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    idle.into_iter().take(surplus).map(|revision| Write::delete(KIND, &revision.meta)).collect()
}
