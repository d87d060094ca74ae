//! Which Ingress backend a host and a path lead to, by Kubernetes' matching rules.

use crate::table::Tally;
use crate::table::service::PortReference;
use std::collections::HashMap;
use std::sync::Arc;

/// A Service's port as an Ingress names it.
#[derive(Debug, Clone)]
pub struct Backend {
    /// The Service's key, `<name>.<namespace>`.
    pub service: Arc<str>,
    /// Which of its ports.
    pub port: PortReference,
    /// How many requests came through the Ingress.
    pub tally: Tally,
}

/// How a path is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathType {
    /// The whole path, byte for byte.
    Exact,
    /// Element by element; `ImplementationSpecific` means this too.
    Prefix,
}

/// All routes of all Ingresses of this node.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    hosts: HashMap<Box<str>, Paths>,
    wildcards: HashMap<Box<str>, Paths>,
    any_host: Paths,
    fallback: Option<Arc<Backend>>,
}

/// The paths of one host, longest first.
#[derive(Debug, Clone, Default)]
struct Paths {
    exact: HashMap<Box<str>, Arc<Backend>>,
    prefixes: Vec<(Box<str>, Arc<Backend>)>,
    fallback: Option<Arc<Backend>>,
}

impl Routes {
    /// Adds a rule. What was added first stays where two rules say the same. `host` is empty,
    /// a name, or `*.` and a name.
    pub fn add(&mut self, host: &str, path_type: PathType, path: &str, backend: Arc<Backend>) {
        let paths = self.paths_mut(host);
        match path_type {
            PathType::Exact => {
                paths.exact.entry(path.into()).or_insert(backend);
            }
            PathType::Prefix => paths.add_prefix(path, backend),
        }
    }

    /// What a host answers where no path matches; with an empty host, what all others answer.
    pub fn add_fallback(&mut self, host: &str, backend: Arc<Backend>) {
        if host.is_empty() {
            self.fallback.get_or_insert(backend);
        } else {
            self.paths_mut(host).fallback.get_or_insert(backend);
        }
    }

    fn paths_mut(&mut self, host: &str) -> &mut Paths {
        let host = host.to_ascii_lowercase();
        match host.strip_prefix("*.") {
            Some(parent) => self.wildcards.entry(parent.into()).or_default(),
            None if host.is_empty() => &mut self.any_host,
            None => self.hosts.entry(host.into()).or_default(),
        }
    }

    /// The backend for a request. `host` carries no port; its case does not matter. The most
    /// specific host decides alone: an exact name, else `*.` over its parent, else rules without
    /// a host; then the longest path, exact before prefix.
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Backend>> {
        let lowered;
        let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lowered = host.to_ascii_lowercase();
            lowered.as_str()
        } else {
            host
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        self.paths_of(host).find(path).or(self.fallback.as_ref())
    }

    fn paths_of(&self, host: &str) -> &Paths {
        if let Some(paths) = self.hosts.get(host) {
            return paths;
        }
        let parent = host.split_once('.').map_or("", |(_, parent)| parent);
        self.wildcards.get(parent).unwrap_or(&self.any_host)
    }
}

impl Paths {
    fn add_prefix(&mut self, path: &str, backend: Arc<Backend>) {
        let path = path.trim_end_matches('/');
        let known = self.prefixes.iter().any(|(prefix, _)| &**prefix == path);
        if !known {
            let at = self.prefixes.partition_point(|(prefix, _)| prefix.len() >= path.len());
            self.prefixes.insert(at, (path.into(), backend));
        }
    }

    fn find(&self, path: &str) -> Option<&Arc<Backend>> {
        if !self.exact.is_empty()
            && let Some(backend) = self.exact.get(path)
        {
            return Some(backend);
        }
        let found = self.prefixes.iter().find(|(prefix, _)| has_prefix(path, prefix));
        found.map(|(_, backend)| backend).or(self.fallback.as_ref())
    }
}

