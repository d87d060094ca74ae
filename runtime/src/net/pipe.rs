//! One direction of an in-memory stream: a bounded ring of bytes with an end and a break.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::io::ReadBuf;

/// Memory an empty pipe keeps for its next bytes.
const KEPT_WHEN_EMPTY: usize = 8 * 1024;

/// A pipe shared by its writer and its reader.
#[derive(Debug, Clone)]
pub(crate) struct Pipe(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    bytes: VecDeque<u8>,
    capacity: usize,
    end: End,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Both sides are there.
    Open,
    /// The writer is done; what is buffered can still be read.
    Finished,
    /// The reader is gone: writing fails.
    Unread,
    /// Broken for both.
    Reset,
}

impl Pipe {
    pub(crate) fn new(capacity: usize) -> Self {
        Pipe(Arc::new(Mutex::new(State {
            bytes: VecDeque::new(),
            capacity,
            end: End::Open,
            reader: None,
            writer: None,
        })))
    }

    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        if state.end == End::Reset {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        if state.bytes.is_empty() {
            if state.end != End::Open || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            state.bytes.shrink_to(KEPT_WHEN_EMPTY);
            remember(&mut state.reader, cx);
            return Poll::Pending;
        }
        state.take_into(buf);
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_slices(cx, &[io::IoSlice::new(data)])
    }

    pub(crate) fn poll_write_slices(
        &self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        match state.end {
            End::Reset | End::Unread => {
                return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
            }
            End::Finished => return Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
            End::Open => {}
        }
        let wanted = slices.iter().any(|slice| !slice.is_empty());
        let room = state.capacity.saturating_sub(state.bytes.len());
        if room == 0 && wanted {
            remember(&mut state.writer, cx);
            return Poll::Pending;
        }
        let written = state.put(slices, room);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Poll::Ready(Ok(written))
    }

    /// The writer sends no more.
    pub(crate) fn finish(&self) {
        self.end_with(End::Finished);
    }

    /// The reader wants no more.
    pub(crate) fn abandon(&self) {
        self.end_with(End::Unread);
    }

    /// Breaks the pipe for both sides; what is buffered is lost.
    pub(crate) fn reset(&self) {
        self.end_with(End::Reset);
    }

    fn end_with(&self, end: End) {
        let mut state = self.0.lock();
        let changes =
            matches!((state.end, end), (End::Open, _) | (_, End::Reset) | (End::Finished, End::Unread));
        if !changes {
            return;
        }
        state.end = end;
        if end != End::Finished {
            state.bytes = VecDeque::new();
        }
        let wakers = (state.reader.take(), state.writer.take());
        drop(state);
        wake(wakers.0);
        wake(wakers.1);
    }
}

impl State {
    fn take_into(&mut self, buf: &mut ReadBuf<'_>) {
        let (first, second) = self.bytes.as_slices();
        let from_first = first.len().min(buf.remaining());
        buf.put_slice(&first[..from_first]);
        let from_second = second.len().min(buf.remaining());
        buf.put_slice(&second[..from_second]);
        self.bytes.drain(..from_first + from_second);
    }

    fn put(&mut self, slices: &[io::IoSlice<'_>], room: usize) -> usize {
        let mut left = room;
        for slice in slices {
            let taken = slice.len().min(left);
            self.bytes.extend(&slice[..taken]);
            left -= taken;
        }
        room - left
    }
}

fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        _ => *slot = Some(cx.waker().clone()),
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
