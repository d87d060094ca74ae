//! Service: one name and address for many Pods.

use crate::compact::object;
use crate::error::FieldError;
use crate::fill;
use crate::int_or_string::IntOrString;
use crate::kind::{Column, Field, Kind, Subresource};
use crate::kinds::endpoints;
use crate::kinds::load_balancer::{self, LoadBalancerStatus};
use crate::meta;
use crate::meta::{Condition, ObjectMeta};
use crate::name;
use crate::name::NameRule;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::{Value, json};
use std::collections::BTreeMap;

object! {
    /// A Service, as far as it is read here.
    struct Service {
        /// Metadata.
        metadata: ObjectMeta,
        /// What is wished.
        spec: ServiceSpec,
        /// What is.
        status: ServiceStatus,
    }

    /// What is wished of a Service.
    struct ServiceSpec {
        /// `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`.
        #[serde(rename = "type")]
        type_: String,
        /// Its ports.
        ports: Vec<ServicePort>,
        /// Which Pods answer; empty if somebody else writes its endpoints.
        selector: BTreeMap<String, String>,
        /// Its address, or `None` for a headless Service.
        #[serde(rename = "clusterIP")]
        cluster_ip: String,
        /// Its addresses, one a family.
        #[serde(rename = "clusterIPs")]
        cluster_ips: Vec<String>,
        /// Further addresses of nodes.
        #[serde(rename = "externalIPs")]
        external_ips: Vec<String>,
        /// The name it is an alias of.
        external_name: String,
        /// `None` or `ClientIP`.
        session_affinity: String,
        /// Settings of the affinity.
        session_affinity_config: Option<Box<SessionAffinityConfig>>,
        /// `Cluster` or `Local`.
        external_traffic_policy: String,
        /// `Cluster` or `Local`.
        internal_traffic_policy: Option<String>,
        /// Port of the health check.
        health_check_node_port: i32,
        /// Whether names of Pods appear before they are ready.
        publish_not_ready_addresses: bool,
        /// `IPv4`, `IPv6`.
        ip_families: Vec<String>,
        /// `SingleStack`, `PreferDualStack` or `RequireDualStack`.
        ip_family_policy: Option<String>,
        /// Whether a LoadBalancer gets node ports.
        allocate_load_balancer_node_ports: Option<bool>,
        /// Who implements a LoadBalancer.
        load_balancer_class: Option<String>,
        /// The wished address of a LoadBalancer.
        #[serde(rename = "loadBalancerIP")]
        load_balancer_ip: String,
        /// Who may reach a LoadBalancer.
        load_balancer_source_ranges: Vec<String>,
        /// Which endpoints are preferred.
        traffic_distribution: Option<String>,
    }

    /// Settings of an affinity.
    struct SessionAffinityConfig {
        /// By the client's address.
        #[serde(rename = "clientIP")]
        client_ip: Option<ClientIpConfig>,
    }

    /// Affinity by the client's address.
    struct ClientIpConfig {
        /// How long it lasts; three hours if absent.
        timeout_seconds: Option<i32>,
    }

    /// A port of a Service.
    struct ServicePort {
        /// Its name.
        name: String,
        /// `TCP`, `UDP` or `SCTP`.
        protocol: String,
        /// What is spoken on it.
        app_protocol: Option<String>,
        /// Its number.
        port: i32,
        /// Number or name of the Pods' port.
        target_port: IntOrString,
        /// The port of every node that leads to it.
        node_port: i32,
    }

    /// What a Service is.
    struct ServiceStatus {
        /// Addresses of a LoadBalancer.
        load_balancer: LoadBalancerStatus,
        /// Conditions.
        conditions: Vec<Condition>,
    }
}

