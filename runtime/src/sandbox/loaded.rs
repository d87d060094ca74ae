//! Loaded code: mapped once per engine it runs in, linked, ready to be instantiated.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use wasmtime::component::{Component, InstancePre};
use wasmtime::{Engine, Module, Precompiled};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::sandbox::host::{CoreHost, Host};
use crate::sandbox::native;
use crate::sandbox::pool::Pool;
use crate::sandbox::shape::{self, Shape};

/// Why compiled code could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It is of another engine, or damaged.
    #[error("compiled code is unusable: {0}")]
    Unusable(String),
    /// It exports nothing that can be run.
    #[error("nothing to run: {0}")]
    NoEntry(String),
    /// It imports what is not offered.
    #[error("imports that are not offered: {}; offered are {offered}", missing.join(", "))]
    Imports {
        /// Each import that is missing.
        missing: Vec<String>,
        /// What is offered.
        offered: String,
    },
    /// It needs WASI 0.3, which is off (reason `WasiVersionNotEnabled`).
    #[error("needs WASI 0.3 ({0}), which this node has not enabled (--wasi-p3)")]
    WasiVersionNotEnabled(Shape),
}

impl LoadError {
    /// The reason a Pod's status gives.
    pub fn reason(&self) -> &'static str {
        match self {
            LoadError::Unusable(_) => "CompiledCodeUnusable",
            LoadError::NoEntry(_) => "NothingToRun",
            LoadError::Imports { .. } => "ImportNotOffered",
            LoadError::WasiVersionNotEnabled(_) => "WasiVersionNotEnabled",
        }
    }
}

/// Loaded code. Clones are the same code; the last one unmaps it.
#[derive(Clone)]
pub struct Code(Arc<Loaded>);

/// Remembers code without keeping it loaded.
#[derive(Clone)]
pub(crate) struct WeakCode(Weak<Loaded>);

impl WeakCode {
    /// The code, if somebody still has it loaded.
    pub(crate) fn upgrade(&self) -> Option<Code> {
        self.0.upgrade().map(Code)
    }
}

struct Loaded {
    /// The very file whose digest was checked, whatever its name refers to by now.
    file: File,
    shape: Shape,
    /// The process that a server has beside its handler.
    command: Option<Shape>,
    /// It does not fit a slot of the pools.
    oversized: bool,
    ready: Mutex<HashMap<usize, Arc<Ready>>>,
}

/// Linked code in one engine.
pub(super) enum Ready {
    Core(wasmtime::InstancePre<CoreHost>),
    Cli(wasmtime_wasi::p2::bindings::CommandPre<Host>),
    Http(ProxyPre<Host>),
    CliP3(wasmtime_wasi::p3::bindings::CommandPre<Host>),
    HttpP3(ServicePre<Host>),
}

impl Code {
    /// What kind of program it is.
    pub fn shape(&self) -> Shape {
        self.0.shape
    }

    /// The process in it: itself, or what a server exports beside its handler.
    pub fn command(&self) -> Option<Code> {
        let Loaded { file, shape, command, oversized, .. } = &*self.0;
        if !shape.is_http() {
            return Some(self.clone());
        }
        let (shape, file) = ((*command)?, file.try_clone().ok()?);
        let loaded = Loaded { file, shape, command: None, oversized: *oversized, ready: Mutex::default() };
        Some(Code(Arc::new(loaded)))
    }

    /// A handle that does not keep it loaded.
    pub(crate) fn downgrade(&self) -> WeakCode {
        WeakCode(Arc::downgrade(&self.0))
    }

    /// Whether it can only be instantiated on demand.
    pub(super) fn is_oversized(&self) -> bool {
        self.0.oversized
    }

    /// Maps and links `file` in `pool`, and in `spare` if it does not fit a slot of `pool`.
    pub(super) fn load(
        file: File,
        pool: &Pool,
        spare: impl FnOnce() -> wasmtime::Result<Arc<Pool>>,
        p3: bool,
    ) -> Result<Code, LoadError> {
        let path = native::descriptor_path(&file);
        let kind = Engine::detect_precompiled_file(path).map_err(unusable)?;
        let kind = kind.ok_or_else(|| unusable("the file is no compiled code"))?;
        match Mapped::new(kind, &pool.engine, &file) {
            Ok(mapped) => Code::new(file, mapped, pool, false, p3),
            Err(error) => {
                let spare = spare().map_err(unusable)?;
                let mapped = Mapped::new(kind, &spare.engine, &file).map_err(|_| unusable(error))?;
                Code::new(file, mapped, &spare, true, p3)
            }
        }
    }

    fn new(file: File, mapped: Mapped, pool: &Pool, oversized: bool, p3: bool) -> Result<Code, LoadError> {
        let shape = mapped.shape(p3)?;
        let command = mapped.command(p3);
        let ready = Arc::new(mapped.link(shape, pool, p3)?);
        let ready = Mutex::new(HashMap::from([(pool.id, ready)]));
        Ok(Code(Arc::new(Loaded { file, shape, command, oversized, ready })))
    }

