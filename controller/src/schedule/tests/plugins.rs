//! Each plugin, by what Kubernetes documents of it.

use serde_json::{Value, json};

use crate::schedule::tests::*;

fn two() -> [Value; 2] {
    [node("a", json!({})), node("b", json!({}))]
}

fn refused(message: &str, reason: &str) -> bool {
    message.starts_with("0/") && message.contains(reason)
}

fn term(app: &str, topology: &str) -> Value {
    json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": topology})
}

fn affinity(kind: &str, terms: Value) -> Value {
    json!({"containers": [], "affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": terms}}})
}

fn likes(kind: &str, term: Value) -> Value {
    json!({"containers": [], "affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution":
        [{"weight": 100, "podAffinityTerm": term}]}}})
}

#[test]
fn node_unschedulable_is_tolerated_by_daemons_only() {
    let cordoned = [node("a", json!({"unschedulable": true}))];
    assert!(refused(&decision(json!({}), &cordoned), "1 node(s) were unschedulable"));
    assert_eq!(decision(json!({"tolerations": [{"operator": "Exists"}]}), &cordoned), "a");
    let exactly = json!({"tolerations": [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists",
        "effect": "NoSchedule"}]});
    assert_eq!(decision(exactly, &cordoned), "a");
}

#[test]
fn taint_toleration_matches_key_value_and_effect_and_prefers_untainted_nodes() {
    let tainted = |effect: &str| node("a", json!({"taints": [{"key": "k", "value": "v", "effect": effect}]}));
    let tolerates = |toleration: Value| json!({"tolerations": [toleration]});
    let equal = json!({"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"});
    assert_eq!(decision(tolerates(equal.clone()), &[tainted("NoSchedule")]), "a");
    assert!(refused(
        &decision(tolerates(equal.clone()), &[tainted("NoExecute")]),
        "untolerated taint {k: v}"
    ));
    let other = json!({"key": "k", "operator": "Equal", "value": "w"});
    assert!(refused(&decision(tolerates(other), &[tainted("NoSchedule")]), "untolerated taint {k: v}"));
    assert_eq!(decision(tolerates(json!({"key": "k", "operator": "Exists"})), &[tainted("NoExecute")]), "a");
    assert_eq!(decision(json!({}), &[tainted("PreferNoSchedule")]), "a");
    assert_eq!(decision(json!({}), &[tainted("PreferNoSchedule"), node("b", json!({}))]), "b");
}

#[test]
fn node_affinity_needs_the_selector_and_one_of_the_terms() {
    let labelled = |name: &str, labels: Value| {
        let mut node = node(name, json!({}));
        for (key, value) in labels.as_object().unwrap() {
            node["metadata"]["labels"][key] = value.clone();
        }
        node
    };
    let required = |terms: Value| {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": terms}}}})
    };
    let nodes =
        [labelled("a", json!({"gpu": "no", "gen": "3"})), labelled("b", json!({"gpu": "yes", "gen": "7"}))];
    let expression = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    let cases = [
        (required(json!([expression("gpu", "In", json!(["yes"]))])), "b"),
        (required(json!([expression("gpu", "NotIn", json!(["yes"]))])), "a"),
        (required(json!([expression("gen", "Gt", json!(["5"]))])), "b"),
        (required(json!([expression("gen", "Lt", json!(["5"]))])), "a"),
        (
            required(json!([
                expression("none", "Exists", json!([])),
                expression("gpu", "In", json!(["yes"]))
            ])),
            "b",
        ),
        (
            required(json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}])),
            "b",
        ),
        (required(json!([expression("kubernetes.io/hostname", "NotIn", json!(["a"]))])), "b"),
        (json!({"nodeSelector": {"kubernetes.io/hostname": "b"}}), "b"),
        (json!({"nodeSelector": {"gpu": "yes"}}), "b"),
    ];
    for (spec, expected) in cases {
        assert_eq!(decision(spec.clone(), &nodes), expected, "{spec}");
    }
    let both = with(
        required(json!([expression("gpu", "In", json!(["yes"]))])),
        json!({"nodeSelector": {"gen": "3"}}),
    );
    assert!(refused(&decision(both, &nodes), "2 node(s) didn't match Pod's node affinity/selector"));
    let liked = |name: &str| {
        json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 10, "preference": {"matchFields":
                [{"key": "metadata.name", "operator": "In", "values": [name]}]}}]}}})
    };
    assert_eq!((decision(liked("a"), &nodes), decision(liked("b"), &nodes)), ("a".into(), "b".into()));
    assert_eq!(decision(with(liked("b"), json!({"nodeSelector": {"gpu": "no"}})), &nodes), "a");
}

