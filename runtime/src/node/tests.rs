//! A whole node against a tiny API server, with modules written as text.

use std::sync::Arc;

use std::convert::Infallible;

use bytes::Bytes;
use edge_api::frames::{self, Frames};
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
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

/// Leaves a last word and traps.
const LAST: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "termination-log")
  (data (i32.const 96) "last words")
  (func $goes_wrong unreachable)
  (func (export "_start")
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 15) (i32.const 1)
      (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 0)))
    (i32.store (i32.const 8) (i32.const 96))
    (i32.store (i32.const 12) (i32.const 10))
    (drop (call $write (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 16)))
    (call $goes_wrong)))"#;

/// Passes its input on.
const ECHO: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 16) (i32.const 1024))
    (loop $more
      (i32.store (i32.const 20) (i32.const 4096))
      (drop (call $read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24)))
      (if (i32.load (i32.const 24)) (then
        (i32.store (i32.const 20) (i32.load (i32.const 24)))
        (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 28)))
        (br $more))))))"#;

struct Fixture {
    dir: Arc<TempDir>,
    fake: Fake,
    node: Option<tokio::task::JoinHandle<()>>,
}

impl Fixture {
    async fn new() -> Fixture {
        let dir = Arc::new(tempfile::tempdir().expect("a directory"));
        let modules = [
            ("hello.wat", HELLO),
            ("fail.wat", FAIL),
            ("loop.wat", LOOP),
            ("ask.wat", ASK),
            ("last.wat", LAST),
            ("echo.wat", ECHO),
        ];
        for (name, text) in modules {
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

/// A Pod whose container has these hooks.
fn hooked(hooks: Value) -> Value {
    json!({"containers": [{"name": "c", "image": "file:ask.wat", "lifecycle": hooks}]})
}

fn told(reason: &str, pod: &str) -> impl Fn(&Value) -> bool {
    move |event| event["reason"] == reason && event["involvedObject"]["name"] == pod
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_runs_when_its_post_start_is_done() {
    let fixture = Fixture::new().await;
    let exec = |command: Value| hooked(json!({"postStart": {"exec": {"command": command}}}));
    fixture.create("well", exec(json!(["a", "b"])));
    fixture.create("ill", exec(json!(["a", "b", "c"])));
    fixture.until("well", |pod| condition(pod, "Ready") == "True").await;
    fixture.until("ill", |pod| status_of(pod, 0, "restartCount").as_u64() >= Some(1)).await;
    let event =
        fixture.fake.until_any("/api/v1/namespaces/default/events", told("FailedPostStartHook", "ill")).await;
    assert_eq!(event["message"], "PostStartHook failed");
    fixture.create("asks", hooked(json!({"postStart": {"httpGet": {"port": 9}}})));
    fixture.fake.until_any("/api/v1/namespaces/default/events", told("FailedPostStartHook", "asks")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pre_stop_runs_before_the_end_and_no_longer_than_it_may() {
    let fixture = Fixture::new().await;
    let exec = |command: Value| hooked(json!({"preStop": {"exec": {"command": command}}}));
    fixture.create("well", exec(json!(["a", "b"])));
    fixture.create("ill", exec(json!(["a", "b", "c"])));
    fixture.create("slow", exec(json!(["spins"])));
    for name in ["well", "ill", "slow"] {
        fixture.until(name, |pod| condition(pod, "Ready") == "True").await;
        fixture.delete(name, 1);
        fixture.until_gone(name).await;
    }
    let events = "/api/v1/namespaces/default/events";
    for name in ["ill", "slow"] {
        let event = fixture.fake.until_any(events, told("FailedPreStopHook", name)).await;
        assert_eq!(event["message"], "PreStopHook failed");
    }
    let well = told("FailedPreStopHook", "well");
    assert!(!fixture.fake.below(events).iter().any(well));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_word_and_a_trap_are_the_message_of_the_end() {
    let fixture = Fixture::new().await;
    let spec = json!({"restartPolicy": "Never", "containers": [
        {"name": "c", "image": "file:last.wat", "terminationMessagePath": "/dev/termination-log"},
    ]});
    fixture.create("p", spec);
    let pod = fixture.until("p", |pod| pod["status"]["phase"] == "Failed").await;
    let ended = &status_of(&pod, 0, "state")["terminated"];
    assert_eq!((ended["exitCode"].as_i64(), ended["reason"].as_str()), (Some(134), Some("Error")));
    let message = ended["message"].as_str().expect("text");
    assert!(
        message.starts_with("last words\nwasm trap: wasm `unreachable` instruction executed"),
        "{message}"
    );
    assert!(message.contains("goes_wrong"), "the frames have names: {message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_readiness_gate_is_heard_of() {
    let fixture = Fixture::new().await;
    let spec = json!({
        "readinessGates": [{"conditionType": "example.com/x"}],
        "containers": [{"name": "c", "image": "file:loop.wat"}],
    });
    fixture.create("p", spec);
    let mut pod = fixture.until("p", |pod| condition(pod, "ContainersReady") == "True").await;
    assert_eq!(condition(&pod, "Ready"), "False");
    let opened = json!({"type": "example.com/x", "status": "True"});
    pod["status"]["conditions"].as_array_mut().expect("conditions").push(opened);
    fixture.fake.put(&Fixture::path("p"), pod);
    fixture.until("p", |pod| condition(pod, "Ready") == "True").await;
}

/// A caller who speaks with a guest over the tunnel.
struct Caller {
    mouth: mpsc::Sender<Bytes>,
    body: Incoming,
    frames: Frames,
    heard: String,
}

impl Caller {
    /// `what` is `exec/POD/CONTAINER?…` or the like.
    async fn of(fixture: &Fixture, what: &str) -> Result<Caller, (StatusCode, String)> {
        let (mouth, said) = mpsc::channel::<Bytes>(16);
        let said = futures::stream::unfold(said, |mut said| async move {
            Some((Ok::<_, Infallible>(Frame::data(said.recv().await?)), said))
        });
        let (act, of) = what.split_once('/').expect("an act");
        let request = Request::post(format!("http://node/{act}/default/{of}"))
            .body(StreamBody::new(said).boxed())
            .expect("a request");
        let (head, body) = fixture.fake.call(request).await.into_parts();
        if head.status != StatusCode::OK {
            let text = body.collect().await.expect("a reason").to_bytes();
            return Err((head.status, String::from_utf8_lossy(&text).into_owned()));
        }
        Ok(Caller { mouth, body, frames: Frames::default(), heard: String::new() })
    }

    async fn say(&self, channel: u8, text: &[u8]) {
        self.mouth.send(frames::frame(channel, text)).await.expect("the session goes on");
    }

    async fn next(&mut self) -> (u8, Bytes) {
        loop {
            if let Some(message) = self.frames.next_message().expect("short enough") {
                return message;
            }
            let next = tokio::time::timeout(Duration::from_secs(30), self.body.frame()).await;
            let frame = next.expect("it goes on").expect("it has not ended").expect("it is whole");
            self.frames.push(&frame.into_data().expect("data"));
        }
    }

    /// Listens until all it has heard since the last time is `text`.
    async fn hears(&mut self, text: &str) {
        while self.heard != text {
            assert!(text.starts_with(&self.heard), "it says {:?}", self.heard);
            let (channel, said) = self.next().await;
            assert_eq!(channel, frames::STDOUT, "{said:?}");
            self.heard.push_str(&String::from_utf8_lossy(&said));
        }
        self.heard.clear();
    }

    /// Listens to the end; gives what became of it.
    async fn end(mut self) -> Value {
        loop {
            let (channel, said) = self.next().await;
            if channel == frames::ERROR {
                return serde_json::from_slice(&said).expect("a Status");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_attach_to_one_container() {
    let fixture = Fixture::new().await;
    let container = |once: bool| {
        json!({"restartPolicy": "Never", "containers": [
            {"name": "c", "image": "file:echo.wat", "stdin": true, "stdinOnce": once},
        ]})
    };
    fixture.create("many", container(false));
    fixture.create("once", container(true));
    for name in ["many", "once"] {
        fixture.until(name, |pod| condition(pod, "Ready") == "True").await;
    }
    let attach = |name: &str| format!("attach/{name}/c?stdin=true&stdout=true&stderr=true");
    let mut one = Caller::of(&fixture, &attach("many")).await.expect("attached");
    let mut two = Caller::of(&fixture, "attach/many/c?stdout=true").await.expect("attached");
    one.say(frames::STDIN, b"first\n").await;
    one.hears("first\n").await;
    two.hears("first\n").await;
    one.say(frames::CLOSE, &[frames::STDIN]).await;
    let mut three = Caller::of(&fixture, &attach("many")).await.expect("attached");
    three.say(frames::STDIN, b"second\n").await;
    for caller in [&mut one, &mut two, &mut three] {
        caller.hears("second\n").await;
    }
    fixture.delete("many", 0);
    assert_eq!(two.end().await["status"], "Success");

    let mut once = Caller::of(&fixture, &attach("once")).await.expect("attached");
    once.say(frames::STDIN, b"last\n").await;
    once.hears("last\n").await;
    once.say(frames::CLOSE, &[frames::STDIN]).await;
    assert_eq!(once.end().await["status"], "Success");
    fixture.until("once", |pod| pod["status"]["phase"] == "Succeeded").await;
    let gone = Caller::of(&fixture, &attach("once")).await.err().expect("it has ended");
    assert_eq!(gone, (StatusCode::NOT_FOUND, "container not found (\"c\")".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_ends_with_its_container() {
    let fixture = Fixture::new().await;
    fixture.create("p", json!({"containers": [{"name": "c", "image": "file:echo.wat", "stdin": true}]}));
    fixture.until("p", |pod| condition(pod, "Ready") == "True").await;
    let mut caller =
        Caller::of(&fixture, "exec/p/c?command=x&stdin=true&stdout=true").await.expect("it begins");
    caller.say(frames::STDIN, b"still here\n").await;
    caller.hears("still here\n").await;
    fixture.delete("p", 0);
    let status = caller.end().await;
    assert_eq!(status["details"]["causes"][0]["message"], "137", "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_on_a_terminal() {
    let fixture = Fixture::new().await;
    fixture.create("p", json!({"containers": [{"name": "c", "image": "file:echo.wat", "stdin": true}]}));
    fixture.until("p", |pod| condition(pod, "Ready") == "True").await;
    let exec = "exec/p/c?command=x&stdin=true&stdout=true&tty=true";
    let mut caller = Caller::of(&fixture, exec).await.expect("it begins");
    caller.say(frames::RESIZE, br#"{"Width":80,"Height":24}"#).await;
    caller.say(frames::STDIN, b"lx\x7fs\r").await;
    caller.hears("lx\x08 \x08s\r\nls\r\n").await;
    caller.say(frames::STDIN, b"\x03").await;
    let status = caller.end().await;
    assert_eq!(status["details"]["causes"][0]["message"], "130", "{status}");
    let mut caller = Caller::of(&fixture, exec).await.expect("it begins");
    caller.say(frames::STDIN, b"bye\r\x04").await;
    caller.hears("bye\r\nbye\r\n").await;
    assert_eq!(caller.end().await["status"], "Success");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wants_a_tool_hears_where_it_is_missing() {
    let fixture = Fixture::new().await;
    fixture.create("p", json!({"containers": [{"name": "c", "image": "file:loop.wat"}]}));
    fixture.until("p", |pod| condition(pod, "Ready") == "True").await;
    let (status, why) =
        Caller::of(&fixture, "exec/p/c?command=tar&stdout=true").await.err().expect("no toolbox");
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(why.starts_with("the node's toolbox cannot be used: ") && why.contains("toolbox.wasm"), "{why}");
}

/// Makes the file `log` in its first directory, and exits with what came of that.
const KEEP: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "log")
  (func (export "_start")
    (call $exit (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 3) (i32.const 1)
      (i64.const 64) (i64.const 0) (i32.const 1) (i32.const 0)))))"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_is_a_directory_that_outlives_its_pod_and_goes_with_its_volume() {
    let mut fixture = Fixture::new().await;
    std::fs::write(fixture.dir.path().join("keep.wat"), KEEP).expect("written");
    let node = fixture.fake.get("/api/v1/nodes/n1").expect("the Node");
    let root = fixture.dir.path().join("data/volumes");
    assert_eq!(node["metadata"]["annotations"]["edgectl.dev/volumes"], root.display().to_string());
    let claim = "/api/v1/namespaces/default/persistentvolumeclaims/data";
    let metadata = json!({"name": "data", "namespace": "default", "uid": "c"});
    fixture.fake.put(claim, json!({"kind": "PersistentVolumeClaim", "metadata": metadata, "spec": {}}));
    let volume = json!({"kind": "PersistentVolume", "metadata": {"name": "pvc-c", "uid": "v",
        "labels": {"edgectl.dev/node": "n1"}, "finalizers": ["edgectl.dev/local", "kubernetes.io/pv-protection"],
        "annotations": {"pv.kubernetes.io/provisioned-by": "edgectl.dev/local"}},
        "spec": {"claimRef": {"name": "data", "namespace": "default", "uid": "c"},
            "persistentVolumeReclaimPolicy": "Delete", "local": {"path": "/etc"}}});
    let at = "/api/v1/persistentvolumes/pvc-c";
    fixture.fake.put(at, volume);
    let spec = json!({"restartPolicy": "Never",
        "containers": [{"name": "c", "image": "file:keep.wat", "volumeMounts": [{"name": "v", "mountPath": "/data"}]}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]});
    fixture.create("p", spec.clone());
    let failed = |event: &Value| event["reason"] == "FailedMount";
    let said = fixture.fake.until_any("/api/v1/namespaces/default/events", failed).await;
    let unbound =
        "MountVolume.SetUp failed for volume \"v\" : error processing PVC default/data: PVC is not bound";
    assert_eq!(said["message"], unbound);
    let mut bound = fixture.fake.get(claim).expect("there");
    bound["spec"]["volumeName"] = json!("pvc-c");
    fixture.fake.put(claim, bound);
    fixture.until("p", |pod| pod["status"]["phase"] == "Succeeded").await;
    let file = root.join("pvc-c/log");
    assert!(file.is_file());
    fixture.delete("p", 1);
    fixture.until_gone("p").await;
    assert!(file.is_file(), "what is in it outlives the Pod");
    // A volume whose protection is gone has come to its end; also one that came to it while the node was away.
    fixture.stop().await;
    let mut gone = fixture.fake.get(at).expect("there");
    gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    gone["metadata"]["finalizers"] = json!(["edgectl.dev/local"]);
    fixture.fake.put(at, gone);
    fixture.start().await;
    fixture
        .fake
        .until(at, |volume| volume.is_some_and(|volume| volume["metadata"]["finalizers"] == json!([])))
        .await;
    assert!(!root.join("pvc-c").exists());
}

/// Asks `wasi:config` for `COLOUR` until it begins with a b.
const CONFIG: &str = r#"(component
  (type $store (instance
    (type $problem (variant (case "upstream" string) (case "io" string)))
    (export "error" (type $error (eq $problem)))
    (type $get (func (param "key" string) (result (result (option string) (error $error)))))
    (export "get" (func (type $get)))))
  (import "wasi:config/store@0.2.0-rc.1" (instance $store (type $store)))
  (core module $libc
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
  (core instance $libc (instantiate $libc))
  (core func $get (canon lower (func $store "get")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "store" "get" (func $get (param i32 i32 i32)))
    (data (i32.const 8) "COLOUR")
    (func (export "run") (result i32)
      (loop $again
        (call $get (i32.const 8) (i32.const 6) (i32.const 64))
        (if (i32.and (i32.eqz (i32.load8_u (i32.const 64))) (i32.load8_u (i32.const 68)))
          (then (if (i32.eq (i32.load8_u (i32.load (i32.const 72))) (i32.const 98))
            (then (return (i32.const 0))))))
        (br $again))
      unreachable))
  (core instance $i (instantiate $m (with "libc" (instance $libc))
    (with "store" (instance (export "get" (func $get))))))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $iface (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $iface)))"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_settings_reach_files_and_wasi_config_without_a_restart() {
    let fixture = Fixture::new().await;
    std::fs::write(fixture.dir.path().join("config.wat"), CONFIG).expect("written");
    let at = "/api/v1/namespaces/default/configmaps/settings";
    let settings = |colour: &str| json!({"kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "default"}, "data": {"colour": colour}});
    fixture.fake.put(at, settings("red"));
    let colour =
        json!({"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}});
    fixture.create(
        "p",
        json!({"restartPolicy": "Never",
            "containers": [{"name": "c", "image": "file:config.wat", "env": [colour],
                "volumeMounts": [{"name": "v", "mountPath": "/etc/settings"}]}],
            "volumes": [{"name": "v", "configMap": {"name": "settings"}}]}),
    );
    fixture.until("p", |pod| !status_of(pod, 0, "state")["running"].is_null()).await;
    let file = fixture.dir.path().join("data/pods/uid-p/volumes/v/colour");
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), "red");
    fixture.fake.put(at, settings("blue"));
    let pod = fixture.until("p", |pod| pod["status"]["phase"] == "Succeeded").await;
    assert_eq!(*status_of(&pod, 0, "restartCount"), 0);
    let written = async {
        while std::fs::read_to_string(&file).expect("a file") != "blue" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), written).await.expect("the file follows");
}
