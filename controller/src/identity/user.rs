//! An authenticated caller.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The group whose members may do everything.
pub const GROUP_MASTERS: &str = "system:masters";
/// The group of every caller with a credential.
pub const GROUP_AUTHENTICATED: &str = "system:authenticated";
/// The group of callers without one.
pub const GROUP_UNAUTHENTICATED: &str = "system:unauthenticated";
/// The group of nodes.
pub const GROUP_NODES: &str = "system:nodes";
/// The group of every ServiceAccount.
pub const GROUP_SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// The prefix of a node's user name.
pub const NODE_PREFIX: &str = "system:node:";
/// The prefix of a ServiceAccount's user name.
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";
/// The group of controllers inside this process. No credential yields it.
pub const GROUP_IN_PROCESS: &str = "system:edgectl:in-process";

/// An authenticated caller, as Kubernetes' `UserInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The name, such as `system:node:a` or `system:serviceaccount:default:default`.
    pub name: String,
    /// The identifier of this incarnation of the name, empty if there is none.
    pub uid: String,
    /// The groups, in the order of the credential.
    pub groups: Vec<String>,
    /// What else the credential says, such as the Pod a token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A cluster administrator named `name`.
    pub fn admin(name: &str) -> User {
        User::with_groups(name, &[GROUP_MASTERS, GROUP_AUTHENTICATED])
    }

    /// The node called `node`.
    pub fn node(node: &str) -> User {
        User::with_groups(&format!("{NODE_PREFIX}{node}"), &[GROUP_NODES, GROUP_AUTHENTICATED])
    }

    /// A controller of this process, named as kube-controller-manager names its own.
    pub fn controller(name: &str) -> User {
        User::with_groups(
            &format!("{SERVICE_ACCOUNT_PREFIX}kube-system:{name}"),
            &[
                GROUP_IN_PROCESS,
                GROUP_SERVICE_ACCOUNTS,
                "system:serviceaccounts:kube-system",
                GROUP_AUTHENTICATED,
            ],
        )
    }

    /// The ServiceAccount `name` of `namespace` whose object has `uid`.
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> User {
        let mut user = User::with_groups(
            &User::service_account_name(namespace, name),
            &[GROUP_SERVICE_ACCOUNTS, &format!("system:serviceaccounts:{namespace}"), GROUP_AUTHENTICATED],
        );
        user.uid = uid.to_owned();
        user
    }

    /// The user name of a ServiceAccount.
    pub fn service_account_name(namespace: &str, name: &str) -> String {
        format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}")
    }

    /// Namespace and name of the ServiceAccount whose user name this is.
    pub fn account_of(name: &str) -> Option<(&str, &str)> {
        let (namespace, account) = name.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
        (!namespace.is_empty() && !account.is_empty()).then_some((namespace, account))
    }

    /// The user as Kubernetes' `UserInfo`.
    pub fn info(&self) -> Value {
        let mut info = json!({"username": self.name});
        if !self.uid.is_empty() {
            info["uid"] = self.uid.as_str().into();
        }
        if !self.groups.is_empty() {
            info["groups"] = json!(self.groups);
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }

    /// Whether the user is a member of `group`.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The node this user is, if it is one.
    pub fn node_name(&self) -> Option<&str> {
        self.is_in(GROUP_NODES).then(|| self.name.strip_prefix(NODE_PREFIX)).flatten()
    }

    fn with_groups(name: &str, groups: &[&str]) -> User {
        User {
            name: name.to_owned(),
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
            ..User::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::identity::User;

    #[test]
    fn only_members_of_the_node_group_are_nodes() {
        assert_eq!(User::node("a").node_name(), Some("a"));
        let mut fake = User::node("a");
        fake.groups.retain(|g| g != "system:nodes");
        assert_eq!(fake.node_name(), None);
        assert_eq!(User::admin("x").node_name(), None);
    }
}
