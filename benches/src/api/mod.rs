//! Rows 5 to 8: the API under load, beside etcd and the bare disk in the same run.
//!
//! The callers live in this process, on one thread, and are not counted: CPU is the server's own.
//! What cannot run here, kube-apiserver, stands beside as it was measured once on a machine of the
//! same kind (1.36.2 with etcd 3.5, two quiet cores, client on the same cores, HTTP/1.1, JSON over TLS).

mod disk;
mod etcd;

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use edge_tests::{Cluster, Options, Shape, tool};
use http_body_util::BodyExt as _;
use hyper::Method;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::api::etcd::Etcd;
use crate::client::{Connection, MAPS};
use crate::process::totals;
use crate::report::{line, median, percentile};

const ROUNDS: usize = 5;
const CLIENTS: usize = 32;
const MERGE: &str = "application/merge-patch+json";

/// What kube-apiserver and etcd need together.
mod reference {
    pub const CREATE_1: &str = "kube-apiserver 2.15 ms, 526/s";
    pub const CREATE_32: &str = "kube-apiserver 0.85 ms, 1,935/s";
    pub const GET_32: &str = "kube-apiserver 0.44 ms, 3,477/s";
    pub const PATCH_32: &str = "kube-apiserver 1.42 ms, 1,227/s";
    pub const LIST: &str = "kube-apiserver 99 ms, p50 86 ms";
    pub const DELAY_1: &str = "kube-apiserver p50 4.0, p99 5.0 ms";
    pub const DELAY_50: &str = "kube-apiserver p50 5.0, p99 7.2 ms";
    pub const MEMORY: &str = "kube-apiserver with etcd 862 MiB";
}

/// All rows.
pub fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        operations().await?;
        memory(&start()).await?;
        watches(&start()).await
    })
}

fn start() -> Cluster {
    Cluster::with(Options::new(Shape::Whole).flag("--no-node", "true"))
}

/// What some operations cost.
#[derive(Clone, Debug, Default)]
struct Cost {
    rate: f64,
    cpu_ms: f64,
    took_ms: Vec<f64>,
}

/// Runs `count` operations, shared by all callers; each gets its caller and its number.
async fn load<C: 'static, F, W>(pid: u32, callers: Vec<C>, count: usize, work: W) -> Result<(Cost, Vec<C>)>
where
    W: Fn(C, usize) -> F + Clone + 'static,
    F: Future<Output = Result<C>>,
{
    let next = Rc::new(Cell::new(0));
    let (before, begun) = (totals(pid)?.cpu, Instant::now());
    let tasks: Vec<_> = callers
        .into_iter()
        .map(|mut caller| {
            let (next, work) = (next.clone(), work.clone());
            tokio::task::spawn_local(async move {
                let mut took = Vec::new();
                while next.get() < count {
                    let number = next.replace(next.get() + 1);
                    let begun = Instant::now();
                    caller = work(caller, number).await?;
                    took.push(begun.elapsed().as_secs_f64() * 1000.0);
                }
                anyhow::Ok((took, caller))
            })
        })
        .collect();
    let (mut cost, mut callers) = (Cost::default(), Vec::new());
    for task in tasks {
        let (took, caller) = task.await??;
        cost.took_ms.extend(took);
        callers.push(caller);
    }
    cost.rate = count as f64 / begun.elapsed().as_secs_f64();
    cost.cpu_ms = (totals(pid)?.cpu - before) * 1000.0 / count as f64;
    Ok((cost, callers))
}

fn of(costs: &[Cost], pick: impl Fn(&Cost) -> f64) -> f64 {
    median(costs.iter().map(pick).collect())
}

fn print(row: &str, what: &str, costs: &[Cost], goal: &str) {
    let at = |share| of(costs, |cost| percentile(&cost.took_ms, share));
    let figure = format!("{:.3} ms CPU, {:.0}/s", of(costs, |cost| cost.cpu_ms), of(costs, |cost| cost.rate));
    line(row, &format!("{what} (p50 {:.2}, p99 {:.2} ms)", at(0.5), at(0.99)), &figure, goal);
}

