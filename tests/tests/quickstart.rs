//! The quickstart from apply to delete, driven by kubectl and by edgectl, in both shapes.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};

use edge_tests::{Cluster, Shape, eventually, tool, web};

const HOST: &str = "hello.localhost";

#[test]
fn kubectl_drives_the_quickstart_in_one_process() {
    kubectl_drives_the_quickstart("kubectl-1_32", Shape::Whole);
}

#[test]
fn kubectl_drives_the_quickstart_split() {
    kubectl_drives_the_quickstart("kubectl-1_32", Shape::Split);
}

#[test]
fn newest_kubectl_drives_the_quickstart() {
    kubectl_drives_the_quickstart("kubectl-1_37", Shape::Whole);
}

fn kubectl_drives_the_quickstart(name: &str, shape: Shape) {
    let Some(kubectl) = tool::find(name) else { return };
    let cluster = Cluster::start(shape);
    let run = |line: &str| cluster.kubectl(&kubectl, &line.split(' ').collect::<Vec<_>>()).ok();

    run("apply -f manifests/quickstart");
    run("wait --for=condition=available --timeout=60s -n quickstart deployment/hello");
    assert!(
        run("rollout status -n quickstart deployment/hello --timeout=60s")
            .contains("successfully rolled out")
    );
    // kubectl cannot know that a Secret's stringData is what is there already.
    let again = run("apply -f manifests/quickstart");
    assert!(again.lines().all(|line| line.ends_with("unchanged") || line.starts_with("secret/")), "{again}");
    answers(&cluster);

    let pods = run("get pods -n quickstart");
    assert_eq!(
        pods.lines().filter(|line| line.contains("1/1") && line.contains("Running")).count(),
        3,
        "{pods}"
    );
    assert!(run("get deployment -n quickstart -o wide").contains("hello-http"));
    assert!(run("describe deployment -n quickstart hello").contains("ScalingReplicaSet"));
    assert!(run("describe pod -n quickstart").contains("Started"));
    assert!(run("explain deployment.spec.replicas").contains("replicas"));
    let resources = run("api-resources");
    for kind in ["pods", "deployments", "ingresses", "endpointslices", "leases"] {
        assert!(resources.contains(kind), "{kind} is missing in {resources}");
    }

    run("scale -n quickstart deployment/hello --replicas=2");
    run("rollout status -n quickstart deployment/hello --timeout=60s");
    run("set env -n quickstart deployment/hello GREETING=again");
    run("rollout status -n quickstart deployment/hello --timeout=60s");
    let history = run("rollout history -n quickstart deployment/hello");
    assert_eq!(
        history.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count(),
        2,
        "{history}"
    );
    run("rollout undo -n quickstart deployment/hello");
    run("rollout status -n quickstart deployment/hello --timeout=60s");
    run("rollout restart -n quickstart deployment/hello");
    run("rollout status -n quickstart deployment/hello --timeout=60s");
    answers(&cluster);

    // The namespace goes first and takes the others along.
    run("delete -f manifests/quickstart --ignore-not-found --timeout=60s");
    assert!(cluster.kubectl(&kubectl, &["get", "namespace", "quickstart"]).refused().contains("NotFound"));
}

#[test]
fn edgectl_drives_the_quickstart() {
    let mut cluster = Cluster::start(Shape::Whole);
    let run = |line: &str| cluster.edgectl(&line.split(' ').collect::<Vec<_>>()).ok();

    run("apply -f manifests/quickstart");
    run("wait --for=condition=available --timeout=60s -n quickstart deployment/hello");
    let unchanged = run("apply -f manifests/quickstart");
    assert!(unchanged.lines().all(|line| line.ends_with("unchanged")), "{unchanged}");
    answers(&cluster);

    let table = run("get pods -A");
    assert!(table.starts_with("NAMESPACE") && table.contains("Running"), "{table}");
    assert!(run("get pods -n quickstart -o wide").contains("10.42."));
    assert_eq!(run("get pods -n quickstart -o name").lines().count(), 3);
    assert!(run("get deployment hello -n quickstart -o yaml").contains("kind: Deployment\n"));
    assert_eq!(run("get deployment hello -n quickstart -o jsonpath={.status.readyReplicas}"), "3");
    assert!(run("get pods -n quickstart -l app=hello").contains("hello-"));
    assert!(run("describe deployment hello -n quickstart").contains("ScalingReplicaSet"));
    assert!(run("explain pod.spec.containers").contains("FIELDS"));
    assert!(run("api-versions").contains("apps/v1"));
    assert!(run("api-resources").contains("deploy"));
    assert!(run("version").contains("Server Version: v1."));
    run("scale deployment/hello -n quickstart --replicas=1");
    run("rollout restart deployment/hello -n quickstart");
    assert!(
        run("rollout status deployment/hello -n quickstart --timeout=60s")
            .contains("successfully rolled out")
    );
    assert!(run("rollout history deployment/hello -n quickstart").contains("REVISION"));
    run("rollout undo deployment/hello -n quickstart");
    run("rollout status deployment/hello -n quickstart --timeout=60s");
    // A rollout is done when the new Pods are available; the old ones may still be draining.
    eventually("only the new Pod is left", || {
        let names = run("get pods -n quickstart -o name");
        if names.lines().count() == 1 { Ok(()) } else { Err(names) }
    });

    run("delete -f manifests/quickstart");
    assert!(cluster.edgectl(&["get", "namespace", "quickstart"]).refused().contains("NotFound"));
    assert!(cluster.stop().success(), "SIGTERM must end in exit code 0");
}

#[test]
fn logs_are_followed_by_both_clients() {
    let cluster = Cluster::start(Shape::Whole);
    cluster.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: ticker}\nspec:\n  containers:\n  - name: ticker\n    image: file:guests/dist/ticker.wasm\n",
    );
    cluster.edgectl(&["wait", "--for=condition=ready", "pod/ticker", "--timeout=60s"]).ok();
    eventually("the ticker printed twice", || {
        let log = cluster.edgectl(&["logs", "ticker"]).checked()?;
        if log.lines().count() >= 2 { Ok(()) } else { Err(log) }
    });
    assert_eq!(cluster.edgectl(&["logs", "ticker", "--tail=1"]).ok().lines().count(), 1);
    let mut programs = vec![crate::edgectl()];
    programs.extend(tool::find("kubectl-1_32"));
    for program in programs {
        let mut command = Command::new(&program);
        cluster.prepare(command.args(["logs", "-f", "--tail=1", "ticker"]));
        let mut follower = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(follower.stdout.take().unwrap()));
        for _ in 0..3 {
            assert!(lines.next().is_some_and(|line| line.is_ok()), "{} ended early", program.display());
        }
        follower.kill().unwrap();
        follower.wait().unwrap();
    }
}

fn edgectl() -> std::path::PathBuf {
    edge_tests::binaries().join("edgectl")
}

fn answers(cluster: &Cluster) {
    eventually("the quickstart answers through the Ingress", || {
        let answer = web::get(cluster.http(), HOST, "/")?;
        if answer.status == 200 && answer.body.contains("hello-") {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    });
}
