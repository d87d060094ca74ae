//! Whether a schema is structural, and whether its parts fit: Kubernetes' rules in its words.

use serde_json::Value;

use crate::cel;
use crate::custom::{Compiler, RuleFault, default_faults};
use crate::error::FieldError;
use crate::validate::{At, Errors};

/// How deep a schema may be.
const DEEPEST: usize = 64;
/// Fields that say something only of values, and may stand in `allOf`, `anyOf`, `oneOf` and `not`.
const STRUCTURE: &[&str] = &[
    "title",
    "description",
    "default",
    "additionalProperties",
    "nullable",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
];
/// Fields that no schema of a custom resource may have.
const FORBIDDEN: &[&str] =
    &["$ref", "definitions", "patternProperties", "dependencies", "additionalItems", "id"];
const JUNCTORS: &[&str] = &["allOf", "anyOf", "oneOf"];
const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];

/// What a place demands of its type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Field,
    Item,
}

/// Checks the schema of a version.
pub(super) fn check(schema: &At<'_>, errors: &mut Errors) {
    let before = errors.len();
    let root_type = schema.get("type");
    if !root_type.text().is_empty() && root_type.text() != "object" {
        errors.push(FieldError::invalid(&root_type.path, root_type.text(), "must be object at the root"));
    }
    if schema.get("nullable").truth() {
        let why = "nullable cannot be true at the root";
        errors.push(FieldError::forbidden(schema.field("nullable"), why));
    }
    Checker { errors, depth: 0 }.schema(schema, Level::Root);
    if errors.len() > before {
        return;
    }
    let mut compiler = Compiler::default();
    let compiled = compiler.root(schema.value);
    for fault in &compiler.faults {
        rule_fault(schema, fault, errors);
    }
    errors.extend(default_faults(&compiled, &schema.path.to_string()));
}

struct Checker<'e> {
    errors: &'e mut Errors,
    depth: usize,
}

