//! Kernel sockets to addresses outside the cluster, and which addresses guests may not dial.

use crate::net::stream::Stream;
use crate::net::{Config, Limits, NetError};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Refuses what must not become a kernel socket: the host's loopback, link-local and special
/// addresses, and the host's own control ports. `to` is no Pod's and no Service's.
pub(crate) fn check(to: SocketAddr, config: &Config) -> Result<(), NetError> {
    let ip = to.ip().to_canonical();
    if ip.is_loopback() || ip.is_unspecified() {
        return Err(NetError::ConnectionRefused);
    }
    if is_special(ip) {
        return Err(NetError::AccessDenied("link-local, multicast and reserved addresses"));
    }
    let controls = &config.control_addresses;
    let same_port = |control: &&SocketAddr| control.port() == to.port();
    let denied = controls
        .iter()
        .filter(same_port)
        .any(|control| control.ip() == ip || (control.ip().is_unspecified() && is_own(ip)));
    if denied { Err(NetError::ConnectionRefused) } else { Ok(()) }
}

fn is_special(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.octets()[0] == 0
                || ip.octets()[0] >= 240
        }
        IpAddr::V6(ip) => {
            // The old IPv4-compatible form (::a.b.c.d) would smuggle a loopback address.
            let compatible = ip.segments()[..6] == [0; 6];
            ip.is_unicast_link_local() || ip.is_multicast() || compatible
        }
    }
}

/// Whether the address is one of this host's: the kernel then picks it as the source, too.
fn is_own(ip: IpAddr) -> bool {
    let any: SocketAddr = match ip {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let probe = || {
        let socket = std::net::UdpSocket::bind(any)?;
        socket.connect((ip, 9))?;
        socket.local_addr()
    };
    probe().is_ok_and(|local| local.ip() == ip)
}

/// Connects a kernel socket; the guest sees `from` as its own address.
pub(crate) async fn connect(to: SocketAddr, from: SocketAddr, limits: &Limits) -> Result<Stream, NetError> {
    let socket = tokio::net::TcpStream::connect(to);
    let socket = tokio::time::timeout(limits.connect_timeout, socket).await;
    let socket = socket.map_err(|_| NetError::Timeout)??;
    // Small writes are whole messages to a guest; waiting for more would only delay them.
    socket.set_nodelay(true)?;
    Ok(Stream::kernel(socket, from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_out_of_reach() {
        let config =
            Config { control_addresses: vec!["192.0.2.1:6443".parse().expect("valid")], ..Config::default() };
        let cases = [
            ("127.0.0.1:6443", false),
            ("127.8.8.8:22", false),
            ("[::1]:6443", false),
            ("0.0.0.0:6443", false),
            ("[::]:6443", false),
            ("[::ffff:127.0.0.1]:6443", false),
            ("[::7f00:1]:6443", false),
            ("169.254.169.254:80", false),
            ("[fe80::1]:80", false),
            ("224.0.0.1:80", false),
            ("255.255.255.255:80", false),
            ("0.1.2.3:80", false),
            ("192.0.2.1:6443", false),
            ("192.0.2.1:80", true),
            ("203.0.113.7:443", true),
            ("[2001:db8::1]:443", true),
        ];
        for (to, want) in cases {
            let got = check(to.parse().expect("valid"), &config);
            assert_eq!(got.is_ok(), want, "{to}: {got:?}");
        }
    }

    #[test]
    fn own_addresses_are_recognised() {
        assert!(is_own(Ipv4Addr::LOCALHOST.into()));
        assert!(!is_own(Ipv4Addr::new(203, 0, 113, 7).into()));
    }
}
