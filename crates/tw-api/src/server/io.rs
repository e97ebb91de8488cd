//! A connection that gives up when its client takes nothing for too long, or does not say enough to begin with.

use metrics::Counter;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// A stream with a bound on how long a write may make no progress. A slow reader thus costs a bounded buffer for a
/// bounded time, and nobody else notices. The same for the first bytes of a connection, see [`Guarded::expect`].
pub(super) struct Guarded<S> {
    stream: S,
    stall_max: Duration,
    /// Runs while a write waits.
    stall: Option<Pin<Box<Sleep>>>,
    stalled: Counter,
    opening: Option<Opening>,
}

/// What a client has yet to say before its time is over.
struct Opening {
    bytes: usize,
    deadline: Pin<Box<Sleep>>,
}

impl<S> Guarded<S> {
    pub(super) fn new(stream: S, stall_max: Duration, stalled: Counter) -> Self {
        Self { stream, stall_max, stall: None, stalled, opening: None }
    }

    /// Gives up when the next `bytes` bytes have not come within `time`.
    pub(super) fn expect(&mut self, bytes: usize, time: Duration) {
        self.opening = Some(Opening { bytes, deadline: Box::pin(tokio::time::sleep(time)) });
    }

    fn watch(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.stall = None;
            return outcome;
        }
        let stall_max = self.stall_max;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall_max)));
        if stall.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.stalled.increment(1);
        let ms = stall_max.as_millis() as u64;
        tracing::info!(write_stall_ms_max = ms, "closing a connection whose client takes nothing");
        Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, format!("the client took nothing for {ms} ms"))))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let Some(opening) = &mut self.opening else { return outcome };
        opening.bytes = opening.bytes.saturating_sub(buffer.filled().len() - before);
        if opening.bytes == 0 {
            self.opening = None;
        } else if outcome.is_pending() && opening.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the client did not begin in time")));
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.watch(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
