//! A second process joins as a second Node, over TLS that it dials itself.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::process::Command;

use edge_tests::agent::Agent;
use edge_tests::kubectl::Kubectl;
use edge_tests::{Cluster, Options, Shape, eventually};

/// A control plane, its only node in another process, and the Pod `far` that ticks there.
fn ticking_far() -> (Cluster, Agent) {
    let cluster = Cluster::with(Options::new(Shape::Whole).flag("--no-node", "true"));
    let agent = Agent::join(&cluster, "shelf-7");
    cluster.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: far}\nspec:\n  containers:\n  - name: ticker\n    image: file:guests/dist/ticker.wasm\n",
    );
    cluster.edgectl(&["wait", "--for=condition=ready", "pod/far", "--timeout=60s"]).ok();
    (cluster, agent)
}

#[test]
fn an_agent_runs_the_pods_that_are_bound_to_it_and_its_logs_come_back() {
    let (cluster, _agent) = ticking_far();
    assert_eq!(cluster.get(&["pod", "far"]).unwrap()["spec"]["nodeName"], "shelf-7");
    eventually("the log comes back over the agent's connection", || {
        let log = cluster.edgectl(&["logs", "far"]).checked()?;
        if log.is_empty() { Err("nothing yet".to_owned()) } else { Ok(()) }
    });
}

/// kubectl 1.37 asks again as long as the node cannot be reached; 1.32 stops.
#[test]
fn a_log_can_be_followed_once_its_node_is_back() {
    let (cluster, agent) = ticking_far();
    drop(agent);
    let away = "the logs of node \"shelf-7\" cannot be reached: the node is not connected";
    eventually("the server knows that the node is away", || {
        let said = cluster.edgectl(&["logs", "far"]).stderr;
        if said.contains(away) { Ok(()) } else { Err(said) }
    });
    if let Some(old) = Kubectl::at(&cluster, "kubectl-1_32") {
        let said = old.refused("logs -f far -n default");
        assert!(said.contains(away), "{said}");
    }
    let Some(new) = Kubectl::at(&cluster, "kubectl-1_37") else { return };
    let mut follower = new.start("logs -f far -n default");
    let mut complaints = BufReader::new(follower.stderr.take().unwrap()).lines();
    for _ in 0..2 {
        assert_eq!(complaints.next().unwrap().unwrap(), away);
    }
    let _agent = Agent::join(&cluster, "shelf-7");
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "args: ticker.wasm");
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn two_nodes_of_one_cluster_keep_apart_what_is_bound_to_them() {
    let cluster = Cluster::with(Options::new(Shape::Whole).flag("--node-name", "desk"));
    let _agent = Agent::join(&cluster, "shelf");
    for (pod, node) in [("a", "desk"), ("b", "shelf")] {
        cluster.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}}}\nspec:\n  nodeSelector: {{kubernetes.io/hostname: {node}}}\n  containers:\n  - name: ticker\n    image: file:guests/dist/ticker.wasm\n"
        ));
    }
    for (pod, node) in [("a", "desk"), ("b", "shelf")] {
        cluster.edgectl(&["wait", "--for=condition=ready", &format!("pod/{pod}"), "--timeout=60s"]).ok();
        assert_eq!(cluster.get(&["pod", pod]).unwrap()["spec"]["nodeName"], node);
        assert!(cluster.edgectl(&["logs", pod, "--tail=1"]).checked().is_ok());
    }
}

#[test]
fn a_wrong_token_is_refused_with_a_word() {
    let cluster = Cluster::with(Options::new(Shape::Whole).flag("--no-node", "true"));
    let right = std::fs::read_to_string(cluster.data_dir().join("agent-token")).unwrap();
    let hash = right.split('.').next().unwrap();
    for token in ["0000.hunter2".to_owned(), format!("{hash}.hunter2"), format!("{}.hunter2", "0".repeat(64))]
    {
        let server = format!("https://{}", cluster.api());
        let data = cluster.folder().join("thief");
        let mut agent = Command::new(edge_tests::binaries().join("edged"));
        agent.args(["agent", "--server", &server, "--token", &token, "--data-dir", data.to_str().unwrap()]);
        for flag in ["--dns-address", "--http-address", "--https-address"] {
            agent.args([flag, "127.0.0.1:0"]);
        }
        let said = cluster.run(&mut agent).refused();
        let words = ["token", "certificate", "not accept", "Unauthorized"];
        assert!(words.iter().any(|word| said.contains(word)), "{said}");
        assert!(!said.contains("hunter2"), "a token must not be repeated: {said}");
    }
}