#[test]
fn a_hostname_that_is_not_the_nodes_name_is_a_label_like_others() {
    let mut odd = node("b", json!({}));
    odd["metadata"]["labels"]["kubernetes.io/hostname"] = json!("elsewhere");
    let nodes = [node("a", json!({})), odd];
    assert_eq!(decision(json!({"nodeSelector": {"kubernetes.io/hostname": "elsewhere"}}), &nodes), "b");
    assert!(refused(
        &decision(json!({"nodeSelector": {"kubernetes.io/hostname": "b"}}), &nodes),
        "2 node(s) didn't"
    ));
}

#[test]
fn node_ports_conflict_by_protocol_and_address() {
    let port = |protocol: &str, ip: &str| {
        json!({"containers": [{"name": "c", "ports":
            [{"containerPort": 1, "hostPort": 80, "protocol": protocol, "hostIP": ip}]}]})
    };
    let reason = "1 node(s) didn't have free ports for the requested pod ports";
    let nodes = |taken: Value| [node("a", json!({})), pod("o", on("a", taken))];
    let cases = [
        (port("TCP", ""), port("TCP", ""), false),
        (port("TCP", ""), port("UDP", ""), true),
        (port("TCP", "10.0.0.1"), port("TCP", "10.0.0.2"), true),
        (port("TCP", "10.0.0.1"), port("TCP", "10.0.0.1"), false),
        (port("TCP", "10.0.0.1"), port("TCP", "0.0.0.0"), false),
        (port("TCP", ""), json!({"containers": [{"name": "c", "ports": [{"containerPort": 80}]}]}), true),
        (
            port("TCP", ""),
            json!({"hostNetwork": true, "containers": [{"name": "c", "ports": [{"containerPort": 80}]}]}),
            false,
        ),
    ];
    for (taken, wanted, fits) in cases {
        let said = decision(wanted.clone(), &nodes(taken.clone()));
        assert_eq!(said == "a", fits, "{taken} {wanted}: {said}");
        assert!(fits || refused(&said, reason), "{said}");
    }
}

#[test]
fn node_resources_fit_counts_init_containers_sidecars_overhead_and_extended_resources() {
    let mut large = node("a", json!({}));
    large["status"]["allocatable"]["example.com/widget"] = json!("2");
    large["status"]["allocatable"]["ephemeral-storage"] = json!("1Gi");
    let requests = |name: &str, amount: &str| json!({"name": "c", "resources": {"requests": {name: amount}}});
    let sidecar = |amount: &str| with(requests("cpu", amount), json!({"restartPolicy": "Always"}));
    let cases = [
        (json!({"containers": [requests("cpu", "1")], "initContainers": [requests("cpu", "2")]}), None),
        (
            json!({"containers": [requests("cpu", "1")], "initContainers": [requests("cpu", "3")]}),
            Some("cpu"),
        ),
        (json!({"containers": [requests("cpu", "1")], "initContainers": [sidecar("1")]}), None),
        (json!({"containers": [requests("cpu", "1")], "initContainers": [sidecar("1100m")]}), Some("cpu")),
        (json!({"containers": [requests("cpu", "2")], "overhead": {"cpu": "1m"}}), Some("cpu")),
        (json!({"containers": [requests("memory", "2Gi")]}), Some("memory")),
        (json!({"containers": [requests("ephemeral-storage", "2Gi")]}), Some("ephemeral-storage")),
        (json!({"containers": [requests("example.com/widget", "2")]}), None),
        (json!({"containers": [requests("example.com/widget", "3")]}), Some("example.com/widget")),
        (json!({"containers": [requests("example.com/gadget", "1")]}), Some("example.com/gadget")),
    ];
    for (spec, short) in cases {
        let said = decision(spec.clone(), std::slice::from_ref(&large));
        match short {
            None => assert_eq!(said, "a", "{spec}"),
            Some(name) => assert!(refused(&said, &format!("1 Insufficient {name}.")), "{spec}: {said}"),
        }
    }
}

