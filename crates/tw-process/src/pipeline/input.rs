//! Reading blocks, and reading ahead, without ever waiting.

use futures_util::future::BoxFuture;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use tw_log::{Log, Result, Signal};
use tw_types::{Offset, StreamPartition};
use tw_wire::{Block, Records};

/// What can be had now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Events; see [`Reader::take`].
    Ready,
    /// Some are on their way.
    Pending,
    /// No more: the partition ends here for now.
    AtEnd,
}

/// Reads one partition forwards.
pub(super) struct Reader {
    log: Arc<dyn Log>,
    at: StreamPartition,
    bytes_max: usize,
    end: Arc<Signal>,
    /// Decompressed, but not fully processed.
    started: VecDeque<Records>,
    blocks: VecDeque<Block>,
    ahead: Option<BoxFuture<'static, Result<Vec<Block>>>>,
    more: Option<BoxFuture<'static, u64>>,
    /// The end at which the last read found nothing.
    empty_at: Option<u64>,
}

impl Reader {
    /// # Errors
    /// The stream or the partition does not exist.
    pub(super) fn new(log: Arc<dyn Log>, at: StreamPartition, bytes_max: usize) -> Result<Self> {
        let end = log.end_signal(at)?;
        Ok(Self {
            log,
            at,
            bytes_max,
            end,
            started: VecDeque::new(),
            blocks: VecDeque::new(),
            ahead: None,
            more: None,
            empty_at: None,
        })
    }

    /// Gets events from `position` on going. The waker of `cx` is woken when there is more after
    /// [`Reading::Pending`] and [`Reading::AtEnd`].
    pub(super) fn poll(&mut self, position: Offset, cx: &mut Context<'_>) -> Result<Reading> {
        loop {
            if !self.started.is_empty() || !self.blocks.is_empty() {
                self.read_ahead(cx);
                return Ok(Reading::Ready);
            }
            if let Some(ahead) = &mut self.ahead {
                let Poll::Ready(read) = ahead.as_mut().poll(cx) else { return Ok(Reading::Pending) };
                self.ahead = None;
                self.blocks = read?.into();
                if self.blocks.is_empty() {
                    self.empty_at = Some(self.end.get());
                }
                continue;
            }
            let seen = self.empty_at.unwrap_or_default().max(position.0);
            if self.end.get() > seen {
                (self.ahead, self.empty_at) = (Some(self.request(position)), None);
                continue;
            }
            let end = &self.end;
            let more = self.more.get_or_insert_with(|| {
                let end = end.clone();
                Box::pin(async move { end.over(seen).await })
            });
            if more.as_mut().poll(cx).is_pending() {
                return Ok(Reading::AtEnd);
            }
            self.more = None;
        }
    }

    fn request(&self, from: Offset) -> BoxFuture<'static, Result<Vec<Block>>> {
        let (log, at, bytes_max) = (self.log.clone(), self.at, self.bytes_max);
        Box::pin(async move { log.read(at, from, bytes_max).await })
    }

    /// Starts the next read while this one is being processed.
    fn read_ahead(&mut self, cx: &mut Context<'_>) {
        let Some(last) = self.blocks.back().map(|block| block.header().end_offset()) else { return };
        if self.ahead.is_none() && self.end.get() > last.0 {
            let mut ahead = self.request(last);
            // It starts now; what is there at once is kept until it is wanted.
            self.ahead = Some(match ahead.as_mut().poll(cx) {
                Poll::Ready(read) => Box::pin(std::future::ready(read)),
                Poll::Pending => ahead,
            });
        }
    }

    /// The next decompressed blocks: one, or several small ones that have about `events_min` events together.
    pub(super) fn take(&mut self, events_min: u32) -> Result<Vec<Records>> {
        let mut taken: Vec<Records> = Vec::new();
        let mut events = 0;
        while events < events_min {
            let records = match self.started.pop_front() {
                Some(records) => records,
                None => match self.blocks.pop_front() {
                    Some(block) => match block.records() {
                        Ok(records) => records,
                        // What comes before it is right; the error shows when it is its turn.
                        Err(_) if !taken.is_empty() => {
                            self.blocks.push_front(block);
                            break;
                        }
                        Err(error) => return Err(error.into()),
                    },
                    None => break,
                },
            };
            events += records.header().count;
            taken.push(records);
        }
        Ok(taken)
    }

    /// Gives back what was taken and not fully processed.
    pub(super) fn put_back(&mut self, records: impl DoubleEndedIterator<Item = Records>) {
        for records in records.rev() {
            self.started.push_front(records);
        }
    }

    /// Forgets what was read and not processed, to give the memory back.
    pub(super) fn rest(&mut self) {
        self.started.clear();
        self.blocks.clear();
        (self.ahead, self.more, self.empty_at) = (None, None, None);
    }
}
