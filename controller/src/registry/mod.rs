//! What the API server does with objects: authorise, admit, stamp, default, validate, store.
//!
//! Promises Kubernetes' semantics of every verb over [`crate::store`]. Knows no HTTP: the HTTP layer and the
//! controllers of this process call the same [`Registry`]. A verb is a file.

mod context;
mod error;
mod object;
mod options;
mod target;

mod allocate;
mod authorise;
mod definitions;
mod references;
mod select;

mod apply;
mod certificate;
mod check;

mod contact;
mod convert;

mod admit;

mod connect;
mod create;
mod delete;
mod patch;
mod read;
mod update;
mod watch;

mod budget;
mod pod;
mod review;
mod token;

use std::net::Ipv4Addr;
use std::sync::Arc;

use edge_api::time::Timestamp;

pub use authorise::{Access, Action, Decision};
pub(crate) use contact::destination as service;
pub use context::{Annotations, Context, FieldValidation, Warnings};
pub use definitions::warn;
pub use delete::Deleted;
pub use error::{ApiError, Cause, Details, Reason};
pub use object::{Header, Object, encode};
pub use options::{DeleteOptions, ListOptions, PatchKind, Propagation, VersionMatch, WatchOptions};
pub use patch::Patched;
pub use read::List;
pub use target::Target;
pub use watch::{Watch, WatchEvent};

use crate::identity::Pki;
use crate::registry::allocate::Services;
use crate::registry::authorise::Index;
use crate::registry::definitions::Definitions;
use crate::store::Store;
use crate::tunnel::Tunnels;

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
    services: Services,
    grants: Index,
    definitions: Definitions,
    admission: admit::State,
    tunnels: Tunnels,
}

impl Registry {
    /// The registry over a store.
    pub fn new(store: Store, pki: Arc<Pki>, config: Config) -> Registry {
        let inner = Inner {
            services: Services::of(&store, config.service_range),
            definitions: Definitions::of(&store),
            grants: Index::default(),
            admission: admit::State::default(),
            tunnels: Tunnels::default(),
            store,
            pki,
            config,
        };
        Registry { inner: Arc::new(inner) }
    }

    /// The store below, for readers that follow its history themselves.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The identity of the cluster.
    pub fn pki(&self) -> &Arc<Pki> {
        &self.inner.pki
    }

    /// The ways to the nodes.
    pub fn tunnels(&self) -> &Tunnels {
        &self.inner.tunnels
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        (self.inner.config.now)()
    }

    fn admission(&self) -> &admit::State {
        &self.inner.admission
    }

    fn services(&self) -> &Services {
        &self.inner.services
    }

    fn grants(&self) -> &Index {
        &self.inner.grants
    }

    fn definitions(&self) -> &Definitions {
        &self.inner.definitions
    }
}
