//! RoleBinding: who has a role in a namespace.

use crate::kind::{Column, Kind};
use crate::kinds::rbac::{self, Reach};
use crate::meta;
use crate::name::NameRule;
use crate::time::{self, Timestamp};
use crate::validate::{At, Errors};
use serde_json::Value;

/// The table entry.
pub static KIND: Kind = Kind {
    group: rbac::GROUP,
    version: "v1",
    kind: "RoleBinding",
    plural: "rolebindings",
    singular: "rolebinding",
    schema: "io.k8s.api.rbac.v1.RoleBinding",
    name_rule: NameRule::PathSegment,
    columns: COLUMNS,
    row,
    defaults: rbac::binding_defaults,
    checks,
    update_checks: rbac::same_role,
    ..Kind::PLAIN
};

/// The columns of bindings of either kind.
pub(super) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new("Role", "string", "The role that is given."),
    Column::AGE,
    Column::wide("Users", "string", "The users who have it."),
    Column::wide("Groups", "string", "The groups whose members have it."),
    Column::wide("ServiceAccounts", "string", "The accounts that have it."),
];

/// The cells of a binding of either kind.
pub(super) fn row(binding: &Value, now: Timestamp) -> Vec<Value> {
    let (role, subjects) = rbac::binding_cells(binding);
    let age = time::age(meta::creation_timestamp(binding), now);
    let mut cells = vec![meta::name(binding).into(), role, age.into()];
    cells.extend(subjects);
    cells
}

fn checks(binding: &At<'_>, errors: &mut Errors) {
    rbac::binding(binding, &["Role", "ClusterRole"], Reach::Namespace, errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;
    use serde_json::json;

    fn binding() -> Value {
        let mut binding = json!({
            "metadata": {"name": "a", "namespace": "n"},
            "roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "User", "name": "u"}, {"kind": "Group", "name": "g"},
                {"kind": "ServiceAccount", "name": "s", "namespace": "m"}],
        });
        KIND.default(&mut binding);
        binding
    }

    fn found(errors: &[crate::error::FieldError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn subjects_and_role_are_of_their_groups() {
        let good = binding();
        assert_eq!(good["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
        assert_eq!(good["subjects"][1]["apiGroup"], "rbac.authorization.k8s.io");
        assert_eq!(good["subjects"][2].get("apiGroup"), None);
        assert_eq!(KIND.validate(&good), []);
        assert_eq!(row(&good, Timestamp::from_seconds(0))[1], "Role/r");
        assert_eq!(row(&good, Timestamp::from_seconds(0))[3..], ["u", "g", "m/s"]);
        let mut bad = good.clone();
        bad["roleRef"] = json!({"apiGroup": "x", "kind": "Pod", "name": ""});
        bad["subjects"] = json!([{"kind": "Robot", "name": "r"}, {"kind": "User", "apiGroup": "x"}]);
        assert_eq!(
            found(&KIND.validate(&bad)),
            [
                "roleRef.apiGroup: Unsupported value: \"x\": supported values: \"rbac.authorization.k8s.io\"",
                "roleRef.kind: Unsupported value: \"Pod\": supported values: \"ClusterRole\", \"Role\"",
                "roleRef.name: Required value",
                "subjects[0].kind: Unsupported value: \"Robot\": supported values: \"Group\", \"ServiceAccount\", \"User\"",
                "subjects[1].name: Required value",
                "subjects[1].apiGroup: Unsupported value: \"x\": supported values: \"rbac.authorization.k8s.io\"",
            ]
        );
    }

    #[test]
    fn the_role_stays() {
        let old = binding();
        let mut new = old.clone();
        new["roleRef"]["name"] = json!("other");
        assert_eq!(
            found(&KIND.validate_update(&new, &old, Target::Main)),
            [
                "roleRef: Invalid value: {\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"other\"}: \
                 cannot change roleRef"
            ]
        );
        new["roleRef"]["name"] = json!("r");
        new["subjects"] = json!([]);
        assert_eq!(KIND.validate_update(&new, &old, Target::Main), []);
    }
}
