//! Making what was sent an object of its kind: type and place, unknown fields, defaults, rules, stored form.

use std::borrow::Borrow;

use bytes::Bytes;
use edge_api::kind::{Kind, Volatility, Written};
use edge_api::meta;
use edge_api::schema::{self, Problem};
use serde_json::Value;

use crate::registry::{ApiError, Context, FieldValidation, Reason, Registry, Target, encode};
use crate::store::{Durability, Op, Revision, Write, WriteError};

/// The largest object that is stored, in bytes.
const LARGEST: usize = 3 * 1024 * 1024;

/// How many unknown or repeated fields are told of; a body may have a hundred thousand.
const MOST_PROBLEMS: usize = 100;

/// Fills in what the path says, and refuses an object that says something else.
pub fn place(target: &Target<'_>, object: &mut Value) -> Result<(), ApiError> {
    let kind = target.kind;
    as_type(&kind.api_version(), kind.kind, object)?;
    let namespace = meta::namespace(object).to_owned();
    if !kind.is_namespaced() {
        meta::unset(object, "namespace");
    } else if namespace.is_empty() {
        meta::set(object, "namespace", target.namespace);
    } else if namespace != target.namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let name = meta::name(object).to_owned();
    if target.name.is_empty() || name == target.name {
        return Ok(());
    }
    if name.is_empty() {
        meta::set(object, "name", target.name);
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "the name of the object ({name}) does not match the name on the URL ({})",
        target.name
    )))
}

/// Makes `object` one of the given type if it says none, and refuses another.
pub fn as_type(api_version: &str, kind: &str, object: &mut Value) -> Result<(), ApiError> {
    let Some(fields) = object.as_object_mut() else {
        return Err(ApiError::bad_request(format!("the body is not an object of kind {kind}")));
    };
    let text = |field: &str| fields.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (sent_version, sent_kind) = (text("apiVersion"), text("kind"));
    if !sent_version.is_empty() && sent_version != api_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({sent_version}) does not match the expected API version ({api_version})"
        )));
    }
    if !sent_kind.is_empty() && sent_kind != kind {
        return Err(ApiError::bad_request(format!(
            "the kind in the data ({sent_kind}) does not match the expected kind ({kind})"
        )));
    }
    fields.insert("apiVersion".to_owned(), api_version.into());
    fields.insert("kind".to_owned(), kind.into());
    if !fields.get("metadata").is_some_and(Value::is_object) && !fields.contains_key("metadata") {
        fields.insert("metadata".to_owned(), serde_json::json!({}));
    }
    Ok(())
}

/// Brings `object` into the form of its kind, treating unknown fields as the caller wishes.
pub fn form(cx: &Context, kind: &Kind, object: &mut Value) -> Result<(), ApiError> {
    let problems = kind.conform(object);
    judge(cx, kind.kind, object, &problems)
}

/// The same for what is of no kind of its own, such as a Scale.
pub fn conform(cx: &Context, schema: &str, kind: &str, object: &mut Value) -> Result<(), ApiError> {
    let problems = schema::check(schema, object);
    judge(cx, kind, object, &problems)?;
    schema::prune(schema, object);
    Ok(())
}

fn judge(cx: &Context, kind: &str, object: &Value, problems: &[Problem]) -> Result<(), ApiError> {
    if let Some(problem) = problems.iter().find(|problem| problem.fatal()) {
        return Err(unreadable(kind, object, &problem.to_string()));
    }
    let duplicates = cx.duplicates.iter().map(|path| format!("duplicate field {path:?}"));
    let all: Vec<String> = duplicates.chain(problems.iter().map(ToString::to_string)).collect();
    if !all.is_empty() {
        match cx.field_validation {
            FieldValidation::Strict => {
                let rest = all.len().saturating_sub(MOST_PROBLEMS);
                let more = if rest > 0 { format!(", and {rest} more") } else { String::new() };
                let told = all[..all.len() - rest].join(", ");
                let message = format!("strict decoding error: {told}{more}");
                return Err(unreadable(kind, object, &message));
            }
            FieldValidation::Warn => {
                all.iter().take(MOST_PROBLEMS).for_each(|problem| cx.warnings.add(problem))
            }
            FieldValidation::Ignore => {}
        }
    }
    Ok(())
}

fn unreadable(kind: &str, object: &Value, why: &str) -> ApiError {
    let (_, version) = meta::split_api_version(meta::api_version(object));
    ApiError::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
}

/// What is stored for an object of `kind`, which may be an alias.
pub fn stored(kind: &Kind, object: impl Borrow<Value>) -> Result<Bytes, ApiError> {
    let bytes = match kind.alias {
        Some(alias) => {
            let mut object = object.borrow().clone();
            (alias.store)(&mut object);
            object["apiVersion"] = alias.of.api_version().into();
            object["kind"] = alias.of.kind.into();
            encode(object)
        }
        None => match kind.version_of_definition() {
            Some(version) => {
                let mut object = object.borrow().clone();
                object["apiVersion"] = version.storage.as_str().into();
                encode(object)
            }
            None => encode(object),
        },
    };
    if bytes.len() > LARGEST {
        let message = format!("the object has {} bytes; the limit is {LARGEST}", bytes.len());
        return Err(ApiError::new(Reason::RequestEntityTooLarge, message));
    }
    Ok(bytes)
}

/// A precondition that did not hold, or a failure.
pub enum Refused {
    /// Of which key.
    Conflict(crate::store::Key),
    /// Anything else.
    Failed(ApiError),
}

impl Registry {
    /// Writes to the store.
    pub(crate) async fn commit(&self, write: Write) -> Result<Revision, Refused> {
        let key = write.key.clone();
        let revision = self.store().write(write).await.map_err(|error| match error {
            WriteError::Conflict { key, .. } => Refused::Conflict(key),
            other => Refused::Failed(other.into()),
        })?;
        self.definitions().written(&key, self.store());
        Ok(revision)
    }
}

/// How durable a write must be before it is acknowledged. `old` is null on creation.
pub fn durability(cx: &Context, kind: &Kind, old: &Value, new: &Value) -> Durability {
    match kind.volatility(Written { old, new, user: &cx.user.name }) {
        Volatility::Durable => Durability::Durable,
        Volatility::Volatile => Durability::Volatile,
    }
}

/// A write of `bytes` to the target under conditions.
pub fn put(
    target: &Target<'_>,
    bytes: Bytes,
    when: Vec<(crate::store::Key, crate::store::Condition)>,
    durability: Durability,
) -> Write {
    Write { key: target.key(), op: Op::Put(bytes), when, durability }
}
