//! What a request is about.

use edge_api::kind::Kind;

use crate::store::Key;

/// A kind, and where it applies a namespace, a name and a subresource.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The kind.
    pub kind: &'static Kind,
    /// The namespace; empty for cluster-scoped kinds and for all namespaces.
    pub namespace: &'a str,
    /// The name; empty for collections.
    pub name: &'a str,
    /// The subresource, such as `status`; empty for the object itself.
    pub subresource: &'a str,
}

impl<'a> Target<'a> {
    /// All objects of a kind in `namespace`, or everywhere if that is empty.
    pub fn all(kind: &'static Kind, namespace: &'a str) -> Target<'a> {
        Target { kind, namespace, name: "", subresource: "" }
    }

    /// One object; `namespace` is empty for cluster-scoped kinds.
    pub fn one(kind: &'static Kind, namespace: &'a str, name: &'a str) -> Target<'a> {
        Target { kind, namespace, name, subresource: "" }
    }

    /// A subresource of the same object.
    pub fn sub(&self, subresource: &'a str) -> Target<'a> {
        Target { subresource, ..*self }
    }

    /// The key of the object in the store.
    pub fn key(&self) -> Key {
        Key::new(self.kind.key(self.namespace, self.name))
    }

    /// What the keys of the collection begin with.
    pub fn prefix(&self) -> String {
        let prefix = self.kind.key_prefix();
        match self.namespace {
            "" if self.kind.is_namespaced() => format!("{prefix}/"),
            namespace => format!("{prefix}/{namespace}/"),
        }
    }
}
