//! TLS to the API server: trust by a CA, or by the CA's digest that an agent token carries.

use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use tokio_rustls::TlsConnector;

use crate::client::connect::{ByteStream, Protocol};
use crate::client::dial;

/// Whom to believe.
#[derive(Clone)]
pub enum Trust {
    /// Certificates of authorities, PEM.
    Pem(Vec<u8>),
    /// The SHA-256 of the authority's certificate (DER), which the server presents in its chain.
    Digest([u8; 32]),
    /// The authorities of this host.
    Host,
}

/// A TLS server by URL.
#[derive(Clone)]
pub struct Tls {
    host: Arc<str>,
    port: u16,
    authority: Arc<str>,
    name: ServerName<'static>,
    http1: TlsConnector,
    http2: TlsConnector,
}

/// A server URL or an authority that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not `https://host[:port]`.
    #[error("{0:?} is not of the form https://host:port")]
    Url(String),
    /// No certificate in the PEM.
    #[error("the CA holds no usable certificate")]
    NoCertificate,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

impl Tls {
    /// Prepares for `https://host[:port]`.
    pub fn new(url: &str, trust: &Trust) -> Result<Tls, TlsError> {
        let bad = || TlsError::Url(url.to_owned());
        let uri: http::Uri = url.trim_end_matches('/').parse().map_err(|_| bad())?;
        if uri.scheme_str() != Some("https") || !matches!(uri.path(), "" | "/") {
            return Err(bad());
        }
        let host = uri.host().ok_or_else(bad)?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(443);
        let name = ServerName::try_from(host.clone()).map_err(|_| bad())?;
        let authority = uri.authority().ok_or_else(bad)?.as_str().into();
        let config = configure(trust)?;
        Ok(Tls {
            host: host.into(),
            port,
            authority,
            name,
            http1: connector(&config, Protocol::Http1),
            http2: connector(&config, Protocol::Http2),
        })
    }

    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The host part of the URL, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port of the URL.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(crate) async fn connect(&self, protocol: Protocol) -> io::Result<ByteStream> {
        let stream = dial::connect(&self.host, self.port).await?;
        let tls = match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
        };
        Ok(Box::new(tls.connect(self.name.clone(), stream).await?))
    }
}

fn connector(config: &ClientConfig, protocol: Protocol) -> TlsConnector {
    let mut config = config.clone();
    config.alpn_protocols = vec![match protocol {
        Protocol::Http1 => b"http/1.1".to_vec(),
        Protocol::Http2 => b"h2".to_vec(),
    }];
    TlsConnector::from(Arc::new(config))
}

/// A client configuration that believes `trust`.
pub fn configure(trust: &Trust) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    Ok(match trust {
        Trust::Digest(digest) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { digest: *digest, provider }))
            .with_no_client_auth(),
        Trust::Pem(pem) => builder.with_root_certificates(roots_of(pem)?).with_no_client_auth(),
        Trust::Host => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    })
}

fn roots_of(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
    if added == 0 { Err(TlsError::NoCertificate) } else { Ok(roots) }
}

/// Believes the chain that ends in the one authority with this digest, and checks all the rest as usual.
#[derive(Debug)]
struct Pinned {
    digest: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let matches =
            |each: &&CertificateDer<'_>| Sha256::digest(each.as_ref()).as_slice() == self.digest.as_slice();
        let authority = chain
            .iter()
            .find(matches)
            .ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(leaf, chain, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_urls() {
        for bad in ["http://a:1", "a:1", "https://a/b", ""] {
            assert!(matches!(Tls::new(bad, &Trust::Digest([0; 32])), Err(TlsError::Url(_))), "{bad}");
        }
        let tls = Tls::new("https://[::1]:6443/", &Trust::Digest([0; 32])).expect("valid");
        assert_eq!((tls.host(), tls.port(), tls.authority()), ("::1", 6443, "[::1]:6443"));
    }

    #[test]
    fn a_ca_without_certificates_is_refused() {
        assert!(matches!(configure(&Trust::Pem(b"nothing".to_vec())), Err(TlsError::NoCertificate)));
    }
}
