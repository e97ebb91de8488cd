//! Writes that were accepted and are not known to be durable yet.

use super::Result;
use super::partition::{Partition, SharedAck};
use super::write::Prepared;
use crate::Placed;
use futures_util::ready;
use smallvec::SmallVec;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tw_order::{Accepted, Duplicate};
use tw_types::{Position, StreamPartition, Token, Version};

/// A write that has its place in the log; resolves when it is durable. Dropping it does not take the write back.
///
/// When it resolves to an error, nothing was stored, unless the error is [`crate::Error::Unknown`]. What was submitted
/// after it to the same partitions then fails, too; if it does not, this one was stored.
#[must_use = "a write is only durable once this resolves"]
pub struct Pending {
    ack: Option<SharedAck>,
    partitions: SmallVec<[Arc<Partition>; 1]>,
    parts: SmallVec<[PendingPart; 1]>,
    /// The part of each event; empty if there is one part only.
    order: Arc<[u32]>,
}

/// What is known of the share of one partition.
pub(super) enum PendingPart {
    /// It was accepted; `flight` are its places in the append, if it has events that were not there already.
    New { accepted: Accepted, flight: Option<Range<usize>> },
    /// An earlier write with the same key was answered this.
    Answered(Vec<AppendedEvent>),
}

/// A write that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Its events, in the order in which they were pushed.
    pub events: Vec<AppendedEvent>,
    /// A cut after all of them: whoever reads with it sees the write (PRJ-2).
    pub token: Token,
}

/// An event of a write that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendedEvent {
    /// Where it is.
    pub position: Position,
    /// Its version in its subject's history; [`Version::NONE`] without a subject.
    pub version: Version,
    /// Whether it was there already: position and version are those of the first one.
    pub duplicate: bool,
}

impl Pending {
    pub(super) fn new(ack: Option<SharedAck>, parts: SmallVec<[PendingPart; 1]>, write: &Prepared) -> Self {
        let partitions = write.parts.iter().map(|part| part.partition.clone()).collect();
        Self { ack, partitions, parts, order: write.order.clone() }
    }

    /// Lets readers see what has arrived, before the writer hears of it.
    fn arrived(&self, placed: &[Placed]) {
        for (partition, part) in self.partitions.iter().zip(&self.parts) {
            if let PendingPart::New { accepted, flight: Some(flight) } = part
                && let Some(placed) = placed.get(flight.clone())
                && placed.first().is_some_and(|placed| placed.base_offset == accepted.base)
                && let Some(last) = placed.last()
            {
                partition.lock().arrived(last.end(), last.first_hlc.plus(u64::from(last.count) - 1));
            }
        }
    }

    fn appended(&self, placed: &[Placed]) -> Appended {
        let mut token = Token::new();
        let mut answers: Vec<_> = Vec::with_capacity(self.parts.len());
        for (partition, part) in self.partitions.iter().zip(&self.parts) {
            let at = partition.at;
            let answer = part.answer(at, placed);
            if let Some(last) = answer.iter().map(|event| event.position.offset).max() {
                token.advance(at, last.next());
            }
            if self.order.is_empty() {
                return Appended { events: answer, token };
            }
            answers.push(answer.into_iter());
        }
        let next = |part: &u32| answers.get_mut(*part as usize).and_then(Iterator::next);
        Appended { events: self.order.iter().filter_map(next).collect(), token }
    }
}

impl PendingPart {
    fn answer(&self, at: StreamPartition, placed: &[Placed]) -> Vec<AppendedEvent> {
        let position = |offset| Position { partition: at.partition, offset };
        match self {
            Self::New { accepted, flight } => {
                let placed = flight.as_ref().and_then(|flight| placed.get(flight.start));
                let base = placed.map_or(accepted.base, |placed| placed.base_offset);
                let mut duplicates = accepted.duplicates.iter().peekable();
                let mut versions = accepted.versions.iter().zip(0..);
                let count = accepted.versions.len() + accepted.duplicates.len();
                let mut events = Vec::with_capacity(count);
                for index in 0..count as u32 {
                    if let Some(Duplicate { version, offset, .. }) =
                        duplicates.next_if(|duplicate| duplicate.index == index)
                    {
                        // One of this very write is where this write went.
                        let offset =
                            offset.0.checked_sub(accepted.base.0).map_or(*offset, |at| base.plus(at));
                        events.push(AppendedEvent {
                            position: position(offset),
                            version: *version,
                            duplicate: true,
                        });
                    } else if let Some((version, stored)) = versions.next() {
                        let position = position(base.plus(stored));
                        events.push(AppendedEvent { position, version: *version, duplicate: false });
                    }
                }
                events
            }
            Self::Answered(events) => events.clone(),
        }
    }
}

impl Future for Pending {
    type Output = Result<Appended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match &mut self.ack {
            Some(ack) => ready!(Pin::new(ack).poll(context)),
            None => Ok(Arc::default()),
        };
        let placed = outcome?;
        self.arrived(&placed);
        Poll::Ready(Ok(self.appended(&placed)))
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("partitions", &self.partitions).finish_non_exhaustive()
    }
}
