//! Server-side apply, and who owns which fields.
//!
//! Writes of users are recorded in `metadata.managedFields`. Those of the controllers of this process and of nodes are
//! not: they write most, to fields that are theirs alone, and nobody applies against them. What they leave unsaid
//! about owners stays as it was.

use edge_api::custom::Version;
use edge_api::error::FieldError;
use edge_api::kind::{Kind, Subresource};
use edge_api::patch::apply::{self, ApplyError, Conflict, Schema, Writer};
use edge_api::{meta, scale};
use serde_json::{Value, json};

use crate::identity::GROUP_IN_PROCESS;
use crate::registry::check;
use crate::registry::read::stamp;
use crate::registry::update::{ATTEMPTS, Outcome, SCALE, as_asked, not_negative, preconditions};
use crate::registry::{
    ApiError, Cause, Context, Details, FieldValidation, Object, Patched, Reason, Registry, Target,
};

/// Who writes when nobody says.
const NOBODY: &str = "unknown";

/// The manager that stands for what client-side apply applied before.
const KUBECTL: &str = "kubectl";
/// Where client-side apply keeps what it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How a write accounts for owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// What changes is the caller's from now on.
    Recorded,
    /// The object says already whose what is.
    Settled,
}

impl Registry {
    /// Makes the object what the configuration says, in the fields it names; creates it if it is not there.
    pub(crate) async fn apply(
        &self,
        cx: &Context,
        target: &Target<'_>,
        config: &Value,
    ) -> Result<Patched, ApiError> {
        if cx.field_manager.is_none() {
            let error = FieldError::required("fieldManager", "is required for apply patch");
            return Err(ApiError::options("PatchOptions", error));
        }
        if target.subresource == "scale" {
            return self.apply_scale(cx, target, config).await;
        }
        if !matches!(target.subresource, "" | "status" | "approval" | "ephemeralcontainers" | "resize") {
            return Err(ApiError::not_supported(target.kind, &format!("apply of {}", target.subresource)));
        }
        // Who applies a field that does not exist would believe to own it.
        let strict = Context { field_validation: FieldValidation::Strict, ..cx.clone() };
        let mut config = config.clone();
        check::place(target, &mut config)?;
        check::form(&strict, target.kind, &mut config)?;
        check::place(target, &mut config)?;
        for _ in 0..ATTEMPTS {
            let current = match self.current_version(target).await {
                Ok(current) => current,
                Err(error) if error.is_not_found() && target.subresource.is_empty() => {
                    match self.apply_new(cx, target, &config).await {
                        Err(error) if error.is_already_exists() => continue,
                        created => return created.map(Patched::Created),
                    }
                }
                Err(error) => return Err(error),
            };
            let live = current.value();
            preconditions(target, &live, &config)?;
            let wished = self.applied(cx, target, Some(&live), &config)?;
            if let Outcome::Done(done) =
                self.replace(cx, target, &current, &live, wished, Owners::Settled).await?
            {
                return Ok(Patched::Changed(done));
            }
        }
        Err(ApiError::modified(target.kind, target.name))
    }

    /// Applies a Scale: its number of replicas becomes the manager's in the object itself.
    async fn apply_scale(
        &self,
        cx: &Context,
        target: &Target<'_>,
        config: &Value,
    ) -> Result<Patched, ApiError> {
        let strict = Context { field_validation: FieldValidation::Strict, ..cx.clone() };
        let mut sent = config.clone();
        check::as_type("autoscaling/v1", "Scale", &mut sent)?;
        check::conform(&strict, SCALE, "Scale", &mut sent)?;
        not_negative(target, &sent)?;
        let mut config = json!({
            "apiVersion": target.kind.api_version(), "kind": target.kind.kind, "metadata": {"name": target.name},
        });
        if target.kind.is_namespaced() {
            meta::set(&mut config, "namespace", target.namespace);
        }
        if meta::number(&sent, &["spec", "replicas"]).is_some() {
            scale::apply(target.kind, &mut config, &sent);
        }
        for _ in 0..ATTEMPTS {
            let current = self.current_version(target).await?;
            let live = current.value();
            preconditions(target, &live, &sent)?;
            let wished = self.applied(cx, target, Some(&live), &config)?;
            if let Outcome::Done(done) =
                self.replace(cx, target, &current, &live, wished, Owners::Settled).await?
            {
                return as_asked(target, done).map(Patched::Changed);
            }
        }
        Err(ApiError::modified(target.kind, target.name))
    }

    async fn apply_new(&self, cx: &Context, target: &Target<'_>, config: &Value) -> Result<Object, ApiError> {
        if !matches!(meta::resource_version(config), "" | "0") || !meta::uid(config).is_empty() {
            return Err(ApiError::not_found(target.kind, target.name));
        }
        let object = self.applied(cx, target, None, config)?;
        self.create_object(cx, target, object, Owners::Settled).await
    }

