//! What a path means.

use std::borrow::Cow;

use edge_api::catalogue::Catalogue;
use edge_api::kind::{Kind, Subresource};
use edge_api::kinds;

use crate::custom_metrics;
use crate::http::query::{Plus, decode};
use crate::registry::Target;

/// An object or collection of objects.
#[derive(Clone)]
pub struct Place<'a> {
    /// The kind.
    pub kind: &'static Kind,
    /// The namespace, or empty.
    pub namespace: Cow<'a, str>,
    /// The name, or empty for a collection.
    pub name: Cow<'a, str>,
    /// The subresource, or empty.
    pub subresource: Cow<'a, str>,
    /// Whether the path itself asks for a watch, as old clients do.
    pub watch: bool,
}

impl Place<'_> {
    /// The same for the registry.
    pub fn target(&self) -> Target<'_> {
        Target {
            kind: self.kind,
            namespace: &self.namespace,
            name: &self.name,
            subresource: &self.subresource,
        }
    }
}

/// Where a request is to go.
#[derive(Clone)]
pub struct Passage<'a> {
    /// Pod or Service.
    pub kind: &'static Kind,
    /// The namespace.
    pub namespace: Cow<'a, str>,
    /// The name with what may stand around it: `scheme:name:port`.
    pub name: Cow<'a, str>,
    /// The path as it was sent; none if not even its slash was.
    pub path: Option<&'a str>,
}

/// A metric of objects.
#[derive(Clone)]
pub struct MetricPlace<'a> {
    /// The version of the group.
    pub version: Cow<'a, str>,
    /// The namespace.
    pub namespace: Cow<'a, str>,
    /// The resource of the objects, with its group.
    pub resource: Cow<'a, str>,
    /// The name of one, or `*`.
    pub name: Cow<'a, str>,
    /// The metric.
    pub metric: Cow<'a, str>,
}

