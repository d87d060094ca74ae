//! The pull side of the OCI distribution specification: manifests and blobs, with the token dance.

use std::collections::HashMap;

use edge_api::uri::encode_component;
use http::{StatusCode, header};
use parking_lot::Mutex;
use serde_json::Value;

use crate::client::dial;
use crate::image::blobs::Blobs;
use crate::image::credentials::{self, Credential};
use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::http::{Answer, FetchError, Fetcher};
use crate::image::manifest::{ACCEPT, Descriptor};
use crate::image::reference::{Repository, Select};

/// The largest manifest that the specification obliges registries to take.
const LARGEST_MANIFEST: usize = 4 << 20;
/// The largest token answer.
const LARGEST_TOKEN: usize = 1 << 20;

/// One image's repository, called with somebody's credentials.
pub struct Source<'a> {
    fetcher: &'a Fetcher,
    repository: &'a Repository,
    credentials: Vec<&'a Credential>,
    schemes: &'static [&'static str],
    /// What worked last: the authorisation and the scheme.
    session: Mutex<Session>,
}

#[derive(Clone, Default)]
struct Session {
    authorization: Option<String>,
    scheme: Option<&'static str>,
}

/// What a `WWW-Authenticate` header demands.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, query: Vec<(&'static str, String)> },
}

impl<'a> Source<'a> {
    /// `plain` lists registries that are spoken to without TLS.
    pub fn new(
        fetcher: &'a Fetcher,
        repository: &'a Repository,
        credentials: &'a [Credential],
        plain: &[String],
    ) -> Source<'a> {
        let host = repository.host();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let schemes: &[&str] = if plain.iter().any(|each| each == host) {
            &["http"]
        } else if dial::is_loopback(name) {
            &["https", "http"]
        } else {
            &["https"]
        };
        let credentials = credentials::select(credentials, &repository.registry, &repository.repository);
        Source { fetcher, repository, credentials, schemes, session: Mutex::default() }
    }

    /// The manifest that the reference names, checked against its digest where it names one.
    pub async fn manifest(&self) -> Result<(Digest, Vec<u8>), ImageError> {
        let (digest, bytes) = self.fetch_manifest(&self.repository.manifest()).await?;
        if let Select::Digest(wanted) = &self.repository.select
            && *wanted != digest
        {
            return Err(ImageError::Digest { what: "manifest", wanted: wanted.clone(), found: digest });
        }
        Ok((digest, bytes))
    }

    /// The manifest that an index points to.
    pub async fn pointed(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
        let (digest, bytes) = self.fetch_manifest(&descriptor.digest.to_string()).await?;
        if digest != descriptor.digest {
            return Err(ImageError::Digest {
                what: "manifest",
                wanted: descriptor.digest.clone(),
                found: digest,
            });
        }
        Ok(bytes)
    }

    async fn fetch_manifest(&self, reference: &str) -> Result<(Digest, Vec<u8>), ImageError> {
        let answer = self.get(&format!("manifests/{reference}"), ACCEPT).await?;
        let bytes = answer.collect(LARGEST_MANIFEST).await?.to_vec();
        Ok((Digest::of(&bytes), bytes))
    }

    /// Brings a blob into the store.
    pub async fn blob(&self, descriptor: &Descriptor, blobs: &Blobs) -> Result<(), ImageError> {
        let mut answer = self.get(&format!("blobs/{}", descriptor.digest), "*/*").await?;
        let mut incoming = blobs.begin(descriptor)?;
        while let Some(chunk) = answer.chunk().await? {
            incoming.write(&chunk)?;
        }
        incoming.finish()
    }

    /// GETs below `/v2/<repository>/`, answering a challenge once per credential.
    async fn get(&self, rest: &str, accept: &str) -> Result<Answer, ImageError> {
        let path = format!("/v2/{}/{rest}", self.repository.repository);
        let authorization = self.session.lock().authorization.clone();
        let mut answer = self.attempt(&path, accept, authorization.as_deref()).await?;
        if answer.response.status() == StatusCode::UNAUTHORIZED {
            let challenge =
                answer.response.headers().get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
            let challenge = challenge
                .and_then(Challenge::read)
                .ok_or_else(|| self.refused(StatusCode::UNAUTHORIZED, ""))?;
            answer = self.authorize(&challenge, &path, accept).await?;
        }
        let status = answer.response.status();
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let detail = answer.collect(64 << 10).await.unwrap_or_default();
        Err(self.refused(status, &first_error(&detail)))
    }

    /// Tries the credentials in order, then nobody's.
    async fn authorize(&self, challenge: &Challenge, path: &str, accept: &str) -> Result<Answer, ImageError> {
        let mut last = None;
        for credential in self.credentials.iter().copied().map(Some).chain([None]) {
            let Some(authorization) = self.answer(challenge, credential).await? else { continue };
            let answer = self.attempt(path, accept, Some(&authorization)).await?;
            let denied = matches!(answer.response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            if !denied {
                self.session.lock().authorization = Some(authorization);
                return Ok(answer);
            }
            last = Some(answer.response.status());
        }
        Err(self.refused(last.unwrap_or(StatusCode::UNAUTHORIZED), ""))
    }

    /// The authorisation that meets the challenge, if the credential can give one.
    async fn answer(
        &self,
        challenge: &Challenge,
        credential: Option<&Credential>,
    ) -> Result<Option<String>, ImageError> {
        let (realm, query) = match challenge {
            Challenge::Basic => return Ok(credential.map(Credential::basic)),
            Challenge::Bearer { realm, query } => (realm, query),
        };
        let pairs: HashMap<_, _> = query.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let scope = format!("repository:{}:pull", self.repository.repository);
        let mut url = format!("{realm}{}", if realm.contains('?') { '&' } else { '?' });
        if let Some(service) = pairs.get("service") {
            url.push_str(&format!("service={}&", encode_component(service)));
        }
        url.push_str(&format!("scope={}", encode_component(pairs.get("scope").unwrap_or(&scope.as_str()))));
        let basic = credential.map(Credential::basic);
        let answer = self.fetcher.get(&url, "application/json", basic.as_deref()).await?;
        if answer.response.status() != StatusCode::OK {
            return Ok(None);
        }
        let bytes = answer.collect(LARGEST_TOKEN).await?;
        let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let token = body["token"].as_str().or_else(|| body["access_token"].as_str());
        Ok(token.map(|token| format!("Bearer {token}")))
    }

    /// One request, over TLS if it can be; plain only where that is allowed.
    async fn attempt(
        &self,
        path: &str,
        accept: &str,
        authorization: Option<&str>,
    ) -> Result<Answer, FetchError> {
        let known = self.session.lock().scheme;
        let mut last = FetchError::Url(path.to_owned());
        for scheme in self.schemes.iter().filter(|scheme| known.is_none_or(|known| known == **scheme)) {
            let url = format!("{scheme}://{}{path}", self.repository.host());
            match self.fetcher.get(&url, accept, authorization).await {
                Err(error @ (FetchError::Connect { .. } | FetchError::Http { .. })) => last = error,
                Err(error) => return Err(error),
                Ok(answer) => {
                    self.session.lock().scheme = Some(scheme);
                    return Ok(answer);
                }
            }
        }
        Err(last)
    }

    fn refused(&self, status: StatusCode, detail: &str) -> ImageError {
        let name = self.repository.name();
        let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ImageError::Denied { name, status, detail },
            StatusCode::NOT_FOUND => ImageError::NotFound {
                what: format!("{name}{}", self.repository.select),
                place: self.repository.registry.clone(),
            },
            status => ImageError::Registry { name, status, detail },
        }
    }
}

