//! Rows 9 and 10: a component behind the Ingress beside `wasmtime serve` of the same component.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use edge_tests::{Cluster, Shape, eventually, tool, web};

use crate::process::totals;
use crate::report::{line, median};

const VERSION: &str = "48.0.8";
const ROUNDS: usize = 5;

/// Five interleaved runs of each, at 1 and 32 connections.
pub fn run() -> Result<()> {
    let Some(wrk) = tool::find("wrk") else { return Ok(()) };
    let wasmtime = wasmtime()?;
    let guest = edge_tests::root().join("guests/dist/hello-http.wasm");

    let cluster = Cluster::start(Shape::Whole);
    cluster.apply(&app("fresh", false));
    cluster.apply(&app("reused", true));
    for host in ["fresh", "reused"] {
        answers(cluster.http(), &format!("{host}.localhost"));
    }
    let reference = Reference::start(&wasmtime, &guest)?;

    let start = Instant::now();
    cluster.apply(&app("first", false));
    answers(cluster.http(), "first.localhost");
    let first = start.elapsed().as_secs_f64() * 1000.0;
    let serve =
        (0..ROUNDS).map(|_| Reference::first_answer(&wasmtime, &guest)).collect::<Result<Vec<_>>>()?;
    let serve = median(serve);
    line(
        "9",
        "apply → first 200 through the Ingress, module cached",
        &format!("{first:.0} ms"),
        &format!("≤ {serve:.0} ms (wasmtime serve)"),
    );

    for connections in [1, 32] {
        let (mut fresh, mut reused, mut plain) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            fresh.push(load(&wrk, cluster.http(), "fresh.localhost", connections, cluster.pid())?);
            reused.push(load(&wrk, cluster.http(), "reused.localhost", connections, cluster.pid())?);
            plain.push(load(&wrk, reference.address, "localhost", connections, reference.child.id())?);
        }
        let of = |loads: &[Load], pick: fn(&Load) -> f64| median(loads.iter().map(pick).collect());
        let reference_cpu = of(&plain, |load| load.cpu_us);
        line(
            "10",
            &format!("wasmtime serve, {connections} connections"),
            &format!("{:.0}/s p99 {:.1} ms", of(&plain, |load| load.rate), of(&plain, |load| load.p99_ms)),
            "the reference",
        );
        for (name, loads, goal) in [("fresh instance", &fresh, 1.0), ("instance reuse", &reused, 0.8)] {
            let ratio = of(loads, |load| load.cpu_us) / reference_cpu;
            line(
                "10",
                &format!("Ingress, {name}, {connections} connections"),
                &format!("{:.0}/s p99 {:.1} ms", of(loads, |load| load.rate), of(loads, |load| load.p99_ms)),
                &format!("≥ {:.0}/s", of(&plain, |load| load.rate)),
            );
            line(
                "10",
                "  CPU per request",
                &format!("{:.0} µs = {ratio:.2} ×", of(loads, |load| load.cpu_us)),
                &format!("≤ {goal} ×"),
            );
        }
    }
    Ok(())
}

fn app(name: &str, reuse: bool) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata:
      labels: {{app: {name}}}
      annotations: {{edgectl.dev/http-reuse: "{reuse}"}}
    spec:
      containers:
      - name: main
        image: file:guests/dist/hello-http.wasm
        ports: [{{containerPort: 8080}}]
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{port: 80, targetPort: 8080}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}}}
spec:
  rules:
  - host: {name}.localhost
    http:
      paths:
      - path: /
        pathType: Prefix
        backend: {{service: {{name: {name}, port: {{number: 80}}}}}}
"#
    )
}

fn answers(address: SocketAddr, host: &str) {
    eventually(&format!("{host} answers"), || {
        let answer = web::get(address, host, "/")?;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

struct Load {
    rate: f64,
    p99_ms: f64,
    cpu_us: f64,
}

fn load(wrk: &PathBuf, address: SocketAddr, host: &str, connections: u32, pid: u32) -> Result<Load> {
    let before = totals(pid)?.cpu;
    let output = Command::new(wrk)
        .args(["-t1", &format!("-c{connections}"), "-d3s", "--latency", "-H", &format!("Host: {host}")])
        .arg(format!("http://{address}/"))
        .output()
        .context("cannot run wrk")?;
    let cpu = totals(pid)?.cpu - before;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(!text.contains("Non-2xx"), "requests failed: {text}");
    let number = |marker: &str| text.lines().find_map(|line| line.trim().strip_prefix(marker)).map(str::trim);
    let rate: f64 = number("Requests/sec:")
        .and_then(|text| text.parse().ok())
        .with_context(|| format!("wrk said {text}"))?;
    let count: f64 = text
        .lines()
        .find(|line| line.contains("requests in"))
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(rate * 3.0);
    Ok(Load { rate, p99_ms: number("99%").map_or(f64::NAN, millis), cpu_us: cpu / count * 1e6 })
}

fn millis(text: &str) -> f64 {
    let end = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let value: f64 = text[..end].parse().unwrap_or(f64::NAN);
    match &text[end..] {
        "us" => value / 1000.0,
        "s" => value * 1000.0,
        _ => value,
    }
}

struct Reference {
    child: Child,
    address: SocketAddr,
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Reference {
    fn start(wasmtime: &PathBuf, guest: &PathBuf) -> Result<Reference> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new(wasmtime)
            .args(["serve", "-Scli", "--addr", &port.to_string()])
            .arg(guest)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start wasmtime serve")?;
        let reference = Reference { child, address: port };
        answers(port, "localhost");
        Ok(reference)
    }

    fn first_answer(wasmtime: &PathBuf, guest: &PathBuf) -> Result<f64> {
        let start = Instant::now();
        let reference = Reference::start(wasmtime, guest)?;
        drop(reference);
        Ok(start.elapsed().as_secs_f64() * 1000.0)
    }
}

/// The reference, built once from source and kept beside the tools.
fn wasmtime() -> Result<PathBuf> {
    let folder = edge_tests::root().join(".tools/wasmtime");
    let program = folder.join("bin/wasmtime");
    if program.is_file() {
        return Ok(program);
    }
    println!("building wasmtime {VERSION} as the reference, once; this takes some minutes");
    let start = Instant::now();
    let status = Command::new("cargo")
        .args(["install", "wasmtime-cli", "--version", VERSION, "--locked", "--root"])
        .arg(&folder)
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "cargo install wasmtime-cli ended with {status}");
    println!("built in {} s", Duration::from_secs(start.elapsed().as_secs()).as_secs());
    Ok(program)
}
