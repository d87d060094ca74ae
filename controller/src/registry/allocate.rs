//! Addresses and node ports of Services.
//!
//! What is taken is known in memory, read from the stored Services at start. A request reserves before it writes and
//! gives back what it reserved when the write does not happen, so that no two Services ever get the same, nothing
//! leaks over a crash, and there is nothing to keep beside the Services themselves.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use edge_api::error::FieldError;
use edge_api::kind::Kind;
use edge_api::meta::{self, items, number, text};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::registry::ApiError;
use crate::store::{RangeOptions, Store};

/// The first and last node port.
const NODE_PORTS: (u16, u16) = (30000, 32767);
/// How many addresses at the beginning of the range are only given to those who ask for them, at most.
const STATIC_BAND: u32 = 256;
/// Random tries before a free one is searched for in order.
const TRIES: usize = 64;

/// What Services have taken.
pub struct Services {
    range: Range,
    taken: Mutex<Taken>,
}

#[derive(Clone, Copy)]
struct Range {
    network: u32,
    prefix: u8,
}

#[derive(Default)]
struct Taken {
    addresses: HashMap<u32, String>,
    ports: HashMap<u16, String>,
}

/// Addresses and ports a Service has.
#[derive(Default, PartialEq, Eq)]
struct Holding {
    addresses: Vec<u32>,
    ports: Vec<u16>,
}

/// What was taken for a write that has not happened. Dropping it gives that back; [`Reservation::keep`] keeps it, and
/// gives back what the Service had before and has no more.
pub struct Reservation<'a> {
    services: &'a Services,
    owner: String,
    new: Holding,
    stale: Holding,
}

impl Services {
    /// What the stored Services have taken.
    pub fn of(store: &Store, range: (Ipv4Addr, u8)) -> Services {
        let mut taken = Taken::default();
        let page = store.range("/core/services/", &RangeOptions::default());
        for (_, stored) in page.map(|page| page.items).unwrap_or_default() {
            let service: Value = serde_json::from_slice(&stored.value).unwrap_or_default();
            let holding = Holding::of(&service);
            let owner = owner(&service);
            taken.addresses.extend(holding.addresses.iter().map(|address| (*address, owner.clone())));
            taken.ports.extend(holding.ports.iter().map(|port| (*port, owner.clone())));
        }
        let network = u32::from(range.0) & mask(range.1);
        Services { range: Range { network, prefix: range.1 }, taken: Mutex::new(taken) }
    }