#[test]
fn node_resources_are_packed_or_spread() {
    let nodes = [two().to_vec(), vec![pod("o", on("b", asks("500m", "100Mi")))]].concat();
    assert_eq!(decision(asks("500m", "100Mi"), &nodes), "b");
    let all = [nodes, vec![pod("p", asks("500m", "100Mi"))]].concat();
    assert_eq!(decisions_in(&spreading_world(&all))["p"], "a");
    // Of empty nodes the smaller one is the fuller with the Pod on it.
    let mut large = node("a", json!({}));
    large["status"]["allocatable"] = json!({"cpu": "8", "memory": "4Gi", "pods": "3"});
    let sizes = [large, node("b", json!({})), pod("p", asks("500m", "100Mi"))];
    assert_eq!(decisions_in(&world(&sizes))["p"], "b");
    assert_eq!(decisions_in(&spreading_world(&sizes))["p"], "a");
    // What asks for nothing counts for a little.
    let mut empty = vec![pod("o", on("b", json!({"containers": [{"name": "c"}]})))];
    empty.extend(two());
    empty.push(pod("p", json!({"containers": [{"name": "c"}]})));
    assert_eq!(decisions_in(&world(&empty))["p"], "b");
    assert_eq!(decisions_in(&spreading_world(&empty))["p"], "a");
}

#[test]
fn pod_affinity_needs_a_pod_in_the_same_place() {
    let nodes = [zoned("a", "x"), zoned("b", "y"), zoned("c", "y"), labelled("db", "db", on("c", json!({})))];
    let near = |topology: &str| affinity("podAffinity", json!([term("db", topology)]));
    assert_eq!(decision(near("kubernetes.io/hostname"), &nodes), "c");
    assert_eq!(decision(near("zone"), &nodes), "b");
    let elsewhere = with(near("zone"), json!({"nodeSelector": {"zone": "x"}}));
    assert!(refused(&decision(elsewhere, &nodes), "1 node(s) didn't match pod affinity rules"));
    assert!(refused(&decision(near("nothing"), &nodes), "3 node(s) didn't match pod affinity rules"));
}

#[test]
fn the_first_pod_of_a_group_that_wants_to_be_together_goes_anywhere() {
    let together = affinity("podAffinity", json!([term("web", "zone")]));
    let objects = [
        zoned("a", "x"),
        zoned("b", "y"),
        labelled("w0", "web", together.clone()),
        labelled("w1", "web", with(together.clone(), json!({"nodeSelector": {"zone": "y"}}))),
        labelled("other", "other", together),
    ];
    let decided = decisions(&objects);
    assert_eq!(decided["w0"], "a");
    // The others go where it is or nowhere, and one that is of another group is no first.
    for name in ["w1", "other"] {
        assert!(refused(&decided[name], "didn't match pod affinity rules"), "{name}: {decided:?}");
    }
}

#[test]
fn all_terms_of_pod_affinity_must_be_met_by_the_same_pods() {
    let mut both = labelled("both", "db", on("b", json!({})));
    both["metadata"]["labels"]["tier"] = json!("fast");
    let nodes = [zoned("a", "x"), zoned("b", "y"), labelled("db", "db", on("a", json!({}))), both];
    let fast = json!({"labelSelector": {"matchLabels": {"tier": "fast"}}, "topologyKey": "zone"});
    assert_eq!(decision(affinity("podAffinity", json!([term("db", "zone"), fast])), &nodes), "b");
}

