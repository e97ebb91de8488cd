//! Bringing a partition's ledger up to the log: after a start, after a failure, after somebody else has appended.

use super::partition::{Flight, Partition, State};
use super::read::yield_now;
use super::{Core, Result, index, keys};
use crate::Error as LogError;
use std::sync::Arc;
use tw_order::{IdHash, KeyHash, KeyRecord, SubjectHash};
use tw_types::{Hlc, Offset, StreamPartition, Version};
use tw_wire::Block;

/// How much is read from the log at a time.
const READ_BYTES: usize = 1 << 20;
/// How many events are replayed under one hold of the lock.
const REPLAY_EVENTS: usize = 1_024;

/// What a block says to the ledger and to the keys.
struct Decoded {
    events: Vec<Replayed>,
    keys: Vec<(KeyHash, KeyRecord)>,
}

/// An event of the log, as far as the ledger needs it.
struct Replayed {
    subject: Option<SubjectHash>,
    version: Option<Version>,
    offset: Offset,
    id: IdHash,
    hlc: Hlc,
}

impl Core {
    /// Waits until the ledger of `partition` is current.
    pub(super) async fn current(&self, partition: &Arc<Partition>) -> Result<()> {
        if partition.is_current(&partition.lock()) {
            return Ok(());
        }
        let _one_at_a_time = partition.syncing.lock().await;
        loop {
            let started = {
                let mut state = partition.lock();
                if partition.is_current(&state) {
                    return Ok(());
                }
                // Nobody appends until this is done.
                state.ready = false;
                state.stored.is_some()
            };
            if !started {
                self.start(partition).await?;
            }
            self.repair(partition).await;
            let events = self.replay(partition).await?;
            let mut state = partition.lock();
            if started {
                state.found(events);
            }
            if partition.end.get() <= state.ledger.end().0 {
                state.ready = true;
            }
        }
    }

    /// Reads how far the partition is indexed.
    async fn start(&self, partition: &Partition) -> Result<()> {
        let at = partition.at;
        let bounds = self.log.bounds(at)?;
        let mut position = self.index.position(at)?;
        if let Some(found) = position
            && (found.end > bounds.end || !self.is_of_this_log(at, found).await?)
        {
            tracing::warn!(partition = %at, "the subject index belongs to another log: it is built again");
            self.index.forget(at)?;
            position = None;
        }
        let end = index::end(position);
        let marks = self.first_marks(at, bounds.start, end).await?;
        let mut state = partition.lock();
        state.marks = marks;
        state.ledger = tw_order::Ledger::new(end);
        state.ledger.skip_to(bounds.start);
        state.stored = Some(end);
        let (end, hlc) = (state.ledger.end(), position.map_or(Hlc::ZERO, |position| position.hlc));
        state.confirm(end, if bounds.start > index::end(position) { Hlc::ZERO } else { hlc });
        Ok(())
    }

    /// Whether the event before the indexed end has the timestamp that the index remembers.
    async fn is_of_this_log(&self, at: StreamPartition, position: index::format::Position) -> Result<bool> {
        let Some(last) = position.end.0.checked_sub(1).map(Offset).filter(|_| position.hlc > Hlc::ZERO)
        else {
            return Ok(true);
        };
        let blocks = match self.log.read(at, last, 1).await {
            // What was removed since cannot be compared.
            Err(LogError::Trimmed { .. }) => return Ok(true),
            blocks => blocks?,
        };
        let header = blocks.first().map(Block::header);
        Ok(header.is_none_or(|header| {
            header.base_offset > last || header.first_hlc.plus(last.0 - header.base_offset.0) == position.hlc
        }))
    }

    /// Waits until everything under way has ended, and takes back what failed appends put into the ledger.
    pub(super) async fn repair(&self, partition: &Partition) {
        let under_way: Vec<_> = partition.lock().flights.iter().map(|flight| flight.ack.clone()).collect();
        for ack in under_way {
            let _looked_at_below = ack.await;
        }
        let mut state = partition.lock();
        if !state.broken {
            return;
        }
        // The first of them is the one that failed.
        let from = state.flights.front().map_or(state.ledger.end(), |flight| flight.base);
        state.in_doubt += state.flights.iter().map(Flight::in_doubt).sum::<u64>();
        state.flights.clear();
        state.ledger.truncate(from);
        // What was sealed is only shared once all of it is confirmed.
        if let Some(sealed) = state.sealed.as_mut().and_then(Arc::get_mut) {
            sealed.truncate(from);
        }
        state.generation += 1;
        state.taken_back += 1;
        state.broken = false;
        let mut keys = self.keys.lock();
        keys.table.truncate(partition.at, from);
        self.report_keys(&mut keys);
        drop(keys);
        self.report(&mut state);
    }

