//! What somebody wants to do, and the words of a refusal.

use crate::identity::User;
use crate::registry::{ApiError, Details, Reason, Target};

/// A verb on objects.
#[derive(Clone, Copy, Debug, Default)]
pub struct Access<'a> {
    /// Such as `get`.
    pub verb: &'a str,
    /// The API group; empty for core.
    pub group: &'a str,
    /// Such as `pods`.
    pub resource: &'a str,
    /// Such as `log`, or empty.
    pub subresource: &'a str,
    /// The namespace; empty for all of them and for what is in none.
    pub namespace: &'a str,
    /// The name; empty for any.
    pub name: &'a str,
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// Something with objects.
    Objects(Access<'a>),
    /// A request for a path without objects.
    Path {
        /// The method in lower case.
        verb: &'a str,
        /// The path as it was sent.
        path: &'a str,
    },
}

impl<'a> Access<'a> {
    /// The verb on a target. `name` is the target's where it is known from elsewhere, such as a field selector.
    pub(crate) fn to(verb: &'a str, target: &Target<'a>, name: &'a str) -> Access<'a> {
        let kind = target.kind;
        // A namespace is in itself: a RoleBinding in it may allow to read it.
        let is_namespace = kind.group.is_empty() && kind.plural == "namespaces";
        Access {
            verb,
            group: kind.group,
            resource: kind.plural,
            subresource: target.subresource,
            namespace: if is_namespace { target.name } else { target.namespace },
            name,
        }
    }

    /// Whether the resource with its subresource, or without if it has none, is called `name`.
    pub fn is_of(&self, name: &str) -> bool {
        if self.subresource.is_empty() {
            return name == self.resource;
        }
        name.split_once('/') == Some((self.resource, self.subresource))
    }

    /// `pods`, `deployments.apps`: the resource as messages name it.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.resource.into() } else { format!("{}.{}", self.resource, self.group) }
    }
}

impl Action<'_> {
    /// The refusal of `user`, with what went wrong while rules were looked for.
    pub(crate) fn refusal(&self, user: &User, trouble: &str) -> ApiError {
        let mut why = match self {
            Action::Path { verb, path } => format!("User {:?} cannot {verb} path {path:?}", user.name),
            Action::Objects(access) => sentence(user, access),
        };
        if !trouble.is_empty() {
            why.push_str(": ");
            why.push_str(trouble);
        }
        let Action::Objects(access) = self else {
            return ApiError::new(Reason::Forbidden, format!("forbidden: {why}"));
        };
        let what = access.qualified();
        let message = match access.name {
            "" => format!("{what} is forbidden: {why}"),
            name => format!("{what} {name:?} is forbidden: {why}"),
        };
        ApiError::new(Reason::Forbidden, message).with_details(Details {
            name: access.name.to_owned(),
            group: access.group.to_owned(),
            kind: access.resource.to_owned(),
            ..Details::default()
        })
    }
}

fn sentence(user: &User, access: &Access<'_>) -> String {
    let slash = if access.subresource.is_empty() { "" } else { "/" };
    let scope = match access.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    format!(
        "User {:?} cannot {} resource \"{}{slash}{}\" in API group {:?} {scope}",
        user.name, access.verb, access.resource, access.subresource, access.group
    )
}
