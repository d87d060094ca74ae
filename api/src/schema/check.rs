//! Does a JSON object fit its type? What kube-apiserver learns by decoding into a Go struct.
//!
//! Unknown fields and wrong types are found by walking the object along its definition. `null`
//! fits everywhere, as in Go, and means absent; [`prune`] makes it so. Meaning is not checked.

use std::fmt;

use base64::Engine as _;
use serde_json::Value;

use crate::quantity::Quantity;
use crate::schema::{Definition, Node, Shape, definition};
use crate::time::Timestamp;

/// Problems beyond this many are not looked for.
const MOST: usize = 100;

/// One thing wrong with an object's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, e.g. `spec.containers[0].imagee`; empty for the object itself.
    pub path: String,
    /// What is wrong there.
    pub what: What,
}

/// What is wrong at a [`Problem`]'s path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The type has no such field.
    Unknown,
    /// The field is given twice in the same object.
    Duplicate,
    /// The value has another JSON type than the field.
    WrongType {
        /// The field as Go's JSON decoder names it, e.g. `DeploymentSpec.spec.replicas`.
        field: String,
        /// The Go type of the field, e.g. `int32` or `[]v1.Container`.
        want: String,
        /// What was found, e.g. `string` or `number 1.5`.
        got: String,
    },
    /// A string that the special type (time, quantity, base64) cannot be read from.
    Malformed(String),
}

impl Problem {
    /// Whether kube-apiserver refuses it whatever `fieldValidation` says.
    pub fn fatal(&self) -> bool {
        matches!(self.what, What::WrongType { .. } | What::Malformed(_))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Unknown => write!(f, "unknown field {:?}", self.path),
            What::Duplicate => write!(f, "duplicate field {:?}", self.path),
            What::WrongType { field, want, got } if field.is_empty() => {
                write!(f, "json: cannot unmarshal {got} into Go value of type {want}")
            }
            What::WrongType { field, want, got } => {
                write!(f, "json: cannot unmarshal {got} into Go struct field {field} of type {want}")
            }
            What::Malformed(message) => f.write_str(message),
        }
    }
}

/// The message of kube-apiserver's strict decoding: every unknown or duplicate field.
pub fn strict_message(problems: &[Problem]) -> String {
    let list: Vec<String> = problems.iter().map(Problem::to_string).collect();
    format!("strict decoding error: {}", list.join(", "))
}

/// Everything wrong with the form of `object`, in document order, at most a hundred things.
/// A schema name that is not in the table checks nothing.
pub fn check(schema: &str, object: &Value) -> Vec<Problem> {
    let mut checker = Checker { stack: Vec::new(), problems: Vec::new() };
    if let Some(definition) = definition(schema) {
        checker.value(definition, definition.node(), object);
    }
    checker.problems
}

/// Makes `object` what a Go struct would remember of it, and how it would write it: unknown
/// fields and nulls are gone, quantities and times are in their canonical form. Values of a
/// wrong type are left alone; [`check`] reports them.
pub fn prune(schema: &str, object: &mut Value) {
    if let Some(definition) = definition(schema) {
        prune_shape(definition.shape(), object);
    }
}

fn prune_shape(shape: Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Struct(definition), Value::Object(fields)) => {
            fields.retain(|name, value| match definition.field(name) {
                Some(field) if !value.is_null() => {
                    prune_shape(field.node().shape(), value);
                    true
                }
                _ => false,
            })
        }
        (Shape::Array(item), Value::Array(items)) => {
            let shape = item.shape();
            for item in items {
                *item = match (item.take(), shape) {
                    (Value::Null, Shape::Struct(_)) => Value::Object(serde_json::Map::new()),
                    (Value::Null, Shape::String) => Value::String(String::new()),
                    (other, _) => other,
                };
                prune_shape(shape, item);
            }
        }
        (Shape::Map(item), Value::Object(values)) => {
            let shape = item.shape();
            if shape == Shape::String {
                values
                    .values_mut()
                    .filter(|value| value.is_null())
                    .for_each(|value| *value = Value::String(String::new()));
            }
            values.retain(|_, value| !value.is_null());
            values.values_mut().for_each(|value| prune_shape(shape, value));
        }
        (shape, value) => {
            if let Some(canonical) = canonical(shape, value) {
                *value = Value::String(canonical);
            }
        }
    }
}

