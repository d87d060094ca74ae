//! `edgectl`: the command line of edgectl.
//!
//! It speaks kubectl's verbs, flags, output formats and exit codes to any Kubernetes API server,
//! through the `kube` crate's client. Objects stay JSON trees: the server's discovery says which
//! kinds exist and its `Table` replies say how they are shown, so no kind is built in here.

mod apply;
mod auth;
mod cli;
mod core_dump;
mod delete;
mod describe;
mod discovery;
mod explain;
mod failure;
mod get;
mod jsonpath;
mod logs;
mod manifest;
mod output;
mod resources;
mod rollout;
mod scale;
mod session;
mod version;
mod wait;
mod why;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::cli::{Command, CommandLine};
use crate::failure::Failure;
use crate::session::Session;

fn main() -> ExitCode {
    let line = CommandLine::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(line)),
        Err(error) => Err(Failure::from(anyhow::Error::new(error).context("cannot start"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(Failure::No) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(line: CommandLine) -> Result<(), Failure> {
    if let Command::Completion { shell } = line.command {
        clap_complete::generate(shell, &mut CommandLine::command(), "edgectl", &mut std::io::stdout());
        return Ok(());
    }
    if let Command::Version(options) = &line.command
        && options.client
    {
        return version::client();
    }
    let session = Session::open(&line.connection).await?;
    match line.command {
        Command::Apply(options) => apply::apply(&session, &options).await,
        Command::Get(options) => get::get(&session, &options).await,
        Command::Describe(options) => describe::describe(&session, &options).await,
        Command::Delete(options) => delete::delete(&session, &options).await,
        Command::Logs(options) => logs::logs(&session, &options).await,
        Command::Wait(options) => wait::wait(&session, &options).await,
        Command::Why(options) => why::why(&session, &options).await,
        Command::CoreDump(options) => core_dump::core_dump(&session, &options).await,
        Command::Scale(options) => scale::scale(&session, &options).await,
        Command::Rollout(options) => rollout::rollout(&session, &options).await,
        Command::Explain(options) => explain::explain(&session, &options).await,
        Command::ApiResources(options) => resources::api_resources(&session, &options).await,
        Command::ApiVersions => resources::api_versions(&session).await,
        Command::Auth(options) => auth::auth(&session, &options).await,
        Command::Version(_) => version::version(&session).await,
        Command::Completion { .. } => Ok(()),
    }
}
