//! What the node knows about names, addresses and routes, as one immutable value.
//!
//! A [`Table`] answers every question of the Pod network, the DNS server and the proxy without a
//! lock. [`TableBuilder`] makes it from synced objects; [`Tables`] holds the current one and is
//! swapped whole. This module opens no socket, reads no clock and knows no API.

use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::watch;

/// Everything that routes, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Table {
    generation: u64,
}

impl Table {
    /// Rises by one with every published change.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// The current [`Table`] and a bell that rings when it changes.
#[derive(Debug)]
pub struct Tables {
    current: ArcSwap<Table>,
    generation: watch::Sender<u64>,
}

impl Default for Tables {
    fn default() -> Self {
        Tables { current: ArcSwap::default(), generation: watch::Sender::new(0) }
    }
}

impl Tables {
    /// The table of this moment, for one decision. Do not hold it across an await.
    pub fn load(&self) -> arc_swap::Guard<Arc<Table>> {
        self.current.load()
    }

    /// Replaces the table.
    pub fn publish(&self, table: Table) {
        let generation = table.generation();
        self.current.store(Arc::new(table));
        self.generation.send_replace(generation);
    }

    /// The generation, to wait for the next one.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }
}