/// How Go writes a value of a special type.
fn canonical(shape: Shape, value: &Value) -> Option<String> {
    match (shape, value) {
        (Shape::Quantity, Value::String(text)) => Some(Quantity::parse(text).ok()?.to_string()),
        (Shape::Quantity, Value::Number(number)) => {
            Some(Quantity::parse(&number.to_string()).ok()?.to_string())
        }
        (Shape::Time, Value::String(text)) => Some(Timestamp::parse(text).ok()?.seconds()),
        (Shape::MicroTime, Value::String(text)) => Some(Timestamp::parse(text).ok()?.micros()),
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'static str, Definition),
    Key(&'a str),
    Index(usize),
}

struct Checker<'a> {
    stack: Vec<Step<'a>>,
    problems: Vec<Problem>,
}

impl<'a> Checker<'a> {
    fn value(&mut self, root: Definition, node: Node, value: &'a Value) {
        if value.is_null() || self.problems.len() >= MOST {
            return;
        }
        // A definition's own node says "struct" without saying of what.
        let shape = if self.stack.is_empty() { root.shape() } else { node.shape() };
        match (shape, value) {
            (Shape::Any, _) => {}
            (Shape::Struct(definition), Value::Object(fields)) => {
                for (name, value) in fields {
                    match definition.field(name) {
                        Some(field) => {
                            self.within(Step::Field(field.name(), definition), root, field.node(), value)
                        }
                        None if self.problems.len() < MOST => self.unknown(name),
                        None => return,
                    }
                }
            }
            (Shape::Array(item), Value::Array(items)) => {
                for (index, value) in items.iter().enumerate() {
                    self.within(Step::Index(index), root, item, value);
                }
            }
            (Shape::Map(item), Value::Object(values)) => {
                for (key, value) in values {
                    self.within(Step::Key(key), root, item, value);
                }
            }
            (shape, value) => {
                if let Err(what) = scalar(shape, value) {
                    self.scalar_problem(shape, what);
                }
            }
        }
    }

    fn within(&mut self, step: Step<'a>, root: Definition, node: Node, value: &'a Value) {
        self.stack.push(step);
        self.value(root, node, value);
        self.stack.pop();
    }

    fn unknown(&mut self, name: &'a str) {
        self.stack.push(Step::Key(name));
        let path = self.path();
        self.stack.pop();
        self.problems.push(Problem { path, what: What::Unknown });
    }

    fn scalar_problem(&mut self, shape: Shape, mismatch: Mismatch) {
        let what = match mismatch {
            Mismatch::Malformed(message) => What::Malformed(message),
            Mismatch::Type(got) => What::WrongType { field: self.go_field(), want: go_type(shape), got },
        };
        self.problems.push(Problem { path: self.path(), what });
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for step in &self.stack {
            match step {
                Step::Index(index) => path.push_str(&format!("[{index}]")),
                Step::Field(name, _) | Step::Key(name) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(name);
                }
            }
        }
        path
    }

    /// The struct that has the field, then the fields from the root, without indices and keys.
    fn go_field(&self) -> String {
        let mut owner = None;
        let mut path = String::new();
        for step in &self.stack {
            if let Step::Field(name, definition) = step {
                owner = Some(definition.short_name());
                path.push('.');
                path.push_str(name);
            }
        }
        owner.map_or(String::new(), |owner| format!("{owner}{path}"))
    }
}

enum Mismatch {
    Type(String),
    Malformed(String),
}

