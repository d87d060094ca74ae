//! NetworkPolicy: who may speak with a Pod.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Generation, Kind};
use crate::meta;
use crate::name;
use crate::selector::LabelSelector;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::{Value, json};
use std::net::IpAddr;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "networking.k8s.io",
    version: "v1",
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    singular: "networkpolicy",
    short_names: &["netpol"],
    schema: "io.k8s.api.networking.v1.NetworkPolicy",
    generation: Generation::Spec,
    columns: &[Column::NAME, Column::new("Pod-Selector", "string", "The pods it is for."), Column::AGE],
    row,
    defaults,
    checks,
    ..Kind::PLAIN
};

fn row(policy: &Value, now: Timestamp) -> Vec<Value> {
    let selector = meta::LabelSelector::at(policy, &["spec", "podSelector"]).unwrap_or_default();
    let selector = match LabelSelector::from_meta(&selector) {
        Ok(selector) if selector.is_empty() => "<none>".to_owned(),
        Ok(selector) => selector.to_string(),
        Err(_) => "<error>".to_owned(),
    };
    vec![meta::name(policy).into(), selector.into(), time::age(meta::creation_timestamp(policy), now).into()]
}

fn defaults(policy: &mut Value) {
    let Some(spec) = fill::object(policy, "spec") else { return };
    fill::absent(spec, "podSelector", json!({}));
    for rules in ["ingress", "egress"] {
        fill::each(spec, rules, |rule| {
            fill::each(rule, "ports", |port| fill::blank(port, "protocol", "TCP"));
        });
    }
    if meta::items(spec, &["policyTypes"]).is_empty() {
        let egress = !meta::items(spec, &["egress"]).is_empty();
        let types = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
        fill::set(spec, "policyTypes", types);
    }
}

fn checks(policy: &At<'_>, errors: &mut Errors) {
    let spec = policy.get("spec");
    validate::label_selector(&spec.get("podSelector"), errors);
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.get(rules).items() {
            rule.get("ports").items().for_each(|port| self::port(&port, errors));
            rule.get(peers).items().for_each(|peer| self::peer(&peer, errors));
        }
    }
    let types = spec.get("policyTypes");
    if types.len() > 2 {
        let why = "may not specify more than two policyTypes";
        errors.push(FieldError::invalid(&types.path, types.value, why));
        return;
    }
    for type_ in types.items() {
        validate::one_of(&type_, &["Ingress", "Egress"], errors);
    }
}

fn port(at: &At<'_>, errors: &mut Errors) {
    validate::optional_one_of(&at.get("protocol"), &["TCP", "UDP", "SCTP"], errors);
    let (port, end) = (at.get("port"), at.get("endPort"));
    if port.is_set() {
        validate::port_or_name(&port, errors);
    }
    let Some(last) = end.number() else { return };
    let why = match port.value {
        Value::Null => "may not be specified when `port` is not specified".to_owned(),
        Value::String(_) => "may not be specified when `port` is non-numeric".to_owned(),
        _ if port.number().is_some_and(|first| last < first) => {
            "must be greater than or equal to `port`".to_owned()
        }
        _ => match name::port_number(last) {
            Ok(()) => return,
            Err(why) => why,
        },
    };
    errors.push(FieldError::invalid(&end.path, last, &why));
}

fn peer(peer: &At<'_>, errors: &mut Errors) {
    let (pods, namespaces, block) =
        (peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock"));
    let selects = pods.is_set() || namespaces.is_set();
    if pods.is_set() {
        validate::label_selector(&pods, errors);
    }
    if namespaces.is_set() {
        validate::label_selector(&namespaces, errors);
    }
    if block.is_set() {
        ip_block(&block, errors);
    }
    match (selects, block.is_set()) {
        (false, false) => errors.push(FieldError::required(&peer.path, "must specify a peer")),
        (true, true) => {
            let why = "may not specify both ipBlock and another peer";
            errors.push(FieldError::forbidden(&peer.path, why));
        }
        _ => {}
    }
}

fn ip_block(block: &At<'_>, errors: &mut Errors) {
    let cidr = block.get("cidr");
    if !validate::required(&cidr, "", errors) {
        return;
    }
    let Some(whole) = validate::cidr(&cidr, errors) else { return };
    for except in block.get("except").items() {
        let Some(part) = validate::cidr(&except, errors) else { continue };
        if !(part.1 > whole.1 && prefix(part.0, whole.1) == prefix(whole.0, whole.1)) {
            let why = "must be a strict subset of `cidr`";
            errors.push(FieldError::invalid(&except.path, except.text(), why));
        }
    }
}

/// The family of an address and its first bits.
fn prefix(address: IpAddr, length: u8) -> (bool, u128) {
    let (bits, width) = match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    (address.is_ipv4(), bits.checked_shr(width - u32::from(length).min(width)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(spec: Value) -> Vec<String> {
        let mut policy = json!({"metadata": {"name": "a", "namespace": "b"}, "spec": spec});
        KIND.default(&mut policy);
        KIND.validate(&policy).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn directions_are_those_that_have_rules() {
        let cases = [
            (json!({}), json!(["Ingress"])),
            (json!({"egress": [{}]}), json!(["Ingress", "Egress"])),
            (json!({"policyTypes": ["Egress"]}), json!(["Egress"])),
        ];
        for (spec, expected) in cases {
            let mut policy = json!({"metadata": {"name": "a"}, "spec": spec});
            KIND.default(&mut policy);
            assert_eq!(policy["spec"]["policyTypes"], expected);
            assert_eq!(policy["spec"]["podSelector"], json!({}));
        }
    }

    #[test]
    fn rules_are_checked() {
        let good = json!({"podSelector": {"matchLabels": {"a": "b"}}, "ingress": [{"from": [
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
            {"podSelector": {}, "namespaceSelector": {}}], "ports": [{"port": 80, "endPort": 90}, {"port": "http"}]}]});
        assert_eq!(found(good), Vec::<String>::new());
        let cases = [
            (
                json!({"ingress": [{"from": [{}]}]}),
                "spec.ingress[0].from[0]: Required value: must specify a peer",
            ),
            (
                json!({"egress": [{"to": [{"podSelector": {}, "ipBlock": {"cidr": "::/0"}}]}]}),
                "spec.egress[0].to[0]: Forbidden: may not specify both ipBlock and another peer",
            ),
            (
                json!({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}]}),
                "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
            ),
            (
                json!({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]}]}),
                "spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"10.0.0.0/33\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ),
            (
                json!({"ingress": [{"ports": [{"port": 80, "endPort": 79}]}]}),
                "spec.ingress[0].ports[0].endPort: Invalid value: 79: must be greater than or equal to `port`",
            ),
            (
                json!({"ingress": [{"ports": [{"port": "http", "endPort": 79}]}]}),
                "spec.ingress[0].ports[0].endPort: Invalid value: 79: may not be specified when `port` is non-numeric",
            ),
            (
                json!({"policyTypes": ["In"]}),
                "spec.policyTypes[0]: Unsupported value: \"In\": supported values: \"Egress\", \"Ingress\"",
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(found(spec), [expected]);
        }
    }
}
