//! CustomResourceDefinition: a kind that a user defines.
//!
//! Here is what may be said in one; what it means for the objects of the kind it defines is
//! [`crate::custom`]'s, and when its names are accepted is its controller's.

mod names;
mod schema;
mod versions;

use crate::compact::object;
use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Generation, Kind, Scope, Subresource};
use crate::meta;
use crate::name;
use crate::time::Timestamp;
use crate::validate::{self, At, Errors};
use serde_json::{Value, json};

/// The finalizer that makes the objects of the kind go first.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
/// The annotation that groups of Kubernetes' own need.
const APPROVED: &str = "api-approved.kubernetes.io";

/// The table entry.
pub static KIND: Kind = Kind {
    group: "apiextensions.k8s.io",
    version: "v1",
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
    singular: "customresourcedefinition",
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    schema: "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    subresources: &[Subresource::Status],
    generation: Generation::Spec,
    columns: &[Column::NAME, Column::new("Created At", "date", "When the object was created.")],
    row,
    defaults,
    create,
    update,
    checks,
    update_checks,
    status_checks,
    ..Kind::PLAIN
};

fn row(definition: &Value, _: Timestamp) -> Vec<Value> {
    vec![meta::name(definition).into(), meta::text(definition, &["metadata", "creationTimestamp"]).into()]
}

/// Whether a condition of a definition is true.
pub fn holds(definition: &Value, condition: &str) -> bool {
    meta::condition(definition, condition).is_some_and(|found| meta::text(found, &["status"]) == "True")
}

fn defaults(definition: &mut Value) {
    let Some(spec) = definition.get_mut("spec") else { return };
    if let Some(names) = spec.get_mut("names") {
        let kind = meta::text(names, &["kind"]).to_owned();
        fill::blank(names, "singular", &kind.to_lowercase());
        if !kind.is_empty() {
            fill::blank(names, "listKind", &format!("{kind}List"));
        }
    }
    if let Some(conversion) = fill::object(spec, "conversion") {
        fill::blank(conversion, "strategy", "None");
        let service =
            conversion.pointer_mut("/webhook/clientConfig/service").filter(|service| service.is_object());
        if let Some(service) = service {
            fill::absent(service, "port", 443);
        }
    }
    // False is how its absence is written.
    if spec.get("preserveUnknownFields") == Some(&Value::Bool(false))
        && let Some(spec) = spec.as_object_mut()
    {
        spec.remove("preserveUnknownFields");
    }
}

fn create(definition: &mut Value) {
    keep_stored(definition);
}

fn update(definition: &mut Value, _: &Value) {
    keep_stored(definition);
}

/// Notes the version in which objects are stored from now on.
fn keep_stored(definition: &mut Value) {
    let versions = meta::items(definition, &["spec", "versions"]);
    let storage = versions.iter().find(|version| version["storage"] == true);
    let Some(storage) = storage.map(|version| meta::text(version, &["name"]).to_owned()) else { return };
    let mut stored = meta::items(definition, &["status", "storedVersions"]).to_vec();
    if !stored.iter().any(|one| *one == storage.as_str()) {
        stored.push(storage.into());
        meta::object_mut(definition, "status").insert("storedVersions".to_owned(), stored.into());
    }
}

fn checks(definition: &At<'_>, errors: &mut Errors) {
    let spec = definition.get("spec");
    let (names, group) = (spec.get("names"), spec.get("group"));
    let name = definition.get("metadata").get("name");
    let wanted = format!("{}.{}", names.get("plural").text(), group.text());
    if !name.text().is_empty() && name.text() != wanted {
        let why = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid(&name.path, name.text(), why));
    }
    if validate::required(&group, "", errors) {
        match name::dns1123_subdomain(group.text()) {
            Err(why) => errors.push(FieldError::invalid(&group.path, group.text(), &why)),
            Ok(()) if !group.text().contains('.') => {
                let why = "should be a domain with at least one dot";
                errors.push(FieldError::invalid(&group.path, group.text(), why));
            }
            Ok(()) => {}
        }
    }
    approval(definition, group.text(), errors);
    validate::one_of(&spec.get("scope"), &["Cluster", "Namespaced"], errors);
    if spec.get("preserveUnknownFields").truth() {
        let path = spec.field("preserveUnknownFields");
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(FieldError::invalid(path, &Value::Bool(true), why));
    }
    versions::check(&spec, errors);
    names::check(&names, errors);
    conversion(&spec.get("conversion"), errors);
}