    /// Replays the log from the end of the ledger on; says how many events that were.
    async fn replay(&self, partition: &Arc<Partition>) -> Result<u64> {
        let mut events = 0;
        loop {
            self.room().await?;
            let from = partition.lock().ledger.end();
            if from.0 >= partition.end.get() {
                return Ok(events);
            }
            let blocks = match self.log.read(partition.at, from, READ_BYTES).await {
                Err(LogError::Trimmed { start, .. }) => {
                    let mut state = partition.lock();
                    state.marks.skip();
                    state.ledger.skip_to(start);
                    state.confirm(start, Hlc::ZERO);
                    continue;
                }
                blocks => blocks?,
            };
            if blocks.is_empty() {
                // The log says that there is more, and gives nothing: what was there is gone.
                let end = Offset(partition.end.get());
                let mut state = partition.lock();
                state.marks.skip();
                state.ledger.skip_to(end);
                state.confirm(end, Hlc::ZERO);
            }
            for block in blocks {
                events += self.replay_block(partition, &block, from)?;
                // Others on this thread want to go on, too.
                yield_now().await;
            }
        }
    }

    fn replay_block(&self, partition: &Partition, block: &Block, from: Offset) -> Result<u64> {
        let Decoded { events, keys: mut found } = decode(partition.at, block, from)?;
        if block.header().region != self.log.region() {
            // They are another region's: who repeats a write there is answered there.
            found.clear();
        }
        if !found.is_empty() {
            let keep_ms = self.options.get().idempotency_ms;
            let oldest_ms = self.env.clock.now_ms().saturating_sub(keep_ms);
            // What belongs to a dropped stream has left memory, and is not to come back.
            let state = partition.lock();
            let mut keys = self.keys.lock();
            let is_wanted = |record: &KeyRecord| !state.gone && record.time_ms >= oldest_ms;
            for (key, record) in found.iter().filter(|(_, record)| is_wanted(record)) {
                keys.table.add(*key, record, keep_ms);
            }
            self.report_keys(&mut keys);
        }
        for events in events.chunks(REPLAY_EVENTS) {
            let mut state = partition.lock();
            for event in events {
                self.replay_event(partition.at, &mut state, event)?;
            }
            self.report(&mut state);
        }
        let mut state = partition.lock();
        state.marks.found(block.header());
        let end = block.header().end_offset();
        state.ledger.skip_to(end);
        let last = events.last().filter(|last| last.offset.next() == end);
        state.confirm(end, last.map_or(Hlc::ZERO, |last| last.hlc));
        Ok(events.len() as u64)
    }

    fn replay_event(&self, at: StreamPartition, state: &mut State, event: &Replayed) -> Result<()> {
        let Replayed { subject, version, offset, id, .. } = *event;
        let known = state.ledger.replay(subject, version, offset, id);
        if let (false, Some(subject)) = (known, subject) {
            // Whoever wrote it gave it no version: it takes the next one, and that has to be looked up.
            let sealed = state.sealed.as_ref().and_then(|sealed| sealed.loaded(subject));
            let loaded = sealed.map_or_else(|| self.index.load(at, subject, false), Ok)?;
            state.ledger.load(subject, &loaded);
            let known = state.ledger.replay(Some(subject), None, offset, id);
            debug_assert!(known);
        }
        Ok(())
    }
}

/// The events of a block from `from` on, and the idempotency keys that they say.
fn decode(at: StreamPartition, block: &Block, from: Offset) -> Result<Decoded> {
    let versioned = block.header().is_versioned();
    let records = block.records()?;
    let mut iter = records.iter()?;
    iter.skip_before(from)?;
    let (mut events, mut found) = (Vec::with_capacity(block.header().count as usize), Vec::new());
    for record in iter {
        let record = record?;
        if record.offset < from {
            continue;
        }
        if !record.event.extensions.is_empty() {
            found.extend(keys::read(at, &record));
        }
        events.push(Replayed {
            subject: record.event.subject.map(SubjectHash::of),
            version: Some(record.version).filter(|version| versioned && *version > Version::NONE),
            offset: record.offset,
            id: IdHash::of(record.event.id),
            hlc: record.hlc,
        });
    }
    Ok(Decoded { events, keys: found })
}
