//! Services and EndpointSlices.

use serde::Deserialize;
use serde_json::Value;

use crate::mirror::object::Shape;
use crate::mirror::selector::{Labels, Selector};

/// A Service.
#[derive(Clone, Debug)]
pub struct Service {
    /// `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`.
    pub kind: String,
    /// The Pods behind it; nothing for one whose endpoints somebody else keeps.
    pub selector: Selector,
    /// `None` makes it headless.
    pub cluster_ip: String,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Whether Pods that are not ready are published as ready.
    pub publish_not_ready: bool,
}

impl Service {
    /// Whether it has no address of its own.
    pub fn headless(&self) -> bool {
        self.cluster_ip == "None"
    }
}

/// A port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServicePort {
    /// Its name, empty for the only one.
    pub name: String,
    /// The number clients dial.
    pub port: i64,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The number or the name of the Pods' port; null for the same number.
    pub target_port: Value,
    /// What is spoken, such as `http`.
    pub app_protocol: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ServiceForm {
    spec: ServiceSpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ServiceSpec {
    r#type: String,
    selector: Labels,
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    ports: Vec<ServicePort>,
    publish_not_ready_addresses: bool,
}

impl Shape for Service {
    fn read(source: &[u8]) -> serde_json::Result<Service> {
        let ServiceForm { spec } = serde_json::from_slice(source)?;
        Ok(Service {
            kind: spec.r#type,
            selector: Selector::of_pairs(spec.selector),
            cluster_ip: spec.cluster_ip,
            ports: spec.ports,
            publish_not_ready: spec.publish_not_ready_addresses,
        })
    }
}

/// An EndpointSlice. Its endpoints are read from the source by the one controller that writes them.
#[derive(Clone, Debug)]
pub struct EndpointSlice {
    /// The Service it belongs to.
    pub service: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SliceForm {
    metadata: SliceMeta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SliceMeta {
    labels: Labels,
}

/// The label that names an EndpointSlice's Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl Shape for EndpointSlice {
    const LABELLED: bool = true;

    fn read(source: &[u8]) -> serde_json::Result<EndpointSlice> {
        let mut form: SliceForm = serde_json::from_slice(source)?;
        Ok(EndpointSlice { service: form.metadata.labels.remove(SERVICE_NAME) })
    }
}