/// Groups of Kubernetes' own are for kinds that were approved.
fn approval(definition: &At<'_>, group: &str, errors: &mut Errors) {
    let protected = ["k8s.io", "kubernetes.io"];
    let is_protected = protected.iter().any(|end| group == *end || group.ends_with(&format!(".{end}")));
    if !is_protected {
        return;
    }
    let annotation = meta::annotation(definition.value, APPROVED).unwrap_or_default();
    let path = format!("metadata.annotations[{APPROVED}]");
    if annotation.is_empty() {
        let why = format!(
            "protected groups must have approval annotation {APPROVED:?}, see https://github.com/kubernetes/enhancements/pull/1111"
        );
        errors.push(FieldError::required(path, &why));
    } else if !annotation.starts_with("unapproved") && !annotation.starts_with("https://") {
        let why = format!(
            "protected groups must have approval annotation {APPROVED:?} with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111"
        );
        errors.push(FieldError::invalid(path, annotation, &why));
    }
}

fn conversion(conversion: &At<'_>, errors: &mut Errors) {
    if !conversion.is_set() {
        return;
    }
    validate::one_of(&conversion.get("strategy"), &["None", "Webhook"], errors);
    let webhook = conversion.get("webhook");
    if conversion.get("strategy").text() != "Webhook" {
        if webhook.is_set() {
            let why = "should not be set when strategy is not set to Webhook";
            errors.push(FieldError::forbidden(&webhook.path, why));
        }
        return;
    }
    let client = webhook.get("clientConfig");
    if !client.is_set() {
        let why = "required when strategy is set to Webhook";
        return errors.push(FieldError::required(&client.path, why));
    }
    match (client.get("url").is_set(), client.get("service").is_set()) {
        (true, true) | (false, false) => {
            let why = "exactly one of url or service is required";
            errors.push(FieldError::required(&client.path, why));
        }
        (true, false) => {
            let url = client.get("url");
            if !url.text().starts_with("https://") {
                let why = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
                errors.push(FieldError::invalid(&url.path, url.text(), why));
            }
        }
        (false, true) => {
            let service = client.get("service");
            validate::required(&service.get("name"), "service name is required", errors);
            validate::required(&service.get("namespace"), "service namespace is required", errors);
        }
    }
    let versions = webhook.get("conversionReviewVersions");
    if versions.is_empty() {
        errors.push(FieldError::required(&versions.path, ""));
    } else if !versions.items().any(|version| version.text() == "v1") {
        let why = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid(&versions.path, versions.value, why));
    }
}

fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    validate::immutable(&spec.get("group"), &before.get("group"), errors);
    if holds(old.value, "Established") {
        validate::immutable(&spec.get("scope"), &before.get("scope"), errors);
        validate::immutable(&spec.get("names").get("kind"), &before.get("names").get("kind"), errors);
        validate::immutable(&spec.get("names").get("plural"), &before.get("names").get("plural"), errors);
    }
    stored_versions(&new.get("status").get("storedVersions"), &spec, errors);
}

fn status_checks(new: &At<'_>, _: &At<'_>, errors: &mut Errors) {
    let stored = new.get("status").get("storedVersions");
    if stored.is_empty() {
        let why = "must have at least one stored version";
        errors.push(FieldError::invalid(&stored.path, &json!([]), why));
    }
    stored_versions(&stored, &new.get("spec"), errors);
}

/// Objects may be stored in a version that is to go.
fn stored_versions(stored: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    for version in stored.items() {
        let name = version.text();
        if !spec.get("versions").items().any(|one| one.get("name").text() == name) {
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.push(FieldError::invalid(&version.path, name, &why));
        }
    }
}

object! {
    /// A definition, as its controller reads it.
    struct Definition {
        /// What is defined.
        spec: DefinitionSpec,
        /// What became of it.
        status: DefinitionStatus,
    }

    /// What is defined.
    struct DefinitionSpec {
        /// The group.
        group: String,
        /// `Namespaced` or `Cluster`.
        scope: String,
        /// The names that are wished.
        names: Names,
        /// The versions.
        versions: Vec<DefinedVersion>,
    }

