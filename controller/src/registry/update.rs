//! update: of objects, their status, their scale, and the finalizers of namespaces.

use edge_api::kind::{Kind, Subresource, Target as Part};
use edge_api::{meta, scale};
use serde_json::Value;

use crate::registry::admit::{Fate, Request, release};
use crate::registry::apply::Owners;
use crate::registry::check::{self, Refused};
use crate::registry::{ApiError, Context, Object, Registry, Target, encode};
use crate::store::{Condition, Op, Stored, Write};

/// How often a write without a precondition is tried again when somebody else was first.
pub(crate) const ATTEMPTS: usize = 100;

/// The schema of a Scale.
pub(crate) const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";

/// What a write did.
pub(crate) enum Outcome {
    /// This is the object now.
    Done(Object),
    /// Somebody else wrote first.
    Raced,
}

impl Registry {
    /// Replaces the object or its subresource. A `resourceVersion` in the object is a precondition; without one the
    /// last writer wins.
    pub async fn update(&self, cx: &Context, target: &Target<'_>, object: Value) -> Result<Object, ApiError> {
        self.authorise(cx, "update", target, target.name)?;
        let mut object = object;
        if target.subresource == "scale" {
            check::as_type("autoscaling/v1", "Scale", &mut object)?;
            check::conform(cx, SCALE, "Scale", &mut object)?;
        } else {
            check::place(target, &mut object)?;
            check::form(cx, target.kind, &mut object)?;
            check::place(target, &mut object)?;
        }
        for _ in 0..ATTEMPTS {
            let current = self.current_version(target).await?;
            let wished = match target.subresource {
                "scale" => scaled(target, &current, &object)?,
                _ => object.clone(),
            };
            if let Outcome::Done(done) =
                self.replace(cx, target, &current, &current.value(), wished, Owners::Recorded).await?
            {
                return as_asked(target, done);
            }
        }
        Err(ApiError::modified(target.kind, target.name))
    }

    /// Writes `wished` in place of `current`, which is `old` when read, as the subresource allows.
    pub(crate) async fn replace(
        &self,
        cx: &Context,
        target: &Target<'_>,
        current: &Object,
        old: &Value,
        mut wished: Value,
        owners: Owners,
    ) -> Result<Outcome, ApiError> {
        let kind = target.kind;
        preconditions(target, old, &wished)?;
        keep_identity(&mut wished, old);
        let part = match target.subresource {
            "status" => Part::Status,
            "finalize" => Part::Finalize,
            "approval" => Part::Approval,
            "ephemeralcontainers" => Part::Part(Subresource::EphemeralContainers),
            "resize" => Part::Part(Subresource::Resize),
            _ => Part::Main,
        };
        if target.subresource == "finalize" {
            wished = finalized(old, &wished);
        } else {
            kind.default(&mut wished);
            kind.prepare_update(&mut wished, old, part);
            kind.default(&mut wished);
        }
        self.authorise_grant(&cx.user, target, Some(old), &wished)?;
        if owners == Owners::Recorded {
            self.record_owners(cx, target, Some(old), &mut wished)?;
        }
        let request = Request::update(self, cx, target, old);
        if request.mutate(&mut wished).await? {
            keep_identity(&mut wished, old);
            kind.default(&mut wished);
            kind.prepare_update(&mut wished, old, part);
        }
        let reservation = self.services().admit(kind, &mut wished, Some(old))?;
        self.authorise_signer(cx, kind, part, old)?;
        self.issue(kind, part, &mut wished);
        let errors = kind.validate_update(&wished, old, part);
        if !errors.is_empty() {
            return Err(ApiError::invalid(kind, target.name, &errors));
        }
        kind.warnings(&wished, Some(old)).into_iter().for_each(|warning| cx.warnings.add(warning));
        request.validate(&wished).await?;
        let gone = may_go(kind, old, &wished);
        let durability = check::durability(cx, kind, old, &wished);
        let bytes = self.stored_form(kind, &wished).await?;
        let unchanged = !gone && self.store().get(&target.key()).is_some_and(|stored| stored.value == bytes);
        if unchanged {
            request.settle(Fate::Undone).await;
            return Ok(Outcome::Done(current.clone()));
        }
        let answer = self.answer(kind, Stored { revision: current.revision, value: bytes.clone() }).await?;
        if cx.dry_run {
            return Ok(Outcome::Done(answer));
        }
        let mut when = request.bound_to();
        when.push((target.key(), Condition::At(current.revision)));
        let write = if gone {
            Write { key: target.key(), op: Op::Delete, when, durability: crate::store::Durability::Durable }
        } else {
            check::put(target, bytes, when, durability)
        };
        let written = self.commit(write).await;
        let fate = if written.is_ok() && !gone { Fate::Done } else { Fate::Undone };
        request.settle(fate).await;
        match written {
            Ok(revision) => {
                reservation.keep();
                if gone {
                    self.services().release(kind, old);
                    release(self, kind, old).await;
                }
                Ok(Outcome::Done(Object { revision, ..answer }))
            }
            Err(Refused::Conflict(_)) => Ok(Outcome::Raced),
            Err(Refused::Failed(error)) => Err(error),
        }
    }
}

