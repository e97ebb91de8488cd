//! Storing the subject index: off the path of appends, in sorted batches, with the positions that they reach.
//!
//! ```text
//! ledger ──seal──▶ sealed ──confirmed──▶ runs ─▶ tails ─▶ positions and idempotency keys
//! ```
//!
//! A small flush is one commit. A large one is ingested: first runs, then tails, then the positions are committed. If
//! it is cut off in between, the events are replayed from the old positions; what the index has of them already does no
//! harm, because tails say up to which version they go.

use super::index::format::{self, Position};
use super::partition::Partition;
use super::{Core, Options, Result};
use bytes::{Bytes, BytesMut};
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tw_order::{PackedRun, Sealed, SealedEntry, TAIL_EVENTS_MAX, consolidate};
use tw_state::{Batch, Entry, Keyspace};
use tw_types::{Hlc, StreamId, StreamPartition};

/// Up to so many subjects are committed; more are ingested.
const COMMIT_SUBJECTS_MAX: usize = 4_096;
/// How long a flush waits for appends under way, before it lets the partition be until next time.
const CONFIRM_WAITS: u32 = 50;
const CONFIRM_WAIT: Duration = Duration::from_millis(20);

/// What a partition brings to a flush.
struct Share {
    partition: Arc<Partition>,
    sealed: Arc<Sealed>,
    hlc: Hlc,
    /// The slots of its subjects, in order.
    slots: Vec<u32>,
    /// The new tails of subjects that have more than fits, or that had a tail before.
    tails: HashMap<u32, PackedRun>,
}

impl Share {
    fn at(&self) -> StreamPartition {
        self.partition.at
    }

    fn entries(&self) -> impl Iterator<Item = (u32, SealedEntry<'_>)> {
        self.slots.iter().filter_map(|slot| self.sealed.entry(*slot).map(|entry| (*slot, entry)))
    }
}

impl Core {
    /// Stores the index of every stream, as far as it is confirmed.
    pub(super) fn flush_all(&self) -> Result<()> {
        let streams: BTreeSet<StreamId> = self.partitions.read().keys().map(|at| at.stream).collect();
        for stream in streams {
            self.flush(stream)?;
        }
        Ok(())
    }

    /// Stores the index of one stream, as far as it is confirmed.
    pub(super) fn flush(&self, stream: StreamId) -> Result<()> {
        let _one_at_a_time = self.flushing.lock();
        let partitions: BTreeMap<_, _> = {
            let partitions = self.partitions.read();
            let of_stream = partitions.iter().filter(|(at, _)| at.stream == stream);
            of_stream.map(|(at, partition)| (*at, partition.clone())).collect()
        };
        for partition in partitions.values() {
            self.seal(partition);
        }
        let mut shares: Vec<Share> =
            partitions.into_values().filter_map(|partition| self.share(partition)).collect();
        if shares.is_empty() {
            return Ok(());
        }
        let stored = self.store(stream, &mut shares);
        if stored.is_ok() {
            for share in shares {
                let mut state = share.partition.lock();
                state.sealed = None;
                state.generation += 1;
                state.stored = Some(share.sealed.end());
                self.report(&mut state);
            }
        }
        stored
    }

    fn seal(&self, partition: &Partition) {
        let mut state = partition.lock();
        let Some(stored) = state.stored.filter(|_| state.sealed.is_none()) else { return };
        let sealed = state.ledger.seal();
        state.generation += 1;
        if sealed.end() > stored {
            state.sealed_hlc = if state.confirmed == sealed.end() { state.confirmed_hlc } else { Hlc::ZERO };
            state.sealed = Some(Arc::new(sealed));
        }
        state.waiting_since_ms = None;
        self.report(&mut state);
    }

    /// What is sealed of a partition, once all of it is confirmed; None if that takes too long or does not happen.
    fn share(&self, partition: Arc<Partition>) -> Option<Share> {
        for _ in 0..CONFIRM_WAITS {
            let seen = self.log.commits().get();
            {
                let state = partition.lock();
                let sealed = state.sealed.as_ref().filter(|_| !state.broken)?;
                if state.confirmed >= sealed.end() {
                    let (sealed, hlc) = (sealed.clone(), state.sealed_hlc);
                    drop(state);
                    let slots = sealed.sorted();
                    return Some(Share { partition, sealed, hlc, slots, tails: HashMap::new() });
                }
            }
            self.log.commits().wait_over(seen, CONFIRM_WAIT);
        }
        None
    }

