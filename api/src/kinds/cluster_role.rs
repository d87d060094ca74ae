//! ClusterRole: what may be done, in the cluster or wherever a RoleBinding says.

use crate::error::FieldError;
use crate::kind::{Kind, Scope};
use crate::kinds::rbac::{self, Reach};
use crate::name::NameRule;
use crate::validate::{self, At, Errors};

/// The table entry.
pub static KIND: Kind = Kind {
    group: rbac::GROUP,
    version: "v1",
    kind: "ClusterRole",
    plural: "clusterroles",
    singular: "clusterrole",
    scope: Scope::Cluster,
    schema: "io.k8s.api.rbac.v1.ClusterRole",
    name_rule: NameRule::PathSegment,
    checks,
    ..Kind::PLAIN
};

fn checks(role: &At<'_>, errors: &mut Errors) {
    rbac::rules(role, Reach::Cluster, errors);
    let aggregation = role.get("aggregationRule");
    if !aggregation.is_set() {
        return;
    }
    let selectors = aggregation.get("clusterRoleSelectors");
    if selectors.is_empty() {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.push(FieldError::required(&selectors.path, detail));
    }
    for selector in selectors.items() {
        validate::label_selector(&selector, errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn found(role: Value) -> Vec<String> {
        KIND.validate(&role).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn paths_and_aggregation_are_of_the_cluster() {
        let metadata = json!({"name": "system:a"});
        let paths = json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz/*"]}]);
        let selectors = json!([{"matchLabels": {"a": "b"}}]);
        let good = json!({"metadata": metadata, "rules": paths,
            "aggregationRule": {"clusterRoleSelectors": selectors}});
        assert_eq!(found(good), Vec::<String>::new());
        assert_eq!(
            found(json!({"metadata": metadata, "aggregationRule": {}})),
            [
                "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if \
                 aggregationRule is non-nil"
            ]
        );
    }
}