#[test]
fn pod_anti_affinity_keeps_apart_and_holds_both_ways() {
    let apart = affinity("podAntiAffinity", json!([term("web", "zone")]));
    let one = [zoned("a", "x"), labelled("w", "web", on("a", json!({})))];
    assert!(refused(&decision(apart.clone(), &one), "1 node(s) didn't match pod anti-affinity rules"));
    let shy = [zoned("a", "x"), labelled("shy", "shy", on("a", apart.clone()))];
    let said = placed(labelled("p", "web", json!({})), &shy);
    assert!(refused(&said, "1 node(s) didn't satisfy existing pods anti-affinity rules"), "{said}");
    assert_eq!(placed(labelled("p", "other", json!({})), &shy), "a");
    // Pods of one batch keep apart as well.
    let nodes = [zoned("a", "x"), zoned("b", "y")];
    let three = (0..3).map(|i| labelled(&format!("w{i}"), "web", apart.clone()));
    let decided = decisions(&nodes.iter().cloned().chain(three).collect::<Vec<_>>());
    assert_eq!((decided["w0"].as_str(), decided["w1"].as_str()), ("a", "b"));
    assert!(refused(&decided["w2"], "2 node(s) didn't match pod anti-affinity rules"));
}

#[test]
fn pod_affinity_looks_into_its_own_namespace_unless_told_otherwise() {
    let mut db = labelled("db", "db", on("b", json!({})));
    db["metadata"]["namespace"] = json!("data");
    let nodes =
        [namespace("data", "blue"), namespace("default", "red"), zoned("a", "x"), zoned("b", "y"), db];
    let near = |more: Value| affinity("podAffinity", json!([with(term("db", "zone"), more)]));
    assert!(refused(&decision(near(json!({})), &nodes), "2 node(s) didn't match pod affinity rules"));
    for more in [
        json!({"namespaces": ["data"]}),
        json!({"namespaceSelector": {}}),
        json!({"namespaceSelector": {"matchLabels": {"team": "blue"}}}),
    ] {
        assert_eq!(decision(near(more.clone()), &nodes), "b", "{more}");
    }
    let red = json!({"namespaceSelector": {"matchLabels": {"team": "red"}}});
    assert!(refused(&decision(near(red), &nodes), "2 node(s) didn't match"));
}

#[test]
fn match_label_keys_take_the_pods_own_values() {
    let web = |name: &str, hash: &str, spec: Value| {
        let mut pod = labelled(name, "web", spec);
        pod["metadata"]["labels"]["hash"] = json!(hash);
        pod
    };
    let nodes = [zoned("a", "x"), zoned("b", "y"), web("old", "1", on("a", json!({})))];
    let apart = |more: Value| affinity("podAntiAffinity", json!([with(term("web", "zone"), more)]));
    assert_eq!(placed(web("p", "2", apart(json!({"matchLabelKeys": ["hash"]}))), &nodes), "a");
    assert_eq!(placed(web("p", "1", apart(json!({"matchLabelKeys": ["hash"]}))), &nodes), "b");
    assert_eq!(placed(web("p", "2", apart(json!({"mismatchLabelKeys": ["hash"]}))), &nodes), "b");
    assert_eq!(placed(web("p", "1", apart(json!({"mismatchLabelKeys": ["hash"]}))), &nodes), "a");
}

#[test]
fn preferred_pod_affinity_attracts_and_anti_affinity_repels_both_ways() {
    for topology in ["zone", "kubernetes.io/hostname"] {
        let there = |spec: Value| [zoned("a", "x"), zoned("b", "y"), labelled("db", "db", on("b", spec))];
        let plain = there(json!({}));
        assert_eq!(decision(likes("podAffinity", term("db", topology)), &plain), "b");
        assert_eq!(decision(likes("podAntiAffinity", term("db", topology)), &plain), "a");
        let me = || labelled("p", "web", json!({}));
        assert_eq!(placed(me(), &there(likes("podAffinity", term("web", topology)))), "b");
        assert_eq!(placed(me(), &there(likes("podAntiAffinity", term("web", topology)))), "a");
    }
}

fn spread(when: &str, topology: &str, more: Value) -> Value {
    let constraint = json!({"maxSkew": 1, "topologyKey": topology, "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": {"app": "web"}}});
    json!({"containers": [], "topologySpreadConstraints": [with(constraint, more)]})
}

fn webs(counts: &[(&str, usize)]) -> Vec<Value> {
    let of = |(node, count): &(&str, usize)| -> Vec<Value> {
        (0..*count).map(|i| labelled(&format!("{node}-{i}"), "web", on(node, json!({})))).collect()
    };
    counts.iter().flat_map(of).collect()
}