    fn store(&self, stream: StreamId, shares: &mut [Share]) -> Result<()> {
        let keyspace = self.index.keyspace(stream)?;
        let runs = self.consolidate(shares)?;
        let mut batch = Batch::new();
        if shares.iter().map(|share| share.slots.len()).sum::<usize>() <= COMMIT_SUBJECTS_MAX {
            for (key, value) in runs {
                batch.put(keyspace, key, value);
            }
            for tail in Tails::new(shares) {
                let (key, value) = tail?;
                batch.put(keyspace, key, value);
            }
        } else {
            self.index.state.ingest(keyspace, &mut runs.into_iter())?;
            self.ingest_tails(keyspace, shares)?;
        }
        for share in &*shares {
            let position = Position { end: share.sealed.end(), hlc: share.hlc };
            batch.put(self.index.positions, format::position_key(share.at()).to_vec(), position.write());
            // They may be ahead of the position: what they speak of is durable.
            self.index.put_marks(share.at(), &share.partition.lock().marks, &mut batch);
        }
        self.store_keys(batch)
    }

    fn ingest_tails(&self, keyspace: Keyspace, shares: &[Share]) -> Result<()> {
        let mut failed = None;
        let mut tails = Tails::new(shares).map_while(|tail| tail.map_err(|error| failed = Some(error)).ok());
        self.index.state.ingest(keyspace, &mut tails)?;
        failed.map_or(Ok(()), Err)
    }

    /// Joins fresh events with stored tails: leaves the new tails in the shares, and returns the entries of full runs.
    fn consolidate(&self, shares: &mut [Share]) -> Result<Vec<Entry>> {
        let mut runs = Vec::new();
        for share in shares {
            let at = share.at();
            let mut tails = HashMap::new();
            for (slot, entry) in share.entries() {
                let read = if entry.is_unread() { self.index.tail(at, entry.subject())? } else { None };
                let tail = read.as_ref().or(entry.tail());
                if tail.is_none() && entry.postings().nth(TAIL_EVENTS_MAX).is_none() && entry.is_contiguous()
                {
                    continue;
                }
                let joined = consolidate(tail, entry.postings())?;
                for run in joined.runs {
                    let key = format::run_key(at, entry.subject(), run.first());
                    runs.push((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(run.as_bytes())));
                }
                tails.insert(slot, joined.tail);
            }
            share.tails = tails;
        }
        Ok(runs)
    }

    /// Commits `batch` together with the idempotency keys that are confirmed.
    fn store_keys(&self, mut batch: Batch) -> Result<()> {
        let used: BTreeSet<StreamPartition> = self.keys.lock().table.partitions().collect();
        let mut confirmed = BTreeMap::new();
        for at in used {
            if let Some(partition) = self.partitions.read().get(&at).cloned() {
                confirmed.insert(at, partition.lock().confirmed);
            }
        }
        let records = self.keys.lock().table.confirmed(|at| confirmed.get(&at).copied().unwrap_or_default());
        let Options { idempotency_ms, idempotency_keys_max, .. } = *self.options.get();
        let now_ms = self.env.clock.now_ms();
        self.index.put_keys(&records, now_ms, idempotency_ms, idempotency_keys_max, &mut batch)?;
        self.index.state.commit(batch)?;
        if !records.is_empty() {
            let mut keys = self.keys.lock();
            keys.table.forget(&records);
            keys.generation += 1;
            self.report_keys(&mut keys);
        }
        Ok(())
    }
}

/// The entries of all tails, in order.
struct Tails<'a> {
    shares: std::slice::Iter<'a, Share>,
    share: Option<&'a Share>,
    next: usize,
    arena: Arena,
    packed: Vec<u8>,
    postings: Vec<tw_order::Posting>,
}

impl<'a> Tails<'a> {
    fn new(shares: &'a [Share]) -> Self {
        let mut shares = shares.iter();
        let share = shares.next();
        Self { shares, share, next: 0, arena: Arena::default(), packed: Vec::new(), postings: Vec::new() }
    }

    fn entry(&mut self, share: &Share, slot: u32) -> Result<Option<Entry>> {
        let Some(entry) = share.sealed.entry(slot) else { return Ok(None) };
        let key = self.arena.put(&format::tail_key(share.at(), entry.subject()));
        if let Some(tail) = share.tails.get(&slot) {
            return Ok(Some((key, self.arena.put(tail.as_bytes()))));
        }
        self.packed.clear();
        self.postings.clear();
        self.postings.extend(entry.postings());
        PackedRun::pack_into(&self.postings, &mut self.packed)?;
        let value = self.arena.put(&self.packed);
        Ok(Some((key, value)))
    }
}

impl Iterator for Tails<'_> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let share = self.share?;
            let Some(slot) = share.slots.get(self.next) else {
                (self.share, self.next) = (self.shares.next(), 0);
                continue;
            };
            self.next += 1;
            if let Some(entry) = self.entry(share, *slot).transpose() {
                return Some(entry);
            }
        }
    }
}

/// Cuts small values out of large pieces of memory.
#[derive(Default)]
struct Arena(BytesMut);

impl Arena {
    fn put(&mut self, bytes: &[u8]) -> Bytes {
        const PIECE: usize = 64 << 10;
        if self.0.capacity() < bytes.len() {
            self.0 = BytesMut::with_capacity(PIECE.max(bytes.len()));
        }
        self.0.extend_from_slice(bytes);
        self.0.split().freeze()
    }
}
