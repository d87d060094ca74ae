//! EndpointSlice: addresses behind a Service.

use crate::compact::object;
use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Generation, Kind};
use crate::kinds::endpoints;
use crate::kinds::endpoints::ObjectReference;
use crate::meta;
use crate::meta::ObjectMeta;
use crate::name;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The label that names a slice's Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// The label that names who writes a slice.
pub const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";

/// An EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointSlice {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: String,
    /// The endpoints; written even when there are none, as Kubernetes does.
    #[serde(deserialize_with = "crate::compact::null_is_blank")]
    pub endpoints: Vec<Endpoint>,
    /// The ports, for every endpoint alike.
    #[serde(deserialize_with = "crate::compact::null_is_blank")]
    pub ports: Vec<EndpointPort>,
}

object! {
    /// One endpoint: a Pod, mostly.
    struct Endpoint {
        /// Its addresses; the first is used.
        addresses: Vec<String>,
        /// Whether it may be sent requests.
        conditions: EndpointConditions,
        /// Its host name under the Service's.
        hostname: Option<String>,
        /// Its Pod.
        target_ref: Option<ObjectReference>,
        /// Older labels of its place.
        deprecated_topology: BTreeMap<String, String>,
        /// Its node.
        node_name: Option<String>,
        /// Its zone.
        zone: Option<String>,
    }

    /// Whether an endpoint may be sent requests.
    struct EndpointConditions {
        /// It serves and does not end; absent counts as true.
        ready: Option<bool>,
        /// It serves; absent counts as `ready`.
        serving: Option<bool>,
        /// It ends; absent counts as false.
        terminating: Option<bool>,
    }
}

/// A port of a slice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointPort {
    /// Its name; an empty one is written as Kubernetes does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `TCP`, `UDP` or `SCTP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Its number; absent means every port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// What is spoken on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

/// The table entry.
pub static KIND: Kind = Kind {
    group: "discovery.k8s.io",
    version: "v1",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    schema: "io.k8s.api.discovery.v1.EndpointSlice",
    generation: Generation::Spec,
    columns: &[
        Column::NAME,
        Column::new("AddressType", "string", "The type of its addresses."),
        Column::new("Ports", "string", "Its ports."),
        Column::new("Endpoints", "string", "Its addresses."),
        Column::AGE,
    ],
    row,
    defaults,
    checks,
    update_checks,
    ..Kind::PLAIN
};

fn row(slice: &Value, now: Timestamp) -> Vec<Value> {
    let ports = meta::items(slice, &["ports"]).iter().map(|port| match meta::number(port, &["port"]) {
        Some(port) => port.to_string(),
        None => "*".to_owned(),
    });
    let endpoints = meta::items(slice, &["endpoints"]).iter();
    let addresses =
        endpoints.flat_map(|e| meta::items(e, &["addresses"])).filter_map(Value::as_str).map(str::to_owned);
    let ports: Vec<String> = ports.collect();
    vec![
        meta::name(slice).into(),
        meta::text(slice, &["addressType"]).into(),
        few(&ports, "<unset>").into(),
        few(&addresses.collect::<Vec<_>>(), "<unset>").into(),
        time::age(meta::creation_timestamp(slice), now).into(),
    ]
}

/// The first three, and how many more.
fn few(all: &[String], none: &str) -> String {
    const SHOWN: usize = 3;
    match all.len() {
        0 => none.to_owned(),
        n if n > SHOWN => format!("{} + {} more...", all[..SHOWN].join(","), n - SHOWN),
        _ => all.join(","),
    }
}

fn defaults(slice: &mut Value) {
    fill::each(slice, "ports", |port| {
        fill::absent(port, "name", "");
        fill::absent(port, "protocol", "TCP");
    });
}

const ADDRESS_TYPES: &[&str] = &["FQDN", "IPv4", "IPv6"];

fn checks(slice: &At<'_>, errors: &mut Errors) {
    validate::one_of(&slice.get("addressType"), ADDRESS_TYPES, errors);
    let endpoints = slice.get("endpoints");
    validate::at_most(&endpoints, 1000, errors);
    for endpoint in endpoints.items() {
        self::endpoint(&endpoint, slice.get("addressType").text(), errors);
    }
    let ports = slice.get("ports");
    validate::at_most(&ports, 20_000, errors);
    let mut names = Vec::new();
    for port in ports.items() {
        let name = port.get("name");
        validate::optional_name(&name, name::dns1123_label, errors);
        if names.contains(&name.text()) {
            errors.push(FieldError::duplicate(&name.path, name.text()));
        }
        names.push(name.text());
        validate::between(&port.get("port"), 1, 65535, errors);
        validate::one_of(&port.get("protocol"), &["TCP", "UDP", "SCTP"], errors);
    }
}

fn endpoint(endpoint: &At<'_>, address_type: &str, errors: &mut Errors) {
    let addresses = endpoint.get("addresses");
    if addresses.is_empty() {
        errors.push(FieldError::required(&addresses.path, "must contain at least 1 address"));
    }
    validate::at_most(&addresses, 100, errors);
    for address in addresses.items() {
        match address_type {
            "FQDN" => validate::follows(&address, name::dns1123_subdomain, errors),
            family => {
                endpoints::address_ip(&address, errors);
                let is_v6 = address.text().contains(':');
                let why = match family {
                    "IPv4" if is_v6 => "must be an IPv4 address",
                    "IPv6" if !is_v6 => "must be an IPv6 address",
                    _ => continue,
                };
                errors.push(FieldError::invalid(&address.path, address.text(), why));
            }
        }
    }
    validate::optional_name(&endpoint.get("hostname"), name::dns1123_label, errors);
}

fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    validate::immutable(&new.get("addressType"), &old.get("addressType"), errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_slice_is_checked() {
        let slice = json!({"metadata": {"name": "a", "namespace": "b"}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["fd42::1"]}, {"addresses": []}],
            "ports": [{"name": "", "port": 80, "protocol": "TCP"}, {"name": "", "port": 0, "protocol": "TCP"}]});
        let errors: Vec<String> = KIND.validate(&slice).iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "endpoints[0].addresses[0]: Invalid value: \"fd42::1\": must be an IPv4 address",
                "endpoints[1].addresses: Required value: must contain at least 1 address",
                "ports[1].name: Duplicate value: \"\"",
                "ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ]
        );
    }

    #[test]
    fn null_lists_are_empty() {
        let slice = json!({"addressType": "IPv4", "endpoints": null, "ports": null});
        let slice: EndpointSlice = meta::read(&slice).expect("other servers write null");
        assert_eq!(slice, EndpointSlice { address_type: "IPv4".to_owned(), ..EndpointSlice::default() });
        let endpoint: Endpoint = meta::read(&json!({"addresses": null, "zone": null})).expect("here too");
        assert_eq!(endpoint, Endpoint::default());
    }

    #[test]
    fn ports_and_addresses_are_shown() {
        let slice = json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1", "x"]}], "ports": [{"port": 80}, {}]});
        assert_eq!(row(&slice, Timestamp::from_seconds(0))[1..4], ["IPv4", "80,*", "10.0.0.1,x"]);
    }
}
