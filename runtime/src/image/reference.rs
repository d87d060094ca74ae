//! What a container's `image` may say: a registry's reference, an OCI layout on disk, or a file.

use std::fmt;

use crate::image::digest::Digest;

/// The registry of names without one.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Where that registry really answers.
const DEFAULT_REGISTRY_HOST: &str = "registry-1.docker.io";
/// The longest repository name that the distribution specification allows with its registry.
const LONGEST_NAME: usize = 255;

/// A parsed image reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// `[registry/]repository[:tag][@digest]`
    Registry(Repository),
    /// `oci-layout:PATH[:tag|@digest]`
    Layout {
        /// The directory.
        path: String,
        /// Which of its images.
        select: Select,
    },
    /// `file:PATH`
    File {
        /// The file.
        path: String,
    },
}

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// `host[:port]` as it is called; `docker.io` if the reference names none.
    pub registry: String,
    /// The repository's path.
    pub repository: String,
    /// Which of its images.
    pub select: Select,
}

/// Which image among several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Select {
    /// By tag.
    Tag(String),
    /// By the digest of its manifest.
    Digest(Digest),
    /// The only one (of a layout).
    Only,
}

/// Not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse image name {image:?}: {problem}")]
pub struct ReferenceError {
    image: String,
    problem: &'static str,
}

impl Reference {
    /// Reads a reference as a Pod names it.
    pub fn parse(image: &str) -> Result<Reference, ReferenceError> {
        let fail = |problem| ReferenceError { image: image.to_owned(), problem };
        if let Some(path) = image.strip_prefix("file:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return Ok(Reference::File { path: checked_path(path).map_err(fail)? });
        }
        if let Some(rest) = image.strip_prefix("oci-layout:") {
            let (path, select) = layout(rest).map_err(fail)?;
            return Ok(Reference::Layout { path: checked_path(path).map_err(fail)?, select });
        }
        repository(image).map(Reference::Registry).map_err(fail)
    }
}

impl Repository {
    /// The host to speak to.
    pub fn host(&self) -> &str {
        if self.registry == DEFAULT_REGISTRY { DEFAULT_REGISTRY_HOST } else { &self.registry }
    }

    /// What comes after `/manifests/`.
    pub fn manifest(&self) -> String {
        match &self.select {
            Select::Tag(tag) => tag.clone(),
            Select::Digest(digest) => digest.to_string(),
            Select::Only => "latest".to_owned(),
        }
    }

    /// `registry/repository`, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Registry(repository) => write!(f, "{}{}", repository.name(), repository.select),
            Reference::Layout { path, select } => write!(f, "oci-layout:{path}{select}"),
            Reference::File { path } => write!(f, "file:{path}"),
        }
    }
}

impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Select::Tag(tag) => write!(f, ":{tag}"),
            Select::Digest(digest) => write!(f, "@{digest}"),
            Select::Only => Ok(()),
        }
    }
}

fn checked_path(path: &str) -> Result<String, &'static str> {
    match path {
        "" => Err("it names no path"),
        path if path.contains('\0') => Err("its path contains a NUL byte"),
        path if path.split('/').any(|part| part == "..") => Err("its path must not contain '..'"),
        path => Ok(path.to_owned()),
    }
}

fn layout(rest: &str) -> Result<(&str, Select), &'static str> {
    if let Some((path, digest)) = rest.rsplit_once('@')
        && digest.contains(':')
    {
        return Ok((
            path,
            Select::Digest(Digest::parse(digest).ok_or("its digest is not sha256:<64 hex digits>")?),
        ));
    }
    match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => {
            if is_tag(tag) {
                Ok((path, Select::Tag(tag.to_owned())))
            } else {
                Err("its tag is invalid")
            }
        }
        _ => Ok((rest, Select::Only)),
    }
}

