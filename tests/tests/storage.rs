//! Claims, their volumes, and data that outlives Pods, rollouts and `kill -9`.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use edge_tests::agent::Agent;
use edge_tests::kubectl::{Kubectl, with_each};
use edge_tests::{Cluster, Options, Shape, api::Api, eventually};

/// A StatefulSet of servers that keep what they are given in files.
fn store(replicas: u32, policy: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: db}}\nspec:\n  serviceName: db\n  replicas: {replicas}\n  \
         selector: {{matchLabels: {{app: db}}}}\n{policy}  template:\n    metadata: {{labels: {{app: db}}}}\n    spec:\n      \
         terminationGracePeriodSeconds: 1\n      containers:\n      - name: main\n        image: file:guests/dist/kv-http.wasm\n        \
         volumeMounts: [{{name: data, mountPath: /data}}]\n  volumeClaimTemplates:\n  - metadata: {{name: data}}\n    spec:\n      \
         accessModes: [ReadWriteOnce]\n      resources: {{requests: {{storage: 64Mi}}}}\n"
    )
}

/// A claim and a Pod that uses it.
fn notes(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: {name}}}\nspec:\n  accessModes: [ReadWriteOnce]\n  \
         resources: {{requests: {{storage: 64Mi}}}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n{spec}  \
         terminationGracePeriodSeconds: 1\n  containers:\n  - name: main\n    image: file:guests/dist/kv-http.wasm\n    \
         volumeMounts: [{{name: data, mountPath: /data}}]\n  volumes: [{{name: data, persistentVolumeClaim: {{claimName: {name}}}}}]\n"
    )
}

fn path(namespace: &str, pod: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods/{pod}:8080/proxy/value")
}

#[track_caller]
fn put(cluster: &Cluster, namespace: &str, pod: &str, value: &str) {
    let (status, answer) =
        Api::of(cluster).request("PUT", &path(namespace, pod), "text/plain", value).unwrap();
    assert_eq!(status, 200, "{answer}");
}

