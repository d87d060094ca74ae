//! Guests in WAT, run by the real engine.
#![allow(clippy::unwrap_used, missing_docs)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use edge_runtime::code::{CodeCache, CodeError};
use edge_runtime::http::{Body, HandlerError, Request, Response};
use edge_runtime::net::{Config, Network, PodIdentity, PodNet};
use edge_runtime::sandbox::{
    Code, Compiler, ContainerSpec, Engine, EngineConfig, Exit, ExitReason, HttpOptions, Machine, Output,
    Preopen, Running, Tunables,
};
use http_body_util::BodyExt;
use tokio::sync::mpsc;

/// An engine, a cache and a Pod of its own for one test.
struct World {
    engine: Engine,
    cache: CodeCache,
    net: PodNet,
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        World::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut EngineConfig)) -> World {
        let machine = Machine::probe();
        let mut config = EngineConfig::new(&machine, Tunables::for_machine(&machine));
        config.pool_slots = 16;
        change(&mut config);
        let dir = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(&dir.path().join("code"), Compiler::InProcess).unwrap();
        let network = Network::new(Config::default(), Arc::default());
        World { engine: Engine::new(config).unwrap(), cache, net: attach(&network, 2), dir }
    }

    async fn try_code(&self, wat: &str) -> Result<Code, CodeError> {
        let path = self.dir.path().join("guest.wat");
        std::fs::write(&path, wat).unwrap();
        self.cache.load(&self.engine, &path).await
    }

    async fn code(&self, wat: &str) -> Code {
        self.try_code(wat).await.unwrap()
    }

    fn spec(&self) -> (ContainerSpec, mpsc::Receiver<Box<Bytes>>, mpsc::Receiver<Box<Bytes>>) {
        let (stdout, out) = Output::channel(64);
        let (stderr, err) = Output::channel(64);
        let spec = ContainerSpec {
            core_dump: None,
            name: "test".into(),
            args: vec!["guest".into()],
            env: Default::default(),
            preopens: Vec::new(),
            stdin: edge_runtime::sandbox::Input::empty(),
            stdout,
            stderr,
            net: self.net.clone(),
            memory_limit: None,
            cpu_limit: None,
            http: HttpOptions::default(),
        };
        (spec, out, err)
    }

    async fn start(&self, wat: &str) -> Running {
        self.engine.start(&self.code(wat).await, self.spec().0).unwrap()
    }

    async fn run(&self, wat: &str) -> Exit {
        within(self.start(wat).await.exited()).await
    }
}

fn attach(network: &Network, host: u8) -> PodNet {
    let name = format!("pod-{host}");
    let identity = PodIdentity { namespace: "default".into(), name: name.as_str().into(), uid: name.into() };
    network.attach(identity, IpAddr::V4(Ipv4Addr::new(10, 42, 0, host))).unwrap()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it ends in time")
}

async fn text(mut queue: mpsc::Receiver<Box<Bytes>>) -> String {
    let mut all = Vec::new();
    while let Some(chunk) = within(queue.recv()).await {
        all.extend_from_slice(&chunk);
    }
    String::from_utf8(all).unwrap()
}

const EXIT_3: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start") (call $exit (i32.const 3))))"#;

const TRAP: &str = r#"(module
    (memory (export "memory") 1)
    (func $deep unreachable)
    (func (export "_start") (call $deep)))"#;

const SPIN: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "_start") (loop $l (br $l))))"#;

