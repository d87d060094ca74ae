//! Commands in a container that runs: another instance of its module, with arguments of its own, in the same volumes,
//! variables and network.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use edge_api::kinds::pod::Container;
use parking_lot::Mutex;

use crate::sandbox::{Exit, Input, Output, Running};
use crate::supervisor::context::Context;
use crate::supervisor::life::Failure;
use crate::supervisor::run;

/// A command and what it speaks with.
pub struct Command {
    /// `argv`.
    pub args: Vec<String>,
    /// Its input.
    pub stdin: Input,
    /// Its output.
    pub stdout: Output,
    /// Its errors.
    pub stderr: Output,
}

/// Why a command did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The container does not run here.
    #[error("container not found ({0:?})")]
    NotFound(String),
    /// The container's module is no program.
    #[error("container {0:?} serves HTTP; it has no command to run")]
    NoCommand(String),
    /// It could not be started.
    #[error("{0}")]
    Failed(String),
}

/// A command that runs. Dropping it kills it.
pub struct Execution {
    running: Running,
    #[allow(dead_code, reason = "held for its drop")]
    holds: Vec<OwnedFd>,
}

impl Execution {
    /// Waits for its end.
    pub async fn exited(&self) -> Exit {
        self.running.exited().await
    }
}

/// The Pods that live on this node, for those who look into them.
#[derive(Default)]
pub struct Residents(Mutex<HashMap<String, Weak<Context>>>);

impl Residents {
    /// A Pod moves in.
    pub(super) fn enter(&self, context: &Arc<Context>) {
        let mut all = self.0.lock();
        all.retain(|_, context| context.strong_count() > 0);
        all.insert(context.name.uid.clone(), Arc::downgrade(context));
    }

    /// The address of the Pod with this uid.
    pub fn address(&self, uid: &str) -> Option<IpAddr> {
        self.0.lock().get(uid).and_then(Weak::upgrade)?.ip.get().copied()
    }

    /// Runs a command in a container of the Pod with this uid.
    pub async fn exec(&self, uid: &str, container: &str, command: Command) -> Result<Execution, ExecError> {
        let absent = || ExecError::NotFound(container.to_owned());
        let context = self.0.lock().get(uid).and_then(Weak::upgrade).ok_or_else(absent)?;
        let pod = context.pod.load_full();
        let mut all = pod.spec.all_containers().enumerate();
        let (index, container) = all.find(|(_, one)| one.name == container).ok_or_else(absent)?;
        exec(&context, index, container, command).await
    }
}

/// Runs a command in the container of this index.
pub(super) async fn exec(
    context: &Arc<Context>,
    index: usize,
    container: &Container,
    command: Command,
) -> Result<Execution, ExecError> {
    let serves = match &context.active.lock()[index] {
        Some(active) => active.running.http().is_some(),
        None => return Err(ExecError::NotFound(container.name.clone())),
    };
    if serves {
        return Err(ExecError::NoCommand(container.name.clone()));
    }
    let failed = |failure: Failure| ExecError::Failed(failure.message);
    let prepared = run::prepare(context, index, container).await.map_err(failed)?;
    let Command { args, stdin, stdout, stderr } = command;
    let spec = prepared.spec(container, args, stdin, stdout, stderr);
    let running = context.host.engine.start(&prepared.code, spec);
    let running = running.map_err(|error| ExecError::Failed(run::chain(&error)))?;
    Ok(Execution { running, holds: prepared.holds })
}
