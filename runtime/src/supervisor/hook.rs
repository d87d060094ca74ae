//! What a container wants done after its start and before its end.

use std::sync::Arc;
use std::time::Duration;

use edge_api::kinds::pod::{Container, LifecycleHandler};

use crate::sandbox::{Input, Output};
use crate::supervisor::ask::{self, AskError};
use crate::supervisor::context::Context;
use crate::supervisor::exec::{self, Command, ExecError};

/// Whom the container hears from.
const AGENT: &str = "kube-lifecycle/1.37";

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// Its command did not begin.
    #[error("the command did not begin")]
    Exec(#[from] ExecError),
    /// Its command ended so.
    #[error("the command ended with {0}")]
    Exit(i32),
    /// Its request brought no answer.
    #[error("no answer")]
    Ask(#[from] AskError),
    /// It says nothing that is done here; Kubernetes, too, has given `tcpSocket` up.
    #[error("invalid handler")]
    Invalid,
}

/// Carries a hook out. Dropped, it ends.
pub async fn run(
    context: &Arc<Context>,
    index: usize,
    container: &Container,
    handler: &LifecycleHandler,
) -> Result<(), HookError> {
    let result = attempt(context, index, container, handler).await;
    if let Err(error) = &result {
        let name = &context.name;
        let error = error as &dyn std::error::Error;
        tracing::debug!(
            namespace = name.namespace,
            name = name.name,
            container = container.name,
            error,
            "a hook failed"
        );
    }
    result
}

async fn attempt(
    context: &Arc<Context>,
    index: usize,
    container: &Container,
    handler: &LifecycleHandler,
) -> Result<(), HookError> {
    if let Some(action) = &handler.exec {
        let output = Output::discard();
        let args = action.command.clone();
        let command = Command { args, stdin: Input::empty(), stdout: output.clone(), stderr: output };
        match exec::exec(context, index, container, command).await?.exited().await.code {
            0 => Ok(()),
            code => Err(HookError::Exit(code)),
        }
    } else if let Some(get) = &handler.http_get {
        // Whatever it answers: it has heard.
        ask::http(context, container, get, AGENT).await?;
        Ok(())
    } else if let Some(sleep) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
        Ok(())
    } else {
        Err(HookError::Invalid)
    }
}
