//! TCP connections to hosts by name, without the C library's resolver (a static binary cannot call it).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;

use hickory_resolver::TokioResolver;
use tokio::net::TcpStream;

/// Connects to the first address of `host` (a name, or an address with or without brackets) that answers.
pub async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    for address in resolve(host).await? {
        match TcpStream::connect(SocketAddr::new(address, port)).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = io::Error::new(error.kind(), format!("{address} port {port}: {error}")),
        }
    }
    Err(last)
}

/// The addresses of `host`, by the host's own resolver configuration.
pub async fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![address]);
    }
    if bare.eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let resolver = resolver()?;
    let found = resolver.lookup_ip(bare).await.map_err(|error| {
        io::Error::new(io::ErrorKind::NotFound, format!("cannot resolve {bare}: {error}"))
    })?;
    Ok(found.iter().collect())
}

/// Whether `host` means this machine itself, where plain HTTP crosses no wire.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn resolver() -> io::Result<&'static TokioResolver> {
    static RESOLVER: OnceLock<TokioResolver> = OnceLock::new();
    if let Some(resolver) = RESOLVER.get() {
        return Ok(resolver);
    }
    let built = TokioResolver::builder_tokio().and_then(|builder| builder.build()).map_err(|error| {
        io::Error::other(format!("cannot read the host's resolver configuration: {error}"))
    })?;
    Ok(RESOLVER.get_or_init(|| built))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_and_localhost_need_no_resolver() {
        assert_eq!(resolve("[::1]").await.expect("literal"), vec![IpAddr::from(Ipv6Addr::LOCALHOST)]);
        assert_eq!(resolve("10.1.2.3").await.expect("literal"), vec![IpAddr::from([10, 1, 2, 3])]);
        assert_eq!(resolve("localhost").await.expect("local")[0], IpAddr::from(Ipv4Addr::LOCALHOST));
        assert!(is_loopback("127.0.0.5") && is_loopback("[::1]") && !is_loopback("10.0.0.1"));
    }
}
