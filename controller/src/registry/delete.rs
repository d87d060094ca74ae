//! delete and deletecollection.

use std::time::Duration;

use edge_api::kind::Kind;
use edge_api::kinds::custom_resource_definition;
use edge_api::meta;
use serde_json::{Value, json};

use crate::registry::admit::{Request, release};
use crate::registry::check::Refused;
use crate::registry::read::stamp;
use crate::registry::select::Selection;
use crate::registry::update::{ATTEMPTS, has_no_finalizers};
use crate::registry::{
    ApiError, Context, DeleteOptions, List, ListOptions, Object, Propagation, Registry, Target,
};
use crate::store::{Condition, Durability, Op, Stored, Write};

/// Seconds that a Pod without a wish of its own is given.
const POD_GRACE: i64 = 30;
/// The finalizer that makes the garbage collector delete dependents first.
const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer that makes the garbage collector let dependents go first.
const ORPHAN: &str = "orphan";

/// What a deletion did.
#[derive(Clone, Debug)]
pub enum Deleted {
    /// The object is gone; this is its last state.
    Gone(Object),
    /// The object stays until its grace period has passed or its finalizers are gone.
    Waiting(Object),
}

/// Whether admission has a say in a deletion. An eviction was admitted as one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Admission {
    Asked,
    Passed,
}

/// What is to happen to an object now.
enum Step {
    Remove,
    Mark(Value),
    Nothing,
}

impl Registry {
    /// Deletes the object, or begins to.
    pub async fn delete(
        &self,
        cx: &Context,
        target: &Target<'_>,
        options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        self.authorise(cx, "delete", target, target.name)?;
        if !target.subresource.is_empty() {
            return Err(ApiError::not_supported(target.kind, "delete"));
        }
        self.remove_as(cx, target, options, Admission::Asked).await
    }

