//! Calls that the control plane makes: an HTTPS POST to somebody whom an administrator named, such as a webhook.
//!
//! Promises a bounded answer within a given time, over TLS that believes whom the caller believes. One connection a
//! call. It knows no kinds and keeps nothing. Names are resolved by the host's own
//! configuration, never by the C library; what is in the Pod network is reached over the tunnel of its node.

mod name;
mod trust;
mod way;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use trust::{Believes, Identity, Trust};
pub use way::Way;

use crate::outward::way::Stream;

/// The largest answer, in bytes.
const LARGEST: usize = 4 << 20;

/// Where a call goes.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The name that the certificate must have, and the `Host` of the request.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Ways to try in place of the name's addresses.
    pub ways: Vec<Way>,
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
        Ok(Destination { host: host.to_owned(), port: uri.port_u16().unwrap_or(443), path, ways: Vec::new() })
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
    #[error("dial tcp {place}: connect: {why}")]
    Dial {
        /// The address, or the Pod and its port.
        place: String,
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

/// Posts JSON and waits for the answer.
pub async fn post(
    to: &Destination,
    trust: Trust<'_>,
    body: Bytes,
    patience: Duration,
) -> Result<Answer, CallError> {
    let request = Request::post(&to.path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "kube-apiserver-admission")
        .body(Full::new(body))
        .map_err(|error| CallError::Broken(error.to_string()))?;
    whole(to, trust, request, patience).await
}

/// Sends a request and waits for the whole answer.
pub async fn whole<B>(
    to: &Destination,
    trust: Trust<'_>,
    request: Request<B>,
    patience: Duration,
) -> Result<Answer, CallError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let call = async {
        let connected = connect(to, trust).await?;
        exchange(connected, request).await
    };
    tokio::time::timeout(patience, call).await.unwrap_or(Err(CallError::Late))
}

/// Sends a request and answers as soon as the answer begins. The connection lives as long as the answer's body.
pub async fn stream<B>(
    to: &Destination,
    trust: Trust<'_>,
    mut request: Request<B>,
    patience: Duration,
) -> Result<Response<Incoming>, CallError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let call = async {
        let Connected { tls, host } = connect(to, trust).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await.map_err(broken)?;
        // It ends when the answer has been read or nobody reads it any longer.
        tokio::spawn(connection.with_upgrades());
        request.headers_mut().insert(header::HOST, host);
        sender.send_request(request).await.map_err(broken)
    };
    tokio::time::timeout(patience, call).await.unwrap_or(Err(CallError::Late))
}

fn broken(error: hyper::Error) -> CallError {
    CallError::Broken(error.to_string())
}

/// A connection to a destination.
struct Connected {
    tls: TlsStream<Stream>,
    host: HeaderValue,
}

async fn connect(to: &Destination, trust: Trust<'_>) -> Result<Connected, CallError> {
    let config = trust.config()?;
    let stream = dial(to).await?;
    let bare = to.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(bare).map_err(|error| CallError::Tls(error.to_string()))?;
    let tls = TlsConnector::from(config).connect(name, stream).await.map_err(|error| tls_error(&error))?;
    let host = if to.port == 443 { to.host.clone() } else { format!("{}:{}", to.host, to.port) };
    let host = HeaderValue::try_from(host).map_err(|error| CallError::Broken(error.to_string()))?;
    Ok(Connected { tls, host })
}

async fn dial(to: &Destination) -> Result<Stream, CallError> {
    let mut ways = to.ways.clone();
    if ways.is_empty() {
        let found =
            name::resolve(&to.host).await.map_err(|why| CallError::Lookup { host: to.host.clone(), why })?;
        ways.extend(found.into_iter().map(|address| Way::Address(SocketAddr::new(address, to.port))));
    }
    let mut last = CallError::Lookup { host: to.host.clone(), why: "no such host".to_owned() };
    for way in ways {
        match way.open().await {
            Ok(stream) => return Ok(stream),
            Err((place, why)) => last = CallError::Dial { place, why },
        }
    }
    Err(last)
}

async fn exchange<B>(connected: Connected, mut request: Request<B>) -> Result<Answer, CallError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Connected { tls, host } = connected;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await.map_err(broken)?;
    request.headers_mut().insert(header::HOST, host);
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
        let late = post(&to, Trust::HOST, Bytes::new(), patience).await.unwrap_err();
        assert_eq!(late.to_string(), "context deadline exceeded");
        drop(listener);
        let refused = post(&to, Trust::HOST, Bytes::new(), Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("dial tcp {address}: connect: connection refused"));
        let no_trust = post(&to, Trust::authority(b"x"), Bytes::new(), patience).await.unwrap_err();
        assert!(matches!(no_trust, CallError::Trust(_)));
    }
}
