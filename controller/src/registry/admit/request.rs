//! A write as admission sees it, and what admission binds it to.

use edge_api::kind::Kind;
use parking_lot::Mutex;
use serde_json::Value;

use crate::registry::admit::resource_quota::Charges;
use crate::registry::{ApiError, Context, Object, Registry, Target};
use crate::store::{Condition, Key, RangeOptions};

/// What is done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// It is made, or something is posted to a subresource of it.
    Create,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
    /// A connection to it is opened.
    Connect,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has happened.
    Done,
    /// It has not and will not.
    Undone,
}

/// A write on its way through admission.
pub(crate) struct Request<'a> {
    /// The objects of the cluster.
    pub registry: &'a Registry,
    /// Who writes, and whether it is only tried.
    pub cx: &'a Context,
    /// What is done.
    pub operation: Operation,
    /// To what.
    pub target: Target<'a>,
    /// The object before; null if there was none.
    pub old: &'a Value,
    when: Mutex<Vec<(Key, Condition)>>,
    charges: Mutex<Option<Charges>>,
    asking: Mutex<Asking>,
}

/// How far the asking of others has come.
#[derive(Default)]
struct Asking {
    /// Those asked so far that wish to be asked again.
    asked: Vec<String>,
    /// Those that are to be asked again.
    again: Vec<String>,
    /// What the last of them left, once somebody changed the object.
    left: Option<Value>,
    changed: bool,
}

impl<'a> Request<'a> {
    /// The creation of the target.
    pub(crate) fn create(registry: &'a Registry, cx: &'a Context, target: &Target<'a>) -> Request<'a> {
        Request::new(registry, cx, Operation::Create, target, &Value::Null)
    }

    /// The change of the target, which is `old`.
    pub(crate) fn update(
        registry: &'a Registry,
        cx: &'a Context,
        target: &Target<'a>,
        old: &'a Value,
    ) -> Request<'a> {
        Request::new(registry, cx, Operation::Update, target, old)
    }

    /// The deletion of the target, which is `old`.
    pub(crate) fn delete(
        registry: &'a Registry,
        cx: &'a Context,
        target: &Target<'a>,
        old: &'a Value,
    ) -> Request<'a> {
        Request::new(registry, cx, Operation::Delete, target, old)
    }

    /// A connection to the target.
    pub(crate) fn connect(registry: &'a Registry, cx: &'a Context, target: &Target<'a>) -> Request<'a> {
        Request::new(registry, cx, Operation::Connect, target, &Value::Null)
    }

    fn new(
        registry: &'a Registry,
        cx: &'a Context,
        operation: Operation,
        target: &Target<'a>,
        old: &'a Value,
    ) -> Request<'a> {
        Request {
            registry,
            cx,
            operation,
            target: *target,
            old,
            when: Mutex::default(),
            charges: Mutex::default(),
            asking: Mutex::default(),
        }
    }

    /// The kind of the object.
    pub(crate) fn kind(&self) -> &'static Kind {
        self.target.kind
    }

    /// Whether the object itself, not a subresource, is one of this resource.
    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.target.subresource.is_empty() && self.is_part_of(group, plural)
    }

    /// Whether the object or its subresource is one of this resource.
    pub(crate) fn is_part_of(&self, group: &str, plural: &str) -> bool {
        self.target.kind.plural == plural && self.target.kind.group == group
    }

    /// Whether an object of this resource is made.
    pub(crate) fn creates(&self, group: &str, plural: &str) -> bool {
        self.operation == Operation::Create && self.is(group, plural)
    }

    /// A refusal because of `why`.
    pub(crate) fn forbidden(&self, why: &str) -> ApiError {
        ApiError::forbidden(self.target.kind, self.target.name, why)
    }

    /// A stored object; `group` is `core` for the core group.
    pub(crate) fn stored(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Object> {
        let stored = self.registry.store().get(&Key::of(group, plural, namespace, name))?;
        Some(Object { revision: stored.revision, stored: stored.value })
    }

    /// The stored objects of a resource in the request's namespace, or of the cluster if the resource is not namespaced.
    pub(crate) fn all(&self, group: &str, plural: &str, namespace: &str) -> Vec<(Key, Object)> {
        let prefix = format!("/{group}/{plural}/{namespace}/");
        let page = self.registry.store().range(&prefix, &RangeOptions::default());
        let items = page.map(|page| page.items).unwrap_or_default();
        let object =
            |stored: crate::store::Stored| Object { revision: stored.revision, stored: stored.value };
        items.into_iter().map(|(key, stored)| (key, object(stored))).collect()
    }

    /// Binds the write to something that must still be so when it happens.
    pub(crate) fn bind(&self, key: Key, condition: Condition) {
        self.when.lock().push((key, condition));
    }

    /// What the write is bound to.
    pub(crate) fn bound_to(&self) -> Vec<(Key, Condition)> {
        std::mem::take(&mut *self.when.lock())
    }

    /// Whether others have changed the object, so that everybody is asked once more.
    pub(super) fn is_again(&self) -> bool {
        self.asking.lock().changed
    }

    /// Begins to ask others; whether for the second time.
    pub(super) fn begin_asking(&self, object: &Value) -> bool {
        let mut asking = self.asking.lock();
        let Some(left) = &asking.left else { return false };
        if left != object {
            asking.again = asking.asked.clone();
        }
        true
    }

    /// Whether this one is to be asked again.
    pub(super) fn asks_again(&self, id: &str) -> bool {
        self.asking.lock().again.iter().any(|one| one == id)
    }

    /// Notes that somebody was asked. Those asked before are asked again if he changed the object and they wish so.
    pub(super) fn asked(&self, id: &str, again: bool, changed: bool) {
        let mut asking = self.asking.lock();
        if changed {
            asking.changed = true;
            asking.again = asking.asked.clone();
        }
        if again && !asking.asked.iter().any(|one| one == id) {
            asking.asked.push(id.to_owned());
        }
    }

    /// All have been asked.
    pub(super) fn end_asking(&self, object: &Value) {
        self.asking.lock().left = Some(object.clone());
    }

    /// Notes what the write was charged.
    pub(super) fn charge(&self, charges: Charges) {
        *self.charges.lock() = Some(charges);
    }

    /// Settles the accounts of the write.
    pub(crate) async fn settle(&self, fate: Fate) {
        let charges = self.charges.lock().take();
        match (charges, fate) {
            (Some(charges), Fate::Done) => charges.keep().await,
            (Some(charges), Fate::Undone) => charges.refund().await,
            (None, _) => {}
        }
    }
}
