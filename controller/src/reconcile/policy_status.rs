//! ValidatingAdmissionPolicies: what is wrong with their expressions, told once for each of their generations.

use std::sync::Arc;

use edge_api::kind::Kind;
use edge_api::kinds::custom_resource_definition::Definition;
use edge_api::kinds::validating_admission_policy;
use edge_api::meta::number;
use edge_api::type_check;
use serde_json::{Value, json};

use crate::mirror::{Delta, Name, Object, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Plan, Write};

const KIND: &Kind = &validating_admission_policy::KIND;

/// The table's entry.
pub const CONTROLLER: Controller =
    Controller { name: "validatingadmissionpolicy-status", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, _: &World, wake: &mut dyn FnMut(Name)) {
    if *delta.kind == *KIND && delta.after.is_some() {
        wake(delta.key.clone());
    }
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let Some(policy) = world.policies.at(key) else { return Plan::nothing() };
    let mut tree = policy.tree();
    let generation = policy.meta.generation;
    if number(&tree, &["status", "observedGeneration"]) == Some(generation) {
        return Plan::nothing();
    }
    let groups = type_check::groups(&tree);
    let concerned =
        |definition: &&Arc<Object<Definition>>| groups.contains(&definition.body.spec.group.as_str());
    let definitions: Vec<Value> =
        world.definitions.all().filter(concerned).map(|definition| definition.tree()).collect();
    let warnings = type_check::warnings(&tree, &definitions);
    let found = if warnings.is_empty() { json!({}) } else { json!({"expressionWarnings": warnings}) };
    tree["status"] = json!({"observedGeneration": generation, "typeChecking": found});
    Plan::of(Write::status(KIND, policy.key(), policy.revision, tree))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use edge_api::time::Timestamp;

    use super::*;
    use crate::reconcile::Act;
    use crate::reconcile::ledger::Ledger;

    fn planned(policy: &Value) -> Option<Value> {
        let world = Ledger::with(Timestamp::from_seconds(0), std::slice::from_ref(policy)).world();
        let plan = reconcile(&Name::new("", "p"), &world);
        plan.writes().next().map(|write| match &write.act {
            Act::Status(object) => object.clone(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn expressions_about_custom_resources_are_checked() {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "rooms.example.com", "uid": "d"},
            "spec": {"group": "example.com", "names": {"kind": "Room", "plural": "rooms"}, "versions": [
                {"name": "v1", "served": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
        });
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "p", "uid": "p", "generation": 1},
            "spec": {
                "matchConstraints": {"resourceRules": [{"apiGroups": ["example.com"], "apiVersions": ["v1"],
                    "resources": ["rooms"], "operations": ["*"]}]},
                "validations": [{"expression": "object.spec == ''"}]},
        });
        let world = Ledger::with(Timestamp::from_seconds(0), &[definition, policy]).world();
        let plan = reconcile(&Name::new("", "p"), &world);
        let Act::Status(checked) = &plan.writes().next().unwrap().act else { panic!("{plan:?}") };
        let warning = checked["status"]["typeChecking"]["expressionWarnings"][0]["warning"].as_str().unwrap();
        assert!(
            warning.starts_with("example.com/v1, Kind=Room: ERROR: <input>:1:7: undefined field 'spec'"),
            "{warning}"
        );
    }

    #[test]
    fn expressions_are_checked_once_a_generation() {
        let mut policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "p", "uid": "p", "generation": 1},
            "spec": {
                "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                    "resources": ["pods"], "operations": ["*"]}]},
                "validations": [{"expression": "object.spec.node == ''"}]},
        });
        let checked = planned(&policy).unwrap();
        let warning = &checked["status"]["typeChecking"]["expressionWarnings"][0];
        assert_eq!(warning["fieldRef"], "spec.validations[0].expression");
        assert!(
            warning["warning"]
                .as_str()
                .unwrap()
                .starts_with("v1, Kind=Pod: ERROR: <input>:1:12: undefined field")
        );
        policy = checked;
        assert_eq!(planned(&policy), None);
        policy["metadata"]["generation"] = json!(2);
        policy["spec"]["validations"][0]["expression"] = json!("object.spec.nodeName == ''");
        let status = planned(&policy).unwrap()["status"].clone();
        assert_eq!(status, json!({"observedGeneration": 2, "typeChecking": {}}));
    }
}
