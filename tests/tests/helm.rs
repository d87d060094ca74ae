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
    let taken = helm.output(&format!("install web {CHART}")).refused();
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
    let failed = helm.output(&format!("upgrade web {CHART} --set check=3 --wait --timeout 60s")).refused();
    assert!(failed.contains("pre-upgrade hooks failed"), "{failed}");
    assert_eq!(field("deployment/web", greeting), "servus");
    // So does a value that the schema of the CRD refuses.
    let failed = helm.output(&format!("upgrade web {CHART} --set greeting= --timeout 60s")).refused();
    assert!(failed.contains("spec.text"), "{failed}");

    let back = helm.run("rollback web 1 --wait --timeout 60s");
    assert!(back.contains("Rollback was a success"), "{back}");
    assert_eq!(field("deployment/web", greeting), "hello");
    assert_eq!(field("deployment/web", ".spec.replicas"), "1");
    let history = helm.run("history web");
    for words in ["superseded", "failed", "Rollback to 1", "deployed"] {
        assert!(history.contains(words), "{words}: {history}");
    }
    assert!(helm.run("status web").contains("STATUS: deployed"));
    let listed = helm.run("list");
    assert!(listed.lines().any(|line| line.starts_with("web") && line.contains("greeter-1.0.0")), "{listed}");

    helm.run("uninstall web --wait --timeout 60s");
    assert!(cluster.get(&["deployment", "web", "-n", "releases"]).is_err());
    assert!(cluster.get(&["greetings", "web", "-n", "releases"]).is_err());
    assert!(cluster.get(&["crd", "greetings.charts.example.com"]).is_ok(), "helm leaves CRDs alone");
    assert!(!helm.run("list").contains("web"));
    let status = helm.output("status web").refused();
    assert!(status.contains("not found"), "{status}");
}
