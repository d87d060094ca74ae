//! What people do with kubectl's oldest and newest version to what runs: look at it, follow it, move it, get into it.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, Write as _};

use edge_tests::kubectl::{Kubectl, beside_guests, short, with_each};
use edge_tests::{Cluster, Shape, eventually};

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: file:guests/dist/hello-http.wasm
        ports: [{name: http, containerPort: 8080}]
";

fn pod(name: &str, guest: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  \
         containers:\n  - name: main\n    image: file:guests/dist/{guest}.wasm\n{more}"
    )
}

/// A Deployment that has been rolled out.
fn roll_out(kubectl: &Kubectl<'_>) {
    kubectl.run(&format!("apply -f {}", kubectl.file(WEB)));
    let told = kubectl.run("rollout status deploy/web --timeout=60s");
    assert!(told.contains("successfully rolled out"), "{told}");
}

fn node(kubectl: &Kubectl<'_>) -> String {
    kubectl.run("get node -o jsonpath={.items[0].metadata.name}")
}

#[test]
fn what_runs_is_described_and_watched() {
    with_each(&Cluster::start(Shape::Whole), |kubectl| {
        roll_out(kubectl);
        let shown = kubectl.run("describe deploy web");
        for words in
            ["2 desired | 2 updated | 2 total | 2 available", "NewReplicaSetAvailable", "ScalingReplicaSet"]
        {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        let shown = kubectl.run("describe pod -l app=web --show-events");
        for words in
            ["PodScheduled", "file:guests/dist/hello-http.wasm", "QoS Class:", "Started container main"]
        {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        let shown = kubectl.run("describe node");
        for words in ["HolderIdentity:", "KubeletReady", "Non-terminated Pods:", "web-"] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        assert!(
            kubectl.run("get events --field-selector involvedObject.kind=Deployment").contains("Scaled up")
        );
        assert!(kubectl.run("events --for deployment/web").contains("Deployment/web"));
        let wide = kubectl.run("get pods -o wide");
        assert_eq!(
            wide.lines().filter(|line| line.contains("Running") && line.contains("10.42.")).count(),
            2
        );
        assert!(kubectl.run("get nodes").contains(" Ready "));
        let all = kubectl.run("get all");
        for kind in ["pod/web-", "deployment.apps/web", "replicaset.apps/web-"] {
            assert!(all.contains(kind), "{kind}: {all}");
        }
        assert!(kubectl.run("cluster-info dump").contains("\"kind\": \"NodeList\""));
        kubectl.run("expose deployment web --port=80 --target-port=http");
        let namespace = format!("/api/v1/namespaces/{}", kubectl.namespace);
        let pod = kubectl.run("get pods -l app=web -o jsonpath={.items[0].metadata.name}");
        let answer = kubectl.run(&format!("get --raw {namespace}/pods/{pod}:8080/proxy/"));
        assert!(answer.contains(&format!("hello from {pod}")), "{answer}");
        eventually("the Service answers through the API", || {
            let answer =
                kubectl.output(&format!("get --raw {namespace}/services/web:80/proxy/")).checked()?;
            if answer.contains("hello from web-") { Ok(()) } else { Err(answer) }
        });
        let metrics = kubectl.run(&format!("get --raw /api/v1/nodes/{}/proxy/metrics", node(kubectl)));
        assert!(metrics.contains("edged_compilations_total"), "{metrics}");

        for (what, word) in [("node", "CPU(cores)"), ("pod", "web-")] {
            eventually(&format!("kubectl top {what}"), || {
                let shown = kubectl.output(&format!("top {what}")).checked()?;
                if shown.contains(word) { Ok(()) } else { Err(shown) }
            });
        }

        kubectl.run("set env deploy web COLOUR=red");
        let mut status = kubectl.start("rollout status deploy web --timeout=60s");
        assert!(status.wait().unwrap().success());
        let history = kubectl.run("rollout history deploy web");
        assert_eq!(history.lines().filter(|line| line.starts_with(['1', '2'])).count(), 2, "{history}");
        assert!(kubectl.run("rollout history deploy web --revision=2").contains("COLOUR:\tred"));
        assert!(kubectl.run("rollout undo deploy web").contains("rolled back"));
        kubectl.run("rollout status deploy web --timeout=60s");
        assert_eq!(kubectl.run("get deploy web -o jsonpath={.spec.template.spec.containers[0].env}"), "");
    });
}

#[test]
fn logs_are_read_and_followed() {
    with_each(&Cluster::start(Shape::Whole), |kubectl| {
        kubectl.run(&format!("apply -f {}", kubectl.file(&pod("ticker", "ticker", ""))));
        kubectl.run("wait --for=condition=Ready pod/ticker --timeout=60s");
        let mut follower = kubectl.start("logs -f ticker");
        let lines = std::io::BufReader::new(follower.stdout.take().unwrap()).lines();
        assert_eq!(lines.take(4).filter(|line| line.is_ok()).count(), 4);
        follower.kill().unwrap();
        follower.wait().unwrap();
        assert_eq!(kubectl.run("logs ticker --tail=2").lines().count(), 2);
        assert!(kubectl.run("logs ticker --timestamps --tail=1").starts_with("20"));
        assert!(kubectl.run("logs ticker --limit-bytes=5").len() == 5);
        assert!(
            kubectl.refused("logs ticker -c other").contains("container other is not valid for pod ticker")
        );
        assert!(kubectl.refused("logs ticker --previous").contains("previous terminated container"));
        assert!(kubectl.refused("logs nobody").contains("pods \"nobody\" not found"));
        let once = pod("once", "crash", "    env: [{name: EXIT_CODE, value: '0'}]\n  restartPolicy: Never\n");
        kubectl.run(&format!("apply -f {}", kubectl.file(&once)));
        kubectl.run("wait --for=jsonpath={.status.phase}=Succeeded pod/once --timeout=60s");
    });
}

#[test]
fn a_node_is_cordoned_tainted_and_drained() {
    with_each(&Cluster::start(Shape::Whole), |kubectl| {
        roll_out(kubectl);
        let node = node(kubectl);
        assert!(kubectl.run(&format!("taint node {node} key=value:NoSchedule")).contains("tainted"));
        assert!(kubectl.run(&format!("taint node {node} key-")).contains("untainted"));
        assert!(kubectl.run(&format!("cordon {node}")).contains("cordoned"));
        assert!(kubectl.run("get nodes").contains("SchedulingDisabled"));
        assert!(kubectl.run(&format!("drain {node} --timeout=60s")).contains("drained"));
        let pods = kubectl.run("get pods");
        assert_eq!(pods.lines().filter(|line| line.contains("Pending")).count(), 2, "{pods}");
        assert!(kubectl.run(&format!("uncordon {node}")).contains("uncordoned"));
        kubectl.run("wait --for=condition=Available deploy/web --timeout=60s");
        kubectl.run("delete deploy web");
    });
}

/// Says a line to a command that runs, and reads what it answers.
fn talk(mut child: std::process::Child, said: &str) -> std::process::Output {
    child.stdin.take().unwrap().write_all(said.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_container_is_attached_to() {
    with_each(&beside_guests(), |kubectl| {
        let listening = pod("listens", "toolbox", "    args: [cat]\n    stdin: true\n    stdinOnce: true\n");
        let listening = short(&listening) + "  restartPolicy: Never\n";
        kubectl.run(&format!("apply -f {}", kubectl.file(&listening)));
        kubectl.run("wait --for=condition=ready pod/listens --timeout=60s");
        let answered = talk(kubectl.start("attach -i listens"), "said once\n");
        assert!(answered.status.success(), "{answered:?}");
        assert_eq!(String::from_utf8_lossy(&answered.stdout), "said once\n");
        kubectl.run("wait --for=jsonpath={.status.phase}=Succeeded pod/listens --timeout=60s");
        assert_eq!(kubectl.run("logs listens"), "said once\n");

        let run = "run brief --rm -i --quiet --restart=Never --image=file:toolbox.wasm -- cat";
        let answered = talk(kubectl.start(run), "in and out\n");
        assert!(answered.status.success(), "{answered:?}");
        assert!(String::from_utf8_lossy(&answered.stdout).starts_with("in and out\n"), "{answered:?}");
        assert!(kubectl.refused("get pod brief").contains("NotFound"));

        kubectl.run(&format!("apply -f {}", kubectl.file(&short(&pod("ticker", "ticker", "")))));
        kubectl.run("wait --for=condition=ready pod/ticker --timeout=60s");
        let mut listener = kubectl.start("attach ticker");
        let lines = std::io::BufReader::new(listener.stdout.take().unwrap()).lines();
        assert_eq!(lines.take(2).filter(|line| line.is_ok()).count(), 2);
        listener.kill().unwrap();
        listener.wait().unwrap();
    });
}
