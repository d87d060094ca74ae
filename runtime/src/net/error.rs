//! What can go wrong on the Pod network, one variant per `wasi:sockets` error code.

use std::io;
use std::net::IpAddr;

/// A failed socket operation. The variants are those of `wasi:sockets` `error-code`; what more
/// is known stands in the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The Pod may not reach or bind that address.
    #[error("access denied: {0}")]
    AccessDenied(&'static str),
    /// This network has no such operation.
    #[error("not supported: {0}")]
    NotSupported(&'static str),
    /// The address makes no sense for the operation.
    #[error("invalid argument: {0}")]
    InvalidArgument(&'static str),
    /// The socket is closed or in another state than the operation needs.
    #[error("invalid state: {0}")]
    InvalidState(&'static str),
    /// Nobody answered in time.
    #[error("timed out")]
    Timeout,
    /// The address is not one of the Pod's.
    #[error("address is not bindable")]
    AddressNotBindable,
    /// Another socket of the Pod holds the address.
    #[error("address in use")]
    AddressInUse,
    /// No way leads there.
    #[error("unreachable: {0}")]
    Unreachable(&'static str),
    /// The address is a Pod of another node, and streams between nodes do not exist yet.
    #[error("Pod {ip} runs on node {node:?}, which this node has no way to")]
    OtherNode {
        /// The Pod's address.
        ip: IpAddr,
        /// The node that has the address in its range.
        node: String,
    },
    /// Nothing listens there, or its queue is full.
    #[error("connection refused")]
    ConnectionRefused,
    /// The other side vanished.
    #[error("connection reset")]
    ConnectionReset,
    /// The connection was given up on this side.
    #[error("connection aborted")]
    ConnectionAborted,
    /// The datagram is longer than one can be.
    #[error("datagram too large")]
    DatagramTooLarge,
    /// The Pod has as many sockets as it may.
    #[error("too many sockets in this Pod")]
    SocketLimit,
    /// The name does not exist, or has no address.
    #[error("name does not resolve")]
    NameUnresolvable,
    /// The name may resolve later.
    #[error("name resolution failed for now")]
    ResolverTemporary,
    /// The name never resolves.
    #[error("name resolution failed")]
    ResolverPermanent,
}

impl From<NetError> for io::Error {
    fn from(error: NetError) -> Self {
        use io::ErrorKind as K;
        let kind = match &error {
            NetError::AccessDenied(_) => K::PermissionDenied,
            NetError::NotSupported(_) => K::Unsupported,
            NetError::InvalidArgument(_) | NetError::DatagramTooLarge => K::InvalidInput,
            NetError::InvalidState(_) => K::NotConnected,
            NetError::Timeout => K::TimedOut,
            NetError::AddressNotBindable => K::AddrNotAvailable,
            NetError::AddressInUse => K::AddrInUse,
            NetError::Unreachable(_) | NetError::OtherNode { .. } => K::HostUnreachable,
            NetError::ConnectionRefused => K::ConnectionRefused,
            NetError::ConnectionReset => K::ConnectionReset,
            NetError::ConnectionAborted => K::ConnectionAborted,
            NetError::SocketLimit => K::QuotaExceeded,
            NetError::NameUnresolvable | NetError::ResolverTemporary | NetError::ResolverPermanent => {
                K::NotFound
            }
        };
        io::Error::new(kind, error)
    }
}

impl From<io::Error> for NetError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as K;
        match error.kind() {
            K::PermissionDenied => NetError::AccessDenied("by the host"),
            K::Unsupported => NetError::NotSupported("by the host"),
            K::InvalidInput => NetError::InvalidArgument("by the host"),
            K::NotConnected => NetError::InvalidState("not connected"),
            K::TimedOut => NetError::Timeout,
            K::AddrNotAvailable => NetError::AddressNotBindable,
            K::AddrInUse => NetError::AddressInUse,
            K::HostUnreachable | K::NetworkUnreachable | K::NetworkDown => {
                NetError::Unreachable("by the host")
            }
            K::ConnectionRefused => NetError::ConnectionRefused,
            K::ConnectionAborted | K::BrokenPipe => NetError::ConnectionAborted,
            _ => NetError::ConnectionReset,
        }
    }
}
