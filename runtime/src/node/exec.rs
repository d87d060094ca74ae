//! A command in a container, spoken with over the tunnel: messages of [`edge_api::frames`] in both bodies.
//!
//! When the caller goes, so does the command; when the command ends, its output and then its end are told.

use std::io;

use bytes::Bytes;
use edge_api::frames::{self, Frames};
use futures::StreamExt as _;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::client::tunnel::{Body, text};
use crate::sandbox::{Exit, Input, Output};
use crate::supervisor::exec::{Command, ExecError, Execution, Residents};

/// Chunks of output that wait for the caller before the guest does.
const CHUNKS: usize = 32;
/// Messages that wait for the tunnel.
const WAITING: usize = 16;

/// What a caller wants.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The command.
    pub command: Vec<String>,
    /// Whether it speaks to it.
    pub stdin: bool,
    /// Whether it listens to its output.
    pub stdout: bool,
    /// Whether it listens to its errors.
    pub stderr: bool,
    /// Whether it is a terminal: errors are output then.
    pub tty: bool,
}

impl Wish {
    /// Reads the parameters of a request, which were decoded.
    pub fn read(pairs: impl Iterator<Item = (String, String)>) -> Wish {
        let mut wish = Wish::default();
        for (name, value) in pairs {
            match name.as_str() {
                "command" => wish.command.push(value),
                "stdin" => wish.stdin = value == "true",
                "stdout" => wish.stdout = value == "true",
                "stderr" => wish.stderr = value == "true",
                "tty" => wish.tty = value == "true",
                _ => {}
            }
        }
        wish
    }
}

/// The ends of a command's streams.
struct Ends {
    stdin: Option<DuplexStream>,
    stdout: Option<mpsc::Receiver<Bytes>>,
    stderr: Option<mpsc::Receiver<Bytes>>,
}

/// Runs the command and answers with what it says.
pub async fn answer(
    residents: &Residents,
    uid: &str,
    container: &str,
    wish: Wish,
    body: Incoming,
) -> Response<Body> {
    let (stdin, writer) = match wish.stdin {
        true => Some(Input::pipe()).unzip(),
        false => (None, None),
    };
    let output = |wanted: bool| match wanted {
        true => Some(Output::channel(CHUNKS)).unzip(),
        false => (None, None),
    };
    let (stdout, out) = output(wish.stdout);
    let (stderr, err) = output(wish.stderr && !wish.tty);
    let stdout = stdout.unwrap_or_else(Output::discard);
    let errors = if wish.tty { stdout.clone() } else { Output::discard() };
    let command = Command {
        args: wish.command,
        stdin: stdin.unwrap_or_default(),
        stdout,
        stderr: stderr.unwrap_or(errors),
    };
    let execution = match residents.exec(uid, container, command).await {
        Ok(execution) => execution,
        Err(error @ ExecError::NotFound(_)) => return text(StatusCode::NOT_FOUND, &error.to_string()),
        Err(error @ ExecError::NoCommand(_)) => return text(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    let ends = Ends { stdin: writer, stdout: out, stderr: err };
    let (sender, receiver) = mpsc::channel(WAITING);
    let task = AbortOnDropHandle::new(tokio::spawn(session(execution, ends, body, sender)));
    let messages = futures::stream::unfold((receiver, task), |(mut receiver, task)| async move {
        receiver.recv().await.map(|bytes| (Ok::<_, io::Error>(Frame::data(bytes)), (receiver, task)))
    });
    Response::new(BodyExt::boxed_unsync(StreamBody::new(messages)))
}

async fn session(execution: Execution, ends: Ends, body: Incoming, sender: mpsc::Sender<Bytes>) {
    let ending = async move {
        let exit = execution.exited().await;
        // The last handle on its output goes with it, so that the output comes to an end.
        drop(execution);
        exit
    };
    let told = async {
        let out = tell(ends.stdout, frames::STDOUT, &sender);
        let err = tell(ends.stderr, frames::STDERR, &sender);
        let (exit, (), ()) = tokio::join!(ending, out, err);
        let status = status(&exit).to_string();
        let _ = sender.send(frames::frame(frames::ERROR, status.as_bytes())).await;
    };
    tokio::select! {
        () = told => {}
        () = listen(body, ends.stdin) => {}
    }
}

async fn tell(output: Option<mpsc::Receiver<Bytes>>, channel: u8, sender: &mpsc::Sender<Bytes>) {
    let Some(mut output) = output else { return };
    while let Some(chunk) = output.recv().await {
        if sender.send(frames::frame(channel, &chunk)).await.is_err() {
            return;
        }
    }
}

/// Passes what the caller says on, until the caller is gone.
async fn listen(body: Incoming, mut stdin: Option<DuplexStream>) {
    let mut body = body.into_data_stream();
    let mut messages = Frames::default();
    while let Some(Ok(chunk)) = body.next().await {
        messages.push(&chunk);
        loop {
            match messages.next_message() {
                Ok(Some((frames::STDIN, bytes))) => {
                    // A command that has closed its input still speaks.
                    if let Some(writer) = &mut stdin
                        && writer.write_all(&bytes).await.is_err()
                    {
                        stdin = None;
                    }
                }
                Ok(Some((frames::CLOSE, bytes))) if *bytes == [frames::STDIN] => stdin = None,
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// The end of a command, as clients of Kubernetes read it.
fn status(exit: &Exit) -> Value {
    if exit.code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    let code = exit.code.to_string();
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code}]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::ExitReason;

    #[test]
    fn an_exit_is_told_as_kubernetes_tells_it() {
        let exit = |code| Exit { code, reason: ExitReason::Error, message: String::new() };
        assert_eq!(status(&exit(0))["status"], "Success");
        assert_eq!(status(&exit(3))["details"]["causes"][0], json!({"reason": "ExitCode", "message": "3"}));
    }

    #[test]
    fn wishes_are_read() {
        let pairs = [("command", "sh"), ("command", "-c"), ("stdin", "true"), ("stdout", "true")];
        let wish = Wish::read(pairs.into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert_eq!(wish.command, ["sh", "-c"]);
        assert!(wish.stdin && wish.stdout && !wish.stderr && !wish.tty);
    }
}
