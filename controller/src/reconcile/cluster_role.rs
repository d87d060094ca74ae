//! ClusterRoles that are made of others: their rules are those of all roles that their selectors match.

use edge_api::kind::Kind;
use edge_api::kinds;
use edge_api::meta;
use serde_json::Value;

use crate::mirror::{ClusterRole, Delta, Detail, Meta, Name, Object, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Plan, Write};

const KIND: &Kind = &kinds::cluster_role::KIND;

/// The table's entry. Its keys are ClusterRoles.
pub const CONTROLLER: Controller =
    Controller { name: "clusterrole-aggregation-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    let Detail::ClusterRole(_) = &delta.detail else { return };
    let changed: Vec<&Meta> =
        [&delta.before, &delta.after].into_iter().flatten().map(AsRef::as_ref).collect();
    for role in world.cluster_roles.all().filter(|role| !role.body.parts.is_empty()) {
        if role.meta.name == delta.key.name || changed.iter().any(|meta| is_part(role, meta)) {
            wake(role.key());
        }
    }
}

fn is_part(role: &Object<ClusterRole>, other: &Meta) -> bool {
    role.meta.name != other.name && role.body.parts.iter().any(|selector| selector.matches(&other.labels))
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let Some(role) = world.cluster_roles.at(key) else { return Plan::nothing() };
    if role.body.parts.is_empty() || role.meta.deleting() {
        return Plan::nothing();
    }
    let mut rules: Vec<Value> = Vec::new();
    for part in world.cluster_roles.in_namespace("").filter(|other| is_part(role, &other.meta)) {
        for rule in meta::items(&part.tree(), &["rules"]) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    let mut tree = role.tree();
    if meta::items(&tree, &["rules"]) == rules {
        return Plan::nothing();
    }
    tree["rules"] = rules.into();
    Plan::of(Write::update(KIND, key.clone(), role.revision, tree))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::{reconcile, wakes};
    use crate::mirror::{Delta, Name, World};
    use crate::reconcile::plan::Act;

    fn put(world: &mut World, revision: u64, name: &str, label: &str, rest: Value) -> Delta {
        let mut role = json!({"metadata": {"name": name, "uid": name, "labels": {label: "true"}}});
        for (field, value) in rest.as_object().unwrap() {
            role[field] = value.clone();
        }
        let bytes = Bytes::from(role.to_string());
        let key = format!("/rbac.authorization.k8s.io/clusterroles//{name}");
        world.apply(key, revision, Some(&bytes)).unwrap()
    }

    fn woken(delta: &Delta, world: &World) -> Vec<String> {
        let mut names = Vec::new();
        wakes(delta, world, &mut |name| names.push(name.to_string()));
        names
    }

    #[test]
    fn a_role_is_the_sum_of_its_parts() {
        let mut world = World::default();
        let parts =
            json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to-all": "true"}}]}});
        let delta = put(&mut world, 1, "all", "to-all", parts);
        assert_eq!(woken(&delta, &world), ["all"]);
        assert!(reconcile(&Name::new("", "all"), &world).is_idle());
        let (read, write) = (json!({"verbs": ["get"]}), json!({"verbs": ["update"]}));
        let delta = put(&mut world, 2, "writers", "to-all", json!({"rules": [read, write]}));
        assert_eq!(woken(&delta, &world), ["all"]);
        put(&mut world, 3, "readers", "to-all", json!({"rules": [read]}));
        let delta = put(&mut world, 4, "others", "other", json!({"rules": [{"verbs": ["watch"]}]}));
        assert!(woken(&delta, &world).is_empty());
        let plan = reconcile(&Name::new("", "all"), &world);
        let writes: Vec<_> = plan.writes().collect();
        let Act::Update(role) = &writes[0].act else { panic!("{writes:?}") };
        assert_eq!((writes.len(), &role["rules"]), (1, &json!([read, write])));
        let delta = put(&mut world, 5, "writers", "other", json!({"rules": [write]}));
        assert_eq!(woken(&delta, &world), ["all"], "what was a part and is none any more counts, too");
    }
}
