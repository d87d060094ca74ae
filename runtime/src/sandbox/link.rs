//! Linkers: which host functions each shape of guest is offered.
//!
//! A WASI 0.2 component gets all of `wasi:cli`, whether it is a process or a handler, since
//! standard libraries import it. WASI 0.3 has a linker of its own and is offered only where it
//! is on. Sockets, names, directories and the environment are ours in both.

use std::sync::OnceLock;

use wasmtime::Engine;
use wasmtime::component::Linker;
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView as _};

use crate::sandbox::host::{CoreHost, Host};
use crate::sandbox::{directories, environment, sockets};

/// The linkers of one engine, each built when first needed.
#[derive(Default)]
pub(super) struct Linkers {
    core: OnceLock<wasmtime::Linker<CoreHost>>,
    p2: OnceLock<Linker<Host>>,
    p3: OnceLock<Linker<Host>>,
}

impl Linkers {
    /// For core modules.
    pub(super) fn core(&self, engine: &Engine) -> wasmtime::Result<&wasmtime::Linker<CoreHost>> {
        get(&self.core, || {
            let mut linker = wasmtime::Linker::new(engine);
            wasmtime_wasi::p1::add_to_linker_async(&mut linker, |host: &mut CoreHost| &mut host.p1)?;
            Ok(linker)
        })
    }

    /// For components of WASI 0.2.
    pub(super) fn p2(&self, engine: &Engine) -> wasmtime::Result<&Linker<Host>> {
        get(&self.p2, || {
            let mut linker = Linker::new(engine);
            add_p2(&mut linker)?;
            Ok(linker)
        })
    }

    /// For components of WASI 0.3, which may import 0.2 besides.
    pub(super) fn p3(&self, engine: &Engine) -> wasmtime::Result<&Linker<Host>> {
        get(&self.p3, || {
            let mut linker = Linker::new(engine);
            add_p2(&mut linker)?;
            add_p3(&mut linker)?;
            Ok(linker)
        })
    }
}

/// Interface by interface: what is not named here, above all the stock sockets, is not there.
fn add_p2(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    use wasmtime_wasi::p2::bindings as wasi;
    // wasi:io, clocks, random numbers and standard streams.
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(linker)?;
    wasi::random::insecure::add_to_linker::<_, WasiRandom>(linker, Host::random)?;
    wasi::random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, Host::random)?;
    wasi::filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, Host::filesystem)?;
    wasi::cli::exit::add_to_linker::<_, WasiCli>(linker, Host::cli)?;
    wasi::cli::terminal_input::add_to_linker::<_, WasiCli>(linker, Host::cli)?;
    wasi::cli::terminal_output::add_to_linker::<_, WasiCli>(linker, Host::cli)?;
    wasi::cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, Host::cli)?;
    wasi::cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, Host::cli)?;
    wasi::cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, Host::cli)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    wasmtime_wasi_config::add_to_linker(linker, Host::config)?;
    directories::add_p2(linker, Host::directories)?;
    environment::add_p2(linker, Host::environment)?;
    sockets::add_p2(linker, Host::pod_sockets)
}

/// Like [`add_p2`].
fn add_p3(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    use wasmtime_wasi::p3::bindings::{cli, filesystem};
    use wasmtime_wasi::p3::{clocks, random};
    cli::exit::add_to_linker::<_, WasiCli>(linker, Host::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(linker, Host::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(linker, Host::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(linker, Host::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, Host::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, Host::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, Host::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, Host::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, Host::cli)?;
    clocks::add_to_linker(linker)?;
    filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, Host::filesystem)?;
    random::add_to_linker(linker)?;
    wasmtime_wasi_http::p3::add_to_linker(linker)?;
    directories::add_p3(linker, Host::directories)?;
    environment::add_p3(linker, Host::environment)?;
    sockets::add_p3(linker, Host::pod_sockets)
}

/// Two threads may build the same linker at once; one of the two is kept.
fn get<T>(cell: &OnceLock<T>, make: impl FnOnce() -> wasmtime::Result<T>) -> wasmtime::Result<&T> {
    if let Some(linker) = cell.get() {
        return Ok(linker);
    }
    let linker = make()?;
    Ok(cell.get_or_init(|| linker))
}
