//! ClusterRoleBinding: who has a role everywhere.

use crate::kind::{Kind, Scope};
use crate::kinds::rbac::{self, Reach};
use crate::kinds::role_binding;
use crate::name::NameRule;
use crate::validate::{At, Errors};

/// The table entry.
pub static KIND: Kind = Kind {
    group: rbac::GROUP,
    version: "v1",
    kind: "ClusterRoleBinding",
    plural: "clusterrolebindings",
    singular: "clusterrolebinding",
    scope: Scope::Cluster,
    schema: "io.k8s.api.rbac.v1.ClusterRoleBinding",
    name_rule: NameRule::PathSegment,
    columns: role_binding::COLUMNS,
    row: role_binding::row,
    defaults: rbac::binding_defaults,
    checks,
    update_checks: rbac::same_role,
    ..Kind::PLAIN
};

fn checks(binding: &At<'_>, errors: &mut Errors) {
    rbac::binding(binding, &["ClusterRole"], Reach::Cluster, errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn accounts_say_their_namespace() {
        let mut binding = json!({"metadata": {"name": "a"}, "roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "name": "s"}]});
        KIND.default(&mut binding);
        let found: Vec<String> = KIND.validate(&binding).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"",
                "subjects[0].namespace: Required value",
            ]
        );
    }
}