fn repository(image: &str) -> Result<Repository, &'static str> {
    const INVALID: &str = "invalid reference format";
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(Digest::parse(digest).ok_or(INVALID)?)),
        None => (image, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(INVALID);
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) && !name.contains('/') {
        return Err("invalid reference format: repository name must be lowercase");
    }
    let (registry, path) = split_registry(name);
    if registry.len() + path.len() >= LONGEST_NAME || !is_host(registry) {
        return Err(INVALID);
    }
    if path.is_empty() || !path.split('/').all(is_component) {
        let upper = path.bytes().any(|byte| byte.is_ascii_uppercase());
        return Err(if upper {
            "invalid reference format: repository name must be lowercase"
        } else {
            INVALID
        });
    }
    let bare = registry == DEFAULT_REGISTRY && !path.contains('/');
    let repository = if bare { format!("library/{path}") } else { path.to_owned() };
    let select = match (digest, tag) {
        (Some(digest), _) => Select::Digest(digest),
        (None, tag) => Select::Tag(tag.unwrap_or("latest").to_owned()),
    };
    Ok(Repository { registry: registry.to_owned(), repository, select })
}

/// The first part is a registry if it looks like a host: a dot, a port, or `localhost`.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':', '[']) || first == "localhost" => match first {
            "index.docker.io" => (DEFAULT_REGISTRY, rest),
            first => (first, rest),
        },
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let port_valid = port.is_none_or(|port| port.parse::<u16>().is_ok());
    if let Some(address) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return port_valid && address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    port_valid && name.split('.').all(label)
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().enumerate().all(|(index, byte)| word(byte) || index > 0 && matches!(byte, b'.' | b'-'))
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or any number of `-`.
fn is_component(component: &str) -> bool {
    let mut separator = String::new();
    let mut seen = false;
    for character in component.chars() {
        if character.is_ascii_lowercase() || character.is_ascii_digit() {
            let joined = match separator.as_str() {
                "" => true,
                "." | "_" | "__" => seen,
                other => seen && other.bytes().all(|byte| byte == b'-'),
            };
            if !joined {
                return false;
            }
            separator.clear();
            seen = true;
        } else {
            separator.push(character);
        }
    }
    seen && separator.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expect: &str) {
        assert_eq!(
            Reference::parse(input).map(|reference| reference.to_string()).as_deref(),
            Ok(expect),
            "{input}"
        );
    }

    #[test]
    fn registries() {
        let digest = Digest::of(b"x");
        check("nginx", "docker.io/library/nginx:latest");
        check("bitnami/nginx:1", "docker.io/bitnami/nginx:1");
        check("ghcr.io/a/b/c", "ghcr.io/a/b/c:latest");
        check("localhost/a", "localhost/a:latest");
        check("localhost:5000/a:v1", "localhost:5000/a:v1");
        check("127.0.0.1:5000/a__b/c-d.e:1.2_3-4", "127.0.0.1:5000/a__b/c-d.e:1.2_3-4");
        check("[::1]:5000/a", "[::1]:5000/a:latest");
        check(&format!("ghcr.io/a:tag@{digest}"), &format!("ghcr.io/a@{digest}"));
        let Ok(Reference::Registry(hub)) = Reference::parse("nginx") else {
            panic!("a registry's reference")
        };
        assert_eq!((hub.host(), hub.repository.as_str()), ("registry-1.docker.io", "library/nginx"));
    }

    #[test]
    fn paths() {
        let digest = Digest::of(b"x");
        check("file:guests/dist/a.wasm", "file:guests/dist/a.wasm");
        check("file:///abs/a.wasm", "file:/abs/a.wasm");
        check("oci-layout:images/a", "oci-layout:images/a");
        check("oci-layout:/images/a:v1", "oci-layout:/images/a:v1");
        check(&format!("oci-layout:a@{digest}"), &format!("oci-layout:a@{digest}"));
        check("oci-layout:we@ird/a", "oci-layout:we@ird/a");
    }

    #[test]
    fn invalid() {
        let long = "a".repeat(256);
        for bad in [
            "",
            ":tag",
            "a:",
            "UPPER",
            "ghcr.io/Upper",
            "a//b",
            "/a",
            "a/",
            "a b",
            "a:t@g",
            "a@sha256:12",
            "-a/b.",
            "a.-b",
            "a___b",
            "ghcr.io:port/a",
            "ghcr.io:99999/a",
            "a:-tag",
            "file:",
            "file:../a",
            "file:a/../../b",
            "oci-layout:",
            "oci-layout:a@sha256:1",
            "oci-layout:a:!",
            &long,
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
        let error = Reference::parse("NGINX").expect_err("upper case");
        assert!(error.to_string().contains("must be lowercase"), "{error}");
    }
}