fn scalar(shape: Shape, value: &Value) -> Result<(), Mismatch> {
    match (shape, value) {
        (Shape::String, Value::String(_)) | (Shape::Boolean, Value::Bool(_)) => Ok(()),
        (Shape::Int64, Value::Number(number)) if number.is_i64() => Ok(()),
        (Shape::Int32 | Shape::IntOrString, Value::Number(number)) if fits_32_bits(number) => Ok(()),
        (Shape::Int32 | Shape::Int64 | Shape::IntOrString, Value::Number(number)) => {
            Err(Mismatch::Type(format!("number {number}")))
        }
        (Shape::IntOrString, Value::String(_)) | (Shape::Double, Value::Number(_)) => Ok(()),
        (Shape::Bytes, Value::String(text)) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map(|_| ())
            .map_err(|error| Mismatch::Malformed(base64_message(&error))),
        (Shape::Time | Shape::MicroTime, Value::String(text)) => match Timestamp::parse(text) {
            Ok(_) => Ok(()),
            Err(_) => Err(Mismatch::Malformed(format!(
                "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
            ))),
        },
        (Shape::Quantity, Value::Number(_)) => Ok(()),
        (Shape::Quantity, Value::String(text)) => match Quantity::parse(text) {
            Ok(_) => Ok(()),
            Err(error) => Err(Mismatch::Malformed(error.to_string())),
        },
        (_, value) => Err(Mismatch::Type(json_type(value).to_owned())),
    }
}

fn fits_32_bits(number: &serde_json::Number) -> bool {
    number.as_i64().is_some_and(|value| i32::try_from(value).is_ok())
}

