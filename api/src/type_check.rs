//! Whether the expressions of a ValidatingAdmissionPolicy fit the types of the built-in kinds that it is about.
//!
//! A policy about whatever comes is not checked, nor are fields of custom resources: a warning is for sure a mistake,
//! and its absence is no promise.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cel::{Environment, ObjectType, Program, Type};
use crate::kind::Kind;
use crate::kinds::KINDS;
use crate::meta::{self, items, text};
use crate::schema::{self, Definition, Shape};

/// How many kinds a policy is checked against.
const KINDS_MOST: usize = 10;

/// `status.typeChecking.expressionWarnings` of a policy.
pub fn warnings(policy: &Value) -> Vec<Value> {
    let spec = &policy["spec"];
    let kinds = kinds_of(spec);
    let parameters = match (text(spec, &["paramKind", "apiVersion"]), text(spec, &["paramKind", "kind"])) {
        ("", _) => Type::Dyn,
        (api_version, kind) => {
            let (group, version) = meta::split_api_version(api_version);
            schema::by_kind(group, version, kind).map_or(Type::Dyn, of_object)
        }
    };
    let environments: Vec<(String, Environment)> =
        kinds.iter().filter_map(|kind| Some((named(kind), environment(kind, &parameters)?))).collect();
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

/// The built-in kinds that the rules name, without those that say `*`.
fn kinds_of(spec: &Value) -> Vec<&'static Kind> {
    let mut kinds: Vec<&'static Kind> = Vec::new();
    for rule in items(spec, &["matchConstraints", "resourceRules"]) {
        let names = |field: &str, word: &str| items(rule, &[field]).iter().any(|one| one == word);
        let named = |kind: &&&'static Kind| {
            names("apiGroups", kind.group)
                && names("apiVersions", kind.version)
                && names("resources", kind.plural)
        };
        for kind in KINDS.iter().filter(named) {
            if !kinds.contains(kind) {
                kinds.push(*kind);
            }
        }
    }
    kinds.truncate(KINDS_MOST);
    kinds
}

/// `apps/v1, Kind=Deployment`
fn named(kind: &Kind) -> String {
    format!("{}, Kind={}", kind.api_version(), kind.kind)
}

fn environment(kind: &Kind, parameters: &Type) -> Option<Environment> {
    let object = of_object(schema::definition(kind.schema)?);
    let environment = Environment::new()
        .with("object", object.clone())
        .with("oldObject", object)
        .with("params", parameters.clone());
    let untyped = ["request", "namespaceObject", "variables", "authorizer"];
    Some(untyped.iter().fold(environment, |environment, name| environment.with(name, Type::Dyn)))
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
            warnings(&one),
            [json!({"fieldRef": "spec.validations[0].expression", "warning":
                "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n | ......^"})]
        );
        let good = json!([{
            "expression": "object.spec.replicas <= int(params.data['most']) && object.metadata.labels.all(l, l != '')
                && object.spec.template.spec.containers.all(c, c.image.startsWith('a/')) && variables.x == request.y",
            "messageExpression": "'at most ' + params.data.most",
        }]);
        assert_eq!(warnings(&policy(&["deployments", "statefulsets"], good)), [] as [Value; 0]);
        let both =
            json!([{"expression": "object.spec.paused", "messageExpression": "object.spec.replicas + 'x'"}]);
        let found = warnings(&policy(&["deployments", "statefulsets"], both));
        let of = |place: usize| {
            (text(&found[place], &["fieldRef"]), text(&found[place], &["warning"]).matches("Kind=").count())
        };
        assert_eq!(of(0), ("spec.validations[0].expression", 1), "StatefulSets cannot be paused");
        assert_eq!(of(1), ("spec.validations[0].messageExpression", 2));
        let any = policy(&["*"], json!([{"expression": "object.nothing"}]));
        assert_eq!(warnings(&any), [] as [Value; 0]);
    }
}
