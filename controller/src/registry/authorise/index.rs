//! Roles and bindings by whom they concern, kept up to date with the store.
//!
//! Nobody follows the store in the background: who asks brings the index up to the head first, which costs a
//! comparison when nothing was written, and a look at the tail of four resources otherwise. So an answer is never
//! older than the request. Nothing is read before somebody asks whom rules are for at all.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use futures::FutureExt as _;
use parking_lot::Mutex;
use serde::Deserialize;

use crate::identity::User;
use crate::registry::authorise::rule::Rule;
use crate::store::{Cursor, RangeOptions, ReadError, Revision, Store};

/// Where roles and bindings are stored.
const PREFIX: &str = "/rbac.authorization.k8s.io/";

/// The index, made when it is first asked.
#[derive(Default)]
pub struct Index(Mutex<Option<Followed>>);

struct Followed {
    grants: Grants,
    cursor: Cursor,
    /// The head up to which there is nothing new.
    seen: Revision,
}

impl Index {
    /// Answers from everything that was written so far.
    pub fn ask<T>(&self, store: &Store, question: impl FnOnce(&Grants) -> T) -> Result<T, ReadError> {
        let mut place = self.0.lock();
        if let Some(followed) = place.as_mut()
            && followed.catch_up(store) == UpToDate::Yes
        {
            return Ok(question(&followed.grants));
        }
        Ok(question(&place.insert(Followed::read(store)?).grants))
    }
}

#[derive(PartialEq, Eq)]
enum UpToDate {
    Yes,
    /// Changes were missed; everything has to be read again.
    Lost,
}

impl Followed {
    fn read(store: &Store) -> Result<Followed, ReadError> {
        let page = store.range(PREFIX, &RangeOptions::default())?;
        let mut grants = Grants::default();
        for (key, stored) in &page.items {
            grants.follow(key.as_str(), Some(&stored.value));
        }
        Ok(Followed { grants, cursor: store.watch(PREFIX, page.revision)?, seen: page.revision })
    }

    fn catch_up(&mut self, store: &Store) -> UpToDate {
        let head = store.head();
        while self.seen < head {
            match self.cursor.next().now_or_never() {
                Some(Ok(changes)) => {
                    for change in changes {
                        self.grants.follow(change.key.as_str(), change.after.as_deref());
                    }
                    self.seen = self.cursor.position();
                }
                // It waits for what is not written yet, or for the disk.
                None if self.cursor.position() >= head => self.seen = head,
                None => return UpToDate::Lost,
                Some(Err(ReadError::Closed)) => return UpToDate::Yes,
                Some(Err(_)) => return UpToDate::Lost,
            }
        }
        UpToDate::Yes
    }
}

/// Things by namespace and name; of the cluster where the namespace is empty.
struct Places<T>(HashMap<Box<str>, HashMap<Box<str>, T>>);

impl<T> Default for Places<T> {
    fn default() -> Places<T> {
        Places(HashMap::new())
    }
}

impl<T> Places<T> {
    fn get(&self, namespace: &str, name: &str) -> Option<&T> {
        self.0.get(namespace)?.get(name)
    }

    fn put(&mut self, namespace: &str, name: &str, value: T) {
        self.0.entry(namespace.into()).or_default().insert(name.into(), value);
    }

    fn remove(&mut self, namespace: &str, name: &str) -> Option<T> {
        let names = self.0.get_mut(namespace)?;
        let old = names.remove(name);
        if names.is_empty() {
            self.0.remove(namespace);
        }
        old
    }
}

/// Who gets a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// `User`, `Group` or `ServiceAccount`.
    pub kind: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// The namespace of an account; that of the binding if empty.
    pub namespace: Box<str>,
}

/// Which role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RoleRef {
    /// `Role` or `ClusterRole`.
    pub kind: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

