//! Who may do what: administrators and controllers of this process everything, a node what a node needs, and everybody
//! what roles and bindings allow. Whoever allows something first has the last word; nobody can forbid.

mod action;

mod node;

mod rule;

mod index;

mod grant;

use std::ops::ControlFlow;
use std::sync::Arc;

pub use action::{Access, Action};
pub use index::Index;

use crate::identity::{GROUP_IN_PROCESS, GROUP_MASTERS, User};
use crate::registry::authorise::index::Binding;
use crate::registry::{ApiError, Context, Registry, Target};

/// The annotations of the audit log that say what was decided, and why.
const DECISION: &str = "authorization.k8s.io/decision";
const REASON: &str = "authorization.k8s.io/reason";

/// Whether something is allowed, and why.
#[derive(Debug)]
pub enum Decision {
    /// It is, by what the user is.
    Own,
    /// It is, by this binding.
    Granted(Arc<Binding>),
    /// It is not. What went wrong while rules were looked for; usually nothing.
    Refused(String),
}

impl Decision {
    /// Whether it is.
    pub fn is_allowed(&self) -> bool {
        !matches!(self, Decision::Refused(_))
    }

    /// Why, as reviews tell it.
    pub fn reason(&self, user: &User) -> String {
        match self {
            Decision::Own => String::new(),
            Decision::Granted(binding) => format!("RBAC: allowed by {}", binding.describe(user)),
            Decision::Refused(trouble) => trouble.clone(),
        }
    }
}

impl Registry {
    /// Refuses what the caller may not do with the target.
    pub fn authorise_for(&self, cx: &Context, verb: &str, target: &Target<'_>) -> Result<(), ApiError> {
        self.authorise(cx, verb, target, target.name)
    }

    /// Refuses what the caller may not do. `name` is the name of the target where it is known from elsewhere, such as a
    /// field selector.
    pub(crate) fn authorise(
        &self,
        cx: &Context,
        verb: &str,
        target: &Target<'_>,
        name: &str,
    ) -> Result<(), ApiError> {
        let access = Access::to(verb, target, name);
        let is_posted = verb == "create" && target.name.is_empty();
        if !is_posted || self.is_own(&cx.user, &Action::Objects(access)) {
            return self.authorise_action(cx, &Action::Objects(access));
        }
        // The name in a body is no reason to allow anything: rules with names are about paths with names.
        self.authorise_action(cx, &Action::Objects(Access { name: "", ..access }))
    }

    /// Refuses what the caller may not do, and tells the audit log.
    pub fn authorise_action(&self, cx: &Context, action: &Action<'_>) -> Result<(), ApiError> {
        let user = &cx.user;
        let decision = self.decide(user, action)?;
        let word = if decision.is_allowed() { "allow" } else { "forbid" };
        cx.annotations.add(DECISION, || word.to_owned());
        cx.annotations.add(REASON, || decision.reason(user));
        match decision {
            Decision::Refused(trouble) => Err(action.refusal(user, &trouble)),
            Decision::Own | Decision::Granted(_) => Ok(()),
        }
    }

    /// Whether the user may do it.
    pub fn decide(&self, user: &User, action: &Action<'_>) -> Result<Decision, ApiError> {
        if self.is_own(user, action) { Ok(Decision::Own) } else { self.granted(user, action) }
    }

    /// Whether the user may by what he is.
    fn is_own(&self, user: &User, action: &Action<'_>) -> bool {
        if user.is_in(GROUP_MASTERS) || user.is_in(GROUP_IN_PROCESS) {
            return true;
        }
        match action {
            Action::Objects(access) => user.node_name().is_some_and(|node| self.node_may(node, access)),
            Action::Path { .. } => false,
        }
    }

    fn granted(&self, user: &User, action: &Action<'_>) -> Result<Decision, ApiError> {
        let namespace = match action {
            Action::Objects(access) => access.namespace,
            Action::Path { .. } => "",
        };
        let decision = self.grants().ask(self.store(), |grants| {
            let mut missing: Vec<String> = Vec::new();
            let found = grants.visit(user, namespace, |grant| match grant.rules {
                Some(rules) if rules.iter().any(|rule| rule.allows(action)) => {
                    ControlFlow::Break(grant.binding.clone())
                }
                Some(_) => ControlFlow::Continue(()),
                None => {
                    let trouble = grant.binding.role().missing();
                    if !missing.contains(&trouble) {
                        missing.push(trouble);
                    }
                    ControlFlow::Continue(())
                }
            });
            match found {
                ControlFlow::Break(binding) => Decision::Granted(binding),
                ControlFlow::Continue(()) => Decision::Refused(trouble(&missing)),
            }
        });
        Ok(decision?)
    }
}

fn trouble(missing: &[String]) -> String {
    match missing {
        [] => String::new(),
        [one] => format!("RBAC: {one}"),
        many => format!("RBAC: [{}]", many.join(", ")),
    }
}
