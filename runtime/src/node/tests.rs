//! A whole node against a tiny API server, with modules written as text.

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::client::fake::Fake;

const HELLO: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "hello\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 8))
    (i32.store (i32.const 4) (i32.const 6))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))))"#;

const FAIL: &str = r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $exit (i32.const 3))))"#;

const LOOP: &str = r#"(module (memory (export "memory") 1) (func (export "_start") (loop $l (br $l))))"#;

/// Spins; with arguments it is a command: two of them are well, more are not.
const ASK: &str = r#"(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (if (i32.gt_u (i32.load (i32.const 0)) (i32.const 1))
      (then (call $exit (i32.sub (i32.load (i32.const 0)) (i32.const 2)))))
    (loop $l (br $l))))"#;

struct Fixture {
    dir: Arc<TempDir>,
    fake: Fake,
    node: Option<tokio::task::JoinHandle<()>>,
}

impl Fixture {
    async fn new() -> Fixture {
        let dir = Arc::new(tempfile::tempdir().expect("a directory"));
        for (name, text) in [("hello.wat", HELLO), ("fail.wat", FAIL), ("loop.wat", LOOP), ("ask.wat", ASK)] {
            std::fs::write(dir.path().join(name), text).expect("written");
        }
        let mut fixture = Fixture { dir, fake: Fake::new(), node: None };
        fixture.fake.put(
            "/api/v1/nodes/n1",
            json!({"kind": "Node", "metadata": {"name": "n1"}, "spec": {"podCIDR": "10.42.0.0/24"}}),
        );
        fixture.start().await;
        fixture
    }

    async fn start(&mut self) {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config =
            Config::new("n1", self.dir.path().join("data"), Server::Local(self.fake.connector()));
        config.image_dir = self.dir.path().to_owned();
        (config.dns_address, config.http_address, config.https_address) = (any, any, any);
        config.in_process_compiler = true;
        let mut node = Node::build(config).await.expect("built");
        let ready = node.ready();
        let task = tokio::spawn(async move {
            let error = node.run().await.expect_err("a node runs until it breaks");
            panic!("{error}");
        });
        tokio::time::timeout(Duration::from_secs(20), ready).await.expect("ready");
        self.node = Some(task);
    }

    /// Stops the node as a crash would.
    async fn stop(&mut self) {
        let node = self.node.take().expect("it runs");
        node.abort();
        let _ = node.await;
    }

    fn path(name: &str) -> String {
        format!("/api/v1/namespaces/default/pods/{name}")
    }

    fn create(&self, name: &str, mut spec: Value) {
        spec["nodeName"] = "n1".into();
        if spec["restartPolicy"].is_null() {
            spec["restartPolicy"] = "Always".into();
        }
        let metadata = json!({"name": name, "namespace": "default", "uid": format!("uid-{name}")});
        self.fake.put(
            &Fixture::path(name),
            json!({"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Pending"}}),
        );
    }

    fn delete(&self, name: &str, grace: u64) {
        let mut pod = self.fake.get(&Fixture::path(name)).expect("there");
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        pod["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        self.fake.put(&Fixture::path(name), pod);
    }

    async fn until(&self, name: &str, ready: impl Fn(&Value) -> bool) -> Value {
        let ready = |pod: Option<&Value>| pod.is_some_and(&ready);
        self.fake.until(&Fixture::path(name), ready).await.expect("there")
    }

    async fn until_gone(&self, name: &str) {
        self.fake.until(&Fixture::path(name), |pod| pod.is_none()).await;
    }
}

fn status_of<'a>(pod: &'a Value, container: usize, field: &str) -> &'a Value {
    &pod["status"]["containerStatuses"][container][field]
}

