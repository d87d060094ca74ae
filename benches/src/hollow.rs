//! Row 15: a control plane with 1,000 nodes and 100,000 Pods.
//!
//! The nodes are hollow: this process, on one thread, watches the Pods of each as a node does, renews its Lease, and
//! says of every Pod that is bound to it that it runs. API, store, scheduler and controllers are the real ones.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use edge_tests::{Cluster, Options, Shape};
use http_body_util::BodyExt as _;
use hyper::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::client::Connection;
use crate::process::totals;
use crate::report::line;

const NODES: usize = 1_000;
/// Pods of one Deployment.
const REPLICAS: usize = 1_000;
const DEPLOYMENTS: usize = 100;
/// Connections on which what the nodes report is written.
const WRITERS: usize = 64;
const LEASE_SECONDS: u64 = 40;
const QUIET: Duration = Duration::from_secs(30);
/// Deployments whose Pods' cost is told, at few and at many; together enough for several transactions of the store's
/// tables, of which one more or less would otherwise be the difference.
const MORE_DEPLOYMENTS: usize = 6;
/// Pods of each of them.
const MORE_REPLICAS: usize = 500;
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const DEPLOYED: &str = "/apis/apps/v1/namespaces/default/deployments";

/// The part of a watch event that a hollow node looks at.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    what: String,
    object: Pod,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Deserialize, Default)]
struct Status {
    #[serde(default)]
    phase: String,
}

/// What the nodes have seen and still have to say.
#[derive(Default)]
struct Fleet {
    /// Paths and bodies of what is to be written.
    reports: RefCell<VecDeque<(String, String)>>,
    work: Notify,
    bound: Cell<usize>,
    running: Cell<usize>,
    news: Notify,
}

impl Fleet {
    fn saw(&self, node: usize, event: &Event) {
        if event.what != "ADDED" && event.what != "MODIFIED" {
            return;
        }
        if event.object.status.phase == "Running" {
            self.running.set(self.running.get() + 1);
            self.news.notify_one();
        } else if event.what == "ADDED" {
            let number = self.bound.replace(self.bound.get() + 1);
            let path = format!("/api/v1/namespaces/default/pods/{}/status", event.object.metadata.name);
            self.reports.borrow_mut().push_back((path, running(node, number)));
            self.work.notify_one();
        }
    }
}

/// What a node says of a Pod that runs.
fn running(node: usize, number: usize) -> String {
    let ready =
        |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let address = format!("10.{}.{}.{}", 64 + number / 65_536, number / 256 % 256, number % 256);
    json!({"status": {
        "phase": "Running", "hostIP": format!("192.0.2.{}", node % 250), "podIP": &address, "podIPs": [{"ip": &address}],
        "startTime": "2026-01-01T00:00:00Z",
        "conditions": [ready("PodScheduled"), ready("Initialized"), ready("ContainersReady"), ready("Ready")],
        "containerStatuses": [{
            "name": "main", "image": "file:idle.wasm", "imageID": "", "ready": true, "started": true, "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        }],
    }})
    .to_string()
}

/// The whole story.
pub fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, story())
}

async fn story() -> Result<()> {
    let cluster = Cluster::with(
        Options::new(Shape::Whole).flag("--no-node", "true").flag("--pod-range", "10.64.0.0/12"),
    );
    let fleet = Rc::new(Fleet::default());
    let begun = Instant::now();
    enrol(&cluster, &fleet).await?;
    let took = begun.elapsed().as_secs_f64();
    line("15", "nodes that joined", &format!("{NODES} in {took:.1} s"), "");

    let pid = cluster.pid();
    let mut writer = Connection::to(&cluster).await?;
    deploy(&mut writer, "web-0", REPLICAS).await?;
    fleet.all_run(REPLICAS).await?;
    let few = cost_of_more(&mut writer, &fleet, pid, "few").await?;

    let (begun, before) = (Instant::now(), totals(pid)?.cpu);
    let start = fleet.running.get();
    for number in 1..DEPLOYMENTS {
        deploy(&mut writer, &format!("web-{number}"), REPLICAS).await?;
    }
    let all = start + (DEPLOYMENTS - 1) * REPLICAS;
    fleet.all_bound(all).await?;
    let bound = begun.elapsed().as_secs_f64();
    fleet.all_run(all).await?;
    let took = begun.elapsed().as_secs_f64();
    let count = (all - start) as f64;
    let rate = |seconds: f64| format!("{seconds:.0} s, {:.0}/s", count / seconds);
    line("15", "99,000 Pods, applied → all bound", &rate(bound), "≥ 2,500/s");
    line("15", "  applied → all running", &rate(took), "≥ 2,500/s");
    let cpu = (totals(pid)?.cpu - before) * 1000.0 / count;
    line("15", "  CPU of the control plane a Pod, created to running", &format!("{cpu:.3} ms"), "");
    line("15", "  RSS of the control plane", &mib(totals(pid)?.resident), "≤ 1024 MiB");

    let many = cost_of_more(&mut writer, &fleet, pid, "many").await?;
    let figure = format!("{few:.3} and {many:.3} ms, {:.2} ×", many / few);
    line("15", "CPU of one more Pod at 1,000 and at 100,000", &figure, "≤ 1.0 ×");
    tokio::time::sleep(QUIET).await;
    let before = totals(pid)?.cpu;
    tokio::time::sleep(QUIET).await;
    let share = (totals(pid)?.cpu - before) / QUIET.as_secs_f64() * 100.0;
    line("15", "CPU when nothing changes but Leases", &format!("{share:.2} % of a core"), "nothing polls");
    Ok(())
}

fn mib(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / 1_048_576.0)
}

