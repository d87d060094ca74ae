//! Plain HTTP requests to registries: one connection each, redirects followed, nothing remembered.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::client::tls::{TlsError, Trust, configure};
use crate::client::{ByteStream, dial};

/// How long a registry may take to answer with headers.
const ANSWER: Duration = Duration::from_secs(30);
/// Redirects that are followed for one request.
const REDIRECTS: usize = 5;

/// A failed exchange.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The target is no URL we can call.
    #[error("{0:?} is not a URL that can be fetched")]
    Url(String),
    /// No connection.
    #[error("cannot connect to {host}: {source}")]
    Connect {
        /// Which host.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The exchange broke.
    #[error("the exchange with {host} broke: {source}")]
    Http {
        /// Which host.
        host: String,
        /// Why.
        source: hyper::Error,
    },
    /// No answer in time.
    #[error("{0} did not answer within {ANSWER:?}")]
    Timeout(String),
    /// Too many redirects.
    #[error("{0} redirects in circles")]
    Redirects(String),
    /// A body was larger than it may be, or broke.
    #[error("the answer of {host} cannot be read: {problem}")]
    Body {
        /// Which host.
        host: String,
        /// Why.
        problem: String,
    },
}

/// Fetches URLs.
#[derive(Clone)]
pub struct Fetcher {
    tls: TlsConnector,
}

/// An answer and the connection it comes over.
pub struct Answer {
    /// Status, headers and body.
    pub response: Response<Incoming>,
    host: String,
    _driver: AbortOnDropHandle<()>,
}

impl Fetcher {
    /// Trusts the host's authorities, or only `ca` (PEM).
    pub fn new(ca: Option<&[u8]>) -> Result<Fetcher, TlsError> {
        let trust = ca.map_or(Trust::Host, |pem| Trust::Pem(pem.to_vec()));
        let mut config = configure(&trust)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Fetcher { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// GETs `url`. The `authorization` goes to its host only, never to where a redirect leads.
    pub async fn get(
        &self,
        url: &str,
        accept: &str,
        authorization: Option<&str>,
    ) -> Result<Answer, FetchError> {
        let mut target: Uri = url.parse().map_err(|_| FetchError::Url(url.to_owned()))?;
        let first = target.authority().cloned();
        for _ in 0..=REDIRECTS {
            let own = target.authority() == first.as_ref();
            let answer =
                tokio::time::timeout(ANSWER, self.once(&target, accept, authorization.filter(|_| own)))
                    .await
                    .map_err(|_| FetchError::Timeout(host_of(&target)))??;
            match redirect(&target, &answer.response) {
                Some(next) => target = next?,
                None => return Ok(answer),
            }
        }
        Err(FetchError::Redirects(url.to_owned()))
    }

    async fn once(
        &self,
        target: &Uri,
        accept: &str,
        authorization: Option<&str>,
    ) -> Result<Answer, FetchError> {
        let host = host_of(target);
        let stream = self.connect(target).await?;
        let failed = |source| FetchError::Http { host: host.clone(), source };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let driver = AbortOnDropHandle::new(tokio::spawn(async move {
            let _ = connection.await;
        }));
        let invalid = |_| FetchError::Url(target.to_string());
        let path = target.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(path)
            .header(header::HOST, &host)
            .header(header::ACCEPT, accept)
            .header(header::USER_AGENT, concat!("edged/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(invalid)?;
        if let Some(value) = authorization.and_then(|value| HeaderValue::from_str(value).ok()) {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let response = sender.send_request(request).await.map_err(failed)?;
        Ok(Answer { response, host, _driver: driver })
    }

    async fn connect(&self, target: &Uri) -> Result<ByteStream, FetchError> {
        let host = target.host().ok_or_else(|| FetchError::Url(target.to_string()))?;
        let failed = |source| FetchError::Connect { host: host_of(target), source };
        let secure = match target.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(FetchError::Url(target.to_string())),
        };
        let port = target.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = dial::connect(host, port).await.map_err(failed)?;
        if !secure {
            return Ok(Box::new(stream));
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|_| FetchError::Url(target.to_string()))?;
        Ok(Box::new(self.tls.connect(name, stream).await.map_err(failed)?))
    }
}

impl Answer {
    /// The body's next piece; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            let frame = tokio::time::timeout(ANSWER, self.response.body_mut().frame())
                .await
                .map_err(|_| FetchError::Timeout(self.host.clone()))?;
            match frame {
                None => return Ok(None),
                Some(Err(source)) => return Err(FetchError::Http { host: self.host.clone(), source }),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The whole body, at most `most` bytes.
    pub async fn collect(self, most: usize) -> Result<Bytes, FetchError> {
        let host = self.host;
        let body = Limited::new(self.response.into_body(), most);
        match tokio::time::timeout(ANSWER, body.collect()).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) => Err(FetchError::Body { host, problem: error.to_string() }),
            Err(_) => Err(FetchError::Timeout(host)),
        }
    }
}

fn host_of(target: &Uri) -> String {
    target.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default()
}

fn redirect(from: &Uri, response: &Response<Incoming>) -> Option<Result<Uri, FetchError>> {
    let follow = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    if !follow.contains(&response.status()) {
        return None;
    }
    let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
    Some(resolve(from, location).ok_or_else(|| FetchError::Url(location.to_owned())))
}

/// A redirect may name a whole URL or a path; it never leads from TLS to none.
fn resolve(from: &Uri, location: &str) -> Option<Uri> {
    if location.starts_with('/') && !location.starts_with("//") {
        return format!("{}://{}{location}", from.scheme_str()?, from.authority()?).parse().ok();
    }
    let next: Uri = location.parse().ok()?;
    let downgraded = from.scheme_str() == Some("https") && next.scheme_str() != Some("https");
    (!downgraded).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_keep_their_security() {
        let from: Uri = "https://r.io/v2/a".parse().expect("a URL");
        assert_eq!(resolve(&from, "/x?y").map(|uri| uri.to_string()).as_deref(), Some("https://r.io/x?y"));
        assert_eq!(
            resolve(&from, "https://cdn/x").map(|uri| uri.to_string()).as_deref(),
            Some("https://cdn/x")
        );
        assert_eq!(resolve(&from, "http://cdn/x"), None);
    }
}
