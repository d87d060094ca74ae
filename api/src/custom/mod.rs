//! Custom resources: what a CustomResourceDefinition says of the objects of one of its versions.
//!
//! A [`Version`] is compiled from a definition: schema, rules, columns, fields, scale. A [`Custom`]
//! is the place where a kind finds the version that counts now; it is swapped whole when the
//! definition changes, and is the one thing in this crate that changes. Which kinds there are is
//! the catalogue's.

mod path;
mod structural;

mod rules;
mod shape;
mod validate;

use std::fmt;
use std::sync::{Arc, RwLock};

use serde_json::{Value, json};

use crate::error::FieldError;
use crate::meta;
use crate::schema::Problem;
use crate::time::{self, Timestamp};

pub use path::Path;
pub(crate) use shape::OBJECT_META;
pub use structural::{Base, Compiler, RuleFault, Structural};

use crate::custom::rules::Asker;
use crate::custom::structural::Additional;
use crate::custom::validate::Validator;

/// Where a kind finds the version of its definition that counts now.
#[derive(Default)]
pub struct Custom(RwLock<Option<Arc<Version>>>);

impl Custom {
    /// A place with nothing in it.
    pub fn new() -> Custom {
        Custom::default()
    }

    /// The version that counts; none once its definition is gone.
    pub fn version(&self) -> Option<Arc<Version>> {
        self.0.read().ok().and_then(|version| version.clone())
    }

    /// Makes another version count.
    pub fn put(&self, version: Option<Arc<Version>>) {
        if let Ok(mut place) = self.0.write() {
            *place = version;
        }
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Custom")
    }
}

/// A printer column.
#[derive(Clone, Debug)]
pub struct PrinterColumn {
    name: String,
    kind: String,
    format: String,
    description: String,
    priority: i64,
    path: Path,
}

/// Where `/scale` finds its numbers.
#[derive(Clone, Debug)]
pub struct Scale {
    /// The wished number.
    pub replicas: Path,
    /// The number that is.
    pub status_replicas: Path,
    /// The selector, as text.
    pub selector: Option<Path>,
}

/// What is known of the objects of one version of a definition.
#[derive(Debug)]
pub struct Version {
    /// `widgets.example.com`
    pub definition: String,
    /// Short names of the resource.
    pub short_names: Vec<String>,
    /// Categories of the resource.
    pub categories: Vec<String>,
    /// The singular name of the resource.
    pub singular: String,
    /// The kind of a list.
    pub list_kind: String,
    /// `example.com/v1`: the version in which objects are stored.
    pub storage: String,
    /// The `clientConfig` of the webhook that makes one version of another; none if they differ in name alone.
    pub conversion: Option<Value>,
    /// Whether the definition is being deleted, so that nothing new can be created.
    pub terminating: bool,
    /// What callers are told, if the version is deprecated.
    pub deprecation: Option<String>,
    /// Whether objects have a status of their own.
    pub has_status: bool,
    /// `/scale`, if objects have it.
    pub scale: Option<Scale>,
    /// Paths of fields that selectors may use.
    pub selectable: Vec<Path>,
    /// The revision of the definition: objects written later have its form already.
    pub since: u64,
    schema: Structural,
    columns: Vec<PrinterColumn>,
    has_defaults: bool,
}

