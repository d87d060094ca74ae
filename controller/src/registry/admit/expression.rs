//! CEL over a request: what policies and the conditions of webhooks read, and how their expressions are evaluated.
//!
//! Everything but `variables` and `authorizer` is JSON of no declared type. Variables are worked out when somebody
//! reads them, once.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use edge_api::cel::{Budget, Environment, EvaluateError, Host, Inputs, Program, Type, Value as Cel};
use edge_api::meta::{items, text};
use parking_lot::Mutex;
use serde_json::Value;

use crate::registry::admit::authorizer::Authorizer;
use crate::registry::admit::{Request, review};

/// An expression with the text that it is told by; what does not compile fails when it is evaluated.
pub(super) struct Expression {
    /// As written.
    pub text: String,
    program: Result<Program, String>,
}

/// The variables that an expression may read.
fn environment() -> Environment {
    ["object", "oldObject", "request", "namespaceObject", "params", "variables", "authorizer"]
        .iter()
        .fold(Environment::new(), |environment, name| environment.with(name, Type::Dyn))
}

impl Expression {
    /// Compiles a text.
    pub(super) fn new(text: &str) -> Expression {
        Expression::within(text, &environment())
    }

    /// Compiles a text that makes a change: a part of the object, or operations on it.
    pub(super) fn of_change(text: &str) -> Expression {
        Expression::within(text, &environment().with_message("Object").with_message("JSONPatch"))
    }

    fn within(text: &str, environment: &Environment) -> Expression {
        let program = Program::compile(text, environment);
        let program = program.map_err(|error| format!("compilation failed: {error}"));
        Expression { text: text.to_owned(), program }
    }

    /// The expression of a field; none if there is none.
    pub(super) fn at(object: &Value, field: &str) -> Option<Expression> {
        Some(text(object, &[field])).filter(|text| !text.is_empty()).map(Expression::new)
    }

    /// Its value.
    pub(super) fn evaluate<'a>(&'a self, scene: &Scene<'a>) -> Result<Cel<'a>, String> {
        let program = self.program.as_ref().map_err(Clone::clone)?;
        let value = program.evaluate(&scene.inputs, &mut scene.shared.budget.lock());
        value.map_err(|error| error.to_string())
    }

    /// Whether it is true; the error tells the expression.
    pub(super) fn holds<'a>(&'a self, scene: &Scene<'a>) -> Result<bool, String> {
        match self.evaluate(scene) {
            Ok(Cel::Bool(truth)) => Ok(truth),
            Ok(_) => Err(self.failed("the result is no truth value")),
            Err(why) => Err(self.failed(&why)),
        }
    }

    /// What is said when it cannot be evaluated.
    pub(super) fn failed(&self, why: &str) -> String {
        format!("expression '{}' resulted in error: {why}", self.text)
    }
}

/// Expressions by name: variables, or conditions.
#[derive(Default)]
pub(super) struct Named(Vec<(String, Expression)>);

impl Named {
    /// Those of a list whose items have `name` and `expression`.
    pub(super) fn of(list: &[Value]) -> Named {
        let named = list
            .iter()
            .map(|item| (text(item, &["name"]).to_owned(), Expression::new(text(item, &["expression"]))));
        Named(named.collect())
    }

    /// Those of a field of an object.
    pub(super) fn at(object: &Value, field: &str) -> Named {
        Named::of(items(object, &[field]))
    }

    /// Whether all of them hold. One that does not outweighs errors, as in Kubernetes.
    pub(super) fn hold<'a>(&'a self, scene: &Scene<'a>) -> Result<bool, String> {
        let mut errors = Vec::new();
        for (_, condition) in &self.0 {
            match condition.holds(scene) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(why) => errors.push(why),
            }
        }
        match errors.as_slice() {
            [] => Ok(true),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What expressions see of a request, as JSON that they borrow from.
pub(super) struct View<'a> {
    authorizer: Authorizer,
    request: Value,
    object: std::borrow::Cow<'a, Value>,
    old: std::borrow::Cow<'a, Value>,
    namespace: Value,
}

impl<'a> View<'a> {
    /// The view of a request with this object.
    pub(super) fn of(request: &'a Request<'_>, object: &'a Value) -> View<'a> {
        let namespace = match request.target.namespace {
            "" => Value::Null,
            name => request.stored("core", "namespaces", "", name).map_or(Value::Null, |found| found.value()),
        };
        View {
            authorizer: Authorizer::of(request),
            request: review::attributes(request),
            object: review::shown(request, object),
            old: review::shown(request, request.old),
            namespace,
        }
    }

    /// The variables of an evaluation.
    pub(super) fn scene<'b>(&'b self, params: &'b Value, variables: &'b Named) -> Scene<'b> {
        let inputs = Inputs::new()
            .with("object", Cel::of(&self.object))
            .with("oldObject", Cel::of(&self.old))
            .with("request", Cel::of(&self.request))
            .with("namespaceObject", Cel::of(&self.namespace))
            .with("params", Cel::of(params))
            .with("authorizer", Cel::Host(Arc::new(self.authorizer.clone())));
        let shared = Arc::new(Shared {
            variables: &variables.0,
            inputs: inputs.clone(),
            values: Mutex::default(),
            budget: Mutex::default(),
        });
        let all = Variables { shared: shared.clone(), visible: variables.0.len() };
        Scene { inputs: inputs.with("variables", Cel::Host(Arc::new(all))), shared }
    }
}

/// The values that expressions read, and what they may cost together.
pub(super) struct Scene<'a> {
    inputs: Inputs<'a>,
    shared: Arc<Shared<'a>>,
}

struct Shared<'a> {
    variables: &'a [(String, Expression)],
    inputs: Inputs<'a>,
    values: Mutex<HashMap<usize, Result<Cel<'a>, EvaluateError>>>,
    budget: Mutex<Budget>,
}

/// `variables`: each sees those before it.
struct Variables<'a> {
    shared: Arc<Shared<'a>>,
    visible: usize,
}

impl fmt::Debug for Variables<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("variables")
    }
}

impl<'a> Host<'a> for Variables<'a> {
    fn type_name(&self) -> &'static str {
        "kubernetes.variables"
    }

    fn field(&self, name: &str) -> Option<Result<Cel<'a>, EvaluateError>> {
        let shared = &self.shared;
        let place = shared.variables[..self.visible].iter().position(|(variable, _)| variable == name)?;
        let known = shared.values.lock().get(&place).cloned();
        if let Some(value) = known {
            return Some(value);
        }
        let earlier = Variables { shared: shared.clone(), visible: place };
        let inputs = shared.inputs.clone().with("variables", Cel::Host(Arc::new(earlier)));
        let expression: &'a Expression = &shared.variables[place].1;
        let value = match &expression.program {
            // The reader's evaluation holds the budget: a variable has one of its own.
            Ok(program) => program.evaluate(&inputs, &mut Budget::default()),
            Err(why) => Err(EvaluateError::Failed(why.clone())),
        };
        shared.values.lock().insert(place, value.clone());
        Some(value)
    }

    fn call(&self, _: &str, _: &[Cel<'a>]) -> Option<Result<Cel<'a>, EvaluateError>> {
        None
    }
}
