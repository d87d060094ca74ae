//! Calls what a URL names: `http://…` over outgoing http, `tcp://host:port/text` over a socket
//! (sends the text and a newline, reads a line), `name:host` looks up a name.

use std::net::{Ipv4Addr, SocketAddr};

use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::{IpAddress, resolve_addresses};
use wasip2::sockets::network::ErrorCode;
use wstd::http::{Body, Client, Request};
use wstd::io::{AsyncPollable, AsyncRead as _, AsyncWrite as _};
use wstd::net::TcpStream;

/// What went wrong, as text.
pub type Failure = String;

/// Calls a URL; answers one line that tells what came back.
pub async fn call(url: &str) -> Result<String, Failure> {
    if let Some(rest) = url.strip_prefix("tcp://") {
        return exchange(rest).await;
    }
    if let Some(host) = url.strip_prefix("name:") {
        let found: Vec<String> = look_up(host).await?.iter().map(Ipv4Addr::to_string).collect();
        return Ok(found.join(" "));
    }
    get(url).await
}

async fn get(url: &str) -> Result<String, Failure> {
    let request = Request::get(url).body(Body::empty()).map_err(|error| error.to_string())?;
    let response = Client::new().send(request).await.map_err(|error| format!("{error:?}"))?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let text = body.contents().await.map_err(|error| error.to_string())?;
    Ok(format!("{status} {}", String::from_utf8_lossy(text).trim_end()))
}

async fn exchange(target: &str) -> Result<String, Failure> {
    let (authority, text) = target.split_once('/').unwrap_or((target, "hello"));
    let (host, port) = authority.rsplit_once(':').ok_or("a tcp URL names a port")?;
    let port: u16 = port.parse().map_err(|_| "that is no port")?;
    let address = *look_up(host).await?.first().ok_or("the name has no address")?;
    let told = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(SocketAddr::from((address, port))).await.map_err(told)?;
    stream.write_all(format!("{text}\n").as_bytes()).await.map_err(told)?;
    stream.flush().await.map_err(told)?;
    let mut line = Vec::new();
    let mut part = [0; 256];
    while !line.contains(&b'\n') {
        match stream.read(&mut part).await.map_err(told)? {
            0 => break,
            length => line.extend_from_slice(&part[..length]),
        }
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// The IPv4 addresses of a name, or of an address.
async fn look_up(host: &str) -> Result<Vec<Ipv4Addr>, Failure> {
    let told = |error: ErrorCode| format!("{host}: {error:?}");
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let stream = resolve_addresses(&instance_network(), host).map_err(told)?;
    let mut found = Vec::new();
    loop {
        AsyncPollable::new(stream.subscribe()).wait_for().await;
        match stream.resolve_next_address() {
            Ok(Some(IpAddress::Ipv4((a, b, c, d)))) => found.push(Ipv4Addr::new(a, b, c, d)),
            Ok(Some(IpAddress::Ipv6(_))) => {}
            Ok(None) => return Ok(found),
            Err(ErrorCode::WouldBlock) => {}
            Err(error) => return Err(told(error)),
        }
    }
}