impl Service {
    /// Whether it has no address of its own.
    pub fn is_headless(&self) -> bool {
        self.spec.cluster_ip == "None"
    }
}

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    schema: "io.k8s.api.core.v1.Service",
    subresources: &[Subresource::Status, Subresource::Proxy],
    name_rule: NameRule::Label1035,
    columns: &[
        Column::NAME,
        Column::new("Type", "string", "How it is reached."),
        Column::new("Cluster-IP", "string", "Its address in the cluster."),
        Column::new("External-IP", "string", "Its addresses outside."),
        Column::new("Port(s)", "string", "Its ports."),
        Column::AGE,
        Column::wide("Selector", "string", "Which pods answer."),
    ],
    row,
    fields: &[
        Field::new("spec.clusterIP", &["spec", "clusterIP"]),
        Field::new("spec.type", &["spec", "type"]),
    ],
    defaults,
    create: |service| fill::set(service, "status", json!({ "loadBalancer": {} })),
    update: keep_allocated,
    checks,
    update_checks,
    ..Kind::PLAIN
};

fn row(service: &Value, now: Timestamp) -> Vec<Value> {
    let cluster_ip = match meta::text(service, &["spec", "clusterIP"]) {
        "" => {
            meta::items(service, &["spec", "clusterIPs"]).first().and_then(Value::as_str).unwrap_or("<none>")
        }
        address => address,
    };
    vec![
        meta::name(service).into(),
        meta::text(service, &["spec", "type"]).into(),
        cluster_ip.into(),
        external_ip(service).into(),
        ports_cell(service).into(),
        time::age(meta::creation_timestamp(service), now).into(),
        selector_cell(service).into(),
    ]
}

fn external_ip(service: &Value) -> String {
    let external: Vec<&str> =
        meta::items(service, &["spec", "externalIPs"]).iter().filter_map(Value::as_str).collect();
    let external = external.join(",");
    match meta::text(service, &["spec", "type"]) {
        "ExternalName" => meta::text(service, &["spec", "externalName"]).to_owned(),
        "LoadBalancer" => {
            let balancer = load_balancer::addresses(service);
            match (balancer.is_empty(), external.is_empty()) {
                (true, true) => "<pending>".to_owned(),
                (false, false) => format!("{balancer},{external}"),
                _ => balancer + &external,
            }
        }
        _ if external.is_empty() => "<none>".to_owned(),
        _ => external,
    }
}

fn ports_cell(service: &Value) -> String {
    let ports = meta::items(service, &["spec", "ports"]).iter().map(|port| {
        let number = meta::number(port, &["port"]).unwrap_or(0);
        let protocol = meta::text(port, &["protocol"]);
        match meta::number(port, &["nodePort"]).unwrap_or(0) {
            0 => format!("{number}/{protocol}"),
            node_port => format!("{number}:{node_port}/{protocol}"),
        }
    });
    let ports: Vec<String> = ports.collect();
    if ports.is_empty() { "<none>".to_owned() } else { ports.join(",") }
}

fn selector_cell(service: &Value) -> String {
    let pairs = meta::map(service, &["spec", "selector"]).into_iter().flatten();
    let pairs: Vec<String> = pairs.map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or(""))).collect();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") }
}

/// Three hours.
const AFFINITY_SECONDS: i64 = 10_800;

/// Addresses, node ports and families are given by admission.
fn defaults(service: &mut Value) {
    let Some(spec) = fill::object(service, "spec") else { return };
    fill::blank(spec, "type", "ClusterIP");
    fill::blank(spec, "sessionAffinity", "None");
    match meta::text(spec, &["sessionAffinity"]) {
        "ClientIP" => {
            if let Some(config) = fill::object(spec, "sessionAffinityConfig")
                && let Some(client) = fill::object(config, "clientIP")
            {
                fill::absent(client, "timeoutSeconds", AFFINITY_SECONDS);
            }
        }
        _ => drop(spec.as_object_mut().map(|spec| spec.remove("sessionAffinityConfig"))),
    }
    fill::each(spec, "ports", |port| {
        fill::blank(port, "protocol", "TCP");
        let blank = port.get("targetPort").is_none_or(|target| target == 0 || target == "");
        if blank && let Some(number) = port.get("port").cloned() {
            fill::set(port, "targetPort", number);
        }
    });
    let type_ = meta::text(spec, &["type"]).to_owned();
    if type_ != "ExternalName" {
        fill::absent(spec, "internalTrafficPolicy", "Cluster");
    }
    if matches!(type_.as_str(), "NodePort" | "LoadBalancer") {
        fill::blank(spec, "externalTrafficPolicy", "Cluster");
    }
    if type_ == "LoadBalancer" {
        fill::absent(spec, "allocateLoadBalancerNodePorts", true);
    }
    normalize_cluster_ips(spec);
}

