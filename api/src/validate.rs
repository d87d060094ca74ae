//! Checks that every kind shares, and the cursor they are written with.
//!
//! A check walks an object with [`At`], a value that knows its path, and adds to [`Errors`]. The
//! words are Kubernetes'. Types have been checked against the schema before; a check that meets
//! a wrong type takes the value for absent.

use crate::error::FieldError;
use crate::name::{self, NameRule};
use crate::quantity::Quantity;
use serde::Deserialize;
use serde_json::Value;
use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;

static NULL: Value = Value::Null;

/// What was found wrong so far.
pub type Errors = Vec<FieldError>;

/// A value and the path that led to it.
#[derive(Clone, Debug)]
pub struct At<'a> {
    /// The value; null if absent.
    pub value: &'a Value,
    /// Its path, such as `spec.containers[0].name`.
    pub path: Path<'a>,
}

/// The way to a value. Checks look at hundreds of them, and tell of few: it becomes a text when somebody asks.
#[derive(Clone, Debug)]
pub struct Path<'a> {
    before: Option<Rc<Path<'a>>>,
    step: Step<'a>,
    /// The same, for those that lead on from here.
    shared: OnceCell<Rc<Path<'a>>>,
}

#[derive(Clone, Debug)]
enum Step<'a> {
    Text(Rc<str>),
    Field(&'a str),
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    fn begin(text: &str) -> Path<'a> {
        Path { before: None, step: Step::Text(text.into()), shared: OnceCell::new() }
    }

    fn then(&self, step: Step<'a>) -> Path<'a> {
        let before = (!self.is_start()).then(|| self.shared.get_or_init(|| Rc::new(self.clone())).clone());
        Path { before, step, shared: OnceCell::new() }
    }

    /// Whether it leads nowhere.
    fn is_start(&self) -> bool {
        self.before.is_none() && matches!(&self.step, Step::Text(text) if text.is_empty())
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(before) = &self.before {
            before.fmt(f)?;
        }
        match (&self.step, &self.before) {
            (Step::Text(text), _) => f.write_str(text),
            (Step::Field(field), None) => f.write_str(field),
            (Step::Field(field), Some(_)) => write!(f, ".{field}"),
            (Step::Key(key), _) => write!(f, "[{key}]"),
            (Step::Index(index), _) => write!(f, "[{index}]"),
        }
    }
}

impl From<&Path<'_>> for String {
    fn from(path: &Path<'_>) -> String {
        path.to_string()
    }
}

impl<'a> At<'a> {
    /// The top of an object.
    pub fn root(value: &'a Value) -> At<'a> {
        At::new(value, "")
    }

    /// A value at a path of its own.
    pub fn new(value: &'a Value, path: &str) -> At<'a> {
        At { value, path: Path::begin(path) }
    }

    /// A field of this object.
    pub fn get(&self, field: &'a str) -> At<'a> {
        At { value: self.value.get(field).unwrap_or(&NULL), path: self.path.then(Step::Field(field)) }
    }

    /// The path of a field of this object.
    pub fn field(&self, field: &str) -> String {
        if self.path.is_start() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    /// The items of this list.
    pub fn items(&self) -> impl Iterator<Item = At<'a>> + use<'_, 'a> {
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice);
        let path = |index| self.path.then(Step::Index(index));
        items.iter().enumerate().map(move |(index, value)| At { value, path: path(index) })
    }

    /// The item of this list at an index; absent beyond its end.
    pub fn get_index(&self, index: usize) -> At<'a> {
        At { value: self.value.get(index).unwrap_or(&NULL), path: self.path.then(Step::Index(index)) }
    }

    /// The entries of this map.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, At<'a>)> + use<'_, 'a> {
        let entries = self.value.as_object().into_iter().flatten();
        let path = |key| self.path.then(Step::Key(key));
        entries.map(move |(key, value)| (key.as_str(), At { value, path: path(key) }))
    }

