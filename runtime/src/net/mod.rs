//! The Pod network: streams and datagrams between sandboxes, without packets.
//!
//! A guest sees logical addresses only. A connect is looked up in the [`crate::table`], balanced
//! and joined to the listener's accept queue by an in-memory stream when the target is a Pod of
//! this node; it becomes a kernel socket only when the target is outside the cluster. The host's
//! own loopback is never a target. A request for a Service that an autoscaler has scaled to zero waits in the
//! [`Lobby`] for an endpoint. Streams to Pods of other nodes do not exist yet and fail with
//! [`NetError::OtherNode`].

mod affinity;
mod config;
mod error;
mod exchange;
mod lobby;
mod network;
mod outgoing;
mod outside;
mod pipe;
mod pod;
mod pod_net;
mod stream;
mod tallied;
mod udp;
mod upstream;
mod wait;

pub use config::{Attachment, Config, Limits, PodIdentity};
pub use error::NetError;
pub use exchange::{Caller, ExchangeError, serve_duplex};
pub use lobby::Lobby;
pub use network::{Dialed, Network};
pub use outgoing::HttpError;
pub use pod_net::{HttpServing, Listener, PodNet, TcpBound};
pub use stream::{ReadHalf, Stream, WriteHalf};
pub use udp::{MAX_DATAGRAM, Udp};

#[cfg(test)]
mod tests;
