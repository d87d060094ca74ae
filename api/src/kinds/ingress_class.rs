//! IngressClass: who serves an Ingress.

use crate::error::FieldError;
use crate::kind::{Column, Generation, Kind, Scope};
use crate::meta;
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

fn checks(class: &At<'_>, errors: &mut Errors) {
    let controller = class.get("spec").get("controller");
    if controller.text().len() > 250 {
        errors.push(FieldError::too_long(&controller.path, 250));
    }
    if validate::required(&controller, "", errors) && !controller.text().contains('/') {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.push(FieldError::invalid(&controller.path, controller.text(), why));
    }
}

fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (new, old) = (new.get("spec"), old.get("spec"));
    validate::immutable(&new.get("controller"), &old.get("controller"), errors);
}