/// The two names of one field say the same.
fn normalize_cluster_ips(spec: &mut Value) {
    let one = meta::text(spec, &["clusterIP"]).to_owned();
    let first = meta::items(spec, &["clusterIPs"]).first().and_then(Value::as_str).map(str::to_owned);
    match first {
        None if !one.is_empty() => fill::set(spec, "clusterIPs", json!([one])),
        Some(first) if one.is_empty() => fill::set(spec, "clusterIP", first),
        _ => {}
    }
}

/// A client that leaves out what was given to the Service keeps it, as long as it still needs it.
fn keep_allocated(new: &mut Value, old: &Value) {
    let text = |object: &Value, field: &str| meta::text(object, &["spec", field]).to_owned();
    let type_of = text(new, "type");
    let needs_address = |type_: &str| matches!(type_, "ClusterIP" | "NodePort" | "LoadBalancer");
    if !needs_address(&type_of) || !needs_address(&text(old, "type")) {
        return;
    }
    if text(new, "clusterIP").is_empty() {
        for field in ["clusterIP", "clusterIPs"] {
            copy(new, old, field);
        }
    }
    for field in ["ipFamilies", "ipFamilyPolicy"] {
        if meta::at(new, &["spec", field]).is_none() {
            copy(new, old, field);
        }
    }
    if matches!(type_of.as_str(), "NodePort" | "LoadBalancer") {
        keep_node_ports(new, old);
    }
}

fn copy(new: &mut Value, old: &Value, field: &str) {
    if let Some(value) = meta::at(old, &["spec", field]) {
        new["spec"][field] = value.clone();
    }
}

fn keep_node_ports(new: &mut Value, old: &Value) {
    let old_ports = meta::items(old, &["spec", "ports"]);
    fill::each(&mut new["spec"], "ports", |port| {
        let same =
            |one: &&Value| one.get("port") == port.get("port") && one.get("protocol") == port.get("protocol");
        if let Some(node_port) = old_ports.iter().find(same).and_then(|one| meta::number(one, &["nodePort"]))
        {
            fill::zero(port, "nodePort", node_port);
        }
    });
}

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

fn checks(service: &At<'_>, errors: &mut Errors) {
    let spec = service.get("spec");
    let type_ = spec.get("type");
    let headless = spec.get("clusterIP").text() == "None";
    let ports = spec.get("ports");
    if ports.is_empty() && !headless && type_.text() != "ExternalName" {
        errors.push(FieldError::required(&ports.path, ""));
    }
    if type_.text() == "LoadBalancer" && headless {
        let why = "may not be set to 'None' for LoadBalancer services";
        errors.push(FieldError::invalid(spec.field("clusterIPs[0]"), "None", why));
    }
    if type_.text() == "NodePort" && headless {
        let why = "may not be set to 'None' for NodePort services";
        errors.push(FieldError::invalid(spec.field("clusterIPs[0]"), "None", why));
    }
    if type_.text() == "ExternalName" {
        external_name(&spec, errors);
    }
    service_ports(&ports, type_.text(), errors);
    validate::labels(&spec.get("selector"), errors);
    validate::one_of(&spec.get("sessionAffinity"), &["ClientIP", "None"], errors);
    let timeout = spec.get("sessionAffinityConfig").get("clientIP").get("timeoutSeconds");
    if let Some(seconds) = timeout.number()
        && !(1..=86_400).contains(&seconds)
    {
        errors.push(FieldError::invalid(
            &timeout.path,
            seconds,
            "must be greater than 0 and less than 86400",
        ));
    }
    cluster_ips(&spec, errors);
    for address in spec.get("externalIPs").items() {
        endpoints::address_ip(&address, errors);
    }
    validate::one_of(&type_, TYPES, errors);
    let policies = ["externalTrafficPolicy", "internalTrafficPolicy"];
    for policy in policies.map(|field| spec.get(field)) {
        validate::optional_one_of(&policy, &["Cluster", "Local"], errors);
    }
    if spec.get("externalTrafficPolicy").is_set()
        && matches!(type_.text(), "ClusterIP" | "ExternalName")
        && spec.get("externalIPs").is_empty()
    {
        let field = spec.get("externalTrafficPolicy");
        let why = "may only be set for externally-accessible services";
        errors.push(FieldError::invalid(&field.path, field.value, why));
    }
}