/// Prints its arguments and environment, each zero-terminated, as they lie in memory.
const PRINT: &str = r#"(module
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $as (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $a (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $es (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $e (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (drop (call $as (i32.const 0) (i32.const 12)))
        (drop (call $a (i32.const 1024) (i32.const 4096)))
        (i32.store (i32.const 8) (i32.const 4096))
        (drop (call $w (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 32)))
        (drop (call $es (i32.const 0) (i32.const 12)))
        (drop (call $e (i32.const 1024) (i32.const 8192)))
        (i32.store (i32.const 8) (i32.const 8192))
        (drop (call $w (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 32)))))"#;

/// Grows by a page until it is refused, then does as its last instruction says.
fn grow(then: &str) -> String {
    format!(
        r#"(module (memory (export "memory") 1)
            (func (export "_start")
                (loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) {then}))"#
    )
}

#[tokio::test]
async fn sandbox_keeps_exit_codes() {
    let world = World::new();
    let exit = world.run(EXIT_3).await;
    assert_eq!((exit.code, exit.reason), (3, ExitReason::Error));
    let exit = world.run(r#"(module (func (export "_start")))"#).await;
    assert_eq!((exit.code, exit.reason), (0, ExitReason::Completed));
}

#[tokio::test]
async fn sandbox_reports_traps_with_the_stack() {
    let world = World::new();
    let (spec, _out, err) = world.spec();
    let running = world.engine.start(&world.code(TRAP).await, spec).unwrap();
    let exit = within(running.exited()).await;
    assert_eq!((exit.code, exit.reason), (134, ExitReason::Error));
    assert!(exit.message.contains("unreachable"), "{}", exit.message);
    assert!(exit.message.contains("deep"), "{}", exit.message);
    drop(running);
    assert!(text(err).await.contains("unreachable"));
}

#[tokio::test]
async fn sandbox_passes_arguments_and_environment() {
    let world = World::new();
    let (mut spec, out, _err) = world.spec();
    spec.args = vec!["guest".into(), "-v".into()];
    spec.env = vec![("A".into(), "1".into()), ("B".into(), "two".into())].into();
    let running = world.engine.start(&world.code(PRINT).await, spec).unwrap();
    assert_eq!(within(running.exited()).await.code, 0);
    drop(running);
    assert_eq!(text(out).await, "guest\0-v\0A=1\0B=two\0");
}

#[tokio::test]
async fn sandbox_waits_for_a_slow_reader_of_output() {
    let world = World::new();
    let lines = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\10\00\00\00\02\00\00\00")
        (data (i32.const 16) "x\n")
        (func (export "_start") (local $i i32)
            (loop $l
                (if (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32))
                    (then unreachable))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $l (i32.lt_u (local.get $i) (i32.const 1000))))))"#;
    let (mut spec, _out, _err) = world.spec();
    let (stdout, out) = Output::channel(2);
    spec.stdout = stdout;
    let running = world.engine.start(&world.code(lines).await, spec).unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), running.exited()).await;
    assert!(early.is_err(), "the queue of two chunks held a thousand");
    let reader = tokio::spawn(text(out));
    assert_eq!(within(running.exited()).await.code, 0);
    drop(running);
    assert_eq!(reader.await.unwrap(), "x\n".repeat(1000));
}

#[tokio::test]
async fn sandbox_kills_an_endless_loop_within_milliseconds() {
    let world = World::new();
    let running = world.start(SPIN).await;
    while running.usage().cpu_time < Duration::from_millis(20) {
        tokio::task::yield_now().await;
    }
    let begin = Instant::now();
    running.kill();
    let exit = within(running.exited()).await;
    assert_eq!((exit.code, exit.reason), (137, ExitReason::Killed));
    println!("killed after {:?}", begin.elapsed());
}

#[tokio::test]
async fn sandbox_kills_an_endless_host_call() {
    let world = World::new();
    // poll_oneoff on a clock, for 2^62 ns.
    let sleep = r#"(module
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $p (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
            (i32.store (i32.const 16) (i32.const 1))
            (i64.store (i32.const 24) (i64.const 0x4000000000000000))
            (drop (call $p (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 512)))))"#;
    let running = world.start(sleep).await;
    let early = tokio::time::timeout(Duration::from_millis(50), running.exited()).await;
    assert!(early.is_err(), "{early:?}");
    running.kill();
    assert_eq!(within(running.exited()).await.reason, ExitReason::Killed);
    assert_eq!(world.engine.epochs(), 0, "a sleeping guest keeps the ticker asleep");
}

