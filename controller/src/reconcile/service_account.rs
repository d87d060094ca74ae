//! ServiceAccounts: every namespace has one named `default`.

use edge_api::kind::Kind;
use edge_api::kinds;
use serde_json::json;

use crate::mirror::{Delta, Detail, Name, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Plan, Write};

const KIND: &Kind = &kinds::service_account::KIND;
const DEFAULT: &str = "default";

/// The table's entry. Its keys are namespaces.
pub const CONTROLLER: Controller =
    Controller { name: "service-account-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, _: &World, wake: &mut dyn FnMut(Name)) {
    match &delta.detail {
        Detail::Namespace(_) => wake(delta.key.clone()),
        Detail::ServiceAccount((_, None)) if &*delta.key.name == DEFAULT => {
            wake(Name::new("", &delta.key.namespace))
        }
        _ => {}
    }
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let Some(namespace) = world.namespaces.at(key) else { return Plan::nothing() };
    if namespace.meta.deleting() || world.service_accounts.get(&key.name, DEFAULT).is_some() {
        return Plan::nothing();
    }
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": DEFAULT, "namespace": &*key.name},
    });
    Plan::of(Write::create(KIND, Name::new(&key.name, DEFAULT), account))
}
