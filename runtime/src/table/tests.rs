#![allow(clippy::unwrap_used)]

use crate::table::{Form, HostPort, Origin, Protocol, Table, TableBuilder};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::net::SocketAddr;

fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn service(name: &str, ip: &str, spec: Value) -> Value {
    let mut service = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {
        "type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "sessionAffinity": "None",
        "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}]}});
    for (field, value) in spec.as_object().unwrap() {
        service["spec"][field] = value.clone();
    }
    service
}

/// A slice of endpoints written as `address[@node][!]`; `!` terminates but serves.
fn slice(service: &str, endpoints: &[&str]) -> Value {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|text| {
            let (text, lingers) = text.strip_suffix('!').map_or((*text, false), |text| (text, true));
            let (ip, node) = text.split_once('@').unwrap_or((text, "here"));
            json!({"addresses": [ip], "nodeName": node, "conditions":
                {"ready": !lingers, "serving": true, "terminating": lingers}})
        })
        .collect();
    json!({"metadata": {"name": format!("{service}-1"), "namespace": "shop",
            "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}]})
}

fn builder() -> TableBuilder {
    TableBuilder::new("here", "edgectl")
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn endpoints(table: &Table, to: &str) -> Vec<String> {
    let port = table.virtual_port(at(to), Protocol::Tcp).unwrap();
    let mut all: Vec<String> = port.candidates(Origin::Inside).map(|a| a.to_string()).collect();
    all.sort();
    all
}

#[test]
fn services_lead_to_ready_endpoints_else_to_lingering_ones() {
    let mut builder = builder();
    builder.apply_service(&typed(service("web", "10.43.0.5", json!({}))));
    let cases: &[(&[&str], &[&str])] = &[
        (&[], &[]),
        (&["10.42.0.2", "10.42.1.2@there"], &["10.42.0.2:8080", "10.42.1.2:8080"]),
        (&["10.42.0.2", "10.42.0.3!"], &["10.42.0.2:8080"]),
        (&["10.42.0.3!"], &["10.42.0.3:8080"]),
    ];
    for (given, want) in cases {
        builder.apply_endpoint_slice(&typed(slice("web", given)));
        assert_eq!(&endpoints(&builder.build(), "10.43.0.5:80"), want, "{given:?}");
    }
    builder.delete_endpoint_slice("shop", "web-1");
    assert!(endpoints(&builder.build(), "10.43.0.5:80").is_empty());
    builder.delete_service("shop", "web");
    let table = builder.build();
    assert!(table.virtual_port(at("10.43.0.5:80"), Protocol::Tcp).is_none());
    assert!(!table.has_namespace("shop") && table.service("web.shop").is_none());
}

#[test]
fn forms_are_told_apart() {
    let mut builder = builder();
    builder.apply_service(&typed(service("a", "10.43.0.5", json!({}))));
    builder.apply_service(&typed(service("b", "None", json!({}))));
    let external = json!({"type": "ExternalName", "externalName": "Db.Example."});
    builder.apply_service(&typed(service("c", "", external)));
    builder.apply_endpoint_slice(&typed(slice("b", &["10.42.0.2"])));
    let table = builder.build();
    assert_eq!(table.service("a.shop").unwrap().cluster_ips(), [at("10.43.0.5:0").ip()]);
    let headless = table.service("b.shop").unwrap();
    assert_eq!((&headless.form, headless.members.len()), (&Form::Headless, 1));
    assert_eq!(table.service("c.shop").unwrap().form, Form::External("db.example".into()));
    assert_eq!(*table.member_names(at("10.42.0.2:0").ip())[0], *"10-42-0-2.b.shop");
}

#[test]
fn a_changed_service_leaves_nothing_behind() {
    let mut builder = builder();
    let node_port = json!({"type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]});
    builder.apply_service(&typed(service("web", "10.43.0.5", node_port)));
    let first = builder.build();
    assert!(first.node_port(Protocol::Tcp, 30080).is_some());
    builder.apply_service(&typed(service("web", "10.43.0.6", json!({}))));
    let second = builder.build();
    assert!(second.node_port(Protocol::Tcp, 30080).is_none());
    assert_ne!(first.listeners_generation(), second.listeners_generation());
    assert!(second.service_at(at("10.43.0.5:0").ip()).is_none());
    assert!(first.service_at(at("10.43.0.5:0").ip()).is_some(), "old tables stay as they were");
    builder.apply_endpoint_slice(&typed(slice("web", &["10.42.0.2"])));
    assert_eq!(second.listeners_generation(), builder.build().listeners_generation());
}

#[test]
fn pods_bring_addresses_and_host_ports() {
    let pod = json!({"metadata": {"name": "a", "namespace": "shop"},
        "spec": {"nodeName": "here", "containers": [{"name": "c", "ports":
            [{"containerPort": 80, "hostPort": 8081, "protocol": "TCP"}]}]},
        "status": {"phase": "Running", "podIP": "10.42.0.2", "podIPs": [{"ip": "10.42.0.2"}]}});
    let mut builder = builder();
    builder.apply_pod(&typed(pod.clone()));
    let table = builder.build();
    assert!(table.pod_at(at("10.42.0.2:0").ip()).unwrap().local);
    let port = HostPort { ip: None, port: 8081, protocol: Protocol::Tcp };
    assert_eq!(table.host_port(&port), Some(at("10.42.0.2:80")));
    builder.apply_pod(&typed(pod.clone()));
    assert!(!builder.is_dirty(), "nothing of interest changed");
    let mut ended = pod;
    ended["status"]["phase"] = "Succeeded".into();
    builder.apply_pod(&typed(ended));
    let table = builder.build();
    assert!(table.pod_at(at("10.42.0.2:0").ip()).is_none() && table.host_port(&port).is_none());
}

fn ingress(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop",
        "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec})
}

fn rule(host: &str, path: &str, service: &str) -> Value {
    json!({"host": host, "http": {"paths": [{"path": path, "pathType": "Prefix",
        "backend": {"service": {"name": service, "port": {"name": "http"}}}}]}})
}

#[test]
fn ingresses_become_routes() {
    let mut builder = builder();
    builder.apply_service(&typed(service("web", "10.43.0.5", json!({}))));
    let ours = json!({"rules": [rule("a.example", "/", "web")]});
    builder.apply_ingress(&typed(ingress("a", ours)));
    let foreign = json!({"ingressClassName": "nginx", "rules": [rule("b.example", "/", "web")]});
    builder.apply_ingress(&typed(ingress("b", foreign)));
    let same = json!({"ingressClassName": "edgectl", "rules": [rule("a.example", "/", "late")]});
    builder.apply_ingress(&typed(ingress("late", same)));
    let table = builder.build();
    let backend = table.routes().find("a.example", "/x").unwrap();
    assert_eq!(&*backend.service, "web.shop");
    assert_eq!(table.backend(backend).unwrap().number, 80);
    assert!(table.routes().find("b.example", "/").is_none());
    builder.delete_ingress("shop", "a");
    let table = builder.build();
    assert_eq!(&*table.routes().find("a.example", "/").unwrap().service, "late.shop");
}

/// An autoscaler of this name that may scale to zero and looks at these objects.
fn scaler(name: &str, objects: &[(&str, &str)]) -> Value {
    let metrics = objects.iter().map(
        |(kind, name)| json!({"type": "Object", "object": {"describedObject": {"kind": kind, "name": name}}}),
    );
    json!({"metadata": {"name": name, "namespace": "shop"},
        "spec": {"minReplicas": 0, "metrics": metrics.collect::<Vec<_>>()},
        "status": {"desiredReplicas": 0, "conditions": [{"type": "ScaledToZero", "status": "True"}]}})
}

#[test]
fn services_know_the_autoscalers_that_requests_for_them_wake() {
    let mut builder = builder();
    for (name, ip) in [("web", "10.43.0.5"), ("late", "10.43.0.6")] {
        builder.apply_service(&typed(service(name, ip, json!({}))));
    }
    let backend = |name: &str| json!({"service": {"name": name, "port": {"number": 80}}});
    let ingress = |name: &str, to: &str| {
        json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {"rules": [{"host": "a.example",
            "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend(to)}]}}]}})
    };
    let wakers = |builder: &mut TableBuilder| {
        let table = builder.build();
        let names = |to: &str| table.virtual_port(at(to), Protocol::Tcp).unwrap().wakers.join(" ");
        (names("10.43.0.5:80"), names("10.43.0.6:80"))
    };
    let expected = |web: &str, late: &str| (web.to_owned(), late.to_owned());
    assert_eq!(wakers(&mut builder), expected("", ""));
    builder.apply_autoscaler(&typed(scaler("z", &[("Service", "web"), ("Deployment", "late")])));
    assert_eq!(wakers(&mut builder), expected("shop/z", ""));
    builder.apply_autoscaler(&typed(scaler("a", &[("Ingress", "door"), ("Service", "web")])));
    assert_eq!(wakers(&mut builder), expected("shop/a shop/z", ""));
    builder.apply_ingress(&typed(ingress("door", "late")));
    assert_eq!(wakers(&mut builder), expected("shop/a shop/z", "shop/a"));
    builder.apply_autoscaler(&typed(scaler("a", &[("Ingress", "door")])));
    assert!(builder.is_dirty());
    assert_eq!(wakers(&mut builder), expected("shop/z", "shop/a"));
    let mut restless = scaler("a", &[("Ingress", "door")]);
    restless["status"]["currentMetrics"] = json!([{"type": "Object"}]);
    builder.apply_autoscaler(&typed(restless.clone()));
    assert!(!builder.is_dirty(), "how it is measured concerns no route");
    restless["status"]["conditions"][0]["status"] = "False".into();
    builder.apply_autoscaler(&typed(restless));
    assert_eq!(wakers(&mut builder), expected("shop/z", ""), "somebody else has scaled it to zero");
    builder.delete_autoscaler("shop", "z");
    assert_eq!(wakers(&mut builder), expected("", ""));
}

#[test]
fn counters_stay_when_what_they_belong_to_changes() {
    let mut builder = builder();
    builder.apply_service(&typed(service("web", "10.43.0.5", json!({}))));
    let ingress = |host: &str| {
        let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
        json!({"metadata": {"name": "door", "namespace": "shop"}, "spec": {"rules": [{"host": host,
            "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]}})
    };
    builder.apply_ingress(&typed(ingress("a.example")));
    let table = builder.build();
    table.service("web.shop").unwrap().tally.count();
    table.virtual_port(at("10.43.0.5:80"), Protocol::Tcp).unwrap().tally.count();
    table.routes().find("a.example", "/").unwrap().tally.count();
    builder.apply_service(&typed(service("web", "10.43.0.6", json!({}))));
    builder.apply_ingress(&typed(ingress("b.example")));
    let table = builder.build();
    assert_eq!(table.service("web.shop").unwrap().tally.came(), 2);
    assert_eq!(table.routes().find("b.example", "/").unwrap().tally.came(), 1);
    let all: Vec<_> =
        table.ingress_tallies().map(|((_, name), tally)| (name.as_str(), tally.came())).collect();
    assert_eq!(all, [("door", 1)]);
    builder.delete_service("shop", "web");
    builder.build();
    builder.apply_service(&typed(service("web", "10.43.0.5", json!({}))));
    assert_eq!(builder.build().service("web.shop").unwrap().tally.came(), 0, "another of the same name");
}

#[test]
fn nodes_own_ranges() {
    let mut builder = builder();
    let node = json!({"metadata": {"name": "there"}, "spec": {"podCIDR": "10.42.1.0/24",
        "podCIDRs": ["10.42.1.0/24"]}});
    builder.apply_node(&typed(node));
    let table = builder.build();
    assert_eq!(table.node_of(at("10.42.1.9:0").ip()).map(|n| &**n), Some("there"));
    assert!(table.node_of(at("10.42.2.9:0").ip()).is_none());
}

/// Changes cost what they touch: every table beside the model built from nothing is the same.
#[test]
fn incremental_equals_built_at_once() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut incremental = builder();
    let mut services: Vec<Option<Value>> = vec![None; 8];
    let mut slices: Vec<Option<Value>> = vec![None; 8];
    for _ in 0..400 {
        let at = random.usize(0..8);
        let name = format!("s{at}");
        match random.u8(0..4) {
            0 => {
                services[at] = None;
                incremental.delete_service("shop", &name);
            }
            1 => {
                slices[at] = None;
                incremental.delete_endpoint_slice("shop", &format!("{name}-1"));
            }
            2 => {
                let ip = if random.bool() { format!("10.43.0.{}", at + 1) } else { "None".into() };
                let value = service(&name, &ip, json!({}));
                incremental.apply_service(&typed(value.clone()));
                services[at] = Some(value);
            }
            _ => {
                let ip = format!("10.42.0.{}", random.u8(2..9));
                let value = slice(&name, &[&ip]);
                incremental.apply_endpoint_slice(&typed(value.clone()));
                slices[at] = Some(value);
            }
        }
        let mut whole = builder();
        services.iter().flatten().for_each(|value| whole.apply_service(&typed(value.clone())));
        slices.iter().flatten().for_each(|value| whole.apply_endpoint_slice(&typed(value.clone())));
        assert_eq!(summary(&incremental.build()), summary(&whole.build()));
    }
}

fn summary(table: &Table) -> Vec<String> {
    let mut lines: Vec<String> = table
        .services()
        .map(|service| {
            let ports: Vec<_> = service.ports.iter().map(|port| &port.endpoints).collect();
            format!("{} {:?} {ports:?} {:?}", service.key, service.form, service.members)
        })
        .collect();
    for last in 1..10 {
        let ip = at(&format!("10.42.0.{last}:0")).ip();
        let mut names = table.member_names(ip).to_vec();
        names.sort();
        lines.push(format!("{ip} {names:?}"));
        let ip = at(&format!("10.43.0.{last}:0")).ip();
        lines.push(format!("{ip} {:?}", table.service_at(ip).map(|service| &service.key)));
    }
    lines.sort();
    lines
}