#[tokio::test]
async fn sandbox_limits_memory() {
    let world = World::new();
    let limited = async |wat: &str, limit: u64| {
        let (mut spec, _out, _err) = world.spec();
        spec.memory_limit = Some(limit);
        let running = world.engine.start(&world.code(wat).await, spec).unwrap();
        within(running.exited()).await
    };
    let exit = limited(&grow("unreachable"), 1 << 20).await;
    assert_eq!((exit.code, exit.reason), (137, ExitReason::OomKilled), "{exit:?}");
    let exit = limited(&grow(""), 1 << 20).await;
    assert_eq!((exit.code, exit.reason), (0, ExitReason::Completed), "it took the refusal well");
    let exit = limited(r#"(module (memory 100) (func (export "_start")))"#, 1 << 20).await;
    assert_eq!((exit.code, exit.reason), (137, ExitReason::OomKilled), "{exit:?}");
    let exit = limited(TRAP, 1 << 20).await;
    assert_eq!((exit.code, exit.reason), (134, ExitReason::Error), "a trap without a refusal");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sandbox_limits_cpu_and_lets_others_through() {
    let world = World::new();
    let spin = world.code(SPIN).await;
    let limited: Vec<Running> = (0..4)
        .map(|_| {
            let (mut spec, _out, _err) = world.spec();
            spec.cpu_limit = Some(100);
            world.engine.start(&spin, spec).unwrap()
        })
        .collect();
    let free: Vec<Running> = (0..4).map(|_| world.engine.start(&spin, world.spec().0).unwrap()).collect();
    let begin = Instant::now();
    let mut others = 0;
    while begin.elapsed() < Duration::from_secs(2) {
        assert_eq!(world.run(EXIT_3).await.code, 3);
        others += 1;
    }
    let elapsed = begin.elapsed();
    println!("{others} short guests beside eight endless ones in {elapsed:?}");
    for running in &limited {
        let share = running.usage().cpu_time.as_secs_f64() / elapsed.as_secs_f64();
        assert!(share < 0.13, "a tenth of a CPU was allowed, {share:.3} used");
    }
    let used: f64 = free.iter().map(|running| running.usage().cpu_time.as_secs_f64()).sum();
    assert!(used > 0.1 * elapsed.as_secs_f64(), "those without a limit got {used:.2} s");
    assert!(others > 10);
}

#[tokio::test]
async fn sandbox_grows_by_pools_and_then_on_demand() {
    let world = World::with(|config| {
        config.pool_slots = 2;
        config.max_pools = 2;
    });
    let code = world.code(SPIN).await;
    let running: Vec<Running> = (0..7)
        .map(|_| {
            let (mut spec, _out, _err) = world.spec();
            spec.cpu_limit = Some(10);
            world.engine.start(&code, spec).unwrap()
        })
        .collect();
    for running in &running {
        let begin = Instant::now();
        while running.usage().cpu_time.is_zero() {
            assert!(begin.elapsed() < Duration::from_secs(30), "it never ran");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    for running in running {
        running.kill();
        assert_eq!(within(running.exited()).await.reason, ExitReason::Killed);
    }
    assert_eq!(world.run(EXIT_3).await.code, 3);
}

#[tokio::test]
async fn sandbox_runs_without_pools_where_address_space_is_small() {
    let world = World::with(|config| {
        config.tunables = Tunables { memory_reservation: 1 << 20, memory_guard: 1 << 16, pooled: false };
        config.default_memory_limit = 8 << 20;
    });
    assert_eq!(world.run(EXIT_3).await.code, 3);
    assert_eq!(world.run(&grow("unreachable")).await.reason, ExitReason::OomKilled);
}

#[tokio::test]
async fn sandbox_explains_what_cannot_run() {
    let world = World::new();
    let reports = [
        ("hello", "not a WebAssembly module or component: it begins with \"hello\""),
        ("(module (func (export \"_start\") i32.const))", "invalid WebAssembly"),
        ("(module)", "must export the function `_start`"),
        ("(component)", "this one exports nothing"),
        (
            r#"(module (import "env" "magic" (func)) (import "env" "more" (func)) (func (export "_start")))"#,
            "imports that are not offered: env.magic, env.more; offered are the functions of",
        ),
        (
            r#"(component (import "acme:nn/graph@1.0.0" (instance))
                (component $c (core module $m (func (export "run") (result i32) i32.const 0))
                    (core instance $i (instantiate $m))
                    (func (export "run") (result (result)) (canon lift (core func $i "run"))))
                (instance $run (instantiate $c))
                (export "wasi:cli/run@0.2.0" (instance $run)))"#,
            "imports that are not offered: acme:nn/graph@1.0.0; offered are wasi:cli, ",
        ),
    ];
    for (wat, expected) in reports {
        let error = world.try_code(wat).await.err().expect(wat);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(expected), "{wat}: {cause}");
    }
}

/// A component exporting `wasi:cli/run` of `version` whose core function returns `result`.
fn cli(version: &str, body: &str) -> String {
    format!(
        r#"(component
            (core module $m (func (export "run") (result i32) {body}))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $iface (export "run" (func $run)))
            (export "wasi:cli/run@{version}" (instance $iface)))"#
    )
}

#[tokio::test]
async fn sandbox_runs_cli_components() {
    let world = World::new();
    assert_eq!(world.run(&cli("0.2.6", "i32.const 0")).await.code, 0);
    let exit = world.run(&cli("0.2.0", "i32.const 1")).await;
    assert_eq!((exit.code, exit.reason), (1, ExitReason::Error));
    let exit = world.run(&cli("0.2.0", "unreachable")).await;
    assert_eq!(exit.code, 134);
    assert!(exit.message.contains("unreachable"), "{}", exit.message);
}