    /// Deletes the objects of a collection that the list options select.
    pub async fn delete_collection(
        &self,
        cx: &Context,
        target: &Target<'_>,
        list: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<List, ApiError> {
        let selection = Selection::parse(target.kind, &list.label_selector, &list.field_selector)?;
        self.authorise(cx, "deletecollection", target, "")?;
        let mut found = self.select(target, &selection, list)?;
        self.convert_list(target.kind, &selection, &mut found).await?;
        for object in &found.items {
            let header = object.header();
            let one = Target { namespace: &header.namespace, name: &header.name, ..*target };
            match self.remove_as(cx, &one, options, Admission::Asked).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(found)
    }

    /// Deletes without asking who wants it or what the cluster says to it.
    pub(crate) async fn remove(
        &self,
        cx: &Context,
        target: &Target<'_>,
        options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        self.remove_as(cx, target, options, Admission::Passed).await
    }

    async fn remove_as(
        &self,
        cx: &Context,
        target: &Target<'_>,
        options: &DeleteOptions,
        admission: Admission,
    ) -> Result<Deleted, ApiError> {
        for _ in 0..ATTEMPTS {
            let current = self.current_version(target).await?;
            let old = current.value();
            preconditions(target, &old, options)?;
            if admission == Admission::Asked {
                let request = Request::delete(self, cx, target, &old);
                request.mutate(&mut Value::Null).await?;
                request.validate(&Value::Null).await?;
            }
            let mut answer = current.clone();
            let op = match self.step(target.kind, &old, options) {
                Step::Nothing => return Ok(Deleted::Waiting(current)),
                Step::Remove => Op::Delete,
                Step::Mark(marked) => {
                    let bytes = self.stored_form(target.kind, &marked).await?;
                    let marked = Stored { revision: current.revision, value: bytes.clone() };
                    answer = self.answer(target.kind, marked).await?;
                    Op::Put(bytes)
                }
            };
            let gone = op == Op::Delete;
            if !cx.dry_run {
                let when = vec![(target.key(), Condition::At(current.revision))];
                match self
                    .commit(Write { key: target.key(), op, when, durability: Durability::Durable })
                    .await
                {
                    Ok(revision) => answer.revision = revision,
                    Err(Refused::Conflict(_)) => continue,
                    Err(Refused::Failed(error)) => return Err(error),
                }
                if gone {
                    self.services().release(target.kind, &old);
                    release(self, target.kind, &old).await;
                }
            }
            return Ok(if gone { Deleted::Gone(answer) } else { Deleted::Waiting(answer) });
        }
        Err(ApiError::modified(target.kind, target.name))
    }

    fn step(&self, kind: &Kind, old: &Value, options: &DeleteOptions) -> Step {
        let mut new = old.clone();
        propagate(&mut new, options.propagation);
        if *kind == custom_resource_definition::KIND && meta::deletion_timestamp(old).is_none() {
            hold(&mut new, custom_resource_definition::CLEANUP);
        }
        let held = !has_no_finalizers(kind, &new);
        let grace = grace(kind, old, options);
        if grace == 0 && !held {
            return Step::Remove;
        }
        let waiting = meta::deletion_timestamp(old).is_some();
        let before = meta::deletion_grace_period_seconds(old).unwrap_or(0);
        if let Some(disruption) = options.disruption.filter(|_| !waiting) {
            disruption.tell(&mut new, self.now());
        }
        if !waiting || grace < before {
            let end = self.now().plus(Duration::from_secs(grace.unsigned_abs()));
            meta::set(&mut new, "deletionTimestamp", stamp(end));
            meta::set(&mut new, "deletionGracePeriodSeconds", grace);
            if grace > 0 && meta::generation(old) > 0 {
                meta::set(&mut new, "generation", meta::generation(old) + 1);
            }
        }
        if kind.kind == "Namespace" && kind.group.is_empty() {
            meta::unset(&mut new, "deletionGracePeriodSeconds");
            meta::object_mut(&mut new, "status").insert("phase".to_owned(), json!("Terminating"));
        }
        if new == *old { Step::Nothing } else { Step::Mark(new) }
    }
}

fn preconditions(target: &Target<'_>, old: &Value, options: &DeleteOptions) -> Result<(), ApiError> {
    let kind = target.kind;
    for (field, wished, is) in [
        ("UID", &options.uid, meta::uid(old)),
        ("ResourceVersion", &options.resource_version, meta::resource_version(old)),
    ] {
        if let Some(wished) = wished
            && wished != is
        {
            let why = format!(
                "Precondition failed: {field} in precondition: {wished}, {field} in object meta: {is}"
            );
            return Err(ApiError::conflict(kind, target.name, &why));
        }
    }
    Ok(())
}

/// Seconds that the object is given; only a Pod that runs somewhere gets any.
fn grace(kind: &Kind, old: &Value, options: &DeleteOptions) -> i64 {
    let is_pod = kind.kind == "Pod" && kind.group.is_empty();
    let placed = !meta::text(old, &["spec", "nodeName"]).is_empty();
    let over = matches!(meta::text(old, &["status", "phase"]), "Succeeded" | "Failed");
    if !is_pod || !placed || over {
        return 0;
    }
    let own = meta::number(old, &["spec", "terminationGracePeriodSeconds"]).unwrap_or(POD_GRACE);
    let wished = options.grace_period_seconds.unwrap_or(own);
    let wished = if wished < 0 { 1 } else { wished };
    match meta::deletion_timestamp(old) {
        Some(_) => wished.min(meta::deletion_grace_period_seconds(old).unwrap_or(wished)),
        None => wished,
    }
}

/// Adds a finalizer that is not there yet.
fn hold(object: &mut Value, finalizer: &str) {
    let mut all: Vec<String> = meta::finalizers(object).into_iter().map(str::to_owned).collect();
    if !all.iter().any(|one| one == finalizer) {
        all.push(finalizer.to_owned());
        meta::set(object, "finalizers", all);
    }
}

/// Says by finalizers what the garbage collector is to do with dependents.
fn propagate(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else { return };
    let wished = match propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    let old: Vec<String> = meta::finalizers(object).into_iter().map(str::to_owned).collect();
    let others =
        old.iter().filter(|f| ![FOREGROUND, ORPHAN].contains(&f.as_str()) || Some(f.as_str()) == wished);
    let mut finalizers: Vec<String> = others.cloned().collect();
    if let Some(wished) = wished
        && !finalizers.iter().any(|f| f == wished)
    {
        finalizers.push(wished.to_owned());
    }
    if finalizers.is_empty() {
        meta::unset(object, "finalizers");
    } else {
        meta::set(object, "finalizers", finalizers);
    }
}
