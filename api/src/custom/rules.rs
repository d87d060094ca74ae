//! `x-kubernetes-validations`: rules in CEL, compiled with the schema and asked of every object.

use serde_json::Value;

use crate::cel::{Budget, Environment, EvaluateError, Inputs, Program, Type, Value as Cel};
use crate::error::FieldError;
use crate::schema::ListType;

use crate::custom::structural::{Additional, Structural};
use crate::custom::validate::{child, keyed};

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    text: String,
    message: String,
    reason: String,
    field: String,
    program: Result<Program, String>,
    message_program: Option<Program>,
    /// Whether it speaks of a change.
    transition: bool,
    /// Whether it is asked although there is no old value.
    optional_old: bool,
}

impl Rule {
    /// Compiles a rule about values of a type; beside it, for each of its fields what is wrong.
    pub(crate) fn compile(
        rule: &Value,
        kind: &Type,
        correlated: bool,
    ) -> (Rule, Vec<(&'static str, String)>) {
        let text = |field: &str| rule.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let optional_old = rule.get("optionalOldSelf").and_then(Value::as_bool).unwrap_or(false);
        let old = if optional_old { Type::optional(kind.clone()) } else { kind.clone() };
        let environment = Environment::new().with("self", kind.clone()).with("oldSelf", old);
        let mut faults = Vec::new();
        let program =
            compile(&text("rule"), &environment, &Type::Bool, "cel expression must evaluate to a bool");
        let transition = program.as_ref().is_ok_and(|program| program.reads("oldSelf"));
        if let Err(why) = &program {
            faults.push(("rule", why.clone()));
        } else if transition && !correlated {
            let why = "oldSelf cannot be used on the uncorrelatable portion of the schema";
            faults.push(("rule", why.to_owned()));
        }
        let message = text("messageExpression");
        let message_program = (!message.is_empty()).then(|| {
            compile(&message, &environment, &Type::Text, "messageExpression must evaluate to a string")
        });
        let message_program = match message_program {
            Some(Ok(program)) => Some(program),
            Some(Err(why)) => {
                faults.push((
                    "messageExpression",
                    why.replacen("compilation failed", "messageExpression compilation failed", 1),
                ));
                None
            }
            None => None,
        };
        let rule = Rule {
            text: text("rule").trim().to_owned(),
            message: text("message").trim().to_owned(),
            reason: text("reason"),
            field: text("fieldPath"),
            program,
            message_program,
            transition,
            optional_old,
        };
        (rule, faults)
    }

    /// The rule as errors name it.
    fn shown(&self) -> &str {
        if self.message.is_empty() { &self.text } else { &self.message }
    }
}

fn compile(text: &str, environment: &Environment, wanted: &Type, otherwise: &str) -> Result<Program, String> {
    let program =
        Program::compile(text, environment).map_err(|error| format!("compilation failed: {error}"))?;
    match program.result() {
        result if result == wanted || *result == Type::Dyn => Ok(program),
        _ => Err(otherwise.to_owned()),
    }
}

/// Asks every rule of a schema and what is below it.
pub(crate) struct Asker<'e> {
    pub budget: Budget,
    pub errors: &'e mut Vec<FieldError>,
    spent: bool,
}

