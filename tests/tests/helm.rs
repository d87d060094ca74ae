//! helm's two living versions through the life of a release: a chart with a CRD, an object of it, and hooks.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use edge_tests::cluster::Output;
use edge_tests::{Cluster, Shape, tool};

const CHART: &str = "tests/fixtures/chart";

struct Helm<'a> {
    cluster: &'a Cluster,
    program: std::path::PathBuf,
}

impl Helm<'_> {
    fn output(&self, line: &str) -> Output {
        let mut command = Command::new(&self.program);
        let home = self.cluster.folder().join("helm");
        for (name, folder) in
            [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
        {
            command.env(name, home.join(folder));
        }
        self.cluster.run(command.env("HOME", &home).args(["--namespace", "releases"]).args(line.split(' ')))
    }

    #[track_caller]
    fn run(&self, line: &str) -> String {
        self.output(line).checked().unwrap_or_else(|text| panic!("helm {line}: {text}"))
    }

    /// What a command line complains of that must fail as helm does: with exit code 1.
    #[track_caller]
    fn refused(&self, line: &str) -> String {
        let output = self.output(line);
        assert_eq!(output.status.code(), Some(1), "helm {line}: {output:?}");
        output.stderr
    }
}

#[test]
fn helm_3_takes_a_release_through_its_life() {
    a_release_lives("helm-3");
}

#[test]
fn helm_4_takes_a_release_through_its_life() {
    a_release_lives("helm-4");
}

fn a_release_lives(name: &str) {
    let Some(program) = tool::find(name) else { return };
    let cluster = Cluster::start(Shape::Whole);
    let helm = Helm { cluster: &cluster, program };
    let field = |kind: &str, path: &str| {
        cluster.edgectl(&["get", kind, "-n", "releases", "-o", &format!("jsonpath={{{path}}}")]).ok()
    };
    let greeting = ".spec.template.spec.containers[0].env[0].value";

    let installed = helm.run(&format!("install web {CHART} --create-namespace --wait --timeout 60s"));
    assert!(installed.contains("STATUS: deployed") && installed.contains("REVISION: 1"), "{installed}");
    assert_eq!(field("deployment/web", ".status.readyReplicas"), "1", "helm waited for it");
    assert_eq!(field("greetings/web", ".spec.text"), "hello");
    assert_eq!(field("configmap/web-after", ".data.revision"), "1");
    assert_eq!(field("job/web-check", ".status.succeeded"), "1");
    let taken = helm.refused(&format!("install web {CHART}"));
    assert!(
        taken.contains("cannot re-use a name that is still in use") || taken.contains("cannot reuse a name"),
        "{taken}"
    );
    let tested = helm.run("test web --timeout 60s");
    assert!(tested.contains("Phase:          Succeeded"), "{tested}");

    let upgraded =
        helm.run(&format!("upgrade web {CHART} --set greeting=servus --set replicas=2 --wait --timeout 60s"));
    assert!(upgraded.contains("REVISION: 2"), "{upgraded}");
    assert_eq!(field("deployment/web", greeting), "servus");
    assert_eq!(field("deployment/web", ".status.readyReplicas"), "2");
    assert_eq!(field("greetings/web", ".spec.text"), "servus");
    assert!(helm.run("get values web").contains("greeting: servus"));
    assert!(helm.run("get manifest web").contains("kind: Greeting"));

    // A hook that fails ends the upgrade; what ran goes on running.
    let failed = helm.refused(&format!("upgrade web {CHART} --set check=3 --wait --timeout 60s"));
    assert!(failed.contains("pre-upgrade hooks failed"), "{failed}");
    assert_eq!(field("deployment/web", greeting), "servus");
    // So does a value that the schema of the CRD refuses.
    let failed = helm.refused(&format!("upgrade web {CHART} --set greeting= --timeout 60s"));
    assert!(failed.contains("spec.text"), "{failed}");

    let back = helm.run("rollback web 1 --wait --timeout 60s");
    assert!(back.contains("Rollback was a success"), "{back}");
    assert_eq!(field("deployment/web", greeting), "hello");
    assert_eq!(field("deployment/web", ".spec.replicas"), "1");
    let history = helm.run("history web");
    for words in ["superseded", "failed", "Rollback to 1", "deployed"] {
        assert!(history.contains(words), "{words}: {history}");
    }
    let status = helm.run(if name == "helm-3" { "status web --show-resources" } else { "status web" });
    for words in ["STATUS: deployed", "REVISION: 5", "==> v1/Deployment", "==> v1/Service"] {
        assert!(status.contains(words), "{words}: {status}");
    }
    let listed = helm.run("list");
    assert!(listed.lines().any(|line| line.starts_with("web") && line.contains("greeter-1.0.0")), "{listed}");

    let revisions =
        || cluster.get(&["secrets", "-n", "releases", "-l", "owner=helm"]).unwrap()["items"].clone();
    assert_eq!(revisions().as_array().unwrap().len(), 5, "a Secret for each revision");
    for (line, words) in [
        ("rollback web 99", "release has no 99 version"),
        ("history none", "release: not found"),
        ("get values none", "release: not found"),
        ("uninstall none", "not found"),
        (&format!("upgrade none {CHART}"), "\"none\" has no deployed releases"),
        (&format!("install Bad_Name {CHART}"), "invalid release name"),
    ] {
        let said = helm.refused(line);
        assert!(said.contains(words), "{line}: {said}");
    }

    helm.run("uninstall web --wait --timeout 60s");
    assert_eq!(revisions(), serde_json::json!([]), "and none is left");
    assert!(cluster.get(&["deployment", "web", "-n", "releases"]).is_err());
    assert!(cluster.get(&["greetings", "web", "-n", "releases"]).is_err());
    assert!(cluster.get(&["crd", "greetings.charts.example.com"]).is_ok(), "helm leaves CRDs alone");
    assert!(!helm.run("list").contains("web"));
    let status = helm.refused("status web");
    assert!(status.contains("not found"), "{status}");
}

#[test]
fn helm_3_gives_up_what_does_not_become_ready() {
    a_release_fails("helm-3", "--atomic");
}

#[test]
fn helm_4_gives_up_what_does_not_become_ready() {
    a_release_fails("helm-4", "--rollback-on-failure");
}

/// An installation that waits in vain, once left as it is, once taken back; then one over it that is good.
fn a_release_fails(name: &str, taken_back: &str) {
    let Some(program) = tool::find(name) else { return };
    let cluster = Cluster::start(Shape::Whole);
    let helm = Helm { cluster: &cluster, program };
    let broken = "--set image=file:guests/dist/nothing.wasm";
    let install = format!("install web {CHART} --create-namespace --wait --timeout 8s {broken}");
    let failed = helm.refused(&install);
    assert!(failed.contains("context deadline exceeded"), "{failed}");
    assert!(helm.run("status web").contains("STATUS: failed"));
    helm.run("uninstall web --wait --timeout 60s");
    helm.refused(&format!("{install} {taken_back}"));
    assert!(helm.refused("status web").contains("not found"));
    assert!(cluster.get(&["deployment", "web", "-n", "releases"]).is_err());

    helm.run(&format!("upgrade web {CHART} --install --wait --timeout 60s"));
    let failed = helm.refused(&format!("upgrade web {CHART} {broken} --wait --timeout 8s {taken_back}"));
    assert!(failed.contains("context deadline exceeded"), "{failed}");
    let history = helm.run("history web");
    assert!(history.contains("Rollback to 1"), "{history}");
    helm.run("uninstall web --keep-history --wait --timeout 60s");
    assert!(helm.run("status web").contains("STATUS: uninstalled"));
}
