//! Whether an engine has room for another instance, as far as is known.

use std::sync::atomic::{AtomicBool, Ordering};

/// A hint: set when an instance found no slot, cleared when an instance is gone.
#[derive(Debug, Default)]
pub(super) struct Room {
    full: AtomicBool,
}

impl Room {
    /// Whether the last attempt found no slot and none has been freed since.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// An instance found no slot.
    pub(super) fn filled_up(&self) {
        self.full.store(true, Ordering::Relaxed);
    }

    /// An instance is gone.
    pub(super) fn freed(&self) {
        if self.is_full() {
            self.full.store(false, Ordering::Relaxed);
        }
    }
}
