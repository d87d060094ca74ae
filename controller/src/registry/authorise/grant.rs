//! Nobody gives more than he has: who writes a role must hold all it allows, or the verb `escalate` on it; who binds a
//! role must hold all of that, or the verb `bind`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use edge_api::meta;
use serde_json::Value;

use crate::identity::{GROUP_IN_PROCESS, GROUP_MASTERS, User};
use crate::registry::authorise::action::{Access, Action};
use crate::registry::authorise::index::RoleRef;
use crate::registry::authorise::rule::{Rule, quoted};
use crate::registry::{ApiError, Reason, Registry, Target};

const GROUP: &str = "rbac.authorization.k8s.io";
/// The most parts that the rules of one write may have, for somebody whose rights have to be compared with them.
const PARTS: usize = 100_000;

/// What somebody holds, and which roles of his are not there.
#[derive(Default)]
pub(crate) struct Held {
    /// The rules, some perhaps twice.
    pub rules: Vec<Arc<[Rule]>>,
    /// What is said of roles that are missing.
    pub missing: Vec<String>,
}

impl Registry {
    /// Refuses a role or binding by which the user would give what he does not have. `old` is the object before.
    pub(crate) fn authorise_grant(
        &self,
        user: &User,
        target: &Target<'_>,
        old: Option<&Value>,
        new: &Value,
    ) -> Result<(), ApiError> {
        let kind = target.kind;
        let free = kind.group != GROUP || user.is_in(GROUP_MASTERS) || user.is_in(GROUP_IN_PROCESS);
        let fields = match kind.plural {
            "roles" | "clusterroles" => ["rules", "aggregationRule"],
            _ => ["roleRef", "subjects"],
        };
        let same = |old: &Value| fields.iter().all(|field| old.get(field) == new.get(field));
        if free || old.is_some_and(same) {
            return Ok(());
        }
        match kind.plural {
            "roles" | "clusterroles" => self.authorise_role(user, target, old, new),
            _ => self.authorise_binding(user, target, new),
        }
    }

    /// The rules that the user holds in the cluster and in the namespace.
    pub(crate) fn held(&self, user: &User, namespace: &str) -> Result<Held, ApiError> {
        let held = self.grants().ask(self.store(), |grants| {
            let mut held = Held::default();
            let _: ControlFlow<()> = grants.visit(user, namespace, |grant| {
                match grant.rules {
                    Some(rules) => held.rules.push(rules.clone()),
                    None => held.missing.push(grant.binding.role().missing()),
                }
                ControlFlow::Continue(())
            });
            held
        });
        Ok(held?)
    }

    fn authorise_role(
        &self,
        user: &User,
        target: &Target<'_>,
        old: Option<&Value>,
        new: &Value,
    ) -> Result<(), ApiError> {
        let access = Access::to("escalate", target, target.name);
        if self.decide(user, &Action::Objects(access))?.is_allowed() {
            return Ok(());
        }
        let made_of_others = |role: &Value| role.get("aggregationRule").is_some_and(Value::is_object);
        let name = meta::name(new);
        if made_of_others(new) || old.is_some_and(made_of_others) {
            return self.confirm(user, target, name, &Rule::everything()).map_err(|_| {
                let why = "must have cluster-admin privileges to use an aggregationRule";
                ApiError::forbidden(target.kind, name, why)
            });
        }
        self.confirm(user, target, name, &rules(new))
    }

    fn authorise_binding(&self, user: &User, target: &Target<'_>, new: &Value) -> Result<(), ApiError> {
        let role: RoleRef = new.get("roleRef").and_then(|role| meta::read(role).ok()).unwrap_or_default();
        let resource = if &*role.kind == "Role" { "roles" } else { "clusterroles" };
        let namespace = target.namespace;
        let access =
            Access { verb: "bind", group: GROUP, resource, subresource: "", namespace, name: &role.name };
        if self.decide(user, &Action::Objects(access))?.is_allowed() {
            return Ok(());
        }
        let rules = self.grants().ask(self.store(), |grants| grants.rules(&role, namespace).cloned())?;
        match rules {
            Some(rules) => self.confirm(user, target, meta::name(new), &rules),
            None => Err(ApiError::new(Reason::NotFound, role.missing())),
        }
    }

    /// Refuses what the user does not hold.
    fn confirm(&self, user: &User, target: &Target<'_>, name: &str, wished: &[Rule]) -> Result<(), ApiError> {
        let refuse = |why: &str| Err(ApiError::forbidden(target.kind, name, why));
        let parts = wished.iter().fold(0_usize, |sum, rule| sum.saturating_add(rule.count_parts()));
        if parts > PARTS {
            return refuse("its rules are too many to be compared with those of the user");
        }
        let held = self.held(user, target.namespace)?;
        let is_held =
            |part: &Rule| held.rules.iter().flat_map(|rules| rules.iter()).any(|rule| rule.covers(part));
        let lacking: Vec<Rule> = wished.iter().flat_map(Rule::parts).filter(|part| !is_held(part)).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let mut why = format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            quoted(&user.groups),
            compact(lacking).join("\n")
        );
        if !held.missing.is_empty() {
            why.push_str(&format!("; resolution errors: [{}]", held.missing.join(", ")));
        }
        refuse(&why)
    }
}

/// The rules of a role.
fn rules(role: &Value) -> Vec<Rule> {
    role.get("rules").and_then(|rules| meta::read(rules).ok()).unwrap_or_default()
}

/// The parts as sorted texts, those on the same objects together.
fn compact(parts: Vec<Rule>) -> Vec<String> {
    let mut whole: BTreeMap<Rule, Vec<Box<str>>> = BTreeMap::new();
    let mut texts = Vec::new();
    for mut part in parts {
        if part.non_resource_urls.is_empty() {
            let verbs = std::mem::take(&mut part.verbs);
            whole.entry(part).or_default().extend(verbs);
        } else {
            texts.push(part.to_string());
        }
    }
    texts.extend(whole.into_iter().map(|(rule, verbs)| Rule { verbs, ..rule }.to_string()));
    texts.sort();
    texts.dedup();
    texts
}