    /// Whether the value is there.
    pub fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// The text, or nothing.
    pub fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or("")
    }

    /// The whole number.
    pub fn number(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// The truth value; false if absent.
    pub fn truth(&self) -> bool {
        self.value.as_bool().unwrap_or(false)
    }

    /// How many items or entries there are.
    pub fn len(&self) -> usize {
        match self.value {
            Value::Array(items) => items.len(),
            Value::Object(entries) => entries.len(),
            _ => 0,
        }
    }

    /// Whether there are no items or entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What an immutable field's error says.
pub const IMMUTABLE: &str = "field is immutable";
const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// The value must be there and, if text, not empty; returns whether it is.
pub fn required(at: &At<'_>, detail: &str, errors: &mut Errors) -> bool {
    let missing = at.value.is_null() || at.value.as_str() == Some("");
    if missing {
        errors.push(FieldError::required(&at.path, detail));
    }
    !missing
}

/// A rule of [`crate::name`] on the text.
pub fn follows(at: &At<'_>, rule: impl Fn(&str) -> Result<(), String>, errors: &mut Errors) {
    if let Err(why) = rule(at.text()) {
        errors.push(FieldError::invalid(&at.path, at.text(), &why));
    }
}

/// A text that must be there and follow a rule.
pub fn required_name(at: &At<'_>, rule: impl Fn(&str) -> Result<(), String>, errors: &mut Errors) {
    if required(at, "", errors) {
        follows(at, rule, errors);
    }
}

/// A text that follows a rule if it is there.
pub fn optional_name(at: &At<'_>, rule: impl Fn(&str) -> Result<(), String>, errors: &mut Errors) {
    if !at.text().is_empty() {
        follows(at, rule, errors);
    }
}

/// One of a fixed list of texts, which must be there.
pub fn one_of(at: &At<'_>, supported: &[&str], errors: &mut Errors) {
    if required(at, "", errors) && !supported.contains(&at.text()) {
        errors.push(FieldError::not_supported(&at.path, at.value, supported));
    }
}

/// No more than so many items or entries.
pub fn at_most(at: &At<'_>, most: usize, errors: &mut Errors) {
    if at.len() > most {
        errors.push(FieldError::too_many(&at.path, at.len(), most));
    }
}

/// One of a fixed list of texts, or absent.
pub fn optional_one_of(at: &At<'_>, supported: &[&str], errors: &mut Errors) {
    if at.is_set() && !supported.contains(&at.text()) {
        errors.push(FieldError::not_supported(&at.path, at.value, supported));
    }
}

/// A number that is not negative, or absent.
pub fn not_negative(at: &At<'_>, errors: &mut Errors) {
    if let Some(number) = at.number()
        && number < 0
    {
        errors.push(FieldError::invalid(&at.path, number, NOT_NEGATIVE));
    }
}

/// A number within bounds, or absent.
pub fn between(at: &At<'_>, low: i64, high: i64, errors: &mut Errors) {
    if let Some(number) = at.number()
        && !(low..=high).contains(&number)
    {
        errors.push(FieldError::invalid(&at.path, number, &name::not_between(low, high)));
    }
}

/// The number of a port, which must be there.
pub fn port(at: &At<'_>, errors: &mut Errors) {
    match at.number() {
        None | Some(0) => errors.push(FieldError::required(&at.path, "")),
        Some(_) => between(at, 1, 65535, errors),
    }
}

/// Number or name of a port.
pub fn port_or_name(at: &At<'_>, errors: &mut Errors) {
    match at.value {
        Value::String(_) => follows(at, name::port_name, errors),
        _ => {
            let number = at.number().unwrap_or(0);
            if let Err(why) = name::port_number(number) {
                errors.push(FieldError::invalid(&at.path, number, &why));
            }
        }
    }
}

/// An IP address.
pub fn ip(at: &At<'_>, errors: &mut Errors) {
    if at.text().parse::<std::net::IpAddr>().is_err() {
        let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        errors.push(FieldError::invalid(&at.path, at.text(), why));
    }
}

/// What a range of addresses that is none is told.
const CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// A range of addresses: its first address and the length of its prefix.
pub fn cidr(at: &At<'_>, errors: &mut Errors) -> Option<(std::net::IpAddr, u8)> {
    let parsed = at.text().split_once('/').and_then(|(address, length)| {
        let address: std::net::IpAddr = address.parse().ok()?;
        let length: u8 = length.parse().ok()?;
        (length <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, length))
    });
    if parsed.is_none() {
        errors.push(FieldError::invalid(&at.path, at.text(), CIDR));
    }
    parsed
}

/// A relative path that stays below where it starts.
pub fn relative_path(at: &At<'_>, errors: &mut Errors) {
    if at.text().starts_with('/') {
        errors.push(FieldError::invalid(&at.path, at.text(), "must be a relative path"));
    }
    no_way_up(at, errors);
}

/// A path without `..`.
pub fn no_way_up(at: &At<'_>, errors: &mut Errors) {
    if at.text().split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(&at.path, at.text(), "must not contain '..'"));
    }
}

/// The value must be the old one.
pub fn immutable(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    if new.value != old.value {
        errors.push(FieldError::invalid(&new.path, new.value, IMMUTABLE));
    }
}

/// No text occurs twice; `seen` is kept by the caller.
pub fn unique<'a>(at: &At<'a>, seen: &mut Vec<&'a str>, errors: &mut Errors) {
    if at.text().is_empty() {
        return;
    }
    if seen.contains(&at.text()) {
        errors.push(FieldError::duplicate(&at.path, at.value));
    } else {
        seen.push(at.text());
    }
}