impl Version {
    /// Compiles a version of a definition; none if it has no such.
    pub fn compile(definition: &Value, name: &str, since: u64) -> Option<Version> {
        let spec = definition.get("spec")?;
        let versions = meta::items(spec, &["versions"]);
        let version = versions.iter().find(|version| meta::text(version, &["name"]) == name)?;
        let group = meta::text(spec, &["group"]);
        let names = definition.pointer("/status/acceptedNames").unwrap_or(&spec["names"]);
        let texts = |field: &str| -> Vec<String> {
            meta::items(names, &[field]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let kind = meta::text(names, &["kind"]);
        let storage = versions.iter().find(|version| version["storage"] == true);
        let storage = storage.map_or(name, |version| meta::text(version, &["name"]));
        let nothing = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let schema = Structural::root(version.pointer("/schema/openAPIV3Schema").unwrap_or(&nothing));
        let path = |path: &Value| Path::parse(path.as_str().unwrap_or_default()).ok();
        let selectable = meta::items(version, &["selectableFields"]);
        let deprecated = version["deprecated"] == true;
        let warning = meta::text(version, &["deprecationWarning"]);
        Some(Version {
            definition: meta::name(definition).to_owned(),
            short_names: texts("shortNames"),
            categories: texts("categories"),
            singular: meta::text(names, &["singular"]).to_owned(),
            list_kind: match meta::text(names, &["listKind"]) {
                "" => format!("{kind}List"),
                list => list.to_owned(),
            },
            storage: meta::join_api_version(group, storage),
            conversion: spec
                .pointer("/conversion/webhook/clientConfig")
                .filter(|_| meta::text(spec, &["conversion", "strategy"]) == "Webhook")
                .cloned(),
            terminating: meta::deletion_timestamp(definition).is_some(),
            deprecation: deprecated.then(|| match warning {
                "" => format!("{group}/{name} {kind} is deprecated"),
                warning => warning.to_owned(),
            }),
            has_status: version.pointer("/subresources/status").is_some_and(Value::is_object),
            scale: version.pointer("/subresources/scale").and_then(|scale| {
                Some(Scale {
                    replicas: path(&scale["specReplicasPath"])?,
                    status_replicas: path(&scale["statusReplicasPath"])?,
                    selector: path(&scale["labelSelectorPath"])
                        .filter(|_| scale["labelSelectorPath"].is_string()),
                })
            }),
            selectable: selectable.iter().filter_map(|field| path(&field["jsonPath"])).collect(),
            since,
            has_defaults: schema.has_defaults(),
            columns: columns(meta::items(version, &["additionalPrinterColumns"])),
            schema,
        })
    }

    /// The schema.
    pub fn schema(&self) -> &Structural {
        &self.schema
    }

    /// Brings an object that was sent into its form. The answer is what is wrong with that: unknown fields, and
    /// metadata of wrong types.
    pub fn conform(&self, object: &mut Value) -> Vec<Problem> {
        let mut problems = shape::metadata(object);
        let unknown = shape::prune(&self.schema, object);
        problems.extend(unknown.into_iter().map(|path| Problem { path, what: crate::schema::What::Unknown }));
        problems
    }

    /// Fills in what is absent.
    pub fn default(&self, object: &mut Value) {
        shape::fill(&self.schema, object);
    }

    /// Whether an object written at a revision may have another form than the definition says now.
    pub fn is_older(&self, revision: u64) -> bool {
        revision < self.since && self.has_defaults
    }

    /// Everything wrong with an object, beside its metadata.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut validator = Validator::new();
        validator.value(&self.schema, "", object, old);
        let mut errors = validator.errors;
        if !self.schema.has_rules() {
            return errors;
        }
        use crate::error::CauseReason::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
        let blocks = |error: &FieldError| {
            matches!(error.reason, NotSupported | Required | TooLong | TooMany | TypeInvalid)
        };
        if errors.iter().any(blocks) {
            let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            errors.push(FieldError::invalid("<nil>", &Value::Null, why));
        } else {
            Asker::new(&mut errors).ask(&self.schema, "", object, old);
        }
        errors
    }

    /// The headings of its table.
    pub fn headings(&self) -> Vec<Value> {
        let column = |column: &PrinterColumn| {
            json!({
                "name": column.name,
                "type": column.kind,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            })
        };
        self.columns.iter().map(column).collect()
    }

    /// The cells of a row.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        self.columns.iter().map(|column| column.cell(object, now)).collect()
    }

    /// The Scale of an object; none if its kind has none.
    pub fn scale_numbers(&self, object: &Value) -> Option<(Option<i64>, Option<i64>, String)> {
        let scale = self.scale.as_ref()?;
        let number = |path: &Path| path.find(object).first().and_then(|value| value.as_i64());
        let selector = scale.selector.as_ref().and_then(|path| path.find(object).first()?.as_str());
        Some((
            number(&scale.replicas),
            number(&scale.status_replicas),
            selector.unwrap_or_default().to_owned(),
        ))
    }
}

/// The columns of a version; without any, the age.
fn columns(list: &[Value]) -> Vec<PrinterColumn> {
    let path =
        |text: &str| Path::parse(text).unwrap_or_else(|_| Path::parse("").expect("the empty path is one"));
    if list.is_empty() {
        return vec![PrinterColumn {
            name: "Age".to_owned(),
            kind: "date".to_owned(),
            format: String::new(),
            description: AGE.to_owned(),
            priority: 0,
            path: path(".metadata.creationTimestamp"),
        }];
    }
    list.iter()
        .map(|column| {
            let text = |field: &str| meta::text(column, &[field]);
            PrinterColumn {
                name: text("name").to_owned(),
                kind: text("type").to_owned(),
                format: text("format").to_owned(),
                description: match text("description") {
                    "" => format!(
                        "Custom resource definition column (in JSONPath format): {}",
                        text("jsonPath")
                    ),
                    description => description.to_owned(),
                },
                priority: meta::number(column, &["priority"]).unwrap_or(0),
                path: path(text("jsonPath")),
            }
        })
        .collect()
}

