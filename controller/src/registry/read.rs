//! get and list.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edge_api::kind::Kind;
use edge_api::{scale, time};
use serde::{Deserialize, Serialize};

use crate::registry::select::Selection;
use crate::registry::{
    ApiError, Context, Details, ListOptions, Object, Reason, Registry, Target, VersionMatch, encode,
};
use crate::store::{Key, Page, RangeOptions, ReadError, Revision, Stored};

/// Objects read at once while a selector is looking for a page's worth.
const STRIDE: usize = 1000;

/// A list at one revision.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// The objects in the order of namespace and name.
    pub items: Vec<Object>,
    /// The revision of the whole.
    pub revision: Revision,
    /// What to ask the next page with; empty on the last.
    pub continue_token: String,
    /// How many follow, where that is known.
    pub remaining: Option<u64>,
}

/// What a continue token says: the revision of the list (none if the rest may be newer than the beginning), and after
/// which key to go on.
#[derive(Serialize, Deserialize)]
struct Continue {
    rv: Option<u64>,
    start: String,
}

impl Registry {
    /// The object or its subresource.
    pub async fn get(&self, cx: &Context, target: &Target<'_>) -> Result<Object, ApiError> {
        self.authorise(cx, "get", target, target.name)?;
        let object = self.current_version(target).await?;
        match target.subresource {
            "scale" => scale::of(target.kind, &object.value())
                .map(|scale| Object { revision: object.revision, stored: encode(scale) })
                .ok_or_else(|| ApiError::not_found(target.kind, target.name)),
            "" | "status" | "approval" | "ephemeralcontainers" | "resize" => Ok(object),
            other => Err(ApiError::not_supported(target.kind, &format!("get of {other}"))),
        }
    }

    /// The objects of a collection.
    pub async fn list(
        &self,
        cx: &Context,
        target: &Target<'_>,
        options: &ListOptions,
    ) -> Result<List, ApiError> {
        let selection = Selection::parse(target.kind, &options.label_selector, &options.field_selector)?;
        self.authorise(cx, "list", target, selection.name())?;
        let mut list = self.select(target, &selection, options)?;
        self.convert_list(target.kind, &selection, &mut list).await?;
        Ok(list)
    }

    /// Brings a list into the version that was asked for. Fields that only this version has select only now.
    pub(crate) async fn convert_list(
        &self,
        kind: &Kind,
        selection: &Selection,
        list: &mut List,
    ) -> Result<(), ApiError> {
        if kind.custom.is_some() {
            list.items = self.all_converted(kind, std::mem::take(&mut list.items)).await?;
            list.items.retain(|object| selection.matches(object));
        }
        Ok(())
    }

    /// The list that `options` ask for of objects that were worked out and are not stored.
    pub fn computed(
        &self,
        kind: &'static Kind,
        objects: Vec<serde_json::Value>,
        options: &ListOptions,
    ) -> Result<List, ApiError> {
        let selection = Selection::parse(kind, &options.label_selector, &options.field_selector)?;
        let items = objects
            .into_iter()
            .map(|value| Object { revision: Revision::ZERO, stored: encode(value) })
            .filter(|object| selection.matches(object));
        Ok(List { items: items.collect(), revision: self.store().head(), ..List::default() })
    }

    /// The revision that `version` names, which there must have been; empty is zero.
    pub fn reached(&self, version: &str) -> Result<Revision, ApiError> {
        let asked = revision(version)?;
        let head = self.store().head();
        if asked > head { Err(ApiError::too_large_version(asked, head)) } else { Ok(asked) }
    }

    /// The object of a target, in the shape of the target's kind, unless only a webhook knows that.
    pub(crate) fn current(&self, target: &Target<'_>) -> Result<Object, ApiError> {
        let stored = self.store().get(&target.key());
        stored
            .map(|stored| present(target.kind, stored))
            .ok_or_else(|| ApiError::not_found(target.kind, target.name))
    }

    /// The same, in the version of the target's kind.
    pub(crate) async fn current_version(&self, target: &Target<'_>) -> Result<Object, ApiError> {
        self.converted(target.kind, self.current(target)?).await
    }

    /// What the writer of an object gets back, which is made before it is written: who cannot be answered writes nothing.
    pub(crate) async fn answer(&self, kind: &Kind, stored: Stored) -> Result<Object, ApiError> {
        self.converted(kind, present(kind, stored)).await
    }

