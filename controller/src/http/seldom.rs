//! A future beside another that is woken for every event: looked at when it was woken itself, and only then.
//!
//! A connection waits for the end of the server, too; asking whether that has come takes two locks, and a watch would
//! ask for each of its events.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// See the module.
pub struct Seldom<F> {
    inner: Pin<Box<F>>,
    bell: Arc<Bell>,
    waker: Waker,
}

struct Bell {
    rung: AtomicBool,
    outer: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.outer.wake();
    }
}

impl<F: Future> Seldom<F> {
    /// The same future.
    pub fn new(inner: F) -> Seldom<F> {
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), outer: AtomicWaker::new() });
        Seldom { inner: Box::pin(inner), waker: Waker::from(bell.clone()), bell }
    }
}

impl<F: Future> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.bell.outer.register(cx.waker());
        // Looked at after registering: who rings in between wakes us.
        if !self.bell.rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let this = &mut *self;
        this.inner.as_mut().poll(&mut Context::from_waker(&this.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::FutureExt as _;
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[test]
    fn it_is_polled_when_it_was_woken() {
        let polls = Cell::new(0);
        let token = CancellationToken::new();
        let mut cancelled = Box::pin(token.cancelled());
        let counted = std::future::poll_fn(|cx| {
            polls.set(polls.get() + 1);
            cancelled.as_mut().poll(cx)
        });
        let mut seldom = Seldom::new(counted);
        for _ in 0..3 {
            assert!((&mut seldom).now_or_never().is_none());
        }
        assert_eq!(polls.get(), 1);
        token.cancel();
        assert!((&mut seldom).now_or_never().is_some());
        assert_eq!(polls.get(), 2);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let token = CancellationToken::new();
        let waiting = tokio::spawn({
            let token = token.clone();
            async move { Seldom::new(token.cancelled()).await }
        });
        tokio::task::yield_now().await;
        token.cancel();
        let woken = tokio::time::timeout(std::time::Duration::from_secs(30), waiting);
        woken.await.expect("it is woken").expect("it ends");
    }
}
