//! Whether the expressions of a ValidatingAdmissionPolicy fit the types of the kinds that it is about, built-in ones and
//! those of definitions.
//!
//! A policy about whatever comes is not checked: a warning is for sure a mistake, and its absence is no promise.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cel::{Environment, ObjectType, Program, Type};
use crate::custom::{Compiler, OBJECT_META};
use crate::kind::Kind;
use crate::kinds::KINDS;
use crate::meta::{self, items, text};
use crate::schema::{self, Definition, Shape};

/// How many kinds a policy is checked against.
const KINDS_MOST: usize = 10;

/// The groups of which a policy names kinds: definitions of others need not be known to check it.
pub fn groups(policy: &Value) -> Vec<&str> {
    let spec = &policy["spec"];
    let rules = items(spec, &["matchConstraints", "resourceRules"]).iter();
    let named = rules.flat_map(|rule| items(rule, &["apiGroups"])).filter_map(Value::as_str);
    named.chain([meta::split_api_version(text(spec, &["paramKind", "apiVersion"])).0]).collect()
}

/// `status.typeChecking.expressionWarnings` of a policy. The definitions are those of its groups at least.
pub fn warnings(policy: &Value, definitions: &[Value]) -> Vec<Value> {
    let spec = &policy["spec"];
    let parameters = parameters(spec, definitions);
    let mut subjects = built_in(spec);
    subjects.extend(definitions.iter().flat_map(|definition| defined(spec, definition)));
    subjects.truncate(KINDS_MOST);
    let environments: Vec<(String, Environment)> =
        subjects.into_iter().map(|Subject { name, kind }| (name, environment(kind, &parameters))).collect();
    let mut warnings = Vec::new();
    for (place, validation) in items(spec, &["validations"]).iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let expression = text(validation, &[field]);
            let wrong: Vec<String> = environments
                .iter()
                .filter(|_| !expression.is_empty())
                .filter_map(|(name, environment)| {
                    let error = Program::compile(expression, environment).err()?;
                    Some(format!("{name}: {error}"))
                })
                .collect();
            if !wrong.is_empty() {
                let place = format!("spec.validations[{place}].{field}");
                warnings.push(json!({"fieldRef": place, "warning": wrong.join("\n")}));
            }
        }
    }
    warnings
}

/// A kind that a policy is about.
struct Subject {
    /// `apps/v1, Kind=Deployment`
    name: String,
    kind: Type,
}

/// Whether a rule of the policy names a resource; `*` names none.
fn names(spec: &Value, group: &str, version: &str, plural: &str) -> bool {
    items(spec, &["matchConstraints", "resourceRules"]).iter().any(|rule| {
        let has = |field: &str, word: &str| items(rule, &[field]).iter().any(|one| one == word);
        has("apiGroups", group) && has("apiVersions", version) && has("resources", plural)
    })
}

/// The built-in kinds that the rules name.
fn built_in(spec: &Value) -> Vec<Subject> {
    let named = KINDS.iter().filter(|kind| names(spec, kind.group, kind.version, kind.plural));
    let subject = |kind: &&'static Kind| {
        let name = format!("{}, Kind={}", kind.api_version(), kind.kind);
        Some(Subject { name, kind: of_object(schema::definition(kind.schema)?) })
    };
    named.filter_map(subject).collect()
}

/// The versions of a definition that the rules name.
fn defined(spec: &Value, definition: &Value) -> Vec<Subject> {
    let (group, plural) =
        (text(definition, &["spec", "group"]), text(definition, &["spec", "names", "plural"]));
    let served = items(definition, &["spec", "versions"]).iter().filter(|version| version["served"] == true);
    let named = served.filter(|version| names(spec, group, text(version, &["name"]), plural));
    let subject = |version: &Value| Subject {
        name: format!(
            "{group}/{}, Kind={}",
            text(version, &["name"]),
            text(definition, &["spec", "names", "kind"])
        ),
        kind: of_version(version),
    };
    named.map(subject).collect()
}

/// The type of the policy's parameters.
fn parameters(spec: &Value, definitions: &[Value]) -> Type {
    let (api_version, kind) = (text(spec, &["paramKind", "apiVersion"]), text(spec, &["paramKind", "kind"]));
    if api_version.is_empty() {
        return Type::Dyn;
    }
    let (group, version) = meta::split_api_version(api_version);
    if let Some(definition) = schema::by_kind(group, version, kind) {
        return of_object(definition);
    }
    let definition = definitions.iter().find(|definition| {
        text(definition, &["spec", "group"]) == group && text(definition, &["spec", "names", "kind"]) == kind
    });
    let mut versions = definition.map(|one| items(one, &["spec", "versions"])).unwrap_or_default().iter();
    versions.find(|one| text(one, &["name"]) == version).map_or(Type::Dyn, of_version)
}

fn environment(object: Type, parameters: &Type) -> Environment {
    let environment = Environment::new()
        .with("object", object.clone())
        .with("oldObject", object)
        .with("params", parameters.clone());
    let untyped = ["request", "namespaceObject", "variables", "authorizer"];
    untyped.iter().fold(environment, |environment, name| environment.with(name, Type::Dyn))
}

