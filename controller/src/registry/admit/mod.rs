//! Admission: what the cluster says to a write that its author may make and that its kind allows.
//!
//! A plugin is a file here and a line in [`PLUGINS`], in Kubernetes' order. First all of them may change the object,
//! then all of them may refuse it; what a plugin reads it reads from the store, and where there is nothing of the kind
//! it costs a look that finds nothing. A plugin knows the request and the store, no HTTP and no other plugin. Whoever
//! writes calls [`Request::mutate`] once before the rules of the kind and [`Request::validate`] once after them, and
//! says by [`Request::settle`] what became of the write.

mod request;

mod cache;
mod scope;

mod review;

mod authorizer;
mod expression;

mod default_class;
mod default_tolerations;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod pod_security;
mod priority;
mod resource_quota;
mod service_account;
mod storage_protection;
mod token_secret;
mod volume_resize;

mod policy;

mod webhook;

use futures::future::BoxFuture;
use serde_json::Value;

pub(crate) use request::{Fate, Operation, Request};
pub(crate) use resource_quota::release;

use crate::registry::ApiError;

/// One rule of admission.
struct Plugin {
    /// Its name, as kube-apiserver calls it.
    name: &'static str,
    /// Whether a request is any of its business; asked of every write, so it looks at next to nothing.
    concerns: fn(&Request<'_>) -> bool,
    /// What it changes.
    mutate: Mutation,
    /// What it refuses.
    validate: Validation,
}

/// How a plugin changes an object.
enum Mutation {
    /// Not at all.
    Never,
    /// From what the store holds now.
    Now(fn(&Request<'_>, &mut Value) -> Result<(), ApiError>),
    /// After waiting for something.
    Later(for<'a> fn(&'a Request<'a>, &'a mut Value) -> BoxFuture<'a, Result<(), ApiError>>),
}

/// How a plugin refuses a request. The object is null where the operation has none.
enum Validation {
    /// Not at all.
    Never,
    /// From what the store holds now.
    Now(fn(&Request<'_>, &Value) -> Result<(), ApiError>),
    /// After waiting for something.
    Later(for<'a> fn(&'a Request<'a>, &'a Value) -> BoxFuture<'a, Result<(), ApiError>>),
}

/// Every plugin, in the order in which they are asked.
static PLUGINS: &[Plugin] = &[
    namespace_lifecycle::PLUGIN,
    limit_ranger::PLUGIN,
    service_account::PLUGIN,
    token_secret::PLUGIN,
    node_restriction::PLUGIN,
    pod_security::PLUGIN,
    priority::PLUGIN,
    default_tolerations::PLUGIN,
    default_class::STORAGE,
    storage_protection::PLUGIN,
    default_class::INGRESS,
    volume_resize::PLUGIN,
    policy::MUTATING,
    webhook::MUTATING,
    policy::VALIDATING,
    webhook::VALIDATING,
    resource_quota::PLUGIN,
];

/// What admission keeps between requests.
#[derive(Default)]
pub(crate) struct State {
    policies: policy::Policies,
    webhooks: webhook::Webhooks,
}

impl Request<'_> {
    /// Lets every plugin change the object; answers whether any had a look at it. When others have changed it, all are
    /// asked once more.
    pub(crate) async fn mutate(&self, object: &mut Value) -> Result<bool, ApiError> {
        let looked = self.mutate_once(object).await?;
        if self.is_again() {
            self.mutate_once(object).await?;
        }
        Ok(looked)
    }

    async fn mutate_once(&self, object: &mut Value) -> Result<bool, ApiError> {
        let mut looked = false;
        for plugin in PLUGINS.iter().filter(|plugin| (plugin.concerns)(self)) {
            looked |= !matches!(plugin.mutate, Mutation::Never);
            let changed = match plugin.mutate {
                Mutation::Never => Ok(()),
                Mutation::Now(mutate) => mutate(self, object),
                Mutation::Later(mutate) => mutate(self, object).await,
            };
            changed.inspect_err(|error| self.refused(plugin, error))?;
        }
        Ok(looked)
    }

    /// Lets every plugin refuse the request.
    pub(crate) async fn validate(&self, object: &Value) -> Result<(), ApiError> {
        for plugin in PLUGINS.iter().filter(|plugin| (plugin.concerns)(self)) {
            let allowed = match plugin.validate {
                Validation::Never => Ok(()),
                Validation::Now(validate) => validate(self, object),
                Validation::Later(validate) => validate(self, object).await,
            };
            allowed.inspect_err(|error| self.refused(plugin, error))?;
        }
        Ok(())
    }

    fn refused(&self, plugin: &Plugin, error: &ApiError) {
        let Request { target, .. } = self;
        tracing::debug!(
            plugin = plugin.name,
            kind = target.kind.kind,
            namespace = target.namespace,
            name = target.name,
            why = error.message,
            "admission refuses"
        );
    }
}
