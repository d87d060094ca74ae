//! A list and a watch as one endless stream of five words.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;

use crate::client::backoff::Backoff;
use crate::client::watch::{Verb, WatchStream};
use crate::client::{Client, ClientError};

/// What a watcher says.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A list begins: what follows until [`Event::InitDone`] is everything there is.
    Init,
    /// An object of the list.
    InitApply(Value),
    /// The list is complete.
    InitDone,
    /// An object is new or changed.
    Apply(Value),
    /// An object is gone; this was its last state.
    Delete(Value),
}

/// What to watch.
#[derive(Debug, Clone)]
pub struct Target {
    /// The collection's path.
    pub path: String,
    /// An encoded query, such as a field selector; may be empty.
    pub query: String,
}

/// Lists, watches, and lists again when it must.
pub struct Watcher {
    client: Client,
    target: Target,
    state: State,
    pending: VecDeque<Event>,
    backoff: Backoff,
    quiet: bool,
}

enum State {
    /// Nothing is known.
    Empty,
    /// Everything up to this revision is known.
    Listed { revision: String },
    /// Changes after this revision arrive.
    Watching { revision: String, stream: WatchStream },
}

impl Watcher {
    /// A watcher that has not begun.
    pub fn new(client: Client, target: Target) -> Watcher {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(20));
        Watcher { client, target, state: State::Empty, pending: VecDeque::new(), backoff, quiet: false }
    }

    /// The next word. Failures are waited out and tried again; they are no words.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return event;
            }
            if let Err(error) = self.step().await {
                self.failed(&error).await;
            }
        }
    }

    async fn step(&mut self) -> Result<(), ClientError> {
        match &mut self.state {
            State::Empty => {
                let list = self.client.list(&self.target.path, &self.target.query).await?;
                self.pending.push_back(Event::Init);
                self.pending.extend(list.items.into_iter().map(Event::InitApply));
                self.pending.push_back(Event::InitDone);
                self.state = State::Listed { revision: list.revision };
            }
            State::Listed { revision } => {
                let stream = self.client.watch(&self.target.path, &self.target.query, revision).await?;
                self.state = State::Watching { revision: std::mem::take(revision), stream };
                self.backoff.reset();
                self.quiet = false;
            }
            State::Watching { revision, stream } => match stream.next().await? {
                None => self.state = State::Listed { revision: std::mem::take(revision) },
                Some(change) => {
                    if let Some(seen) = change.object["metadata"]["resourceVersion"].as_str() {
                        seen.clone_into(revision);
                    }
                    match change.verb {
                        Verb::Added | Verb::Modified => self.pending.push_back(Event::Apply(change.object)),
                        Verb::Deleted => self.pending.push_back(Event::Delete(change.object)),
                        Verb::Bookmark | Verb::Error => {}
                    }
                }
            },
        }
        Ok(())
    }

    async fn failed(&mut self, error: &ClientError) {
        let revision = match std::mem::replace(&mut self.state, State::Empty) {
            State::Empty => None,
            State::Listed { revision } | State::Watching { revision, .. } => Some(revision),
        };
        if let Some(revision) = revision.filter(|_| !error.is_gone()) {
            self.state = State::Listed { revision };
        }
        if error.is_gone() {
            return;
        }
        if !self.quiet {
            self.quiet = true;
            let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            tracing::debug!(path = self.target.path, %error, source, "a watch is interrupted and will be resumed");
        }
        self.backoff.wait().await;
    }
}
