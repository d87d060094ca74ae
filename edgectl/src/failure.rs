//! Why a command failed, in kubectl's words.

use std::fmt;

use kube::core::Status;

/// A failure as it is printed: the whole chain, once.
#[derive(Debug)]
pub enum Failure {
    /// The server said no.
    Server(Box<Status>),
    /// Anything else.
    Other(anyhow::Error),
    /// The answer to a question, and said already.
    No,
}

impl Failure {
    /// A failure of our own, in one sentence.
    pub fn say(message: impl fmt::Display) -> Failure {
        Failure::Other(anyhow::anyhow!("error: {message}"))
    }

    /// Whether the server answered with this reason, such as `NotFound`.
    pub fn has_reason(&self, reason: &str) -> bool {
        matches!(self, Failure::Server(status) if status.reason == reason)
    }

    /// Whether standard output was closed by its reader, as by `head`.
    pub fn is_closed_pipe(&self) -> bool {
        let Failure::Other(error) = self else { return false };
        error.chain().any(|cause| {
            cause
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
        })
    }

    /// The same failure, said of a place: a manifest's file and line.
    pub fn at(self, place: &str) -> Failure {
        match self {
            Failure::Server(status) => {
                Failure::Other(anyhow::anyhow!("{place}: {}", Failure::Server(status)))
            }
            Failure::Other(error) => Failure::Other(anyhow::anyhow!("{place}: {error:#}")),
            Failure::No => Failure::No,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Server(status) => server(status, out),
            Failure::Other(error) => write!(out, "{error:#}"),
            Failure::No => out.write_str("no"),
        }
    }
}

fn server(status: &Status, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let details = status.details.as_ref();
    if status.reason == "Invalid"
        && let Some(details) = details.filter(|details| !details.causes.is_empty())
    {
        write!(out, "The {} \"{}\" is invalid: ", details.kind, details.name)?;
        if let [cause] = details.causes.as_slice() {
            return write!(out, "{}: {}", cause.field, cause.message);
        }
        for cause in &details.causes {
            write!(out, "\n* {}: {}", cause.field, cause.message)?;
        }
        return Ok(());
    }
    if status.reason.is_empty() {
        return write!(out, "Error from server: {}", status.message);
    }
    write!(out, "Error from server ({}): {}", status.reason, status.message)
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Failure {
        match error {
            kube::Error::Api(status) => Failure::Server(status),
            error => Failure::Other(anyhow::Error::new(error).context("error: no answer from the server")),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Other(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::Other(anyhow::Error::new(error))
    }
}
