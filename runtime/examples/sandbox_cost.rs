//! What a sandbox costs on this machine: `cargo run --profile quick -p edge-runtime --example
//! sandbox_cost -- HANDLER.wasm [COMMAND.wasm COUNT]`. Prints, asserts nothing.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_runtime::code::CodeCache;
use edge_runtime::http::Body;
use edge_runtime::net::{Config, Network, PodIdentity, PodNet};
use edge_runtime::sandbox::{
    Code, Compiler, ContainerSpec, Engine, EngineConfig, HttpOptions, Machine, Output, Tunables,
};
use http_body_util::BodyExt;

fn spec(net: &PodNet, reuse: bool) -> ContainerSpec {
    ContainerSpec {
        core_dump: None,
        name: "cost".into(),
        args: vec!["guest".into()],
        env: Default::default(),
        preopens: Vec::new(),
        stdin: edge_runtime::sandbox::Input::empty(),
        stdout: Output::discard(),
        stderr: Output::discard(),
        net: net.clone(),
        memory_limit: None,
        cpu_limit: None,
        http: HttpOptions { reuse, ..HttpOptions::default() },
    }
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

async fn requests(engine: &Engine, code: &Code, net: &PodNet, reuse: bool, count: u32) {
    let running = engine.start(code, spec(net, reuse)).unwrap();
    let handler = running.http().unwrap();
    let mut times = Vec::new();
    let (begin, cpu) = (Instant::now(), cpu_time());
    for _ in 0..count {
        let request = http::Request::get("http://pod/").header("host", "pod");
        let one = Instant::now();
        let response = handler.call(request.body(Body::empty()).unwrap()).await.unwrap();
        response.into_body().collect().await.unwrap();
        times.push(one.elapsed());
    }
    let (wall, cpu) = (begin.elapsed() / count, (cpu_time() - cpu) / count);
    times.sort();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("reuse {reuse}: p50 {p50:?}, p99 {p99:?}, mean {wall:?}, CPU {cpu:?} a call");
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let handler = args.next().expect("a handler's .wasm");
    let machine = Machine::probe();
    println!("{machine:?}, {} pods", machine.pods());
    let mut config = EngineConfig::new(&machine, Tunables::for_machine(&machine));
    config.p3 = true;
    let begin = Instant::now();
    let engine = Engine::new(config).unwrap();
    println!("engine in {:?}, {} KiB resident", begin.elapsed(), resident());
    let dir = tempfile::tempdir().unwrap();
    let cache = CodeCache::open(dir.path(), Compiler::InProcess).unwrap();
    let network = Network::new(Config::default(), Arc::default());
    let identity = PodIdentity { namespace: "d".into(), name: "p".into(), uid: "u".into() };
    let net = network.attach(identity, "10.42.0.2".parse().unwrap()).unwrap();
    let code = cache.load(&engine, Path::new(&handler)).await.unwrap();
    println!("{}", code.shape());
    for reuse in [false, true] {
        requests(&engine, &code, &net, reuse, 200).await;
        requests(&engine, &code, &net, reuse, 5_000).await;
    }
    let Some(command) = args.next() else { return };
    let count: u64 = args.next().map_or(1_000, |count| count.parse().unwrap());
    let code = cache.load(&engine, Path::new(&command)).await.unwrap();
    let before = resident();
    let begin = Instant::now();
    let running: Vec<_> = (0..count).map(|_| engine.start(&code, spec(&net, false)).unwrap()).collect();
    while running.iter().any(|running| running.usage().cpu_time.is_zero()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("{count} started in {:?}", begin.elapsed());
    let each = resident().saturating_sub(before) * 1024 / count;
    println!("{each} bytes resident each");
    let begin = Instant::now();
    for running in &running {
        running.kill();
    }
    for running in &running {
        running.exited().await;
    }
    println!("all killed in {:?}", begin.elapsed());
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    println!("{} KiB resident after", resident());
}
