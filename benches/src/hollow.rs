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
use crate::report::{line, median};

const NODES: usize = 1_000;
/// Pods of one Deployment.
const REPLICAS: usize = 1_000;
const DEPLOYMENTS: usize = 100;
/// Connections on which what the nodes report is written.
const WRITERS: usize = 64;
const LEASE_SECONDS: u64 = 40;
/// How often a node renews its Lease. So long all are heard of again after a silence.
const RENEWAL: Duration = Duration::from_secs(LEASE_SECONDS / 4);
const QUIET: Duration = Duration::from_secs(20);
/// Deployments whose Pods' cost is told, and the Pods of each.
const MORE_DEPLOYMENTS: usize = 8;
const MORE_REPLICAS: usize = 500;
/// Within it they run, and what they leave to do is done. No node renews its Lease meanwhile: that costs as much as the
/// Pods do, and differs from one half minute to the next by more than what is looked for.
const WINDOW: Duration = Duration::from_secs(14);
/// What it has at least for that.
const AFTERMATH: Duration = Duration::from_secs(5);
/// Times that their cost is told. Odd, for a middle.
const ROUNDS: usize = 7;
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
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    deletion_timestamp: Option<String>,
}

#[derive(Deserialize, Default)]
struct Status {
    #[serde(default)]
    phase: String,
}

/// What a node has to tell the API.
struct Report {
    method: Method,
    path: String,
    body: String,
}

/// What the nodes have seen and still have to say.
#[derive(Default)]
struct Fleet {
    reports: RefCell<VecDeque<Report>>,
    work: Notify,
    /// Pods that were ever bound to a node.
    bound: Cell<usize>,
    /// Pods that run.
    running: Cell<usize>,
    news: Notify,
    /// Nodes do not renew their Leases.
    silent: Cell<bool>,
}

impl Fleet {
    fn saw(&self, node: usize, event: &Event) {
        let Metadata { name, deletion_timestamp } = &event.object.metadata;
        let path = format!("/api/v1/namespaces/default/pods/{name}");
        match event.what.as_str() {
            "DELETED" => {
                self.running.set(self.running.get() - 1);
                self.news.notify_one();
            }
            "MODIFIED" if deletion_timestamp.is_some() => {
                let body = json!({"gracePeriodSeconds": 0}).to_string();
                self.say(Report { method: Method::DELETE, path, body });
            }
            "ADDED" | "MODIFIED" if event.object.status.phase == "Running" => {
                self.running.set(self.running.get() + 1);
                self.news.notify_one();
            }
            "ADDED" => {
                let number = self.bound.replace(self.bound.get() + 1);
                let (path, body) = (path + "/status", running(node, number));
                self.say(Report { method: Method::PATCH, path, body });
            }
            _ => {}
        }
    }

