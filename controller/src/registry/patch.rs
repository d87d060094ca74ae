//! patch.

use edge_api::meta;
use edge_api::patch::{self, PatchError};
use serde_json::Value;

use crate::registry::apply::Owners;
use crate::registry::check;
use crate::registry::update::{ATTEMPTS, Outcome, SCALE, as_asked, scaled};
use crate::registry::{ApiError, Context, Object, PatchKind, Reason, Registry, Target};

/// What is said of a strategic merge patch of an object whose schema has no strategies.
const NO_STRATEGY: &str = "the body of the request was in an unknown format - accepted media types include: \
                           application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

/// What a patch did.
#[derive(Clone, Debug)]
pub enum Patched {
    /// The object changed, or the patch changed nothing.
    Changed(Object),
    /// Server-side apply made the object.
    Created(Object),
}

impl Patched {
    /// The object as it is now.
    pub fn into_object(self) -> Object {
        match self {
            Patched::Changed(object) | Patched::Created(object) => object,
        }
    }
}

impl Registry {
    /// Patches the object or its subresource, again on a conflict unless the patch names a `resourceVersion`.
    pub async fn patch(
        &self,
        cx: &Context,
        target: &Target<'_>,
        kind: PatchKind,
        patch: &Value,
    ) -> Result<Patched, ApiError> {
        self.authorise(cx, "patch", target, target.name)?;
        if kind == PatchKind::Apply {
            return self.apply(cx, target, patch).await;
        }
        for _ in 0..ATTEMPTS {
            let current = self.current_version(target).await?;
            let old = current.value();
            let wished = self.patched(cx, target, &current, &old, kind, patch)?;
            if let Outcome::Done(done) =
                self.replace(cx, target, &current, &old, wished, Owners::Recorded).await?
            {
                return as_asked(target, done).map(Patched::Changed);
            }
        }
        Err(ApiError::modified(target.kind, target.name))
    }

    /// The object as the patch wishes it.
    fn patched(
        &self,
        cx: &Context,
        target: &Target<'_>,
        current: &Object,
        old: &Value,
        kind: PatchKind,
        patch: &Value,
    ) -> Result<Value, ApiError> {
        let is_scale = target.subresource == "scale";
        if kind == PatchKind::Strategic && target.kind.custom.is_some() && !is_scale {
            return Err(ApiError::new(Reason::UnsupportedMediaType, NO_STRATEGY));
        }
        let (mut document, schema) = if is_scale {
            (as_asked(target, current.clone())?.value(), SCALE)
        } else {
            (old.clone(), target.kind.schema)
        };
        let applied = match kind {
            PatchKind::Json => patch::json(&mut document, patch),
            PatchKind::Merge => {
                patch::merge(&mut document, patch);
                Ok(())
            }
            PatchKind::Strategic | PatchKind::Apply => patch::strategic(&mut document, patch, schema),
        };
        applied.map_err(|error| refusal(&error))?;
        if is_scale {
            check::as_type("autoscaling/v1", "Scale", &mut document)?;
            check::conform(cx, schema, "Scale", &mut document)?;
            return scaled(target, current, &document);
        }
        immovable(target, current, &document)?;
        check::place(target, &mut document)?;
        check::form(cx, target.kind, &mut document)?;
        check::place(target, &mut document)?;
        Ok(document)
    }
}

/// A patch cannot move or rename an object.
fn immovable(target: &Target<'_>, current: &Object, document: &Value) -> Result<(), ApiError> {
    let header = current.header();
    for (field, is, wished) in [
        ("name", header.name.as_ref(), meta::name(document)),
        ("namespace", &header.namespace, meta::namespace(document)),
    ] {
        if is != wished && !wished.is_empty() {
            let error = edge_api::error::FieldError::invalid(
                format!("metadata.{field}"),
                wished,
                "field is immutable",
            );
            return Err(ApiError::invalid(target.kind, target.name, &[error]));
        }
    }
    Ok(())
}

fn refusal(error: &PatchError) -> ApiError {
    if error.unprocessable() {
        // Without details, as clients show the message only then.
        let why = format!("the server rejected our request due to an error in our request: {error}");
        return ApiError::new(Reason::Invalid, why);
    }
    match error {
        PatchError::TooManyOperations { .. } | PatchError::TooLarge(_) => {
            ApiError::new(Reason::RequestEntityTooLarge, error.to_string())
        }
        _ => ApiError::bad_request(error.to_string()),
    }
}
