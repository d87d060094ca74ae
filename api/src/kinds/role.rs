//! Role: what may be done in a namespace.

use crate::kind::Kind;
use crate::kinds::rbac::{self, Reach};
use crate::name::NameRule;
use crate::validate::{At, Errors};

/// The table entry.
pub static KIND: Kind = Kind {
    group: rbac::GROUP,
    version: "v1",
    kind: "Role",
    plural: "roles",
    singular: "role",
    schema: "io.k8s.api.rbac.v1.Role",
    name_rule: NameRule::PathSegment,
    checks,
    ..Kind::PLAIN
};

fn checks(role: &At<'_>, errors: &mut Errors) {
    rbac::rules(role, Reach::Namespace, errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn found(rules: Value) -> Vec<String> {
        let role = json!({"metadata": {"name": "a:b", "namespace": "n"}, "rules": rules});
        KIND.validate(&role).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rules_say_what_on_what() {
        let good = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log", "*"]}]);
        assert_eq!(found(good), Vec::<String>::new());
        assert_eq!(
            found(json!([{}])),
            [
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[0].resources: Required value: resource rules must supply at least one resource",
            ]
        );
        assert_eq!(
            found(json!([{"verbs": ["get"], "nonResourceURLs": ["/a"], "apiGroups": [""]}])),
            [
                "rules[0].nonResourceURLs: Invalid value: [\"/a\"]: namespaced rules cannot apply to non-resource URLs",
                "rules[0].nonResourceURLs: Invalid value: [\"/a\"]: rules cannot apply to both regular resources and \
                 non-resource URLs",
            ]
        );
    }
}
