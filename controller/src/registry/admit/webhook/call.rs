//! One question to one webhook: an AdmissionReview there and back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_api::meta::{items, number, text};
use serde_json::{Value, json};

use crate::registry::admit::webhook::hook::Hook;
use crate::registry::admit::{Request, review};
use crate::registry::{ApiError, Reason};

/// What a webhook says to a request that it allows.
pub(super) struct Reply {
    /// How it wishes the object, as a JSON patch; null as it is.
    pub patch: Value,
    /// What its author is to be told.
    pub warnings: Vec<String>,
}

/// Why a webhook did not allow a request.
pub(super) enum Refused {
    /// Nobody understandable answered.
    Unreachable(String),
    /// It said no.
    Said(ApiError),
}

/// Asks the webhook about a request.
pub(super) async fn ask(request: &Request<'_>, hook: &Hook, object: &Value) -> Result<Reply, Refused> {
    let uid = uuid::Uuid::new_v4().to_string();
    let mut question = review::attributes(request);
    question["uid"] = uid.as_str().into();
    question["object"] = object.clone();
    question["oldObject"] = review::shown(request, request.old).into_owned();
    let body = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": question});
    let answer = hook.contact.post(request.registry, &body).await;
    let answer = answer.map_err(|why| Refused::Unreachable(format!("failed to call webhook: {why}")))?;
    let response = understand(&answer, &uid)
        .map_err(|why| Refused::Unreachable(format!("received invalid webhook response: {why}")))?;
    for (key, value) in response["auditAnnotations"].as_object().into_iter().flatten() {
        let value = || value.as_str().unwrap_or_default().to_owned();
        request.cx.annotations.add(&format!("{}/{key}", hook.name), value);
    }
    if response["allowed"] != true {
        warn(request, response);
        return Err(Refused::Said(refusal(&hook.name, &response["status"])));
    }
    let patch = patch(response).map_err(|why| {
        Refused::Unreachable(format!("received invalid webhook response: webhook returned {why}"))
    })?;
    Ok(Reply { patch, warnings: warnings(response) })
}

/// The response of a review that answers the question.
fn understand<'a>(review: &'a Value, uid: &str) -> Result<&'a Value, String> {
    let (version, kind) = (text(review, &["apiVersion"]), text(review, &["kind"]));
    if (version, kind) != ("admission.k8s.io/v1", "AdmissionReview") {
        let expected = "admission.k8s.io/v1, Kind=AdmissionReview";
        return Err(format!("expected webhook response of {expected}, got {version}, Kind={kind}"));
    }
    let response = &review["response"];
    if response.is_null() {
        return Err("webhook response was absent".to_owned());
    }
    match text(response, &["uid"]) {
        answered if answered == uid => Ok(response),
        other => Err(format!("expected response.uid={uid:?}, got {other:?}")),
    }
}

fn patch(response: &Value) -> Result<Value, String> {
    let (kind, patch) = (text(response, &["patchType"]), text(response, &["patch"]));
    match (kind, patch) {
        (_, "") => Ok(Value::Null),
        ("JSONPatch", patch) => {
            let bytes = STANDARD.decode(patch).map_err(|error| format!("response.patch: {error}"))?;
            serde_json::from_slice(&bytes).map_err(|error| format!("response.patch: {error}"))
        }
        ("", _) => Err("response.patch but not response.patchType".to_owned()),
        (other, _) => Err(format!("invalid response.patchType of {other:?}")),
    }
}

fn warnings(response: &Value) -> Vec<String> {
    items(response, &["warnings"]).iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

fn warn(request: &Request<'_>, response: &Value) {
    warnings(response).iter().for_each(|warning| request.cx.warnings.add(warning));
}

/// A refusal with the words and the code of the webhook.
fn refusal(name: &str, status: &Value) -> ApiError {
    let denied = format!("admission webhook {name:?} denied the request");
    let (message, reason) = (text(status, &["message"]), text(status, &["reason"]));
    let message = match (message, reason) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    let code = number(status, &["code"]).and_then(|code| u16::try_from(code).ok()).unwrap_or(0);
    ApiError::new(Reason::Foreign { code: code.max(400), name: reason.into() }, message)
}
