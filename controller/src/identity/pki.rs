//! Everything secret that the server owns, kept below `<data-dir>/pki`, and the questions asked of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::identity::authority::{self, Authority, CertificateError, Pair};
use crate::identity::kubeconfig::{Kubeconfig, KubeconfigError};
use crate::identity::service_account::{Bound, Claims, KeyError, Signer};
use crate::identity::{Digest, User, files, secret};

/// As whom requests are passed on in somebody's name.
pub const FRONT_PROXY: &str = "front-proxy-client";
/// The most verified tokens that are remembered.
const REMEMBERED: usize = 4096;

/// What the identity of a cluster is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory of all state; keys go below `pki`, the agent token beside it.
    pub data_dir: PathBuf,
    /// Names beside the built-in ones under which the server is reached, such as the host's.
    pub names: Vec<String>,
    /// Addresses beside loopback at which the server is reached.
    pub addresses: Vec<IpAddr>,
    /// The domain of the cluster, such as `cluster.local`.
    pub cluster_domain: String,
    /// The address of the Service `kubernetes`.
    pub service_address: IpAddr,
}

/// Why the identity could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read or written.
    #[error("cannot use {0}")]
    File(PathBuf, #[source] std::io::Error),
    /// A certificate could not be issued or read.
    #[error("{0} cannot be used")]
    Certificate(PathBuf, #[source] CertificateError),
    /// The key of ServiceAccount tokens could not be used.
    #[error("{0} cannot be used")]
    Key(PathBuf, #[source] KeyError),
    /// TLS refuses what we have.
    #[error("cannot serve TLS")]
    Tls(#[from] rustls::Error),
    /// TLS refuses our authority.
    #[error("cannot verify client certificates")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// The kubeconfig could not be written.
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigError),
}

/// The certificate authority, server certificate, tokens and their keys.
pub struct Pki {
    directory: PathBuf,
    authority: Authority,
    front: Authority,
    front_proxy: Pair,
    server: Pair,
    signer: Signer,
    agent_token: Digest,
    admin_token: Mutex<Option<Digest>>,
    node_tokens: Mutex<BTreeMap<String, Digest>>,
    remembered: Mutex<BTreeMap<String, Arc<Claims>>>,
}

impl Pki {
    /// Reads the identity of the cluster, and makes what is missing or about to expire. `now` is in Unix seconds.
    pub fn open(config: &Config, now: i64) -> Result<Pki, IdentityError> {
        let directory = config.data_dir.join("pki");
        files::make_private_dir(&directory).map_err(|e| IdentityError::File(directory.clone(), e))?;
        let authority = open_authority(&directory, "ca")?;
        let front = open_authority(&directory, "front-proxy-ca")?;
        let client = User { name: FRONT_PROXY.to_owned(), ..User::default() };
        let front_proxy = front
            .issue_client(&client, now)
            .map_err(|e| IdentityError::Certificate(directory.join("front-proxy-ca.crt"), e))?;
        Ok(Pki {
            server: open_server(&directory, &authority, config, now)?,
            signer: open_signer(&directory, &config.cluster_domain)?,
            agent_token: open_agent_token(&config.data_dir, &authority)?,
            admin_token: Mutex::new(
                read(&directory.join("admin-token.sha256"))?.and_then(|t| Digest::from_hex(&t)),
            ),
            node_tokens: Mutex::new(open_node_tokens(&directory)?),
            remembered: Mutex::default(),
            front,
            front_proxy,
            authority,
            directory,
        })
    }

    /// The certificate of the authority, as PEM.
    pub fn authority_pem(&self) -> &str {
        &self.authority.pair().certificates
    }

    /// The certificate of the authority of who passes requests on in somebody's name, as PEM. It is another than that
    /// of users, of whom one might else be called so.
    pub fn front_proxy_authority_pem(&self) -> &str {
        &self.front.pair().certificates
    }

    /// The certificate with which requests are passed on in somebody's name.
    pub fn front_proxy(&self) -> &Pair {
        &self.front_proxy
    }

    /// The certificate authority.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The signer of ServiceAccount tokens.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// How the server speaks TLS: its chain with the authority's certificate, client certificates if sent.
    pub fn server_config(&self) -> Result<ServerConfig, IdentityError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone())?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()?;
        let broken = |e| IdentityError::Certificate(self.directory.join("server.crt"), e);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                self.server.chain().map_err(broken)?,
                self.server.private_key().map_err(broken)?,
            )?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Makes the administrator's kubeconfig at `path` say `server`; keeps a token that is good.
    pub fn write_kubeconfig(&self, path: &Path, server: &str) -> Result<(), IdentityError> {
        let old = Kubeconfig::read(path)?;
        let mut admin = self.admin_token.lock();
        let kept = old
            .as_ref()
            .map(|old| old.token.clone())
            .filter(|token| *admin == Some(Digest::of(token.as_bytes())));
        let token = match kept {
            Some(token) => token,
            None => {
                let token = secret::generate();
                let digest = Digest::of(token.as_bytes());
                write(&self.directory.join("admin-token.sha256"), digest.to_hex().as_bytes())?;
                *admin = Some(digest);
                token
            }
        };
        drop(admin);
        let new = Kubeconfig { server: server.to_owned(), authority: self.authority_pem().to_owned(), token };
        if old.as_ref() != Some(&new) {
            new.write(path)?;
        }
        Ok(())
    }

    /// Who a bearer token stands for. `exists` says whether the objects a ServiceAccount token is bound to exist.
    pub fn authenticate_token(&self, token: &str, now: i64, exists: impl Fn(&Bound) -> bool) -> Option<User> {
        self.recognise_token(token, now, &[], exists).map(|(user, _)| user)
    }

    /// The same for a token that is meant for one of `audiences`, the API server if there are none; and which of them
    /// it is meant for.
    pub fn recognise_token(
        &self,
        token: &str,
        now: i64,
        audiences: &[String],
        exists: impl Fn(&Bound) -> bool,
    ) -> Option<(User, Vec<String>)> {
        let ours = [self.signer.issuer().to_owned()];
        let audiences = if audiences.is_empty() { &ours[..] } else { audiences };
        let digest = Digest::of(token.as_bytes());
        if let Some(user) = self.user_of_secret(digest) {
            return audiences.contains(&ours[0]).then(|| (user, ours.to_vec()));
        }
        let claims = self.read_token(token, &digest)?;
        let meant = self.signer.accepts(&claims, now, audiences);
        (!meant.is_empty() && exists(&claims.bound)).then(|| (claims.user(), meant))
    }

    /// The administrator or node whose token this is.
    fn user_of_secret(&self, digest: Digest) -> Option<User> {
        if *self.admin_token.lock() == Some(digest) {
            return Some(User::admin("kubernetes-admin"));
        }
        let nodes = self.node_tokens.lock();
        nodes.iter().find(|(_, known)| **known == digest).map(|(node, _)| User::node(node))
    }

    /// Who a client certificate stands for. TLS has verified it.
    pub fn authenticate_certificate(&self, certificate: &CertificateDer<'_>) -> Option<User> {
        authority::user_of(certificate)
    }

    /// Lets the node called `name` in: its own token, in exchange for the agent token. An earlier token of the same
    /// name ends. `None` if the agent token is wrong.
    pub fn join(&self, agent_token: &str, name: &str) -> Result<Option<String>, IdentityError> {
        let secret = agent_token.trim().rsplit_once('.').map_or(agent_token, |(_, secret)| secret);
        if Digest::of(secret.as_bytes()) != self.agent_token {
            return Ok(None);
        }
        let token = secret::generate();
        let mut tokens = self.node_tokens.lock();
        let mut next = tokens.clone();
        next.insert(name.to_owned(), Digest::of(token.as_bytes()));
        let hex: BTreeMap<&String, String> =
            next.iter().map(|(name, digest)| (name, digest.to_hex())).collect();
        let json = serde_json::to_vec_pretty(&hex).expect("strings are JSON");
        write(&self.directory.join("nodes.json"), &json)?;
        *tokens = next;
        Ok(Some(token))
    }

    /// Verifying a signature costs a tenth of a millisecond, so those that passed are remembered.
    fn read_token(&self, token: &str, digest: &Digest) -> Option<Arc<Claims>> {
        let key = digest.to_hex();
        if let Some(claims) = self.remembered.lock().get(&key) {
            return Some(claims.clone());
        }
        let claims = Arc::new(self.signer.read(token)?);
        let mut remembered = self.remembered.lock();
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(key, claims.clone());
        Some(claims)
    }
}