impl Checker<'_> {
    fn schema(&mut self, schema: &At<'_>, level: Level) {
        self.depth += 1;
        if self.depth > DEEPEST {
            self.errors.push(FieldError::invalid(&schema.path, "", "is nested too deeply"));
        } else {
            self.structure(schema, level);
            self.values(schema);
            self.extensions(schema);
            self.below(schema);
        }
        self.depth -= 1;
    }

    fn structure(&mut self, schema: &At<'_>, level: Level) {
        let (kind, int_or_string) = (schema.get("type"), schema.get("x-kubernetes-int-or-string").truth());
        let preserves = schema.get("x-kubernetes-preserve-unknown-fields").truth();
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Field => "must not be empty for specified object fields",
            Level::Item => "must not be empty for specified array items",
        };
        if kind.text().is_empty() && !int_or_string && (!preserves || level == Level::Root) {
            self.errors.push(FieldError::required(&kind.path, why));
        } else if !kind.text().is_empty() && int_or_string {
            let why = "must be empty if x-kubernetes-int-or-string is true";
            self.errors.push(FieldError::invalid(&kind.path, kind.text(), why));
        } else if !kind.text().is_empty() && !TYPES.contains(&kind.text()) {
            self.errors.push(FieldError::not_supported(&kind.path, kind.value, TYPES));
        }
        for field in FORBIDDEN {
            if schema.get(field).is_set() {
                self.errors
                    .push(FieldError::forbidden(schema.field(field), &format!("{field} is not supported")));
            }
        }
        let additional = schema.get("additionalProperties");
        if additional.value == &Value::Bool(false) {
            let why = "additionalProperties cannot be set to false";
            self.errors.push(FieldError::forbidden(&additional.path, why));
        } else if additional.is_set() && !schema.get("properties").is_empty() {
            let why = "additionalProperties and properties are mutual exclusive";
            self.errors.push(FieldError::forbidden(&additional.path, why));
        }
        let items = schema.get("items");
        if items.value.is_array() {
            let why = "items must be a schema object and not an array";
            self.errors.push(FieldError::forbidden(&items.path, why));
        } else if kind.text() == "array" && !items.is_set() {
            self.errors.push(FieldError::required(&items.path, "must be specified"));
        }
        if schema.get("uniqueItems").truth() {
            let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.errors.push(FieldError::forbidden(schema.field("uniqueItems"), why));
        }
        self.metadata(schema, level);
    }

    /// What every object has is not for a schema to say.
    fn metadata(&mut self, schema: &At<'_>, level: Level) {
        let whole = level == Level::Root || schema.get("x-kubernetes-embedded-resource").truth();
        if !whole {
            return;
        }
        let metadata = entry(&schema.get("properties"), "metadata");
        let named = metadata.get("properties");
        let others = named.entries().any(|(name, _)| !matches!(name, "name" | "generateName"));
        let fields = metadata.value.as_object().into_iter().flatten();
        let says_more = fields
            .into_iter()
            .any(|(field, _)| !matches!(field.as_str(), "type" | "properties" | "description"));
        if metadata.is_set() && (others || says_more) {
            let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
            self.errors.push(FieldError::forbidden(&metadata.path, why));
        }
        for (field, wanted) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
            let kind = entry(&schema.get("properties"), field).get("type");
            if !kind.text().is_empty() && kind.text() != wanted {
                self.errors.push(FieldError::invalid(&kind.path, kind.text(), &format!("must be {wanted}")));
            }
        }
    }

    fn values(&mut self, schema: &At<'_>) {
        let pattern = schema.get("pattern");
        if let Err(why) = cel::compile_pattern(pattern.text()) {
            let why = format!("must be a valid regular expression, but isn't: {why}");
            self.errors.push(FieldError::invalid(&pattern.path, pattern.text(), &why));
        }
        for branch in JUNCTORS.iter().map(|field| schema.get(field)) {
            for branch in branch.items() {
                self.branch(&branch, schema);
            }
        }
        let not = schema.get("not");
        if not.is_set() {
            self.branch(&not, schema);
        }
    }

    /// A schema of values only; what it speaks of must be there in the structure beside it.
    fn branch(&mut self, branch: &At<'_>, structure: &At<'_>) {
        self.depth += 1;
        if self.depth > DEEPEST {
            self.errors.push(FieldError::invalid(&branch.path, "", "is nested too deeply"));
            self.depth -= 1;
            return;
        }
        let preserves = structure.get("x-kubernetes-preserve-unknown-fields").truth();
        let int_or_string = structure.get("x-kubernetes-int-or-string").truth();
        let kind = branch.get("type");
        if !kind.text().is_empty() && !int_or_string {
            self.errors.push(FieldError::forbidden(&kind.path, "must be empty to be structural"));
        }
        for field in STRUCTURE {
            let found = branch.get(field);
            let says = found.is_set() && found.value != &Value::Bool(false);
            if says {
                let why = match *field {
                    "default" => "must be undefined to be structural",
                    "nullable"
                    | "x-kubernetes-preserve-unknown-fields"
                    | "x-kubernetes-embedded-resource"
                    | "x-kubernetes-int-or-string" => "must be false to be structural",
                    "additionalProperties" => "must be undefined to be structural",
                    _ => "must be empty to be structural",
                };
                self.errors.push(FieldError::forbidden(&found.path, why));
            }
        }
        for (name, property) in branch.get("properties").entries() {
            let beside = entry(&structure.get("properties"), name);
            let free = structure.get("additionalProperties");
            let beside = if beside.is_set() || !free.value.is_object() { beside } else { free };
            self.beside(&property, &beside, preserves);
        }
        let items = branch.get("items");
        if items.value.is_object() {
            self.beside(&items, &structure.get("items"), preserves);
        }
        let pattern = branch.get("pattern");
        if let Err(why) = cel::compile_pattern(pattern.text()) {
            let why = format!("must be a valid regular expression, but isn't: {why}");
            self.errors.push(FieldError::invalid(&pattern.path, pattern.text(), &why));
        }
        for inner in JUNCTORS.iter().map(|field| branch.get(field)) {
            inner.items().for_each(|inner| self.branch(&inner, structure));
        }
        let not = branch.get("not");
        if not.is_set() {
            self.branch(&not, structure);
        }
        self.depth -= 1;
    }

    fn beside(&mut self, inner: &At<'_>, structure: &At<'_>, preserves: bool) {
        if structure.value.is_object() {
            return self.branch(inner, structure);
        }
        if !preserves {
            let why = format!("because it is defined in {}", inner.path);
            self.errors.push(FieldError::required(&structure.path, &why));
        }
    }

    fn extensions(&mut self, schema: &At<'_>) {
        let kind = schema.get("type").text();
        let embedded = schema.get("x-kubernetes-embedded-resource");
        if embedded.truth() {
            if kind != "object" {
                let why = "must be object if x-kubernetes-embedded-resource is true";
                self.errors.push(FieldError::invalid(schema.field("type"), kind, why));
            }
            let preserves = schema.get("x-kubernetes-preserve-unknown-fields").truth();
            if schema.get("properties").is_empty() && !preserves {
                let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
                self.errors.push(FieldError::required(schema.field("properties"), why));
            }
        }
        let preserve = schema.get("x-kubernetes-preserve-unknown-fields");
        if preserve.value == &Value::Bool(false) {
            let why = "must be true or undefined";
            self.errors.push(FieldError::invalid(&preserve.path, preserve.value, why));
        } else if preserve.truth() && !matches!(kind, "" | "object") {
            let why = "must be object if x-kubernetes-preserve-unknown-fields is true";
            self.errors.push(FieldError::invalid(schema.field("type"), kind, why));
        }
        let map_type = schema.get("x-kubernetes-map-type");
        if map_type.is_set() {
            if !matches!(map_type.text(), "atomic" | "granular") {
                self.errors.push(FieldError::not_supported(
                    &map_type.path,
                    map_type.value,
                    &["atomic", "granular"],
                ));
            }
            if kind != "object" {
                let why = "must be object if x-kubernetes-map-type is specified";
                self.errors.push(FieldError::invalid(schema.field("type"), kind, why));
            }
        }
        self.list(schema, kind);
        for rule in schema.get("x-kubernetes-validations").items() {
            rule_form(&rule, self.errors);
        }
    }

    fn list(&mut self, schema: &At<'_>, kind: &str) {
        let (list, keys) = (schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys"));
        if list.is_set() && kind != "array" {
            let why = "must be array if x-kubernetes-list-type is specified";
            self.errors.push(FieldError::invalid(schema.field("type"), kind, why));
        }
        let items = schema.get("items");
        match list.text() {
            "map" if keys.is_empty() => {
                let why = "must not be empty if x-kubernetes-list-type is map";
                self.errors.push(FieldError::required(&keys.path, why));
            }
            "map" => self.list_keys(&keys, &items),
            _ if !keys.is_empty() => {
                let why = "must be map if x-kubernetes-list-map-keys is non-empty";
                self.errors.push(FieldError::invalid(&list.path, list.text(), why));
            }
            "" | "atomic" => {}
            "set" => {
                let (item, map) = (items.get("type").text(), items.get("x-kubernetes-map-type").text());
                let atomic = match item {
                    "object" => map == "atomic",
                    "array" => matches!(items.get("x-kubernetes-list-type").text(), "" | "atomic"),
                    _ => true,
                };
                if !atomic || items.get("nullable").truth() {
                    let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
                    self.errors.push(FieldError::invalid(items.field("x-kubernetes-map-type"), map, why));
                }
            }
            _ => {
                let supported = ["atomic", "map", "set"];
                self.errors.push(FieldError::not_supported(&list.path, list.value, &supported));
            }
        }
    }

    fn list_keys(&mut self, keys: &At<'_>, items: &At<'_>) {
        if items.get("type").text() != "object" {
            let why = "must be object if parent array's x-kubernetes-list-type is map";
            self.errors.push(FieldError::invalid(items.field("type"), items.get("type").text(), why));
        }
        let required: Vec<&str> = items
            .value
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for key in keys.items() {
            let property = entry(&items.get("properties"), key.text());
            if !property.is_set() {
                let why = "entries must all be names of item properties";
                self.errors.push(FieldError::invalid(&key.path, key.text(), why));
                continue;
            }
            if matches!(property.get("type").text(), "array" | "object") {
                let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                self.errors.push(FieldError::invalid(
                    property.field("type"),
                    property.get("type").text(),
                    why,
                ));
            }
            if !required.contains(&key.text()) && !property.get("default").is_set() {
                let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                self.errors.push(FieldError::required(property.field("default"), why));
            }
        }
    }

    fn below(&mut self, schema: &At<'_>) {
        for (_, property) in schema.get("properties").entries() {
            self.schema(&property, Level::Field);
        }
        let additional = schema.get("additionalProperties");
        if additional.value.is_object() {
            self.schema(&additional, Level::Field);
        }
        let items = schema.get("items");
        if items.value.is_object() {
            self.schema(&items, Level::Item);
        }
    }
}

