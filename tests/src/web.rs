//! A client of web servers that does exactly one request and no retry.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// GET `path` from `host` at `address`.
pub fn get(address: SocketAddr, host: &str, path: &str) -> Result<Answer, String> {
    request(address, "GET", host, path, "")
}

/// One request on a connection of its own.
pub fn request(
    address: SocketAddr,
    method: &str,
    host: &str,
    path: &str,
    body: &str,
) -> Result<Answer, String> {
    send(address, method, host, path, "", body.as_bytes())
}

/// The same with more header lines, each ending in CR LF.
pub fn request_with(
    address: SocketAddr,
    method: &str,
    host: &str,
    path: &str,
    more: &str,
    body: &str,
) -> Result<Answer, String> {
    send(address, method, host, path, more, body.as_bytes())
}

/// The same with any bytes.
pub fn send(
    address: SocketAddr,
    method: &str,
    host: &str,
    path: &str,
    more: &str,
    body: &[u8],
) -> Result<Answer, String> {
    exchange(address, method, host, path, more, body).map_err(|error| format!("{method} {path}: {error}"))
}

fn exchange(
    address: SocketAddr,
    method: &str,
    host: &str,
    path: &str,
    more: &str,
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend(body);
    stream.write_all(&request)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let malformed = || std::io::Error::other(format!("no HTTP answer: {text:?}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(malformed)?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Ok(Answer { status, head: head.to_owned(), body })
}

fn unchunked(mut text: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || size > rest.len() {
            break;
        }
        out.push_str(&rest[..size]);
        text = rest[size..].trim_start_matches("\r\n");
    }
    out
}
