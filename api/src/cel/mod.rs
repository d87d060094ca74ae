//! CEL, the expression language of Kubernetes' rules: checked once, evaluated within a budget.
//!
//! Custom resources' validation rules and admission policies are written in it. A [`Program`] is
//! an expression whose types were checked against an [`Environment`]; it reads JSON where it lies
//! and pays a [`Budget`] for every step, so that none runs for ever. There is no clock, no thread
//! and no I/O here. Deliberately ours: the crates there are check no types and stop at nothing.
//! Not here: protobuf messages, and what only admission knows, which comes in as a [`Host`].

mod duration;
mod semver;
mod url;

mod format;
mod meter;
mod types;

mod value;

mod arithmetic;
mod text;

mod library;

mod syntax;

mod parse;

mod check;
mod evaluate;

use std::fmt;

pub use duration::Duration;
pub(crate) use format::is_uuid;
pub use meter::{Budget, PER_EXPRESSION, PER_OBJECT, compile as compile_pattern};
pub use types::{ObjectType, Type, escape};
pub use url::Url;
pub use value::{Dictionary, Host, Key, List, Text, Value};

use crate::cel::evaluate::Evaluation;
use crate::cel::meter::Meter;
use crate::cel::syntax::Expr;

/// What is wrong with an expression, and where: printed with the line and a mark under the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct CompileError {
    message: String,
    line: usize,
    column: usize,
    source_line: String,
}

impl CompileError {
    /// At a character of the text.
    pub(crate) fn at(text: &str, at: u32, message: String) -> CompileError {
        let before: String = text.chars().take(at as usize).collect();
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count());
        let source_line = text.split('\n').nth(line).unwrap_or_default().to_owned();
        CompileError { message, line, column, source_line }
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = (self.line + 1, self.column + 1);
        write!(f, "ERROR: <input>:{line}:{column}: {}", self.message)?;
        if self.source_line.len() <= 1000 {
            write!(f, "\n | {}\n | {}^", self.source_line, ".".repeat(self.column))?;
        }
        Ok(())
    }
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// The types do not fit, which was not known before.
    #[error("no such overload")]
    NoSuchOverload,
    /// The budget is spent.
    #[error("operation cancelled: actual cost limit exceeded")]
    TooExpensive,
    /// Anything else: a key that is not there, an overflow, a text that cannot be read.
    #[error("{0}")]
    Failed(String),
}

/// The variables that an expression may read, and their types.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: Vec<(String, Type)>,
    messages: Vec<&'static str>,
}

impl Environment {
    /// No variables.
    pub fn new() -> Environment {
        Environment::default()
    }

    /// With one more.
    pub fn with(mut self, name: &str, kind: Type) -> Environment {
        self.variables.push((name.to_owned(), kind));
        self
    }

    /// With a type of which expressions may make objects, and whatever type is named below it.
    pub fn with_message(mut self, name: &'static str) -> Environment {
        self.messages.push(name);
        self
    }

    pub(crate) fn makes(&self, name: &str) -> bool {
        let below = |one: &&'static str| name.strip_prefix(one).is_some_and(|rest| rest.starts_with('.'));
        self.messages.iter().any(|one| *one == name || below(one))
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&Type> {
        self.variables.iter().rev().find(|(one, _)| one == name).map(|(_, kind)| kind)
    }
}

/// The values of variables.
#[derive(Clone, Debug, Default)]
pub struct Inputs<'a> {
    values: Vec<(&'static str, Value<'a>)>,
}

impl<'a> Inputs<'a> {
    /// None.
    pub fn new() -> Inputs<'a> {
        Inputs::default()
    }

    /// With one more.
    pub fn with(mut self, name: &'static str, value: Value<'a>) -> Inputs<'a> {
        self.values.push((name, value));
        self
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.values.iter().rev().find(|(one, _)| *one == name).map(|(_, value)| value)
    }
}

/// An expression whose types fit.
#[derive(Debug)]
pub struct Program {
    expression: Expr,
    result: Type,
}

impl Program {
    /// Reads and checks an expression.
    pub fn compile(text: &str, environment: &Environment) -> Result<Program, CompileError> {
        let expression = parse::parse(text)?;
        let result = check::check(text, &expression, environment)?;
        Ok(Program { expression, result })
    }

