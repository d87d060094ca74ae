//! API groups that somebody else serves: APIServices that name a Service.
//!
//! Knows which there are, how each is reached, whether it can be and what it says it serves. Asks nobody while there is
//! none. Passing requests on is the API's business.

mod check;
mod read;
mod remote;

mod run;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use edge_api::kinds::api_service;
use parking_lot::{Mutex, RwLock};
use serde_json::Value;

pub use remote::Remote;

use crate::outward::{Believes, Identity, Trust};
use crate::registry::Registry;
use crate::store::RangeOptions;

/// How long somebody has to begin an answer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Who serves other groups. Cheap to clone.
#[derive(Clone)]
pub struct Aggregation(Arc<Inner>);

struct Inner {
    registry: Registry,
    /// What we show others so that they believe whom we say that calls.
    own: Option<Identity>,
    remotes: RwLock<Arc<Vec<Arc<Remote>>>>,
    /// The newest change of an APIService that was looked at.
    seen: AtomicU64,
    /// What was last said to be served, by the name of the APIService.
    learned: Mutex<HashMap<String, Arc<Value>>>,
}

/// What the keys of APIServices begin with.
fn prefix() -> String {
    format!("{}/", api_service::KIND.key_prefix())
}

impl Aggregation {
    /// Who serves other groups of this registry's cluster.
    pub fn new(registry: Registry) -> Aggregation {
        let own = registry.pki().front_proxy();
        let own = match (own.chain(), own.private_key()) {
            (Ok(chain), Ok(key)) => Some(Identity { chain, key }),
            _ => None,
        };
        Aggregation(Arc::new(Inner {
            registry,
            own,
            remotes: RwLock::default(),
            seen: AtomicU64::new(u64::MAX),
            learned: Mutex::default(),
        }))
    }

    /// All of them now.
    pub fn remotes(&self) -> Arc<Vec<Arc<Remote>>> {
        let (inner, prefix) = (&self.0, prefix());
        let store = inner.registry.store();
        let moved = store.moved(&prefix).0;
        if inner.seen.load(Ordering::Acquire) != moved {
            let page = store.range(&prefix, &RangeOptions::default());
            let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
            let items = page.map(|page| page.items).unwrap_or_default();
            let remotes =
                items.iter().filter_map(|(_, stored)| Remote::of(&read(&stored.value)?).map(Arc::new));
            *inner.remotes.write() = Arc::new(remotes.collect());
            inner.seen.store(moved, Ordering::Release);
        }
        inner.remotes.read().clone()
    }

    /// Who serves a version of a group, if not we ourselves.
    pub fn remote(&self, group: &str, version: &str) -> Option<Arc<Remote>> {
        let remotes = self.remotes();
        remotes.iter().find(|remote| remote.group == group && remote.version == version).cloned()
    }

    /// The APIResourceList that somebody gave when he was last asked.
    pub fn learned(&self, remote: &Remote) -> Option<Arc<Value>> {
        self.0.learned.lock().get(&remote.name).cloned()
    }

    /// Whom to believe, and whom to be believed as.
    pub fn trust<'a>(&'a self, remote: &'a Remote) -> Trust<'a> {
        let believes = match &remote.authority {
            _ if remote.insecure => Believes::Anybody,
            authority if authority.is_empty() => Believes::Host,
            authority => Believes::Authority(authority),
        };
        Trust { believes, own: self.0.own.as_ref() }
    }
}