/// What a path means.
pub enum Route<'a> {
    /// `/`
    Root,
    /// Objects.
    Objects(Place<'a>),
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/<group>`
    Group(Cow<'a, str>),
    /// `/api/v1` and `/apis/<group>/<version>`: group (empty for core) and version.
    Resources(Cow<'a, str>, Cow<'a, str>),
    /// `/openapi/v3`
    OpenApiIndex,
    /// `/openapi/v3/api/v1`, `/openapi/v3/apis/<group>/<version>`
    OpenApiGroup(Cow<'a, str>, Cow<'a, str>),
    /// `/openapi/v2`
    OpenApiV2,
    /// `/version`
    Version,
    /// `/healthz`, `/livez`, `/readyz`, and a single check of them.
    Health(&'static str, Cow<'a, str>),
    /// `/metrics`
    Metrics,
    /// `/.well-known/openid-configuration`
    Issuer,
    /// `/openid/v1/jwks`
    IssuerKeys,
    /// `/api/v1/nodes/<name>/proxy/<path>`: the node, and the path as it was sent.
    NodeProxy(Cow<'a, str>, &'a str),
    /// `/api/v1/namespaces/<namespace>/{pods,services}/<name>/proxy/<path>`
    PodProxy(Passage<'a>),
    /// `/debug/reconcilers`
    Reconcilers,
    /// `/statusz`
    Statusz,
    /// `/flagz`
    Flagz,
    /// `/debug/scheduler/why`
    Why,
    /// `/edgectl.dev/v1/join`
    Join,
    /// `/edgectl.dev/v1/nodes/<name>/tunnel`
    Tunnel(Cow<'a, str>),
    /// `/edgectl.dev/v1/nodes/<name>/wanted`
    Wanted(Cow<'a, str>),
    /// `/apis/custom.metrics.k8s.io/<version>/namespaces/<namespace>/<resource>/<name>/<metric>`
    CustomMetric(MetricPlace<'a>),
    /// Nothing that is served.
    Nothing,
}

impl<'a> Route<'a> {
    /// Reads a path, by the kinds that are served.
    pub fn parse(path: &'a str, catalogue: &Catalogue) -> Route<'a> {
        let parts: Vec<Cow<'a, str>> =
            path.split('/').filter(|part| !part.is_empty()).map(|part| decode(part, Plus::Plus)).collect();
        let words: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        let at = |i: usize| parts[i].clone();
        match words.as_slice() {
            [] => Route::Root,
            ["api"] => Route::CoreVersions,
            ["apis"] => Route::Groups,
            ["apis", _] => Route::Group(at(1)),
            ["api", _] => Route::Resources(Cow::Borrowed(""), at(1)),
            ["apis", _, _] => Route::Resources(at(1), at(2)),
            ["api", "v1", "nodes", _, "proxy", ..] => Route::NodeProxy(at(3), after(path, 5)),
            ["api", "v1", "namespaces", _, resource @ ("pods" | "services"), _, "proxy", ..] => {
                let kind = if *resource == "pods" { &kinds::pod::KIND } else { &kinds::service::KIND };
                let bare = words.len() == 7 && !path.ends_with('/');
                let path = Some(after(path, 7)).filter(|_| !bare);
                Route::PodProxy(Passage { kind, namespace: at(3), name: at(5), path })
            }
            ["apis", custom_metrics::GROUP, _, "namespaces", _, _, _, _] => {
                Route::CustomMetric(MetricPlace {
                    version: at(2),
                    namespace: at(4),
                    resource: at(5),
                    name: at(6),
                    metric: at(7),
                })
            }
            ["api", version, ..] => objects(catalogue, "", version, &parts[2..]),
            ["apis", group, version, ..] => objects(catalogue, group, version, &parts[3..]),
            ["openapi", "v3"] => Route::OpenApiIndex,
            ["openapi", "v3", "api", _] => Route::OpenApiGroup(Cow::Borrowed(""), at(3)),
            ["openapi", "v3", "apis", _, _] => Route::OpenApiGroup(at(3), at(4)),
            ["openapi", "v2"] => Route::OpenApiV2,
            ["version"] => Route::Version,
            ["healthz", ..] => Route::Health("healthz", rest(&parts)),
            ["livez", ..] => Route::Health("livez", rest(&parts)),
            ["readyz", ..] => Route::Health("readyz", rest(&parts)),
            ["metrics"] => Route::Metrics,
            [".well-known", "openid-configuration"] => Route::Issuer,
            ["openid", "v1", "jwks"] => Route::IssuerKeys,
            ["debug", "reconcilers"] => Route::Reconcilers,
            ["statusz"] => Route::Statusz,
            ["flagz"] => Route::Flagz,
            ["debug", "scheduler", "why"] => Route::Why,
            ["edgectl.dev", "v1", "join"] => Route::Join,
            ["edgectl.dev", "v1", "nodes", _, "tunnel"] => Route::Tunnel(at(3)),
            ["edgectl.dev", "v1", "nodes", _, "wanted"] => Route::Wanted(at(3)),
            _ => Route::Nothing,
        }
    }
}

/// What comes after so many parts of a path, as it is.
fn after(path: &str, parts: usize) -> &str {
    (0..parts).fold(path.trim_start_matches('/'), |rest, _| {
        rest.split_once('/').map_or("", |(_, rest)| rest.trim_start_matches('/'))
    })
}

fn rest<'a>(parts: &[Cow<'a, str>]) -> Cow<'a, str> {
    parts.get(1).cloned().unwrap_or_default()
}

fn objects<'a>(catalogue: &Catalogue, group: &str, version: &str, parts: &[Cow<'a, str>]) -> Route<'a> {
    let (watch, parts) = match parts {
        [first, others @ ..] if first == "watch" && !others.is_empty() => (true, others),
        parts => (false, parts),
    };
    let (namespace, parts) = match parts {
        [first, namespace, rest @ ..]
            if first == "namespaces" && !rest.is_empty() && !(group.is_empty() && is_of_namespace(rest)) =>
        {
            (namespace.clone(), rest)
        }
        parts => (Cow::Borrowed(""), parts),
    };
    let Some(kind) = parts.first().and_then(|plural| catalogue.by_resource(group, version, plural)) else {
        return Route::Nothing;
    };
    let part = |i: usize| parts.get(i).cloned().unwrap_or_default();
    let place = Place { kind, namespace, name: part(1), subresource: part(2), watch };
    let subresource_is_known = place.subresource.is_empty()
        || Subresource::from_name(&place.subresource).is_some_and(|subresource| kind.has(subresource));
    let named_in_no_namespace = kind.is_namespaced() && place.namespace.is_empty() && !place.name.is_empty();
    let scope_fits = kind.is_namespaced() || place.namespace.is_empty();
    if parts.len() > 3 || !subresource_is_known || named_in_no_namespace || !scope_fits {
        return Route::Nothing;
    }
    Route::Objects(place)
}

/// Whether what follows `namespaces/<name>` is a subresource of the namespace rather than a collection in it.
fn is_of_namespace(rest: &[Cow<'_, str>]) -> bool {
    matches!(rest, [word] if word == "status" || word == "finalize")
}

#[cfg(test)]
mod tests {
    use edge_api::catalogue::Catalogue;

    use super::Route;

    fn read(path: &str) -> String {
        match Route::parse(path, &Catalogue::default()) {
            Route::Objects(p) => {
                format!(
                    "{} {}/{}/{}{}",
                    p.kind.kind,
                    p.namespace,
                    p.name,
                    p.subresource,
                    if p.watch { " w" } else { "" }
                )
            }
            Route::Resources(group, version) => format!("resources {group}/{version}"),
            Route::Health(which, check) => format!("{which} {check}"),
            Route::Tunnel(node) => format!("tunnel {node}"),
            Route::NodeProxy(node, path) => format!("proxy {node} {path}"),
            Route::PodProxy(p) => {
                format!("proxy {} {}/{} {:?}", p.kind.kind, p.namespace, p.name, p.path)
            }
            Route::CustomMetric(p) => {
                format!("metric {} {}/{}/{}/{}", p.version, p.namespace, p.resource, p.name, p.metric)
            }
            Route::Nothing => "nothing".to_owned(),
            Route::Root => "root".to_owned(),
            _ => "other".to_owned(),
        }
    }

    #[test]
    fn paths_mean_what_kubernetes_says() {
        for (path, expected) in [
            ("/api/v1/namespaces", "Namespace //"),
            ("/api/v1/namespaces/a", "Namespace /a/"),
            ("/api/v1/namespaces/a/status", "Namespace /a/status"),
            ("/api/v1/namespaces/a/finalize", "Namespace /a/finalize"),
            ("/api/v1/namespaces/a/pods", "Pod a//"),
            ("/api/v1/namespaces/a/pods/b", "Pod a/b/"),
            ("/api/v1/namespaces/a/pods/b/log", "Pod a/b/log"),
            ("/api/v1/namespaces/a/pods/b/nothing", "nothing"),
            ("/api/v1/namespaces/a/pods/b/status/c", "nothing"),
            ("/api/v1/pods", "Pod //"),
            ("/api/v1/pods/b", "nothing"),
            ("/api/v1/nodes/n/status", "Node /n/status"),
            ("/api/v1/namespaces/a/nodes", "nothing"),
            ("/apis/apps/v1/namespaces/a/deployments/b/scale", "Deployment a/b/scale"),
            ("/apis/apps/v1/watch/namespaces/a/deployments", "Deployment a// w"),
            ("/apis/apps/v2/deployments", "nothing"),
            ("/api/v1", "resources /v1"),
            ("/apis/apps/v1", "resources apps/v1"),
            ("/readyz/ping", "readyz ping"),
            ("/edgectl.dev/v1/nodes/n%2e1/tunnel", "tunnel n.1"),
            ("/api/v1/nodes/n%2e1/proxy/metrics", "proxy n.1 metrics"),
            ("//api/v1//nodes/n/proxy/a%2fb/c", "proxy n a%2fb/c"),
            ("/api/v1/nodes/n/proxy", "proxy n "),
            ("/apis/custom.metrics.k8s.io/v1beta2", "resources custom.metrics.k8s.io/v1beta2"),
            ("/apis/custom.metrics.k8s.io/v1beta2/namespaces/a/pods/*/m", "metric v1beta2 a/pods/*/m"),
            ("/apis/custom.metrics.k8s.io/v1beta2/namespaces/a/pods", "nothing"),
            ("/", "root"),
            ("/nothing", "nothing"),
            ("/api/v1/namespaces/a/pods/b:80/proxy/c%2fd/", "proxy Pod a/b:80 Some(\"c%2fd/\")"),
            ("/api/v1/namespaces/a/services/http:b:web/proxy/", "proxy Service a/http:b:web Some(\"\")"),
            ("/api/v1/namespaces/a/services/b/proxy", "proxy Service a/b None"),
        ] {
            assert_eq!(read(path), expected, "{path}");
        }
    }
}
