//! Who waits for a word, and what was said of it: of a lane's recent changes, those in whose bytes it stands between two
//! quotes.
//!
//! With a thousand nodes that each watch for the Pods of their own, waking all of them for every Pod costs more than
//! everything else that is done with it. So a change is read once for its words, and reaches only those who wait for
//! one of them. A word is heard whatever it means there; whoever waits looks himself.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use memchr::memchr_iter;
use tokio::sync::watch;

use crate::store::record::{Change, Revision};

/// A text to wait for, without quotes in it.
pub(crate) type Word = Arc<[u8]>;

/// How many revisions of forgotten changes are kept for a word.
const FORGOTTEN: usize = 64;

/// The words of one lane that somebody waits for.
#[derive(Debug)]
pub(crate) struct Ears {
    by_word: HashMap<Word, Ear>,
    /// How many of them have which length; all that are long share one. Most texts of an object have another.
    lengths: [u32; 64],
}

/// One of them.
#[derive(Debug)]
struct Ear {
    /// The changes that hold the word, oldest first.
    heard: VecDeque<Arc<Change>>,
    /// After this revision there are no others.
    since: Revision,
    /// The newest that were forgotten, and the revision after which these are all.
    forgotten: VecDeque<Revision>,
    known: Revision,
    /// Rung when there are more.
    bell: watch::Sender<Revision>,
    listeners: usize,
}

impl Default for Ears {
    fn default() -> Ears {
        Ears { by_word: HashMap::new(), lengths: [0; 64] }
    }
}

impl Ears {
    /// Begins to listen for a word, in changes after `newest`.
    pub(crate) fn open(&mut self, word: &Word, newest: Revision) -> watch::Receiver<Revision> {
        let lengths = &mut self.lengths;
        let ear = self.by_word.entry(word.clone()).or_insert_with(|| {
            lengths[class(word)] += 1;
            Ear {
                heard: VecDeque::new(),
                since: newest,
                forgotten: VecDeque::new(),
                known: newest,
                bell: watch::Sender::new(Revision::ZERO),
                listeners: 0,
            }
        });
        ear.listeners += 1;
        ear.bell.subscribe()
    }

    /// Ends what [`open`](Ears::open) began.
    pub(crate) fn close(&mut self, word: &Word) {
        let Some(ear) = self.by_word.get_mut(word) else { return };
        ear.listeners -= 1;
        if ear.listeners == 0 {
            self.by_word.remove(word);
            self.lengths[class(word)] -= 1;
        }
    }

    /// Takes in a change; adds to `heard` the words in it that somebody waits for.
    pub(crate) fn hear(&mut self, change: &Arc<Change>, heard: &mut Vec<Word>) {
        if self.by_word.is_empty() {
            return;
        }
        for word in words_of(change).filter(|word| self.lengths[class(word)] > 0) {
            let Some((word, _)) = self.by_word.get_key_value(word) else { continue };
            let word = word.clone();
            let Some(ear) = self.by_word.get_mut(&word) else { continue };
            if ear.heard.back().is_none_or(|last| last.revision < change.revision) {
                ear.heard.push_back(change.clone());
                heard.push(word);
            }
        }
    }

    /// Rings for those who wait for a word.
    pub(crate) fn ring(&self, word: &Word, head: Revision) {
        if let Some(ear) = self.by_word.get(word) {
            ear.bell.send_replace(head);
        }
    }

    /// Rings for all.
    pub(crate) fn ring_all(&self, head: Revision) {
        for ear in self.by_word.values() {
            ear.bell.send_replace(head);
        }
    }

    /// Forgets changes up to a revision.
    pub(crate) fn forget(&mut self, upto: Revision) {
        for ear in self.by_word.values_mut() {
            while let Some(change) = ear.heard.pop_front_if(|change| change.revision <= upto) {
                ear.since = change.revision;
                ear.forgotten.push_back(change.revision);
                if ear.forgotten.len() > FORGOTTEN {
                    ear.known = ear.forgotten.pop_front().unwrap_or(ear.known);
                }
            }
        }
    }

    /// The changes after a revision that hold a word. If it is not known of all whether they do: up to where there was
    /// none.
    pub(crate) fn heard(
        &self,
        word: &Word,
        after: Revision,
    ) -> Result<impl Iterator<Item = &Arc<Change>>, Revision> {
        let ear = self.by_word.get(word).ok_or(after)?;
        if ear.since > after {
            let missed = ear.forgotten.iter().find(|revision| ear.known <= after && **revision > after);
            return Err(missed.map_or(after, |missed| Revision(missed.0 - 1)));
        }
        let start = ear.heard.partition_point(|change| change.revision <= after);
        Ok(ear.heard.range(start..))
    }
}

/// The class of a length.
fn class(word: &[u8]) -> usize {
    word.len().min(63)
}

/// Whether a word is in a change.
pub(crate) fn holds(change: &Change, word: &Word) -> bool {
    words_of(change).any(|one| *one == **word)
}

/// The words of the object before and of the one after.
fn words_of(change: &Change) -> impl Iterator<Item = &[u8]> {
    let before = change.before.as_ref().map(|stored| &*stored.value);
    before.into_iter().chain(change.after.as_deref()).flat_map(words)
}

/// Every text between one quote and the next, be it in a string or between two: so escaped quotes need no care.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quotes = memchr_iter(b'"', text);
    let first = quotes.next().unwrap_or(text.len());
    quotes.scan(first, move |from, to| {
        let word = &text[*from + 1..to];
        *from = to;
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_between_two_quotes_is_a_word() {
        let text = br#"{"spec":{"nodeName":"node-1","note":"a \"quoted\" b\\","empty":""}}"#;
        let words: Vec<&[u8]> = words(text).collect();
        for word in ["spec", "nodeName", "node-1", "quoted\\", " b\\\\", ""] {
            assert!(words.contains(&word.as_bytes()), "{word:?}");
        }
        for word in ["node", "ode-1", "note\""] {
            assert!(!words.contains(&word.as_bytes()), "{word:?}");
        }
        assert_eq!(super::words(b"none").count() + super::words(b"on\"e").count(), 0);
    }
}
