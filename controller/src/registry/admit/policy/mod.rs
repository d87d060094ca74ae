//! ValidatingAdmissionPolicy: rules in CEL that administrators write, and the bindings that put them in force.
//!
//! A policy is compiled once for each of its revisions. What its expressions cost is bounded; what cannot be evaluated
//! counts as the policy's `failurePolicy` says.

mod binding;
mod definition;

use std::sync::Arc;

use serde_json::Value;

use crate::registry::admit::cache::Cache;
use crate::registry::admit::expression::View;
use crate::registry::admit::policy::binding::Binding;
use crate::registry::admit::policy::definition::{Definition, Denial};
use crate::registry::admit::{Mutation, Plugin, Request, Validation};
use crate::registry::{ApiError, Cause, Reason};

/// Kinds that no policy is about: itself, and questions.
const EXEMPT: &[(&str, &[&str])] = &[
    (
        "admissionregistration.k8s.io",
        &[
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
        ],
    ),
    ("authentication.k8s.io", &["selfsubjectreviews", "tokenreviews"]),
    (
        "authorization.k8s.io",
        &[
            "localsubjectaccessreviews",
            "selfsubjectaccessreviews",
            "selfsubjectrulesreviews",
            "subjectaccessreviews",
        ],
    ),
];

/// The table's entry.
pub(super) const PLUGIN: Plugin = Plugin {
    name: "ValidatingAdmissionPolicy",
    concerns,
    mutate: Mutation::Never,
    validate: Validation::Now(validate),
};

/// Policies and bindings.
pub(super) struct Policies {
    definitions: Cache<Definition>,
    bindings: Cache<Binding>,
}

impl Default for Policies {
    fn default() -> Policies {
        Policies {
            definitions: Cache::new(
                "/admissionregistration.k8s.io/validatingadmissionpolicies/",
                Definition::of,
            ),
            bindings: Cache::new(
                "/admissionregistration.k8s.io/validatingadmissionpolicybindings/",
                Binding::of,
            ),
        }
    }
}

fn concerns(request: &Request<'_>) -> bool {
    let kind = request.kind();
    let exempt = |(group, plurals): &(&str, &[&str])| kind.group == *group && plurals.contains(&kind.plural);
    !EXEMPT.iter().any(exempt)
        && !request.registry.admission().policies.bindings.is_empty(request.registry.store())
}

fn validate(request: &Request<'_>, object: &Value) -> Result<(), ApiError> {
    let policies = &request.registry.admission().policies;
    let store = request.registry.store();
    let definitions = policies.definitions.current(store);
    let bindings = policies.bindings.current(store);
    let mut view = None;
    for definition in definitions.iter().filter(|definition| definition.concerns(request, object)) {
        let mut bound = bindings.iter().filter(|binding| binding.policy == definition.name).peekable();
        if bound.peek().is_none() {
            continue;
        }
        let view = view.get_or_insert_with(|| View::of(request, object));
        for binding in bound.filter(|binding| binding.concerns(request, object)) {
            enforce(request, definition, binding, view)?;
        }
    }
    Ok(())
}

fn enforce(
    request: &Request<'_>,
    definition: &Definition,
    binding: &Arc<Binding>,
    view: &View<'_>,
) -> Result<(), ApiError> {
    let denials = match binding.params(request, definition) {
        Ok(params) => params.iter().flat_map(|params| definition.judge(view, params)).collect(),
        Err(why) => definition.broken(format!("failed to configure binding: {why}")),
    };
    let (policy, name) = (&definition.name, &binding.name);
    if binding.warns {
        for Denial { message, .. } in &denials {
            request.cx.warnings.add(format!(
                "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{name}': {message}"
            ));
        }
    }
    match denials.into_iter().next().filter(|_| binding.denies) {
        Some(denial) => Err(refusal(request, policy, name, denial)),
        None => Ok(()),
    }
}

fn refusal(request: &Request<'_>, policy: &str, binding: &str, denial: Denial) -> ApiError {
    let told = format!(
        "ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {}",
        denial.message
    );
    let mut error = request.forbidden(&told);
    error.reason = match denial.reason.as_str() {
        "Unauthorized" => Reason::Unauthorized,
        "Forbidden" => Reason::Forbidden,
        "RequestEntityTooLarge" => Reason::RequestEntityTooLarge,
        _ => Reason::Invalid,
    };
    let cause = Cause { reason: String::new(), message: told, field: String::new() };
    error.details.get_or_insert_default().causes.push(cause);
    error
}