/// A RoleBinding, or a ClusterRoleBinding if its namespace is empty.
#[derive(Debug)]
pub struct Binding {
    namespace: Box<str>,
    name: Box<str>,
    role: RoleRef,
    subjects: Vec<Subject>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct BindingForm {
    role_ref: RoleRef,
    subjects: Option<Vec<Subject>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RoleForm {
    rules: Option<Vec<Rule>>,
}

/// Bindings by a name in them.
type ByName = HashMap<Box<str>, Vec<Arc<Binding>>>;

/// The bindings of one namespace by whom they name.
#[derive(Default)]
struct Given {
    users: ByName,
    groups: ByName,
}

/// All roles, and who has them.
#[derive(Default)]
pub struct Grants {
    roles: Places<Arc<[Rule]>>,
    bindings: Places<Arc<Binding>>,
    given: HashMap<Box<str>, Given>,
}

/// One role that somebody has, or should have.
pub struct Grant<'a> {
    /// By which binding.
    pub binding: &'a Arc<Binding>,
    /// Its rules; none if there is no such role.
    pub rules: Option<&'a Arc<[Rule]>>,
}

impl Grants {
    /// Follows one change; `after` is none for a deletion.
    fn follow(&mut self, key: &str, after: Option<&[u8]>) {
        let mut parts = key[PREFIX.len()..].splitn(3, '/');
        let (Some(plural), Some(namespace), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return;
        };
        match plural {
            "roles" | "clusterroles" => match after {
                Some(bytes) => {
                    let rules = serde_json::from_slice::<RoleForm>(bytes).unwrap_or_default().rules;
                    self.roles.put(namespace, name, rules.unwrap_or_default().into());
                }
                None => drop(self.roles.remove(namespace, name)),
            },
            "rolebindings" | "clusterrolebindings" => {
                if let Some(old) = self.bindings.remove(namespace, name) {
                    self.take(&old);
                }
                if let Some(bytes) = after {
                    let form = serde_json::from_slice::<BindingForm>(bytes).unwrap_or_default();
                    let binding = Arc::new(Binding {
                        namespace: namespace.into(),
                        name: name.into(),
                        role: form.role_ref,
                        subjects: form.subjects.unwrap_or_default(),
                    });
                    self.bindings.put(namespace, name, binding.clone());
                    self.give(&binding);
                }
            }
            _ => {}
        }
    }

    fn give(&mut self, binding: &Arc<Binding>) {
        let given = self.given.entry(binding.namespace.clone()).or_default();
        for subject in &binding.subjects {
            let Some((list, name)) = given.list(subject, &binding.namespace) else { continue };
            let all = list.entry(name).or_default();
            if !all.iter().any(|other| Arc::ptr_eq(other, binding)) {
                all.push(binding.clone());
            }
        }
    }

    fn take(&mut self, binding: &Arc<Binding>) {
        let Some(given) = self.given.get_mut(&binding.namespace) else { return };
        for subject in &binding.subjects {
            let Some((list, name)) = given.list(subject, &binding.namespace) else { continue };
            if let Some(all) = list.get_mut(&name) {
                all.retain(|other| !Arc::ptr_eq(other, binding));
                if all.is_empty() {
                    list.remove(&name);
                }
            }
        }
        if given.users.is_empty() && given.groups.is_empty() {
            self.given.remove(&binding.namespace);
        }
    }

    /// Shows every role that the user has in the cluster and, if it is not empty, in the namespace.
    pub fn visit<'a, B>(
        &'a self,
        user: &User,
        namespace: &str,
        mut see: impl FnMut(Grant<'a>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let places = if namespace.is_empty() { &[""][..] } else { &["", namespace][..] };
        for given in places.iter().filter_map(|place| self.given.get(*place)) {
            let groups = user.groups.iter().filter_map(|group| given.groups.get(group.as_str()));
            for binding in given.users.get(user.name.as_str()).into_iter().chain(groups).flatten() {
                see(Grant { binding, rules: self.rules(&binding.role, &binding.namespace) })?;
            }
        }
        ControlFlow::Continue(())
    }