    /// The objects of a collection with these labels, without asking who wants them.
    pub(crate) fn labelled(&self, target: &Target<'_>, labels: &str) -> Result<Vec<Object>, ApiError> {
        let selection = Selection::parse(target.kind, labels, "")?;
        Ok(self.select(target, &selection, &ListOptions::default())?.items)
    }

    /// A list without asking who wants it.
    pub(crate) fn select(
        &self,
        target: &Target<'_>,
        selection: &Selection,
        options: &ListOptions,
    ) -> Result<List, ApiError> {
        let prefix = target.prefix();
        let (at, mut after) = self.list_position(&prefix, options)?;
        let limit = usize::try_from(options.limit).unwrap_or(usize::MAX);
        let wanted = if limit == 0 { usize::MAX } else { limit };
        if let Some(list) = self.by_name(target, selection, at, after.as_ref()) {
            return Ok(list);
        }
        let mut list = List { revision: at.unwrap_or_default(), ..List::default() };
        loop {
            let stride = if selection.is_everything() { limit } else { limit.max(STRIDE) };
            let range = RangeOptions {
                at: if list.revision > Revision::ZERO { Some(list.revision) } else { None },
                after: after.take(),
                limit: (limit > 0).then_some(stride),
            };
            let page = self.store().range(&prefix, &range);
            let page = page.map_err(|error| expired_page(error, &prefix, range.after.as_ref()))?;
            list.revision = page.revision;
            let (more, remaining) = (page.more, page.remaining);
            let last = take_page(&mut list, page, target.kind, selection, wanted);
            let full = list.items.len() >= wanted;
            let left_over = last.as_ref().is_some_and(|(_, left_over)| *left_over);
            if full || !more {
                if let Some((key, _)) = last.filter(|_| full && (more || left_over)) {
                    list.continue_token = token(Some(list.revision), &prefix, &key);
                    list.remaining = selection.is_everything().then_some(remaining);
                }
                return Ok(list);
            }
            after = last.map(|(key, _)| key);
        }
    }

    /// Where a list begins: the revision, if it is not the newest, and the key after which.
    fn list_position(
        &self,
        prefix: &str,
        options: &ListOptions,
    ) -> Result<(Option<Revision>, Option<Key>), ApiError> {
        if !options.continue_token.is_empty() {
            if !matches!(options.resource_version.as_str(), "" | "0") {
                return Err(ApiError::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            let (revision, key) = read_token(&options.continue_token, prefix)?;
            return Ok((revision, Some(key)));
        }
        let asked = self.reached(&options.resource_version)?;
        match options.version_match {
            VersionMatch::Exact => Ok((Some(asked), None)),
            VersionMatch::Unset if options.limit > 0 && asked > Revision::ZERO => Ok((Some(asked), None)),
            _ => Ok((None, None)),
        }
    }

    /// A selector that names one object is answered by its key.
    fn by_name(
        &self,
        target: &Target<'_>,
        selection: &Selection,
        at: Option<Revision>,
        after: Option<&Key>,
    ) -> Option<List> {
        let name = selection.name();
        let in_one_place = !target.namespace.is_empty() || !target.kind.is_namespaced();
        if name.is_empty() || at.is_some() || after.is_some() || !in_one_place {
            return None;
        }
        // Object and revision belong together: a watch goes on from here.
        let key = Target { name, ..*target }.key();
        let page = self
            .store()
            .range(key.as_str(), &RangeOptions { limit: Some(1), ..RangeOptions::default() })
            .ok()?;
        let items = page.items.into_iter().filter(|(found, _)| *found == key);
        let items = items.map(|(_, stored)| present(target.kind, stored));
        let items = items.filter(|object| selection.matches(object)).collect();
        Some(List { items, revision: page.revision, ..List::default() })
    }
}

/// Adds what a page holds until the list is full; the last key that was looked at, and whether the page held more.
fn take_page(
    list: &mut List,
    page: Page,
    kind: &Kind,
    selection: &Selection,
    wanted: usize,
) -> Option<(Key, bool)> {
    let mut last = None;
    let mut items = page.items.into_iter();
    for (key, stored) in items.by_ref() {
        let object = present(kind, stored);
        if selection.matches(&object) {
            list.items.push(object);
        }
        last = Some(key);
        if list.items.len() >= wanted {
            break;
        }
    }
    last.map(|key| (key, items.len() > 0))
}

/// A stored object in the shape of `kind`, which may be an alias of the kind it is stored as.
pub(crate) fn present(kind: &Kind, stored: Stored) -> Object {
    let object = Object { revision: stored.revision, stored: stored.value };
    if kind.custom.is_some() {
        return as_defined(kind, object);
    }
    let Some(alias) = kind.alias else { return object };
    let mut value = object.value();
    (alias.load)(&mut value);
    value["apiVersion"] = kind.api_version().into();
    value["kind"] = kind.kind.into();
    Object { revision: object.revision, stored: encode(value) }
}

/// A custom resource in the version of `kind`, with the defaults that its definition has now.
fn as_defined(kind: &Kind, object: Object) -> Object {
    let Some(version) = kind.version_of_definition() else { return object };
    let api_version = kind.api_version();
    if version.conversion.is_some() && !object.is_of(kind.kind, &api_version) {
        // Only its webhook knows what it is in this version.
        return object;
    }
    if object.is_of(kind.kind, &api_version) && !version.is_older(object.revision.0) {
        return object;
    }
    let mut value: serde_json::Value = serde_json::from_slice(&object.stored).unwrap_or_default();
    value["apiVersion"] = api_version.into();
    version.default(&mut value);
    Object { revision: object.revision, stored: encode(value) }
}

/// Reads a `resourceVersion` as clients send it; empty is zero.
pub(crate) fn revision(text: &str) -> Result<Revision, ApiError> {
    if text.is_empty() {
        return Ok(Revision::ZERO);
    }
    let parsed = text.parse().map(Revision);
    parsed.map_err(|_| {
        ApiError::bad_request(format!("Invalid value: {text:?}: resourceVersion must be a number"))
    })
}

fn token(revision: Option<Revision>, prefix: &str, last: &Key) -> String {
    let start = last.as_str().strip_prefix(prefix).unwrap_or_default().to_owned();
    let token = Continue { rv: revision.map(|revision| revision.0), start };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).expect("a number and a string are JSON"))
}