fn open_authority(directory: &Path, name: &str) -> Result<Authority, IdentityError> {
    let path = directory.join(format!("{name}.crt"));
    let broken = |e| IdentityError::Certificate(path.clone(), e);
    if let Some(pair) = read_pair(directory, name)? {
        return Authority::from_pair(pair).map_err(broken);
    }
    let authority = Authority::generate().map_err(broken)?;
    write_pair(directory, name, authority.pair())?;
    Ok(authority)
}

fn open_server(directory: &Path, ca: &Authority, config: &Config, now: i64) -> Result<Pair, IdentityError> {
    let (names, addresses) = (server_names(config), server_addresses(config));
    if let Some(pair) = read_pair(directory, "server")?
        && authority::still_good(&pair, ca, &names, &addresses, now)
    {
        return Ok(pair);
    }
    let broken = |e| IdentityError::Certificate(directory.join("server.crt"), e);
    let pair = ca.issue_server(&names, &addresses, now).map_err(broken)?;
    write_pair(directory, "server", &pair)?;
    Ok(pair)
}

fn server_names(config: &Config) -> Vec<String> {
    let domain = &config.cluster_domain;
    let mut names = vec![
        "localhost".to_owned(),
        "kubernetes".to_owned(),
        "kubernetes.default".to_owned(),
        "kubernetes.default.svc".to_owned(),
        format!("kubernetes.default.svc.{domain}"),
    ];
    names.extend(config.names.iter().filter(|name| name.is_ascii() && !name.is_empty()).cloned());
    names
}