/// The first of the errors that a registry describes.
fn first_error(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let error = &body["errors"][0];
    [error["code"].as_str(), error["message"].as_str()].into_iter().flatten().collect::<Vec<_>>().join(": ")
}

impl Challenge {
    fn read(header: &str) -> Option<Challenge> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut found = parameters(rest);
        let realm = found.remove("realm")?;
        let query =
            ["service", "scope"].into_iter().filter_map(|key| Some((key, found.remove(key)?))).collect();
        Some(Challenge::Bearer { realm, query })
    }
}

/// `key="value", key=value, …`; commas inside quotes belong to the value.
fn parameters(mut rest: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    while let Some((key, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let (value, remaining) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.insert(key.trim_matches([' ', ',']).to_ascii_lowercase(), value.trim().to_owned());
        rest = remaining;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let header =
            r#"Bearer realm="https://auth.io/token",service="r.io", scope="repository:a/b:pull,push""#;
        assert_eq!(
            Challenge::read(header),
            Some(Challenge::Bearer {
                realm: "https://auth.io/token".into(),
                query: vec![("service", "r.io".into()), ("scope", "repository:a/b:pull,push".into())]
            })
        );
        assert_eq!(Challenge::read("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::read("Negotiate"), None);
        assert_eq!(Challenge::read("Bearer service=\"x\""), None);
    }

    #[test]
    fn errors_say_what_the_registry_said() {
        assert_eq!(first_error(br#"{"errors":[{"code":"DENIED","message":"no"}]}"#), "DENIED: no");
        assert_eq!(first_error(b"oops"), "");
    }
}
