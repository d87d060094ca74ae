//! MutatingAdmissionWebhook and ValidatingAdmissionWebhook: others are asked, over HTTPS, what they say to a write.
//!
//! Those that may change the object are asked one after the other, and again when it changed after they had seen it
//! and they wish so; those that may only refuse it are asked at the same time.

mod call;
mod hook;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use serde_json::Value;

use crate::registry::admit::cache::Cache;
use crate::registry::admit::webhook::call::{Refused, Reply, ask};
use crate::registry::admit::webhook::hook::Hook;
use crate::registry::admit::{Mutation, Plugin, Request, Validation, review};
use crate::registry::{ApiError, Context, FieldValidation, check};

/// Kinds that nobody is asked about, lest a broken webhook stand in the way of its own repair.
const EXEMPT: &[&str] = &[
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
];

/// The table's entry of those that may change objects.
pub(super) const MUTATING: Plugin = Plugin {
    name: "MutatingAdmissionWebhook",
    concerns: |request| may_ask(request) && !hooks(request).mutating.is_empty(request.registry.store()),
    mutate: Mutation::Later(mutate),
    validate: Validation::Never,
};

/// The table's entry of those that may refuse them.
pub(super) const VALIDATING: Plugin = Plugin {
    name: "ValidatingAdmissionWebhook",
    concerns: |request| may_ask(request) && !hooks(request).validating.is_empty(request.registry.store()),
    mutate: Mutation::Never,
    validate: Validation::Later(validate),
};

/// All webhooks, configuration by configuration.
pub(super) struct Webhooks {
    mutating: Cache<Vec<Hook>>,
    validating: Cache<Vec<Hook>>,
}

impl Default for Webhooks {
    fn default() -> Webhooks {
        Webhooks {
            mutating: Cache::new("/admissionregistration.k8s.io/mutatingwebhookconfigurations/", Hook::all),
            validating: Cache::new(
                "/admissionregistration.k8s.io/validatingwebhookconfigurations/",
                Hook::all,
            ),
        }
    }
}

fn hooks<'a>(request: &Request<'a>) -> &'a Webhooks {
    &request.registry.admission().webhooks
}

fn may_ask(request: &Request<'_>) -> bool {
    let kind = request.kind();
    kind.group != "admissionregistration.k8s.io" || !EXEMPT.contains(&kind.plural)
}

fn mutate<'a>(request: &'a Request<'a>, object: &'a mut Value) -> BoxFuture<'a, Result<(), ApiError>> {
    async move {
        let hooks = hooks(request).mutating.current(request.registry.store());
        let second = request.begin_asking(object);
        for hook in hooks.iter().flat_map(|hooks| hooks.iter()) {
            if second && !request.asks_again(hook.id()) || !hook.concerns(request, object)? {
                continue;
            }
            let before = object.clone();
            match ask(request, hook, object).await {
                Ok(reply) => apply(request, hook, reply, object)?,
                Err(Refused::Unreachable(why)) => hook.tolerate(why)?,
                Err(Refused::Said(error)) => return Err(error),
            }
            request.asked(hook.id(), hook.again, *object != before);
        }
        request.end_asking(object);
        Ok(())
    }
    .boxed()
}

/// Changes the object as the reply says.
fn apply(request: &Request<'_>, hook: &Hook, reply: Reply, object: &mut Value) -> Result<(), ApiError> {
    reply.warnings.iter().for_each(|warning| request.cx.warnings.add(warning));
    if reply.patch.is_null() || object.is_null() {
        return Ok(());
    }
    let broken = |why: String| ApiError::internal(format!("webhook {:?}: {why}", hook.name));
    let mut changed = object.clone();
    edge_api::patch::json(&mut changed, &reply.patch).map_err(|error| broken(error.to_string()))?;
    let silent =
        Context { field_validation: FieldValidation::Ignore, ..Context::new(request.cx.user.clone()) };
    check::form(&silent, request.kind(), &mut changed).map_err(|error| broken(error.message))?;
    *object = changed;
    Ok(())
}

fn validate<'a>(request: &'a Request<'a>, object: &'a Value) -> BoxFuture<'a, Result<(), ApiError>> {
    async move {
        let hooks = hooks(request).validating.current(request.registry.store());
        let mut asked = Vec::new();
        for hook in hooks.iter().flat_map(|hooks| hooks.iter()) {
            if hook.concerns(request, object)? {
                asked.push(hook);
            }
        }
        let shown = review::shown(request, object);
        let replies = join_all(asked.iter().map(|hook| ask(request, hook, &shown))).await;
        for (hook, reply) in asked.into_iter().zip(replies) {
            match reply {
                Ok(reply) => reply.warnings.iter().for_each(|warning| request.cx.warnings.add(warning)),
                Err(Refused::Unreachable(why)) => hook.tolerate(why)?,
                Err(Refused::Said(error)) => return Err(error),
            }
        }
        Ok(())
    }
    .boxed()
}