/// A quantity that can be read and is not negative. An absent one is none.
pub fn quantity(at: &At<'_>, errors: &mut Errors) -> Option<Quantity> {
    if !at.is_set() {
        return None;
    }
    match Quantity::deserialize(at.value) {
        Ok(quantity) if quantity.is_negative() => {
            errors.push(FieldError::invalid(&at.path, at.value, NOT_NEGATIVE));
            None
        }
        Ok(quantity) => Some(quantity),
        Err(why) => {
            errors.push(FieldError::invalid(&at.path, at.value, &why.to_string()));
            None
        }
    }
}

/// A map of labels.
pub fn labels(at: &At<'_>, errors: &mut Errors) {
    for (key, value) in at.entries() {
        if let Err(why) = name::label_key(key) {
            errors.push(FieldError::invalid(&at.path, key, &why));
        }
        if let Err(why) = name::label_value(value.text()) {
            errors.push(FieldError::invalid(&at.path, value.text(), &why));
        }
    }
}

/// A map of annotations.
pub fn annotations(at: &At<'_>, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in at.entries() {
        if let Err(why) = name::label_key(&key.to_lowercase()) {
            errors.push(FieldError::invalid(&at.path, key, &why));
        }
        size += key.len() + value.text().len();
    }
    if size > ANNOTATIONS_MAX {
        errors.push(FieldError::too_long(&at.path, ANNOTATIONS_MAX));
    }
}

/// A selector over labels, as objects carry it.
pub fn label_selector(at: &At<'_>, errors: &mut Errors) {
    labels(&at.get("matchLabels"), errors);
    for expression in at.get("matchExpressions").items() {
        let values = expression.get("values");
        match expression.get("operator").text() {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(&values.path, detail));
            }
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" => {
                if !values.is_empty() {
                    let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                    errors.push(FieldError::forbidden(&values.path, detail));
                }
            }
            other => {
                let field = expression.field("operator");
                errors.push(FieldError::invalid(field, other, "not a valid selector operator"));
            }
        }
        follows(&expression.get("key"), name::label_key, errors);
        for value in values.items() {
            follows(&value, name::label_value, errors);
        }
    }
}

/// Checks `metadata` of a new object.
pub fn object_meta(object: &At<'_>, rule: NameRule, namespaced: bool, errors: &mut Errors) {
    let metadata = object.get("metadata");
    let (name, generate) = (metadata.get("name"), metadata.get("generateName"));
    if !generate.text().is_empty() {
        follows(&generate, |text| rule.check(text, true), errors);
    }
    if name.text().is_empty() {
        errors.push(FieldError::required(&name.path, "name or generateName is required"));
    } else {
        follows(&name, |text| rule.check(text, false), errors);
    }
    let namespace = metadata.get("namespace");
    if namespaced {
        required_name(&namespace, name::dns1123_label, errors);
    } else if !namespace.text().is_empty() {
        errors.push(FieldError::forbidden(&namespace.path, "not allowed on this type"));
    }
    not_negative(&metadata.get("generation"), errors);
    meta_contents(&metadata, errors);
}

/// What may change in metadata: labels, annotations, owners, finalizers.
fn meta_contents(metadata: &At<'_>, errors: &mut Errors) {
    labels(&metadata.get("labels"), errors);
    annotations(&metadata.get("annotations"), errors);
    owners(&metadata.get("ownerReferences"), errors);
    finalizers(&metadata.get("finalizers"), errors);
}

fn owners(references: &At<'_>, errors: &mut Errors) {
    let mut controller: Option<&str> = None;
    for reference in references.items() {
        let empty = [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ];
        for (field, why) in empty {
            if reference.get(field).text().is_empty() {
                errors.push(FieldError::invalid(references.field(field), "", why));
            }
        }
        let (api_version, kind) = (reference.get("apiVersion").text(), reference.get("kind").text());
        if (api_version, kind) == ("v1", "Event") {
            let why = format!("{api_version}, Kind={kind} is disallowed from being an owner");
            errors.push(FieldError::invalid(&references.path, reference.value, &why));
        }
        if reference.get("controller").truth() {
            let name = reference.get("name").text();
            match controller {
                None => controller = Some(name),
                Some(first) => {
                    let why = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                    );
                    errors.push(FieldError::invalid(&references.path, references.value, &why));
                }
            }
        }
    }
}

/// Finalizers of Kubernetes itself, whose names need no domain of their own.
const STANDARD_FINALIZERS: &[&str] =
    &["kubernetes", "orphan", "foregroundDeletion", "customresourcecleanup.apiextensions.k8s.io"];

