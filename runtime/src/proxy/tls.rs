//! Certificates for the Ingress's TLS port: those of Secrets by server name, else the node's own.

use crate::table::{Certificate, Tables};
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Parsed certificates remembered; beyond it all are forgotten.
const REMEMBERED: usize = 256;

/// TLS for the Ingress port, with HTTP/2 and HTTP/1.1. `own` is for clients that ask for no
/// known name; without it they get none.
pub(crate) fn server_config(tables: Arc<Tables>, own: Option<&Certificate>) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of TLS 1.2 and 1.3");
    let own = own.and_then(parse).map(Arc::new);
    let resolver = Certificates { tables, parsed: Mutex::default(), own };
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// A certificate of the table and, if it is one with its key, what TLS shows of it.
type Parsed = (Arc<Certificate>, Option<Arc<CertifiedKey>>);

struct Certificates {
    tables: Arc<Tables>,
    /// By the address of what the table holds; the `Arc` keeps that address taken.
    parsed: Mutex<HashMap<usize, Parsed>>,
    own: Option<Arc<CertifiedKey>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| {
            let certificate = self.tables.load().certificate(&name.to_ascii_lowercase()).cloned();
            self.parsed(certificate?)
        });
        named.or_else(|| self.own.clone())
    }
}

impl Certificates {
    fn parsed(&self, certificate: Arc<Certificate>) -> Option<Arc<CertifiedKey>> {
        let address = Arc::as_ptr(&certificate) as usize;
        if let Some((_, parsed)) = self.parsed.lock().get(&address) {
            return parsed.clone();
        }
        let parsed = parse(&certificate).map(Arc::new);
        if parsed.is_none() {
            tracing::warn!("a TLS Secret of an Ingress holds no usable certificate and key");
        }
        let mut all = self.parsed.lock();
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(address, (certificate, parsed.clone()));
        parsed
    }
}

fn parse(certificate: &Certificate) -> Option<CertifiedKey> {
    let chain = CertificateDer::pem_slice_iter(&certificate.chain).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(&certificate.key).ok()?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain.ok()?, key, &provider).ok()
}