fn base64_message(error: &base64::DecodeError) -> String {
    let at = match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => *at,
        base64::DecodeError::InvalidLength(length) => *length,
        base64::DecodeError::InvalidPadding => 0,
    };
    format!("illegal base64 data at input byte {at}")
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn go_type(shape: Shape) -> String {
    match shape {
        Shape::Struct(definition) => {
            let mut parts = definition.name().rsplit('.');
            let (name, package) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
            format!("{package}.{name}")
        }
        Shape::Array(item) => format!("[]{}", go_type(item.shape())),
        Shape::Map(item) => format!("map[string]{}", go_type(item.shape())),
        Shape::String => "string".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Boolean => "bool".to_owned(),
        Shape::Int32 | Shape::IntOrString => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Double => "float64".to_owned(),
        Shape::Time => "v1.Time".to_owned(),
        Shape::MicroTime => "v1.MicroTime".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::Any => "interface {}".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";

    #[track_caller]
    fn says(schema: &str, object: Value, expected: &[&str]) {
        let found: Vec<String> = check(schema, &object).iter().map(Problem::to_string).collect();
        assert_eq!(found, expected, "{object}");
    }

    #[test]
    fn unknown_fields_are_named_with_their_path() {
        says(DEPLOYMENT, json!({"spec": {"foo": 1}}), &[r#"unknown field "spec.foo""#]);
        says(
            DEPLOYMENT,
            json!({"kind": "Deployment", "x": {}, "spec": {"template": {"spec": {"containers": [{}, {"imagee": "a"}]}}}}),
            &[r#"unknown field "spec.template.spec.containers[1].imagee""#, r#"unknown field "x""#],
        );
        says(DEPLOYMENT, json!({"metadata": {"labels": {"anything": "goes"}}}), &[]);
        let problems = check(DEPLOYMENT, &json!({"spec": {"foo": 1, "bar": 2}}));
        assert_eq!(
            strict_message(&problems),
            r#"strict decoding error: unknown field "spec.bar", unknown field "spec.foo""#
        );
        assert!(!problems[0].fatal());
    }

    #[test]
    fn wrong_types_read_like_gos_decoder() {
        let in_spec = |spec: Value| json!({"spec": spec});
        let cases: &[(Value, &str)] = &[
            (
                in_spec(json!({"replicas": "3"})),
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                in_spec(json!({"replicas": 1.5})),
                "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                in_spec(json!({"replicas": 3_000_000_000i64})),
                "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                in_spec(json!({"paused": 1})),
                "json: cannot unmarshal number into Go struct field DeploymentSpec.spec.paused of type bool",
            ),
            (
                in_spec(json!([])),
                "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec",
            ),
            (
                in_spec(json!({"template": {"spec": {"containers": {}}}})),
                "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
            ),
            (
                in_spec(json!({"template": {"spec": {"containers": [{"env": [{"value": 1}]}]}}})),
                "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
            ),
            (
                json!({"metadata": {"labels": {"a": true}}}),
                "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
            ),
            (json!([]), "json: cannot unmarshal array into Go value of type v1.Deployment"),
        ];
        for (object, expected) in cases {
            says(DEPLOYMENT, object.clone(), &[expected]);
            assert!(check(DEPLOYMENT, object)[0].fatal());
        }
        assert_eq!(check(DEPLOYMENT, &cases[6].0)[0].path, "spec.template.spec.containers[0].env[0].value");
    }

    #[test]
    fn special_types_are_read() {
        let pod = "io.k8s.api.core.v1.Pod";
        let limits =
            |value: Value| json!({"spec": {"containers": [{"resources": {"limits": {"cpu": value}}}]}});
        for good in [
            json!("100m"),
            json!(1),
            json!(0.5),
            json!("1Gi"),
            json!("1e3"),
            json!("-2.5"),
            json!(".5"),
            json!("1E"),
        ] {
            says(pod, limits(good), &[]);
        }
        for bad in ["", "m", "1.2.3", "1 Gi", "1KiB", "ten"] {
            let said = check(pod, &limits(json!(bad)))[0].to_string();
            assert!(said.contains("quantit"), "{bad}: {said}");
        }
        says(pod, json!({"metadata": {"creationTimestamp": "2026-11-22T23:00:00Z"}}), &[]);
        says(pod, json!({"metadata": {"creationTimestamp": null}}), &[]);
        says(
            pod,
            json!({"metadata": {"creationTimestamp": "x"}}),
            &[r#"parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006""#],
        );
        let port = |value: Value| json!({"spec": {"ports": [{"targetPort": value}]}});
        let service = "io.k8s.api.core.v1.Service";
        says(service, port(json!("http")), &[]);
        says(service, port(json!(8080)), &[]);
        assert_eq!(check(service, &port(json!(true))).len(), 1);
        let secret = "io.k8s.api.core.v1.Secret";
        says(secret, json!({"data": {"a": "aGk="}}), &[]);
        says(secret, json!({"data": {"a": "!"}}), &["illegal base64 data at input byte 0"]);
    }

    #[test]
    fn pruning_leaves_what_a_struct_would_hold() {
        let mut object = json!({
            "metadata": {"creationTimestamp": null, "name": "a", "labels": {"x": null}, "x": 1},
            "spec": {"replicas": null, "template": {"spec": {"containers": [{"name": "c", "image": null, "y": {}}]}}},
            "z": null,
        });
        prune(DEPLOYMENT, &mut object);
        let expected = json!({
            "metadata": {"name": "a", "labels": {"x": ""}},
            "spec": {"template": {"spec": {"containers": [{"name": "c"}]}}},
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn pruning_writes_values_as_go_writes_them() {
        let mut pod = json!({
            "metadata": {"creationTimestamp": "2026-11-22T23:00:00.5+01:00"},
            "spec": {"containers": [{"resources": {"limits": {"cpu": "1000m", "memory": "1024Mi", "x": 0.5, "y": "?"}}}]},
        });
        prune("io.k8s.api.core.v1.Pod", &mut pod);
        let limits = json!({"cpu": "1", "memory": "1Gi", "x": "500m", "y": "?"});
        assert_eq!(pod["spec"]["containers"][0]["resources"]["limits"], limits);
        assert_eq!(pod["metadata"]["creationTimestamp"], "2026-11-22T22:00:00Z");
        let mut lease = json!({"spec": {"renewTime": "2026-11-22T23:00:00Z"}});
        prune("io.k8s.api.coordination.v1.Lease", &mut lease);
        assert_eq!(lease["spec"]["renewTime"], "2026-11-22T23:00:00.000000Z");
    }

    #[test]
    fn problems_are_bounded() {
        let many: serde_json::Map<String, Value> = (0..1000).map(|i| (format!("f{i}"), json!(1))).collect();
        let lists = json!({"spec": {"template": {"spec": {"containers": vec![json!({"name": 1}); 1000]}}}});
        assert_eq!(check(DEPLOYMENT, &lists).len(), MOST);
        assert!(check(DEPLOYMENT, &Value::Object(many)).len() <= MOST);
    }
}
