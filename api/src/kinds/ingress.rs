//! Ingress: which host and path leads to which Service.

use crate::compact::object;
use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Generation, Kind, Subresource};
use crate::kinds::load_balancer::{self, LoadBalancerStatus};
use crate::meta;
use crate::meta::ObjectMeta;
use crate::name;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::{Value, json};

object! {
    /// An Ingress, as far as it is read here.
    struct Ingress {
        /// Metadata.
        metadata: ObjectMeta,
        /// What is wished.
        spec: IngressSpec,
        /// What is.
        status: IngressStatus,
    }

    /// What is wished of an Ingress.
    struct IngressSpec {
        /// Who serves it.
        ingress_class_name: Option<String>,
        /// Where everything else goes.
        default_backend: Option<IngressBackend>,
        /// Certificates.
        tls: Vec<IngressTls>,
        /// Routes.
        rules: Vec<IngressRule>,
    }

    /// A certificate.
    struct IngressTls {
        /// Hosts it is for.
        hosts: Vec<String>,
        /// The Secret it is in.
        secret_name: String,
    }

    /// Routes of a host.
    struct IngressRule {
        /// The host; `*.` matches one label; empty matches every host.
        host: String,
        /// Its paths.
        http: Option<HttpIngressRuleValue>,
    }

    /// Paths of a host.
    struct HttpIngressRuleValue {
        /// The paths.
        paths: Vec<HttpIngressPath>,
    }

    /// A path and where it goes.
    struct HttpIngressPath {
        /// The path.
        path: String,
        /// `Exact`, `Prefix` or `ImplementationSpecific`.
        path_type: Option<String>,
        /// Where it goes.
        backend: IngressBackend,
    }

    /// Where requests go.
    struct IngressBackend {
        /// To a Service.
        service: Option<IngressServiceBackend>,
    }

    /// A Service's port.
    struct IngressServiceBackend {
        /// The Service.
        name: String,
        /// Its port.
        port: ServiceBackendPort,
    }

    /// A port by name or number.
    struct ServiceBackendPort {
        /// The name.
        name: String,
        /// The number.
        number: i32,
    }

    /// What an Ingress is.
    struct IngressStatus {
        /// Where it is served.
        load_balancer: LoadBalancerStatus,
    }
}

/// The table entry.
pub static KIND: Kind = Kind {
    group: "networking.k8s.io",
    version: "v1",
    kind: "Ingress",
    plural: "ingresses",
    singular: "ingress",
    short_names: &["ing"],
    schema: "io.k8s.api.networking.v1.Ingress",
    subresources: &[Subresource::Status],
    generation: Generation::Spec,
    columns: &[
        Column::NAME,
        Column::new("Class", "string", "Who serves it."),
        Column::new("Hosts", "string", "The hosts it is for."),
        Column::new("Address", "string", "Where it is served."),
        Column::new("Ports", "string", "The ports it is served on."),
        Column::AGE,
    ],
    row,
    create: |ingress| fill::set(ingress, "status", json!({ "loadBalancer": {} })),
    checks,
    ..Kind::PLAIN
};

/// The older way to name a class.
pub const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

fn row(ingress: &Value, now: Timestamp) -> Vec<Value> {
    let class = match meta::text(ingress, &["spec", "ingressClassName"]) {
        "" => "<none>",
        class => class,
    };
    let tls = !meta::items(ingress, &["spec", "tls"]).is_empty();
    vec![
        meta::name(ingress).into(),
        class.into(),
        hosts(ingress).into(),
        load_balancer::addresses(ingress).into(),
        if tls { "80, 443" } else { "80" }.into(),
        time::age(meta::creation_timestamp(ingress), now).into(),
    ]
}

fn hosts(ingress: &Value) -> String {
    const SHOWN: usize = 3;
    let rules = meta::items(ingress, &["spec", "rules"]).iter();
    let hosts: Vec<&str> =
        rules.map(|rule| meta::text(rule, &["host"])).filter(|host| !host.is_empty()).collect();
    match hosts.len() {
        0 => "*".to_owned(),
        n if n > SHOWN => format!("{} + {} more...", hosts[..SHOWN].join(","), n - SHOWN),
        _ => hosts.join(","),
    }
}

fn checks(ingress: &At<'_>, errors: &mut Errors) {
    let spec = ingress.get("spec");
    let (rules, backend) = (spec.get("rules"), spec.get("defaultBackend"));
    if rules.is_empty() && !backend.is_set() {
        let why = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid(&spec.path, spec.value, why));
    }
    if backend.is_set() {
        self::backend(&backend, errors);
    }
    for rule in rules.items() {
        self::rule(&rule, errors);
    }
    for tls in spec.get("tls").items() {
        for host in tls.get("hosts").items() {
            host_name(&host, errors);
        }
        validate::optional_name(&tls.get("secretName"), name::dns1123_subdomain, errors);
    }
    validate::optional_name(&spec.get("ingressClassName"), name::dns1123_subdomain, errors);
}

fn rule(rule: &At<'_>, errors: &mut Errors) {
    let host = rule.get("host");
    if host.text().parse::<std::net::IpAddr>().is_ok() {
        errors.push(FieldError::invalid(&host.path, host.text(), "must be a DNS name, not an IP address"));
    } else if !host.text().is_empty() {
        host_name(&host, errors);
    }
    let http = rule.get("http");
    if !http.is_set() {
        return;
    }
    let paths = http.get("paths");
    if paths.is_empty() {
        errors.push(FieldError::required(&paths.path, ""));
    }
    for path in paths.items() {
        http_path(&path, errors);
    }
}

