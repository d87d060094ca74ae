//! RuntimeClass: with what a Pod is run.

use crate::fill;
use crate::kind::{Column, Kind, Scope};
use crate::meta;
use crate::name;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::Value;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "node.k8s.io",
    version: "v1",
    kind: "RuntimeClass",
    plural: "runtimeclasses",
    singular: "runtimeclass",
    scope: Scope::Cluster,
    schema: "io.k8s.api.node.v1.RuntimeClass",
    columns: &[Column::NAME, Column::new("Handler", "string", "What runs its pods."), Column::AGE],
    row,
    defaults,
    checks,
    update_checks,
    ..Kind::PLAIN
};

fn row(class: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(class).into(),
        meta::text(class, &["handler"]).into(),
        time::age(meta::creation_timestamp(class), now).into(),
    ]
}

fn defaults(class: &mut Value) {
    if let Some(overhead) = fill::there(class, "overhead") {
        fill::quantities(overhead, "podFixed");
    }
}

fn checks(class: &At<'_>, errors: &mut Errors) {
    validate::follows(&class.get("handler"), name::dns1123_label, errors);
    for (resource, amount) in class.get("overhead").get("podFixed").entries() {
        if let Err(why) = name::label_key(resource) {
            errors.push(crate::error::FieldError::invalid(&amount.path, resource, &why));
        }
        validate::quantity(&amount, errors);
    }
    validate::labels(&class.get("scheduling").get("nodeSelector"), errors);
}

fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    validate::immutable(&new.get("handler"), &old.get("handler"), errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;
    use serde_json::json;

    #[test]
    fn the_handler_is_a_label_and_stays() {
        let class = |handler: &str| json!({"metadata": {"name": "a"}, "handler": handler});
        assert_eq!(KIND.validate(&class("wasm")), []);
        assert!(
            KIND.validate(&class(""))[0].to_string().starts_with("handler: Invalid value: \"\": a lowercase")
        );
        let found = KIND.validate_update(&class("b"), &class("a"), Target::Main);
        assert_eq!(found[0].to_string(), "handler: Invalid value: \"b\": field is immutable");
    }
}