#[test]
fn topology_spread_keeps_the_skew() {
    for topology in ["zone", "kubernetes.io/hostname"] {
        let nodes = |counts: &[(&str, usize)]| {
            [vec![zoned("a", "x"), zoned("b", "y"), zoned("c", "z")], webs(counts)].concat()
        };
        let web = |more: Value| labelled("p", "web", spread("DoNotSchedule", topology, more));
        assert_eq!(placed(web(json!({})), &nodes(&[("a", 1), ("b", 1)])), "c");
        assert_eq!(placed(web(json!({"maxSkew": 2})), &nodes(&[("a", 1), ("b", 2)])), "a");
        let only_b = |more: Value| {
            let mut pod = web(more);
            pod["spec"]["nodeSelector"] = json!({"zone": "y"});
            pod
        };
        // Only nodes that the Pod may use count, unless all do.
        assert_eq!(placed(only_b(json!({})), &nodes(&[("b", 3)])), "b");
        let said = placed(only_b(json!({"nodeAffinityPolicy": "Ignore"})), &nodes(&[("b", 3)]));
        assert!(refused(&said, "1 node(s) didn't match pod topology spread constraints"), "{said}");
        // A Pod that is not counted itself does not add to the skew.
        let other = labelled("p", "other", spread("DoNotSchedule", topology, json!({})));
        assert_eq!(placed(other, &nodes(&[("a", 1)])), "a");
        // Too few places: the emptiest counts as empty.
        let said = placed(web(json!({"minDomains": 4})), &nodes(&[("a", 1), ("b", 1), ("c", 1)]));
        assert!(refused(&said, "3 node(s) didn't match pod topology spread constraints"), "{said}");
        assert_eq!(placed(web(json!({"minDomains": 3})), &nodes(&[("a", 1), ("b", 1), ("c", 1)])), "a");
    }
}

#[test]
fn topology_spread_counts_tainted_nodes_unless_told_otherwise() {
    let mut tainted = zoned("b", "y");
    tainted["spec"]["taints"] = json!([{"key": "k", "effect": "NoSchedule"}]);
    let nodes = [vec![zoned("a", "x"), tainted], webs(&[("a", 1)])].concat();
    let web = |more: Value| labelled("p", "web", spread("DoNotSchedule", "zone", more));
    let said = placed(web(json!({})), &nodes);
    assert!(refused(&said, "1 node(s) didn't match pod topology spread constraints"), "{said}");
    assert_eq!(placed(web(json!({"nodeTaintsPolicy": "Honor"})), &nodes), "a");
}

#[test]
fn topology_spread_passes_by_nodes_without_the_label_and_pods_that_leave() {
    let reason = "1 node(s) didn't match pod topology spread constraints (missing required label)";
    let web = || labelled("p", "web", spread("DoNotSchedule", "zone", json!({})));
    let said = placed(web(), &[node("a", json!({}))]);
    assert!(refused(&said, reason), "{said}");
    let mut leaving = webs(&[("a", 1)]);
    leaving[0]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(placed(web(), &[vec![zoned("a", "x"), zoned("b", "y")], leaving].concat()), "a");
    let by_version = json!({"matchLabelKeys": ["hash"]});
    let mut new = labelled("p", "web", spread("DoNotSchedule", "zone", by_version));
    new["metadata"]["labels"]["hash"] = json!("2");
    assert_eq!(placed(new, &[vec![zoned("a", "x"), zoned("b", "y")], webs(&[("a", 1)])].concat()), "a");
}

#[test]
fn soft_topology_spread_prefers_the_emptier_place() {
    for topology in ["zone", "kubernetes.io/hostname"] {
        let nodes = [vec![zoned("a", "x"), zoned("b", "y")], webs(&[("a", 3), ("b", 1)])].concat();
        let web = |spec: Value| labelled("p", "web", spec);
        assert_eq!(placed(web(spread("ScheduleAnyway", topology, json!({}))), &nodes), "b");
        let pinned =
            with(spread("ScheduleAnyway", topology, json!({})), json!({"nodeSelector": {"zone": "x"}}));
        assert_eq!(placed(web(pinned), &nodes), "a");
    }
}

