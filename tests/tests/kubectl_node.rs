//! What people do with kubectl's oldest and newest version to what runs: look at it, follow it, move it, get into it.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, Write as _};

use edge_tests::kubectl::{Kubectl, Stop, beside_guests, short, with_each};
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
        let toleration =
            "  tolerations: [{key: key, operator: Exists, effect: NoExecute, tolerationSeconds: 2}]\n";
        kubectl.run(&format!("apply -f {}", kubectl.file(&pod("patient", "ticker", toleration))));
        kubectl.run("wait --for=condition=Ready pod/patient --timeout=60s");
        kubectl.run(&format!("taint node {node} key=value:NoExecute"));
        assert!(kubectl.run("get pod patient").contains("Running"), "it may stay for a while");
        assert!(kubectl.run("wait --for=delete pod/patient --timeout=60s").contains("condition met"));
        kubectl.run(&format!("taint node {node} key-"));
    });
}

#[test]
fn a_pod_whose_image_is_set_runs_that() {
    with_each(&Cluster::start(Shape::Whole), |kubectl| {
        kubectl.run(&format!("apply -f {}", kubectl.file(&pod("other", "ticker", ""))));
        kubectl.run("wait --for=condition=Ready pod/other --timeout=60s");
        let conditions = kubectl.run("get pod other -o jsonpath={.status.conditions[*].reason}");
        assert_eq!(conditions, "", "those that hold have no reason");
        kubectl.run("set image pod/other main=file:guests/dist/hello-http.wasm");
        let status = "get pod other -o jsonpath={.status.containerStatuses[0].image},{.status.containerStatuses[0].restartCount},{.status.containerStatuses[0].ready}";
        eventually("the other image runs", || match kubectl.run(status).as_str() {
            "file:guests/dist/hello-http.wasm,1,true" => Ok(()),
            other => Err(other.to_owned()),
        });
        let told = kubectl.run("events --for pod/other");
        assert!(told.contains("Container main definition changed, will be restarted"), "{told}");
        kubectl.run("delete pod other");
    });
}

const EVERYWHERE: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: everywhere}
spec:
  selector: {matchLabels: {app: everywhere}}
  template:
    metadata: {labels: {app: everywhere}}
    spec:
      terminationGracePeriodSeconds: 1
      volumes: [{name: data, emptyDir: {}}]
      containers:
      - {name: main, image: 'file:guests/dist/ticker.wasm', volumeMounts: [{name: data, mountPath: /data}]}
";

/// What runs, and the node below it: a Deployment, a DaemonSet and a Pod that nobody owns.
const RUNNING: &[Stop<'_>] = &[
    ("rollout status deployment/web --timeout=60s", 0, "deployment \"web\" successfully rolled out"),
    (
        "rollout status daemonset/everywhere --timeout=60s",
        0,
        "daemon set \"everywhere\" successfully rolled out",
    ),
    ("wait --for=condition=Ready pod/alone --timeout=60s", 0, "pod/alone condition met"),
    ("wait --for=condition=Available deployment/web --timeout=60s", 0, "deployment.apps/web condition met"),
    ("get pods --field-selector=status.phase=Running,spec.nodeName={node} -l app=web -o name", 0, "pod/web-"),
    ("get pods --field-selector=spec.nodeName!={node}", 0, "No resources found in {namespace} namespace."),
    (
        "get events --field-selector involvedObject.kind=Pod,involvedObject.name=alone,reason=Started",
        0,
        "Started container main",
    ),
    ("events --for pod/alone --types=Normal", 0, "Started container main"),
    ("describe node {node}", 0, "Non-terminated Pods:"),
    ("get node {node} -o wide", 0, "Ready"),
    ("exec alone -- test -e /none", 1, "command terminated with exit code 1"),
    ("exec alone -c none -- test", 1, "container none is not valid for pod alone"),
    ("exec deployment/web -- env", 0, "KUBERNETES_SERVICE_HOST="),
    ("attach alone -c none", 1, "container none "),
    ("logs alone -c none", 1, "container none is not valid for pod alone"),
    ("logs alone --previous", 1, "previous terminated container \"main\" in pod \"alone\" not found"),
    ("logs deployment/web", 0, ""),
    ("port-forward alone", 1, "error: TYPE/NAME and list of ports are required for port-forward"),
    ("rollout history daemonset/everywhere", 0, "1         <none>"),
    ("set env daemonset/everywhere COLOUR=red", 0, "daemonset.apps/everywhere env updated"),
    ("rollout status daemonset/everywhere --timeout=60s", 0, "successfully rolled out"),
    ("rollout history daemonset/everywhere --revision=2", 0, "COLOUR:\tred"),
    ("rollout undo daemonset/everywhere", 0, "daemonset.apps/everywhere rolled back"),
    ("rollout status daemonset/everywhere --timeout=60s", 0, "successfully rolled out"),
    ("cordon {node}", 0, "node/{node} cordoned\n"),
    ("cordon {node}", 0, "node/{node} already cordoned\n"),
    ("get node {node}", 0, "Ready,SchedulingDisabled"),
    (
        "drain {node} --timeout=60s",
        1,
        "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): {namespace}/everywhere-",
    ),
    (
        "drain {node} --ignore-daemonsets --timeout=60s",
        1,
        "cannot delete Pods that declare no controller (use --force to override): {namespace}/alone",
    ),
    ("drain {node} --ignore-daemonsets --force --dry-run=server", 0, "node/{node} drained (server dry run)"),
    ("drain {node} --ignore-daemonsets --force --timeout=60s", 0, "node/{node} drained\n"),
    ("get pod alone", 1, "Error from server (NotFound): pods \"alone\" not found"),
    ("get pods -l app=everywhere", 0, "Running"),
    ("uncordon {node}", 0, "node/{node} uncordoned\n"),
    ("uncordon {node}", 0, "node/{node} already uncordoned\n"),
    ("rollout status deployment/web --timeout=60s", 0, "successfully rolled out"),
    ("delete deployment/web daemonset/everywhere --timeout=60s", 0, "daemonset.apps \"everywhere\" deleted"),
];

#[test]
fn commands_about_what_runs_end_as_kubectl_promises() {
    with_each(&Cluster::start(Shape::Whole), |kubectl| {
        kubectl.run(&format!("apply -f {}", kubectl.file(WEB)));
        kubectl.run(&format!("apply -f {}", kubectl.file(EVERYWHERE)));
        kubectl.run(&format!("apply -f {}", kubectl.file(&pod("alone", "ticker", ""))));
        let node = node(kubectl);
        kubectl.tour(RUNNING, &[("node", &node)]);
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
