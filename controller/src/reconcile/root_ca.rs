//! The certificate of the cluster's authority, as a ConfigMap in every namespace.

use edge_api::kind::Kind;
use edge_api::kinds;
use serde_json::{Value, json};

use crate::mirror::{Delta, Detail, Name, ROOT_CA, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Plan, Write};

const KIND: &Kind = &kinds::config_map::KIND;

/// The table's entry. Its keys are namespaces.
pub const CONTROLLER: Controller =
    Controller { name: "root-ca-certificate-publisher", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, _: &World, wake: &mut dyn FnMut(Name)) {
    match &delta.detail {
        Detail::Namespace(_) => wake(delta.key.clone()),
        Detail::ConfigMap(_) if &*delta.key.name == ROOT_CA => wake(Name::new("", &delta.key.namespace)),
        _ => {}
    }
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let Some(namespace) = world.namespaces.at(key) else { return Plan::nothing() };
    if namespace.meta.deleting() {
        return Plan::nothing();
    }
    let data = json!({"ca.crt": world.settings.authority});
    let place = Name::new(&key.name, ROOT_CA);
    let Some(found) = world.config_maps.at(&place) else {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": {"name": ROOT_CA, "namespace": &*key.name},
        });
        return Plan::of(Write::create(KIND, place, map));
    };
    let mut tree: Value = found.tree();
    if tree["data"] == data || found.meta.deleting() {
        return Plan::nothing();
    }
    tree["data"] = data;
    Plan::of(Write::update(KIND, place, found.revision, tree))
}