    /// The names of a kind.
    struct Names {
        /// The resource.
        plural: String,
        /// One of it.
        singular: String,
        /// Abbreviations of the resource.
        short_names: Vec<String>,
        /// The kind.
        kind: String,
        /// The kind of a list.
        list_kind: String,
        /// Groups of resources it is in.
        categories: Vec<String>,
    }

    /// A version of a kind.
    struct DefinedVersion {
        /// Its name.
        name: String,
        /// Whether it is offered.
        served: bool,
        /// Whether objects are stored in it.
        storage: bool,
    }

    /// What became of a definition.
    struct DefinitionStatus {
        /// The names that are in use.
        accepted_names: Names,
        /// Versions in which objects may be stored.
        stored_versions: Vec<String>,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A good definition with one thing changed.
    fn with(pointer: &str, value: Value) -> Value {
        let mut definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"},
            "spec": {
                "group": "example.com", "scope": "Namespaced",
                "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": {"type": "object", "properties": {
                        "size": {"type": "integer", "minimum": 1},
                        "list": {"type": "array", "items": {"type": "string"}},
                    }}},
                }}}],
            },
        });
        if !pointer.is_empty() {
            let (parent, last) = pointer.rsplit_once('/').unwrap();
            let parent = definition.pointer_mut(parent).unwrap();
            match (parent, value) {
                (Value::Object(fields), Value::Null) => drop(fields.remove(last)),
                (Value::Object(fields), value) => drop(fields.insert(last.to_owned(), value)),
                (Value::Array(items), value) => items.push(value),
                _ => panic!("{pointer}"),
            }
        }
        KIND.default(&mut definition);
        definition
    }

    fn errors(definition: &Value) -> Vec<String> {
        KIND.validate(definition).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn defaults_are_filled_in() {
        let definition = with("", Value::Null);
        assert_eq!(errors(&definition), Vec::<String>::new());
        assert_eq!(definition["spec"]["names"]["listKind"], "WidgetList");
        assert_eq!(definition["spec"]["conversion"], json!({"strategy": "None"}));
        let mut created = definition;
        KIND.prepare_create(&mut created);
        assert_eq!(created["status"]["storedVersions"], json!(["v1"]));
        assert_eq!(created["metadata"]["generation"], 1);
    }

    #[test]
    fn what_is_wrong_is_said_as_kubernetes_says_it() {
        let schema = "/spec/versions/0/schema/openAPIV3Schema";
        let at = |rest: &str| format!("{schema}{rest}");
        let cases: Vec<(String, Value, &str)> = vec![
            (
                "/metadata/name".into(),
                json!("foos.example.com"),
                "metadata.name: Invalid value: \"foos.example.com\": must be spec.names.plural+\".\"+spec.group",
            ),
            ("/spec/group".into(), Value::Null, "spec.group: Required value"),
            (
                "/spec/scope".into(),
                json!("Everywhere"),
                "spec.scope: Unsupported value: \"Everywhere\": supported values: \"Cluster\", \"Namespaced\"",
            ),
            ("/spec/names/plural".into(), Value::Null, "spec.names.plural: Required value"),
            (
                "/spec/names/kind".into(),
                json!("9Widget"),
                "spec.names.kind: Invalid value: \"9Widget\": may have mixed case, but should otherwise match: a DNS-1035 label",
            ),
            (
                "/spec/names/listKind".into(),
                json!("Widget"),
                "spec.names.listKind: Invalid value: \"Widget\": kind and listKind may not be the same",
            ),
            (
                "/spec/preserveUnknownFields".into(),
                json!(true),
                "spec.preserveUnknownFields: Invalid value: true: cannot set to true",
            ),
            (
                "/spec/versions/-".into(),
                json!({"name": "v2", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}),
                "spec.versions: Invalid value: ",
            ),
            (
                "/spec/versions/0/schema".into(),
                Value::Null,
                "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
            ),
            (
                "/spec/versions/0/additionalPrinterColumns".into(),
                json!([{"name": "A", "type": "text", "jsonPath": ".spec"}]),
                "spec.versions[0].additionalPrinterColumns[0].type: Unsupported value: \"text\": supported values: ",
            ),
            (
                "/spec/versions/0/subresources".into(),
                json!({"scale": {"specReplicasPath": ".status.a", "statusReplicasPath": ".status.b"}}),
                "spec.versions[0].subresources.scale.specReplicasPath: Invalid value: \".status.a\": should be a json path under .spec",
            ),
            (
                "/spec/conversion".into(),
                json!({"strategy": "Webhook"}),
                "spec.conversion.webhook.clientConfig: Required value: required when strategy is set to Webhook",
            ),
            (
                at("/type"),
                json!("string"),
                "spec.versions[0].schema.openAPIV3Schema.type: Invalid value: \"string\": must be object at the root",
            ),
            (
                at("/type"),
                Value::Null,
                "spec.versions[0].schema.openAPIV3Schema.type: Required value: must not be empty at the root",
            ),
            (
                at("/properties/spec/type"),
                Value::Null,
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
            ),
            (
                at("/properties/spec/properties/list/items"),
                Value::Null,
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[list].items: Required value: must be specified",
            ),
            (
                at("/properties/spec/additionalProperties"),
                json!({"type": "string"}),
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
            ),
            (
                at("/properties/spec/$ref"),
                json!("x"),
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].$ref: Forbidden: $ref is not supported",
            ),
            (
                at("/properties/spec/properties/size/default"),
                json!("big"),
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[size].default: Invalid value: \"string\": ",
            ),
            (
                at("/properties/spec/properties/size/default"),
                json!(0),
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[size].default: Invalid value: 0: ",
            ),
            (
                at("/properties/spec/properties/list/uniqueItems"),
                json!(true),
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[list].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            ),
            (
                at("/properties/spec/properties/list/x-kubernetes-list-type"),
                json!("map"),
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[list].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
            ),
            (
                at("/properties/metadata"),
                json!({"type": "object", "properties": {"labels": {"type": "object"}}}),
                "spec.versions[0].schema.openAPIV3Schema.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
            ),
            (
                at("/properties/spec/properties/size/pattern"),
                json!("("),
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[size].pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: ",
            ),
            (
                at("/properties/spec/anyOf"),
                json!([{"type": "object"}]),
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].anyOf[0].type: Forbidden: must be empty to be structural",
            ),
            (
                at("/properties/spec/anyOf"),
                json!([{"properties": {"other": {"minLength": 1}}}]),
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[other]: Required value: because it is defined in spec.versions[0].schema.openAPIV3Schema.properties[spec].anyOf[0].properties[other]",
            ),
            (
                at("/properties/spec/x-kubernetes-validations"),
                json!([{"rule": "self.nope == 1"}]),
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value: apiextensions.ValidationRule{Rule:\"self.nope == 1\", ",
            ),
            (
                at("/properties/spec/x-kubernetes-validations"),
                json!([{"rule": "self.size"}]),
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value: apiextensions.ValidationRule{Rule:\"self.size\", ",
            ),
            (
                at("/properties/spec/x-kubernetes-validations"),
                json!([{"message": "x"}]),
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Required value: rule is not specified",
            ),
        ];
        for (pointer, value, expected) in cases {
            let found = errors(&with(&pointer, value.clone()));
            assert!(found.iter().any(|error| error.starts_with(expected)), "{pointer} {value}: {found:#?}");
        }
        let group = with("/spec/group", json!("example"));
        assert!(
            errors(&group).iter().any(|error| error.ends_with("should be a domain with at least one dot"))
        );
    }

    #[test]
    fn what_is_in_use_does_not_change() {
        let mut old = with("", Value::Null);
        old["status"] =
            json!({"storedVersions": ["v1"], "conditions": [{"type": "Established", "status": "True"}]});
        let mut new = old.clone();
        new["spec"]["scope"] = json!("Cluster");
        new["spec"]["versions"][0]["name"] = json!("v2");
        let found: Vec<String> = KIND
            .validate_update(&new, &old, crate::kind::Target::Main)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(
            found.iter().any(|error| error == "spec.scope: Invalid value: \"Cluster\": field is immutable"),
            "{found:?}"
        );
        assert!(
            found.iter().any(|error| error.starts_with(
                "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was"
            )),
            "{found:?}"
        );
    }

    /// Schemas of every odd shape: nothing may panic, and what is accepted must work on odd objects.
    #[test]
    fn no_schema_is_too_odd() {
        let mut random = fastrand::Rng::with_seed(11);
        let mut accepted = 0;
        for _ in 0..3000 {
            let odd = schema_of(&mut random, 0);
            let definition = with("/spec/versions/0/schema/openAPIV3Schema/properties/spec", odd);
            let refused = !errors(&definition).is_empty();
            accepted += usize::from(!refused);
            let version = crate::custom::Version::compile(&definition, "v1", 1).unwrap();
            for _ in 0..5 {
                let mut object = json!({"metadata": {"name": "a"}, "spec": value_of(&mut random, 0)});
                version.conform(&mut object);
                version.default(&mut object);
                let once = object.clone();
                version.default(&mut object);
                assert!(refused || object == once, "filling in twice is filling in once: {definition}");
                version.validate(&object, None);
                version.validate(&object, Some(&json!({"spec": value_of(&mut random, 0)})));
                version.cells(&object, Timestamp::from_seconds(0));
                let told = version.conform(&mut object);
                assert!(refused || told.is_empty(), "pruned once is pruned: {definition}");
            }
        }
        assert!(accepted > 100, "{accepted}");
    }

    fn schema_of(random: &mut fastrand::Rng, depth: usize) -> Value {
        let mut schema = json!({});
        let kinds = ["object", "array", "string", "integer", "number", "boolean"];
        if random.u8(..10) > 0 {
            let most = if depth > 3 { 2 } else { kinds.len() };
            schema["type"] =
                json!(kinds[if depth > 3 { 2 + random.usize(..most) } else { random.usize(..most) }]);
        }
        let below = |random: &mut fastrand::Rng| {
            if depth > 4 { json!({"type": "string"}) } else { schema_of(random, depth + 1) }
        };
        match schema["type"].as_str() {
            Some("object") if random.bool() => {
                schema["properties"] = json!({"a": below(random), "b": below(random)})
            }
            Some("object") => {
                schema["additionalProperties"] = if random.u8(..4) == 0 { json!(true) } else { below(random) }
            }
            Some("array") => schema["items"] = below(random),
            _ => {}
        }
        let extras = [
            ("nullable", json!(true)),
            ("default", json!({"a": 1})),
            ("default", json!([null])),
            ("default", json!("x")),
            ("default", json!(1)),
            ("x-kubernetes-preserve-unknown-fields", json!(true)),
            ("x-kubernetes-int-or-string", json!(true)),
            ("x-kubernetes-embedded-resource", json!(true)),
            ("x-kubernetes-list-type", json!("set")),
            ("x-kubernetes-list-type", json!("map")),
            ("x-kubernetes-list-map-keys", json!(["a"])),
            ("enum", json!(["x", 1, null])),
            ("pattern", json!("^[a-z")),
            ("minimum", json!(2.5)),
            ("maxLength", json!(-1)),
            ("maxItems", json!(1)),
            ("required", json!(["a", "c"])),
            ("anyOf", json!([{"type": "string"}, {"minimum": 1}])),
            ("oneOf", json!([{"required": ["a"]}, {"required": ["b"]}])),
            ("not", json!({"properties": {"a": {"enum": [1]}}})),
            ("format", json!("date-time")),
            ("x-kubernetes-validations", json!([{"rule": "self == oldSelf", "message": "x"}])),
            ("x-kubernetes-validations", json!([{"rule": "has(self.a) || true", "fieldPath": ".a"}])),
            ("x-kubernetes-validations", json!(["odd", {"rule": 1}])),
        ];
        for _ in 0..random.usize(..3) {
            let (name, value) = &extras[random.usize(..extras.len())];
            schema[*name] = value.clone();
        }
        schema
    }

    fn value_of(random: &mut fastrand::Rng, depth: usize) -> Value {
        match random.u8(..if depth > 4 { 6 } else { 9 }) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(random.i64(-3..9)),
            3 => json!(1.5),
            4 => json!("x"),
            5 => json!("2026-01-01T00:00:00Z"),
            6 => json!([value_of(random, depth + 1), value_of(random, depth + 1)]),
            7 => json!({"a": value_of(random, depth + 1), "b": value_of(random, depth + 1)}),
            _ => json!({"a": value_of(random, depth + 1), "metadata": {"name": 1}, "odd": 1}),
        }
    }
}
