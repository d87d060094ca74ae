//! For tests: the writer's work without its thread, one write at a time and at a moment of the test's choosing.
//!
//! Every write carries a mark of who asked for it, so that a test can tell whose change it sees.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use crate::store::engine::Engine;
use crate::store::record::Change;
use crate::store::view::Publisher;
use crate::store::writer::{Message, Request};

/// See the module.
pub(crate) struct Hand<T> {
    engine: Box<dyn Engine>,
    publisher: Publisher,
    inbox: Receiver<Message>,
    waiting: VecDeque<(T, Request)>,
}

impl<T: Clone> Hand<T> {
    /// The writer of a store that has no other.
    pub(crate) fn new(engine: Box<dyn Engine>, publisher: Publisher, inbox: Receiver<Message>) -> Hand<T> {
        Hand { engine, publisher, inbox, waiting: VecDeque::new() }
    }

    /// Marks what was asked since the last time.
    pub(crate) fn mark(&mut self, mark: &T) {
        for message in self.inbox.try_iter() {
            if let Message::Write(request) = message {
                self.waiting.push_back((mark.clone(), request));
            }
        }
    }

    /// How many marked writes wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the oldest write and answers it. Tells the mark and what changed; none if none waits.
    pub(crate) fn commit(&mut self) -> Option<(T, Option<Arc<Change>>)> {
        let (mark, Request { write, answer, room }) = self.waiting.pop_front()?;
        let view = self.publisher.view().clone();
        let mut outcome = self
            .engine
            .write(&|key| view.newest(key), std::slice::from_ref(&write))
            .expect("memory has no disk that could fail");
        self.publisher.publish(&outcome);
        drop(room);
        if let Some(result) = outcome.answers.pop() {
            // Whoever asked may have gone; the write stands.
            let _ = answer.send((result, write));
        }
        Some((mark, outcome.changes.pop()))
    }

    /// Loses what waits, as a process that dies before its writes are on the disk.
    pub(crate) fn lose(&mut self) {
        self.inbox.try_iter().for_each(drop);
        self.waiting.clear();
    }
}