fn read_token(token: &str, prefix: &str) -> Result<(Option<Revision>, Key), ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok();
    let parsed = bytes.and_then(|bytes| serde_json::from_slice::<Continue>(&bytes).ok());
    let Continue { rv, start } = parsed.ok_or_else(|| ApiError::bad_request("continue key is not valid"))?;
    Ok((rv.map(Revision), Key::new(format!("{prefix}{start}"))))
}

/// Why the page after `after` cannot be had; of an expired list the rest can, as it is now.
fn expired_page(error: ReadError, prefix: &str, after: Option<&Key>) -> ApiError {
    match (error, after) {
        (ReadError::Compacted { .. }, Some(after)) => {
            let message = "The provided continue parameter is too old to display a consistent list result. You can \
                           start a new list without the continue parameter, or use the continue token in this \
                           response to retrieve the remainder of the results. Continuing with the provided token \
                           results in an inconsistent list - objects that were created, modified, or deleted between \
                           the time the first chunk was returned and now may show up in the list.";
            let continue_token = token(None, prefix, after);
            ApiError::new(Reason::Expired, message)
                .with_details(Details { continue_token, ..Details::default() })
        }
        (ReadError::Future { .. }, Some(_)) => ApiError::bad_request("continue key is not valid"),
        (other, _) => other.into(),
    }
}

/// The time as `metadata` holds it.
pub(crate) fn stamp(now: time::Timestamp) -> serde_json::Value {
    now.seconds().into()
}

#[cfg(test)]
mod tests {
    use super::{expired_page, read_token};
    use crate::registry::Reason;
    use crate::store::{Key, ReadError, Revision};

    #[test]
    fn who_reads_too_slowly_may_have_the_rest() {
        let compacted = ReadError::Compacted { asked: Revision(1), floor: Revision(9) };
        let after = Key::new("/a/b/default/m");
        let error = expired_page(compacted, "/a/b/", Some(&after));
        assert_eq!(error.reason, Reason::Expired);
        let token = error.details.map(|details| details.continue_token).unwrap_or_default();
        assert_eq!(read_token(&token, "/a/b/").ok(), Some((None, after)));
    }
}