/// Rows 5 and 6: five interleaved rounds of everything.
async fn operations() -> Result<()> {
    let etcd = tool::find("etcd").map(|program| Etcd::start(&program)).transpose()?;
    let cluster = start();
    let folder = tempfile::tempdir()?;
    let mut syncs = Vec::new();
    let (mut put_1, mut put_32) = (Vec::new(), Vec::new());
    let (mut create_1, mut create_32, mut get, mut patch) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        syncs.push(disk::syncs(folder.path(), 500)?);
        if let Some(etcd) = &etcd {
            for (callers, count, costs) in [(1, 500, &mut put_1), (CLIENTS, 3000, &mut put_32)] {
                let connections = etcd.connect(callers).await?;
                let put = move |mut caller: etcd::Connection, number: usize| async move {
                    caller.put(&format!("/bench/{round}/{callers}/{number}"), &"x".repeat(300)).await?;
                    Ok(caller)
                };
                costs.push(load(etcd.pid(), connections, count, put).await?.0);
            }
        }
        for (callers, count, costs) in [(1, 1000, &mut create_1), (CLIENTS, 5000, &mut create_32)] {
            let connections = Connection::several(&cluster, callers).await?;
            let create = move |mut caller: Connection, number: usize| async move {
                caller.create(&format!("c{round}-{callers}-{number}"), &"x".repeat(100)).await?;
                Ok(caller)
            };
            costs.push(load(cluster.pid(), connections, count, create).await?.0);
        }
        let read = move |mut caller: Connection, number: usize| async move {
            let path = format!("{MAPS}/c{round}-{CLIENTS}-{}", number % 5000);
            caller.call(Method::GET, &path, "application/json", "".into()).await?;
            Ok(caller)
        };
        let connections = Connection::several(&cluster, CLIENTS).await?;
        let (cost, connections) = load(cluster.pid(), connections, 10_000, read).await?;
        get.push(cost);
        let merge = move |mut caller: Connection, number: usize| async move {
            let path = format!("{MAPS}/c{round}-{CLIENTS}-{}", number % 5000);
            let body = format!("{{\"data\":{{\"value\":\"{number}\"}}}}");
            caller.call(Method::PATCH, &path, MERGE, body.into()).await?;
            Ok(caller)
        };
        patch.push(load(cluster.pid(), connections, 5000, merge).await?.0);
    }
    let sync = median(syncs.iter().map(|took| percentile(took, 0.5)).collect());
    let worst = median(syncs.iter().map(|took| percentile(took, 0.99)).collect());
    let allowed = CLIENTS as f64 / sync * 1000.0;
    line("5", "bare fsync of 4 KiB, p50 and p99", &format!("{sync:.2} ms, {worst:.2} ms"), "the disk's own");
    if etcd.is_some() {
        print("5", "etcd put, 1 client", &put_1, "etcd's own");
        print("5", "etcd put, 32 clients", &put_32, "etcd's own");
    }
    print("5", "create, 1 client", &create_1, &format!("≤ 0.215 ms CPU ({})", reference::CREATE_1));
    let rate = (0.8 * allowed).min(10_000.0);
    let goal = format!("≤ 0.085 ms CPU, ≥ {rate:.0}/s ({})", reference::CREATE_32);
    print("5", "create, 32 clients", &create_32, &goal);
    print("6", "get, 32 clients", &get, &format!("≤ 0.044 ms CPU ({})", reference::GET_32));
    print("6", "merge patch, 32 clients", &patch, &format!("≤ 0.142 ms CPU ({})", reference::PATCH_32));
    Ok(())
}

/// Rows 6 and 8: lists, and memory with more and more ConfigMaps of half a kilobyte.
async fn memory(cluster: &Cluster) -> Result<()> {
    let empty = totals(cluster.pid())?.resident;
    line("8", "RSS without ConfigMaps", &mib(empty), "");
    fill(cluster, 0, 10_000).await?;
    let ten = totals(cluster.pid())?.resident;
    line("8", "RSS with 10,000 ConfigMaps of 0.5 kB", &mib(ten), "");
    list(cluster).await?;
    fill(cluster, 10_000, 25_000).await?;
    let rss = totals(cluster.pid())?.resident;
    line("8", "RSS with 25,000", &mib(rss), &format!("≤ 80 MiB ({})", reference::MEMORY));
    fill(cluster, 25_000, 100_000).await?;
    let rss = totals(cluster.pid())?.resident;
    line("8", "RSS with 100,000", &mib(rss), "");
    let each = rss.saturating_sub(ten) as f64 / 90_000.0;
    line("8", "  growth per object", &format!("{each:.0} B"), "≤ 2,000 B");
    Ok(())
}

