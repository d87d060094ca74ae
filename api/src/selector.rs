//! Label and field selectors: read from a query or an object, matched against one.
//!
//! Matching is pure and does not allocate. Who may select by what, and over which objects, is
//! not known here.

use crate::kind::Kind;
use crate::meta;
use crate::name;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// The longest selector that is read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// The most requirements a selector may have.
pub const MAX_REQUIREMENTS: usize = 1024;

/// A selector that cannot be read, in Kubernetes' words where it has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

/// What is asked of one label.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

/// A selector over labels. An empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl LabelSelector {
    /// Matches everything.
    pub fn everything() -> LabelSelector {
        LabelSelector::default()
    }

    /// Matches nothing.
    pub fn nothing() -> LabelSelector {
        LabelSelector { requirements: Vec::new(), nothing: true }
    }

    /// Reads `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1,m<2`.
    pub fn parse(text: &str) -> Result<LabelSelector, SelectorError> {
        let _ = text;
        Err(SelectorError("not yet".to_owned()))
    }

    /// From the form objects carry.
    pub fn from_meta(selector: &meta::LabelSelector) -> Result<LabelSelector, SelectorError> {
        let _ = selector;
        Err(SelectorError("not yet".to_owned()))
    }

    /// From a plain map, as Services and ReplicationControllers carry it.
    pub fn from_map(labels: &BTreeMap<String, String>) -> LabelSelector {
        let requirements = labels
            .iter()
            .map(|(key, value)| Requirement { key: key.clone(), test: Test::In(vec![value.clone()]) })
            .collect();
        LabelSelector { requirements, nothing: false }
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// Whether these labels match.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_with(|key| labels.get(key).map(String::as_str))
    }

    /// Whether an object's labels match.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches_with(|key| meta::label(object, key))
    }

    /// Whether labels found by a function match.
    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.test.holds(label(&r.key)))
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let whole = |value: Option<&str>| value.and_then(|v| v.parse::<i64>().ok());
        match self {
            Test::In(values) => value.is_some_and(|v| values.iter().any(|one| one == v)),
            Test::NotIn(values) => value.is_none_or(|v| values.iter().all(|one| one != v)),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::Greater(than) => whole(value).is_some_and(|v| v > *than),
            Test::Less(than) => whole(value).is_some_and(|v| v < *than),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let key = &requirement.key;
            match &requirement.test {
                Test::In(values) if values.len() == 1 => write!(f, "{comma}{key}={}", values[0])?,
                Test::In(values) => write!(f, "{comma}{key} in ({})", values.join(","))?,
                Test::NotIn(values) if values.len() == 1 => write!(f, "{comma}{key}!={}", values[0])?,
                Test::NotIn(values) => write!(f, "{comma}{key} notin ({})", values.join(","))?,
                Test::Exists => write!(f, "{comma}{key}")?,
                Test::Absent => write!(f, "{comma}!{key}")?,
                Test::Greater(than) => write!(f, "{comma}{key}>{than}")?,
                Test::Less(than) => write!(f, "{comma}{key}<{than}")?,
            }
        }
        Ok(())
    }
}

/// A selector over a kind's fields. An empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<FieldTerm>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldTerm {
    field: String,
    equal: bool,
    value: String,
}

impl FieldSelector {
    /// Reads `metadata.name=a,status.phase!=Running` for a kind; other fields than the kind's are
    /// errors.
    pub fn parse(text: &str, kind: &Kind) -> Result<FieldSelector, SelectorError> {
        let _ = (text, kind, name::LABEL_MAX);
        Err(SelectorError("not yet".to_owned()))
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value a field must equal, if the selector says so: lets a list be answered by key.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|t| t.equal && t.field == field).map(|t| t.value.as_str())
    }

    /// Whether an object matches.
    pub fn matches(&self, object: &Value) -> bool {
        let _ = object;
        self.terms.is_empty()
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.terms.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let sign = if term.equal { "=" } else { "!=" };
            write!(f, "{comma}{}{sign}{}", term.field, term.value)?;
        }
        Ok(())
    }
}