    fn applied(
        &self,
        cx: &Context,
        target: &Target<'_>,
        live: Option<&Value>,
        config: &Value,
    ) -> Result<Value, ApiError> {
        let applied = self.writing(cx, target, |writer| {
            let version = target.kind.version_of_definition();
            let schema = schema_of(target.kind, version.as_deref());
            let (live, mut conflicts) = match (live, apply::apply(live, config, schema, writer, cx.force)) {
                (Some(live), Err(ApplyError::Conflicts(conflicts))) if writer.manager == KUBECTL => {
                    (live, conflicts)
                }
                (_, done) => return done,
            };
            let own = applied_by_client(live, config, schema, writer);
            conflicts.retain(|conflict| !own.contains(&conflict.field));
            if conflicts.is_empty() {
                return apply::apply(Some(live), config, schema, writer, true);
            }
            Err(ApplyError::Conflicts(conflicts))
        });
        applied.map_err(refusal)
    }

    /// Notes in `new` that the caller changed what differs from `old`.
    pub(crate) fn record_owners(
        &self,
        cx: &Context,
        target: &Target<'_>,
        old: Option<&Value>,
        new: &mut Value,
    ) -> Result<(), ApiError> {
        if !is_recorded(cx, target) {
            match old.and_then(|old| meta::at(old, &["metadata", "managedFields"])) {
                Some(owners) => meta::set(new, "managedFields", owners.clone()),
                None => drop(meta::unset(new, "managedFields")),
            }
            return Ok(());
        }
        let version = target.kind.version_of_definition();
        let schema = schema_of(target.kind, version.as_deref());
        let recorded = self.writing(cx, target, |writer| apply::record(old, new, schema, writer));
        recorded.map_err(refusal)
    }

    fn writing<T>(&self, cx: &Context, target: &Target<'_>, write: impl FnOnce(&Writer<'_>) -> T) -> T {
        let now = stamp(self.now());
        write(&Writer {
            manager: cx.field_manager.as_deref().unwrap_or(NOBODY),
            subresource: target.subresource,
            api_version: &target.kind.api_version(),
            now: now.as_str().unwrap_or_default(),
            ignored: not_written(target),
        })
    }
}

/// What is known of the type of a kind's objects.
pub(crate) fn schema_of<'a>(kind: &'a Kind, version: Option<&'a Version>) -> Schema<'a> {
    version.map_or(Schema::Named(kind.schema), |version| Schema::Custom(version.schema()))
}

/// Fields that the configuration changes, but that kubectl's own client-side apply set to what they are: who goes over
/// to server-side apply has no conflict with himself.
fn applied_by_client(live: &Value, config: &Value, schema: Schema<'_>, writer: &Writer<'_>) -> Vec<String> {
    let last = meta::annotation(live, LAST_APPLIED).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(last) = last else { return Vec::new() };
    let mut live = live.clone();
    meta::unset(&mut live, "managedFields");
    // Objects without owners conflict in everything that both sides have and that differs.
    let differing = |from: &Value, to: &Value| match apply::apply(Some(from), to, schema, writer, false) {
        Err(ApplyError::Conflicts(conflicts)) => {
            conflicts.into_iter().map(|conflict| conflict.field).collect()
        }
        _ => Vec::new(),
    };
    let changed_since = differing(&live, &last);
    let mut fields = differing(&last, config);
    fields.retain(|field| !changed_since.contains(field));
    fields
}

/// Fields of the object that this endpoint does not write.
fn not_written(target: &Target<'_>) -> &'static [&'static str] {
    match target.subresource {
        "status" | "approval" => &["spec"],
        _ if target.kind.has(Subresource::Status) => &["status"],
        _ => &[],
    }
}

fn is_recorded(cx: &Context, target: &Target<'_>) -> bool {
    let user = &cx.user;
    target.kind.alias.is_none() && user.node_name().is_none() && !user.is_in(GROUP_IN_PROCESS)
}

fn refusal(error: ApplyError) -> ApiError {
    let message = error.to_string();
    match error {
        ApplyError::Conflicts(conflicts) => {
            let causes = conflicts.into_iter().map(|Conflict { manager, field }| Cause {
                reason: "FieldManagerConflict".to_owned(),
                message: format!("conflict with {manager}"),
                field,
            });
            let details = Details { causes: causes.collect(), ..Details::default() };
            ApiError::new(Reason::Conflict, message).with_details(details)
        }
        ApplyError::UnknownSchema(_) => ApiError::internal(message),
        ApplyError::ManagedFields | ApplyError::Ambiguous { .. } | ApplyError::NotAnObject => {
            ApiError::bad_request(message)
        }
    }
}
