//! create.

use edge_api::meta;
use serde_json::Value;

use crate::registry::admit::{Fate, Request};
use crate::registry::apply::Owners;
use crate::registry::check::{self, Refused};
use crate::registry::definitions;
use crate::registry::object::Object;
use crate::registry::read::stamp;
use crate::registry::{ApiError, Context, Registry, Target};
use crate::store::{Condition, Key, Revision, Stored};

/// What generated names end with: no vowels, so that no words arise, and nothing that looks alike.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Length of that.
const SUFFIX_LENGTH: usize = 5;
/// The longest prefix of a generated name.
const PREFIX_LENGTH: usize = 63 - SUFFIX_LENGTH;
/// How often a generated name that is taken, or a namespace that changes meanwhile, is tried again.
const ATTEMPTS: usize = 8;

impl Registry {
    /// Creates the object, answers it if it is a review, or posts to a subresource: `binding` and `eviction` answer the
    /// Pod, `token` the TokenRequest.
    pub async fn create(&self, cx: &Context, target: &Target<'_>, object: Value) -> Result<Object, ApiError> {
        let object = match target.subresource {
            "" if !target.kind.is_stored() => return self.review(cx, target, object),
            "" => return self.create_object(cx, target, object, Owners::Recorded).await,
            _ => self.posted(cx, target, object).await?,
        };
        match target.subresource {
            "binding" => self.bind(cx, target, object).await,
            "eviction" => self.evict(cx, target, object).await,
            "token" => self.request_token(cx, target, object).await,
            _ => Err(ApiError::not_supported(target.kind, "create")),
        }
    }

    /// What admission makes of something that is posted to a subresource.
    async fn posted(&self, cx: &Context, target: &Target<'_>, mut object: Value) -> Result<Value, ApiError> {
        self.authorise(cx, "create", target, target.name)?;
        let request = Request::create(self, cx, target);
        request.mutate(&mut object).await?;
        request.validate(&object).await?;
        Ok(object)
    }

    /// Creates the object itself.
    pub(crate) async fn create_object(
        &self,
        cx: &Context,
        target: &Target<'_>,
        mut object: Value,
        owners: Owners,
    ) -> Result<Object, ApiError> {
        let kind = target.kind;
        self.authorise(cx, "create", target, meta::name(&object))?;
        if kind.is_namespaced() && target.namespace.is_empty() {
            return Err(ApiError::bad_request("an empty namespace may not be set during creation"));
        }
        definitions::admit_creation(kind)?;
        check::place(target, &mut object)?;
        check::form(cx, kind, &mut object)?;
        check::place(target, &mut object)?;
        if !matches!(meta::resource_version(&object), "" | "0") {
            return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
        }
        self.start(&mut object, owners);
        let generated = meta::name(&object).is_empty() && !meta::generate_name(&object).is_empty();
        for attempt in 1..=ATTEMPTS {
            if generated {
                let name = generate(meta::generate_name(&object));
                meta::set(&mut object, "name", name);
                kind.default(&mut object);
            }
            // Only a name that is generated may have to be generated again.
            let named = if generated { object.clone() } else { std::mem::take(&mut object) };
            match self.create_named(cx, target, named, owners).await {
                Err(error) if error.is_already_exists() && generated && attempt < ATTEMPTS => {}
                other => return other,
            }
        }
        Err(ApiError::internal("no free name was found"))
    }

    /// What a new object begins with.
    fn start(&self, object: &mut Value, owners: Owners) {
        for field in [
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "resourceVersion",
        ] {
            meta::unset(object, field);
        }
        if owners == Owners::Recorded {
            meta::unset(object, "managedFields");
        }
        meta::set(object, "uid", uid().to_string());
        meta::set(object, "creationTimestamp", stamp(self.now()));
    }

    async fn create_named(
        &self,
        cx: &Context,
        asked: &Target<'_>,
        mut object: Value,
        owners: Owners,
    ) -> Result<Object, ApiError> {
        let kind = asked.kind;
        let name = meta::name(&object).to_owned();
        let target = Target { name: &name, ..*asked };
        kind.prepare_create(&mut object);
        self.stamp_requester(cx, kind, &mut object)?;
        kind.default(&mut object);
        self.authorise_grant(&cx.user, asked, None, &object)?;
        if owners == Owners::Recorded {
            self.record_owners(cx, &target, None, &mut object)?;
        }
        for _ in 0..ATTEMPTS {
            let request = Request::create(self, cx, &target);
            if request.mutate(&mut object).await? {
                kind.default(&mut object);
            }
            let reservation = self.services().admit(kind, &mut object, None)?;
            let errors = kind.validate(&object);
            if !errors.is_empty() {
                return Err(ApiError::invalid(kind, &name, &errors));
            }
            kind.warnings(&object, None).into_iter().for_each(|warning| cx.warnings.add(warning));
            request.validate(&object).await?;
            let stored = self.store_new(cx, &target, &object, request.bound_to()).await;
            match stored {
                Ok(Some(object)) => {
                    request.settle(Fate::Done).await;
                    if !cx.dry_run {
                        reservation.keep();
                    }
                    return Ok(object);
                }
                Ok(None) => request.settle(Fate::Undone).await,
                Err(error) => {
                    request.settle(Fate::Undone).await;
                    return Err(error);
                }
            }
        }
        Err(ApiError::conflict(kind, &name, "the namespace keeps changing"))
    }

    /// Stores a new object; none if what it was bound to has changed.
    async fn store_new(
        &self,
        cx: &Context,
        target: &Target<'_>,
        object: &Value,
        mut when: Vec<(Key, Condition)>,
    ) -> Result<Option<Object>, ApiError> {
        let kind = target.kind;
        let key = target.key();
        when.push((key.clone(), Condition::Absent));
        let durability = check::durability(cx, kind, &Value::Null, object);
        let bytes = self.stored_form(kind, object).await?;
        if self.store().get(&key).is_some() {
            return Err(ApiError::already_exists(kind, target.name));
        }
        let answer = self.answer(kind, Stored { revision: Revision::ZERO, value: bytes.clone() }).await?;
        if cx.dry_run {
            return Ok(Some(answer));
        }
        match self.commit(check::put(target, bytes, when, durability)).await {
            Ok(revision) => Ok(Some(Object { revision, ..answer })),
            Err(Refused::Conflict(conflict)) if conflict == key => {
                Err(ApiError::already_exists(kind, target.name))
            }
            Err(Refused::Conflict(_)) => Ok(None),
            Err(Refused::Failed(error)) => Err(error),
        }
    }
}

/// An identity that nobody else has. Tests draw it from the generator that also makes names, which they may seed.
fn uid() -> uuid::Uuid {
    if cfg!(test) {
        return uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid();
    }
    uuid::Uuid::new_v4()
}

/// A name that begins as asked and ends at random.
fn generate(prefix: &str) -> String {
    let mut end = prefix.len().min(PREFIX_LENGTH);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = prefix[..end].to_owned();
    name.extend((0..SUFFIX_LENGTH).map(|_| char::from(SUFFIX[fastrand::usize(..SUFFIX.len())])));
    name
}

#[cfg(test)]
mod tests {
    #[test]
    fn generated_names_are_short_enough() {
        assert!(super::generate("web-").starts_with("web-"));
        assert_eq!(super::generate(&"a".repeat(200)).len(), 63);
        assert_ne!(super::generate("a"), super::generate("a"));
    }
}
