//! Commands in running containers, by real kubectl: input, both outputs and the exit code.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::process::{Command, Stdio};

use edge_tests::{Cluster, Shape, eventually, tool};

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: cat}\nspec:\n  containers:\n  - {name: main, image: 'file:tests/fixtures/cat.wat'}\n";

/// `websockets`: whether kubectl asks for one; otherwise it speaks SPDY, as most programs in Go do.
fn commands_run_beside(tool: &str, shape: Shape, websockets: bool) {
    let Some(kubectl) = tool::find(tool) else { return };
    let cluster = Cluster::start(shape);
    cluster.apply(POD);
    cluster.edgectl(&["wait", "--for=condition=ready", "pod/cat", "--timeout=60s"]).ok();

    eventually("the node is connected", || cluster.kubectl(&kubectl, &["logs", "cat"]).checked());

    let text = "line\n".repeat(40_000);
    let mut command = Command::new(&kubectl);
    cluster.prepare(command.args(["exec", "-i", "cat", "--", "cat", "a", "b"]));
    command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let said = text.clone();
    let writer = std::thread::spawn(move || stdin.write_all(said.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout.len(), text.len());
    assert!(output.stdout == text.as_bytes());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.starts_with("end\n") && errors.contains("exit code 3"), "{errors}");

    // kubectl tries SPDY when it is refused a WebSocket, and says nothing of it.
    let mut command = Command::new(&kubectl);
    cluster.prepare(command.args(["exec", "cat", "-v=8", "--", "cat", "a"]));
    let output = command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets.to_string()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("101 Switching Protocols"), "{said}");
    assert_eq!(said.contains("POST"), !websockets, "{said}");

    let refused = cluster.kubectl(&kubectl, &["exec", "cat", "-c", "other", "--", "x"]).refused();
    assert!(refused.contains("container other is not valid for pod cat"), "{refused}");
    let pod = cluster.get(&["pod", "cat"]).unwrap();
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0, "{pod}");
}

#[test]
fn commands_run_beside_a_container() {
    commands_run_beside("kubectl-1_32", Shape::Whole, true);
}

#[test]
fn newest_kubectl_runs_commands_on_a_split_node() {
    commands_run_beside("kubectl-1_37", Shape::Split, true);
}

#[test]
fn commands_run_beside_a_container_over_spdy() {
    commands_run_beside("kubectl-1_37", Shape::Whole, false);
}
