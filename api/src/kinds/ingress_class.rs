//! IngressClass: who serves an Ingress.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Generation, Kind, Scope};
use crate::meta;
use crate::name;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::Value;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "networking.k8s.io",
    version: "v1",
    kind: "IngressClass",
    plural: "ingressclasses",
    singular: "ingressclass",
    scope: Scope::Cluster,
    schema: "io.k8s.api.networking.v1.IngressClass",
    generation: Generation::Spec,
    columns: &[
        Column::NAME,
        Column::new("Controller", "string", "Who serves Ingresses of this class."),
        Column::new("Parameters", "string", "Its parameters."),
        Column::AGE,
    ],
    row,
    defaults,
    checks,
    update_checks,
    ..Kind::PLAIN
};

/// The annotation of the class that Ingresses without one get.
pub const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

fn row(class: &Value, now: Timestamp) -> Vec<Value> {
    let parameters = match meta::at(class, &["spec", "parameters"]) {
        Some(parameters) => {
            let text = |field: &str| meta::text(parameters, &[field]);
            let group =
                if text("apiGroup").is_empty() { String::new() } else { format!(".{}", text("apiGroup")) };
            format!("{}{group}/{}", text("kind"), text("name"))
        }
        None => "<none>".to_owned(),
    };
    vec![
        meta::name(class).into(),
        meta::text(class, &["spec", "controller"]).into(),
        parameters.into(),
        time::age(meta::creation_timestamp(class), now).into(),
    ]
}

fn defaults(class: &mut Value) {
    if let Some(parameters) =
        fill::there(class, "spec").and_then(|spec| fill::there(spec, "parameters")).filter(|p| p.is_object())
    {
        fill::absent(parameters, "scope", "Cluster");
    }
}

fn checks(class: &At<'_>, errors: &mut Errors) {
    let controller = class.get("spec").get("controller");
    if controller.text().len() > 250 {
        errors.push(FieldError::too_long(&controller.path, 250));
    }
    if validate::required(&controller, "", errors) && !controller.text().contains('/') {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.push(FieldError::invalid(&controller.path, controller.text(), why));
    }
    let parameters = class.get("spec").get("parameters");
    if parameters.is_set() {
        self::parameters(&parameters, errors);
    }
}

fn parameters(parameters: &At<'_>, errors: &mut Errors) {
    validate::optional_name(&parameters.get("apiGroup"), name::dns1123_subdomain, errors);
    for (field, detail) in [("kind", "kind is required"), ("name", "name is required")] {
        let field = parameters.get(field);
        if validate::required(&field, detail, errors) {
            validate::follows(&field, name::path_segment, errors);
        }
    }
    let (scope, namespace) = (parameters.get("scope"), parameters.get("namespace"));
    validate::one_of(&scope, &["Cluster", "Namespace"], errors);
    match (scope.text(), namespace.is_set()) {
        ("Namespace", true) => validate::follows(&namespace, name::dns1123_label, errors),
        ("Namespace", false) => {
            let detail = "`parameters.scope` is set to 'Namespace'";
            errors.push(FieldError::required(&namespace.path, detail));
        }
        ("Cluster", true) => {
            errors.push(FieldError::forbidden(&namespace.path, "`parameters.scope` is set to 'Cluster'"));
        }
        _ => {}
    }
}

fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (new, old) = (new.get("spec"), old.get("spec"));
    validate::immutable(&new.get("controller"), &old.get("controller"), errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_say_where_they_are() {
        let cases = [
            (json!({"kind": "A", "name": "b"}), ""),
            (
                json!({"kind": "A", "name": "b", "scope": "Namespace"}),
                "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
            ),
            (
                json!({"kind": "A", "name": "b", "namespace": "c"}),
                "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'",
            ),
            (json!({"kind": "A"}), "spec.parameters.name: Required value: name is required"),
            (
                json!({"kind": "A", "name": "b", "scope": "All"}),
                "spec.parameters.scope: Unsupported value: \"All\": supported values: \"Cluster\", \"Namespace\"",
            ),
        ];
        for (parameters, expected) in cases {
            let mut class =
                json!({"metadata": {"name": "a"}, "spec": {"controller": "a.b/c", "parameters": parameters}});
            KIND.default(&mut class);
            let found: Vec<String> = KIND.validate(&class).iter().map(ToString::to_string).collect();
            assert_eq!(found.join(""), expected);
        }
    }
}