    /// Gives a Service its addresses and ports; does nothing for other kinds.
    pub fn admit(
        &self,
        kind: &Kind,
        service: &mut Value,
        old: Option<&Value>,
    ) -> Result<Reservation<'_>, ApiError> {
        let mut reservation = Reservation {
            services: self,
            owner: owner(service),
            new: Holding::default(),
            stale: Holding::default(),
        };
        if !is_service(kind) {
            return Ok(reservation);
        }
        let before = old.map(Holding::of).unwrap_or_default();
        if let Some(old) = old {
            carry_over(service, old);
        }
        shape(service);
        self.take_addresses(service, &before, &mut reservation)
            .and_then(|()| self.take_ports(service, &before, &mut reservation))
            .map_err(|error| ApiError::invalid(kind, meta::name(service), &[error]))?;
        let after = Holding::of(service);
        reservation.stale = Holding {
            addresses: before.addresses.into_iter().filter(|a| !after.addresses.contains(a)).collect(),
            ports: before.ports.into_iter().filter(|p| !after.ports.contains(p)).collect(),
        };
        Ok(reservation)
    }

    /// Gives back what a deleted Service had; does nothing for other kinds.
    pub fn release(&self, kind: &Kind, service: &Value) {
        if is_service(kind) {
            self.give_back(&owner(service), &Holding::of(service));
        }
    }

    fn give_back(&self, owner: &str, holding: &Holding) {
        let mut taken = self.taken.lock();
        for address in &holding.addresses {
            if taken.addresses.get(address).is_some_and(|by| by == owner) {
                taken.addresses.remove(address);
            }
        }
        for port in &holding.ports {
            if taken.ports.get(port).is_some_and(|by| by == owner) {
                taken.ports.remove(port);
            }
        }
    }

    fn take_addresses(
        &self,
        service: &mut Value,
        before: &Holding,
        reservation: &mut Reservation<'_>,
    ) -> Result<(), FieldError> {
        let wished = text(service, &["spec", "clusterIP"]).to_owned();
        if text(service, &["spec", "type"]) == "ExternalName" || wished == "None" {
            return Ok(());
        }
        let mut taken = self.taken.lock();
        let address = if wished.is_empty() {
            let free = self.range.free(&taken.addresses);
            let full =
                || FieldError::internal("spec.clusterIPs", "failed to allocate a serviceIP: range is full");
            free.ok_or_else(full)?
        } else {
            let refuse = |why: String| {
                Err(FieldError::invalid(
                    "spec.clusterIPs",
                    wished.as_str(),
                    &format!("failed to allocate IP {wished}: {why}"),
                ))
            };
            let Ok(address) = wished.parse::<Ipv4Addr>() else {
                return refuse("not an IPv4 address".to_owned());
            };
            let address = u32::from(address);
            if before.addresses.contains(&address) {
                return Ok(());
            }
            if !self.range.holds(address) {
                return refuse(format!(
                    "the provided IP ({wished}) is not in the valid range. The range of valid IPs is {}",
                    self.range
                ));
            }
            if taken.addresses.contains_key(&address) {
                return refuse("provided IP is already allocated".to_owned());
            }
            address
        };
        taken.addresses.insert(address, reservation.owner.clone());
        reservation.new.addresses.push(address);
        let address = Ipv4Addr::from(address).to_string();
        service["spec"]["clusterIPs"] = json!([address]);
        service["spec"]["clusterIP"] = address.into();
        Ok(())
    }

    fn take_ports(
        &self,
        service: &mut Value,
        before: &Holding,
        reservation: &mut Reservation<'_>,
    ) -> Result<(), FieldError> {
        if !wants_node_ports(service) {
            return Ok(());
        }
        let mut taken = self.taken.lock();
        let mut own: HashMap<(u16, String), usize> = HashMap::new();
        let count = items(service, &["spec", "ports"]).len();
        for index in 0..count {
            let port = &mut service["spec"]["ports"][index];
            let field = format!("spec.ports[{index}].nodePort");
            let wished = number(port, &["nodePort"]).unwrap_or(0);
            let protocol = text(port, &["protocol"]).to_owned();
            let port_number = if wished == 0 {
                let free = free_port(&taken.ports);
                free.ok_or_else(|| {
                    FieldError::internal(&*field, "failed to allocate a nodePort: range is full")
                })?
            } else {
                in_node_range(&field, wished)?
            };
            let twice = own.insert((port_number, protocol), index).is_some();
            let mine = before.ports.contains(&port_number) || reservation.new.ports.contains(&port_number);
            if twice || !mine && taken.ports.contains_key(&port_number) {
                return Err(FieldError::invalid(field, wished, "provided port is already allocated"));
            }
            if !mine {
                taken.ports.insert(port_number, reservation.owner.clone());
                reservation.new.ports.push(port_number);
            }
            port["nodePort"] = port_number.into();
        }
        take_health_check_port(service, &mut taken, before, reservation)
    }
}

impl Reservation<'_> {
    /// The write has happened.
    pub fn keep(mut self) {
        self.new = Holding::default();
        self.services.give_back(&self.owner, &std::mem::take(&mut self.stale));
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.new != Holding::default() {
            self.services.give_back(&self.owner, &self.new);
        }
    }
}

impl Holding {
    fn of(service: &Value) -> Holding {
        let address = |ip: &Value| ip.as_str()?.parse::<Ipv4Addr>().ok().map(u32::from);
        let own = number(service, &["spec", "healthCheckNodePort"]);
        let ports = items(service, &["spec", "ports"]).iter().filter_map(|port| number(port, &["nodePort"]));
        let mut holding = Holding {
            addresses: items(service, &["spec", "clusterIPs"]).iter().filter_map(address).collect(),
            ports: ports
                .chain(own)
                .filter(|port| *port > 0)
                .filter_map(|port| u16::try_from(port).ok())
                .collect(),
        };
        holding.ports.sort_unstable();
        holding.ports.dedup();
        holding
    }
}

impl Range {
    fn holds(self, address: u32) -> bool {
        let last = self.network | !mask(self.prefix);
        address & mask(self.prefix) == self.network && address != self.network && address != last
    }

