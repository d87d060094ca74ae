//! The ReplicaSet of a template: how it is named, made, numbered and kept like its Deployment.

use edge_api::rollout;
use serde_json::{Value, json};

use crate::mirror::{LAST_APPLIED, Name, Object, ReplicaSet, TEMPLATE_HASH};
use crate::reconcile::deployment::{
    DESIRED, KIND, MAXIMUM, REVISION, REVISION_HISTORY, SET, View, annotate, note_sizes, revision,
};
use crate::reconcile::ownership::{reference, safe_letters};
use crate::reconcile::plan::{Note, Write};

/// Annotations that belong to one object and are not copied from Deployment to ReplicaSet.
const OWN: [&str; 10] = [
    LAST_APPLIED,
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
    rollout::COMPLETE_TEMPLATE,
    rollout::REFUSED_TEMPLATE,
    rollout::RESTORED_TEMPLATE,
    rollout::CONFIG_DIGEST,
];

/// The number of the present template: above all others.
pub fn next_revision(view: &View<'_>) -> i64 {
    view.old.iter().map(|set| revision(set)).max().unwrap_or(0) + 1
}

/// How a ReplicaSet for the present template would be named; the name is taken if another template has the same hash.
pub fn new_name(view: &View<'_>) -> Name {
    let meta = &view.deployment.meta;
    Name::new(&meta.namespace, &format!("{}-{}", meta.name, hash(view)))
}

/// What tells the ReplicaSet of the present template and its Pods apart, if there is none yet.
pub fn hash(view: &View<'_>) -> String {
    let body = &view.deployment.body;
    let mut bytes = body.template.to_le_bytes().to_vec();
    if body.collision_count > 0 {
        bytes.extend(body.collision_count.to_le_bytes());
    }
    let hash =
        bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    safe_letters(&hash.to_string())
}

/// Makes the ReplicaSet of the present template with so many replicas.
pub fn create(view: &View<'_>, replicas: i64) -> Write {
    let (deployment, key, hash) = (view.deployment, new_name(view), hash(view));
    let tree = deployment.tree();
    let mut template = tree.pointer("/spec/template").cloned().unwrap_or_default();
    template["metadata"]["labels"][TEMPLATE_HASH] = json!(hash);
    let mut selector = tree.pointer("/spec/selector").cloned().unwrap_or_default();
    selector["matchLabels"][TEMPLATE_HASH] = json!(hash);
    let mut set = json!({
        "apiVersion": SET.api_version(),
        "kind": SET.kind,
        "metadata": {
            "name": &*key.name,
            "namespace": &*key.namespace,
            "labels": template["metadata"]["labels"],
            "annotations": {},
            "ownerReferences": [reference(KIND, &deployment.meta)],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    });
    if deployment.body.min_ready_seconds > 0 {
        set["spec"]["minReadySeconds"] = json!(deployment.body.min_ready_seconds);
    }
    copy_annotations(&mut set, view);
    annotate(&mut set, REVISION, &next_revision(view).to_string());
    note_sizes(&mut set, view);
    let write = Write::create(SET, key.clone(), set);
    if replicas == 0 {
        return write;
    }
    let message = format!("Scaled up replica set {} from 0 to {replicas}", key.name);
    write.saying(Note::normal(KIND, &deployment.meta, "ScalingReplicaSet", message))
}

/// What must change on the existing ReplicaSet of the present template: its number after an undo, copied annotations,
/// minReadySeconds.
pub fn refresh(view: &View<'_>, set: &Object<ReplicaSet>) -> Option<Write> {
    let mut tree = set.tree();
    let mut changed = copy_annotations(&mut tree, view);
    let (before, next) = (revision(set), next_revision(view));
    if before < next {
        if before > 0 {
            let history = set.meta.annotations.get(REVISION_HISTORY);
            let history = history.map_or(before.to_string(), |all| format!("{all},{before}"));
            annotate(&mut tree, REVISION_HISTORY, &history);
        }
        changed |= annotate(&mut tree, REVISION, &next.to_string());
    }
    let seconds = view.deployment.body.min_ready_seconds;
    if set.body.min_ready_seconds != seconds {
        tree["spec"]["minReadySeconds"] = json!(seconds);
        changed = true;
    }
    changed.then(|| Write::update(SET, set.key(), set.revision, tree))
}

fn copy_annotations(tree: &mut Value, view: &View<'_>) -> bool {
    let all = view.deployment.meta.annotations.iter().filter(|(key, _)| !OWN.contains(&key.as_str()));
    let mut changed = false;
    for (key, value) in all {
        changed |= annotate(tree, key, value);
    }
    changed
}
