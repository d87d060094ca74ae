//! Who listens to a run while it speaks: everything from now on, as it is said, not cut into lines.
//!
//! Nobody waits for a listener: one that is too far behind is let go.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::log::Stream;

/// Pieces that wait for a listener.
const BEHIND: usize = 256;

#[derive(Debug, Default)]
struct Listeners {
    all: Vec<mpsc::Sender<(Stream, Bytes)>>,
    over: bool,
}

/// The listeners of one run. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Audience(Arc<Mutex<Listeners>>);

impl Audience {
    /// Listens from now on. It ends with the run, or when the listener is too far behind.
    pub fn join(&self) -> mpsc::Receiver<(Stream, Bytes)> {
        let (sender, receiver) = mpsc::channel(BEHIND);
        let mut listeners = self.0.lock();
        if !listeners.over {
            listeners.all.push(sender);
        }
        receiver
    }

    /// Whether the run has said its last.
    pub fn is_over(&self) -> bool {
        self.0.lock().over
    }

    pub(super) fn tell(&self, stream: Stream, said: &Bytes) {
        let mut listeners = self.0.lock();
        listeners.all.retain(|listener| listener.try_send((stream, said.clone())).is_ok());
    }

    pub(super) fn end(&self) {
        *self.0.lock() = Listeners { all: Vec::new(), over: true };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn listeners_hear_from_now_on_to_the_end() {
        let audience = Audience::default();
        let say = |text: &'static str| audience.tell(Stream::Stdout, &Bytes::from_static(text.as_bytes()));
        say("before");
        let (mut one, mut two) = (audience.join(), audience.join());
        say("first");
        drop(two.recv().await);
        drop(two);
        say("second");
        audience.end();
        let mut heard = Vec::new();
        while let Some((_, said)) = one.recv().await {
            heard.push(said);
        }
        assert_eq!(heard, ["first", "second"]);
        assert!(audience.is_over() && audience.join().recv().await.is_none());
    }

    #[tokio::test]
    async fn who_is_too_far_behind_is_let_go() {
        let audience = Audience::default();
        let mut slow = audience.join();
        for _ in 0..=BEHIND {
            audience.tell(Stream::Stderr, &Bytes::from_static(b"x"));
        }
        let mut heard = 0;
        while slow.recv().await.is_some() {
            heard += 1;
        }
        assert!(heard == BEHIND && !audience.is_over());
    }
}