    /// The type of its value.
    pub fn result(&self) -> &Type {
        &self.result
    }

    /// Whether it reads a variable.
    pub fn reads(&self, variable: &str) -> bool {
        let mut names = Vec::new();
        self.expression.names(&mut names);
        names.contains(&variable)
    }

    /// Its value.
    pub fn evaluate<'a>(
        &'a self,
        inputs: &Inputs<'a>,
        budget: &mut Budget,
    ) -> Result<Value<'a>, EvaluateError> {
        let mut evaluation = Evaluation { inputs, meter: Meter::new(budget), bound: Vec::new() };
        let value = evaluation.value(&self.expression)?;
        // Lists may hold the same list many times: whoever writes it out must not be surprised.
        value.weigh(&mut evaluation.meter)?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value as Json, json};

    fn environment() -> Environment {
        let port = Type::Object(
            ObjectType::new([("name".to_owned(), Type::Text), ("port".to_owned(), Type::Int)]).into(),
        );
        let object = ObjectType::new([
            ("replicas".to_owned(), Type::Int),
            ("name".to_owned(), Type::Text),
            ("ratio".to_owned(), Type::Double),
            ("ports".to_owned(), Type::list(port)),
            ("labels".to_owned(), Type::map(Type::Text)),
            ("x-y".to_owned(), Type::Bool),
            ("namespace".to_owned(), Type::Text),
            ("any".to_owned(), Type::Dyn),
            ("when".to_owned(), Type::Timestamp),
        ]);
        Environment::new().with("self", Type::Object(object.into())).with("object", Type::Dyn)
    }

    fn object() -> Json {
        json!({
            "replicas": 3, "name": "web", "ratio": 2, "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 443}],
            "labels": {"app": "web"}, "x-y": true, "namespace": "default", "any": {"a__b": [1, 2.5, "x"]},
            "when": "2026-01-02T03:04:05Z",
        })
    }

    fn evaluate(text: &str) -> Result<Json, String> {
        let program = Program::compile(text, &environment()).map_err(|error| error.to_string())?;
        let object = object();
        let kind = environment().variable("self").unwrap().clone();
        let inputs =
            Inputs::new().with("self", Value::view(&object, &kind)).with("object", Value::of(&object));
        let value = program.evaluate(&inputs, &mut Budget::default()).map_err(|error| error.to_string())?;
        Ok(value.to_json())
    }

    #[test]
    fn expressions_have_values() {
        for (text, expected) in [
            ("1 + 2 * 3 - 4 / 2 % 3", json!(5)),
            ("-self.replicas + 5", json!(2)),
            ("self.replicas > 2 && self.name == 'web'", json!(true)),
            ("self.ratio", json!(2.0)),
            ("self.ratio > 1.5 ? 'a' : 'b'", json!("a")),
            ("self.ports.all(p, p.port > 0)", json!(true)),
            ("self.ports.exists(p, p.name == 'b')", json!(true)),
            ("self.ports.exists_one(p, p.port == 80)", json!(true)),
            ("self.ports.map(p, p.port)", json!([80, 443])),
            ("self.ports.map(p, p.port > 100, p.name)", json!(["b"])),
            ("self.ports.filter(p, p.port > 100).size()", json!(1)),
            ("self.ports.all(i, p, i < 2 && p.port > 0)", json!(true)),
            ("self.labels.all(k, k == 'app')", json!(true)),
            ("self.labels.transformMap(k, v, v + k)", json!({"app": "webapp"})),
            ("self.ports.transformList(i, p, p.port + i)", json!([80, 444])),
            ("has(self.name) && !has(object.nothing)", json!(true)),
            ("self.x__dash__y && self.__namespace__ == 'default'", json!(true)),
            ("object.any.a__underscores__b[0] == 1.0", json!(true)),
            ("object.any.a__underscores__b[2]", json!("x")),
            ("'app' in self.labels && 2 in [1, 2]", json!(true)),
            ("self.labels['app'].upperAscii()", json!("WEB")),
            ("'hello'.substring(1, 3) + 'x'.replace('x', 'y') + ' a '.trim()", json!("elya")),
            ("'a,b,c'.split(',', 2)", json!(["a", "b,c"])),
            ("['a', 'b'].join('-')", json!("a-b")),
            ("'héllo'.indexOf('l') == 2 && 'hello'.lastIndexOf('l') == 3", json!(true)),
            ("'abc123'.matches('^[a-z]+[0-9]+$')", json!(true)),
            ("'a1b22'.findAll('[0-9]+')", json!(["1", "22"])),
            ("'%s is %d or %.2f'.format(['x', 3, 1.5])", json!("x is 3 or 1.50")),
            ("[3, 1, 2].max() + [3, 1, 2].min() + [1, 2].sum()", json!(7)),
            ("[1, 2, 2].isSorted() && [1, 2].indexOf(2) == 1", json!(true)),
            ("sets.contains([1, 2, 3], [1]) && sets.equivalent([1], [1, 1])", json!(true)),
            ("quantity('1Gi').isGreaterThan(quantity('500Mi'))", json!(true)),
            ("quantity('50k').add(1000).asInteger()", json!(51000)),
            ("url('https://example.com:80/a?b=c').getPort()", json!("80")),
            ("cidr('10.0.0.0/8').containsIP('10.1.2.3')", json!(true)),
            ("ip('::1').isLoopback() && ip('10.0.0.1').family() == 4", json!(true)),
            ("semver('1.2.3').isLessThan(semver('1.10.0'))", json!(true)),
            ("format.dns1123Label().validate('-').hasValue()", json!(true)),
            ("duration('1h30m').getMinutes()", json!(90)),
            ("self.when.getHours() + self.when.getFullYear()", json!(2029)),
            ("self.when + duration('1h') > self.when", json!(true)),
            (
                "timestamp('2026-01-01T00:00:00Z') - timestamp('2025-01-01T00:00:00Z') == duration('8760h')",
                json!(true),
            ),
            ("object.?any.?missing.orValue('x')", json!("x")),
            ("object.?name.optMap(n, n + '!').orValue('')", json!("web!")),
            ("optional.of(1).hasValue() && !optional.none().hasValue()", json!(true)),
            ("[?object.?name, ?object.?nothing]", json!(["web"])),
            ("{'a': 1, ?'b': object.?nothing}", json!({"a": 1})),
            ("cel.bind(x, self.replicas * 2, x + x)", json!(12)),
            (
                "type(1) == int && type('a') != int && type(self.when) == google.protobuf.Timestamp",
                json!(true),
            ),
            ("string(1) + string(true) + string(1.5) + string(b'a')", json!("1true1.5a")),
            ("int('7') + int(2.9) + int(3u)", json!(12)),
            ("object.nothing == 1 || true", json!(true)),
            ("false && 1 / 0 == 1", json!(false)),
            ("1 < 1.5 && 2u > 1", json!(true)),
            ("'\\u00e9' == 'é' && r'\\n' == '\\\\n' && \"\"\"a\nb\"\"\".size() == 3", json!(true)),
            ("0x1F + 1", json!(32)),
            ("-9223372036854775808 < 0", json!(true)),
        ] {
            assert_eq!(evaluate(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn types_that_do_not_fit_are_found_before_anything_runs() {
        for (text, expected) in [
            ("self.foo", "ERROR: <input>:1:5: undefined field 'foo'\n | self.foo\n | ....^"),
            (
                "foo > 1",
                "ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')\n | foo > 1\n | ^",
            ),
            (
                "self.replicas > 'a'",
                "ERROR: <input>:1:15: found no matching overload for '_>_' applied to '(int, string)'\n | self.replicas > 'a'\n | ..............^",
            ),
            (
                "self.replicas.startsWith('a')",
                "ERROR: <input>:1:25: found no matching overload for 'startsWith' applied to 'int.(string)'",
            ),
            (
                "self.name + 1",
                "ERROR: <input>:1:11: found no matching overload for '_+_' applied to '(string, int)'",
            ),
            ("nope(1)", "ERROR: <input>:1:5: undeclared reference to 'nope' (in container '')"),
            (
                "self.replicas.all(x, true)",
                "ERROR: <input>:1:5: expression of type 'int' cannot be range of a comprehension",
            ),
            (
                "self.name && true",
                "ERROR: <input>:1:11: found no matching overload for '_&&_' applied to '(string, bool)'",
            ),
            (
                "self.replicas == 'a'",
                "ERROR: <input>:1:15: found no matching overload for '_==_' applied to '(int, string)'",
            ),
            (
                "true ? 1 : 'a'",
                "ERROR: <input>:1:6: found no matching overload for '_?_:_' applied to '(bool, int, string)'",
            ),
            ("self.ports.all(p, p.host == 'a')", "ERROR: <input>:1:20: undefined field 'host'"),
        ] {
            let error = evaluate(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn objects_are_made_of_declared_types_alone() {
        let environment = Environment::new().with_message("Object").with_message("JSONPatch");
        let compile = |text: &str| Program::compile(text, &environment);
        let program = compile("Object{a: Object.a{b: [1], in: 'x', ?c: optional.none()}}").unwrap();
        let value = program.evaluate(&Inputs::new(), &mut Budget::default()).unwrap().to_json();
        assert_eq!(value, json!({"a": {"b": [1], "in": "x"}}));
        for (text, expected) in [
            ("Other{a: 1}", "undeclared reference to 'Other'"),
            ("Objects{a: 1}", "undeclared reference to 'Objects'"),
            ("JSONPatch{paths: ''}", "undefined field 'paths'"),
            ("Object{a: b}", "undeclared reference to 'b'"),
            ("Object{'a': 1}", "expecting IDENTIFIER"),
        ] {
            let error = compile(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(Program::compile("Object{}", &Environment::new()).is_err());
    }

    #[test]
    fn what_fails_says_so() {
        for (text, expected) in [
            ("object.nothing == 1", "no such key: nothing"),
            ("object.ports[7]", "index out of bounds: 7"),
            ("object.labels['b']", "no such key: b"),
            ("1 / (self.replicas - 3)", "division by zero"),
            ("9223372036854775807 + self.replicas", "integer overflow"),
            ("object.name + object.replicas", "no such overload"),
            ("int(self.name)", "strconv.ParseInt: parsing \"web\": invalid syntax"),
            ("quantity(self.name)", "quantities must match the regular expression"),
            ("'a'.matches('(')", "error parsing regexp: unclosed group: `(`"),
            ("optional.none().value()", "optional.none() dereference"),
        ] {
            let error = evaluate(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn nothing_runs_for_ever_or_grows_without_bound() {
        let shared = |last: &str| {
            (0..40)
                .rev()
                .fold(last.to_owned(), |inner, i| format!("cel.bind(v{}, [v{i}, v{i}], {inner})", i + 1))
        };
        let ten = "[0,1,2,3,4,5,6,7,8,9]";
        let deep = (0..12).fold("true".to_owned(), |inner, i| format!("{ten}.all(x{i}, {inner})"));
        let doubled = (0..40).fold("v0".to_owned(), |_, _| "v40".to_owned());
        let growing =
            (0..40).rev().fold(doubled, |inner, i| format!("cel.bind(v{}, v{i} + v{i}, {inner})", i + 1));
        for text in [
            deep,
            format!("cel.bind(v0, 'aaaaaaaaaaaaaaaa', {growing})"),
            format!("cel.bind(v0, [1, 2], {growing})"),
            format!("cel.bind(v0, [1, 2], {})", shared("v40")),
            format!("cel.bind(v0, [1, 2], {})", shared("v40 == v40")),
            format!("cel.bind(v0, [1, 2], {})", shared("v40 in [v40]")),
            format!("cel.bind(v0, [1, 2], {})", shared("'%s'.format([v40])")),
            "lists.range(1000000000).size()".to_owned(),
            format!(
                "{ten}.map(a, {ten}.map(b, {ten}.map(c, {ten}.map(d, {ten}.map(e, {ten}.map(f, 'x'))))))"
            ),
            "'a'.matches('(((a{100}){100}){100}){100}')".to_owned(),
        ] {
            let error = evaluate(&text).unwrap_err();
            let bounded =
                ["operation cancelled: actual cost limit exceeded", "error parsing regexp", "ERROR"];
            assert!(bounded.iter().any(|start| error.starts_with(start)), "{text}: {error}");
        }
        let mut budget = Budget::new(10);
        let program = Program::compile("[1,2,3].all(x, x > 0)", &Environment::new()).unwrap();
        assert_eq!(program.evaluate(&Inputs::new(), &mut budget).unwrap_err(), EvaluateError::TooExpensive);
        assert!(budget.is_spent());
    }
}
