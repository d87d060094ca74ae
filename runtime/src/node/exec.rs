//! A command in a container, or the container itself, spoken with over the tunnel: messages of [`edge_api::frames`]
//! in both bodies.
//!
//! When the caller goes, so does the command; when the command ends, its output and then its end are told. A
//! container that somebody attaches to stays, and its end is told as success, as Kubernetes does.

use std::io;

use bytes::Bytes;
use edge_api::frames::{self, Frames};
use futures::StreamExt as _;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::client::tunnel::{Body, text};
use crate::log::Stream;
use crate::node::terminal::{self, Terminal};
use crate::sandbox::{Chunk, Feed, Input, Output, Stop};
use crate::supervisor::exec::{Attached, Command, ExecError, Execution, Residents};

/// Chunks of output that wait for the caller before the guest does.
const CHUNKS: usize = 32;
/// Messages that wait for the tunnel.
const WAITING: usize = 16;
/// The exit code of a command that was ended from its keyboard.
const INTERRUPTED: i32 = 130;

/// What a caller wants; who attaches names no command.
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

/// Who speaks to a guest: the caller's messages on their way there.
struct Mouth {
    body: Incoming,
    feed: Option<Feed>,
    /// Whether the guest's input ends when the caller has no more to say: somebody else may speak to it later.
    ends_input: bool,
    terminal: Option<Terminal>,
    stop: Stop,
    /// For what a terminal shows of what is typed.
    sender: mpsc::Sender<Bytes>,
}

/// Why nothing comes from a caller any more.
#[derive(Debug, PartialEq, Eq)]
enum Silence {
    /// It is gone.
    Gone,
    /// It has ended the guest from its keyboard.
    Interrupted,
}

/// Runs the command and answers with what it says.
pub async fn answer(
    residents: &Residents,
    uid: &str,
    container: &str,
    wish: Wish,
    body: Incoming,
) -> Response<Body> {
    let (mut stdin, feed) = match wish.stdin {
        true => Some(Input::pipe()).unzip(),
        false => (None, None),
    };
    let output = |wanted: bool| match wanted {
        true => Some(Output::channel(CHUNKS)).unzip(),
        false => (None, None),
    };
    let (stdout, out) = output(wish.stdout);
    let (stderr, err) = output(wish.stderr && !wish.tty);
    let mut stdout = stdout.unwrap_or_else(Output::discard);
    if wish.tty {
        stdout = stdout.on_terminal();
        stdin = stdin.map(Input::on_terminal);
    }
    let errors = if wish.tty { stdout.clone() } else { Output::discard() };
    let command = Command {
        args: wish.command,
        stdin: stdin.unwrap_or_default(),
        stdout,
        stderr: stderr.unwrap_or(errors),
    };
    let execution = match residents.exec(uid, container, command).await {
        Ok(execution) => execution,
        Err(error) => return refused(&error),
    };
    let (sender, receiver) = mpsc::channel(WAITING);
    let terminal = wish.tty.then(Terminal::default);
    let mouth =
        Mouth { body, feed, ends_input: true, terminal, stop: execution.stop(), sender: sender.clone() };
    streamed(receiver, command_session(execution, out, err, mouth, wish.tty, sender))
}

/// Connects the caller with a container that runs: what it says from now on, and what it is told if it listens.
pub fn attach(
    residents: &Residents,
    uid: &str,
    container: &str,
    wish: Wish,
    body: Incoming,
) -> Response<Body> {
    let attached = match residents.attach(uid, container) {
        Ok(attached) => attached,
        Err(error) => return refused(&error),
    };
    let (sender, receiver) = mpsc::channel(WAITING);
    let mouth = Mouth {
        body,
        feed: attached.feed.clone().filter(|_| wish.stdin),
        ends_input: attached.once,
        terminal: (attached.terminal && wish.stdin).then(Terminal::default),
        stop: attached.stop.clone(),
        sender: sender.clone(),
    };
    streamed(receiver, attached_session(attached, wish, mouth, sender))
}