    /// The code in `pool`, mapped when first asked for.
    pub(super) fn ready(&self, pool: &Pool) -> Result<Arc<Ready>, LoadError> {
        let loaded = &*self.0;
        if let Some(ready) = loaded.ready.lock().get(&pool.id) {
            return Ok(Arc::clone(ready));
        }
        let kind = match loaded.shape {
            Shape::CoreCommand => Precompiled::Module,
            _ => Precompiled::Component,
        };
        let mapped = Mapped::new(kind, &pool.engine, &loaded.file).map_err(unusable)?;
        let ready = Arc::new(mapped.link(loaded.shape, pool, loaded.shape.is_p3())?);
        loaded.ready.lock().insert(pool.id, Arc::clone(&ready));
        Ok(ready)
    }
}

enum Mapped {
    Module(Module),
    Component(Component),
}

impl Mapped {
    fn new(kind: Precompiled, engine: &Engine, file: &File) -> wasmtime::Result<Mapped> {
        Ok(match kind {
            Precompiled::Module => Mapped::Module(native::map_module(engine, file)?),
            Precompiled::Component => Mapped::Component(native::map_component(engine, file)?),
        })
    }

    fn shape(&self, p3: bool) -> Result<Shape, LoadError> {
        let shape = match self {
            Mapped::Module(module) => module_shape(module)?,
            Mapped::Component(component) => component_shape(component)?,
        };
        if shape.is_p3() && !p3 {
            return Err(LoadError::WasiVersionNotEnabled(shape));
        }
        Ok(shape)
    }

    fn command(&self, p3: bool) -> Option<Shape> {
        match self {
            Mapped::Module(_) => None,
            Mapped::Component(component) => {
                let exports = exports(component);
                shape::command_of_component(exports.iter().map(String::as_str))
                    .filter(|shape| p3 || !shape.is_p3())
            }
        }
    }

    fn link(self, shape: Shape, pool: &Pool, p3: bool) -> Result<Ready, LoadError> {
        let engine = &pool.engine;
        let component = match self {
            Mapped::Module(module) => {
                let linker = pool.linkers.core(engine).map_err(unusable)?;
                check_module_imports(&module)?;
                return linker.instantiate_pre(&module).map(Ready::Core).map_err(missing);
            }
            Mapped::Component(component) => component,
        };
        check_component_imports(&component, p3 && shape.is_p3())?;
        let linker = match shape.is_p3() {
            true => pool.linkers.p3(engine),
            false => pool.linkers.p2(engine),
        };
        let pre = linker.map_err(unusable)?.instantiate_pre(&component).map_err(missing)?;
        typed(shape, pre).map_err(|error| LoadError::NoEntry(format!("{error:#}")))
    }
}

fn typed(shape: Shape, pre: InstancePre<Host>) -> wasmtime::Result<Ready> {
    Ok(match shape {
        Shape::HttpHandler => Ready::Http(ProxyPre::new(pre)?),
        Shape::HttpHandlerP3 => Ready::HttpP3(ServicePre::new(pre)?),
        Shape::CliCommandP3 => Ready::CliP3(wasmtime_wasi::p3::bindings::CommandPre::new(pre)?),
        Shape::CliCommand | Shape::CoreCommand => {
            Ready::Cli(wasmtime_wasi::p2::bindings::CommandPre::new(pre)?)
        }
    })
}

fn module_shape(module: &Module) -> Result<Shape, LoadError> {
    match module.get_export("_start") {
        Some(wasmtime::ExternType::Func(_)) => Ok(Shape::CoreCommand),
        _ => Err(LoadError::NoEntry(
            "a core module must export the function `_start` (WASI preview 1 command)".into(),
        )),
    }
}

fn exports(component: &Component) -> Vec<String> {
    let ty = component.component_type();
    ty.exports(component.engine()).map(|(name, _)| name.to_owned()).collect()
}

fn component_shape(component: &Component) -> Result<Shape, LoadError> {
    let exports = exports(component);
    shape::of_component(exports.iter().map(String::as_str)).ok_or_else(|| {
        let found = if exports.is_empty() { "nothing".into() } else { exports.join(", ") };
        LoadError::NoEntry(format!(
            "a component must export wasi:cli/run or wasi:http/incoming-handler of WASI 0.2, or \
             wasi:cli/run or wasi:http/handler of WASI 0.3; this one exports {found}"
        ))
    })
}

fn check_module_imports(module: &Module) -> Result<(), LoadError> {
    let missing: Vec<String> = module
        .imports()
        .filter(|import| import.module() != "wasi_snapshot_preview1")
        .map(|import| format!("{}.{}", import.module(), import.name()))
        .collect();
    refuse(missing, || "the functions of wasi_snapshot_preview1".into())
}

fn check_component_imports(component: &Component, p3: bool) -> Result<(), LoadError> {
    let ty = component.component_type();
    let missing: Vec<String> = ty
        .imports(component.engine())
        .map(|(name, _)| name.to_owned())
        .filter(|name| !shape::is_offered(name, p3))
        .collect();
    refuse(missing, || shape::offered(p3))
}

fn refuse(missing: Vec<String>, offered: impl FnOnce() -> String) -> Result<(), LoadError> {
    match missing.is_empty() {
        true => Ok(()),
        false => Err(LoadError::Imports { missing, offered: offered() }),
    }
}

/// The linker's own complaint, for a function or type that an offered interface lacks.
fn missing(error: wasmtime::Error) -> LoadError {
    LoadError::Imports {
        missing: vec![format!("{error:#}")],
        offered: "the released versions of WASI".into(),
    }
}

fn unusable(error: impl std::fmt::Display) -> LoadError {
    LoadError::Unusable(format!("{error:#}"))
}
