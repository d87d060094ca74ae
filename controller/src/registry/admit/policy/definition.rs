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
    notes: Vec<Note>,
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

/// What the audit log is told of every request that the policy is about.
struct Note {
    key: String,
    expression: Expression,
}

/// The longest text that the audit log is told, in bytes.
const LONGEST: usize = 10 * 1024;

/// What a policy says to a request.
#[derive(Default)]
pub(super) struct Judgement {
    /// Why the request is denied, if it is.
    pub denials: Vec<Denial>,
    /// What the audit log is to be told, by keys.
    pub notes: Vec<(String, String)>,
}

/// Why a request is denied.
pub(super) struct Denial {
    /// In words.
    pub message: String,
    /// In one word, as the policy says.
    pub reason: String,
    /// Which of its rules denies.
    pub rule: usize,
}

impl Denial {
    fn new(message: String) -> Denial {
        Denial { message, reason: "Invalid".to_owned(), rule: 0 }
    }
}

impl Note {
    fn of(note: &Value) -> Note {
        let expression = Expression::new(text(note, &["valueExpression"]));
        Note { key: text(note, &["key"]).to_owned(), expression }
    }

    /// What is told; nothing is not.
    fn told<'a>(&'a self, scene: &Scene<'a>) -> Result<Option<String>, String> {
        let expression = &self.expression.text;
        match self.expression.evaluate(scene) {
            Ok(Cel::Null) => Ok(None),
            Ok(Cel::Text(text)) => {
                let text = text.trim();
                let end = (0..=text.len().min(LONGEST)).rev().find(|end| text.is_char_boundary(*end));
                Ok(Some(text[..end.unwrap_or(0)].to_owned()).filter(|text| !text.is_empty()))
            }
            Ok(other) => Err(format!(
                "valueExpression '{expression}' resulted in unsupported return type: {}. Return type must be either string or null.",
                other.type_name()
            )),
            Err(why) => Err(format!("valueExpression '{expression}' resulted in error: {why}")),
        }
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
            notes: items(spec, &["auditAnnotations"]).iter().map(Note::of).collect(),
            ignores: text(spec, &["failurePolicy"]) == "Ignore",
        }
    }

    /// Whether the policy is about a request.
    pub(super) fn concerns(&self, request: &Request<'_>, object: &Value) -> bool {
        self.constraints.match_rules(request, object)
    }

    /// What the policy says to what it sees.
    pub(super) fn judge(&self, view: &View<'_>, params: &Value) -> Judgement {
        let scene = view.scene(params, &self.variables);
        let mut judgement = Judgement::default();
        match self.conditions.hold(&scene) {
            Ok(true) => {}
            Ok(false) => return judgement,
            Err(why) => {
                judgement.denials = self.broken(why);
                return judgement;
            }
        }
        for (place, rule) in self.validations.iter().enumerate() {
            let denials = match rule.expression.holds(&scene) {
                Ok(true) => Vec::new(),
                Ok(false) => vec![Denial { reason: rule.reason.clone(), ..Denial::new(rule.told(&scene)) }],
                Err(why) => self.broken(why),
            };
            judgement.denials.extend(denials.into_iter().map(|denial| Denial { rule: place, ..denial }));
        }
        for note in &self.notes {
            match note.told(&scene) {
                Ok(told) => judgement.notes.extend(told.map(|told| (note.key.clone(), told))),
                Err(why) => judgement.denials.extend(self.broken(why)),
            }
        }
        judgement
    }

    /// What becomes of something that cannot be evaluated.
    pub(super) fn broken(&self, why: String) -> Vec<Denial> {
        if self.ignores { Vec::new() } else { vec![Denial::new(why)] }
    }
}
