//! Row 14: 10,000 idle Pods on one node, and how quickly API and DNS answer while they start.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use edge_tests::api::Api;
use edge_tests::{Cluster, Options, Shape};

use crate::pods::{deployment, ready};
use crate::process::{of_guests, totals};
use crate::report::{line, percentile};

const PODS: u32 = 10_000;
const QUESTIONS: usize = 1_000;
/// Until what a mass start has left behind is given back to the kernel.
const SETTLED: Duration = Duration::from_secs(15);

/// Starts them and asks meanwhile.
pub fn run() -> Result<()> {
    let pods = room();
    let most = (pods + 1).to_string();
    let cluster = Cluster::with(Options::new(Shape::Whole).flag("--max-pods", &most));
    cluster.apply(&idle("warm", 1));
    ready(&cluster, "warm", 1);
    let (before, guests) = (totals(cluster.pid())?, of_guests(cluster.pid())?);
    let begun = Instant::now();
    cluster.apply(&idle("dense", pods));
    let (api, dns) = (Api::of(&cluster), cluster.dns());
    let asking = std::thread::spawn(move || anyhow::Ok((reads(&api)?, queries(dns)?)));
    ready(&cluster, "dense", pods);
    let took = begun.elapsed().as_secs_f64();
    let (reads, queries) = asking.join().map_err(|_| anyhow::anyhow!("those who asked gave up"))??;
    let rate = f64::from(pods) / took;
    line(
        "14",
        &format!("{pods} Pods, created → all Ready"),
        &format!("{took:.1} s, {rate:.0} Pods/s"),
        "10,000 in ≤ 20 s",
    );
    for (what, took) in [("API reads", reads), ("DNS queries", queries)] {
        let figure = format!("p50 {:.1}, p99 {:.1} ms", percentile(&took, 0.5), percentile(&took, 0.99));
        line("14", &format!("  1,000 {what} meanwhile"), &figure, "");
    }
    std::thread::sleep(SETTLED);
    let (after, theirs) = (totals(cluster.pid())?, of_guests(cluster.pid())?);
    let each = |bytes: u64| bytes as f64 / f64::from(pods) / 1000.0;
    let (all, own) =
        (each(after.resident.saturating_sub(before.resident)), each(theirs.saturating_sub(guests)));
    line("14", "  memory of each, the control plane's part included", &format!("{all:.1} kB"), "");
    let figure = format!("{own:.1} and {:.1} kB", all - own);
    line("14", "  of that the guest's own pages, and over them", &figure, "≤ 64 kB over them");
    Ok(())
}

/// As many as wanted, or as this host's open files allow: an idle Pod of these keeps one, and a thousand are for the rest.
fn room() -> u32 {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    PODS.min(u32::try_from(files.saturating_sub(1_024)).unwrap_or(PODS))
}

/// Pods that ask nothing of the API and so need no token.
fn idle(name: &str, replicas: u32) -> String {
    deployment(name, replicas)
        .replace("      containers:", "      automountServiceAccountToken: false\n      containers:")
}

/// Milliseconds of reads of one Pod or list, each on a new connection.
fn reads(api: &Api) -> Result<Vec<f64>> {
    (0..QUESTIONS)
        .map(|_| {
            let begun = Instant::now();
            let (code, _) = api.get("/apis/apps/v1/namespaces/default/deployments/warm")?;
            ensure!(code == 200, "a read ended with {code}");
            Ok(begun.elapsed().as_secs_f64() * 1000.0)
        })
        .collect()
}

/// Milliseconds of questions for the address of the API's own Service.
fn queries(server: SocketAddr) -> Result<Vec<f64>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut answer = [0; 512];
    (0..QUESTIONS)
        .map(|number| {
            let begun = Instant::now();
            socket.send(&question(number as u16))?;
            let length = socket.recv(&mut answer)?;
            ensure!(length > 12 && answer[..2] == (number as u16).to_be_bytes(), "another question's answer");
            ensure!(answer[3] & 0x0f == 0 && answer[7] == 1, "no address in the answer");
            Ok(begun.elapsed().as_secs_f64() * 1000.0)
        })
        .collect()
}

fn question(id: u16) -> Vec<u8> {
    let mut packet = id.to_be_bytes().to_vec();
    packet.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in ["kubernetes", "default", "svc", "cluster", "local", ""] {
        packet.push(label.len() as u8);
        packet.extend(label.bytes());
    }
    packet.extend([0, 1, 0, 1]);
    packet
}