/// Row 7: watchers of a collection of 10,000.
async fn watches(cluster: &Cluster) -> Result<()> {
    fill(cluster, 0, 10_000).await?;
    for (watchers, writes, goal) in [
        (1, 300, format!("p50 ≤ 1.0, p99 ≤ 1.25 ms + fsync ({})", reference::DELAY_1)),
        (50, 300, format!("p50 ≤ 1.25, p99 ≤ 1.8 ms + fsync ({})", reference::DELAY_50)),
        (1000, 50, "≤ 15 µs CPU an event".to_owned()),
    ] {
        watch(cluster, watchers, writes, &goal).await?;
    }
    Ok(())
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

async fn fill(cluster: &Cluster, from: usize, to: usize) -> Result<()> {
    let create = move |mut caller: Connection, number: usize| async move {
        caller.create(&format!("m{}", from + number), &"x".repeat(350)).await?;
        Ok(caller)
    };
    let callers = Connection::several(cluster, CLIENTS).await?;
    load(cluster.pid(), callers, to - from, create).await?;
    Ok(())
}

async fn list(cluster: &Cluster) -> Result<()> {
    let callers = Connection::several(cluster, 1).await?;
    let (cost, _) = load(cluster.pid(), callers, 40, |mut caller: Connection, _| async move {
        let mut body = caller.open(Method::GET, MAPS, "application/json", "".into()).await?;
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame?.data_ref().map_or(0, bytes::Bytes::len);
        }
        ensure!(bytes > 4_000_000, "a list of {bytes} bytes");
        Ok(caller)
    })
    .await?;
    let p50 = percentile(&cost.took_ms, 0.5);
    let figure = format!("{:.1} ms CPU, p50 {p50:.1} ms", cost.cpu_ms);
    line("6", "list of 10,000 ConfigMaps", &figure, &format!("≤ 20 ms CPU ({})", reference::LIST));
    Ok(())
}

/// What the watchers have seen: how many events, and how long each took since the write began.
struct Seen {
    begun: Cell<Option<Instant>>,
    count: Cell<usize>,
    took_ms: std::cell::RefCell<Vec<f64>>,
    bell: Notify,
}

async fn watch(cluster: &Cluster, watchers: usize, writes: usize, goal: &str) -> Result<()> {
    let mut writer = Connection::to(cluster).await?;
    let list = writer.call(Method::GET, &format!("{MAPS}?limit=1"), "application/json", "".into()).await?;
    let list: serde_json::Value = serde_json::from_slice(&list)?;
    let from = list["metadata"]["resourceVersion"].as_str().context("a list has a revision")?;
    let path = format!("{MAPS}?watch=true&resourceVersion={from}");
    let seen = Rc::new(Seen {
        begun: Cell::new(None),
        count: Cell::new(0),
        took_ms: std::cell::RefCell::default(),
        bell: Notify::new(),
    });
    let mut tasks = Vec::new();
    for _ in 0..watchers {
        let mut connection = Connection::to(cluster).await?;
        let mut body = connection.open(Method::GET, &path, "application/json", "".into()).await?;
        let seen = seen.clone();
        tasks.push(tokio::task::spawn_local(async move {
            let _open = connection;
            while let Some(Ok(frame)) = body.frame().await {
                let lines =
                    frame.data_ref().map_or(0, |data| data.iter().filter(|byte| **byte == b'\n').count());
                if let (1.., Some(begun)) = (lines, seen.begun.get()) {
                    seen.took_ms.borrow_mut().push(begun.elapsed().as_secs_f64() * 1000.0);
                    seen.count.set(seen.count.get() + lines);
                    seen.bell.notify_one();
                }
            }
        }));
    }
    let before = totals(cluster.pid())?.cpu;
    for number in 0..writes {
        let begun = Instant::now();
        seen.begun.set(Some(begun));
        writer.create(&format!("w{watchers}-{number}"), &"x".repeat(350)).await?;
        while seen.count.get() < (number + 1) * watchers {
            tokio::time::timeout(Duration::from_secs(30), seen.bell.notified())
                .await
                .with_context(|| format!("{} events of {}", seen.count.get(), (number + 1) * watchers))?;
        }
        if watchers >= 1000 {
            tokio::time::sleep(Duration::from_millis(200).saturating_sub(begun.elapsed())).await;
        }
    }
    let each = (totals(cluster.pid())?.cpu - before) * 1e6 / (writes * watchers) as f64;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    let took = seen.took_ms.borrow();
    let (p50, p99) = (percentile(&took, 0.5), percentile(&took, 0.99));
    let figure = format!("p50 {p50:.2}, p99 {p99:.2} ms");
    line("7", &format!("create → event, {watchers} watchers ({each:.1} µs CPU an event)"), &figure, goal);
    Ok(())
}
