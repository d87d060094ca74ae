//! Calls that the control plane makes: an HTTPS POST to somebody whom an administrator named, such as a webhook.
//!
//! Promises a bounded answer within a given time, over TLS that believes whom the caller believes. One connection a
//! call. It knows no kinds and keeps nothing. Names are resolved by the host's own
//! configuration, never by the C library.

mod name;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The largest answer, in bytes.
const LARGEST: usize = 4 << 20;

/// Where hosts keep the authorities that they believe.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The name that the certificate must have, and the `Host` of the request.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Addresses to dial in place of those of the name.
    pub addresses: Vec<SocketAddr>,
}

/// An address that is none for a call.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no https URL")]
pub struct UrlError(String);

impl Destination {
    /// The destination of a URL.
    pub fn of_url(url: &str) -> Result<Destination, UrlError> {
        let wrong = || UrlError(url.to_owned());
        let uri: http::Uri = url.parse().map_err(|_| wrong())?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("https")).ok_or_else(wrong)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Destination {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(443),
            path,
            addresses: Vec::new(),
        })
    }
}

/// Why there is no answer, in the words that Kubernetes' users know.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The name has no address.
    #[error("dial tcp: lookup {host}: {why}")]
    Lookup {
        /// The name.
        host: String,
        /// Why.
        why: String,
    },
    /// Nobody listens, or there is no way.
    #[error("dial tcp {address}: connect: {why}")]
    Dial {
        /// The address.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// The other side is not who it should be.
    #[error("tls: {0}")]
    Tls(String),
    /// What is to be believed cannot be read.
    #[error("unable to load root certificates: {0}")]
    Trust(String),
    /// The connection broke, or what came is no HTTP.
    #[error("{0}")]
    Broken(String),
    /// It took too long.
    #[error("context deadline exceeded")]
    Late,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its code.
    pub code: StatusCode,
    /// Its body.
    pub body: Bytes,
}

/// Posts JSON and waits for the answer. `authority` is PEM; empty believes whom this host believes.
pub async fn post(
    to: &Destination,
    authority: &[u8],
    body: Bytes,
    patience: Duration,
) -> Result<Answer, CallError> {
    let call = async {
        let config = trust(authority)?;
        let stream = dial(to).await?;
        exchange(to, config, stream, body).await
    };
    tokio::time::timeout(patience, call).await.unwrap_or(Err(CallError::Late))
}

async fn dial(to: &Destination) -> Result<TcpStream, CallError> {
    let mut addresses = to.addresses.clone();
    if addresses.is_empty() {
        let found =
            name::resolve(&to.host).await.map_err(|why| CallError::Lookup { host: to.host.clone(), why })?;
        addresses.extend(found.into_iter().map(|address| SocketAddr::new(address, to.port)));
    }
    let mut last = CallError::Lookup { host: to.host.clone(), why: "no such host".to_owned() };
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = CallError::Dial { address, why: plain(&error) },
        }
    }
    Err(last)
}

/// The error of the system in its own words, without our language's additions.
fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        std::io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        _ => error.to_string(),
    }
}

async fn exchange(
    to: &Destination,
    config: Arc<ClientConfig>,
    stream: TcpStream,
    body: Bytes,
) -> Result<Answer, CallError> {
    let bare = to.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(bare).map_err(|error| CallError::Tls(error.to_string()))?;
    let tls = TlsConnector::from(config).connect(name, stream).await.map_err(|error| tls_error(&error))?;
    let broken = |error: hyper::Error| CallError::Broken(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await.map_err(broken)?;
    let host = if to.port == 443 { to.host.clone() } else { format!("{}:{}", to.host, to.port) };
    let request = Request::post(&to.path)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "kube-apiserver-admission")
        .body(Full::new(body))
        .map_err(|error| CallError::Broken(error.to_string()))?;
    let answering = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST).collect().await;
        let body = body.map_err(|error| CallError::Broken(error.to_string()))?.to_bytes();
        Ok(Answer { code: parts.status, body })
    };
    // The connection is driven here, so that it ends with the call.
    tokio::pin!(answering, connection);
    tokio::select! {
        biased;
        answer = &mut answering => answer,
        ended = &mut connection => match answering.await {
            Err(CallError::Broken(_)) if ended.is_err() => Err(CallError::Broken("EOF".to_owned())),
            answer => answer,
        },
    }
}

fn tls_error(error: &std::io::Error) -> CallError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    CallError::Tls(match inner {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            "failed to verify certificate: x509: certificate signed by unknown authority".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(why)) => format!("failed to verify certificate: x509: {why}"),
        _ => error.to_string(),
    })
}

fn trust(authority: &[u8]) -> Result<Arc<ClientConfig>, CallError> {
    static HOST: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if authority.is_empty() {
        if let Some(config) = HOST.get() {
            return Ok(config.clone());
        }
        let mut roots = RootCertStore::empty();
        let bundle = BUNDLES.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle).flatten());
        let config = believing(roots)?;
        return Ok(HOST.get_or_init(|| config).clone());
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(authority).flatten());
    if added == 0 {
        return Err(CallError::Trust("no certificate in the caBundle".to_owned()));
    }
    believing(roots)
}

fn believing(roots: RootCertStore) -> Result<Arc<ClientConfig>, CallError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| CallError::Tls(error.to_string()))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_url_says_where_to_call() {
        let to = Destination::of_url("https://hook.example.com/a?b=c").unwrap();
        assert_eq!((to.host.as_str(), to.port, to.path.as_str()), ("hook.example.com", 443, "/a?b=c"));
        let to = Destination::of_url("https://127.0.0.1:8443").unwrap();
        assert_eq!((to.host.as_str(), to.port, to.path.as_str()), ("127.0.0.1", 8443, "/"));
        for wrong in ["http://a/", "a", "", "https://"] {
            assert!(Destination::of_url(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_told_as_kubernetes_tells_it() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let to = Destination::of_url(&format!("https://{address}/")).unwrap();
        let patience = Duration::from_millis(50);
        let late = post(&to, b"", Bytes::new(), patience).await.unwrap_err();
        assert_eq!(late.to_string(), "context deadline exceeded");
        drop(listener);
        let refused = post(&to, b"", Bytes::new(), Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("dial tcp {address}: connect: connection refused"));
        let no_trust = post(&to, b"x", Bytes::new(), patience).await.unwrap_err();
        assert!(matches!(no_trust, CallError::Trust(_)));
    }
}