#[test]
fn image_locality_prefers_nodes_with_large_images() {
    let image = |size: i64| json!([{"names": ["big:latest"], "sizeBytes": size}]);
    let with_image = |size: i64| {
        let mut b = node("b", json!({}));
        b["status"]["images"] = image(size);
        [node("a", json!({})), b]
    };
    let spec = json!({"containers": [{"name": "c", "image": "big"}]});
    assert_eq!(decision(spec.clone(), &with_image(900 << 20)), "b");
    assert_eq!(decision(spec, &with_image(10 << 20)), "a");
}

fn claim(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "default"},
        "spec": spec})
}

fn class(name: &str, mode: &str) -> Value {
    json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": "p", "volumeBindingMode": mode})
}

#[test]
fn volume_binding_waits_for_claims_and_follows_their_volumes() {
    let spec = || json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]});
    let said = decision(spec(), &two());
    let expected = "0/2 nodes are available: persistentvolumeclaim \"data\" not found. preemption: 0/2 nodes are \
                    available: 2 Preemption is not helpful for scheduling.";
    assert_eq!(said, expected);
    let classes = [class("later", "WaitForFirstConsumer"), class("now", "Immediate")];
    let having = |claim: Value| [two().to_vec(), classes.to_vec(), vec![claim]].concat();
    let said = decision(spec(), &having(claim("data", json!({"storageClassName": "now"}))));
    assert!(refused(&said, "pod has unbound immediate PersistentVolumeClaims."), "{said}");
    let asking = claim("data", json!({"storageClassName": "now", "volumeName": "there"}));
    let said = decision(spec(), &having(asking));
    assert!(refused(&said, "pod has unbound immediate PersistentVolumeClaims."), "{said}");
    let bound = || {
        let mut claim = claim("data", json!({"volumeName": "there"}));
        claim["metadata"]["annotations"] = json!({"pv.kubernetes.io/bind-completed": "yes"});
        claim
    };
    let said = decision(spec(), &having(bound()));
    let gone = "2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
    assert!(refused(&said, gone), "{said}");
    let mut lost = bound();
    lost["status"] = json!({"phase": "Lost"});
    let said = decision(spec(), &having(lost));
    let lost = "persistentvolumeclaim \"data\" bound to non-existent persistentvolume \"there\"";
    assert!(refused(&said, lost), "{said}");
    let objects = [having(bound()), vec![volume("there", "b", json!({}))]].concat();
    assert_eq!(decision(spec(), &objects), "b");
    let elsewhere = with(spec(), json!({"nodeSelector": {"kubernetes.io/hostname": "a"}}));
    let said = decision(elsewhere, &objects);
    assert!(refused(&said, "1 node(s) didn't match PersistentVolume's node affinity"), "{said}");
    let ephemeral = json!({"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {}}}]});
    assert!(refused(
        &decision(ephemeral.clone(), &two()),
        "waiting for ephemeral volume controller to create the persistentvolumeclaim \"p-v\""
    ));
    let foreign = decision(ephemeral, &[two().to_vec(), vec![claim("p-v", json!({}))]].concat());
    assert!(
        refused(&foreign, "PVC default/p-v was not created for pod default/p (pod is not owner)"),
        "{foreign}"
    );
}

/// A volume on a node.
fn volume(name: &str, node: &str, more: Value) -> Value {
    let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
    let spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}});
    json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": with(spec, more),
        "status": {"phase": "Available"}})
}

/// What is written for a Pod `p` with the claim `data`: keys of what is written, and the node in it.
fn wished(objects: &[Value]) -> Vec<(String, String)> {
    let spec = json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]});
    let plan = round(&world(&[objects, &[pod("p", spec)]].concat())).plan;
    let of = |write: &Write| {
        let node = match &write.act {
            Act::Patch(patch) => &patch["metadata"]["annotations"]["volume.kubernetes.io/selected-node"],
            Act::Update(volume) => &volume["spec"]["claimRef"]["name"],
            Act::Status(pod) if pod["status"]["nominatedNodeName"].is_string() => {
                &pod["status"]["nominatedNodeName"]
            }
            Act::Status(pod) => &pod["status"]["conditions"][0]["message"],
            other => panic!("{other:?}"),
        };
        (write.key.to_string(), node.as_str().unwrap().to_owned())
    };
    plan.writes().map(of).collect()
}

