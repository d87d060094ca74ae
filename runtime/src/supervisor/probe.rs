//! Asking containers how they are.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use edge_api::kinds::pod::{Container, HttpGetAction, Probe};

use crate::sandbox::{Input, Output};
use crate::supervisor::ask;
use crate::supervisor::context::Context;
use crate::supervisor::exec::{self, Command};
use crate::supervisor::machine::{Event, Probed};

/// Whom the container hears from.
const AGENT: &str = "kube-probe/1.37";

/// Runs all probes of a container for as long as it is polled.
pub async fn all(context: &Arc<Context>, index: usize, container: &Container) -> Infallible {
    if let Some(probe) = &container.startup_probe {
        Box::pin(startup(context, index, container, probe)).await;
    }
    let liveness = async {
        if let Some(probe) = &container.liveness_probe {
            Box::pin(liveness(context, index, container, probe)).await;
        }
    };
    let readiness = async {
        if let Some(probe) = &container.readiness_probe {
            Box::pin(readiness(context, index, container, probe)).await;
        }
    };
    tokio::join!(liveness, readiness);
    std::future::pending().await
}

async fn startup(context: &Arc<Context>, index: usize, container: &Container, probe: &Probe) {
    let mut rounds = Rounds::begin(probe).await;
    let mut bad = 0;
    loop {
        match ask(context, index, container, probe).await {
            Ok(()) => return context.send(Event::Probed(index, Probed::Up)),
            Err(problem) => {
                bad += 1;
                unhealthy(context, container, "Startup", &problem);
                if bad >= probe.failure_threshold.max(1) {
                    context.send(Event::Probed(index, Probed::Dead { probe: "startup" }));
                    return std::future::pending().await;
                }
            }
        }
        rounds.next().await;
    }
}

async fn liveness(context: &Arc<Context>, index: usize, container: &Container, probe: &Probe) {
    let mut rounds = Rounds::begin(probe).await;
    let mut bad = 0;
    loop {
        match ask(context, index, container, probe).await {
            Ok(()) => bad = 0,
            Err(problem) => {
                bad += 1;
                unhealthy(context, container, "Liveness", &problem);
                if bad >= probe.failure_threshold.max(1) {
                    return context.send(Event::Probed(index, Probed::Dead { probe: "liveness" }));
                }
            }
        }
        rounds.next().await;
    }
}

async fn readiness(context: &Arc<Context>, index: usize, container: &Container, probe: &Probe) {
    let mut rounds = Rounds::begin(probe).await;
    let (mut good, mut bad, mut ready) = (0, 0, false);
    loop {
        match ask(context, index, container, probe).await {
            Ok(()) => (good, bad) = (good + 1, 0),
            Err(problem) => {
                (good, bad) = (0, bad + 1);
                unhealthy(context, container, "Readiness", &problem);
            }
        }
        let turned = if ready {
            bad >= probe.failure_threshold.max(1)
        } else {
            good >= probe.success_threshold.max(1)
        };
        if turned {
            ready = !ready;
            context.send(Event::Probed(index, Probed::Ready(ready)));
        }
        rounds.next().await;
    }
}

fn unhealthy(context: &Context, container: &Container, kind: &str, problem: &str) {
    context.tell(Some(container), true, "Unhealthy", &format!("{kind} probe failed: {problem}"));
}

/// The times at which a probe asks.
struct Rounds(tokio::time::Interval);

impl Rounds {
    async fn begin(probe: &Probe) -> Rounds {
        let seconds = |value: i32, default| {
            Duration::from_secs(u64::try_from(value).ok().filter(|s| *s > 0).unwrap_or(default))
        };
        let delay = seconds(probe.initial_delay_seconds, 0);
        tokio::time::sleep(delay).await;
        let mut interval = tokio::time::interval(seconds(probe.period_seconds, 10));
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        interval.tick().await;
        Rounds(interval)
    }

    async fn next(&mut self) {
        self.0.tick().await;
    }
}

async fn ask(
    context: &Arc<Context>,
    index: usize,
    container: &Container,
    probe: &Probe,
) -> Result<(), String> {
    let patience = Duration::from_secs(u64::try_from(probe.timeout_seconds).unwrap_or(1).max(1));
    let question = async {
        if let Some(get) = &probe.http_get {
            http_get(context, container, get).await
        } else if let Some(action) = &probe.tcp_socket {
            ask::tcp(context, container, action).await.map_err(|error| error.to_string())
        } else if let Some(action) = &probe.grpc {
            ask::grpc(context, action).await.map_err(|error| error.to_string())
        } else if let Some(action) = &probe.exec {
            run(context, index, container, action.command.clone()).await
        } else {
            Err("the probe has no handler".to_owned())
        }
    };
    match tokio::time::timeout(patience, question).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {patience:?}")),
    }
}

async fn http_get(context: &Context, container: &Container, get: &HttpGetAction) -> Result<(), String> {
    let status = ask::http(context, container, get, AGENT).await.map_err(|error| error.to_string())?;
    let good = status.is_success() || status.is_redirection();
    if good { Ok(()) } else { Err(format!("HTTP probe failed with statuscode: {}", status.as_u16())) }
}

/// How many bytes of a command's output explain its failure.
const WORDS: usize = 1024;

/// A command in the container; its output explains its failure. It ends with the probe's patience.
async fn run(
    context: &Arc<Context>,
    index: usize,
    container: &Container,
    args: Vec<String>,
) -> Result<(), String> {
    let (output, mut words) = Output::channel(8);
    let command = Command { args, stdin: Input::empty(), stdout: output.clone(), stderr: output };
    let execution =
        exec::exec(context, index, container, command).await.map_err(|error| error.to_string())?;
    let ending = async move {
        let exit = execution.exited().await;
        drop(execution);
        exit
    };
    let listening = async {
        let mut said = Vec::new();
        while let Some(chunk) = words.recv().await {
            said.extend_from_slice(&chunk[..chunk.len().min(WORDS - said.len())]);
        }
        said
    };
    let (exit, said) = tokio::join!(ending, listening);
    if exit.code == 0 { Ok(()) } else { Err(String::from_utf8_lossy(&said).trim_end().to_owned()) }
}