/// Waits until the Pod answers with the value that it was given.
#[track_caller]
fn holds(cluster: &Cluster, namespace: &str, pod: &str, value: &str) {
    eventually(&format!("{pod} holds {value:?}"), || {
        let answer = Api::of(cluster).get(&path(namespace, pod)).map_err(|error| error.to_string())?;
        if answer == (200, value.into()) { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

fn volume_of(cluster: &Cluster, namespace: &str, claim: &str) -> String {
    let claim = cluster.get(&["pvc", claim, "-n", namespace]).unwrap();
    claim["spec"]["volumeName"].as_str().unwrap().to_owned()
}

/// The directories of volumes below a node's data directory.
fn directories(data_dir: PathBuf) -> Vec<String> {
    let entries = std::fs::read_dir(data_dir.join("volumes")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[track_caller]
fn columns(kubectl: &Kubectl<'_>, line: &str, wanted: &str) {
    let shown = kubectl.run(line);
    let mut words: Vec<&str> = shown.split_whitespace().collect();
    // How old it is.
    words.pop();
    assert_eq!(words.join(" "), wanted);
}

#[test]
fn data_stays_with_its_number_whatever_becomes_of_the_pods() {
    let cluster = Cluster::start(Shape::Whole);
    let data_dir = cluster.data_dir().join("node");
    with_each(&cluster, |kubectl| {
        let namespace = kubectl.namespace.as_str();
        kubectl.run(&format!("apply -f {}", kubectl.file(&store(2, ""))));
        kubectl.run("rollout status sts/db --timeout=60s");
        let volumes = ["data-db-0", "data-db-1"].map(|claim| volume_of(&cluster, namespace, claim));
        columns(
            kubectl,
            "get sc --no-headers",
            "local (default) edgectl.dev/local Delete WaitForFirstConsumer false",
        );
        columns(
            kubectl,
            "get pvc data-db-0 --no-headers",
            &format!("data-db-0 Bound {} 64Mi RWO local <unset>", volumes[0]),
        );
        columns(
            kubectl,
            &format!("get pv {} --no-headers", volumes[0]),
            &format!("{} 64Mi RWO Delete Bound {namespace}/data-db-0 local <unset>", volumes[0]),
        );
        let described = kubectl.run("describe pvc data-db-0");
        assert!(described.contains("ProvisioningSucceeded"), "{described}");
        put(&cluster, namespace, "db-0", "nought");
        put(&cluster, namespace, "db-1", "one");
        let both = || {
            holds(&cluster, namespace, "db-0", "nought");
            holds(&cluster, namespace, "db-1", "one");
        };
        kubectl.replace(&["db-0", "db-1"]);
        both();
        kubectl.run("set env sts/db COLOUR=red");
        kubectl.run("rollout status sts/db --timeout=60s");
        both();
        kubectl.run("scale sts db --replicas=0");
        kubectl.run("wait --for=delete pod/db-0 --timeout=60s");
        assert_eq!(kubectl.run("get pvc -o name").lines().count(), 2);
        kubectl.run("scale sts db --replicas=2");
        kubectl.run("rollout status sts/db --timeout=60s");
        both();
        kubectl.run("delete sts db --timeout=60s");
        kubectl.run("wait --for=delete pod/db-0 pod/db-1 --timeout=60s");
        let claims = kubectl.run("get pvc -o name");
        assert_eq!(claims.lines().count(), 2, "claims stay when their set goes: {claims}");
        kubectl.run("delete pvc --all --timeout=60s");
        for volume in &volumes {
            kubectl.run(&format!("wait --for=delete pv/{volume} --timeout=60s"));
            assert!(!directories(data_dir.clone()).contains(volume), "the data goes with the volume");
        }
    });
}

#[test]
fn a_set_may_give_its_claims_back() {
    let cluster = Cluster::start(Shape::Whole);
    let policy = "  persistentVolumeClaimRetentionPolicy: {whenScaled: Delete, whenDeleted: Delete}\n";
    cluster.apply(&store(2, policy));
    cluster.edgectl(&["wait", "--for=jsonpath={.status.readyReplicas}=2", "sts/db", "--timeout=60s"]).ok();
    cluster.edgectl(&["scale", "sts/db", "--replicas=1"]).ok();
    cluster.edgectl(&["wait", "--for=delete", "pvc/data-db-1", "--timeout=60s"]).ok();
    assert_eq!(cluster.get(&["pvc"]).unwrap()["items"].as_array().unwrap().len(), 1);
    cluster.edgectl(&["delete", "sts/db"]).ok();
    cluster.edgectl(&["wait", "--for=delete", "pvc/data-db-0", "--timeout=60s"]).ok();
    eventually("the volumes are gone", || {
        let volumes = cluster.get(&["pv"])?;
        if volumes["items"].as_array().is_some_and(Vec::is_empty) { Ok(()) } else { Err(volumes.to_string()) }
    });
}

#[test]
fn data_outlives_kill_nine_and_a_claim_in_use_stays() {
    let mut cluster = Cluster::start(Shape::Whole);
    cluster.apply(&notes("notes", ""));
    cluster.edgectl(&["wait", "--for=condition=ready", "pod/notes", "--timeout=60s"]).ok();
    put(&cluster, "default", "notes", "remember");
    cluster.kill();
    cluster.start_again();
    holds(&cluster, "default", "notes", "remember");
    cluster.edgectl(&["delete", "pvc/notes", "--wait=false"]).ok();
    let listed = cluster.edgectl(&["get", "pvc", "notes"]).ok();
    assert!(listed.contains("Terminating"), "{listed}");
    holds(&cluster, "default", "notes", "remember");
    cluster.edgectl(&["delete", "pod/notes"]).ok();
    cluster.edgectl(&["wait", "--for=delete", "pvc/notes", "--timeout=60s"]).ok();
}

#[test]
fn an_ephemeral_volume_lives_and_dies_with_its_pod() {
    let cluster = Cluster::start(Shape::Whole);
    cluster.edgectl(&["apply", "-f", "manifests/examples/persistent-volume"]).ok();
    cluster.edgectl(&["wait", "--for=condition=ready", "pod/notes", "--timeout=60s"]).ok();
    assert_eq!(cluster.get(&["pvc", "notes-scratch"]).unwrap()["status"]["phase"], "Bound");
    cluster.edgectl(&["delete", "pod/notes"]).ok();
    cluster.edgectl(&["wait", "--for=delete", "pvc/notes-scratch", "--timeout=60s"]).ok();
    assert_eq!(cluster.get(&["pvc", "notes"]).unwrap()["status"]["phase"], "Bound");
}

#[test]
fn volumes_are_where_their_pods_were_first_and_an_absent_node_clears_up_later() {
    let cluster = Cluster::with(Options::new(Shape::Whole).flag("--node-name", "desk"));
    let agent = Agent::join(&cluster, "shelf");
    cluster.apply(&notes("far", "  nodeSelector: {kubernetes.io/hostname: shelf}\n"));
    cluster.edgectl(&["wait", "--for=condition=ready", "pod/far", "--timeout=60s"]).ok();
    let volume = volume_of(&cluster, "default", "far");
    let shelf = || directories(cluster.folder().join("shelf"));
    assert_eq!(shelf(), [volume.as_str()]);
    cluster.edgectl(&["delete", "pod/far"]).ok();
    // Another Pod that uses it can be nowhere else.
    cluster.apply(&notes("far", "  nodeSelector: {kubernetes.io/hostname: desk}\n"));
    eventually("the Pod cannot be where its volume is not", || {
        let pod = cluster.get(&["pod", "far"])?;
        let text = pod["status"]["conditions"].to_string();
        if text.contains("node(s) didn't match PersistentVolume's node affinity") {
            Ok(())
        } else {
            Err(text)
        }
    });
    cluster.edgectl(&["delete", "pod/far"]).ok();
    drop(agent);
    cluster.edgectl(&["delete", "pvc/far"]).ok();
    eventually("the volume waits for its node", || {
        let found = cluster.get(&["pv", &volume])?;
        let finalizers = found["metadata"]["finalizers"].to_string();
        let waits =
            found["metadata"]["deletionTimestamp"].is_string() && finalizers == "[\"edgectl.dev/local\"]";
        if waits { Ok(()) } else { Err(found.to_string()) }
    });
    assert_eq!(shelf(), [volume.as_str()]);
    let _agent = Agent::join(&cluster, "shelf");
    cluster.edgectl(&["wait", "--for=delete", &format!("pv/{volume}"), "--timeout=60s"]).ok();
    assert!(shelf().is_empty());
}