fn external_name(spec: &At<'_>, errors: &mut Errors) {
    let addresses = spec.get("clusterIPs");
    if !addresses.is_empty() {
        errors.push(FieldError::forbidden(&addresses.path, "may not be set for ExternalName services"));
    }
    let name = spec.get("externalName");
    let trimmed = |text: &str| name::dns1123_subdomain(text.strip_suffix('.').unwrap_or(text));
    validate::follows(&name, trimmed, errors);
}

fn service_ports(ports: &At<'_>, type_: &str, errors: &mut Errors) {
    let mut names = Vec::new();
    let (mut seen, mut node_ports) = (Vec::new(), Vec::new());
    for port in ports.items() {
        let name = port.get("name");
        if ports.len() > 1 {
            validate::required(&name, "", errors);
        }
        validate::optional_name(&name, name::dns1123_label, errors);
        validate::unique(&name, &mut names, errors);
        let number = port.get("port");
        if let Err(why) = name::port_number(number.number().unwrap_or(0)) {
            errors.push(FieldError::invalid(&number.path, number.number().unwrap_or(0), &why));
        }
        validate::one_of(&port.get("protocol"), &["TCP", "UDP", "SCTP"], errors);
        validate::port_or_name(&port.get("targetPort"), errors);
        let node_port = port.get("nodePort");
        let wished = node_port.number().unwrap_or(0);
        if wished != 0 {
            if matches!(type_, "ClusterIP" | "ExternalName") {
                let detail = format!("may not be used when `type` is '{type_}'");
                errors.push(FieldError::forbidden(&node_port.path, &detail));
            }
            validate::between(&node_port, 1, 65535, errors);
            let pair = (wished, port.get("protocol").text());
            if node_ports.contains(&pair) {
                errors.push(FieldError::duplicate(&node_port.path, node_port.value));
            }
            node_ports.push(pair);
        }
        let pair = (number.number().unwrap_or(0), port.get("protocol").text());
        if seen.contains(&pair) {
            let shown = json!({ "port": pair.0, "protocol": pair.1 });
            errors.push(FieldError::duplicate(&port.path, &shown));
        }
        seen.push(pair);
    }
}

fn cluster_ips(spec: &At<'_>, errors: &mut Errors) {
    let addresses = spec.get("clusterIPs");
    let (one, first) = (spec.get("clusterIP"), addresses.get_index(0));
    if !addresses.is_empty() && first.text() != one.text() {
        let why = "first value must match `clusterIP`";
        errors.push(FieldError::invalid(&addresses.path, addresses.value, why));
    }
    if addresses.len() > 2 {
        let why = "may only hold up to 2 values";
        errors.push(FieldError::invalid(&addresses.path, addresses.value, why));
    }
    for address in addresses.items() {
        if address.text() == "None" {
            if addresses.len() > 1 {
                let why = "'None' must be the first and only value";
                errors.push(FieldError::invalid(&addresses.path, addresses.value, why));
            }
        } else {
            validate::ip(&address, errors);
        }
    }
    let families = spec.get("ipFamilies");
    for family in families.items() {
        validate::one_of(&family, &["IPv4", "IPv6"], errors);
    }
    let policy = spec.get("ipFamilyPolicy");
    validate::optional_one_of(&policy, &["SingleStack", "PreferDualStack", "RequireDualStack"], errors);
}

fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (new, old) = (new.get("spec"), old.get("spec"));
    if new.get("type").text() == "ExternalName" || old.get("type").text() == "ExternalName" {
        return;
    }
    let (new, old) = (new.get("clusterIPs"), old.get("clusterIPs"));
    let first = |list: &At<'_>| list.get_index(0).text().to_owned();
    if !old.is_empty() && first(&new) != first(&old) {
        let why =
            if new.is_empty() { "primary clusterIP can not be unset" } else { "may not change once set" };
        errors.push(FieldError::invalid(format!("{}[0]", new.path), new.value, why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;

    fn service(spec: Value) -> Value {
        let mut service = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec});
        KIND.default(&mut service);
        service
    }

    #[test]
    fn a_bare_service_gets_kubernetes_defaults() {
        let bare = service(json!({"ports": [{"port": 80}]}));
        let expected = json!({
            "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        });
        assert_eq!(bare["spec"], expected);
        let balancer =
            service(json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP", "clusterIP": "None",
            "ports": [{"port": 80, "targetPort": "http"}]}));
        let expected = json!({
            "type": "LoadBalancer", "sessionAffinity": "ClientIP", "internalTrafficPolicy": "Cluster",
            "externalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": true,
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
            "clusterIP": "None", "clusterIPs": ["None"],
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": "http"}],
        });
        assert_eq!(balancer["spec"], expected);
    }

    #[test]
    fn a_service_is_checked() {
        let cases = [
            (json!({}), vec!["spec.ports: Required value"]),
            (json!({"clusterIP": "None"}), vec![]),
            (
                json!({"ports": [{"port": 80}, {"port": 81}]}),
                vec!["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
            ),
            (
                json!({"ports": [{"port": 0}]}),
                vec![
                    "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                    "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
                ],
            ),
            (
                json!({"ports": [{"port": 80, "nodePort": 30000}]}),
                vec!["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
            ),
            (
                json!({"type": "X", "ports": [{"port": 80}]}),
                vec![
                    "spec.type: Unsupported value: \"X\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
                ],
            ),
            (
                json!({"clusterIP": "x", "ports": [{"port": 80}]}),
                vec![
                    "spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                ],
            ),
            (json!({"type": "ExternalName", "externalName": "a.b."}), vec![]),
            (
                json!({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]}),
                vec!["spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}"],
            ),
        ];
        for (spec, expected) in cases {
            let errors: Vec<String> = KIND.validate(&service(spec)).iter().map(ToString::to_string).collect();
            assert_eq!(errors, expected);
        }
    }

    #[test]
    fn what_was_given_is_kept() {
        let old = service(
            json!({"type": "NodePort", "clusterIP": "10.43.0.9", "ports": [{"port": 80, "nodePort": 30001}]}),
        );
        let mut new = service(json!({"type": "NodePort", "ports": [{"port": 80}]}));
        KIND.prepare_update(&mut new, &old, Target::Main);
        assert_eq!(new["spec"]["clusterIPs"], json!(["10.43.0.9"]));
        assert_eq!(new["spec"]["ports"][0]["nodePort"], 30001);
        assert_eq!(KIND.validate_update(&new, &old, Target::Main), []);
        let moved = service(json!({"type": "NodePort", "clusterIP": "10.43.0.8", "ports": [{"port": 80}]}));
        assert_eq!(
            KIND.validate_update(&moved, &old, Target::Main)[0].to_string(),
            "spec.clusterIPs[0]: Invalid value: [\"10.43.0.8\"]: may not change once set"
        );
    }

    #[test]
    fn rows_are_kubectl_s() {
        let cases = [
            (
                json!({"ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}], "clusterIP": "10.43.0.1", "selector": {"a": "b"}}),
                ["ClusterIP", "10.43.0.1", "<none>", "80/TCP,53/UDP", "<unknown>", "a=b"],
            ),
            (
                json!({"type": "LoadBalancer", "ports": [{"port": 80, "nodePort": 30000}], "clusterIP": "10.43.0.1"}),
                ["LoadBalancer", "10.43.0.1", "<pending>", "80:30000/TCP", "<unknown>", "<none>"],
            ),
            (
                json!({"type": "ExternalName", "externalName": "a.b"}),
                ["ExternalName", "<none>", "a.b", "<none>", "<unknown>", "<none>"],
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(row(&service(spec), Timestamp::from_seconds(0))[1..], expected);
        }
    }
}