impl<'e> Asker<'e> {
    pub(crate) fn new(errors: &'e mut Vec<FieldError>) -> Asker<'e> {
        Asker { budget: Budget::default(), errors, spent: false }
    }

    /// Asks what a value and its old value, if it has one, must hold.
    pub(crate) fn ask(&mut self, schema: &Structural, path: &str, value: &Value, old: Option<&Value>) {
        if self.spent || !schema.has_rules() {
            return;
        }
        if let Some(kind) = &schema.kind
            && !value.is_null()
        {
            for rule in &schema.rules {
                if self.spent {
                    return;
                }
                self.rule(rule, kind, path, value, old);
            }
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let Some(below) = schema.field(name) else { continue };
                    let bracket = !schema.properties.contains_key(name.as_str());
                    let path = child(path, name, bracket);
                    self.ask(below, &path, value, old.and_then(|old| old.get(name)));
                }
            }
            Value::Array(items) => {
                let Some(below) = &schema.items else { return };
                for (index, item) in items.iter().enumerate() {
                    let old = match schema.list_type {
                        Some(ListType::Map) => old.and_then(|old| keyed(schema, old, item)),
                        _ => None,
                    };
                    self.ask(below, &format!("{path}[{index}]"), item, old);
                }
            }
            _ => {}
        }
    }

    fn rule(&mut self, rule: &Rule, kind: &Type, path: &str, value: &Value, old: Option<&Value>) {
        if rule.transition && old.is_none() && !rule.optional_old {
            return;
        }
        // What was wrong before and was not touched may stay.
        if !rule.transition && old == Some(value) {
            return;
        }
        let base = type_word(value);
        let program = match &rule.program {
            Ok(program) => program,
            Err(why) => {
                let detail = format!("rule compile error: {why}");
                return self.errors.push(FieldError::invalid(root(path), base, &detail));
            }
        };
        let old_value = match (old, rule.optional_old) {
            (Some(old), false) => Cel::view(old, kind),
            (Some(old), true) => Cel::Optional(Some(Box::new(Cel::view(old, kind)))),
            (None, _) => Cel::Optional(None),
        };
        let inputs = Inputs::new().with("self", Cel::view(value, kind)).with("oldSelf", old_value);
        match program.evaluate(&inputs, &mut self.budget) {
            Ok(Cel::Bool(true)) => {}
            Ok(Cel::Bool(false)) => {
                let detail = self.message(rule, &inputs);
                let at = with_field(path, &rule.field);
                self.errors.push(refusal(rule, &at, base, &detail));
            }
            Ok(_) => self.failed(rule, path, base, &EvaluateError::NoSuchOverload),
            Err(error) => self.failed(rule, path, base, &error),
        }
    }

    fn message<'a>(&mut self, rule: &'a Rule, inputs: &Inputs<'a>) -> String {
        let said = rule.message_program.as_ref().and_then(|program| {
            match program.evaluate(inputs, &mut self.budget) {
                Ok(Cel::Text(text)) if !text.trim().is_empty() && !text.contains('\n') => {
                    Some(text.trim().to_owned())
                }
                _ => None,
            }
        });
        said.unwrap_or_else(|| match rule.message.as_str() {
            "" => format!("failed rule: {}", rule.text),
            message => message.to_owned(),
        })
    }

    fn failed(&mut self, rule: &Rule, path: &str, base: &str, error: &EvaluateError) {
        let detail = match error {
            EvaluateError::NoSuchOverload => format!(
                "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {}",
                rule.shown()
            ),
            EvaluateError::TooExpensive if self.budget.is_spent() => {
                self.spent = true;
                "validation failed due to running out of cost budget, no further validation rules will be run"
                    .to_owned()
            }
            EvaluateError::TooExpensive => {
                self.spent = true;
                format!(
                    "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                    rule.shown()
                )
            }
            EvaluateError::Failed(_) => format!("{error} evaluating rule: {}", rule.shown()),
        };
        self.errors.push(FieldError::invalid(root(path), base, &detail));
    }
}

impl Structural {
    /// Whether rules are anywhere in it.
    pub(crate) fn has_rules(&self) -> bool {
        let additional = match &self.additional {
            Some(Additional::Values(values)) => values.has_rules(),
            _ => false,
        };
        !self.rules.is_empty()
            || additional
            || self.items.as_ref().is_some_and(|items| items.has_rules())
            || self.properties.values().any(Structural::has_rules)
    }
}

/// The path of the whole object has no name.
pub(crate) fn root(path: &str) -> &str {
    if path.is_empty() { "<nil>" } else { path }
}

fn with_field(path: &str, field: &str) -> String {
    match field {
        "" => root(path).to_owned(),
        field if path.is_empty() => field.trim_start_matches('.').to_owned(),
        field => format!("{path}{field}"),
    }
}

fn refusal(rule: &Rule, path: &str, base: &str, detail: &str) -> FieldError {
    match rule.reason.as_str() {
        "FieldValueForbidden" => FieldError::forbidden(path, detail),
        "FieldValueRequired" => FieldError::required(path, detail),
        "FieldValueDuplicate" => {
            let duplicate = FieldError::duplicate(path, base);
            FieldError { message: format!("{}: {detail}", duplicate.message), ..duplicate }
        }
        _ => FieldError::invalid(path, base, detail),
    }
}

/// The name of a value's JSON type.
pub(crate) fn type_word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