/// An entry of a map by its key.
fn entry<'a>(map: &At<'a>, key: &str) -> At<'a> {
    static NULL: Value = Value::Null;
    At::new(map.value.get(key).unwrap_or(&NULL), &format!("{}[{key}]", map.path))
}

const REASONS: &[&str] =
    &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

fn rule_form(rule: &At<'_>, errors: &mut Errors) {
    let (text, message) = (rule.get("rule"), rule.get("message"));
    if text.text().trim().is_empty() {
        errors.push(FieldError::required(&text.path, "rule is not specified"));
    } else if text.text().contains('\n')
        && message.text().is_empty()
        && rule.get("messageExpression").text().is_empty()
    {
        errors.push(FieldError::required(
            &message.path,
            "message must be specified if rule contains line breaks",
        ));
    }
    if message.is_set() && message.text().trim().is_empty() && !message.text().is_empty() {
        errors.push(FieldError::invalid(
            &message.path,
            message.text(),
            "message must be non-empty if specified",
        ));
    } else if message.text().contains('\n') {
        errors.push(FieldError::invalid(
            &message.path,
            message.text(),
            "message must not contain line breaks",
        ));
    }
    let reason = rule.get("reason");
    if !reason.text().is_empty() && !REASONS.contains(&reason.text()) {
        errors.push(FieldError::not_supported(&reason.path, reason.value, REASONS));
    }
    let field = rule.get("fieldPath");
    if !field.text().is_empty() && !field.text().starts_with(['.', '[']) {
        let why = "fieldPath must be a valid path: does not refer to a valid field";
        errors.push(FieldError::invalid(&field.path, field.text(), why));
    }
}

/// A rule as Go prints it.
fn shown(rule: &Value) -> Value {
    let text = |field: &str| rule.get(field).and_then(Value::as_str).unwrap_or_default();
    Value::String(format!(
        "apiextensions.ValidationRule{{Rule:{:?}, Message:{:?}, MessageExpression:{:?}, Reason:(*apiextensions.FieldValueErrorReason)(nil), FieldPath:{:?}, OptionalOldSelf:(*bool)(nil)}}",
        text("rule"),
        text("message"),
        text("messageExpression"),
        text("fieldPath"),
    ))
}

fn rule_fault(root: &At<'_>, fault: &RuleFault, errors: &mut Errors) {
    let dot = if fault.path.is_empty() { "" } else { "." };
    let path =
        format!("{}{dot}{}.x-kubernetes-validations[{}].{}", root.path, fault.path, fault.index, fault.field);
    let rule = shown(&fault.rule);
    let message = format!("Invalid value: {}: {}", rule.as_str().unwrap_or_default(), fault.why);
    errors.push(FieldError { message, ..FieldError::invalid(path, "", "") });
}