fn host_name(host: &At<'_>, errors: &mut Errors) {
    if host.text().contains('*') {
        validate::follows(host, name::wildcard_dns1123_subdomain, errors);
    } else {
        validate::follows(host, name::dns1123_subdomain, errors);
    }
}

const PATH_TYPES: &[&str] = &["Exact", "Prefix", "ImplementationSpecific"];

fn http_path(path: &At<'_>, errors: &mut Errors) {
    let (kind, value) = (path.get("pathType"), path.get("path"));
    if !kind.is_set() {
        errors.push(FieldError::required(&kind.path, "pathType must be specified"));
        return;
    }
    match kind.text() {
        "Exact" | "Prefix" => absolute_path(&value, errors),
        "ImplementationSpecific" => {
            if !value.text().is_empty() && !value.text().starts_with('/') {
                errors.push(FieldError::invalid(&value.path, value.text(), "must be an absolute path"));
            }
        }
        _ => errors.push(FieldError::not_supported(&kind.path, kind.value, PATH_TYPES)),
    }
    backend(&path.get("backend"), errors);
}

fn absolute_path(path: &At<'_>, errors: &mut Errors) {
    if !path.text().starts_with('/') {
        errors.push(FieldError::invalid(&path.path, path.text(), "must be an absolute path"));
    }
    for wrong in ["//", "/./", "/../", "%2f", "%2F"] {
        if path.text().contains(wrong) {
            let why = format!("must not contain '{wrong}'");
            errors.push(FieldError::invalid(&path.path, path.text(), &why));
        }
    }
    for wrong in ["/..", "/."] {
        if path.text().ends_with(wrong) {
            let why = format!("cannot end with '{wrong}'");
            errors.push(FieldError::invalid(&path.path, path.text(), &why));
        }
    }
}

fn backend(backend: &At<'_>, errors: &mut Errors) {
    let (service, resource) = (backend.get("service"), backend.get("resource"));
    match (service.is_set(), resource.is_set()) {
        (true, true) => {
            let why = "cannot set both resource and service backends";
            errors.push(FieldError::invalid(&backend.path, "", why));
        }
        (false, false) => {
            errors.push(FieldError::invalid(&backend.path, "", "resource or service backend is required"));
        }
        (false, true) => {}
        (true, false) => {
            validate::required_name(&service.get("name"), name::dns1035_label, errors);
            let port = service.get("port");
            let (name, number) = (port.get("name"), port.get("number"));
            match (!name.text().is_empty(), number.number().is_some_and(|n| n != 0)) {
                (true, true) => {
                    errors.push(FieldError::invalid(
                        &backend.path,
                        "",
                        "cannot set both port name & port number",
                    ));
                }
                (true, false) => validate::follows(&name, name::port_name, errors),
                (false, true) => validate::port(&number, errors),
                (false, false) => {
                    errors.push(FieldError::required(&backend.path, "port name or number is required"))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(spec: Value) -> Vec<String> {
        let ingress = json!({"metadata": {"name": "a", "namespace": "b"}, "spec": spec});
        KIND.validate(&ingress).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn routes_are_checked() {
        let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
        let good = json!({"rules": [{"host": "*.a.b", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]});
        assert_eq!(found(good), Vec::<String>::new());
        let cases = [
            (json!({}), "spec: Invalid value: {}: either `defaultBackend` or `rules` must be specified"),
            (
                json!({"rules": [{"host": "10.0.0.1"}]}),
                "spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address",
            ),
            (
                json!({"rules": [{"http": {"paths": [{"path": "/", "backend": backend}]}}]}),
                "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
            ),
            (
                json!({"rules": [{"http": {"paths": [{"path": "a", "pathType": "Exact", "backend": backend}]}}]}),
                "spec.rules[0].http.paths[0].path: Invalid value: \"a\": must be an absolute path",
            ),
            (
                json!({"rules": [{"http": {"paths": [{"path": "/", "pathType": "exact", "backend": backend}]}}]}),
                "spec.rules[0].http.paths[0].pathType: Unsupported value: \"exact\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\"",
            ),
            (
                json!({"defaultBackend": {"service": {"name": "web", "port": {}}}}),
                "spec.defaultBackend: Required value: port name or number is required",
            ),
            (
                json!({"defaultBackend": {"service": {"name": "web", "port": {"name": "http", "number": 80}}}}),
                "spec.defaultBackend: Invalid value: \"\": cannot set both port name & port number",
            ),
            (
                json!({"defaultBackend": {}}),
                "spec.defaultBackend: Invalid value: \"\": resource or service backend is required",
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(found(spec), [expected]);
        }
    }

    #[test]
    fn hosts_and_addresses_are_shown() {
        let ingress = json!({"metadata": {"name": "a"}, "spec": {"tls": [{}], "rules": [{"host": "a.b"}, {"host": "c.d"}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}, {"hostname": "x"}]}}});
        let row = row(&ingress, Timestamp::from_seconds(0));
        assert_eq!(row[1..5], ["<none>", "a.b,c.d", "10.0.0.1,x", "80, 443"]);
        assert_eq!(hosts(&json!({"spec": {"rules": [{}]}})), "*");
    }
}
