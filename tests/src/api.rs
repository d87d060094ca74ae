//! Plain requests to the Kubernetes API with the administrator's token: one connection, no retry.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::Cluster;

/// How to reach one server; a connection is made for each request.
#[derive(Clone)]
pub struct Api {
    address: SocketAddr,
    token: String,
    tls: Arc<ClientConfig>,
}

type Stream = BufReader<StreamOwned<ClientConnection, TcpStream>>;

impl Api {
    /// With the kubeconfig that `cluster` has written.
    pub fn of(cluster: &Cluster) -> Api {
        Api::with(cluster.api(), std::path::Path::new(cluster.told("kubeconfig")))
    }

    /// With a kubeconfig file.
    pub fn with(address: SocketAddr, kubeconfig: &std::path::Path) -> Api {
        let text = std::fs::read_to_string(kubeconfig).unwrap();
        let config: Value = serde_saphyr::from_str(&text).unwrap();
        let ca = config["clusters"][0]["cluster"]["certificate-authority-data"].as_str().unwrap();
        let pem = String::from_utf8(base64::prelude::BASE64_STANDARD.decode(ca).unwrap()).unwrap();
        let mut roots = RootCertStore::empty();
        for block in pem.split("-----BEGIN CERTIFICATE-----").skip(1) {
            let body: String = block.split("-----END").next().unwrap().split_whitespace().collect();
            roots.add(CertificateDer::from(base64::prelude::BASE64_STANDARD.decode(body).unwrap())).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let token =
            config["users"][0]["user"]["token"].as_str().expect("the kubeconfig holds a token").to_owned();
        Api { address, token, tls: Arc::new(tls) }
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token it shows.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// How it speaks TLS, for clients of other makes.
    pub fn tls(&self) -> Arc<ClientConfig> {
        self.tls.clone()
    }

    /// The same server, as somebody else.
    pub fn with_token(&self, token: &str) -> Api {
        Api { token: token.to_owned(), ..self.clone() }
    }

    pub fn get(&self, path: &str) -> std::io::Result<(u16, Value)> {
        self.request("GET", path, "", "")
    }

    pub fn list(&self, path: &str) -> std::io::Result<Value> {
        match self.get(path)? {
            (200, list) => Ok(list),
            (code, body) => Err(std::io::Error::other(format!("{code}: {body}"))),
        }
    }

    pub fn post(&self, path: &str, object: &Value) -> std::io::Result<(u16, Value)> {
        self.request("POST", path, "application/json", &object.to_string())
    }

    pub fn put(&self, path: &str, object: &Value) -> std::io::Result<(u16, Value)> {
        self.request("PUT", path, "application/json", &object.to_string())
    }

    pub fn delete(&self, path: &str) -> std::io::Result<(u16, Value)> {
        self.request("DELETE", path, "", "")
    }

    /// Any request with any body.
    pub fn request(&self, method: &str, path: &str, kind: &str, body: &str) -> std::io::Result<(u16, Value)> {
        let mut stream = self.send(method, path, kind, body)?;
        let (status, chunked, length) = head(&mut stream)?;
        let mut bytes = Vec::new();
        if chunked {
            while let Some(part) = chunk(&mut stream)? {
                bytes.extend(part);
            }
        } else if let Some(length) = length {
            bytes.resize(length, 0);
            stream.read_exact(&mut bytes)?;
        } else {
            stream.read_to_end(&mut bytes)?;
        }
        let value = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Ok((status, value))
    }

    /// The events of a watch from `from` until one at or past `until`; none when the server says 410.
    pub fn watch_until(&self, path: &str, from: u64, until: u64) -> std::io::Result<Option<Vec<Value>>> {
        if from >= until {
            return Ok(Some(Vec::new()));
        }
        let path =
            format!("{path}?watch=true&resourceVersion={from}&allowWatchBookmarks=true&timeoutSeconds=5");
        let mut stream = self.send("GET", &path, "", "")?;
        let (status, ..) = head(&mut stream)?;
        if status == 410 {
            return Ok(None);
        }
        let mut events = Vec::new();
        let mut pending = Vec::new();
        while let Some(part) = chunk(&mut stream)? {
            pending.extend(part);
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line)?;
                if event["type"] == "ERROR" {
                    assert_eq!(event["object"]["code"], 410, "{event}");
                    return Ok(None);
                }
                let at: u64 =
                    event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
                if event["type"] != "BOOKMARK" {
                    events.push(event);
                }
                if at >= until {
                    return Ok(Some(events));
                }
            }
        }
        Ok(Some(events))
    }

    fn send(&self, method: &str, path: &str, kind: &str, body: &str) -> std::io::Result<Stream> {
        let tcp = TcpStream::connect_timeout(&self.address, Duration::from_secs(5))?;
        tcp.set_read_timeout(Some(Duration::from_secs(30)))?;
        tcp.set_nodelay(true)?;
        let name = ServerName::IpAddress(self.address.ip().into());
        let connection = ClientConnection::new(self.tls.clone(), name).map_err(std::io::Error::other)?;
        let mut stream = StreamOwned::new(connection, tcp);
        let kind = if kind.is_empty() { String::new() } else { format!("content-type: {kind}\r\n") };
        let authorization = if self.token.is_empty() {
            String::new()
        } else {
            format!("authorization: Bearer {}\r\n", self.token)
        };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{authorization}{kind}accept: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        Ok(BufReader::new(stream))
    }
}

fn head(stream: &mut Stream) -> std::io::Result<(u16, bool, Option<usize>)> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no HTTP answer: {line:?}")))?;
    let (mut chunked, mut length) = (false, None);
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let lower = line.trim().to_ascii_lowercase();
        if lower.is_empty() {
            return Ok((status, chunked, length));
        }
        chunked |= lower == "transfer-encoding: chunked";
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok();
        }
    }
}

fn chunk(stream: &mut Stream) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let size = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
    let mut bytes = vec![0; size + 2];
    stream.read_exact(&mut bytes)?;
    bytes.truncate(size);
    Ok((size > 0).then_some(bytes))
}