#[test]
fn a_claim_that_waits_for_its_pod_is_told_the_node_and_the_pod_goes_there_once_it_is_bound() {
    let local = |node: &mut Value| node["metadata"]["annotations"] = json!({"edgectl.dev/volumes": "/v"});
    let mut later = class("later", "WaitForFirstConsumer");
    let wish = || claim("data", json!({"storageClassName": "later", "accessModes": ["ReadWriteOnce"]}));
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let objects = |class: &Value, more: &[Value]| [two().as_slice(), &[class.clone(), wish()], more].concat();
    assert_eq!(wished(&objects(&later, &[])), [pair("default/data", "a"), pair("default/p", "a")]);
    // Our own provisioner makes volumes only where there is a directory for them.
    later["provisioner"] = json!("edgectl.dev/local");
    let [none] = wished(&objects(&later, &[])).try_into().unwrap();
    assert!(refused(&none.1, "2 node(s) didn't find available persistent volumes to bind"), "{none:?}");
    let mut nodes = two();
    local(&mut nodes[1]);
    let offered = [nodes.as_slice(), &[later.clone(), wish()]].concat();
    assert_eq!(wished(&offered), [pair("default/data", "b"), pair("default/p", "b")]);
    // One that was chosen stays chosen, and is not asked again.
    let mut chosen = offered.clone();
    chosen[3]["metadata"]["annotations"] = json!({"volume.kubernetes.io/selected-node": "a"});
    assert_eq!(wished(&chosen), [pair("default/p", "a")]);
    // What is there goes before what is to be made, and where there is nothing the Pod waits.
    later["provisioner"] = json!("kubernetes.io/no-provisioner");
    let there = volume("there", "b", json!({"storageClassName": "later"}));
    assert_eq!(
        wished(&objects(&later, std::slice::from_ref(&there))),
        [pair("there", "data"), pair("default/p", "b")]
    );
    let small = volume("small", "b", json!({"storageClassName": "later", "capacity": {"storage": "0"}}));
    let mut large = objects(&later, &[small]);
    large[3]["spec"]["resources"] = json!({"requests": {"storage": "1"}});
    assert!(refused(&wished(&large)[0].1, "2 node(s) didn't find available persistent volumes to bind"));
}

#[test]
fn two_pods_are_not_promised_the_same_volume() {
    let mut later = class("later", "WaitForFirstConsumer");
    later["provisioner"] = json!("kubernetes.io/no-provisioner");
    let wish =
        |name: &str| claim(name, json!({"storageClassName": "later", "accessModes": ["ReadWriteOnce"]}));
    let with_claim = |name: &str, of: &str| {
        pod(name, json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": of}}]}))
    };
    let volume = volume("there", "b", json!({"storageClassName": "later"}));
    let others = [later, wish("c1"), wish("c2"), volume, with_claim("p1", "c1"), with_claim("p2", "c2")];
    let plan = round(&world(&[two().as_slice(), &others].concat())).plan;
    let keys: Vec<String> = plan.writes().map(|write| write.key.to_string()).collect();
    assert_eq!(keys, ["there", "default/p1"]);
    assert!(plan.wake_at.is_some(), "the other one is looked at again");
}

#[test]
fn a_claim_for_one_pod_is_one_pods() {
    let mut alone = claim("data", json!({"volumeName": "there", "accessModes": ["ReadWriteOncePod"]}));
    alone["metadata"]["annotations"] = json!({"pv.kubernetes.io/bind-completed": "yes"});
    let spec = json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]});
    let mut objects = [two().to_vec(), vec![alone, volume("there", "b", json!({}))]].concat();
    assert_eq!(decision(spec.clone(), &objects), "b");
    objects.push(pod("first", on("b", spec.clone())));
    let said = decision(spec, &objects);
    let why =
        "2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";
    assert!(refused(&said, why), "{said}");
}