fn finalizers(finalizers: &At<'_>, errors: &mut Errors) {
    let has = |name: &str| finalizers.items().any(|item| item.text() == name);
    for item in finalizers.items() {
        let known = STANDARD_FINALIZERS.contains(&item.text());
        match name::label_key(item.text()) {
            Err(why) => errors.push(FieldError::invalid(&finalizers.path, item.text(), &why)),
            Ok(()) if !known && !item.text().contains('/') => {
                let why = "name is neither a standard finalizer name nor is it fully qualified";
                errors.push(FieldError::invalid(&item.path, item.text(), why));
            }
            Ok(()) => {}
        }
    }
    if has("orphan") && has("foregroundDeletion") {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(&finalizers.path, finalizers.value, why));
    }
}

/// Checks `metadata` of a changed object against the old one.
pub fn object_meta_update(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (new, old) = (new.get("metadata"), old.get("metadata"));
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        immutable(&new.get(field), &old.get(field), errors);
    }
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        let changed = new.get(field);
        if changed.value != old.get(field).value {
            let why = "field is immutable; may only be changed via deletion";
            errors.push(FieldError::invalid(&changed.path, changed.value, why));
        }
    }
    let generation = |metadata: &At<'_>| metadata.get("generation").number().unwrap_or(0);
    if generation(&new) < generation(&old) {
        let why = "must not be decremented";
        errors.push(FieldError::invalid(new.field("generation"), generation(&new), why));
    }
    if old.get("deletionTimestamp").is_set() {
        let before = old.get("finalizers");
        let fresh: Vec<String> = new
            .get("finalizers")
            .items()
            .filter(|item| before.items().all(|one| one.text() != item.text()))
            .map(|item| format!("{:?}", item.text()))
            .collect();
        if !fresh.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                fresh.join(", ")
            );
            errors.push(FieldError::forbidden(new.field("finalizers"), &detail));
        }
    }
    meta_contents(&new, errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(object: &Value, namespaced: bool) -> Vec<String> {
        let mut errors = Errors::new();
        object_meta(&At::root(object), NameRule::Subdomain, namespaced, &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn metadata_is_checked() {
        let good = json!({"metadata": {"name": "a", "namespace": "b", "labels": {"app": "web"},
            "annotations": {"Example.com/X": "any thing"}, "finalizers": ["example.com/x", "foregroundDeletion"]}});
        assert_eq!(found(&good, true), Vec::<String>::new());
        assert_eq!(found(&good, false), ["metadata.namespace: Forbidden: not allowed on this type"]);
        let cases = [
            (json!({}), "metadata.name: Required value: name or generateName is required"),
            (json!({"name": "a"}), "metadata.namespace: Required value"),
            (
                json!({"name": "a", "namespace": "b", "annotations": {"a": "x".repeat(ANNOTATIONS_MAX)}}),
                "metadata.annotations: Too long: may not be more than 262144 bytes",
            ),
            (
                json!({"name": "a", "namespace": "b", "finalizers": ["x"]}),
                "metadata.finalizers[0]: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully qualified",
            ),
            (
                json!({"name": "a", "namespace": "b", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x"}]}),
                "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty",
            ),
            (
                json!({"name": "a", "namespace": "b", "generation": -1}),
                "metadata.generation: Invalid value: -1: must be greater than or equal to 0",
            ),
        ];
        for (metadata, expected) in cases {
            let errors = found(&json!({ "metadata": metadata }), true);
            assert!(errors.iter().any(|error| error == expected), "{expected}\n{errors:#?}");
        }
        let label =
            found(&json!({"metadata": {"name": "a", "namespace": "b", "labels": {"a": "b c"}}}), true);
        assert!(
            label[0].starts_with("metadata.labels: Invalid value: \"b c\": a valid label must be"),
            "{label:?}"
        );
    }

    #[test]
    fn what_identifies_an_object_stays() {
        let old = json!({"metadata": {"name": "a", "uid": "1", "generation": 2,
            "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}});
        let new = json!({"metadata": {"name": "b", "uid": "1", "generation": 1,
            "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b", "a/c"]}});
        let mut errors = Errors::new();
        object_meta_update(&At::root(&new), &At::root(&old), &mut errors);
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "metadata.name: Invalid value: \"b\": field is immutable",
                "metadata.generation: Invalid value: 1: must not be decremented",
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a/c\"}",
            ]
        );
    }

    #[test]
    fn label_selectors_are_checked() {
        let selector = json!({"matchLabels": {"-": "x"}, "matchExpressions": [
            {"key": "a", "operator": "In"},
            {"key": "a", "operator": "Exists", "values": ["b"]},
            {"key": "a", "operator": "Is", "values": ["b c"]}]});
        let mut errors = Errors::new();
        label_selector(&At::new(&selector, "spec.selector"), &mut errors);
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "spec.selector.matchLabels",
                "spec.selector.matchExpressions[0].values",
                "spec.selector.matchExpressions[1].values",
                "spec.selector.matchExpressions[2].operator",
                "spec.selector.matchExpressions[2].values[0]",
            ]
        );
    }
}
