//! A policy that changes objects: what it is about, and the changes, each a part of the object as it shall be or
//! operations on it.

use edge_api::meta::{self, items, text};
use edge_api::patch;
use edge_api::patch::apply::{self, Writer};
use serde_json::Value;

use crate::registry::admit::Request;
use crate::registry::admit::expression::{Expression, Named, View};
use crate::registry::admit::policy::binding::Binding;
use crate::registry::admit::scope::Constraints;
use crate::registry::apply::schema_of;
use crate::registry::{ApiError, Context, FieldValidation, Reason, check};

/// A policy.
pub(super) struct Mutations {
    /// Its name.
    pub name: String,
    /// Whether its changes are made again when others change the object after it.
    pub again: bool,
    /// The type of its parameters, as `apiVersion` and `kind`, if it has any.
    params: Option<(String, String)>,
    constraints: Constraints,
    conditions: Named,
    variables: Named,
    changes: Vec<Change>,
    /// Whether what cannot be evaluated is no refusal.
    ignores: bool,
}

/// One change.
struct Change {
    expression: Expression,
    shape: Shape,
}

/// What an expression makes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A part of the object, merged into it as server-side apply does.
    Part,
    /// Operations of a JSON patch.
    Operations,
}

impl Change {
    fn of(mutation: &Value) -> Change {
        let (field, shape) = match text(mutation, &["patchType"]) {
            "JSONPatch" => ("jsonPatch", Shape::Operations),
            _ => ("applyConfiguration", Shape::Part),
        };
        Change { expression: Expression::of_change(text(mutation, &[field, "expression"])), shape }
    }
}

impl Mutations {
    /// Reads a policy and compiles it.
    pub(super) fn of(policy: &Value) -> Mutations {
        let spec = &policy["spec"];
        let kind = &spec["paramKind"];
        let params = (text(kind, &["apiVersion"]).to_owned(), text(kind, &["kind"]).to_owned());
        Mutations {
            name: meta::name(policy).to_owned(),
            again: text(spec, &["reinvocationPolicy"]) == "IfNeeded",
            params: (!kind.is_null()).then_some(params),
            constraints: Constraints::of(&spec["matchConstraints"]),
            conditions: Named::at(spec, "matchConditions"),
            variables: Named::at(spec, "variables"),
            changes: items(spec, &["mutations"]).iter().map(Change::of).collect(),
            ignores: text(spec, &["failurePolicy"]) == "Ignore",
        }
    }

    /// Whether the policy is about a request.
    pub(super) fn concerns(&self, request: &Request<'_>, object: &Value) -> bool {
        self.constraints.match_rules(request, object)
    }

    /// Makes the changes, with each of the binding's parameters.
    pub(super) fn change(
        &self,
        request: &Request<'_>,
        binding: &Binding,
        object: &mut Value,
    ) -> Result<(), ApiError> {
        let params = match binding.params(request, self.params.as_ref()) {
            Ok(params) => params,
            Err(why) => return self.broken(request, binding, &format!("failed to configure binding: {why}")),
        };
        for params in &params {
            let mut changed = object.clone();
            match self.change_with(request, params, &mut changed) {
                Ok(()) => *object = changed,
                Err(why) => self.broken(request, binding, &why)?,
            }
        }
        Ok(())
    }

    fn change_with(&self, request: &Request<'_>, params: &Value, object: &mut Value) -> Result<(), String> {
        {
            let view = View::of(request, object);
            if !self.conditions.hold(&view.scene(params, &self.variables))? {
                return Ok(());
            }
        }
        for Change { expression, shape } in &self.changes {
            let value = {
                let view = View::of(request, object);
                let scene = view.scene(params, &self.variables);
                expression.evaluate(&scene).map_err(|why| expression.failed(&why))?.to_json()
            };
            let changed = match shape {
                Shape::Part => merge(request, object, value),
                Shape::Operations => patch::json(object, &value).map_err(|error| error.to_string()),
            };
            changed.map_err(|why| expression.failed(&why))?;
            let silent = Context {
                field_validation: FieldValidation::Ignore,
                ..Context::new(request.cx.user.clone())
            };
            check::form(&silent, request.kind(), object)
                .map_err(|error| expression.failed(&error.message))?;
        }
        Ok(())
    }

    /// What becomes of something that cannot be evaluated.
    fn broken(&self, request: &Request<'_>, binding: &Binding, why: &str) -> Result<(), ApiError> {
        if self.ignores {
            return Ok(());
        }
        let told = format!(
            "MutatingAdmissionPolicy '{}' with binding '{}' denied request: {why}",
            self.name, binding.name
        );
        Err(ApiError { reason: Reason::Invalid, ..request.forbidden(&told) })
    }
}

/// Merges a part into an object by its schema. A field that the schema does not know is an error, and one that it calls
/// atomic: of that nothing would be left but what the part says.
fn merge(request: &Request<'_>, object: &mut Value, mut part: Value) -> Result<(), String> {
    let kind = request.kind();
    if !part.is_object() {
        return Err("must evaluate to an object".to_owned());
    }
    part["apiVersion"] = object["apiVersion"].clone();
    part["kind"] = object["kind"].clone();
    meta::object_mut(&mut part, "metadata");
    let strict =
        Context { field_validation: FieldValidation::Strict, ..Context::new(request.cx.user.clone()) };
    check::form(&strict, kind, &mut part).map_err(|error| error.message)?;
    let version = kind.version_of_definition();
    let atomics = patch::atomics(&part, schema_of(kind, version.as_deref()));
    if !atomics.is_empty() {
        let paths = atomics.join(", ");
        return Err(format!(
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {paths}"
        ));
    }
    let owners = meta::unset(object, "managedFields");
    let writer = Writer {
        manager: "admission",
        subresource: "",
        api_version: &kind.api_version(),
        now: "",
        ignored: &[],
    };
    let merged = apply::apply(Some(object), &part, schema_of(kind, version.as_deref()), &writer, true);
    *object = merged.map_err(|error| error.to_string())?;
    match owners {
        Some(owners) => meta::set(object, "managedFields", owners),
        None => drop(meta::unset(object, "managedFields")),
    }
    Ok(())
}