    fn say(&self, report: Report) {
        self.reports.borrow_mut().push_back(report);
        self.work.notify_one();
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
    let begun = Instant::now();
    let mut large = Plane::begin().await?;
    let took = begun.elapsed().as_secs_f64();
    line("15", "nodes that joined", &format!("{NODES} in {took:.1} s"), "");
    large.deploy("web-0", REPLICAS).await?;
    large.fleet.all_run(REPLICAS).await?;
    large.rest().await?;

    let (begun, before) = (Instant::now(), totals(large.pid())?);
    for number in 1..DEPLOYMENTS {
        large.deploy(&format!("web-{number}"), REPLICAS).await?;
    }
    let all = DEPLOYMENTS * REPLICAS;
    large.fleet.all_bound(all).await?;
    let bound = begun.elapsed().as_secs_f64();
    large.fleet.all_run(all).await?;
    let took = begun.elapsed().as_secs_f64();
    let count = (all - REPLICAS) as f64;
    let rate = |seconds: f64| format!("{seconds:.0} s, {:.0}/s", count / seconds);
    line("15", "99,000 Pods, applied → all bound", &rate(bound), "≥ 2,500/s");
    line("15", "  applied → all running", &rate(took), "≥ 2,500/s");
    let after = totals(large.pid())?;
    let cpu = (after.cpu - before.cpu) * 1000.0 / count;
    line("15", "  CPU of the control plane a Pod, created to running", &format!("{cpu:.3} ms"), "");
    let written = (after.written - before.written) as f64 / count / 1000.0;
    line("15", "  written to the disk a Pod", &format!("{written:.1} kB"), "");
    line("15", "  RSS of the control plane", &mib(after.resident), "≤ 1024 MiB");
    let idle = format!("{:.2} % of a core", large.idle().await? * 100.0);
    line("15", "CPU when nothing changes but Leases", &idle, "nothing polls");
    large.fleet.silent.set(true);
    let silent = format!("{:.2} % of a core", large.idle().await? * 100.0);
    large.fleet.silent.set(false);
    tokio::time::sleep(RENEWAL).await;
    line("15", "CPU when nothing changes at all", &silent, "nothing polls");

    // Beside it one that has few, so that both are measured in the same minute.
    let mut small = Plane::begin().await?;
    small.deploy("web-0", REPLICAS).await?;
    small.fleet.all_run(REPLICAS).await?;
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let [few, many] = cost_of_more([&mut small, &mut large], round).await?;
        let figure = format!("{few:.3} and {many:.3} ms");
        line("15", "  CPU of one more Pod at 1,000 and at 100,000", &figure, "");
        ratios.push(many / few);
    }
    line("15", "CPU of one more Pod at 100,000 : at 1,000", &format!("{:.2} ×", median(ratios)), "≤ 1.0 ×");
    Ok(())
}

/// CPU milliseconds of each of the Pods of some more Deployments, in each of the two. They are made in turns, a
/// Deployment here and a Deployment there, since a shared machine is another one every few seconds, and are gone
/// afterwards.
async fn cost_of_more(mut planes: [&mut Plane; 2], round: usize) -> Result<[f64; 2]> {
    for plane in &planes {
        plane.rest().await?;
    }
    // For all at once: nobody is silent while others come to rest.
    planes.iter().for_each(|plane| plane.fleet.silent.set(true));
    let there = planes.each_ref().map(|plane| plane.fleet.running.get());
    let (begun, before) = (Instant::now(), [planes[0].cpu()?, planes[1].cpu()?]);
    let names: Vec<_> = (0..MORE_DEPLOYMENTS).map(|number| format!("more-{round}-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        // Who comes last has less time for what it leaves to do.
        for of in if (round + number).is_multiple_of(2) { [0, 1] } else { [1, 0] } {
            planes[of].deploy(name, MORE_REPLICAS).await?;
            planes[of].fleet.all_run(there[of] + (number + 1) * MORE_REPLICAS).await?;
        }
    }
    let left = WINDOW.checked_sub(begun.elapsed()).filter(|left| *left >= AFTERMATH);
    let left = left.context("the Pods did not run in the time given to them")?;
    tokio::time::sleep(left).await;
    let after = [planes[0].cpu()?, planes[1].cpu()?];
    planes.iter().for_each(|plane| plane.fleet.silent.set(false));
    for plane in &mut planes {
        plane.has_all_nodes().await?;
    }
    for (plane, there) in planes.iter_mut().zip(there) {
        for name in &names {
            plane.writer.call(Method::DELETE, &format!("{DEPLOYED}/{name}"), JSON, "".into()).await?;
        }
        plane.fleet.all_but(there).await?;
    }
    tokio::time::sleep(RENEWAL).await;
    let more = (MORE_DEPLOYMENTS * MORE_REPLICAS) as f64;
    Ok([0, 1].map(|of| (after[of] - before[of]) * 1000.0 / more))
}

fn mib(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / 1_048_576.0)
}

/// A control plane with its nodes.
struct Plane {
    cluster: Cluster,
    fleet: Rc<Fleet>,
    writer: Connection,
}