    /// A free address, outside the static band if possible.
    fn free(self, taken: &HashMap<u32, String>) -> Option<u32> {
        let size = !mask(self.prefix);
        let band = (size / 16).clamp(16, STATIC_BAND).min(size / 2);
        let is_free = |offset: &u32| !taken.contains_key(&(self.network + offset));
        let random = (0..TRIES).map(|_| fastrand::u32(band + 1..size.max(band + 2)));
        let offset = random
            .into_iter()
            .find(|offset| *offset < size && is_free(offset))
            .or_else(|| (band + 1..size).find(is_free))
            .or_else(|| (2..=band).rev().find(is_free))?;
        Some(self.network + offset)
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.network), self.prefix)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

fn is_service(kind: &Kind) -> bool {
    kind.kind == "Service" && kind.group.is_empty()
}

fn owner(service: &Value) -> String {
    format!("{}/{}", meta::namespace(service), meta::name(service))
}

fn wants_node_ports(service: &Value) -> bool {
    let wished = meta::at(service, &["spec", "allocateLoadBalancerNodePorts"]).and_then(Value::as_bool);
    match text(service, &["spec", "type"]) {
        "NodePort" => true,
        "LoadBalancer" => wished != Some(false),
        _ => false,
    }
}

fn in_node_range(field: &str, port: i64) -> Result<u16, FieldError> {
    let (first, last) = NODE_PORTS;
    u16::try_from(port).ok().filter(|port| (first..=last).contains(port)).ok_or_else(|| {
        let why =
            format!("provided port is not in the valid range. The range of valid ports is {first}-{last}");
        FieldError::invalid(field, port, &why)
    })
}

fn free_port(taken: &HashMap<u16, String>) -> Option<u16> {
    let (first, last) = NODE_PORTS;
    let random = (0..TRIES).map(|_| fastrand::u16(first..=last)).find(|port| !taken.contains_key(port));
    random.or_else(|| (first..=last).find(|port| !taken.contains_key(port)))
}

/// A LoadBalancer with local traffic is asked on a port of its own whether a node has endpoints.
fn take_health_check_port(
    service: &mut Value,
    taken: &mut Taken,
    before: &Holding,
    reservation: &mut Reservation<'_>,
) -> Result<(), FieldError> {
    let local = text(service, &["spec", "externalTrafficPolicy"]) == "Local";
    if text(service, &["spec", "type"]) != "LoadBalancer" || !local {
        return Ok(());
    }
    let field = "spec.healthCheckNodePort";
    let wished = number(service, &["spec", "healthCheckNodePort"]).unwrap_or(0);
    let port = match wished {
        0 => free_port(&taken.ports).ok_or_else(|| FieldError::internal(field, "no port is free"))?,
        wished => in_node_range(field, wished)?,
    };
    if before.ports.contains(&port) {
        return Ok(());
    }
    if taken.ports.contains_key(&port) {
        return Err(FieldError::invalid(field, wished, "provided port is already allocated"));
    }
    taken.ports.insert(port, reservation.owner.clone());
    reservation.new.ports.push(port);
    service["spec"]["healthCheckNodePort"] = port.into();
    Ok(())
}

/// What an update does not mention stays as it was given.
fn carry_over(service: &mut Value, old: &Value) {
    let external = |service: &Value| text(service, &["spec", "type"]) == "ExternalName";
    if !external(service) && !external(old) && text(service, &["spec", "clusterIP"]).is_empty() {
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(value) = meta::at(old, &["spec", field]) {
                service["spec"][field] = value.clone();
            }
        }
    }
    let (wants, wanted) = (wants_node_ports(service), wants_node_ports(old));
    let old_ports = items(old, &["spec", "ports"]);
    let Some(ports) = service["spec"].get_mut("ports").and_then(Value::as_array_mut) else { return };
    for port in ports.iter_mut().filter(|port| port.is_object()) {
        let same = |other: &&Value| {
            number(other, &["port"]) == number(port, &["port"])
                && text(other, &["protocol"]) == text(port, &["protocol"])
        };
        let before =
            old_ports.iter().find(same).and_then(|port| number(port, &["nodePort"])).filter(|p| *p != 0);
        let now = number(port, &["nodePort"]).filter(|p| *p != 0);
        if wants && wanted && now.is_none() {
            if let Some(before) = before {
                port["nodePort"] = before.into();
            }
        } else if !wants && wanted && now == before {
            port.as_object_mut().expect("filtered above").remove("nodePort");
        }
    }
}

