//! Requests that guests send: a name or address, then a call, a Pod's stream, or the outside.

use crate::http::{Request, Response};
use crate::net::NetError;
use crate::net::exchange::{Caller, ExchangeError, call};
use crate::net::pod::Tcp;
use crate::net::pod_net::{PodNet, own_target};
use crate::net::upstream::send_fresh;
use crate::table::{Origin, Protocol};
use http::Uri;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How long a request waits for a Service that has no endpoint at the moment.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why an outgoing HTTP request got no response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No connection.
    #[error("cannot connect")]
    Net(#[source] NetError),
    /// The URI is not absolute `http://…` or `https://…` with a host.
    #[error("URI is not one a request can be sent to")]
    Uri,
    /// The other side broke the connection or HTTP.
    #[error("HTTP exchange failed")]
    Protocol(#[source] hyper::Error),
    /// TLS failed.
    #[error("TLS failed")]
    Tls(#[source] std::io::Error),
    /// The local handler gave no response.
    #[error("handler gave no response")]
    Handler(#[source] crate::http::HandlerError),
}

impl From<ExchangeError> for HttpError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Unsent { error, .. } => HttpError::Net(error),
            ExchangeError::NoService | ExchangeError::Crowded => HttpError::Net(NetError::ConnectionRefused),
            ExchangeError::Asleep => HttpError::Net(NetError::Timeout),
            ExchangeError::Handler(error) => HttpError::Handler(error),
            ExchangeError::Protocol(error) => HttpError::Protocol(error),
        }
    }
}

pub(crate) async fn send(net: &PodNet, mut request: Request) -> Result<Response, HttpError> {
    let (host, port, encrypted) = target(request.uri())?;
    let addresses = net.resolve(&host).await.map_err(HttpError::Net)?;
    let mut last = HttpError::Net(NetError::NameUnresolvable);
    for ip in addresses {
        let to = SocketAddr::new(ip.to_canonical(), port);
        if encrypted {
            match net.tcp_connect(None, to).await {
                Ok(stream) => return send_encrypted(net, stream, &host, request).await,
                Err(error) => last = HttpError::Net(error),
            }
            continue;
        }
        match send_plain(net, to, request).await {
            Err(ExchangeError::Unsent { error, request: back }) => {
                last = HttpError::Net(error);
                request = *back;
            }
            done => return Ok(done?),
        }
    }
    Err(last)
}

fn target(uri: &Uri) -> Result<(String, u16, bool), HttpError> {
    let encrypted = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(HttpError::Uri),
    };
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(HttpError::Uri)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    Ok((host, port, encrypted))
}

async fn send_plain(net: &PodNet, to: SocketAddr, request: Request) -> Result<Response, ExchangeError> {
    let (network, pod) = (net.network(), net.pod());
    if pod.host_network {
        return network.exchange_at(to, pod.ip, request).await;
    }
    if let Some(own) = own_target(pod, to) {
        return match pod.tcp_at(own) {
            Some(Tcp::Http(handler)) => call(&handler, request).await,
            Some(Tcp::Listening(_)) => network.exchange_stream(pod, own, own.ip(), request).await,
            _ => Err(ExchangeError::unsent(NetError::ConnectionRefused, request)),
        };
    }
    let is_service = network.tables.load().virtual_port(to, Protocol::Tcp).is_some();
    if is_service {
        let find = |table: &crate::table::Table| table.virtual_port(to, Protocol::Tcp).cloned();
        let caller = Caller { origin: Origin::Inside, client: pod.ip, source: pod.ip };
        return network.exchange(find, caller, request, PATIENCE).await;
    }
    network.exchange_at(to, pod.ip, request).await
}

async fn send_encrypted(
    net: &PodNet,
    stream: crate::net::Stream,
    host: &str,
    request: Request,
) -> Result<Response, HttpError> {
    let name = match host.parse::<IpAddr>() {
        Ok(ip) => ServerName::IpAddress(ip.into()),
        Err(_) => ServerName::try_from(host.to_owned()).map_err(|_| HttpError::Uri)?,
    };
    let connector = tokio_rustls::TlsConnector::from(client_config(net));
    let stream = connector.connect(name, stream).await.map_err(HttpError::Tls)?;
    Ok(send_fresh(stream, request).await?)
}

/// Trusts what the host trusts and the cluster's own CA. Read once: it costs milliseconds.
fn client_config(net: &PodNet) -> Arc<rustls::ClientConfig> {
    let make = || {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let own = CertificateDer::pem_slice_iter(&net.network().config.trusted);
        roots.add_parsable_certificates(own.filter_map(Result::ok));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the ciphers of TLS 1.2 and 1.3");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    };
    net.network().tls.get_or_init(make).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_name_host_port_and_scheme() {
        let cases = [
            ("http://web/", Some(("web", 80, false))),
            ("https://web/", Some(("web", 443, true))),
            ("http://[::1]:8080/", Some(("::1", 8080, false))),
            ("/only/path", None),
            ("ftp://web/", None),
        ];
        for (uri, want) in cases {
            let got = target(&uri.parse().expect("valid")).ok();
            let got = got.as_ref().map(|(host, port, tls)| (host.as_str(), *port, *tls));
            assert_eq!(got, want, "{uri}");
        }
    }
}
