//! Which texts stand between two quotes in an object's bytes: a Bloom filter, made once for a change and asked by
//! every watcher that waits for a word.
//!
//! With a thousand nodes that each watch for the Pods of their own, searching a change's bytes for a thousand names
//! costs more than everything else that is done with it. May say yes of a text that is not there, never no of one that
//! is.

use std::sync::OnceLock;

use memchr::memchr_iter;

/// A Pod of 150 texts leaves one of fifty others unrefuted.
const BITS: u64 = 4096;
const LONGS: usize = (BITS / 64) as usize;

/// A text to ask for, without quotes in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    first: u64,
    second: u64,
}

impl Word {
    /// The word of a text.
    pub fn of(text: &str) -> Word {
        Word::of_bytes(text.as_bytes())
    }

    fn of_bytes(text: &[u8]) -> Word {
        // FNV-1a, and the finisher of MurmurHash3 so that both ends are as good as each other.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in text {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        Word { first: hash % BITS, second: (hash >> 32) % BITS }
    }
}

/// The words of some bytes, found when first asked for. Takes no part in comparisons.
#[derive(Debug, Default)]
pub struct Sketch(OnceLock<Box<[u64; LONGS]>>);

impl Sketch {
    /// Whether a word may stand between quotes in any of `texts`. They are read at the first call only, so they have to
    /// be the same at every one.
    pub fn may_hold<'a>(&self, word: Word, texts: impl IntoIterator<Item = &'a [u8]>) -> bool {
        let bits = self.0.get_or_init(|| {
            let mut bits = Box::new([0; LONGS]);
            texts.into_iter().for_each(|text| draw(text, &mut bits));
            bits
        });
        [word.first, word.second].into_iter().all(|bit| bits[(bit / 64) as usize] >> (bit % 64) & 1 == 1)
    }
}

/// Every text between one quote and the next, be it in a string or between two: so escaped quotes need no care.
fn draw(text: &[u8], bits: &mut [u64; LONGS]) {
    let mut quotes = memchr_iter(b'"', text);
    let Some(mut from) = quotes.next() else { return };
    for to in quotes {
        let Word { first, second } = Word::of_bytes(&text[from + 1..to]);
        for bit in [first, second] {
            bits[(bit / 64) as usize] |= 1 << (bit % 64);
        }
        from = to;
    }
}

/// Empty, since what it is of may be changed in the copy.
impl Clone for Sketch {
    fn clone(&self) -> Sketch {
        Sketch::default()
    }
}

impl PartialEq for Sketch {
    fn eq(&self, _: &Sketch) -> bool {
        true
    }
}

impl Eq for Sketch {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_stands_between_quotes_is_found() {
        let before: &[u8] = br#"{"spec":{"nodeName":"node-1","note":"a \"quoted\" b\\"}}"#;
        let after: &[u8] = br#"{"spec":{"nodeName":"node-2","empty":""}}"#;
        let sketch = Sketch::default();
        let holds = |word: &str| sketch.may_hold(Word::of(word), [before, after]);
        for word in ["node-1", "node-2", "spec", "nodeName", "", " b\\\\"] {
            assert!(holds(word), "{word:?}");
        }
        // By luck any of these could be; the hash never changes, so the luck does not, either.
        for word in ["node", "node-11", "ode-1", "node-3", "quote"] {
            assert!(!holds(word), "{word:?}");
        }
    }

    #[test]
    fn few_words_that_are_not_there_go_unrefuted() {
        let text: String = (0..150).map(|n| format!(r#""field-{n}":"value-{n}","#)).collect();
        let sketch = Sketch::default();
        let found =
            (0..10_000).filter(|n| sketch.may_hold(Word::of(&format!("node-{n}")), [text.as_bytes()]));
        assert!(found.count() < 400);
    }
}