#[tokio::test]
async fn sandbox_offers_wasi_0_3_only_where_it_is_on() {
    let guest = cli("0.3.0", "i32.const 0")
        .replace("(func $run (result (result))", "(func $run async (result (result))");
    let world = World::new();
    let error = world.try_code(&guest).await.err().unwrap();
    let CodeError::Load(error) = error else { panic!("{error}") };
    assert_eq!(error.reason(), "WasiVersionNotEnabled");
    let world = World::with(|config| config.p3 = true);
    assert_eq!(world.run(&guest).await.code, 0);
}

const FILES: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "file")
    ;; Exits with the error number of creating `file` in the first preopened directory.
    (func (export "_start")
        (call $exit (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4)
            (i32.const OFLAGS) (i64.const RIGHTS) (i64.const 0) (i32.const 0) (i32.const 64)))))"#;

#[tokio::test]
async fn sandbox_enforces_read_only_directories() {
    let world = World::new();
    let volume = world.dir.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    let open = async |create: bool, read_only: bool| {
        let (mut spec, _out, _err) = world.spec();
        spec.preopens = vec![Preopen { host: volume.clone(), guest: "/data".into(), read_only }];
        let (oflags, rights) = if create { ("1", "0x42") } else { ("0", "0x2") };
        let wat = FILES.replace("OFLAGS", oflags).replace("RIGHTS", rights);
        let running = world.engine.start(&world.code(&wat).await, spec).unwrap();
        within(running.exited()).await.code
    };
    assert_ne!(open(true, true).await, 0, "creating in a read-only directory");
    assert!(!volume.join("file").exists());
    assert_eq!(open(true, false).await, 0);
    assert!(volume.join("file").exists());
    assert_eq!(open(false, true).await, 0, "reading in a read-only directory");
    let (mut spec, _out, _err) = world.spec();
    let host = Path::new("/nonexistent").to_path_buf();
    spec.preopens = vec![Preopen { host, guest: "/data".into(), read_only: true }];
    let error = world.engine.start(&world.code(EXIT_3).await, spec).err().unwrap();
    assert_eq!(error.to_string(), "cannot open directory /nonexistent for /data");
}

