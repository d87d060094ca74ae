//! The node of edgectl: sandboxes, Pod network, DNS, proxy, and the agent that turns bound Pods into all of these.
//!
//! The modules form a line, in the order below; each may use those above it.

pub mod beneath;
pub mod client;
pub mod code;
pub mod dns;
pub mod http;
pub mod image;
pub mod log;
pub mod net;
pub mod node;
pub mod proxy;
pub mod report;
pub mod sandbox;
pub mod supervisor;
pub mod sync;
pub mod table;
pub mod volume;
