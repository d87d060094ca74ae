//! Endpoints: the older list of a Service's addresses.

use crate::compact::object;
use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Kind};
use crate::meta;
use crate::meta::ObjectMeta;
use crate::name;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::Value;

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
    columns: &[
        Column::NAME,
        Column::new("Endpoints", "string", "Addresses and ports that are ready."),
        Column::AGE,
    ],
    row,
    defaults,
    checks,
    ..Kind::PLAIN
};

fn row(endpoints: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(endpoints).into(),
        summary(endpoints).into(),
        time::age(meta::creation_timestamp(endpoints), now).into(),
    ]
}

/// `10.42.0.2:80,10.42.0.3:80 + 2 more...`
fn summary(endpoints: &Value) -> String {
    const SHOWN: usize = 3;
    let mut all = Vec::new();
    for subset in meta::items(endpoints, &["subsets"]) {
        let ports = meta::items(subset, &["ports"]);
        for address in meta::items(subset, &["addresses"]) {
            let ip = meta::text(address, &["ip"]);
            if ports.is_empty() {
                all.push(ip.to_owned());
            }
            for port in ports {
                all.push(host_and_port(ip, meta::number(port, &["port"]).unwrap_or(0)));
            }
        }
    }
    match all.len() {
        0 => "<none>".to_owned(),
        n if n > SHOWN => format!("{} + {} more...", all[..SHOWN].join(","), n - SHOWN),
        _ => all.join(","),
    }
}

/// An address and a port, IPv6 in brackets.
pub(super) fn host_and_port(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

fn defaults(endpoints: &mut Value) {
    fill::each(endpoints, "subsets", |subset| {
        fill::each(subset, "ports", |port| fill::blank(port, "protocol", "TCP"));
    });
}

fn checks(endpoints: &At<'_>, errors: &mut Errors) {
    for subset in endpoints.get("subsets").items() {
        let (ready, other) = (subset.get("addresses"), subset.get("notReadyAddresses"));
        if ready.is_empty() && other.is_empty() {
            let detail = "must specify `addresses` or `notReadyAddresses`";
            errors.push(FieldError::required(&subset.path, detail));
        }
        for address in ready.items().chain(other.items()) {
            address_ip(&address.get("ip"), errors);
            validate::optional_name(&address.get("hostname"), name::dns1123_label, errors);
        }
        let ports = subset.get("ports");
        for port in ports.items() {
            if ports.len() > 1 {
                validate::required(&port.get("name"), "", errors);
            }
            validate::optional_name(&port.get("name"), name::dns1123_label, errors);
            validate::port(&port.get("port"), errors);
            validate::one_of(&port.get("protocol"), &["TCP", "UDP", "SCTP"], errors);
        }
    }
}

/// An address that endpoints may have: not the host's own, not everybody's.
pub(super) fn address_ip(at: &At<'_>, errors: &mut Errors) {
    use std::net::IpAddr;
    validate::ip(at, errors);
    let Ok(ip) = at.text().parse::<IpAddr>() else { return };
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let rules = [
        (ip.is_unspecified(), "may not be unspecified (0.0.0.0 or ::)"),
        (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (ip.is_multicast(), "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ];
    for (_, why) in rules.into_iter().filter(|(broken, _)| *broken) {
        errors.push(FieldError::invalid(&at.path, at.text(), why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_are_summed_up() {
        let subset = |count: usize, ports: Value| {
            let addresses: Vec<Value> = (1..=count).map(|i| json!({"ip": format!("10.0.0.{i}")})).collect();
            json!({"subsets": [{"addresses": addresses, "ports": ports}]})
        };
        let cases = [
            (json!({}), "<none>"),
            (subset(1, json!([{"port": 80}])), "10.0.0.1:80"),
            (subset(2, json!([])), "10.0.0.1,10.0.0.2"),
            (subset(5, json!([{"port": 80}])), "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more..."),
            (json!({"subsets": [{"addresses": [{"ip": "fd42::1"}], "ports": [{"port": 1}]}]}), "[fd42::1]:1"),
        ];
        for (endpoints, expected) in cases {
            assert_eq!(summary(&endpoints), expected);
        }
    }

    #[test]
    fn the_host_s_own_addresses_are_refused() {
        let endpoints = json!({"metadata": {"name": "a", "namespace": "b"},
            "subsets": [{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": 80, "protocol": "TCP"}]}]});
        assert_eq!(
            KIND.validate(&endpoints)[0].to_string(),
            "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)"
        );
    }
}
