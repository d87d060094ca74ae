//! Reviews: questions about who somebody is and what he may do, asked by creating them. Nothing is stored.

use std::collections::BTreeMap;

use edge_api::kind::Kind;
use edge_api::meta::{items, text};
use edge_api::validate::{At, Errors};
use serde_json::{Map, Value, json};

use crate::identity::{GROUP_IN_PROCESS, User};
use crate::registry::{Access, Action, ApiError, Context, Decision, Object, Registry, Target, check, encode};
use crate::store::Revision;

/// Answers a review by its status.
type Answer = fn(&Registry, &Context, &Value) -> Result<Value, ApiError>;

/// What is reviewed how.
const REVIEWS: &[(&str, Answer)] = &[
    ("subjectaccessreviews", |registry, _, review| registry.review_access(&subject(review), review)),
    ("localsubjectaccessreviews", |registry, _, review| registry.review_access(&subject(review), review)),
    ("selfsubjectaccessreviews", |registry, cx, review| registry.review_access(&cx.user, review)),
    ("selfsubjectrulesreviews", |registry, cx, review| registry.review_rules(&cx.user, review)),
    ("selfsubjectreviews", |_, cx, _| Ok(json!({"userInfo": cx.user.info()}))),
    ("tokenreviews", |registry, _, review| registry.review_token(review)),
];

impl Registry {
    /// Answers a review.
    pub(crate) fn review(
        &self,
        cx: &Context,
        target: &Target<'_>,
        mut review: Value,
    ) -> Result<Object, ApiError> {
        let kind = target.kind;
        self.authorise(cx, "create", target, "")?;
        check::place(target, &mut review)?;
        check::conform(cx, kind.schema, kind.kind, &mut review)?;
        check::place(target, &mut review)?;
        kind.default(&mut review);
        let mut errors = Errors::new();
        (kind.checks)(&At::root(&review), &mut errors);
        if !errors.is_empty() {
            return Err(ApiError::invalid(kind, "", &errors));
        }
        review["status"] = answer(kind)?(self, cx, &review)?;
        Ok(Object { revision: Revision::ZERO, stored: encode(review) })
    }

    fn review_access(&self, user: &User, review: &Value) -> Result<Value, ApiError> {
        let spec = &review["spec"];
        let objects = spec.get("resourceAttributes");
        let action = match objects {
            Some(asked) => Action::Objects(Access {
                verb: text(asked, &["verb"]),
                group: text(asked, &["group"]),
                resource: text(asked, &["resource"]),
                subresource: text(asked, &["subresource"]),
                namespace: text(asked, &["namespace"]),
                name: text(asked, &["name"]),
            }),
            None => Action::Path {
                verb: text(spec, &["nonResourceAttributes", "verb"]),
                path: text(spec, &["nonResourceAttributes", "path"]),
            },
        };
        Ok(told(&self.decide(user, &action)?, user))
    }

    fn review_rules(&self, user: &User, review: &Value) -> Result<Value, ApiError> {
        let namespace = text(review, &["spec", "namespace"]);
        if namespace.is_empty() {
            return Err(ApiError::bad_request("no namespace on request"));
        }
        let held = self.held(user, namespace)?;
        let (mut objects, mut paths) = (Vec::new(), Vec::new());
        for rule in held.rules.iter().flat_map(|rules| rules.iter()) {
            if rule.non_resource_urls.is_empty() {
                let lists = [
                    ("verbs", &rule.verbs),
                    ("apiGroups", &rule.api_groups),
                    ("resources", &rule.resources),
                    ("resourceNames", &rule.resource_names),
                ];
                let shown = lists.into_iter().filter(|(_, list)| !list.is_empty());
                objects.push(Value::Object(
                    shown.map(|(name, list)| (name.to_owned(), json!(list))).collect::<Map<_, _>>(),
                ));
            } else {
                paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
            }
        }
        let mut trouble = held.missing;
        let is_node = user.node_name().is_some();
        if is_node {
            trouble.push("rule resolution unsupported for nodes".to_owned());
        }
        let mut status =
            json!({"resourceRules": objects, "nonResourceRules": paths, "incomplete": !trouble.is_empty()});
        if !trouble.is_empty() {
            status["evaluationError"] = trouble.join(", ").into();
        }
        Ok(status)
    }

    fn review_token(&self, review: &Value) -> Result<Value, ApiError> {
        let token = text(review, &["spec", "token"]);
        if token.is_empty() {
            return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
        }
        let audiences: Vec<String> = texts(&review["spec"], "audiences");
        let now = self.now().as_seconds();
        let known = self.pki().recognise_token(token, now, &audiences, |bound| self.exists(bound));
        Ok(match known {
            Some((user, audiences)) => {
                json!({"authenticated": true, "user": user.info(), "audiences": audiences})
            }
            None => json!({"user": {}, "error": "invalid bearer token"}),
        })
    }
}

fn answer(kind: &Kind) -> Result<Answer, ApiError> {
    let known = REVIEWS.iter().find(|(plural, _)| *plural == kind.plural);
    known.map(|(_, answer)| *answer).ok_or_else(|| ApiError::not_supported(kind, "create"))
}

fn told(decision: &Decision, user: &User) -> Value {
    let mut status = json!({"allowed": decision.is_allowed()});
    let reason = decision.reason(user);
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    status
}

/// The user that a question is about. Nobody can ask about a part of this process.
fn subject(review: &Value) -> User {
    let spec = &review["spec"];
    let mut groups = texts(spec, "groups");
    groups.retain(|group| group != GROUP_IN_PROCESS);
    let extra = spec.get("extra").and_then(Value::as_object).into_iter().flatten();
    let extra: BTreeMap<String, Vec<String>> =
        extra.map(|(key, _)| (key.clone(), texts(&spec["extra"], key))).collect();
    User { name: text(spec, &["user"]).to_owned(), uid: text(spec, &["uid"]).to_owned(), groups, extra }
}

fn texts(object: &Value, field: &str) -> Vec<String> {
    items(object, &[field]).iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}
