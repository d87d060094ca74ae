//! Who calls and how the call is to be taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::identity::User;

/// What to do with fields that the schema does not know, or that occur twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Refuse the request.
    Strict,
    /// Drop them and warn; the default.
    #[default]
    Warn,
    /// Drop them silently.
    Ignore,
}

/// Everything about a call that is not the object.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The authenticated caller.
    pub user: User,
    /// The name under which changes are recorded, if given.
    pub field_manager: Option<String>,
    /// Whether an apply takes fields from their owners.
    pub force: bool,
    /// Whether everything is done except storing.
    pub dry_run: bool,
    /// How unknown fields are treated.
    pub field_validation: FieldValidation,
    /// Paths of fields that the body gave twice.
    pub duplicates: Vec<String>,
    /// What the caller is to be told beside the result.
    pub warnings: Warnings,
    /// What the audit log is to be told beside the request.
    pub annotations: Annotations,
}

impl Context {
    /// A call by `user` with defaults.
    pub fn new(user: User) -> Context {
        Context { user, ..Context::default() }
    }

    /// A call by the controller `name` of this process, such as `replicaset-controller`.
    pub fn controller(name: &str) -> Context {
        Context {
            field_manager: Some(name.to_owned()),
            field_validation: FieldValidation::Ignore,
            ..Context::new(User::controller(name))
        }
    }
}

/// Collects warnings for the caller of one request.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Adds one, unless it is already there.
    pub fn add(&self, text: impl Into<String>) {
        let text = text.into();
        let mut all = self.0.lock();
        if !all.contains(&text) {
            all.push(text);
        }
    }

    /// Takes all that were added.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

/// Collects annotations of the audit event of one request; nothing if nobody keeps an audit log.
#[derive(Clone, Debug, Default)]
pub struct Annotations(Option<Arc<Mutex<BTreeMap<String, String>>>>);

impl Annotations {
    /// Some that are kept.
    pub fn kept() -> Annotations {
        Annotations(Some(Arc::default()))
    }

    /// Adds one, unless it is already there: what was said first stays.
    pub fn add(&self, key: &str, value: impl FnOnce() -> String) {
        if let Some(kept) = &self.0 {
            kept.lock().entry(key.to_owned()).or_insert_with(value);
        }
    }

    /// Takes all that were added.
    pub fn take(&self) -> BTreeMap<String, String> {
        self.0.as_ref().map(|kept| std::mem::take(&mut *kept.lock())).unwrap_or_default()
    }
}