const AGE: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

impl PrinterColumn {
    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let found = self.path.find(object);
        let Some(value) = found.first() else { return Value::Null };
        match (self.kind.as_str(), *value) {
            ("string", Value::String(_)) => (*value).clone(),
            ("string", value) => value.to_string().into(),
            ("integer", value) => {
                value.as_i64().or_else(|| value.as_f64().map(|number| number as i64)).into()
            }
            ("number", value) => value.as_f64().into(),
            ("boolean", value) => value.as_bool().into(),
            ("date", Value::String(text)) => match Timestamp::parse(text) {
                Ok(date) => time::age(Some(date), now).into(),
                Err(_) => "<invalid>".into(),
            },
            _ => Value::Null,
        }
    }
}

/// What server-side apply asks of a place in a structural schema.
impl Structural {
    /// The schema of a list's items.
    pub(crate) fn item(&self) -> Option<&Structural> {
        self.items.as_deref()
    }
}

/// What is wrong with the defaults of a schema that is at a path.
pub(crate) fn default_faults(schema: &Structural, path: &str) -> Vec<FieldError> {
    let mut faults = Vec::new();
    if let Some(default) = &schema.default {
        let place = format!("{path}.default");
        let mut filled = default.clone();
        shape::fill(schema, &mut filled);
        let unknown = shape::unknown_fields(schema, &filled);
        if !unknown.is_empty() {
            let why = format!("must not have unknown fields: {}", unknown.join(", "));
            faults.push(FieldError::invalid(&place, default, &why));
        }
        let mut validator = Validator::new();
        validator.value(schema, &place, &filled, None);
        faults.extend(validator.errors);
    }
    for (name, property) in &schema.properties {
        faults.extend(default_faults(property, &format!("{path}.properties[{name}]")));
    }
    if let Some(Additional::Values(values)) = &schema.additional {
        faults.extend(default_faults(values, &format!("{path}.additionalProperties")));
    }
    if let Some(items) = &schema.items {
        faults.extend(default_faults(items, &format!("{path}.items")));
    }
    faults
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn version(schema: Value) -> Version {
        let definition = json!({
            "metadata": {"name": "widgets.example.com"},
            "spec": {"group": "example.com", "names": {"kind": "Widget", "plural": "widgets"}, "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                    {"type": "object", "properties": {"spec": schema}}}},
            ]},
        });
        Version::compile(&definition, "v1", 1).unwrap()
    }

    fn errors(schema: &Value, spec: Value, old: Option<Value>) -> Vec<String> {
        let whole = |spec: Value| json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": spec});
        let old = old.map(whole);
        let found = version(schema.clone()).validate(&whole(spec), old.as_ref());
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unknown_fields_are_pruned_and_told() {
        let version = version(json!({"type": "object", "properties": {
            "a": {"type": "string"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"y": {"type": "string"}}}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"closed": {"type": "object", "properties": {}}}},
            "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
        }}));
        let mut object = json!({"metadata": {"name": "a", "odd": 1}, "odd": 1, "spec": {
            "a": "x", "b": 1, "list": [{"x": 1}, {"x": 1, "z": 2}], "map": {"k": {"y": "1", "z": 1}},
            "open": {"any": {"thing": 1}, "closed": {"z": 1}},
            "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {}},
        }});
        let told: Vec<String> =
            version.conform(&mut object).into_iter().map(|problem| problem.path).collect();
        let expected = [
            "metadata.odd",
            "odd",
            "spec.b",
            "spec.list[1].z",
            "spec.map.k.z",
            "spec.open.closed.z",
            "spec.pod.status",
        ];
        assert_eq!(told, expected);
        assert_eq!(
            object,
            json!({"metadata": {"name": "a"}, "spec": {
                "a": "x", "list": [{"x": 1}, {"x": 1}], "map": {"k": {"y": "1"}}, "open": {"any": {"thing": 1}, "closed": {}},
                "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}},
            }})
        );
    }

    #[test]
    fn defaults_are_filled_in_where_the_parent_is() {
        let schema = json!({"type": "object", "properties": {
            "size": {"type": "integer", "default": 3},
            "name": {"type": "string", "nullable": true, "default": "x"},
            "plain": {"type": "string"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"port": {"type": "integer", "default": 80}}}},
            "deep": {"type": "object", "default": {}, "properties": {"a": {"type": "boolean", "default": true}}},
        }});
        for (spec, expected) in [
            (json!({}), json!({"size": 3, "name": "x", "deep": {"a": true}})),
            (
                json!({"size": null, "name": null, "plain": null}),
                json!({"size": 3, "name": null, "deep": {"a": true}}),
            ),
            (
                json!({"size": 0, "list": [{}, {"port": 1}]}),
                json!({"size": 0, "name": "x", "list": [{"port": 80}, {"port": 1}], "deep": {"a": true}}),
            ),
        ] {
            let mut object = json!({"metadata": {}, "spec": spec});
            version(schema.clone()).default(&mut object);
            assert_eq!(object["spec"], expected, "{spec}");
        }
        let mut without = json!({"metadata": {}});
        version(schema).default(&mut without);
        assert_eq!(without, json!({"metadata": {}}));
    }

    #[test]
    fn values_are_refused_in_the_words_of_kubernetes() {
        let schema = json!({"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": 10},
            "open": {"type": "number", "minimum": 1, "exclusiveMinimum": true, "multipleOf": 2},
            "name": {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[a-z]+$"},
            "color": {"type": "string", "enum": ["red", "green"]},
            "ip": {"type": "string", "format": "ipv4"},
            "list": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"],
                "items": {"type": "object", "required": ["n"], "properties": {"n": {"type": "string"}}}},
            "map": {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "integer"}},
            "port": {"x-kubernetes-int-or-string": true},
            "maybe": {"type": "string", "nullable": true},
            "one": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            "not": {"type": "string", "not": {"enum": ["x"]}},
        }});
        let cases: Vec<(Value, &[&str])> = vec![
            (json!({"size": 3, "maybe": null, "port": "x", "one": {"a": "1"}, "map": {"k": 1}}), &[]),
            (json!({}), &["spec.size: Required value"]),
            (
                json!({"size": "3"}),
                &[
                    "spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"",
                ],
            ),
            (
                json!({"size": 0}),
                &["spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"],
            ),
            (
                json!({"size": 11}),
                &["spec.size: Invalid value: 11: spec.size in body should be less than or equal to 10"],
            ),
            (
                json!({"size": 1.5}),
                &[
                    "spec.size: Invalid value: \"number\": spec.size in body must be of type integer: \"number\"",
                ],
            ),
            (
                json!({"size": 1, "open": 1}),
                &[
                    "spec.open: Invalid value: 1: spec.open in body should be greater than 1",
                    "spec.open: Invalid value: 1: spec.open in body should be a multiple of 2",
                ],
            ),
            (
                json!({"size": 1, "name": "A"}),
                &[
                    "spec.name: Invalid value: \"A\": spec.name in body should be at least 2 chars long",
                    "spec.name: Invalid value: \"A\": spec.name in body should match '^[a-z]+$'",
                ],
            ),
            (json!({"size": 1, "name": "abcdef"}), &["spec.name: Too long: may not be more than 5 bytes"]),
            (
                json!({"size": 1, "color": "blue"}),
                &["spec.color: Unsupported value: \"blue\": supported values: \"red\", \"green\""],
            ),
            (
                json!({"size": 1, "ip": "x"}),
                &["spec.ip: Invalid value: \"x\": spec.ip in body must be of type ipv4: \"x\""],
            ),
            (
                json!({"size": 1, "list": []}),
                &["spec.list: Invalid value: []: spec.list in body should have at least 1 items"],
            ),
            (
                json!({"size": 1, "list": ["a", "b", "c"]}),
                &["spec.list: Too many: 3: must have at most 2 items"],
            ),
            (json!({"size": 1, "list": ["a", "a"]}), &["spec.list[1]: Duplicate value: \"a\""]),
            (
                json!({"size": 1, "list": [1]}),
                &[
                    "spec.list[0]: Invalid value: \"integer\": spec.list[0] in body must be of type string: \"integer\"",
                ],
            ),
            (
                json!({"size": 1, "ports": [{"n": "a"}, {"n": "a"}]}),
                &["spec.ports[1]: Duplicate value: {\"n\":\"a\"}"],
            ),
            (
                json!({"size": 1, "map": {"k": "x"}}),
                &[
                    "spec.map.k: Invalid value: \"string\": spec.map.k in body must be of type integer: \"string\"",
                ],
            ),
            (
                json!({"size": 1, "port": true}),
                &[
                    "spec.port: Invalid value: \"boolean\": spec.port in body must be of type integer,string: \"boolean\"",
                ],
            ),
            (
                json!({"size": 1, "one": {}}),
                &[
                    "<nil>: Invalid value: \"\": \"spec.one\" must validate one and only one schema (oneOf). Found none valid",
                    "spec.one.a: Required value",
                ],
            ),
            (
                json!({"size": 1, "one": {"a": "1", "b": "2"}}),
                &[
                    "<nil>: Invalid value: \"\": \"spec.one\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
                ],
            ),
            (
                json!({"size": 1, "not": "x"}),
                &["<nil>: Invalid value: \"\": \"spec.not\" must not validate the schema (not)"],
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(errors(&schema, spec.clone(), None), expected, "{spec}");
        }
        // What was wrong before and is as it was may stay.
        let (before, after) = (json!({"size": 0, "color": "blue"}), json!({"size": 0, "color": "red"}));
        assert_eq!(errors(&schema, after, Some(before)), Vec::<String>::new());
    }

    #[test]
    fn rules_are_asked_of_objects_and_changes() {
        let schema = json!({"type": "object", "properties": {
            "min": {"type": "integer"}, "max": {"type": "integer"},
            "name": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "name is immutable"}]},
            "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"], "items": {
                "type": "object", "required": ["n"], "properties": {"n": {"type": "string"}, "v": {"type": "integer"}},
                "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v", "message": "may only grow"}],
            }},
            "when": {"type": "string", "format": "date-time"},
        }, "x-kubernetes-validations": [
            {"rule": "!has(self.min) || !has(self.max) || self.min <= self.max",
                "messageExpression": "'min %d is above max %d'.format([self.min, self.max])", "fieldPath": ".min", "reason": "FieldValueForbidden"},
            {"rule": "!has(self.name) || self.name.startsWith('a')"},
            {"rule": "self.max / self.min >= 0 || true"},
            {"rule": "!has(self.when) || self.when.getFullYear() > 2000"},
        ]});
        let cases: Vec<(Value, Option<Value>, &[&str])> = vec![
            (json!({"min": 1, "max": 2, "name": "a"}), None, &[]),
            (json!({"min": 3, "max": 2}), None, &["spec.min: Forbidden: min 3 is above max 2"]),
            (
                json!({"min": 1, "max": 1, "name": "b"}),
                None,
                &[
                    "spec: Invalid value: \"object\": failed rule: !has(self.name) || self.name.startsWith('a')",
                ],
            ),
            (
                json!({"name": "ab"}),
                Some(json!({"name": "a"})),
                &["spec.name: Invalid value: \"string\": name is immutable"],
            ),
            (
                json!({"list": [{"n": "x", "v": 1}]}),
                Some(json!({"list": [{"n": "y", "v": 9}, {"n": "x", "v": 2}]})),
                &["spec.list[0]: Invalid value: \"object\": may only grow"],
            ),
            (
                json!({"when": "1999-01-01T00:00:00Z"}),
                None,
                &[
                    "spec: Invalid value: \"object\": failed rule: !has(self.when) || self.when.getFullYear() > 2000",
                ],
            ),
            (
                json!({"min": "x"}),
                None,
                &[
                    "spec.min: Invalid value: \"string\": spec.min in body must be of type integer: \"string\"",
                    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
                ],
            ),
        ];
        for (spec, old, expected) in cases {
            assert_eq!(errors(&schema, spec.clone(), old), expected, "{spec}");
        }
    }

    #[test]
    fn a_rule_that_runs_for_ever_is_stopped() {
        let schema = json!({"type": "object", "properties": {"list": {"type": "array", "items": {"type": "integer"}}},
        "x-kubernetes-validations": [
            {"rule": "self.list.all(a, self.list.all(b, self.list.all(c, a + b + c >= 0)))", "message": "sums"},
            {"rule": "false", "message": "never asked"},
        ]});
        let list: Vec<i64> = (0..1000).collect();
        let found = errors(&schema, json!({"list": list}), None);
        let expected = "spec: Invalid value: \"object\": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: sums";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn columns_show_what_their_paths_find() {
        let definition = json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com",
        "names": {"kind": "Widget"}, "versions": [{"name": "v1", "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}},
        "additionalPrinterColumns": [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
            {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "priority": 1},
            {"name": "List", "type": "string", "jsonPath": ".spec.list"},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ]}]}});
        let version = Version::compile(&definition, "v1", 1).unwrap();
        assert_eq!(version.headings()[1]["priority"], 1);
        assert_eq!(
            version.headings()[0]["description"],
            "Custom resource definition column (in JSONPath format): .spec.size"
        );
        let object = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"size": 3, "list": ["a"]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let now = Timestamp::parse("2026-01-01T00:05:00Z").unwrap();
        assert_eq!(version.cells(&object, now), [json!(3), json!("True"), json!("[\"a\"]"), json!("5m")]);
        assert_eq!(version.cells(&json!({}), now), vec![Value::Null; 4]);
    }
}