fn refused(error: &ExecError) -> Response<Body> {
    let status = match error {
        ExecError::NotFound(_) => StatusCode::NOT_FOUND,
        ExecError::NoCommand(_) => StatusCode::BAD_REQUEST,
        ExecError::Toolbox(_) | ExecError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    text(status, &error.to_string())
}

/// A body of messages, and the session that sends them for as long as somebody reads.
fn streamed(
    receiver: mpsc::Receiver<Bytes>,
    session: impl Future<Output = ()> + Send + 'static,
) -> Response<Body> {
    let task = AbortOnDropHandle::new(tokio::spawn(session));
    let messages = futures::stream::unfold((receiver, task), |(mut receiver, task)| async move {
        receiver.recv().await.map(|bytes| (Ok::<_, io::Error>(Frame::data(bytes)), (receiver, task)))
    });
    Response::new(BodyExt::boxed_unsync(StreamBody::new(messages)))
}

async fn command_session(
    execution: Execution,
    stdout: Option<mpsc::Receiver<Chunk>>,
    stderr: Option<mpsc::Receiver<Chunk>>,
    mouth: Mouth,
    terminal: bool,
    sender: mpsc::Sender<Bytes>,
) {
    let ending = async move {
        let exit = execution.exited().await;
        // The last handle on its output goes with it, so that the output comes to an end.
        drop(execution);
        exit
    };
    let told = async {
        let out = tell(stdout, frames::STDOUT, terminal, &sender);
        let err = tell(stderr, frames::STDERR, terminal, &sender);
        tokio::join!(ending, out, err).0
    };
    let mut interrupted = false;
    let heard = async {
        if mouth.pass().await == Silence::Interrupted {
            interrupted = true;
            std::future::pending::<()>().await;
        }
    };
    let exit = tokio::select! {
        exit = told => exit,
        () = heard => return,
    };
    let status = if interrupted { status(INTERRUPTED) } else { status(exit.code) };
    let _ = sender.send(frames::frame(frames::ERROR, status.to_string().as_bytes())).await;
}

async fn attached_session(mut attached: Attached, wish: Wish, mouth: Mouth, sender: mpsc::Sender<Bytes>) {
    let told = async {
        while let Some((stream, said)) = attached.heard.recv().await {
            let channel = match stream {
                Stream::Stdout if wish.stdout => frames::STDOUT,
                Stream::Stderr if wish.stderr => frames::STDERR,
                _ => continue,
            };
            if sender.send(framed(channel, &said, attached.terminal)).await.is_err() {
                return;
            }
        }
        let status = if attached.audience.is_over() { status(0) } else { too_slow() };
        let _ = sender.send(frames::frame(frames::ERROR, status.to_string().as_bytes())).await;
    };
    let heard = async {
        if mouth.pass().await == Silence::Interrupted {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = told => {}
        () = heard => {}
    }
    if let Some(feed) = attached.feed.filter(|_| attached.once && wish.stdin) {
        feed.end().await;
    }
}

async fn tell(
    output: Option<mpsc::Receiver<Chunk>>,
    channel: u8,
    terminal: bool,
    sender: &mpsc::Sender<Bytes>,
) {
    let Some(mut output) = output else { return };
    while let Some(chunk) = output.recv().await {
        if sender.send(framed(channel, &chunk, terminal)).await.is_err() {
            return;
        }
    }
}

fn framed(channel: u8, said: &[u8], terminal: bool) -> Bytes {
    match terminal {
        true => frames::frame(channel, &terminal::shown(said)),
        false => frames::frame(channel, said),
    }
}

impl Mouth {
    /// Passes on what the caller says, until it is gone or has ended the guest.
    async fn pass(self) -> Silence {
        let Mouth { body, mut feed, ends_input, mut terminal, stop, sender } = self;
        let mut body = body.into_data_stream();
        let mut messages = Frames::default();
        while let Some(Ok(chunk)) = body.next().await {
            messages.push(&chunk);
            loop {
                let said = match messages.next_message() {
                    Ok(Some((frames::STDIN, said))) => said,
                    Ok(Some((frames::CLOSE, said))) if *said == [frames::STDIN] => {
                        match ends_input {
                            true => end(&mut feed).await,
                            false => feed = None,
                        }
                        continue;
                    }
                    // A window's size is of no use to programs of WASI.
                    Ok(Some(_)) => continue,
                    Ok(None) => break,
                    Err(_) => return Silence::Gone,
                };
                let Some(terminal) = &mut terminal else {
                    give(&feed, &said).await;
                    continue;
                };
                let typed = terminal.press(&said);
                if !typed.echo.is_empty() {
                    let _ = sender.send(frames::frame(frames::STDOUT, &typed.echo)).await;
                }
                give(&feed, &typed.input).await;
                match typed.wish {
                    None => {}
                    // Typed at the container's own terminal, whoever sits there.
                    Some(terminal::Wish::End) => end(&mut feed).await,
                    Some(terminal::Wish::Interrupt) => {
                        stop.now();
                        return Silence::Interrupted;
                    }
                }
            }
        }
        Silence::Gone
    }
}

/// A guest that has closed its input still speaks.
async fn give(feed: &Option<Feed>, said: &[u8]) {
    if let Some(feed) = feed.as_ref().filter(|_| !said.is_empty()) {
        feed.give(said).await;
    }
}

async fn end(feed: &mut Option<Feed>) {
    if let Some(feed) = feed.take() {
        feed.end().await;
    }
}

/// The end of a command, as clients of Kubernetes read it.
fn status(code: i32) -> Value {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    let code = code.to_string();
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code}]},
    })
}

/// What a caller is told who does not read as fast as the container speaks.
fn too_slow() -> Value {
    json!({
        "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
        "message": "the container says more than is taken; attach again, or read its log",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_told_as_kubernetes_tells_it() {
        assert_eq!(status(0)["status"], "Success");
        assert_eq!(status(3)["details"]["causes"][0], json!({"reason": "ExitCode", "message": "3"}));
    }

    #[test]
    fn wishes_are_read() {
        let pairs = [("command", "sh"), ("command", "-c"), ("stdin", "true"), ("stdout", "true")];
        let wish = Wish::read(pairs.into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert_eq!(wish.command, ["sh", "-c"]);
        assert!(wish.stdin && wish.stdout && !wish.stderr && !wish.tty);
    }
}