/// `prefix` has no slash at its end; the empty one matches all.
fn has_prefix(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        || prefix.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(name: &str) -> Arc<Backend> {
        Arc::new(Backend { service: name.into(), port: PortReference::Number(80), tally: Tally::default() })
    }

    fn routes(rules: &[(&str, PathType, &str)]) -> Routes {
        let mut routes = Routes::default();
        for (host, path_type, path) in rules {
            routes.add(host, *path_type, path, backend(&format!("{host}{path}")));
        }
        routes
    }

    /// The table in Kubernetes' documentation of Ingress, "Examples".
    #[test]
    fn paths_match_as_kubernetes_documents() {
        use PathType::{Exact, Prefix};
        let cases: &[(PathType, &[&str], &str, Option<&str>)] = &[
            (Prefix, &["/"], "/anything", Some("/")),
            (Exact, &["/foo"], "/foo", Some("/foo")),
            (Exact, &["/foo"], "/bar", None),
            (Exact, &["/foo"], "/foo/", None),
            (Exact, &["/foo/"], "/foo", None),
            (Prefix, &["/foo"], "/foo", Some("/foo")),
            (Prefix, &["/foo"], "/foo/", Some("/foo")),
            (Prefix, &["/foo/"], "/foo", Some("/foo/")),
            (Prefix, &["/foo/"], "/foo/", Some("/foo/")),
            (Prefix, &["/aaa/bb"], "/aaa/bbb", None),
            (Prefix, &["/aaa/bbb"], "/aaa/bbb", Some("/aaa/bbb")),
            (Prefix, &["/aaa/bbb/"], "/aaa/bbb", Some("/aaa/bbb/")),
            (Prefix, &["/aaa/bbb"], "/aaa/bbb/", Some("/aaa/bbb")),
            (Prefix, &["/aaa/bbb"], "/aaa/bbb/ccc", Some("/aaa/bbb")),
            (Prefix, &["/aaa/bbb"], "/aaa/bbbxyz", None),
            (Prefix, &["/", "/aaa"], "/aaa/ccc", Some("/aaa")),
            (Prefix, &["/", "/aaa", "/aaa/bbb"], "/aaa/bbb", Some("/aaa/bbb")),
            (Prefix, &["/", "/aaa", "/aaa/bbb"], "/ccc", Some("/")),
            (Prefix, &["/aaa"], "/ccc", None),
        ];
        for (path_type, paths, request, want) in cases {
            let rules: Vec<_> = paths.iter().map(|path| ("", *path_type, *path)).collect();
            let routes = routes(&rules);
            let got = routes.find("any", request).map(|backend| &*backend.service);
            assert_eq!(got, *want, "{path_type:?} {paths:?} {request}");
        }
        let mut mixed = routes(&[("", Prefix, "/foo")]);
        mixed.add("", Exact, "/foo", backend("exact"));
        assert_eq!(&*mixed.find("h", "/foo").expect("a route").service, "exact");
    }

    #[test]
    fn the_most_specific_host_decides() {
        use PathType::Prefix;
        let mut routes = routes(&[
            ("foo.example", Prefix, "/only"),
            ("*.foo.example", Prefix, "/"),
            ("", Prefix, "/none"),
        ]);
        let cases = [
            ("foo.example", "/only", Some("foo.example/only")),
            ("FOO.Example", "/only", Some("foo.example/only")),
            ("foo.example", "/other", None),
            ("bar.foo.example", "/x", Some("*.foo.example/")),
            ("baz.bar.foo.example", "/x", None),
            ("else.where", "/none", Some("/none")),
        ];
        for (host, path, want) in cases {
            let got = routes.find(host, path).map(|backend| &*backend.service);
            assert_eq!(got, want, "{host}{path}");
        }
        routes.add_fallback("", backend("fallback"));
        assert_eq!(&*routes.find("foo.example", "/other").expect("set").service, "fallback");
    }
}
