//! Reading ahead: the next blocks come from the disk while the last ones are worked on.

use crate::{BoxFuture, Log, Result};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use tw_types::{Offset, StreamPartition};
use tw_wire::Block;

/// Reads a partition forwards. It holds up to twice `bytes_max`: what it gave last, and what comes after that.
pub struct ReadAhead {
    log: Arc<dyn Log>,
    at: StreamPartition,
    bytes_max: usize,
    /// The read under way, or done, and where it starts.
    next: Option<(Offset, BoxFuture<'static, Result<Vec<Block>>>)>,
}

impl ReadAhead {
    /// Reads partition `at`, about `bytes_max` bytes at a time.
    pub fn new(log: Arc<dyn Log>, at: StreamPartition, bytes_max: usize) -> Self {
        Self { log, at, bytes_max, next: None }
    }

    /// The blocks from the one that holds `from` on, as [`Log::read`] gives them. If there are more before `until`, the next
    /// read starts before this one returns; it is given if the caller goes on at its start.
    ///
    /// # Errors
    /// As [`Log::read`]; those of a read ahead come when it is asked for.
    pub async fn read(&mut self, from: Offset, until: Offset) -> Result<Vec<Block>> {
        let blocks = match self.next.take() {
            Some((start, read)) if start == from => read.await?,
            _ => self.log.read(self.at, from, self.bytes_max).await?,
        };
        let end = blocks.last().map_or(from, |block| block.header().end_offset());
        // A read at the end of the log would find nothing, also when there is more by the time it is asked for.
        if !blocks.is_empty() && end < until.min(self.log.bounds(self.at)?.end) {
            self.start(end).await;
        }
        Ok(blocks)
    }

    async fn start(&mut self, from: Offset) {
        let (log, at, bytes_max) = (self.log.clone(), self.at, self.bytes_max);
        let mut read: BoxFuture<'static, _> = Box::pin(async move { log.read(at, from, bytes_max).await });
        // A future does nothing before it is polled.
        if let Poll::Ready(blocks) = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await {
            read = Box::pin(std::future::ready(blocks));
        }
        self.next = Some((from, read));
    }
}
