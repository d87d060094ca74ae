//! An APIService for every version of a group that definitions serve; it goes with the last of them.
//!
//! What somebody else says about who serves a version is left alone.

use edge_api::kind::Kind;
use edge_api::kinds::api_service::{self, AUTOMANAGED};

use crate::mirror::{Delta, Detail, Name, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Plan, Write};

const KIND: &Kind = &api_service::KIND;
/// The value of the mark of those that come and go with definitions.
const OURS: &str = "true";

/// The table's entry.
pub const CONTROLLER: Controller = Controller { name: "crd-autoregister", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, _: &World, wake: &mut dyn FnMut(Name)) {
    if let Detail::Definition((before, after)) = &delta.detail {
        for definition in before.iter().chain(after) {
            let spec = &definition.body.spec;
            spec.versions.iter().for_each(|version| wake(name(&spec.group, &version.name)));
        }
    }
    let gone = delta.after.is_none() && delta.before.is_some();
    if *delta.kind == *KIND && gone {
        wake(delta.key.clone());
    }
}

fn name(group: &str, version: &str) -> Name {
    Name::new("", &format!("{version}.{group}"))
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let Some((version, group)) = key.name.split_once('.') else { return Plan::nothing() };
    let of_group = world.definitions.all().filter(|definition| definition.body.spec.group == group);
    let serves = of_group.flat_map(|definition| &definition.body.spec.versions);
    let is_served = serves.filter(|one| one.served).any(|one| one.name == version);
    match (world.found(KIND, key), is_served) {
        (None, true) => {
            Plan::of(Write::create(KIND, key.clone(), api_service::of_definitions(group, version)))
        }
        (Some(service), false) if service.labels.get(AUTOMANAGED).is_some_and(|mark| mark == OURS) => {
            Plan::of(Write::delete(KIND, service))
        }
        _ => Plan::nothing(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use edge_api::meta;
    use edge_api::time::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::reconcile::Act;
    use crate::reconcile::ledger::Ledger;

    fn definition(served: bool) -> Value {
        let version =
            |name: &str, served: bool| json!({"name": name, "served": served, "storage": name == "v1"});
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com", "uid": "w"},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
                "versions": [version("v1", true), version("v1beta1", served)]},
        })
    }

    fn planned(objects: &[Value], key: &str) -> Option<Act> {
        let world = Ledger::with(Timestamp::from_seconds(0), objects).world();
        let plan = reconcile(&Name::new("", key), &world);
        plan.writes().next().map(|write| write.act.clone())
    }

    #[test]
    fn what_is_served_is_registered() {
        let Some(Act::Create(mut service)) = planned(&[definition(true)], "v1beta1.example.com") else {
            panic!()
        };
        assert_eq!(
            service["spec"],
            json!({"group": "example.com", "version": "v1beta1",
            "groupPriorityMinimum": 1000, "versionPriority": 100})
        );
        assert_eq!(planned(&[definition(false)], "v1beta1.example.com"), None);
        meta::set(&mut service, "uid", "s");
        assert_eq!(planned(&[definition(true), service.clone()], "v1beta1.example.com"), None);
        let gone = planned(&[definition(false), service.clone()], "v1beta1.example.com");
        assert!(matches!(gone, Some(Act::Delete { .. })));
        service["metadata"]["labels"] = json!({});
        assert_eq!(planned(&[service], "v1beta1.example.com"), None, "somebody else's");
    }

    #[test]
    fn a_change_of_a_definition_concerns_its_versions() {
        let mut world = World::default();
        let bytes = bytes::Bytes::from(definition(true).to_string());
        let key = "/apiextensions.k8s.io/customresourcedefinitions//widgets.example.com";
        let delta = world.apply(key, 1, Some(&bytes)).unwrap();
        let mut woken = Vec::new();
        wakes(&delta, &world, &mut |name| woken.push(name.to_string()));
        assert_eq!(woken, ["v1.example.com", "v1beta1.example.com"]);
    }
}
