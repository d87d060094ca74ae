//! Endpoints: the older list of a Service's addresses.

use crate::compact::object;
use crate::kind::Kind;
use crate::meta::ObjectMeta;

object! {
    /// Endpoints, as far as they are read here.
    struct Endpoints {
        /// Metadata.
        metadata: ObjectMeta,
        /// The addresses.
        subsets: Vec<EndpointSubset>,
    }

    /// Every address with every port.
    struct EndpointSubset {
        /// Ready addresses.
        addresses: Vec<EndpointAddress>,
        /// Other addresses.
        not_ready_addresses: Vec<EndpointAddress>,
        /// Ports.
        ports: Vec<EndpointPort>,
    }

    /// An address.
    struct EndpointAddress {
        /// The address.
        ip: String,
        /// Its host name.
        hostname: String,
        /// Its node.
        node_name: Option<String>,
        /// Its Pod.
        target_ref: Option<ObjectReference>,
    }

    /// A port.
    struct EndpointPort {
        /// Its name.
        name: String,
        /// Its number.
        port: i32,
        /// `TCP`, `UDP` or `SCTP`.
        protocol: String,
        /// What is spoken on it.
        app_protocol: Option<String>,
    }

    /// A reference to an object.
    struct ObjectReference {
        /// Its kind.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its identity.
        uid: String,
        /// Its API version.
        api_version: String,
        /// Its revision.
        resource_version: String,
        /// The part that is meant, such as `spec.containers{web}`.
        field_path: String,
    }
}

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    schema: "io.k8s.api.core.v1.Endpoints",
    ..Kind::PLAIN
};