/// What the writer of a subresource gets back.
pub(crate) fn as_asked(target: &Target<'_>, object: Object) -> Result<Object, ApiError> {
    if target.subresource != "scale" {
        return Ok(object);
    }
    let scale = scale::of(target.kind, &object.value());
    let scale = scale.ok_or_else(|| ApiError::not_found(target.kind, target.name))?;
    Ok(Object { revision: object.revision, stored: encode(scale) })
}

/// The object with the replicas of a Scale; the Scale's revision binds.
pub(crate) fn scaled(target: &Target<'_>, current: &Object, sent: &Value) -> Result<Value, ApiError> {
    let mut object = current.value();
    not_negative(target, sent)?;
    if !scale::apply(target.kind, &mut object, sent) {
        return Err(ApiError::not_found(target.kind, target.name));
    }
    match meta::resource_version(sent) {
        "" => drop(meta::unset(&mut object, "resourceVersion")),
        version => meta::set(&mut object, "resourceVersion", version),
    }
    Ok(object)
}

/// A Scale cannot wish for less than nothing.
pub(crate) fn not_negative(target: &Target<'_>, sent: &Value) -> Result<(), ApiError> {
    let replicas = meta::number(sent, &["spec", "replicas"]).unwrap_or(0);
    if replicas >= 0 {
        return Ok(());
    }
    let error =
        edge_api::error::FieldError::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
    let message = edge_api::error::invalid("Scale.autoscaling", target.name, std::slice::from_ref(&error));
    Err(ApiError { message, ..ApiError::invalid(target.kind, target.name, &[error]) })
}

/// A `resourceVersion` or uid in the object must be the current one.
pub(crate) fn preconditions(target: &Target<'_>, old: &Value, wished: &Value) -> Result<(), ApiError> {
    let version = meta::resource_version(wished);
    if !matches!(version, "" | "0") && version != meta::resource_version(old) {
        return Err(ApiError::modified(target.kind, target.name));
    }
    let (sent, is) = (meta::uid(wished), meta::uid(old));
    if sent.is_empty() || sent == is {
        return Ok(());
    }
    let why = format!("Precondition failed: UID in precondition: {sent}, UID in object meta: {is}");
    Err(ApiError::conflict(target.kind, target.name, &why))
}

/// What an update cannot touch.
fn keep_identity(wished: &mut Value, old: &Value) {
    for field in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        match meta::at(old, &["metadata", field]) {
            Some(value) => meta::set(wished, field, value.clone()),
            None => drop(meta::unset(wished, field)),
        }
    }
}

/// A namespace with the finalizers that the finalize subresource leaves.
fn finalized(old: &Value, wished: &Value) -> Value {
    let mut object = old.clone();
    let finalizers = meta::at(wished, &["spec", "finalizers"]).cloned();
    match finalizers {
        Some(finalizers) => object["spec"]["finalizers"] = finalizers,
        None => drop(meta::object_mut(&mut object, "spec").remove("finalizers")),
    }
    object
}

/// Whether the object was only waiting for what this write takes away.
pub(crate) fn may_go(kind: &Kind, old: &Value, wished: &Value) -> bool {
    meta::deletion_timestamp(old).is_some()
        && meta::deletion_grace_period_seconds(old).unwrap_or(0) == 0
        && has_no_finalizers(kind, wished)
}

/// Whether nothing holds the object, in the metadata or, for namespaces, in the spec.
pub(crate) fn has_no_finalizers(kind: &Kind, object: &Value) -> bool {
    let in_spec = kind.kind == "Namespace" && kind.group.is_empty();
    meta::finalizers(object).is_empty()
        && (!in_spec || meta::items(object, &["spec", "finalizers"]).is_empty())
}
