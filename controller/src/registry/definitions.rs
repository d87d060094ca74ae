//! The kinds that CustomResourceDefinitions define, as they are now.
//!
//! Read from the store at the start and whenever a definition has changed since they were last asked
//! for; so who has seen that a definition is established finds its kind served, and none is missed
//! after a restart. Who finds out that a definition is established is its controller.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use edge_api::catalogue::{Catalogue, Defined, Interner};
use edge_api::custom::Version;
use edge_api::kind::Kind;
use edge_api::kinds::custom_resource_definition::{self, holds};
use edge_api::meta;
use edge_api::openapi::Published;
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use tokio::sync::watch;

use crate::registry::{ApiError, Context, Reason, Registry};
use crate::store::{Key, RangeOptions, Revision, Store};

/// The kinds of one definition, and the revision they were compiled from.
struct Compiled {
    revision: Revision,
    established: bool,
    kinds: Vec<Defined>,
}

/// What is served, and what it was made from.
pub(crate) struct Definitions {
    interner: Interner,
    catalogue: RwLock<Arc<Catalogue>>,
    compiled: Mutex<HashMap<String, Compiled>>,
    /// The newest change of a definition that was looked at.
    seen: AtomicU64,
    /// The same, for who waits for a change.
    changes: watch::Sender<u64>,
}

/// What the keys of definitions begin with.
static PREFIX: LazyLock<String> =
    LazyLock::new(|| format!("{}/", custom_resource_definition::KIND.key_prefix()));

impl Definitions {
    /// The definitions of a store.
    pub(crate) fn of(store: &Store) -> Definitions {
        let definitions = Definitions {
            interner: Interner::default(),
            catalogue: RwLock::default(),
            compiled: Mutex::default(),
            seen: AtomicU64::new(u64::MAX),
            changes: watch::Sender::default(),
        };
        definitions.catalogue(store);
        definitions
    }

    /// What is served now.
    pub(crate) fn catalogue(&self, store: &Store) -> Arc<Catalogue> {
        let moved = store.moved(&PREFIX).0;
        if self.seen.load(Ordering::Acquire) != moved {
            let mut compiled = self.compiled.lock();
            if self.seen.load(Ordering::Acquire) != moved {
                self.refresh(store, &mut compiled);
                self.seen.store(moved, Ordering::Release);
                self.changes.send_replace(moved);
            }
        }
        self.catalogue.read().clone()
    }

    /// Rings when the kinds that are served have changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn interner(&self) -> &Interner {
        &self.interner
    }

    /// Looks again if a write was of a definition, for those who have its kinds already.
    pub(crate) fn written(&self, key: &Key, store: &Store) {
        if key.as_str().starts_with(PREFIX.as_str()) {
            self.catalogue(store);
        }
    }

    /// Compiles what changed.
    fn refresh(&self, store: &Store, compiled: &mut HashMap<String, Compiled>) {
        let Ok(page) = store.range(&PREFIX, &RangeOptions::default()) else { return };
        let mut gone = std::mem::take(compiled);
        for (key, stored) in page.items {
            let before = gone.remove(key.as_str());
            let now = match before {
                Some(same) if same.revision == stored.revision => same,
                before => {
                    let definition = serde_json::from_slice(&stored.value).unwrap_or_default();
                    let now = self.compile(&definition, stored.revision);
                    before.iter().for_each(|before| forget(before, Some(&now)));
                    now
                }
            };
            compiled.insert(key.as_str().to_owned(), now);
        }
        gone.values().for_each(|gone| forget(gone, None));
        let served = compiled.values().filter(|one| one.established).flat_map(|one| &one.kinds);
        let served = served.filter(|defined| defined.served).map(|defined| defined.kind);
        *self.catalogue.write() = Arc::new(Catalogue::new(served));
    }

    fn compile(&self, definition: &Value, revision: Revision) -> Compiled {
        let established = holds(definition, "Established");
        let kinds = if established { self.interner.kinds_of(definition) } else { Vec::new() };
        for defined in &kinds {
            if let Some(place) = defined.kind.custom {
                place.put(Version::compile(definition, defined.kind.version, revision.0).map(Arc::new));
            }
        }
        Compiled { revision, established, kinds }
    }
}

/// Empties the places of kinds that are no more.
fn forget(before: &Compiled, now: Option<&Compiled>) {
    for defined in &before.kinds {
        let stays = now.is_some_and(|now| now.kinds.iter().any(|one| std::ptr::eq(one.kind, defined.kind)));
        if let Some(place) = defined.kind.custom.filter(|_| !stays) {
            place.put(None);
        }
    }
}

impl Registry {
    /// The kinds that are served now.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.definitions().catalogue(self.store())
    }

    /// What makes the kinds of custom resources.
    pub fn interner(&self) -> Interner {
        self.definitions().interner().clone()
    }

    /// Custom kinds with the schemas that their definitions give.
    pub fn published(&self, kinds: impl IntoIterator<Item = &'static Kind>) -> Vec<Published> {
        kinds.into_iter().filter_map(|kind| self.publish(kind)).collect()
    }

    fn publish(&self, kind: &'static Kind) -> Option<Published> {
        let version = kind.version_of_definition()?;
        let key = Key::new(custom_resource_definition::KIND.key("", &version.definition));
        let definition: Value = serde_json::from_slice(&self.store().get(&key)?.value).ok()?;
        let versions = meta::items(&definition, &["spec", "versions"]);
        let version = versions.iter().find(|version| meta::text(version, &["name"]) == kind.version)?;
        Some(Published {
            kind,
            schema: version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_default(),
        })
    }
}

/// Refuses a creation while the definition is being deleted, and warns of a version that is deprecated.
pub(crate) fn admit_creation(kind: &Kind) -> Result<(), ApiError> {
    match kind.version_of_definition() {
        Some(version) if version.terminating => Err(ApiError::new(
            Reason::MethodNotAllowed,
            "create not allowed while custom resource definition is terminating",
        )),
        None if kind.custom.is_some() => {
            Err(ApiError::new(Reason::NotFound, "the server could not find the requested resource"))
        }
        _ => Ok(()),
    }
}

/// Tells the caller if the version is deprecated.
pub fn warn(cx: &Context, kind: &Kind) {
    if let Some(warning) = kind.version_of_definition().and_then(|version| version.deprecation.clone()) {
        cx.warnings.add(warning);
    }
}
