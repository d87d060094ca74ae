//! Objects that every cluster has from the beginning, and again if somebody deletes them, and that stand for
//! themselves: the system's PriorityClasses, the StorageClass `local`, an APIService for every version served.
//!
//! One key for all of them: nothing happens to them but that somebody deletes one. What is there is left as it is, so
//! that an administrator may change what the kind lets him change.

use std::sync::LazyLock;

use edge_api::kind::Kind;
use edge_api::kinds::{KINDS, api_service, priority_class, storage_class};
use edge_api::meta;
use serde_json::Value;

use crate::mirror::{Delta, Name, World};
use crate::reconcile::{Controller, Plan, Write};

/// The table's entry. Its one key has no name.
pub const CONTROLLER: Controller =
    Controller { name: "bootstrap-objects", begins: &[("", "")], wakes, reconcile };

/// Every object with its kind.
static OBJECTS: LazyLock<Vec<(&'static Kind, Value)>> = LazyLock::new(|| {
    let classes = priority_class::SYSTEM.iter().filter_map(|(name, ..)| priority_class::system(name));
    let mut all: Vec<(&Kind, Value)> = classes.map(|class| (&priority_class::KIND, class)).collect();
    all.push((&storage_class::KIND, storage_class::local()));
    all.extend(api_services().map(|service| (&api_service::KIND, service)));
    all
});

/// The APIServices of all that is served; as in Kubernetes their own group has none.
fn api_services() -> impl Iterator<Item = Value> {
    let mut served: Vec<(&str, &str)> = KINDS.iter().map(|kind| (kind.group, kind.version)).collect();
    served.retain(|(group, _)| *group != api_service::KIND.group);
    served.sort_by(|(a, v), (b, w)| a.cmp(b).then_with(|| meta::prefer(v, w)));
    served.dedup();
    let groups = served.clone();
    let place = move |group: &str, version: &str| {
        groups.iter().filter(|(g, _)| *g == group).position(|(_, v)| *v == version).unwrap_or(0)
    };
    served.into_iter().map(move |(group, version)| api_service::local(group, version, place(group, version)))
}

fn wakes(delta: &Delta, _: &World, wake: &mut dyn FnMut(Name)) {
    let ours =
        || OBJECTS.iter().any(|(kind, object)| *kind == delta.kind && *meta::name(object) == *delta.key.name);
    if delta.after.is_none() && delta.key.namespace.is_empty() && ours() {
        wake(Name::default());
    }
}

fn reconcile(_: &Name, world: &World) -> Plan {
    let missing = OBJECTS.iter().filter_map(|(kind, object)| {
        let key = Name::new("", meta::name(object));
        world.found(kind, &key).is_none().then(|| Write::create(kind, key, object.clone()))
    });
    let mut plan = Plan::nothing();
    plan.together(missing.collect());
    plan
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::reconcile::Act;
    use crate::registry::encode;

    #[test]
    fn what_is_missing_is_made_and_what_is_there_is_left() {
        let mut world = World::default();
        let plan = reconcile(&Name::default(), &world);
        let names: Vec<String> = plan.writes().map(|write| write.key.to_string()).collect();
        for name in [
            "system-node-critical",
            "system-cluster-critical",
            "local",
            "v1.",
            "v1.apps",
            "v1beta2.resource.k8s.io",
        ] {
            assert!(names.contains(&name.to_owned()), "{name} is among {names:?}");
        }
        assert!(!names.iter().any(|name| name.ends_with(".apiregistration.k8s.io")));
        for (revision, write) in plan.writes().enumerate() {
            let Act::Create(object) = &write.act else { panic!("{write:?}") };
            let mut object = object.clone();
            meta::set(&mut object, "creationTimestamp", "2026-01-01T00:00:00Z");
            meta::set(&mut object, "uid", format!("{revision}"));
            write.kind.default(&mut object);
            write.kind.prepare_create(&mut object);
            assert_eq!(write.kind.validate(&object), []);
            let key = write.kind.key("", &write.key.name);
            world.apply(key, 1 + u64::try_from(revision).unwrap(), Some(&encode(object)));
        }
        assert!(reconcile(&Name::default(), &world).is_idle());
        let gone = world.apply("/storage.k8s.io/storageclasses//local", 1000, None).unwrap();
        let mut woken = Vec::new();
        wakes(&gone, &world, &mut |key| woken.push(key));
        assert_eq!(woken, [Name::default()]);
        assert_eq!(reconcile(&Name::default(), &world).writes().count(), 1);
    }
}