/// Fields that follow from others.
fn shape(service: &mut Value) {
    let external = text(service, &["spec", "type"]) == "ExternalName";
    let cluster_ip = text(service, &["spec", "clusterIP"]).to_owned();
    let first = items(service, &["spec", "clusterIPs"])
        .first()
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let spec = meta::object_mut(service, "spec");
    if external {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec.remove(field);
        }
        return;
    }
    if cluster_ip.is_empty() && !first.is_empty() {
        spec.insert("clusterIP".to_owned(), first.into());
    } else if !cluster_ip.is_empty() && first.is_empty() {
        spec.insert("clusterIPs".to_owned(), json!([cluster_ip]));
    }
    let empty = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
    if spec.get("ipFamilies").is_none_or(empty) {
        spec.insert("ipFamilies".to_owned(), json!(["IPv4"]));
    }
    spec.entry("ipFamilyPolicy").or_insert("SingleStack".into());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use edge_api::kinds::service::KIND;
    use serde_json::{Value, json};

    use super::Services;
    use crate::store::Store;

    fn services(prefix: u8) -> Services {
        Services::of(&Store::in_memory(), (Ipv4Addr::new(10, 43, 0, 0), prefix))
    }

    fn service(name: &str, spec: Value) -> Value {
        json!({"metadata": {"namespace": "n", "name": name}, "spec": spec})
    }

    #[test]
    fn addresses_are_unique_and_come_back() {
        let services = services(29);
        let mut kept = Vec::new();
        for i in 0..5 {
            let mut s = service(&format!("s{i}"), json!({"type": "ClusterIP"}));
            services.admit(&KIND, &mut s, None).unwrap().keep();
            assert_eq!(s["spec"]["clusterIPs"][0], s["spec"]["clusterIP"]);
            kept.push(s);
        }
        let ips: std::collections::BTreeSet<_> =
            kept.iter().map(|s| s["spec"]["clusterIP"].to_string()).collect();
        assert_eq!(ips.len(), 5);
        assert!(!ips.contains("\"10.43.0.1\""));
        assert!(services.admit(&KIND, &mut service("x", json!({"type": "ClusterIP"})), None).is_err());
        services.release(&KIND, &kept[0]);
        drop(services.admit(&KIND, &mut service("y", json!({"type": "ClusterIP"})), None).unwrap());
        services.admit(&KIND, &mut service("z", json!({"type": "ClusterIP"})), None).unwrap().keep();
        assert!(services.admit(&KIND, &mut service("x", json!({"type": "ClusterIP"})), None).is_err());
    }

    #[test]
    fn a_wished_address_must_be_free_and_inside() {
        let services = services(16);
        let wish = |ip: &str| service("a", json!({"type": "ClusterIP", "clusterIP": ip}));
        services.admit(&KIND, &mut wish("10.43.0.1"), None).unwrap().keep();
        for (ip, why) in
            [("10.43.0.1", "already allocated"), ("10.44.0.1", "not in the valid range"), ("x", "IPv4")]
        {
            let error = services.admit(&KIND, &mut wish(ip), None).err().unwrap();
            assert!(error.message.contains(why), "{}", error.message);
        }
        let mut headless = wish("None");
        services.admit(&KIND, &mut headless, None).unwrap().keep();
        assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    }

    #[test]
    fn node_ports_stay_with_their_port_and_go_with_the_type() {
        let services = services(16);
        let ports = json!([{"port": 80, "protocol": "TCP"}, {"port": 80, "protocol": "UDP"}]);
        let mut first = service("a", json!({"type": "NodePort", "ports": ports}));
        services.admit(&KIND, &mut first, None).unwrap().keep();
        let port = first["spec"]["ports"][0]["nodePort"].as_i64().unwrap();
        assert!((30000..=32767).contains(&port));
        let mut again = service("a", json!({"type": "NodePort", "ports": ports}));
        services.admit(&KIND, &mut again, Some(&first)).unwrap().keep();
        assert_eq!(again["spec"], first["spec"]);
        let other = |n: i64| {
            service(
                "b",
                json!({"type": "NodePort", "ports": [{"port": 1, "protocol": "TCP", "nodePort": n}]}),
            )
        };
        assert!(services.admit(&KIND, &mut other(port), None).is_err());
        assert!(services.admit(&KIND, &mut other(80), None).is_err());
        let mut plain = again.clone();
        plain["spec"]["type"] = "ClusterIP".into();
        services.admit(&KIND, &mut plain, Some(&again)).unwrap().keep();
        assert!(plain["spec"]["ports"][0].get("nodePort").is_none());
        services.admit(&KIND, &mut other(port), None).unwrap().keep();
    }
}
