//! Who we are to a registry, from `imagePullSecrets`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::Value;

/// A name and a password for registries that match a pattern.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pattern: Pattern,
    /// The user's name.
    pub username: String,
    /// The user's password.
    pub password: String,
}

#[derive(Clone, PartialEq, Eq)]
struct Pattern {
    host: String,
    port: Option<String>,
    path: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({})", self.pattern.host)
    }
}

impl Credential {
    /// Whether it is meant for `registry/repository`.
    fn matches(&self, registry: &str, repository: &str) -> bool {
        let (host, port) = split_port(registry);
        let host = if host == "index.docker.io" { "docker.io" } else { host };
        labels_match(&self.pattern.host, host)
            && self.pattern.port.as_deref().is_none_or(|wanted| Some(wanted) == port)
            && path_matches(&self.pattern.path, repository)
    }

    /// The value of an `Authorization: Basic` header.
    pub fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.username, self.password)))
    }
}

/// The credentials of a Secret's decoded `.dockerconfigjson` or `.dockercfg`; malformed entries are left out.
pub fn read(document: &[u8]) -> Vec<Credential> {
    let Ok(document) = serde_json::from_slice::<Value>(document) else { return Vec::new() };
    let entries = document.get("auths").unwrap_or(&document);
    entries.as_object().into_iter().flatten().filter_map(|(key, entry)| credential(key, entry)).collect()
}

/// Those meant for `registry/repository`, the most specific first.
pub fn select<'a>(all: &'a [Credential], registry: &str, repository: &str) -> Vec<&'a Credential> {
    let mut found: Vec<_> = all.iter().filter(|each| each.matches(registry, repository)).collect();
    found.sort_by_key(|each| std::cmp::Reverse(each.pattern.path.len()));
    found
}

fn credential(key: &str, entry: &Value) -> Option<Credential> {
    let text = |field: &str| entry[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let (username, password) = match text("auth") {
        Some(auth) => {
            let auth = auth.trim();
            let bytes = STANDARD.decode(auth).or_else(|_| STANDARD_NO_PAD.decode(auth)).ok()?;
            let pair = String::from_utf8(bytes).ok()?;
            let (username, password) = pair.split_once(':')?;
            (username.to_owned(), password.trim_end_matches('\0').to_owned())
        }
        None => (text("username")?, text("password")?),
    };
    Some(Credential { pattern: Pattern::of(key), username, password })
}

impl Pattern {
    fn of(key: &str) -> Pattern {
        let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = split_port(authority);
        let host =
            if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host };
        let path = path.trim_matches('/');
        // Docker's own configuration keeps the API version in the key.
        let path = if matches!(path, "v1" | "v2") { "" } else { path };
        Pattern { host: host.to_owned(), port: port.map(str::to_owned), path: path.to_owned() }
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() => {
            (host, Some(port))
        }
        _ => (authority, None),
    }
}

/// Label by label; `*` stands for one label, or for the end of one.
fn labels_match(pattern: &str, host: &str) -> bool {
    let (pattern, host): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), host.split('.').collect());
    pattern.len() == host.len()
        && pattern.iter().zip(&host).all(|(wanted, found)| match wanted.split_once('*') {
            Some((front, back)) => {
                found.len() >= front.len() + back.len() && found.starts_with(front) && found.ends_with(back)
            }
            None => wanted.eq_ignore_ascii_case(found),
        })
}

fn path_matches(prefix: &str, repository: &str) -> bool {
    prefix.is_empty()
        || repository.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_formats() {
        let entry = json!({"auth": STANDARD.encode("me:secret:1")});
        for document in
            [json!({"auths": {"https://index.docker.io/v1/": entry}}), json!({"index.docker.io": entry})]
        {
            let read = read(document.to_string().as_bytes());
            let found = select(&read, "docker.io", "library/nginx");
            assert_eq!((found[0].username.as_str(), found[0].password.as_str()), ("me", "secret:1"));
            assert_eq!(found[0].basic(), "Basic bWU6c2VjcmV0OjE=");
        }
        let plain =
            read(br#"{"auths":{"r:5000":{"username":"u","password":"p"},"bad":{"auth":"!"},"x":{}}}"#);
        assert_eq!(plain.len(), 1);
        assert_eq!(select(&plain, "r:5000", "a").len(), 1);
        assert_eq!(select(&plain, "r:5001", "a").len(), 0);
        assert!(read(b"nonsense").is_empty());
    }

    #[test]
    fn the_most_specific_first() {
        let document = json!({"auths": {
            "ghcr.io": {"username": "host", "password": "p"},
            "ghcr.io/team": {"username": "team", "password": "p"},
            "*.example.com": {"username": "star", "password": "p"},
        }});
        let read = read(document.to_string().as_bytes());
        let names = |registry: &str, repository: &str| -> Vec<String> {
            select(&read, registry, repository).iter().map(|each| each.username.clone()).collect()
        };
        assert_eq!(names("ghcr.io", "team/app"), ["team", "host"]);
        assert_eq!(names("ghcr.io", "teams/app"), ["host"]);
        assert_eq!(names("a.example.com", "x"), ["star"]);
        assert!(names("a.b.example.com", "x").is_empty());
    }
}
