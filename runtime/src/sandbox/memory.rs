//! Memory limits: linear memories and tables of all instances of a container, summed.
//!
//! A refused growth is answered as WebAssembly says (`memory.grow` gives −1); what the guest
//! makes of it decides: a guest that traps after a refusal ran out of memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

/// Bytes a table element costs on the host, rounded up over the kinds of references.
const TABLE_ELEMENT: u64 = 16;

/// The sum over all instances of one container.
#[derive(Debug)]
pub(super) struct MemoryAccount {
    used: AtomicU64,
    limit: AtomicU64,
}

impl MemoryAccount {
    /// An account that refuses to exceed `limit` bytes.
    pub(super) fn new(limit: u64) -> MemoryAccount {
        MemoryAccount { used: AtomicU64::new(0), limit: AtomicU64::new(limit) }
    }

    /// Sets another limit, unless more than that is in use.
    pub(super) fn set_limit(&self, limit: u64) -> bool {
        let old = self.limit.swap(limit, Ordering::Relaxed);
        // Whoever grows meanwhile has been counted before this, or is held to the new limit.
        let fits = self.used() <= limit;
        if !fits {
            self.limit.store(old, Ordering::Relaxed);
        }
        fits
    }

    /// Bytes in use now.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn charge(&self, bytes: u64) -> bool {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.limit.load(Ordering::Relaxed))
            })
            .is_ok()
    }

    fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// One instance's share; giving it back is its drop.
pub(super) struct MemoryShare {
    account: Arc<MemoryAccount>,
    mine: u64,
    refused: bool,
}

impl MemoryShare {
    /// A share that holds nothing yet.
    pub(super) fn new(account: Arc<MemoryAccount>) -> MemoryShare {
        MemoryShare { account, mine: 0, refused: false }
    }

    /// Whether the last growth that was tried was refused for lack of memory.
    pub(super) fn refused(&self) -> bool {
        self.refused
    }

    fn grow(&mut self, bytes: u64) -> bool {
        let granted = self.account.charge(bytes);
        self.refused = !granted;
        if granted {
            self.mine += bytes;
        }
        granted
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.account.release(self.mine);
    }
}

impl ResourceLimiter for MemoryShare {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false); // The module's own maximum, not ours.
        }
        Ok(self.grow(desired.saturating_sub(current) as u64))
    }

    /// The charge stays: this is also called for growths that were never granted, and giving
    /// back what was not charged would let a guest talk its account down.
    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.grow(desired.saturating_sub(current) as u64 * TABLE_ELEMENT))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn shares_sum_up_and_are_given_back() {
        let account = Arc::new(MemoryAccount::new(100));
        let mut one = MemoryShare::new(Arc::clone(&account));
        let mut two = MemoryShare::new(Arc::clone(&account));
        assert!(one.memory_growing(0, 60, None).unwrap());
        assert!(!two.memory_growing(0, 60, None).unwrap());
        assert!(two.refused() && !one.refused());
        drop(one);
        assert!(two.memory_growing(0, 60, None).unwrap());
        assert!(!two.refused());
        assert_eq!(account.used(), 60);
        assert!(account.set_limit(60) && !two.memory_growing(60, 61, None).unwrap());
        assert!(!account.set_limit(59), "so much is in use");
        assert!(account.set_limit(61) && two.memory_growing(60, 60, None).unwrap());
        two.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert!(two.refused());
        assert_eq!(account.used(), 60);
    }
}
