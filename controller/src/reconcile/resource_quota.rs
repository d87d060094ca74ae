//! What the quotas of a namespace are used, counted whole: when a quota is new, when it limits something else, and when
//! this process starts. In between admission keeps the account, write by write.

use edge_api::kind::Kind;
use edge_api::kinds;
use edge_api::quota::{self, Objects};
use serde_json::json;

use crate::mirror::{Delta, Detail, Name, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Plan, Write};

const KIND: &Kind = &kinds::resource_quota::KIND;

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
    let mut tree = quota.tree();
    let used = quota::used(&tree, |group, plural| objects(world, &key.namespace, group, plural));
    let status = json!({"hard": quota.body.hard, "used": used});
    if tree["status"] == status {
        return Plan::nothing();
    }
    tree["status"] = status;
    Plan::of(Write::status(KIND, key.clone(), quota.revision, tree))
}

fn objects(world: &World, namespace: &str, group: &str, plural: &str) -> Objects {
    match (group, plural) {
        ("", "pods") => Objects::All(world.pods.in_namespace(namespace).map(|pod| pod.tree()).collect()),
        ("", "services") => Objects::All(world.services.in_namespace(namespace).map(|s| s.tree()).collect()),
        ("", "persistentvolumeclaims") => {
            Objects::All(world.claims.in_namespace(namespace).map(|claim| claim.tree()).collect())
        }
        ("", "events") => Objects::Number(world.events.in_namespace(namespace).count()),
        _ => {
            let all = world.graph.in_namespace(namespace).into_iter();
            Objects::Number(
                all.filter(|entry| entry.kind.plural == plural && entry.kind.group == group).count(),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use edge_api::time::Timestamp;
    use serde_json::Value;

    use super::*;
    use crate::reconcile::Act;
    use crate::reconcile::ledger::Ledger;

    fn object(kind: &str, name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "n"}})
    }

    fn status(quota: &Value) -> Option<Value> {
        let mut pod = object("Pod", "p");
        pod["spec"] = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "250m"}}}]});
        let mut ended = object("Pod", "e");
        ended["status"] = json!({"phase": "Failed"});
        let all = [
            quota.clone(),
            pod,
            ended,
            object("ConfigMap", "a"),
            object("ConfigMap", "b"),
            object("Event", "x"),
        ];
        let plan = reconcile(&Name::new("n", "q"), &Ledger::with(Timestamp::from_seconds(0), &all).world());
        plan.writes().next().map(|write| match &write.act {
            Act::Status(quota) => quota["status"].clone(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn everything_in_the_namespace_is_counted() {
        let mut quota = object("ResourceQuota", "q");
        let hard = json!({"pods": "5", "requests.cpu": "1", "configmaps": "9", "count/events": "9", "count/pods": "9"});
        quota["spec"] = json!({"hard": hard});
        let used = json!({"pods": "1", "requests.cpu": "250m", "configmaps": "2", "count/events": "1", "count/pods": "2"});
        let counted = status(&quota).unwrap();
        assert_eq!(counted, json!({"hard": hard, "used": used}));
        quota["status"] = counted;
        assert_eq!(status(&quota), None);
    }
}
