//! One object as the mirror keeps it: its metadata, a small struct of its kind, and the stored bytes it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use edge_api::time::Timestamp;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Namespace and name; the namespace is empty for cluster-scoped kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The namespace, or nothing.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl Name {
    /// A name in a namespace.
    pub fn new(namespace: &str, name: &str) -> Name {
        Name { namespace: namespace.into(), name: name.into() }
    }

    /// The namespace and the name with which a key of the store ends.
    pub fn at_end_of(key: &str) -> Name {
        let (rest, name) = key.rsplit_once('/').unwrap_or_default();
        Name::new(rest.rsplit_once('/').map_or("", |(_, namespace)| namespace), name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// A reference from an object to one that owns it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Owner {
    /// Group and version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
    /// The identity; a later object of the same name is another owner.
    pub uid: String,
    /// Whether this owner manages the object. At most one does.
    pub controller: bool,
    /// Whether foreground deletion of the owner waits for this object.
    pub block_owner_deletion: bool,
}

/// The metadata that controllers read.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    /// The name.
    #[serde(deserialize_with = "text")]
    pub name: Arc<str>,
    /// The namespace, empty for cluster-scoped kinds.
    #[serde(deserialize_with = "text")]
    pub namespace: Arc<str>,
    /// The identity.
    #[serde(deserialize_with = "text")]
    pub uid: Arc<str>,
    /// Raised by every change of the specification.
    pub generation: i64,
    /// When it was made.
    pub creation_timestamp: Option<Timestamp>,
    /// When it is to be gone, if somebody deleted it.
    pub deletion_timestamp: Option<Timestamp>,
    /// The labels; the same allocation for objects that are alike, such as the Pods of a ReplicaSet.
    pub labels: Arc<BTreeMap<String, String>>,
    /// The annotations, without kubectl's copy of the applied manifest.
    #[serde(deserialize_with = "annotations")]
    pub annotations: Arc<BTreeMap<String, String>>,
    /// What must be done before it goes.
    pub finalizers: Vec<String>,
    /// Whom it belongs to; shared as the labels are.
    pub owner_references: Arc<Vec<Owner>>,
}

/// Of an object its metadata alone.
#[derive(Deserialize)]
pub struct MetaOnly {
    /// The metadata.
    pub metadata: Meta,
}

/// A text that is kept, without a copy of it on the way.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = Arc<str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E>(self, text: &str) -> Result<Arc<str>, E> {
            Ok(text.into())
        }
    }
    deserializer.deserialize_str(Text)
}

/// kubectl's copy of the applied manifest: large, and nobody here reads it.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn annotations<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Arc<BTreeMap<String, String>>, D::Error> {
    let mut all = Option::<BTreeMap<String, String>>::deserialize(deserializer)?.unwrap_or_default();
    all.remove(LAST_APPLIED);
    Ok(Arc::new(all))
}

/// Keeps two equal values once.
pub fn share<T: PartialEq + ?Sized>(mine: &mut Arc<T>, other: &Arc<T>) {
    if !Arc::ptr_eq(mine, other) && *mine == *other {
        *mine = other.clone();
    }
}

impl Meta {
    /// Namespace and name.
    pub fn key(&self) -> Name {
        Name { namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// Takes from an object that is alike what is the same in both, so that it is kept once.
    pub fn share(&mut self, other: &Meta) {
        share(&mut self.namespace, &other.namespace);
        share(&mut self.labels, &other.labels);
        share(&mut self.annotations, &other.annotations);
        share(&mut self.owner_references, &other.owner_references);
        if self.uid == other.uid {
            share(&mut self.name, &other.name);
            share(&mut self.uid, &other.uid);
        }
    }

    /// The owner that manages this object.
    pub fn controller(&self) -> Option<&Owner> {
        self.owner_references.iter().find(|owner| owner.controller)
    }

    /// Whether `uid` is the owner that manages this object.
    pub fn controlled_by(&self, uid: &str) -> bool {
        self.controller().is_some_and(|owner| owner.uid == uid)
    }

    /// Whether somebody deleted it.
    pub fn deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    /// Whether the finalizer is still there.
    pub fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|f| f == name)
    }
}

/// An object of a kind whose small struct is `T`.
#[derive(Debug)]
pub struct Object<T> {
    /// When it was last written.
    pub revision: u64,
    /// Its metadata.
    pub meta: Arc<Meta>,
    /// What controllers read of its specification and status.
    pub body: T,
    /// As stored; shared with the store, so it costs no memory here.
    pub source: Bytes,
}

impl<T> Object<T> {
    /// The whole object, for writing it back changed; carries the revision it was read at.
    pub fn tree(&self) -> Value {
        tree(&self.source, self.revision)
    }

    /// Namespace and name.
    pub fn key(&self) -> Name {
        self.meta.key()
    }
}

/// Parses stored bytes and puts the revision where clients find it.
pub fn tree(source: &Bytes, revision: u64) -> Value {
    let mut value: Value = serde_json::from_slice(source).unwrap_or_default();
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.insert("resourceVersion".to_owned(), Value::String(revision.to_string()));
    }
    value
}

/// Reads stored bytes; a field that is explicitly null counts as absent, which is looked after only where it matters.
pub fn read<T>(source: &[u8], how: fn(&[u8]) -> serde_json::Result<T>) -> serde_json::Result<T> {
    how(source).or_else(|error| {
        let mut value: Value = serde_json::from_slice(source)?;
        strip_nulls(&mut value);
        how(&serde_json::to_vec(&value)?).map_err(|_| error)
    })
}

fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// A kind's small struct, and where its objects are to be found quickly.
pub trait Shape: Sized + Send + Sync + 'static {
    /// Reads the small struct from a stored object.
    fn read(source: &[u8]) -> serde_json::Result<Self>;

    /// Takes from one that is alike what is the same in both, so that it is kept once.
    fn share(&mut self, other: &Self) {
        let _ = other;
    }

    /// The node it is bound to, for kinds that are listed by node.
    fn node(&self) -> Option<&str> {
        None
    }

    /// Whether objects of the kind are listed by label often enough to deserve an index.
    const LABELLED: bool = false;
}