fn server_addresses(config: &Config) -> Vec<IpAddr> {
    let mut addresses = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), config.service_address];
    addresses.extend(config.addresses.iter().filter(|address| !address.is_unspecified()));
    addresses
}

fn open_signer(directory: &Path, cluster_domain: &str) -> Result<Signer, IdentityError> {
    let path = directory.join("service-account.key");
    let broken = |e| IdentityError::Key(path.clone(), e);
    let key = match std::fs::read(&path) {
        Ok(key) => key,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = Signer::generate().map_err(broken)?;
            write(&path, &key)?;
            key
        }
        Err(error) => return Err(IdentityError::File(path, error)),
    };
    Signer::new(&key, &format!("https://kubernetes.default.svc.{cluster_domain}")).map_err(broken)
}

fn open_agent_token(data_dir: &Path, authority: &Authority) -> Result<Digest, IdentityError> {
    let path = data_dir.join("agent-token");
    let pin = authority.digest().to_hex();
    let old = read(&path)?;
    if let Some((digest, secret)) = old.as_deref().map(str::trim).and_then(|token| token.split_once('.'))
        && digest == pin
        && secret.len() >= 32
    {
        return Ok(Digest::of(secret.as_bytes()));
    }
    let secret = secret::generate();
    write(&path, format!("{pin}.{secret}\n").as_bytes())?;
    Ok(Digest::of(secret.as_bytes()))
}

fn open_node_tokens(directory: &Path) -> Result<BTreeMap<String, Digest>, IdentityError> {
    let path = directory.join("nodes.json");
    let Some(text) = read(&path)? else { return Ok(BTreeMap::new()) };
    let hex: BTreeMap<String, String> = serde_json::from_str(&text)
        .map_err(|e| IdentityError::File(path, std::io::Error::new(std::io::ErrorKind::InvalidData, e)))?;
    Ok(hex.into_iter().filter_map(|(name, hex)| Some((name, Digest::from_hex(&hex)?))).collect())
}

/// Key first: a crash in between leaves no certificate, and both are made again.
fn write_pair(directory: &Path, name: &str, pair: &Pair) -> Result<(), IdentityError> {
    write(&directory.join(format!("{name}.key")), pair.key.as_bytes())?;
    write(&directory.join(format!("{name}.crt")), pair.certificates.as_bytes())
}

fn read_pair(directory: &Path, name: &str) -> Result<Option<Pair>, IdentityError> {
    let certificates = read(&directory.join(format!("{name}.crt")))?;
    let key = read(&directory.join(format!("{name}.key")))?;
    Ok(certificates.zip(key).map(|(certificates, key)| Pair { certificates, key }))
}

fn read(path: &Path) -> Result<Option<String>, IdentityError> {
    files::read_private(path).map_err(|error| IdentityError::File(path.to_owned(), error))
}