    /// The rules of a role as a binding in `namespace` names it.
    pub fn rules(&self, role: &RoleRef, namespace: &str) -> Option<&Arc<[Rule]>> {
        let place = if &*role.kind == "Role" { namespace } else { "" };
        self.roles.get(place, &role.name)
    }
}

impl Given {
    /// The list that a subject is found in, and under which name.
    fn list(&mut self, subject: &Subject, namespace: &str) -> Option<(&mut ByName, Box<str>)> {
        match &*subject.kind {
            "User" => Some((&mut self.users, subject.name.clone())),
            "Group" => Some((&mut self.groups, subject.name.clone())),
            "ServiceAccount" => {
                let namespace = if subject.namespace.is_empty() { namespace } else { &subject.namespace };
                let name = User::service_account_name(namespace, &subject.name);
                (!namespace.is_empty()).then(|| (&mut self.users, name.into()))
            }
            _ => None,
        }
    }
}

impl RoleRef {
    /// What is said of a role that is not there.
    pub fn missing(&self) -> String {
        let kind = self.kind.to_lowercase();
        format!("{kind}.rbac.authorization.k8s.io {:?} not found", self.name)
    }
}

impl Binding {
    /// The role it gives.
    pub fn role(&self) -> &RoleRef {
        &self.role
    }

    /// How it is told that this binding allowed something to the user.
    pub fn describe(&self, user: &User) -> String {
        let RoleRef { kind, name } = &self.role;
        let whom = self.subjects.iter().find(|subject| self.means(subject, user));
        let whom = whom.map(|subject| self.name_of(subject)).unwrap_or_default();
        match &*self.namespace {
            "" => format!("ClusterRoleBinding {:?} of {kind} {name:?} to {whom}", self.name),
            namespace => {
                format!("RoleBinding \"{}/{namespace}\" of {kind} {name:?} to {whom}", self.name)
            }
        }
    }

    fn home<'a>(&'a self, subject: &'a Subject) -> &'a str {
        if subject.namespace.is_empty() { &self.namespace } else { &subject.namespace }
    }

    fn means(&self, subject: &Subject, user: &User) -> bool {
        match &*subject.kind {
            "User" => *subject.name == *user.name,
            "Group" => user.is_in(&subject.name),
            _ => User::service_account_name(self.home(subject), &subject.name) == user.name,
        }
    }