/// The type of the objects of a version of a definition.
fn of_version(version: &Value) -> Type {
    let mut fields = Compiler::types(&version["schema"]["openAPIV3Schema"]);
    fields.retain(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
    let metadata = schema::definition(OBJECT_META).map_or(Type::Dyn, of_object);
    fields.extend([
        ("apiVersion".to_owned(), Type::Text),
        ("kind".to_owned(), Type::Text),
        ("metadata".to_owned(), metadata),
    ]);
    Type::Object(Arc::new(ObjectType::new(fields)))
}

fn of_object(definition: Definition) -> Type {
    of_definition(definition, &mut Vec::new())
}

/// The type of a definition; what is within itself is of no known type.
fn of_definition(definition: Definition, within: &mut Vec<Definition>) -> Type {
    if within.contains(&definition) {
        return Type::Dyn;
    }
    within.push(definition);
    let fields: Vec<(String, Type)> = definition
        .fields()
        .map(|field| (field.name().to_owned(), of_shape(field.node().shape(), within)))
        .collect();
    within.pop();
    Type::Object(Arc::new(ObjectType::new(fields)))
}

fn of_shape(shape: Shape, within: &mut Vec<Definition>) -> Type {
    match shape {
        Shape::Struct(definition) => of_definition(definition, within),
        Shape::Array(item) => Type::list(of_shape(item.shape(), within)),
        Shape::Map(value) => Type::map(of_shape(value.shape(), within)),
        Shape::String => Type::Text,
        Shape::Bytes => Type::Bytes,
        Shape::Boolean => Type::Bool,
        Shape::Int32 | Shape::Int64 => Type::Int,
        Shape::Double => Type::Double,
        Shape::Time | Shape::MicroTime => Type::Timestamp,
        Shape::Quantity | Shape::IntOrString | Shape::Any => Type::Dyn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(resources: &[&str], validations: Value) -> Value {
        json!({"spec": {
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "matchConstraints": {"resourceRules": [
                {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": resources, "operations": ["CREATE"]}]},
            "validations": validations}})
    }

    #[test]
    fn mistakes_are_found_before_anybody_writes() {
        let one = policy(&["deployments"], json!([{"expression": "object.replicas > 1"}]));
        assert_eq!(
            warnings(&one, &[]),
            [json!({"fieldRef": "spec.validations[0].expression", "warning":
                "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n | ......^"})]
        );
        let good = json!([{
            "expression": "object.spec.replicas <= int(params.data['most']) && object.metadata.labels.all(l, l != '')
                && object.spec.template.spec.containers.all(c, c.image.startsWith('a/')) && variables.x == request.y",
            "messageExpression": "'at most ' + params.data.most",
        }]);
        assert_eq!(warnings(&policy(&["deployments", "statefulsets"], good), &[]), [] as [Value; 0]);
        let both =
            json!([{"expression": "object.spec.paused", "messageExpression": "object.spec.replicas + 'x'"}]);
        let found = warnings(&policy(&["deployments", "statefulsets"], both), &[]);
        let of = |place: usize| {
            (text(&found[place], &["fieldRef"]), text(&found[place], &["warning"]).matches("Kind=").count())
        };
        assert_eq!(of(0), ("spec.validations[0].expression", 1), "StatefulSets cannot be paused");
        assert_eq!(of(1), ("spec.validations[0].messageExpression", 2));
        let any = policy(&["*"], json!([{"expression": "object.nothing"}]));
        assert_eq!(warnings(&any, &[]), [] as [Value; 0]);
    }

    #[test]
    fn custom_resources_have_the_types_of_their_definition() {
        let version = |name: &str, beds: &str| {
            json!({"name": name, "served": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "metadata": {"type": "object"},
                "spec": {"type": "object", "properties": {"beds": {"type": beds}, "more": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
            }}}})
        };
        let definition = json!({"spec": {"group": "example.com", "names": {"kind": "Room", "plural": "rooms"},
            "versions": [version("v1", "integer"), version("v2", "string"), version("v3", "boolean")]}});
        let found = |parameters: &str, expression: &str| {
            let policy = json!({"spec": {
                "paramKind": {"apiVersion": parameters, "kind": "Room"},
                "matchConstraints": {"resourceRules": [
                    {"apiGroups": ["example.com"], "apiVersions": ["v1", "v2"], "resources": ["rooms"]}]},
                "validations": [{"expression": expression}]}});
            assert_eq!(groups(&policy), ["example.com", "example.com"]);
            let warnings = warnings(&policy, std::slice::from_ref(&definition));
            warnings.first().map(|warning| text(warning, &["warning"]).to_owned()).unwrap_or_default()
        };
        assert_eq!(found("example.com/v1", "object.metadata.name != '' && object.kind == 'Room'"), "");
        assert_eq!(found("example.com/v9", "has(object.spec.beds) && params.anything > 1"), "");
        let wrong = found("example.com/v1", "object.spec.beds > 1 && params.spec.beds > 1");
        assert!(
            wrong.starts_with("example.com/v2, Kind=Room: ERROR: <input>:1:18: found no matching overload"),
            "{wrong}"
        );
        assert_eq!(wrong.matches("Kind=").count(), 1, "in v1 it is a number: {wrong}");
        let unknown = found("example.com/v1", "object.spec.chairs == 1");
        assert_eq!(unknown.matches("undefined field 'chairs'").count(), 2, "{unknown}");
        let unknown = found("example.com/v1", "params.spec.chairs == 1");
        assert_eq!(unknown.matches("undefined field 'chairs'").count(), 2, "{unknown}");
    }
}