impl Plane {
    /// One whose nodes have joined, without Pods.
    async fn begin() -> Result<Plane> {
        let options =
            Options::new(Shape::Whole).flag("--no-node", "true").flag("--pod-range", "10.64.0.0/12");
        let cluster = Cluster::with(options);
        let fleet = Rc::new(Fleet::default());
        enrol(&cluster, &fleet).await?;
        let writer = Connection::to(&cluster).await?;
        Ok(Plane { cluster, fleet, writer })
    }

    fn pid(&self) -> u32 {
        self.cluster.pid()
    }

    /// CPU seconds until now.
    fn cpu(&self) -> Result<f64> {
        Ok(totals(self.pid())?.cpu)
    }

    /// The share of a core that it takes when nothing is asked of it.
    async fn idle(&self) -> Result<f64> {
        self.rest().await?;
        let before = self.cpu()?;
        tokio::time::sleep(QUIET).await;
        Ok((self.cpu()? - before) / QUIET.as_secs_f64())
    }

    /// Waits until a second has cost less than a fifth of one, which is more than the Leases do and less than anything
    /// else: what came before is paid for.
    async fn rest(&self) -> Result<()> {
        for _ in 0..60 {
            let before = self.cpu()?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.cpu()? - before < 0.2 {
                return Ok(());
            }
        }
        anyhow::bail!("the control plane does not come to rest")
    }

    /// Nodes that are taken for lost make every Lease dear.
    async fn has_all_nodes(&mut self) -> Result<()> {
        let nodes = self.writer.call(Method::GET, "/api/v1/nodes", JSON, "".into()).await?;
        let lost = String::from_utf8_lossy(&nodes).matches("NoExecute").count();
        anyhow::ensure!(
            lost == 0,
            "{lost} of the nodes were taken for lost: this machine is too busy to tell"
        );
        Ok(())
    }

    async fn deploy(&mut self, name: &str, replicas: usize) -> Result<()> {
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
        self.writer.call(Method::POST, DEPLOYED, JSON, deployment.to_string().into()).await?;
        Ok(())
    }
}

impl Fleet {
    async fn all_bound(&self, count: usize) -> Result<()> {
        self.until(|| self.bound.get() >= count, "too few Pods are bound").await
    }

    async fn all_run(&self, count: usize) -> Result<()> {
        self.until(|| self.running.get() >= count, "too few Pods run").await
    }

    /// No more than so many run.
    async fn all_but(&self, count: usize) -> Result<()> {
        self.until(|| self.running.get() <= count, "too many Pods run").await
    }

    async fn until(&self, holds: impl Fn() -> bool, what: &str) -> Result<()> {
        while !holds() {
            tokio::time::timeout(Duration::from_secs(60), self.news.notified()).await.with_context(|| {
                format!("{what} ({} bound, {} running), and no news", self.bound.get(), self.running.get())
            })?;
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
        let Some(Report { method, path, body }) = next else {
            fleet.work.notified().await;
            continue;
        };
        // Others may be asleep while there is more than one to say.
        if !fleet.reports.borrow().is_empty() {
            fleet.work.notify_one();
        }
        let media = if method == Method::PATCH { MERGE } else { JSON };
        if let Err(error) = connection.call(method, &path, media, body.into()).await {
            eprintln!("{error:#}");
        }
    }
}

/// Renews every node's Lease as often as nodes do.
async fn renew(fleet: Rc<Fleet>) {
    let mut each = tokio::time::interval(RENEWAL / NODES as u32);
    // Whoever has fallen behind catches up: a node that renews too late is taken for lost.
    each.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    for (tick, number) in (0..NODES).cycle().enumerate() {
        each.tick().await;
        if fleet.silent.get() {
            continue;
        }
        let body = json!({"spec": {"renewTime": format!("2026-01-01T00:00:00.{:06}Z", tick % 1_000_000)}});
        let report =
            Report { method: Method::PATCH, path: format!("{LEASES}/n{number}"), body: body.to_string() };
        fleet.reports.borrow_mut().push_front(report);
        fleet.work.notify_one();
    }
}
