//! The verbs.

use std::net::Ipv4Addr;
use std::sync::Arc;

use edge_api::time::Timestamp;
use edge_api::watch;
use serde_json::Value;

use crate::identity::Pki;
use crate::registry::{ApiError, Context, DeleteOptions, ListOptions, Object, PatchKind, Target, WatchOptions};
use crate::store::{Revision, Store};

/// What a registry needs to know of its cluster.
#[derive(Clone, Debug)]
pub struct Config {
    /// The range of Service addresses, as network and prefix length.
    pub service_range: (Ipv4Addr, u8),
    /// The present, as the API sees it.
    pub now: fn() -> Timestamp,
}

/// The objects of the cluster under Kubernetes' rules. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    pki: Arc<Pki>,
    config: Config,
}

/// A list at one revision.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// The objects in the order of namespace and name.
    pub items: Vec<Object>,
    /// The revision of the whole.
    pub revision: Revision,
    /// What to ask the next page with; empty on the last.
    pub continue_token: String,
    /// How many follow, where that is known.
    pub remaining: Option<u64>,
}

/// What a deletion did.
#[derive(Clone, Debug)]
pub enum Deleted {
    /// The object is gone; this is its last state.
    Gone(Object),
    /// The object stays until its grace period has passed or its finalizers are gone.
    Waiting(Object),
}

/// What a patch did.
#[derive(Clone, Debug)]
pub enum Patched {
    /// The object changed, or the patch changed nothing.
    Changed(Object),
    /// Server-side apply made the object.
    Created(Object),
}

/// One event of a watch.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// An object was added, modified or deleted, seen through the selectors.
    Object(watch::Event, Object),
    /// Everything up to this revision was told; `initial` closes the present state at the beginning.
    Bookmark {
        /// The revision.
        revision: Revision,
        /// Whether this is the end of the initial events.
        initial: bool,
    },
}

/// A running watch. Dropping it ends it.
pub struct Watch {}

impl Watch {
    /// The next events, at least one; waits when there are none; `None` when the watch's time is over. An error ends
    /// the watch; `Expired` means to list again. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Vec<WatchEvent>>, ApiError> {
        Err(ApiError::internal("not yet"))
    }
}

impl Registry {
    /// The registry over a store.
    pub fn new(store: Store, pki: Arc<Pki>, config: Config) -> Registry {
        Registry { inner: Arc::new(Inner { store, pki, config }) }
    }

    /// The store below, for readers that follow its history themselves.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The identity of the cluster.
    pub fn pki(&self) -> &Arc<Pki> {
        &self.inner.pki
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        (self.inner.config.now)()
    }

    /// Creates the object, or posts to a subresource (`binding`, `eviction`, `token`), whose answer this then is.
    pub async fn create(&self, _cx: &Context, _target: &Target<'_>, _object: Value) -> Result<Object, ApiError> {
        Err(ApiError::internal("not yet"))
    }

    /// The object.
    pub async fn get(&self, _cx: &Context, _target: &Target<'_>) -> Result<Object, ApiError> {
        Err(ApiError::internal("not yet"))
    }

    /// The objects of a collection.
    pub async fn list(&self, _cx: &Context, _target: &Target<'_>, _options: &ListOptions) -> Result<List, ApiError> {
        Err(ApiError::internal("not yet"))
    }

    /// The changes of a collection.
    pub async fn watch(
        &self,
        _cx: &Context,
        _target: &Target<'_>,
        _options: &WatchOptions,
    ) -> Result<Watch, ApiError> {
        Err(ApiError::internal("not yet"))
    }

    /// Replaces the object or its subresource. A `resourceVersion` in the object is a precondition; without one the
    /// last writer wins.
    pub async fn update(&self, _cx: &Context, _target: &Target<'_>, _object: Value) -> Result<Object, ApiError> {
        Err(ApiError::internal("not yet"))
    }

    /// Patches the object or its subresource, again on a conflict unless the patch names a `resourceVersion`.
    pub async fn patch(
        &self,
        _cx: &Context,
        _target: &Target<'_>,
        _kind: PatchKind,
        _patch: &Value,
    ) -> Result<Patched, ApiError> {
        Err(ApiError::internal("not yet"))
    }

    /// Deletes the object, or begins to.
    pub async fn delete(
        &self,
        _cx: &Context,
        _target: &Target<'_>,
        _options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        Err(ApiError::internal("not yet"))
    }

    /// Deletes the objects of a collection that the list options select.
    pub async fn delete_collection(
        &self,
        _cx: &Context,
        _target: &Target<'_>,
        _list: &ListOptions,
        _options: &DeleteOptions,
    ) -> Result<List, ApiError> {
        Err(ApiError::internal("not yet"))
    }
}
