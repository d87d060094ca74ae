//! One webhook as its configuration describes it.

use std::time::Duration;

use edge_api::meta::{self, items, number, text};
use serde_json::Value;

use crate::registry::ApiError;
use crate::registry::admit::Request;
use crate::registry::admit::expression::{Named, View};
use crate::registry::admit::scope::{Rule, Selectors};
use crate::registry::contact::Contact;

/// Seconds that a webhook has when it does not say.
const PATIENCE: i64 = 10;

/// A webhook.
pub(super) struct Hook {
    /// Its name, as refusals tell it.
    pub name: String,
    /// The name of its configuration and its place there.
    id: String,
    /// Where it is, and how long it has.
    pub contact: Contact,
    /// Whether it is asked again when the object has changed after it was asked.
    pub again: bool,
    rules: Vec<Rule>,
    selectors: Selectors,
    equivalent: bool,
    ignorable: bool,
    has_effects: bool,
    conditions: Named,
}

impl Hook {
    /// The webhooks of a configuration.
    pub(super) fn all(configuration: &Value) -> Vec<Hook> {
        let name = meta::name(configuration);
        let hooks = items(configuration, &["webhooks"]).iter().enumerate();
        hooks.map(|(place, hook)| Hook::of(format!("{name}/{place}"), hook)).collect()
    }

    fn of(id: String, hook: &Value) -> Hook {
        let seconds = number(hook, &["timeoutSeconds"]).unwrap_or(PATIENCE).clamp(1, 30);
        Hook {
            name: text(hook, &["name"]).to_owned(),
            id,
            contact: Contact::of(&hook["clientConfig"], Duration::from_secs(seconds.unsigned_abs())),
            again: text(hook, &["reinvocationPolicy"]) == "IfNeeded",
            rules: items(hook, &["rules"]).iter().map(Rule::of).collect(),
            selectors: Selectors::of(hook),
            equivalent: text(hook, &["matchPolicy"]) != "Exact",
            ignorable: text(hook, &["failurePolicy"]) == "Ignore",
            conditions: Named::at(hook, "matchConditions"),
            has_effects: !matches!(text(hook, &["sideEffects"]), "None" | "NoneOnDryRun"),
        }
    }

    /// What it is known by.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether the webhook is to be asked about a request.
    pub(super) fn concerns(&self, request: &Request<'_>, object: &Value) -> Result<bool, ApiError> {
        let concerned = self.rules.iter().any(|rule| rule.matches(request, self.equivalent))
            && self.selectors.select(request, object)
            && self.meets_conditions(request, object)?;
        if concerned && request.cx.dry_run && self.has_effects {
            let why = format!("admission webhook {:?} does not support dry run", self.name);
            return Err(ApiError::bad_request(why));
        }
        Ok(concerned)
    }

    fn meets_conditions(&self, request: &Request<'_>, object: &Value) -> Result<bool, ApiError> {
        if self.conditions.is_empty() {
            return Ok(true);
        }
        let (view, none) = (View::of(request, object), Named::default());
        match self.conditions.hold(&view.scene(&Value::Null, &none)) {
            Ok(met) => Ok(met),
            Err(why) => self.tolerate(why).map(|()| false),
        }
    }

    /// That nobody answered is nothing, or the end of the request.
    pub(super) fn tolerate(&self, why: String) -> Result<(), ApiError> {
        let message = format!("failed calling webhook {:?}: {why}", self.name);
        if self.ignorable {
            tracing::warn!(webhook = self.name, why, "a webhook does not answer and is passed over");
            return Ok(());
        }
        Err(ApiError::internal(message))
    }
}
