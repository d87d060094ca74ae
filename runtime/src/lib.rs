//! The node of edgectl: sandboxes, Pod network, DNS, proxy, and the agent that turns bound Pods into all of these.
//!
//! The modules form a line, in the order below; each may use those above it.

pub mod http;
pub mod table;
pub mod dns;
pub mod net;
pub mod proxy;
pub mod sandbox;
pub mod code;
pub mod client;
pub mod beneath;
pub mod image;
pub mod log;
pub mod volume;
pub mod sync;
pub mod supervisor;
pub mod report;
pub mod node;
