//! Compilation in a short-lived child process, since the compiler leaves its memory behind.
//!
//! The parent hands over the module as standard input and the artefact's file as standard
//! output; a failure comes back as one line of JSON on standard error. The child inherits
//! nothing else, has no environment, limits itself and is the first thing the kernel kills when
//! memory is short. Nothing here knows the cache.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use crate::sandbox::config::Tunables;
use crate::sandbox::pool;

/// The largest module taken, in bytes.
const LARGEST_MODULE: u64 = 512 << 20;
/// The largest artefact a child may write, in bytes.
const LARGEST_ARTEFACT: u64 = 4 << 30;
/// The longest report read from a child, in bytes.
const LONGEST_REPORT: u64 = 64 * 1024;

/// Who compiles.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// A child process running [`compile_child_main`]: the daemon itself, re-executed.
    Child {
        /// What to execute, for example `/proc/self/exe`.
        program: PathBuf,
        /// Arguments before our own one.
        args: Vec<OsString>,
        /// What the child may use.
        limits: CompileLimits,
    },
    /// This process. For tests and tools: what the compiler allocates stays with it.
    InProcess,
}

impl Compiler {
    /// The running program, re-executed as `edged __compile`.
    pub fn this_program() -> Compiler {
        Compiler::Child {
            program: "/proc/self/exe".into(),
            args: vec!["__compile".into()],
            limits: CompileLimits::default(),
        }
    }
}

/// What a compilation may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CompileLimits {
    /// Bytes of memory (`RLIMIT_DATA`).
    pub memory: u64,
    /// Seconds of CPU time (`RLIMIT_CPU`).
    pub cpu_seconds: u64,
    /// Seconds of wall time.
    pub wall_seconds: u64,
}

impl Default for CompileLimits {
    /// 2 GiB, five minutes of CPU, ten minutes of wall time: a 13 MB component needs 340 MB and
    /// 17 s on a slow core.
    fn default() -> CompileLimits {
        CompileLimits { memory: 2 << 30, cpu_seconds: 300, wall_seconds: 600 }
    }
}

/// Why a module was not compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", tag = "error", content = "message")]
#[non_exhaustive]
pub enum CompileError {
    /// The file is no WebAssembly at all.
    #[error("not a WebAssembly module or component: {0}")]
    NotWasm(String),
    /// It is WebAssembly, but invalid or of a proposal that is not on.
    #[error("invalid WebAssembly: {0}")]
    Invalid(String),
    /// A limit of [`CompileLimits`] ended it.
    #[error("compiling took more than it may: {0}")]
    Limit(String),
    /// The compiler itself could not be run or broke.
    #[error("compiler failed: {0}")]
    Broken(String),
}

/// What the child is told, as its last argument.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    tunables: Tunables,
    limits: CompileLimits,
}

impl Compiler {
    /// Compiles `module` into `artefact`, both at their beginning.
    pub(crate) async fn compile(
        &self,
        tunables: &Tunables,
        module: File,
        artefact: File,
    ) -> Result<(), CompileError> {
        match self {
            Compiler::InProcess => {
                let tunables = tunables.clone();
                let work = move || compile_file(&tunables, module, artefact);
                tokio::task::spawn_blocking(work).await.map_err(broken)?
            }
            Compiler::Child { program, args, limits } => {
                let order = Order { tunables: tunables.clone(), limits: *limits };
                let order = serde_json::to_string(&order).map_err(broken)?;
                let mut command = tokio::process::Command::new(program);
                command.args(args).arg(order).env_clear().kill_on_drop(true);
                command.stdin(module).stdout(artefact).stderr(Stdio::piped());
                run_child(command, *limits).await
            }
        }
    }
}

async fn run_child(mut command: tokio::process::Command, limits: CompileLimits) -> Result<(), CompileError> {
    let mut child = command.spawn().map_err(broken)?;
    let mut report = String::new();
    let work = async {
        if let Some(stderr) = child.stderr.take() {
            // A report that is no UTF-8 is treated as none.
            let _ = stderr.take(LONGEST_REPORT).read_to_string(&mut report).await;
        }
        child.wait().await
    };
    let wall = Duration::from_secs(limits.wall_seconds);
    match tokio::time::timeout(wall, work).await {
        Err(_) => Err(CompileError::Limit(format!("{} s of time", limits.wall_seconds))),
        Ok(Err(error)) => Err(broken(error)),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(explain(&report, status, limits)),
    }
}

fn explain(report: &str, status: std::process::ExitStatus, limits: CompileLimits) -> CompileError {
    use std::os::unix::process::ExitStatusExt;
    let reported = report.lines().rev().find_map(|line| serde_json::from_str(line).ok());
    if let Some(error) = reported {
        return error;
    }
    let last = report.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no report");
    match status.signal() {
        // SIGXCPU, and SIGKILL at the hard limit or by the kernel's out-of-memory killer.
        Some(24) => CompileError::Limit(format!("{} s of CPU", limits.cpu_seconds)),
        Some(9) => CompileError::Limit("killed, most likely for its memory".into()),
        // An allocation failed under RLIMIT_DATA: the allocator aborts.
        Some(6) if report.contains("memory allocation") => {
            CompileError::Limit(format!("{} bytes of memory", limits.memory))
        }
        _ => CompileError::Broken(format!("{status}: {last}")),
    }
}

