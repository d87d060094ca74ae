//! What the quotas of a namespace are used, counted whole: when a quota is new, when it limits something else, and when
//! this process starts. In between admission keeps the account, write by write.

use edge_api::kinds;
use edge_api::quota::{self, Objects};
use serde_json::json;

use crate::mirror::{Delta, Detail, Name, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Plan, Write};

/// The table's entry.
pub const CONTROLLER: Controller =
    Controller { name: "resourcequota-controller", begins: &[], wakes, reconcile };

/// What admission changes in a status is no reason to count: an object that it was charged for may be on its way.
fn wakes(delta: &Delta, _: &World, wake: &mut dyn FnMut(Name)) {
    if let Detail::Quota((before, Some(quota))) = &delta.detail {
        let changed = before.as_ref().is_none_or(|before| before.body.hard != quota.body.hard);
        if changed || quota.body.hard != quota.body.counted {
            wake(delta.key.clone());
        }
    }
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let Some(quota) = world.quotas.at(key) else { return Plan::nothing() };
    let Some(kind) = kinds::by_resource("", "v1", "resourcequotas") else { return Plan::nothing() };
    let mut tree = quota.tree();
    let used = quota::used(&tree, |group, plural| objects(world, &key.namespace, group, plural));
    let status = json!({"hard": quota.body.hard, "used": used});
    if tree["status"] == status {
        return Plan::nothing();
    }
    tree["status"] = status;
    Plan::of(Write::status(kind, key.clone(), quota.revision, tree))
}

fn objects(world: &World, namespace: &str, group: &str, plural: &str) -> Objects {
    match (group, plural) {
        ("", "pods") => Objects::All(world.pods.in_namespace(namespace).map(|pod| pod.tree()).collect()),
        ("", "services") => Objects::All(world.services.in_namespace(namespace).map(|s| s.tree()).collect()),
        ("", "persistentvolumeclaims") => {
            Objects::All(world.claims.in_namespace(namespace).map(|claim| claim.tree()).collect())
        }
        ("", "events") => {
            Objects::Number(world.events.iter().filter(|(_, event)| &*event.namespace == namespace).count())
        }
        _ => {
            let all = world.graph.in_namespace(namespace);
            Objects::Number(
                all.filter(|entry| entry.kind.plural == plural && entry.kind.group == group).count(),
            )
        }
    }
}