fn write(path: &Path, contents: &[u8]) -> Result<(), IdentityError> {
    files::write_private(path, contents).map_err(|error| IdentityError::File(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;
    use std::path::Path;

    use super::{Config, Pki};
    use crate::identity::User;
    use crate::identity::kubeconfig::Kubeconfig;
    use crate::identity::service_account::Bound;

    const NOW: i64 = 1_800_000_000;

    fn config(data_dir: &Path) -> Config {
        Config {
            data_dir: data_dir.to_owned(),
            names: vec!["edge-1".into()],
            addresses: vec![Ipv4Addr::new(192, 0, 2, 1).into()],
            cluster_domain: "cluster.local".into(),
            service_address: Ipv4Addr::new(10, 43, 0, 1).into(),
        }
    }

    #[test]
    fn an_identity_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let first = Pki::open(&config(dir.path()), NOW).unwrap();
        let second = Pki::open(&config(dir.path()), NOW).unwrap();
        assert_eq!(first.authority_pem(), second.authority_pem());
        assert_eq!(first.server.certificates, second.server.certificates);
        let later = Pki::open(&config(dir.path()), NOW + 6 * 365 * 86_400).unwrap();
        assert_eq!(first.authority_pem(), later.authority_pem());
        assert_ne!(first.server.certificates, later.server.certificates);
        let mut moved = config(dir.path());
        moved.names.push("edge-2".into());
        assert_ne!(Pki::open(&moved, NOW).unwrap().server.certificates, first.server.certificates);
        assert!(second.server_config().is_ok());
    }

    #[test]
    fn the_kubeconfig_keeps_its_token_until_it_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        let pki = Pki::open(&config(dir.path()), NOW).unwrap();
        pki.write_kubeconfig(&path, "https://127.0.0.1:1").unwrap();
        let first = Kubeconfig::read(&path).unwrap().unwrap();
        let admin = |pki: &Pki, token: &str| pki.authenticate_token(token, NOW, |_| true);
        assert!(admin(&pki, &first.token).unwrap().is_in("system:masters"));
        let pki = Pki::open(&config(dir.path()), NOW).unwrap();
        pki.write_kubeconfig(&path, "https://127.0.0.1:2").unwrap();
        let second = Kubeconfig::read(&path).unwrap().unwrap();
        assert_eq!(
            (first.token.as_str(), "https://127.0.0.1:2"),
            (second.token.as_str(), second.server.as_str())
        );
        std::fs::remove_file(&path).unwrap();
        pki.write_kubeconfig(&path, "https://127.0.0.1:2").unwrap();
        assert!(admin(&pki, &first.token).is_none());
        assert!(admin(&pki, "").is_none());
    }

    #[test]
    fn agents_exchange_their_token() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(&config(dir.path()), NOW).unwrap();
        let agent = std::fs::read_to_string(dir.path().join("agent-token")).unwrap();
        assert!(agent.starts_with(&pki.authority().digest().to_hex()));
        let token = pki.join(&agent, "b").unwrap().unwrap();
        assert!(pki.join("x.y", "c").unwrap().is_none());
        let pki = Pki::open(&config(dir.path()), NOW).unwrap();
        assert_eq!(pki.authenticate_token(&token, NOW, |_| true), Some(User::node("b")));
        let second = pki.join(&agent, "b").unwrap().unwrap();
        assert!(pki.authenticate_token(&token, NOW, |_| true).is_none());
        assert!(pki.authenticate_token(&second, NOW, |_| true).is_some());
        assert!(pki.authenticate_token(agent.trim(), NOW, |_| true).is_none());
    }

    #[test]
    fn a_bound_token_ends_with_what_it_is_bound_to() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(&config(dir.path()), NOW).unwrap();
        let token =
            pki.signer().sign(Bound { namespace: "n".into(), ..Bound::default() }, vec![], NOW, 60).unwrap();
        assert!(pki.authenticate_token(&token, NOW, |bound| bound.namespace == "n").is_some());
        assert!(pki.authenticate_token(&token, NOW, |_| false).is_none());
        assert!(pki.authenticate_token(&token, NOW + 3600, |_| true).is_none());
    }

    #[test]
    fn a_client_certificate_names_its_user() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(&config(dir.path()), NOW).unwrap();
        let pair = pki.authority().issue_client(&User::admin("alice"), NOW).unwrap();
        let user = pki.authenticate_certificate(&pair.chain().unwrap()[0]).unwrap();
        assert_eq!(user, User::admin("alice"));
    }
}
