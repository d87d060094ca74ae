//! NamespaceLifecycle: nothing new where no namespace is or one is on its way out, and some namespaces stay.

use crate::registry::admit::{Mutation, Operation, Plugin, Request, Validation};
use crate::registry::{ApiError, Cause, Details, Reason, Target};
use crate::store::Condition;

/// Namespaces that a cluster cannot lose.
const PERMANENT: &[&str] = &["default", "kube-system", "kube-public"];

/// The table's entry.
pub(super) const PLUGIN: Plugin = Plugin {
    name: "NamespaceLifecycle",
    concerns,
    mutate: Mutation::Now(|request, _| check(request)),
    validate: Validation::Never,
};

fn concerns(request: &Request<'_>) -> bool {
    match request.operation {
        Operation::Create => request.kind().is_namespaced() && request.target.subresource.is_empty(),
        Operation::Delete => request.is("", "namespaces"),
        Operation::Update | Operation::Connect => false,
    }
}

fn check(request: &Request<'_>) -> Result<(), ApiError> {
    if request.operation == Operation::Create {
        return live(request);
    }
    if PERMANENT.contains(&request.target.name) {
        return Err(request.forbidden("this namespace may not be deleted"));
    }
    Ok(())
}

/// The namespace is alive, and the write is bound to its staying as it was found.
fn live(request: &Request<'_>) -> Result<(), ApiError> {
    let namespaces = &edge_api::kinds::namespace::KIND;
    let namespace = request.target.namespace;
    let found = request.stored("core", "namespaces", "", namespace);
    let found = found.ok_or_else(|| ApiError::not_found(namespaces, namespace))?;
    if found.header().deletion_timestamp.is_none() {
        request.bind(Target::one(namespaces, "", namespace).key(), Condition::At(found.revision));
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut error = request.forbidden(&why);
    let cause = Cause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".to_owned(),
    };
    let details = error.details.take().map(|details| *details).unwrap_or_default();
    Err(ApiError::new(Reason::Forbidden, error.message)
        .with_details(Details { causes: vec![cause], ..details }))
}