fn condition<'a>(pod: &'a Value, type_: &str) -> &'a str {
    let conditions = pod["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions
        .iter()
        .find(|found| found["type"] == type_)
        .and_then(|found| found["status"].as_str())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_from_bound_to_done() {
    let fixture = Fixture::new().await;
    fixture.create(
        "p",
        json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "file:hello.wat"}]}),
    );
    let pod = fixture.until("p", |pod| pod["status"]["phase"] == "Succeeded").await;
    let ended = &status_of(&pod, 0, "state")["terminated"];
    assert_eq!((ended["exitCode"].as_i64(), ended["reason"].as_str()), (Some(0), Some("Completed")));
    assert_eq!(pod["status"]["podIP"], "10.42.0.2");
    assert!(status_of(&pod, 0, "imageID").as_str().expect("text").starts_with("file:hello.wat@sha256:"));
    let log = fixture.dir.path().join("data/logs/default_p_uid-p/c/0.log");
    assert!(std::fs::read_to_string(log).expect("a log").ends_with("stdout F hello\n"));
    let lease = fixture
        .fake
        .get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1")
        .expect("a Lease");
    assert_eq!(lease["spec"]["holderIdentity"], "n1");
    let node = fixture.fake.get("/api/v1/nodes/n1").expect("the Node");
    assert_eq!(condition(&node, "Ready"), "True");
    fixture.delete("p", 30);
    fixture.until_gone("p").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spinning_pod_is_ready_and_ends_within_its_grace() {
    let fixture = Fixture::new().await;
    fixture.create("p", json!({"containers": [{"name": "c", "image": "file:loop.wat"}]}));
    let pod = fixture.until("p", |pod| condition(pod, "Ready") == "True").await;
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(*status_of(&pod, 0, "started"), json!(true));
    fixture.delete("p", 1);
    fixture.until_gone("p").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_is_restarted_at_once_and_then_backs_off() {
    let fixture = Fixture::new().await;
    fixture.create("p", json!({"containers": [{"name": "c", "image": "file:fail.wat"}]}));
    let waits = |pod: &Value| status_of(pod, 0, "state")["waiting"]["reason"] == "CrashLoopBackOff";
    let pod = fixture.until("p", waits).await;
    assert_eq!(*status_of(&pod, 0, "restartCount"), json!(1));
    assert_eq!(status_of(&pod, 0, "lastState")["terminated"]["exitCode"], 3);
    let message = status_of(&pod, 0, "state")["waiting"]["message"].as_str().expect("text").to_owned();
    assert_eq!(message, "back-off 10s restarting failed container=c pod=p_default(uid-p)");
    assert_eq!(condition(&pod, "Ready"), "False");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_images_say_so() {
    let fixture = Fixture::new().await;
    fixture.create("none", json!({"containers": [{"name": "c", "image": "file:none.wasm"}]}));
    fixture.create("bad", json!({"containers": [{"name": "c", "image": "UPPER"}]}));
    let reason =
        |pod: &Value| status_of(pod, 0, "state")["waiting"]["reason"].as_str().unwrap_or_default().to_owned();
    let pod = fixture.until("none", |pod| reason(pod) == "ErrImagePull").await;
    let message = status_of(&pod, 0, "state")["waiting"]["message"].to_string();
    assert!(message.contains("none.wasm") && message.contains("No such file"), "{message}");
    fixture.until("bad", |pod| reason(pod) == "InvalidImageName").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_config_map_is_waited_for() {
    let fixture = Fixture::new().await;
    fixture.create(
        "p",
        json!({
            "restartPolicy": "Never",
            "volumes": [{"name": "v", "configMap": {"name": "late"}}, {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
            "containers": [{"name": "c", "image": "file:hello.wat",
                "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "k"}}}],
                "volumeMounts": [{"name": "v", "mountPath": "/etc/late"}]}],
        }),
    );
    fixture.until("p", |pod| status_of(pod, 0, "state")["waiting"]["reason"] == "ContainerCreating").await;
    fixture.fake.put(
        "/api/v1/namespaces/default/configmaps/late",
        json!({"metadata": {"name": "late", "namespace": "default"}, "data": {"k": "v"}}),
    );
    fixture.until("p", |pod| pod["status"]["phase"] == "Succeeded").await;
    let volumes = fixture.dir.path().join("data/pods/uid-p/volumes");
    assert_eq!(std::fs::read_to_string(volumes.join("v/k")).expect("written"), "v");
    assert_eq!(std::fs::read_to_string(volumes.join("t/token")).expect("written"), "t0ken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_survive_a_restart_of_the_node() {
    let mut fixture = Fixture::new().await;
    fixture.create("p", json!({"containers": [{"name": "c", "image": "file:loop.wat"}, {"name": "d", "image": "file:fail.wat"}]}));
    let before = fixture
        .until("p", |pod| {
            *status_of(pod, 0, "ready") == json!(true) && *status_of(pod, 1, "restartCount") == json!(1)
        })
        .await;
    fixture.stop().await;
    std::fs::remove_file(fixture.dir.path().join("loop.wat")).expect("removed");
    fixture.start().await;
    let started = status_of(&before, 0, "containerID").clone();
    let after = fixture
        .until("p", |pod| {
            *status_of(pod, 0, "containerID") != started && *status_of(pod, 0, "ready") == json!(true)
        })
        .await;
    assert_eq!(after["status"]["podIP"], before["status"]["podIP"]);
    assert!(status_of(&after, 1, "restartCount").as_i64() >= Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_says_whether_a_container_is_ready() {
    let fixture = Fixture::new().await;
    let probe =
        |command: Value| json!({"exec": {"command": command}, "periodSeconds": 1, "timeoutSeconds": 10});
    let container = |command: Value| json!({"containers": [{"name": "c", "image": "file:ask.wat", "readinessProbe": probe(command)}]});
    fixture.create("well", container(json!(["a", "b"])));
    fixture.create("ill", container(json!(["a", "b", "c"])));
    fixture.until("well", |pod| condition(pod, "Ready") == "True").await;
    let unhealthy =
        |event: &Value| event["reason"] == "Unhealthy" && event["involvedObject"]["name"] == "ill";
    fixture.fake.until_any("/api/v1/namespaces/default/events", unhealthy).await;
    let ill = fixture.fake.get(&Fixture::path("ill")).expect("there");
    assert_eq!(condition(&ill, "Ready"), "False");
}
