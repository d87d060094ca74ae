//! Scaling, rolling and deleting Pods under load loses no request and repeats none.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use edge_tests::{Cluster, Options, Shape, eventually, web};

const RATE: u64 = 200;
const CLIENTS: u64 = 8;
const HOST: &str = "busy.localhost";

/// What the clients saw.
#[derive(Default)]
struct Seen {
    by_pod: BTreeMap<String, u64>,
    posts: Vec<String>,
    failures: Vec<String>,
}

fn deployment(replicas: u32, image: &str, data: &std::path::Path) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: busy}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: busy}}}}
  template:
    metadata: {{labels: {{app: busy}}}}
    spec:
      volumes: [{{name: data, hostPath: {{path: {}}}}}]
      containers:
      - name: main
        image: file:guests/dist/{image}
        ports: [{{containerPort: 8080}}]
        volumeMounts: [{{name: data, mountPath: /data}}]
---
apiVersion: v1
kind: Service
metadata: {{name: busy}}
spec:
  selector: {{app: busy}}
  ports: [{{port: 80, targetPort: 8080}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: busy}}
spec:
  rules:
  - host: {HOST}
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: busy, port: {{number: 80}}}}}}}}]}}
"#,
        data.display()
    )
}

#[test]
fn no_request_is_lost_or_repeated_while_pods_come_and_go() {
    let data = tempfile::tempdir().unwrap();
    let dist = edge_tests::root().join("guests/dist");
    std::fs::copy(dist.join("hello-http.wasm"), dist.join("hello-http-v2.wasm")).unwrap();
    let cluster =
        Cluster::with(Options::new(Shape::Whole).flag("--host-path-dir", data.path().to_str().unwrap()));
    let apply = |replicas, image| drop(cluster.apply(&deployment(replicas, image, data.path())));
    let settled = || {
        cluster.edgectl(&["rollout", "status", "deployment/busy", "--timeout=90s"]).ok();
    };
    apply(1, "hello-http.wasm");
    settled();
    eventually("the Ingress answers", || {
        let answer = web::get(cluster.http(), HOST, "/")?;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });

    let load = Load::start(cluster.http());
    let margin = Duration::from_secs(5);
    std::thread::sleep(margin);
    let mut pods = names(&cluster);
    apply(5, "hello-http.wasm");
    settled();
    pods.extend(names(&cluster));
    apply(2, "hello-http.wasm");
    settled();
    apply(2, "hello-http-v2.wasm");
    settled();
    pods.extend(names(&cluster));
    for _ in 0..3 {
        let victim = names(&cluster).remove(0);
        cluster.edgectl(&["delete", "pod", &victim]).ok();
        settled();
        pods.extend(names(&cluster));
    }
    std::thread::sleep(margin);
    let (seen, sent, took) = load.stop();

    println!(
        "{sent} requests in {took:?} by {} Pods, {} POSTs, {} failed",
        seen.by_pod.len(),
        seen.posts.len(),
        seen.failures.len()
    );
    assert!(
        seen.failures.is_empty(),
        "{} of {sent} failed, the first: {}",
        seen.failures.len(),
        seen.failures[0]
    );
    let executed = std::fs::read_to_string(data.path().join("posts")).unwrap();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for line in executed.lines() {
        *counts.entry(line.split(' ').find_map(|word| word.strip_prefix("id=")).unwrap()).or_default() += 1;
    }
    for id in &seen.posts {
        assert_eq!(
            counts.get(id.as_str()),
            Some(&1),
            "POST {id} was executed {:?} times",
            counts.get(id.as_str())
        );
    }
    assert_eq!(counts.len(), seen.posts.len(), "POSTs were executed that nobody sent");
    pods.sort();
    pods.dedup();
    for pod in &pods {
        assert!(seen.by_pod.contains_key(pod), "{pod} served nothing; served: {:?}", seen.by_pod);
    }
}

/// The Pods that are Ready.
fn names(cluster: &Cluster) -> Vec<String> {
    let pods = cluster.get(&["pods", "-l", "app=busy"]).unwrap();
    let ready = |pod: &&serde_json::Value| {
        pod["metadata"]["deletionTimestamp"].is_null()
            && pod["status"]["containerStatuses"][0]["ready"] == true
    };
    pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(ready)
        .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

struct Load {
    clients: Vec<std::thread::JoinHandle<()>>,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    start: Instant,
}

impl Load {
    /// 200 requests a second, one in four a POST, each on a connection of its own, none repeated.
    fn start(address: SocketAddr) -> Load {
        let (seen, stop, sent) = (
            Arc::new(Mutex::new(Seen::default())),
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let start = Instant::now();
        let clients = (0..CLIENTS)
            .map(|client| {
                let (seen, stop, sent) = (seen.clone(), stop.clone(), sent.clone());
                std::thread::spawn(move || {
                    let mut number = client;
                    while !stop.load(Ordering::Relaxed) {
                        let due = start + Duration::from_micros(1_000_000 / RATE * number);
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        one(address, number, &seen);
                        sent.fetch_add(1, Ordering::Relaxed);
                        number += CLIENTS;
                    }
                })
            })
            .collect();
        Load { clients, seen, stop, sent, start }
    }

    fn stop(self) -> (Seen, u64, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        (seen, self.sent.load(Ordering::Relaxed), self.start.elapsed())
    }
}

fn one(address: SocketAddr, number: u64, seen: &Mutex<Seen>) {
    let post = number.is_multiple_of(4);
    let (id, body) = (format!("r{number}"), format!("body of {number}"));
    let answer = if post {
        web::request_with(address, "POST", HOST, "/", &format!("x-request-id: {id}\r\n"), &body)
    } else {
        web::get(address, HOST, "/")
    };
    let mut seen = seen.lock().unwrap();
    if post {
        seen.posts.push(id);
    }
    match answer {
        Ok(answer) if answer.status == 200 && (!post || answer.body == body) => {
            let pod = answer
                .head
                .lines()
                .find_map(|line| line.strip_prefix("x-pod-name: "))
                .unwrap_or("?")
                .to_owned();
            *seen.by_pod.entry(pod).or_default() += 1;
        }
        Ok(answer) => seen.failures.push(format!("request {number}: {answer:?}")),
        Err(error) => seen.failures.push(format!("request {number}: {error}")),
    }
}
