//! A policy as it is written: what it is about, and what must hold.

use edge_api::cel::Value as Cel;
use edge_api::meta::{self, items, text};
use serde_json::Value;

use crate::registry::admit::Request;
use crate::registry::admit::expression::{Expression, Named, Scene, View};
use crate::registry::admit::scope::Constraints;

/// A policy.
pub(super) struct Definition {
    /// Its name.
    pub name: String,
    /// The type of its parameters, as `apiVersion` and `kind`, if it has any.
    pub params: Option<(String, String)>,
    constraints: Constraints,
    conditions: Named,
    variables: Named,
    validations: Vec<Rule>,
    /// Whether what cannot be evaluated is no denial.
    ignores: bool,
}

/// What must hold, and what is said when it does not.
struct Rule {
    expression: Expression,
    message: String,
    worked_out: Option<Expression>,
    reason: String,
}

/// Why a request is denied.
pub(super) struct Denial {
    /// In words.
    pub message: String,
    /// In one word, as the policy says.
    pub reason: String,
}

impl Denial {
    fn new(message: String) -> Denial {
        Denial { message, reason: "Invalid".to_owned() }
    }
}

impl Rule {
    fn of(rule: &Value) -> Rule {
        Rule {
            expression: Expression::new(text(rule, &["expression"])),
            message: text(rule, &["message"]).trim().to_owned(),
            worked_out: Expression::at(rule, "messageExpression"),
            reason: match text(rule, &["reason"]) {
                "" => "Invalid".to_owned(),
                reason => reason.to_owned(),
            },
        }
    }

    /// What is said: what the policy works out, else what it says, else the rule itself.
    fn told<'a>(&'a self, scene: &Scene<'a>) -> String {
        let worked_out = self.worked_out.as_ref().and_then(|expression| expression.evaluate(scene).ok());
        if let Some(Cel::Text(message)) = worked_out {
            let message = message.trim();
            if !message.is_empty() && !message.contains('\n') {
                return message.to_owned();
            }
        }
        match self.message.as_str() {
            "" => format!("failed expression: {}", self.expression.text.trim()),
            message => message.to_owned(),
        }
    }
}

impl Definition {
    /// Reads a policy and compiles it.
    pub(super) fn of(policy: &Value) -> Definition {
        let spec = &policy["spec"];
        let kind = &spec["paramKind"];
        let params = (text(kind, &["apiVersion"]).to_owned(), text(kind, &["kind"]).to_owned());
        Definition {
            name: meta::name(policy).to_owned(),
            params: (!kind.is_null()).then_some(params),
            constraints: Constraints::of(&spec["matchConstraints"]),
            conditions: Named::at(spec, "matchConditions"),
            variables: Named::at(spec, "variables"),
            validations: items(spec, &["validations"]).iter().map(Rule::of).collect(),
            ignores: text(spec, &["failurePolicy"]) == "Ignore",
        }
    }

    /// Whether the policy is about a request.
    pub(super) fn concerns(&self, request: &Request<'_>, object: &Value) -> bool {
        self.constraints.match_rules(request, object)
    }

    /// Why the policy denies what it sees.
    pub(super) fn judge(&self, view: &View<'_>, params: &Value) -> Vec<Denial> {
        let scene = view.scene(params, &self.variables);
        match self.conditions.hold(&scene) {
            Ok(true) => {}
            Ok(false) => return Vec::new(),
            Err(why) => return self.broken(why),
        }
        let judged = self.validations.iter().flat_map(|rule| match rule.expression.holds(&scene) {
            Ok(true) => Vec::new(),
            Ok(false) => vec![Denial { message: rule.told(&scene), reason: rule.reason.clone() }],
            Err(why) => self.broken(why),
        });
        judged.collect()
    }

    /// What becomes of something that cannot be evaluated.
    pub(super) fn broken(&self, why: String) -> Vec<Denial> {
        if self.ignores { Vec::new() } else { vec![Denial::new(why)] }
    }
}
