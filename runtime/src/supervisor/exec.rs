//! Commands in a container that runs: another instance of its module, with arguments of its own, in the same volumes,
//! variables and network; and listening to the container itself.
//!
//! A module knows the commands it was written for. The few that clients count on everywhere are those of the node's
//! toolbox, unless the container's program has that very name.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use edge_api::kinds::pod::Container;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::log::{Audience, Stream};
use crate::sandbox::{Code, Exit, Feed, Input, Output, Running, Stop};
use crate::supervisor::context::{Active, Context};
use crate::supervisor::life::Failure;
use crate::supervisor::machine::Event;
use crate::supervisor::{crew, run};

/// What the toolbox is asked for.
const TOOLS: [&str; 6] = ["cat", "echo", "env", "ls", "tar", "test"];

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
    /// The toolbox is not to be had.
    #[error("the node's toolbox cannot be used: {0}")]
    Toolbox(String),
    /// It could not be started.
    #[error("{0}")]
    Failed(String),
}

/// A command that runs. Dropping it kills it.
pub struct Execution {
    running: Running,
    /// The container's own run.
    container: Arc<Active>,
    #[allow(dead_code, reason = "held for its drop")]
    holds: Vec<OwnedFd>,
}

impl Execution {
    /// Waits for its end, which comes with that of the container at the latest: nothing of a container outlives it.
    pub async fn exited(&self) -> Exit {
        tokio::select! {
            biased;
            exit = self.running.exited() => return exit,
            _ = self.container.running.exited() => self.running.kill(),
        }
        self.running.exited().await
    }

    /// Ends it, from elsewhere.
    pub fn stop(&self) -> Stop {
        self.running.stop()
    }
}

/// A container that somebody listens to.
pub struct Attached {
    /// What it says from now on.
    pub heard: mpsc::Receiver<(Stream, Bytes)>,
    /// All who listen.
    pub audience: Audience,
    /// Its input, if it has one.
    pub feed: Option<Feed>,
    /// Its input ends with the first who feeds it.
    pub once: bool,
    /// It speaks as on a terminal.
    pub terminal: bool,
    /// Ends its run.
    pub stop: Stop,
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

    /// Ends the Pod with this uid at once, and says why.
    pub fn evict(&self, uid: &str, why: String) {
        if let Some(context) = self.0.lock().get(uid).and_then(Weak::upgrade) {
            context.send(Event::Evicted(why));
        }
    }

    /// Ends the Pod with this uid because the host goes down, in no more than this time.
    pub fn terminate(&self, uid: &str, most: Duration) {
        if let Some(context) = self.0.lock().get(uid).and_then(Weak::upgrade) {
            context.send(Event::Terminated(most));
        }
    }

    /// Runs a command in a container of the Pod with this uid.
    pub async fn exec(&self, uid: &str, container: &str, command: Command) -> Result<Execution, ExecError> {
        let (context, index, container) = self.find(uid, container)?;
        exec(&context, index, &container, command).await
    }

    /// Listens to a container of the Pod with this uid.
    pub fn attach(&self, uid: &str, container: &str) -> Result<Attached, ExecError> {
        let (context, index, container) = self.find(uid, container)?;
        let active = context.active.lock()[index].clone();
        let active = active.ok_or_else(|| ExecError::NotFound(container.name.clone()))?;
        Ok(Attached {
            heard: active.audience.join(),
            audience: active.audience.clone(),
            feed: active.feed.clone(),
            once: container.stdin_once,
            terminal: container.tty,
            stop: active.running.stop(),
        })
    }

    fn find(&self, uid: &str, container: &str) -> Result<(Arc<Context>, usize, Container), ExecError> {
        let absent = || ExecError::NotFound(container.to_owned());
        let context = self.0.lock().get(uid).and_then(Weak::upgrade).ok_or_else(absent)?;
        let pod = context.pod.load_full();
        let (index, container) = crew::named(&pod, container).ok_or_else(absent)?;
        Ok((context, index, container.into_owned()))
    }
}

/// Runs a command in the container of this index.
pub(super) async fn exec(
    context: &Arc<Context>,
    index: usize,
    container: &Container,
    command: Command,
) -> Result<Execution, ExecError> {
    let active = context.active.lock()[index].clone();
    let active = active.ok_or_else(|| ExecError::NotFound(container.name.clone()))?;
    let failed = |failure: Failure| ExecError::Failed(failure.message);
    // What has changed in Services and ConfigMaps since it started is not its to know.
    let known = Some(active.variables.clone());
    let prepared = run::prepare(context, index, container, known).await.map_err(failed)?;
    let Command { args, stdin, stdout, stderr } = command;
    let code = match is_tool(&args, prepared.program()) {
        true => toolbox(context).await?,
        false => prepared.code.command().ok_or_else(|| ExecError::NoCommand(container.name.clone()))?,
    };
    let spec = prepared.spec(container, args, stdin, stdout, stderr);
    let running = context.host.engine.start(&code, spec);
    let running = running.map_err(|error| ExecError::Failed(run::chain(&error)))?;
    Ok(Execution { running, container: active, holds: prepared.holds })
}

/// Whether a command is one of the toolbox, and not the container's own program.
fn is_tool(args: &[String], program: &str) -> bool {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let wanted = name(args.first().map(String::as_str).unwrap_or_default());
    let own = name(program);
    let own = own.strip_suffix(".wasm").or_else(|| own.strip_suffix(".wat")).unwrap_or(&own);
    TOOLS.contains(&wanted.as_str()) && wanted != own
}

/// The toolbox, from wherever the node was told to take it.
async fn toolbox(context: &Context) -> Result<Code, ExecError> {
    let host = &context.host;
    let unusable = |error: &dyn std::error::Error| ExecError::Toolbox(run::chain(error));
    let image = host.images.fetch(&host.toolbox, &[]).await.map_err(|error| unusable(&error))?;
    host.code.load(&host.engine, &image.path).await.map_err(|error| unusable(&error))
}

#[cfg(test)]
mod tests {
    use super::is_tool;

    #[test]
    fn tools_are_told_by_name() {
        for (command, program, expected) in [
            ("tar cf - /data", "hello.wasm", true),
            ("/bin/cat x", "/app/hello", true),
            ("cat x", "/app/cat.wasm", false),
            ("ls", "toolbox.wasm", true),
            ("serve", "hello.wasm", false),
            ("", "hello.wasm", false),
        ] {
            let args: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            assert_eq!(is_tool(&args, program), expected, "{command:?} in {program:?}");
        }
    }
}
