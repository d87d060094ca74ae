//! Which objects of a collection a request means.

use edge_api::kind::Kind;
use edge_api::selector::{FieldSelector, LabelSelector};
use memchr::memmem::Finder;

use crate::registry::{ApiError, Object};

/// Label and field selectors of a request. Empty ones cost nothing.
#[derive(Clone, Debug)]
pub struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    /// What the bytes of every object that is meant contain, so that most others need not be read: each node watches
    /// the Pods of all for its own.
    words: Vec<Finder<'static>>,
    /// The kind, if it is one whose versions only a webhook knows.
    versioned: Option<&'static Kind>,
}

impl Selection {
    /// Reads both selectors as sent.
    pub fn parse(kind: &'static Kind, labels: &str, fields: &str) -> Result<Selection, ApiError> {
        let bad = |error: edge_api::selector::SelectorError| ApiError::bad_request(error.to_string());
        let versioned = kind.version_of_definition().is_some_and(|version| version.conversion.is_some());
        let fields = if fields.is_empty() {
            FieldSelector::default()
        } else {
            FieldSelector::parse(fields, kind).map_err(bad)?
        };
        // A custom resource may get a value from its definition's defaults, and not have it in its bytes.
        let words = match kind.custom {
            Some(_) => Vec::new(),
            None => fields.words().map(|word| Finder::new(word).into_owned()).collect(),
        };
        Ok(Selection {
            versioned: versioned.then_some(kind),
            words,
            labels: if labels.is_empty() {
                LabelSelector::everything()
            } else {
                LabelSelector::parse(labels).map_err(bad)?
            },
            fields,
        })
    }

    /// Whether it means everything.
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The only name it can mean; empty if there is no such.
    pub fn name(&self) -> &str {
        self.fields.exact("metadata.name").unwrap_or_default()
    }

    /// Whether it means this object. Of one in another version, whose fields are not known yet, the labels count.
    pub fn matches(&self, object: &Object) -> bool {
        self.is_everything()
            || self.may_mean(&object.stored)
                && self.matches_header(object)
                && (self.is_foreign(object) || self.matches_fields(object))
    }

    /// Whether it can mean an object stored as these bytes; quick, for who has many to ask about.
    pub fn may_mean(&self, stored: &[u8]) -> bool {
        self.words.iter().all(|word| word.find(stored).is_some())
    }

    /// What stands between quotes in everything it means, if that is known.
    pub fn word(&self) -> Option<&str> {
        // The longest is likely to be the rarest.
        let longest = self.words.iter().map(Finder::needle).max_by_key(|word| word.len())?;
        std::str::from_utf8(longest).ok()
    }

    fn is_foreign(&self, object: &Object) -> bool {
        self.versioned.is_some_and(|kind| !object.is_of(kind.kind, &kind.api_version()))
    }

    /// The labels and, since most field selectors are of this kind, the name.
    fn matches_header(&self, object: &Object) -> bool {
        let header = object.header();
        let label = |key: &str| header.labels.get(key).map(AsRef::as_ref);
        self.labels.matches_with(label)
            && self.fields.exact("metadata.name").is_none_or(|name| name == header.name)
    }

    fn matches_fields(&self, object: &Object) -> bool {
        self.fields.is_empty() || self.fields.matches_json(&object.stored)
    }
}
