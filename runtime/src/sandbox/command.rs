//! Processes: core modules and `wasi:cli/run`, from their first instruction to their exit.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime_wasi::I32Exit;

use crate::sandbox::container::{Container, Exit, ExitReason};
use crate::sandbox::core_dump;
use crate::sandbox::host::{CoreHost, Host};
use crate::sandbox::loaded::{Code, Ready};
use crate::sandbox::pool::Pool;
use crate::sandbox::shared::Shared;

/// The exit code of a guest that trapped: what a shell shows for SIGABRT.
const TRAPPED: i32 = 134;
/// The exit code of a guest that ran out of memory: what a shell shows for SIGKILL.
const KILLED: i32 = 137;
/// The exit code of a guest that never began.
const NOT_BEGUN: i32 = 128;

/// Runs a process to its end.
pub(super) async fn run(engine: &Shared, code: &Code, container: &Arc<Container>) -> Exit {
    let mut places = engine.places(code);
    loop {
        let (pool, ready) = match places.next() {
            Ok(place) => place,
            Err(error) => return failed(NOT_BEGUN, format!("cannot start: {error:#}")),
        };
        let exit = match &*ready {
            Ready::Core(pre) => core(pre, container, &pool).await,
            Ready::Cli(pre) => cli(pre, container, &pool).await,
            // In a box: it is larger than the others, which would take as much.
            Ready::CliP3(pre) => Box::pin(cli_p3(pre, container, &pool)).await,
            Ready::Http(_) | Ready::HttpP3(_) => {
                return failed(NOT_BEGUN, "a handler is no process".into());
            }
        };
        match exit {
            Some(exit) => return exit,
            None => pool.room.filled_up(), // Nothing of the guest has run; try the next pool.
        }
    }
}

async fn core(
    pre: &wasmtime::InstancePre<CoreHost>,
    container: &Arc<Container>,
    pool: &Arc<Pool>,
) -> Option<Exit> {
    let mut store = match CoreHost::store(container, &pool.engine, &pool.room) {
        Ok(store) => store,
        Err(error) => return Some(failed(NOT_BEGUN, format!("{error:#}"))),
    };
    let instance = match pre.instantiate_async(&mut store).await {
        Ok(instance) => instance,
        Err(error) => return not_begun(error, store.data().out_of_memory()),
    };
    let result = async {
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
        start.call_async(&mut store, ()).await
    };
    let result = result.await;
    if let Err(error) = &result {
        core_dump::keep(container, &mut store, error).await;
    }
    Some(exit(result.map(|()| 0), store.data().out_of_memory()))
}

async fn cli(
    pre: &wasmtime_wasi::p2::bindings::CommandPre<Host>,
    container: &Arc<Container>,
    pool: &Arc<Pool>,
) -> Option<Exit> {
    let mut store = match Host::store(container, &pool.engine, &pool.room) {
        Ok(store) => store,
        Err(error) => return Some(failed(NOT_BEGUN, format!("{error:#}"))),
    };
    let command = match pre.instantiate_async(&mut store).await {
        Ok(command) => command,
        Err(error) => return not_begun(error, store.data().out_of_memory()),
    };
    let result = command.wasi_cli_run().call_run(&mut store).await;
    Some(component_exit(result, container, &mut store).await)
}

async fn cli_p3(
    pre: &wasmtime_wasi::p3::bindings::CommandPre<Host>,
    container: &Arc<Container>,
    pool: &Arc<Pool>,
) -> Option<Exit> {
    let mut store = match Host::store(container, &pool.engine, &pool.room) {
        Ok(store) => store,
        Err(error) => return Some(failed(NOT_BEGUN, format!("{error:#}"))),
    };
    let command = match pre.instantiate_async(&mut store).await {
        Ok(command) => command,
        Err(error) => return not_begun(error, store.data().out_of_memory()),
    };
    let run = store.run_concurrent(async |store| command.wasi_cli_run().call_run(store).await);
    let result = run.await.flatten();
    Some(component_exit(result, container, &mut store).await)
}

async fn component_exit(
    result: wasmtime::Result<Result<(), ()>>,
    container: &Container,
    store: &mut Store<Host>,
) -> Exit {
    if let Err(error) = &result {
        core_dump::keep(container, store, error).await;
    }
    let code = result.map(|result| i32::from(result.is_err()));
    exit(code, store.data().out_of_memory())
}

/// `None` if the pool had no room, else the end of a guest that could not be instantiated.
fn not_begun(error: wasmtime::Error, out_of_memory: bool) -> Option<Exit> {
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return None;
    }
    Some(exit(Err(error), out_of_memory))
}

fn exit(result: wasmtime::Result<i32>, out_of_memory: bool) -> Exit {
    match result {
        Ok(code) => Exit::with_code(code),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(code)) => Exit::with_code(*code),
            None if out_of_memory => Exit {
                code: KILLED,
                reason: ExitReason::OomKilled,
                message: format!("out of memory: {}", describe(&error)),
            },
            None => failed(TRAPPED, describe(&error)),
        },
    }
}

/// The chain of causes, innermost first since that is the trap; then the guest's stack.
pub(super) fn describe(error: &wasmtime::Error) -> String {
    let mut causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.reverse();
    causes.join("\n")
}

pub(super) fn failed(code: i32, message: String) -> Exit {
    Exit { code, reason: ExitReason::Error, message }
}
