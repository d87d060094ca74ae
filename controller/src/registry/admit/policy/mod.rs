//! ValidatingAdmissionPolicy and MutatingAdmissionPolicy: rules and changes in CEL that administrators write, and the
//! bindings that put them in force.
//!
//! A policy is compiled once for each of its revisions. What its expressions cost is bounded; what cannot be evaluated
//! counts as the policy's `failurePolicy` says.

mod binding;
mod definition;
mod mutation;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::registry::admit::cache::Cache;
use crate::registry::admit::expression::View;
use crate::registry::admit::policy::binding::Binding;
use crate::registry::admit::policy::definition::{Definition, Denial};
use crate::registry::admit::policy::mutation::Mutations;
use crate::registry::admit::{Mutation, Operation, Plugin, Request, Validation};
use crate::registry::{ApiError, Cause, Reason};

/// The annotation of the audit log that says which rule was broken, where a binding says so.
const FAILURE: &str = "validation.policy.admission.k8s.io/validation_failure";

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

/// The table's entry of those that change objects.
pub(super) const MUTATING: Plugin = Plugin {
    name: "MutatingAdmissionPolicy",
    concerns: |request| {
        let mutates = matches!(request.operation, Operation::Create | Operation::Update);
        mutates && !is_exempt(request) && !policies(request).mutating.is_empty(request.registry.store())
    },
    mutate: Mutation::Now(mutate),
    validate: Validation::Never,
};

/// The table's entry of those that refuse them.
pub(super) const VALIDATING: Plugin = Plugin {
    name: "ValidatingAdmissionPolicy",
    concerns,
    mutate: Mutation::Never,
    validate: Validation::Now(validate),
};

/// Policies and bindings.
pub(super) struct Policies {
    definitions: Cache<Definition>,
    bindings: Cache<Binding>,
    changes: Cache<Mutations>,
    mutating: Cache<Binding>,
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
            changes: Cache::new("/admissionregistration.k8s.io/mutatingadmissionpolicies/", Mutations::of),
            mutating: Cache::new(
                "/admissionregistration.k8s.io/mutatingadmissionpolicybindings/",
                Binding::of,
            ),
        }
    }
}

fn concerns(request: &Request<'_>) -> bool {
    !is_exempt(request) && !policies(request).bindings.is_empty(request.registry.store())
}

fn is_exempt(request: &Request<'_>) -> bool {
    let kind = request.kind();
    let exempt = |(group, plurals): &(&str, &[&str])| kind.group == *group && plurals.contains(&kind.plural);
    EXEMPT.iter().any(exempt)
}

fn policies<'a>(request: &Request<'a>) -> &'a Policies {
    &request.registry.admission().policies
}

/// Makes the changes of every policy in force, each seeing what those before it left. When others changed the object
/// meanwhile, those that wish so make theirs again.
fn mutate(request: &Request<'_>, object: &mut Value) -> Result<(), ApiError> {
    let store = request.registry.store();
    let second = request.is_again();
    let bindings = policies(request).mutating.current(store);
    for policy in policies(request).changes.current(store) {
        for binding in bindings.iter().filter(|binding| binding.policy == policy.name) {
            let id = format!("{}/{}", policy.name, binding.name);
            let due = !second || policy.again && request.asks_again(&id);
            if !due || !policy.concerns(request, object) || !binding.concerns(request, object) {
                continue;
            }
            let before = object.clone();
            policy.change(request, binding, object)?;
            request.asked(&id, policy.again, *object != before);
        }
    }
    Ok(())
}

fn validate(request: &Request<'_>, object: &Value) -> Result<(), ApiError> {
    let store = request.registry.store();
    let definitions = policies(request).definitions.current(store);
    let bindings = policies(request).bindings.current(store);
    let mut view = None;
    let mut allowed = Ok(());
    for definition in definitions.iter().filter(|definition| definition.concerns(request, object)) {
        let mut bound = bindings.iter().filter(|binding| binding.policy == definition.name).peekable();
        if bound.peek().is_none() {
            continue;
        }
        let view = view.get_or_insert_with(|| View::of(request, object));
        let mut notes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for binding in bound.filter(|binding| binding.concerns(request, object)) {
            // The first refusal counts; the audit log is told of all policies.
            allowed = allowed.and(enforce(request, definition, binding, view, &mut notes));
        }
        for (key, values) in notes {
            request.cx.annotations.add(&format!("{}/{key}", definition.name), || values.join(", "));
        }
    }
    allowed
}

fn enforce(
    request: &Request<'_>,
    definition: &Definition,
    binding: &Arc<Binding>,
    view: &View<'_>,
    notes: &mut BTreeMap<String, Vec<String>>,
) -> Result<(), ApiError> {
    let mut denials = Vec::new();
    match binding.params(request, definition.params.as_ref()) {
        Ok(all) => {
            for params in &all {
                let judgement = definition.judge(view, params);
                denials.extend(judgement.denials);
                for (key, told) in judgement.notes {
                    let known = notes.entry(key).or_default();
                    if !known.contains(&told) {
                        known.push(told);
                    }
                }
            }
        }
        Err(why) => denials = definition.broken(format!("failed to configure binding: {why}")),
    }
    let (policy, name) = (&definition.name, &binding.name);
    for Denial { message, rule, .. } in &denials {
        if binding.audits {
            let failure = json!([{"message": message, "policy": policy, "binding": name, "expressionIndex": rule,
                "validationActions": binding.actions}]);
            request.cx.annotations.add(FAILURE, || failure.to_string());
        }
        if binding.warns {
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