fn broken(error: impl std::fmt::Display) -> CompileError {
    CompileError::Broken(error.to_string())
}

/// The whole of the child process: `edged __compile <order>`.
pub fn compile_child_main() -> ExitCode {
    match compile_child() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = serde_json::to_string(&error).unwrap_or_else(|_| error.to_string());
            // Nobody is left to tell if this fails.
            let _ = writeln!(std::io::stderr(), "{line}");
            ExitCode::FAILURE
        }
    }
}

fn compile_child() -> Result<(), CompileError> {
    use std::os::fd::AsFd;
    let order = std::env::args().next_back().unwrap_or_default();
    let order: Order = serde_json::from_str(&order).map_err(broken)?;
    limit_this_process(&order.limits)?;
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().map_err(broken)?;
    let stdout = std::io::stdout().as_fd().try_clone_to_owned().map_err(broken)?;
    compile_file(&order.tunables, File::from(stdin), File::from(stdout))
}

fn limit_this_process(limits: &CompileLimits) -> Result<(), CompileError> {
    // Where /proc is not writable the child is merely as likely to be killed as its parent.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let wanted = [
        (Resource::Data, limits.memory),
        (Resource::Cpu, limits.cpu_seconds),
        (Resource::Fsize, LARGEST_ARTEFACT),
        (Resource::Core, 0),
    ];
    for (resource, value) in wanted {
        let hard = rustix::process::getrlimit(resource).maximum;
        let value = hard.map_or(value, |hard| value.min(hard));
        let limit = Rlimit { current: Some(value), maximum: Some(value) };
        setrlimit(resource, limit).map_err(broken)?;
    }
    Ok(())
}

fn compile_file(tunables: &Tunables, module: File, mut out: File) -> Result<(), CompileError> {
    let mut bytes = Vec::new();
    let read = module.take(LARGEST_MODULE + 1).read_to_end(&mut bytes).map_err(broken)?;
    if read as u64 > LARGEST_MODULE {
        return Err(CompileError::Limit(format!("a module has at most {LARGEST_MODULE} bytes")));
    }
    let artefact = compile(tunables, &bytes)?;
    out.write_all(&artefact).map_err(broken)
}

fn compile(tunables: &Tunables, bytes: &[u8]) -> Result<Vec<u8>, CompileError> {
    let format = Format::of(bytes)?;
    let engine = pool::compiling_engine(tunables).map_err(broken)?;
    let result = match format {
        Format::Module => engine.precompile_module(bytes),
        Format::Component => engine.precompile_component(bytes),
    };
    result.map_err(|error| CompileError::Invalid(format!("{error:#}")))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Module,
    Component,
}

impl Format {
    /// Binary modules and components by their header, text by its first form.
    fn of(bytes: &[u8]) -> Result<Format, CompileError> {
        if let Some(version) = bytes.strip_prefix(b"\0asm") {
            return match version.get(..4) {
                Some([1, 0, 0, 0]) => Ok(Format::Module),
                Some([0x0d, 0, 1, 0]) => Ok(Format::Component),
                _ => Err(CompileError::NotWasm("unknown version of the binary format".into())),
            };
        }
        let text = std::str::from_utf8(bytes).ok().map(first_form);
        match text {
            Some(text) if text.starts_with("(module") => Ok(Format::Module),
            Some(text) if text.starts_with("(component") => Ok(Format::Component),
            _ => Err(CompileError::NotWasm(describe(bytes))),
        }
    }
}

/// The text after leading white space and comments.
fn first_form(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix(";;") {
            text = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(rest) = text.strip_prefix("(;") {
            text = rest.split_once(";)").map_or("", |(_, rest)| rest);
        } else {
            return text;
        }
    }
}

fn describe(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "the file is empty".into();
    }
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(16)]);
    let kind = match bytes {
        [0x7f, b'E', b'L', b'F', ..] => " (an ELF program)",
        [0x1f, 0x8b, ..] => " (gzip)",
        [b'#', b'!', ..] => " (a script)",
        _ => "",
    };
    format!("it begins with {start:?}{kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_the_beginning() {
        let cases: &[(&[u8], Result<Format, &str>)] = &[
            (b"\0asm\x01\0\0\0", Ok(Format::Module)),
            (b"\0asm\x0d\0\x01\0", Ok(Format::Component)),
            (b"(module)", Ok(Format::Module)),
            (b"  ;; text\n(; more ;)\n(component)", Ok(Format::Component)),
            (b"\0asm\x02\0\0\0", Err("unknown version")),
            (b"", Err("empty")),
            (b"\x7fELF\x02", Err("ELF")),
            (b"hello", Err("\"hello\"")),
        ];
        for (bytes, expected) in cases {
            match (Format::of(bytes), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, *expected),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (found, expected) => panic!("{bytes:?}: {found:?}, not {expected:?}"),
            }
        }
    }
}
