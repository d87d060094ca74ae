//! A request as webhooks and expressions see it: Kubernetes' AdmissionRequest.

use std::borrow::Cow;

use edge_api::scale;
use serde_json::{Value, json};

use crate::registry::admit::scope::written;
use crate::registry::admit::{Operation, Request};

/// The request without its objects.
pub(super) fn attributes(request: &Request<'_>) -> Value {
    let (target, cx) = (&request.target, request.cx);
    let kind = target.kind;
    let (group, version, written) = written(request);
    let kind_of = json!({"group": group, "version": version, "kind": written});
    let resource = json!({"group": kind.group, "version": kind.version, "resource": kind.plural});
    let mut review = json!({
        "kind": kind_of, "requestKind": kind_of,
        "resource": resource, "requestResource": resource,
        "name": target.name,
        "operation": request.operation.wire(),
        "userInfo": user(request),
        "dryRun": cx.dry_run,
        "options": options(request),
    });
    if !target.subresource.is_empty() {
        review["subResource"] = target.subresource.into();
        review["requestSubResource"] = target.subresource.into();
    }
    if kind.is_namespaced() {
        review["namespace"] = target.namespace.into();
    } else if kind.kind == "Namespace" && kind.group.is_empty() {
        review["namespace"] = target.name.into();
    }
    review
}

fn user(request: &Request<'_>) -> Value {
    let user = &request.cx.user;
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = user.uid.as_str().into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

fn options(request: &Request<'_>) -> Value {
    let kind = match request.operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Connect => return Value::Null,
    };
    let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    if let Some(manager) = &request.cx.field_manager {
        options["fieldManager"] = manager.as_str().into();
    }
    if request.cx.dry_run {
        options["dryRun"] = json!(["All"]);
    }
    options
}

/// An object as the request's subresource has it: a Scale for `scale`, everything else as it is.
pub(super) fn shown<'a>(request: &Request<'_>, object: &'a Value) -> Cow<'a, Value> {
    if request.target.subresource != "scale" || object.is_null() {
        return Cow::Borrowed(object);
    }
    scale::of(request.kind(), object).map_or(Cow::Borrowed(object), Cow::Owned)
}
