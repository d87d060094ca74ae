//! What the node tells the API: statuses of Pods, Events, the Node itself and its heartbeat, and whom requests wait
//! for.
//!
//! Everything is coalesced and sent only when it changed; what cannot be sent waits and the newest state wins.
//! Nothing here decides what is true.

mod events;
pub mod machine;
mod node;
mod statuses;
mod wanted;

pub use events::{Events, Subject};
pub use machine::Machine;
pub use node::{Registrar, Registration};
pub use statuses::{PodName, Statuses};
pub use wanted::tell_wanted;