    fn name_of(&self, subject: &Subject) -> String {
        let Subject { kind, name, .. } = subject;
        match &**kind {
            "ServiceAccount" => format!("{kind} \"{name}/{}\"", self.home(subject)),
            _ => format!("{kind} {name:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;
    use std::ops::ControlFlow;

    use serde_json::{Value, json};

    use super::Index;
    use crate::identity::User;
    use crate::store::{Durability, Key, Op, Store, Write};

    const PLACES: [&str; 3] = ["", "a", "b"];

    fn role(rng: &mut fastrand::Rng) -> Value {
        json!({"rules": [{"verbs": [rng.u8(..4).to_string()], "apiGroups": [""], "resources": ["pods"]}]})
    }

    fn binding(rng: &mut fastrand::Rng, namespace: &str) -> Value {
        let role = if namespace.is_empty() || rng.bool() { "ClusterRole" } else { "Role" };
        let subject = |rng: &mut fastrand::Rng| {
            let kind = ["User", "Group", "ServiceAccount"][rng.usize(..3)];
            json!({"kind": kind, "name": rng.u8(..3).to_string(), "namespace": PLACES[rng.usize(..3)]})
        };
        let subjects: Vec<Value> = (0..rng.usize(..4)).map(|_| subject(rng)).collect();
        json!({"roleRef": {"kind": role, "name": rng.u8(..3).to_string()}, "subjects": subjects})
    }

    async fn change(store: &Store, rng: &mut fastrand::Rng) {
        let namespace = PLACES[rng.usize(..3)];
        let bindings = rng.bool();
        let plural = match (bindings, namespace) {
            (true, "") => "clusterrolebindings",
            (true, _) => "rolebindings",
            (false, "") => "clusterroles",
            (false, _) => "roles",
        };
        let key = Key::of("rbac.authorization.k8s.io", plural, namespace, &rng.u8(..3).to_string());
        let object = if bindings { binding(rng, namespace) } else { role(rng) };
        let op = if rng.u8(..4) == 0 { Op::Delete } else { Op::Put(object.to_string().into()) };
        // To delete what is not there is no change.
        drop(store.write(Write { key, op, when: Vec::new(), durability: Durability::Durable }).await);
    }

    /// What everybody has everywhere.
    fn shown(index: &Index, store: &Store) -> BTreeSet<String> {
        let users = ["0", "1", "2"].iter().flat_map(|name| {
            let plain =
                User { name: (*name).into(), groups: vec!["0".into(), "2".into()], ..User::default() };
            PLACES.iter().map(|place| User::service_account(place, name, "")).chain([plain])
        });
        let users: Vec<User> = users.collect();
        let show = |grants: &super::Grants| {
            let mut all = BTreeSet::new();
            for (user, place) in users.iter().flat_map(|user| PLACES.iter().map(move |place| (user, place))) {
                let _: ControlFlow<()> = grants.visit(user, place, |grant| {
                    let rules = grant.rules.map(|rules| format!("{}", rules[0]));
                    all.insert(format!("{} {place} {} {rules:?}", user.name, grant.binding.describe(user)));
                    ControlFlow::Continue(())
                });
            }
            all
        };
        index.ask(store, show).unwrap()
    }

    #[tokio::test]
    async fn following_shows_what_reading_everything_shows() {
        for seed in 0..20 {
            let (store, mut rng) = (Store::in_memory(), fastrand::Rng::with_seed(seed));
            let followed = Index::default();
            for _ in 0..60 {
                for _ in 0..rng.usize(1..4) {
                    change(&store, &mut rng).await;
                }
                let fresh = shown(&Index::default(), &store);
                assert_eq!(shown(&followed, &store), fresh, "seed {seed}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_written_elsewhere_is_passed_over() {
        let (store, index) = (Store::in_memory(), Index::default());
        assert!(shown(&index, &store).is_empty());
        let put = |key: Key, value: Value| {
            let op = Op::Put(value.to_string().into());
            store.write(Write { key, op, when: Vec::new(), durability: Durability::Durable })
        };
        for number in 0..3000 {
            put(Key::of("core", "configmaps", "a", &number.to_string()), json!({})).await.unwrap();
        }
        let subjects = json!([{"kind": "User", "name": "0"}]);
        let binding = json!({"roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": subjects});
        put(Key::of("rbac.authorization.k8s.io", "clusterrolebindings", "", "b"), binding).await.unwrap();
        let expected = |place: &str| {
            format!("0 {place} ClusterRoleBinding \"b\" of ClusterRole \"r\" to User \"0\" None")
        };
        assert_eq!(shown(&index, &store), PLACES.iter().map(|place| expected(place)).collect());
    }

    #[tokio::test]
    async fn whoever_has_fallen_behind_reads_everything_again() {
        let (store, index) = (Store::in_memory(), Index::default());
        assert!(shown(&index, &store).is_empty());
        // More than the store remembers of recent changes.
        for number in 0..12 {
            let subjects = json!([{"kind": "User", "name": "0"}]);
            let role =
                json!({"kind": "ClusterRole", "name": number.to_string(), "filling": "x".repeat(1 << 20)});
            let binding = json!({"roleRef": role, "subjects": subjects});
            let key = Key::of("rbac.authorization.k8s.io", "clusterrolebindings", "", "b");
            let op = Op::Put(binding.to_string().into());
            let write = Write { key, op, when: Vec::new(), durability: Durability::Durable };
            store.write(write).await.unwrap();
        }
        let all = shown(&index, &store);
        assert_eq!(
            (all.len(), all.iter().filter(|line| line.contains("ClusterRole \"11\"")).count()),
            (3, 3)
        );
    }
}
