//! The one thread that owns the engine.
//!
//! It takes what arrived while it was busy, hands it to the engine as one batch, publishes what
//! changed and only then answers. There is no timer: the first write of a quiet time is committed at
//! once, and what arrives meanwhile together after it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::store::engine::{Engine, EngineError, Outcome};
use crate::store::error::WriteError;
use crate::store::record::{Change, Durability, Op, Revision, Write};
use crate::store::view::Publisher;

/// The most writes in a batch.
const BATCH: usize = 1024;

/// From how many bytes on a batch takes no more: it is to be a record of the journal, not to fill half of it.
const BATCH_BYTES: usize = 1 << 20;

/// How often the engine is looked after while something goes on beside the writes.
const TENDED: Duration = Duration::from_millis(100);

/// What the writer is asked for.
#[derive(Debug)]
pub(crate) enum Message {
    /// A write.
    Write(Request),
    /// The end.
    Close,
}

/// What became of a write, and the write: its memory is given back where it comes from, see
/// [`Config::keeper`](crate::Config).
pub(crate) type Answer = (Result<Revision, WriteError>, Write);

/// A write, and who waits for its answer.
#[derive(Debug)]
pub(crate) struct Request {
    /// The write.
    pub write: Write,
    /// Who waits.
    pub answer: oneshot::Sender<Answer>,
    /// Its room in the queue.
    pub room: OwnedSemaphorePermit,
}

/// Runs until told to close, or until nobody is left who could write.
pub(crate) fn run(engine: Box<dyn Engine>, publisher: Publisher, messages: &Receiver<Message>) {
    let mut writer = Writer { engine, publisher };
    let _ending = Ending(writer.publisher.view().clone());
    while let Some((batch, last)) = writer.wait(messages) {
        writer.write(batch);
        if last == Last::Yes {
            break;
        }
    }
    if let Err(error) = writer.engine.close() {
        tracing::error!(%error, "the store could not be closed cleanly; its volatile state is lost");
    }
    writer.publisher.view().set_commits(writer.engine.commits());
}

/// Ends the cursors, however the thread ends.
struct Ending(Arc<crate::store::view::View>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Writer {
    engine: Box<dyn Engine>,
    publisher: Publisher,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Yes,
    No,
}

impl Writer {
    /// The next batch, and whether it is the last; none when there is none.
    fn wait(&mut self, messages: &Receiver<Message>) -> Option<(Vec<Request>, Last)> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        match self.first(messages) {
            Some(Message::Write(request)) => {
                bytes += size(&request.write);
                batch.push(request);
            }
            Some(Message::Close) | None => return None,
        }
        // Who is about to write gets the chance to come along, as long as somebody does: one sync is for all.
        let mut seen = 0;
        while seen < batch.len() {
            seen = batch.len();
            thread::yield_now();
            while batch.len() < BATCH && bytes < BATCH_BYTES {
                match messages.try_recv() {
                    Ok(Message::Write(request)) => {
                        bytes += size(&request.write);
                        batch.push(request);
                    }
                    Ok(Message::Close) => return Some((batch, Last::Yes)),
                    Err(_) => break,
                }
            }
        }
        Some((batch, Last::No))
    }

    /// The next message. Meanwhile the engine is looked after for as long as it needs it, which is a moment after much
    /// was written.
    fn first(&mut self, messages: &Receiver<Message>) -> Option<Message> {
        while self.engine.tend() {
            match messages.recv_timeout(TENDED) {
                Err(RecvTimeoutError::Timeout) => {}
                message => return message.ok(),
            }
        }
        messages.recv().ok()
    }

    fn write(&mut self, batch: Vec<Request>) {
        match self.engine.recover() {
            Ok(changes) => self.publish_recovered(changes),
            Err(error) => return answer_all(batch, &error),
        }
        let Err((error, batch)) = self.write_once(batch) else { return };
        // What needs no disk goes on without it.
        let (durable, volatile) =
            batch.into_iter().partition(|request: &Request| request.write.durability == Durability::Durable);
        answer_all(durable, &error);
        match self.engine.recover() {
            Ok(changes) => self.publish_recovered(changes),
            Err(error) => return answer_all(volatile, &error),
        }
        if let Err((error, batch)) = self.write_once(volatile) {
            answer_all(batch, &error);
        }
    }

    fn write_once(&mut self, batch: Vec<Request>) -> Result<(), (EngineError, Vec<Request>)> {
        let (writes, waiting): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|request| (request.write, (request.answer, request.room))).unzip();
        let view = self.publisher.view().clone();
        let written = self.engine.write(&|key| view.newest(key), &writes);
        view.set_commits(self.engine.commits());
        match written {
            Ok(outcome) => {
                self.publisher.publish(&outcome);
                let answers = outcome.answers.into_iter().zip(writes);
                for ((answer, room), answered) in waiting.into_iter().zip(answers) {
                    drop(room);
                    // Whoever asked may have gone; the write stands.
                    let _ = answer.send(answered);
                }
                Ok(())
            }
            Err(error) => {
                let requests = writes.into_iter().zip(waiting);
                let back = requests.map(|(write, (answer, room))| Request { write, answer, room });
                Err((error, back.collect()))
            }
        }
    }

    fn publish_recovered(&mut self, changes: Vec<Arc<Change>>) {
        if !changes.is_empty() {
            self.publisher.publish(&Outcome { changes, ..Outcome::default() });
        }
    }
}

fn answer_all(batch: Vec<Request>, error: &EngineError) {
    for Request { write, answer, room } in batch {
        drop(room);
        let _ = answer.send((Err(error.clone().into()), write));
    }
}

/// What a write weighs in the queue, in bytes.
pub(crate) fn size(write: &Write) -> usize {
    let value = match &write.op {
        Op::Put(value) => value.len(),
        Op::Delete => 0,
    };
    value + write.key.as_str().len()
}
