//! Custom resources in another of their versions, as a webhook makes them that their definition names.
//!
//! Objects are kept in the version in which they were stored. Who asks for another gets what the webhook answers, in
//! which only labels and annotations of the metadata may differ, and with the fields that the schema knows. A definition
//! without a webhook says that its versions differ in name alone; then nobody is asked.

use std::time::Duration;

use bytes::Bytes;
use edge_api::custom::Version;
use edge_api::kind::Kind;
use edge_api::meta::{self, items, text};
use serde_json::{Value, json};

use crate::registry::contact::Contact;
use crate::registry::{ApiError, Object, Reason, Registry, check, encode};

/// How long a webhook has.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is asked and answered.
const REVIEW: (&str, &str) = ("apiextensions.k8s.io/v1", "ConversionReview");

impl Registry {
    /// An object in the version of `kind`.
    pub(crate) async fn converted(&self, kind: &Kind, object: Object) -> Result<Object, ApiError> {
        if kind.custom.is_none() {
            return Ok(object);
        }
        let mut objects = self.all_converted(kind, vec![object]).await?;
        objects.pop().ok_or_else(|| ApiError::internal("a conversion lost its object"))
    }

    /// Objects in the version of `kind`; the webhook is asked once for all of them.
    pub(crate) async fn all_converted(
        &self,
        kind: &Kind,
        mut objects: Vec<Object>,
    ) -> Result<Vec<Object>, ApiError> {
        let Some(version) = kind.version_of_definition() else { return Ok(objects) };
        let Some(webhook) = &version.conversion else { return Ok(objects) };
        let wished = kind.api_version();
        let differing: Vec<usize> =
            (0..objects.len()).filter(|at| !objects[*at].is_of(kind.kind, &wished)).collect();
        if differing.is_empty() {
            return Ok(objects);
        }
        let asked = differing.iter().map(|at| objects[*at].value()).collect();
        let answered = self.ask(webhook, asked, &wished).await?;
        for (at, mut value) in differing.into_iter().zip(answered) {
            version.conform(&mut value);
            version.default(&mut value);
            objects[at].stored = encode(value);
        }
        Ok(objects)
    }

    /// What is stored for an object of `kind`: its form in the version in which objects are stored.
    pub(crate) async fn stored_form(&self, kind: &Kind, object: &Value) -> Result<Bytes, ApiError> {
        let version = kind.version_of_definition();
        let storage = version.as_deref().filter(|version| version.storage != kind.api_version());
        match storage.and_then(|version| Some((version, version.conversion.as_ref()?))) {
            Some((Version { storage, .. }, webhook)) => {
                let mut answered = self.ask(webhook, vec![object.clone()], storage).await?;
                check::stored(kind, answered.pop().unwrap_or_default())
            }
            None => check::stored(kind, object),
        }
    }

    /// Asks a webhook for objects in another version.
    async fn ask(&self, webhook: &Value, objects: Vec<Value>, wished: &str) -> Result<Vec<Value>, ApiError> {
        let first = objects
            .first()
            .map(|object| format!("{}, Kind={}", meta::api_version(object), text(object, &["kind"])));
        let of = format!("conversion webhook for {}", first.unwrap_or_default());
        // Kubernetes answers such failures without a reason.
        let failed = |why: String| {
            ApiError::new(Reason::Foreign { code: 500, name: "".into() }, format!("{of} {why}"))
        };
        let uid = uuid::Uuid::new_v4().to_string();
        let (api_version, kind) = REVIEW;
        let question = json!({"kind": kind, "apiVersion": api_version,
            "request": {"uid": uid, "desiredAPIVersion": wished, "objects": objects}});
        let contact = Contact::of(webhook, PATIENCE);
        let answer = contact.post(self, &question).await.map_err(|why| failed(format!("failed: {why}")))?;
        let converted = understand(&answer, &uid).map_err(|why| failed(format!("failed: {why}")))?;
        if converted.len() != objects.len() {
            let counts = format!("returned {} objects, expected {}", converted.len(), objects.len());
            return Err(failed(counts));
        }
        let mut all = Vec::with_capacity(objects.len());
        for (at, (object, converted)) in objects.iter().zip(converted).enumerate() {
            let accepted = accept(object, converted, wished)
                .map_err(|why| failed(format!("returned invalid converted object at index {at}: {why}")))?;
            all.push(accepted);
        }
        Ok(all)
    }
}

/// The objects of a review that answers the question.
fn understand<'a>(review: &'a Value, uid: &str) -> Result<&'a [Value], String> {
    let said = (text(review, &["apiVersion"]), text(review, &["kind"]));
    if said != REVIEW {
        let written = |(version, kind): (&str, &str)| format!("{version}, Kind={kind}");
        return Err(format!("expected webhook response of {}, got {}", written(REVIEW), written(said)));
    }
    let response = &review["response"];
    if response.is_null() {
        return Err("no response provided".to_owned());
    }
    if text(response, &["uid"]) != uid {
        return Err(format!("expected response.uid={uid:?}, got {:?}", text(response, &["uid"])));
    }
    let result = &response["result"];
    match (text(result, &["status"]), text(result, &["message"])) {
        ("Success", _) => Ok(items(response, &["convertedObjects"])),
        (status, "") => Err(format!("response.result.status was '{status}', not 'Success'")),
        (_, message) => Err(message.to_owned()),
    }
}

/// A converted object with the metadata of the original but for labels and annotations, if it is the same one.
fn accept(original: &Value, converted: &Value, wished: &str) -> Result<Value, String> {
    let version = meta::api_version(converted);
    if version != wished {
        return Err(format!("invalid groupVersion (expected {wished}, received {version})"));
    }
    let kind = text(original, &["kind"]);
    if text(converted, &["kind"]) != kind {
        return Err(format!("invalid kind (expected {kind}, received {})", text(converted, &["kind"])));
    }
    for (word, field) in [("name", "name"), ("namespace", "namespace"), ("UID", "uid")] {
        let of = |object| text(object, &["metadata", field]);
        let (is, was) = (of(converted), of(original));
        if is != was {
            return Err(format!("must have the same {word}: {was} != {is}"));
        }
    }
    if !converted["metadata"].is_object() {
        return Err("missing metadata in converted object".to_owned());
    }
    let mut accepted = converted.clone();
    accepted["metadata"] = original["metadata"].clone();
    for field in ["labels", "annotations"] {
        match converted["metadata"].get(field) {
            Some(value) => meta::set(&mut accepted, field, value.clone()),
            None => drop(meta::unset(&mut accepted, field)),
        }
    }
    Ok(accepted)
}
