//! The compiling child, played by this very program: it has a `main` of its own so that it can be
//! re-executed as the daemon would be.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use edge_runtime::code::{CodeCache, CodeError};
use edge_runtime::net::{Config, Network, PodIdentity};
use edge_runtime::sandbox::{
    CompileError, CompileLimits, Compiler, ContainerSpec, Engine, EngineConfig, HttpOptions, Machine, Output,
    Tunables, compile_child_main,
};

const EXIT_3: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start") (call $exit (i32.const 3))))"#;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let first = args.next().unwrap_or_default();
    if first == "__compile" {
        return compile_child_main();
    }
    let tests: [(&str, fn()); 4] = [
        ("sandbox_child_compiles_what_then_runs", compiles),
        ("sandbox_child_explains_a_failure", explains),
        ("sandbox_child_is_limited", is_limited),
        ("sandbox_child_that_cannot_start_is_an_error", cannot_start),
    ];
    let filter = if first.starts_with('-') { String::new() } else { first };
    for (name, test) in tests.iter().filter(|(name, _)| name.contains(&filter)) {
        println!("test {name} ...");
        test();
    }
    ExitCode::SUCCESS
}

struct World {
    runtime: tokio::runtime::Runtime,
    engine: Engine,
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let machine = Machine::probe();
        let mut config = EngineConfig::new(&machine, Tunables::for_machine(&machine));
        config.pool_slots = 8;
        World {
            runtime: tokio::runtime::Runtime::new().unwrap(),
            engine: Engine::new(config).unwrap(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn cache(&self, program: &Path, limits: CompileLimits) -> CodeCache {
        let compiler = Compiler::Child { program: program.into(), args: vec!["__compile".into()], limits };
        CodeCache::open(&self.dir.path().join("code"), compiler).unwrap()
    }

    fn failure(&self, wat: &str, program: &Path, limits: CompileLimits) -> CompileError {
        let path = self.dir.path().join("guest.wat");
        std::fs::write(&path, wat).unwrap();
        let cache = self.cache(program, limits);
        match self.runtime.block_on(cache.load(&self.engine, &path)) {
            Err(CodeError::Compile(error)) => error,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it compiled"),
        }
    }
}

fn me() -> &'static Path {
    Path::new("/proc/self/exe")
}

fn compiles() {
    let world = World::new();
    let path = world.dir.path().join("guest.wat");
    std::fs::write(&path, EXIT_3).unwrap();
    let cache = world.cache(me(), CompileLimits::default());
    let code = world.runtime.block_on(cache.load(&world.engine, &path)).unwrap();
    assert_eq!(cache.compilations(), 1);
    let entry = std::fs::read_dir(world.dir.path().join("code")).unwrap().next().unwrap().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&entry.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    let network = Network::new(Config::default(), Arc::default());
    let identity = PodIdentity { namespace: "default".into(), name: "a".into(), uid: "a".into() };
    let spec = ContainerSpec {
        core_dump: None,
        name: "test".into(),
        args: vec!["guest".into()],
        env: Default::default(),
        preopens: Vec::new(),
        stdin: edge_runtime::sandbox::Input::empty(),
        stdout: Output::discard(),
        stderr: Output::discard(),
        net: network.attach(identity, "10.42.0.2".parse().unwrap()).unwrap(),
        memory_limit: None,
        cpu_limit: None,
        http: HttpOptions::default(),
    };
    let running = world.engine.start(&code, spec).unwrap();
    assert_eq!(world.runtime.block_on(running.exited()).code, 3);
}

fn explains() {
    let world = World::new();
    let error = world.failure("#!/bin/sh", me(), CompileLimits::default());
    let CompileError::NotWasm(message) = error else { panic!("{error}") };
    assert_eq!(message, "it begins with \"#!/bin/sh\" (a script)");
    let error = world.failure("(module (func i32.add))", me(), CompileLimits::default());
    assert!(matches!(error, CompileError::Invalid(_)), "{error}");
    let left: Vec<_> = std::fs::read_dir(world.dir.path().join("code")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

fn is_limited() {
    let world = World::new();
    let no_time = CompileLimits { wall_seconds: 0, ..CompileLimits::default() };
    let error = world.failure(EXIT_3, me(), no_time);
    assert!(matches!(error, CompileError::Limit(_)), "{error}");
    // Many functions, so that a megabyte is not enough.
    let many = format!("(module {})", "(func (result i32) i32.const 1)".repeat(20_000));
    let little = CompileLimits { memory: 1 << 20, ..CompileLimits::default() };
    let error = world.failure(&many, me(), little);
    assert!(matches!(error, CompileError::Limit(_) | CompileError::Broken(_)), "{error}");
}

fn cannot_start() {
    let world = World::new();
    let program = Path::new("/nonexistent/edged");
    let error = world.failure(EXIT_3, program, CompileLimits::default());
    assert!(matches!(error, CompileError::Broken(_)), "{error}");
}
