//! The node of edgectl: sandboxes, Pod network, DNS, proxy, and the agent that turns bound Pods into all of these.

pub mod client;
pub mod node;