/// Waits until a second has cost less than a fifth of one, which is more than the Leases do and less than anything
/// else: what came before is paid for.
async fn rest(pid: u32) -> Result<()> {
    for _ in 0..60 {
        let before = totals(pid)?.cpu;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if totals(pid)?.cpu - before < 0.2 {
            return Ok(());
        }
    }
    anyhow::bail!("the control plane does not come to rest")
}

/// CPU milliseconds of each of the Pods of some more Deployments.
async fn cost_of_more(writer: &mut Connection, fleet: &Fleet, pid: u32, name: &str) -> Result<f64> {
    rest(pid).await?;
    let more = MORE_DEPLOYMENTS * MORE_REPLICAS;
    let (before, all) = (totals(pid)?.cpu, fleet.running.get() + more);
    for number in 0..MORE_DEPLOYMENTS {
        deploy(writer, &format!("{name}-{number}"), MORE_REPLICAS).await?;
    }
    fleet.all_run(all).await?;
    Ok((totals(pid)?.cpu - before) * 1000.0 / more as f64)
}

async fn deploy(writer: &mut Connection, name: &str, replicas: usize) -> Result<()> {
    let labels = json!({"app": name});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": &labels},
            "template": {
                "metadata": {"labels": &labels},
                "spec": {"containers": [{
                    "name": "main", "image": "file:idle.wasm",
                    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
                }]},
            },
        },
    });
    writer.call(Method::POST, DEPLOYED, JSON, deployment.to_string().into()).await?;
    Ok(())
}

impl Fleet {
    async fn all_bound(&self, count: usize) -> Result<()> {
        self.reaches(count, |fleet| fleet.bound.get(), "bound").await
    }

    async fn all_run(&self, count: usize) -> Result<()> {
        self.reaches(count, |fleet| fleet.running.get(), "running").await
    }

    async fn reaches(&self, count: usize, seen: impl Fn(&Fleet) -> usize, what: &str) -> Result<()> {
        while seen(self) < count {
            tokio::time::timeout(Duration::from_secs(60), self.news.notified())
                .await
                .with_context(|| format!("{} of {count} Pods are {what}, and no news", seen(self)))?;
        }
        Ok(())
    }
}

/// Makes the nodes, lets each watch its Pods, and starts those who report.
async fn enrol(cluster: &Cluster, fleet: &Rc<Fleet>) -> Result<()> {
    let mut writer = Connection::to(cluster).await?;
    for number in 0..NODES {
        make_node(&mut writer, number).await?;
        let mut connection = Connection::to(cluster).await?;
        let path = format!("/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dn{number}");
        let body = connection.open(Method::GET, &path, JSON, "".into()).await?;
        tokio::task::spawn_local(follow(connection, body, fleet.clone(), number));
    }
    for _ in 0..WRITERS {
        tokio::task::spawn_local(report(Connection::to(cluster).await?, fleet.clone()));
    }
    tokio::task::spawn_local(renew(fleet.clone()));
    Ok(())
}

async fn make_node(writer: &mut Connection, number: usize) -> Result<()> {
    let name = format!("n{number}");
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": &name, "labels": {"kubernetes.io/hostname": &name, "kubernetes.io/arch": "wasm32"}},
    });
    writer.call(Method::POST, "/api/v1/nodes", JSON, node.to_string().into()).await?;
    let room = json!({"cpu": "8", "memory": "32Gi", "pods": "250", "ephemeral-storage": "100Gi"});
    let status = json!({"status": {
        "capacity": &room, "allocatable": &room,
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "hollow",
            "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    }});
    let path = format!("/api/v1/nodes/{name}/status");
    writer.call(Method::PATCH, &path, MERGE, status.to_string().into()).await?;
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": &name},
        "spec": {"holderIdentity": &name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": "2026-01-01T00:00:00.000000Z"},
    });
    writer.call(Method::POST, LEASES, JSON, lease.to_string().into()).await?;
    Ok(())
}

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// One node's watch of its Pods.
async fn follow(connection: Connection, mut body: hyper::body::Incoming, fleet: Rc<Fleet>, node: usize) {
    let _open = connection;
    let mut rest = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Some(data) = frame.data_ref() else { continue };
        rest.extend_from_slice(data);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            match serde_json::from_slice::<Event>(&rest[..end]) {
                Ok(event) => fleet.saw(node, &event),
                Err(error) => eprintln!("an event that cannot be read: {error}"),
            }
            rest.drain(..=end);
        }
    }
}

/// Writes what the nodes have to say.
async fn report(mut connection: Connection, fleet: Rc<Fleet>) {
    loop {
        let next = fleet.reports.borrow_mut().pop_front();
        let Some((path, body)) = next else {
            fleet.work.notified().await;
            continue;
        };
        // Others may be asleep while there is more than one to say.
        if !fleet.reports.borrow().is_empty() {
            fleet.work.notify_one();
        }
        if let Err(error) = connection.call(Method::PATCH, &path, MERGE, body.into()).await {
            eprintln!("{error:#}");
        }
    }
}

/// Renews every node's Lease as often as nodes do.
async fn renew(fleet: Rc<Fleet>) {
    let mut each = tokio::time::interval(Duration::from_secs(LEASE_SECONDS / 4) / NODES as u32);
    each.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    for (tick, number) in (0..NODES).cycle().enumerate() {
        each.tick().await;
        let body = json!({"spec": {"renewTime": format!("2026-01-01T00:00:00.{:06}Z", tick % 1_000_000)}});
        fleet.reports.borrow_mut().push_front((format!("{LEASES}/n{number}"), body.to_string()));
        fleet.work.notify_one();
    }
}
