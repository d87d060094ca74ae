//! Whom a call believes, and as whom it is made.

use std::sync::{Arc, LazyLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::outward::CallError;

/// Where hosts keep the authorities that they believe.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Whom a call believes, and as whom it is made.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// Whom it believes.
    pub believes: Believes<'a>,
    /// The certificate it shows, if any.
    pub own: Option<&'a Identity>,
}

/// Whom a call believes.
#[derive(Clone, Copy, Debug)]
pub enum Believes<'a> {
    /// Whom this host believes.
    Host,
    /// These authorities, PEM.
    Authority(&'a [u8]),
    /// Anybody, because an administrator said so.
    Anybody,
}

/// A certificate to show.
#[derive(Debug)]
pub struct Identity {
    /// The certificate and those above it.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl<'a> Trust<'a> {
    /// Whom this host believes.
    pub const HOST: Trust<'static> = Trust { believes: Believes::Host, own: None };

    /// These authorities, PEM.
    pub fn authority(authority: &'a [u8]) -> Trust<'a> {
        Trust { believes: Believes::Authority(authority), own: None }
    }

    /// What TLS needs for it.
    pub(super) fn config(self) -> Result<Arc<ClientConfig>, CallError> {
        let builder = match self.believes {
            Believes::Host => builder()?.with_root_certificates(host()),
            Believes::Authority(authority) => builder()?.with_root_certificates(roots(authority)?),
            Believes::Anybody => {
                let anybody = Arc::new(Anybody(provider()));
                builder()?.dangerous().with_custom_certificate_verifier(anybody)
            }
        };
        let config = match self.own {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(own.chain.clone(), own.key.clone_key())
                .map_err(|error| CallError::Tls(error.to_string()))?,
        };
        Ok(Arc::new(config))
    }
}

/// The authorities that this host believes, read once.
fn host() -> Arc<RootCertStore> {
    static HOST: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
        let mut roots = RootCertStore::empty();
        let bundle = BUNDLES.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle).flatten());
        Arc::new(roots)
    });
    HOST.clone()
}

fn roots(authority: &[u8]) -> Result<RootCertStore, CallError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(authority).flatten());
    if added == 0 {
        return Err(CallError::Trust("no certificate in the caBundle".to_owned()));
    }
    Ok(roots)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, rustls::WantsVerifier>, CallError> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| CallError::Tls(error.to_string()))
}

/// Believes anybody, as an administrator asked for by `insecureSkipTLSVerify`. What is said is encrypted all the same.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