/// A component that ends well if it is told of exactly one directory.
const COUNT_DIRECTORIES: &str = r#"(component
    (import "wasi:filesystem/types@0.2.0" (instance $types (export "descriptor" (type (sub resource)))))
    (alias export $types "descriptor" (type $descriptor))
    (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
        (alias outer 1 $descriptor (type $outer))
        (export "descriptor" (type $own (eq $outer)))
        (export "get-directories" (func (result (list (tuple (own $own) string)))))))
    (core module $memory
        (memory (export "memory") 1)
        (global $free (mut i32) (i32.const 1024))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $free)
            (global.set $free (i32.add (global.get $free)
                (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8))))))
    (core instance $memory (instantiate $memory))
    (core func $get (canon lower (func $preopens "get-directories")
        (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
    (core module $main
        (import "host" "get" (func $get (param i32)))
        (import "host" "memory" (memory 1))
        (func (export "run") (result i32)
            (call $get (i32.const 0))
            (i32.ne (i32.load (i32.const 4)) (i32.const 1))))
    (core instance $main (instantiate $main (with "host" (instance
        (export "get" (func $get))
        (export "memory" (memory $memory "memory"))))))
    (func $run (result (result)) (canon lift (core func $main "run")))
    (instance $iface (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $iface)))"#;

#[tokio::test]
async fn sandbox_opens_directories_for_components_that_ask() {
    let world = World::new();
    let volume = world.dir.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    let with_volume = || {
        let (mut spec, _out, _err) = world.spec();
        spec.preopens = vec![Preopen { host: volume.clone(), guest: "/data".into(), read_only: true }];
        spec
    };
    let open = || {
        let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        all.filter(|link| std::fs::read_link(link.path()).is_ok_and(|to| to == volume)).count()
    };
    let count = world.code(COUNT_DIRECTORIES).await;
    assert_eq!(within(world.engine.start(&count, world.spec().0).unwrap().exited()).await.code, 1);
    assert_eq!(within(world.engine.start(&count, with_volume()).unwrap().exited()).await.code, 0);
    let spin = world.code(&cli("0.2.0", "(loop $l (br $l)) (i32.const 0)")).await;
    let running = world.engine.start(&spin, with_volume()).unwrap();
    within(async {
        while running.usage().cpu_time.is_zero() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(open(), 0, "a guest that asked for nothing has its directory open");
}

#[tokio::test]
async fn sandbox_kills_a_guest_blocked_on_a_fifo() {
    let world = World::new();
    let volume = world.dir.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    let made = std::process::Command::new("mkfifo").arg(volume.join("file")).status().unwrap();
    assert!(made.success());
    let (mut spec, _out, _err) = world.spec();
    spec.preopens = vec![Preopen { host: volume.clone(), guest: "/data".into(), read_only: true }];
    let wat = FILES.replace("OFLAGS", "0").replace("RIGHTS", "0x2");
    let running = world.engine.start(&world.code(&wat).await, spec).unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), running.exited()).await;
    assert!(early.is_err(), "opening a FIFO without a writer returned {early:?}");
    running.kill();
    assert_eq!(within(running.exited()).await.reason, ExitReason::Killed);
    // Dropping the engine must not wait for the thread that is still in the kernel.
    let begin = Instant::now();
    drop(world);
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn sandbox_code_is_compiled_once() {
    let world = World::new();
    let (one, two) = tokio::join!(world.code(SPIN), world.code(SPIN));
    assert_eq!(world.cache.compilations(), 1);
    // A second start of the node.
    let directory = world.dir.path().join("code");
    let cache = CodeCache::open(&directory, Compiler::InProcess).unwrap();
    let path = world.dir.path().join("guest.wat");
    let again = cache.load(&world.engine, &path).await.unwrap();
    assert_eq!(cache.compilations(), 0);
    // What is in use stays, what is not goes.
    assert_eq!(cache.collect(0), 0);
    drop((one, two, again));
    let size = cache.size();
    assert!(size > 0);
    assert_eq!(cache.collect(0), size);
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
}

#[tokio::test]
async fn sandbox_code_is_compiled_again_when_damaged() {
    let world = World::new();
    drop(world.code(EXIT_3).await);
    let directory = world.dir.path().join("code");
    let entry = std::fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&entry).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&entry, bytes).unwrap();
    let cache = CodeCache::open(&directory, Compiler::InProcess).unwrap();
    let code = cache.load(&world.engine, &world.dir.path().join("guest.wat")).await.unwrap();
    assert_eq!(cache.compilations(), 1);
    let running = world.engine.start(&code, world.spec().0).unwrap();
    assert_eq!(within(running.exited()).await.code, 3);
}

const HTTP: &str = include_str!("fixtures/http.wat");

fn get(path: &str) -> Request {
    let uri = format!("http://pod{path}");
    http::Request::builder().uri(uri).header("host", "pod").body(Body::empty()).unwrap()
}

async fn body(response: Response) -> String {
    let bytes = within(response.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn serve(world: &World, wat: &str, change: impl FnOnce(&mut ContainerSpec)) -> Running {
    let (mut spec, _out, _err) = world.spec();
    change(&mut spec);
    world.engine.start(&world.code(wat).await, spec).unwrap()
}

#[tokio::test]
async fn sandbox_http_instances_are_fresh_unless_reuse_is_asked_for() {
    let world = World::new();
    for (reuse, second) in [(false, "hello 1\n"), (true, "hello 2\n")] {
        let running = serve(&world, HTTP, |spec| spec.http.reuse = reuse).await;
        let handler = running.http().unwrap();
        let first = within(handler.call(get("/"))).await.unwrap();
        assert_eq!(first.status(), 200);
        assert_eq!(body(first).await, "hello 1\n");
        // The instance can be reused once its request has ended on the guests' threads.
        while running.usage().active_requests > 0 {
            tokio::task::yield_now().await;
        }
        let response = within(handler.call(get("/"))).await.unwrap();
        assert_eq!(body(response).await, second, "reuse: {reuse}");
        assert_eq!(running.usage().requests, 2);
        running.kill();
        assert_eq!(within(running.exited()).await.reason, ExitReason::Killed);
        assert_eq!(running.usage().instances, 0);
        assert_eq!(running.usage().memory, 0);
    }
}

#[tokio::test]
async fn sandbox_http_trap_before_the_head_is_an_error() {
    let world = World::new();
    let (mut spec, _out, err) = world.spec();
    spec.http.reuse = true;
    let code = world.code(&HTTP.replace(";; BEFORE", "unreachable")).await;
    let running = world.engine.start(&code, spec).unwrap();
    let handler = running.http().unwrap();
    for _ in 0..2 {
        let error = within(handler.call(get("/"))).await.err().unwrap();
        assert!(matches!(error, HandlerError::Failed(_)), "{error}");
        assert!(error.to_string().contains("unreachable"), "{error}");
    }
    assert_eq!(running.usage().failed_requests, 2);
    drop((running, handler));
    assert!(text(err).await.contains("unreachable"));
}

#[tokio::test]
async fn sandbox_http_without_a_response_is_an_error() {
    let world = World::new();
    let running = serve(&world, &HTTP.replace(";; BEFORE", "return"), |_| {}).await;
    let error = within(running.http().unwrap().call(get("/"))).await.err().unwrap();
    assert!(matches!(error, HandlerError::Failed(_)), "{error}");
}

#[tokio::test]
async fn sandbox_http_memory_limit_fails_the_request() {
    let world = World::new();
    let grow = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable";
    let limit = |spec: &mut ContainerSpec| spec.memory_limit = Some(2 << 20);
    let running = serve(&world, &HTTP.replace(";; BEFORE", grow), limit).await;
    let error = within(running.http().unwrap().call(get("/"))).await.err().unwrap();
    assert!(error.to_string().contains("out of memory"), "{error}");
}

#[tokio::test]
async fn sandbox_http_ends_a_guest_whose_client_leaves() {
    let world = World::new();
    let endless = HTTP.replace(";; BEFORE", "(loop $l (br $l))");
    let running = serve(&world, &endless, |spec| spec.http.max_concurrent = 1).await;
    let handler = running.http().unwrap();
    for _ in 0..3 {
        // With one slot, the next request gets its turn only if the last guest is gone.
        let call = handler.call(get("/"));
        let left = tokio::time::timeout(Duration::from_millis(50), call).await;
        assert!(left.is_err());
    }
    while running.usage().instances > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn sandbox_http_refuses_what_it_cannot_queue() {
    let world = World::new();
    let endless = HTTP.replace(";; BEFORE", "(loop $l (br $l))");
    let change = |spec: &mut ContainerSpec| {
        spec.http.max_concurrent = 1;
        spec.http.request_timeout = Duration::from_millis(300);
    };
    let running = serve(&world, &endless, change).await;
    let handler = running.http().unwrap();
    let running_one = tokio::spawn(handler.call(get("/1")));
    while running.usage().requests == 0 {
        tokio::task::yield_now().await;
    }
    let mut waiting = handler.call(get("/2"));
    assert!(futures::poll!(&mut waiting).is_pending());
    match within(handler.call(get("/3"))).await {
        Err(HandlerError::Refused { request, .. }) => assert_eq!(request.uri().path(), "/3"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(running_one.await.unwrap(), Err(HandlerError::Timeout)));
    assert!(matches!(within(waiting).await, Err(HandlerError::Timeout)));
    running.kill();
    assert!(matches!(within(handler.call(get("/"))).await, Err(HandlerError::Refused { .. })));
}

#[tokio::test]
async fn sandbox_http_lets_the_guest_finish_after_its_response() {
    let world = World::new();
    // Counts to ten million after the body's end, then traps: the trap is in the log.
    let after = "(local.set $body (i32.const 0))
        (loop $l (local.set $body (i32.add (local.get $body) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $body) (i32.const 10000000)))) unreachable";
    let (spec, _out, err) = world.spec();
    let code = world.code(&HTTP.replace(";; AFTER", after)).await;
    let running = world.engine.start(&code, spec).unwrap();
    let response = within(running.http().unwrap().call(get("/"))).await.unwrap();
    assert_eq!(body(response).await, "hello 1\n");
    while running.usage().instances > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(running);
    assert!(text(err).await.contains("unreachable"));
}

#[tokio::test]
async fn sandbox_leaves_a_core_dump_where_it_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("core");
    let world = World::new();
    let trap = HTTP.replace(";; BEFORE", "unreachable");
    let running = serve(&world, &trap, |spec: &mut ContainerSpec| spec.core_dump = Some(file.clone())).await;
    let handler = running.http().unwrap();
    assert!(within(handler.call(get("/"))).await.is_err());
    assert!(std::fs::read(&file).unwrap().starts_with(b"\0asm"));
    std::fs::remove_file(&file).unwrap();
    assert!(within(handler.call(get("/"))).await.is_err());
    assert!(!file.exists(), "not with every request");
}
