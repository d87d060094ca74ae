//! Ingress: which host and path leads to which Service.

use crate::compact::object;
use crate::kind::{Generation, Kind, Subresource};
use crate::kinds::service::LoadBalancerStatus;
use crate::meta::ObjectMeta;

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
    ..Kind::PLAIN
};
