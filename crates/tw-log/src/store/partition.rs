//! One partition as the event store sees it.

use super::received::{Mark, Marks};
use super::{Core, Keys, Result};
use crate::{Ack, Placed, Signal};
use futures_util::future::{FutureExt, Map, Shared};
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use tw_order::{Ledger, Sealed};
use tw_types::{Epoch, Hlc, Offset, RegionId, StreamPartition};

/// The outcome of an append, for whoever wants to know it.
pub(super) type Outcome = std::result::Result<Arc<[Placed]>, crate::Error>;
/// An acknowledgement that many can wait for.
pub(super) type SharedAck = Shared<Map<Ack, fn(crate::Result<Vec<Placed>>) -> Outcome>>;

/// Lets many wait for one acknowledgement.
pub(super) fn share(ack: Ack) -> SharedAck {
    let share: fn(crate::Result<Vec<Placed>>) -> Outcome = |outcome| outcome.map(Arc::from);
    ack.map(share).shared()
}

/// A partition: its ledger, and the appends under way.
pub(super) struct Partition {
    pub(super) at: StreamPartition,
    /// Its durable end.
    pub(super) end: Arc<Signal>,
    state: Mutex<State>,
    /// Held by whoever replays the log into the ledger.
    pub(super) syncing: tokio::sync::Mutex<()>,
}

/// What the lock of a partition protects. The lock is held briefly: never while waiting for anything.
pub(super) struct State {
    /// Whether the ledger has everything up to its end. Not so before the first replay, and after a failure.
    pub(super) ready: bool,
    /// Whether an append under way has failed.
    pub(super) broken: bool,
    pub(super) ledger: Ledger,
    /// Whether the stream was dropped: nothing of it is counted any more.
    pub(super) gone: bool,
    /// The part of the index that is being stored.
    pub(super) sealed: Option<Arc<Sealed>>,
    /// Rises when something is sealed, when what was sealed is stored and no longer here, and when something is taken
    /// back: what was looked up before may then be wrong.
    pub(super) generation: u64,
    /// How often something was taken back.
    pub(super) taken_back: u64,
    /// How many events somebody else has appended since this process looked at the partition first.
    pub(super) by_others: u64,
    /// How many events of this process may be in the log, or come yet, without being known.
    pub(super) in_doubt: u64,
    /// Where the stored index ends; None before it was read.
    pub(super) stored: Option<Offset>,
    /// When the first event after `stored` came, in milliseconds of monotonic time.
    pub(super) waiting_since_ms: Option<u64>,
    /// Appends under way, in their order.
    pub(super) flights: VecDeque<Flight>,
    /// Everything before this offset is durable and is what the ledger says.
    pub(super) confirmed: Offset,
    /// The timestamp of the event before `confirmed`; zero if not known.
    pub(super) confirmed_hlc: Hlc,
    /// The same for the end of what is sealed.
    pub(super) sealed_hlc: Hlc,
    /// What of each region is in the log.
    pub(super) marks: Marks,
    /// How much memory of the index was last reported.
    pub(super) reported_bytes: usize,
    /// The same for its windows of ids.
    pub(super) reported_window_bytes: usize,
}

/// An append under way.
pub(super) struct Flight {
    pub(super) base: Offset,
    pub(super) end: Offset,
    /// Which part of the append is this partition's.
    pub(super) part: usize,
    /// What is here of another region once it has arrived.
    pub(super) foreign: Option<Mark>,
    pub(super) ack: SharedAck,
}

impl Partition {
    pub(super) fn new(at: StreamPartition, end: Arc<Signal>, here: (RegionId, Epoch)) -> Self {
        let state = State {
            ready: false,
            broken: false,
            gone: false,
            ledger: Ledger::new(Offset::ZERO),
            sealed: None,
            generation: 0,
            taken_back: 0,
            by_others: 0,
            in_doubt: 0,
            stored: None,
            waiting_since_ms: None,
            flights: VecDeque::new(),
            confirmed: Offset::ZERO,
            confirmed_hlc: Hlc::ZERO,
            sealed_hlc: Hlc::ZERO,
            marks: Marks::new(here),
            reported_bytes: 0,
            reported_window_bytes: 0,
        };
        Self { at, end, state: Mutex::new(state), syncing: tokio::sync::Mutex::default() }
    }

    /// Takes the lock, and learns what became of the appends under way.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        state.settle();
        state
    }

    /// Whether the ledger can be asked: it knows all that is in the log.
    pub(super) fn is_current(&self, state: &State) -> bool {
        state.ready && !state.broken && self.end.get() <= state.ledger.end().0
    }

    /// Waits until everything before `until` is confirmed, or some append has failed.
    pub(super) async fn confirmed(&self, until: Offset) {
        let ack = {
            let state = self.lock();
            let flight = state.flights.iter().find(|flight| flight.end >= until);
            flight.filter(|_| !state.broken && state.confirmed < until).map(|flight| flight.ack.clone())
        };
        if let Some(ack) = ack {
            let _how_it_went_is_asked_for_again = ack.await;
        }
    }
}

impl State {
    fn settle(&mut self) {
        while !self.broken
            && let Some(flight) = self.flights.front()
        {
            // Looking costs a task none of its budget: with it spent, nothing would seem to be done.
            let look = tokio::task::coop::unconstrained(flight.ack.clone());
            let Some(outcome) = look.now_or_never() else { break };
            match flight.last_hlc(&outcome) {
                Some(hlc) => {
                    let end = flight.end;
                    if let Some(flight) = self.flights.pop_front() {
                        self.landed(&flight, Some(hlc));
                    }
                    self.confirm(end, hlc);
                }
                None => self.broken = true,
            }
        }
    }

    /// An append that ends at `end` went well. So did those before it, or it would not have found its place; unless one failed, and
    /// somebody else has written just as much there.
    pub(super) fn arrived(&mut self, end: Offset, hlc: Hlc) {
        while let Some(flight) = self.flights.front().filter(|flight| flight.end <= end) {
            let outcome = tokio::task::coop::unconstrained(flight.ack.clone()).now_or_never();
            let hlc = outcome.map(|outcome| flight.last_hlc(&outcome));
            if hlc == Some(None) {
                self.broken = true;
                return;
            }
            if let Some(flight) = self.flights.pop_front() {
                self.landed(&flight, hlc.flatten());
            }
        }
        if end > self.confirmed {
            self.confirm(end, hlc);
        }
    }

    /// Everything before `end` is durable; the last event has this timestamp.
    pub(super) fn confirm(&mut self, end: Offset, hlc: Hlc) {
        (self.confirmed, self.confirmed_hlc) = (end, hlc);
        if self.sealed.as_ref().is_some_and(|sealed| sealed.end() == end) {
            self.sealed_hlc = hlc;
        }
    }

    /// So many events were found in the log that are not in the ledger. Those in doubt are taken for this process's own.
    pub(super) fn found(&mut self, events: u64) {
        let own = events.min(self.in_doubt);
        self.in_doubt -= own;
        self.by_others += events - own;
    }

    /// Memory of the index that this partition holds.
    pub(super) fn bytes(&self) -> usize {
        self.ledger.bytes() + self.sealed.as_ref().map_or(0, |sealed| sealed.bytes())
    }
}

impl Flight {
    /// How many of its events are in the log without being known, or may be: an outcome that did not arrive may be a good one.
    pub(super) fn in_doubt(&self) -> u64 {
        let outcome = tokio::task::coop::unconstrained(self.ack.clone()).now_or_never();
        match outcome {
            Some(Err(crate::Error::Unknown(_)) | Ok(_)) | None => self.end.0 - self.base.0,
            Some(Err(_)) => 0,
        }
    }

    /// The timestamp of the last event, if all are where the ledger says they are.
    pub(super) fn last_hlc(&self, outcome: &Outcome) -> Option<Hlc> {
        let placed = outcome.as_ref().ok()?.get(self.part)?;
        let as_foreseen = (placed.base_offset, placed.end()) == (self.base, self.end);
        as_foreseen.then(|| placed.first_hlc.plus(u64::from(placed.count) - 1))
    }
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Core {
    /// The partition `at`, which must exist.
    pub(super) fn partition(&self, at: StreamPartition) -> Result<Arc<Partition>> {
        if let Some(partition) = self.partitions.read().get(&at) {
            return Ok(partition.clone());
        }
        // Under the lock: once a stream has been forgotten, none of its partitions comes back.
        let mut partitions = self.partitions.write();
        let end = self.log.end_signal(at)?;
        Ok(partitions
            .entry(at)
            .or_insert_with(|| Arc::new(Partition::new(at, end, (self.log.region(), self.log.epoch()))))
            .clone())
    }

    /// Takes note of how much memory a partition's index has now; wakes the index thread when that is its business.
    pub(super) fn report(&self, state: &mut State) {
        if state.gone {
            return;
        }
        let bytes = state.bytes();
        let before = std::mem::replace(&mut state.reported_bytes, bytes);
        self.usage.change(before, bytes);
        let bytes = state.ledger.window_bytes();
        let before = std::mem::replace(&mut state.reported_window_bytes, bytes);
        self.usage.change_windows(before, bytes);
        if state.waiting_since_ms.is_none() && state.stored.is_none_or(|stored| stored < state.ledger.end()) {
            state.waiting_since_ms = Some(self.now_ms());
        }
    }

    /// Takes note of how much memory the idempotency keys have now.
    pub(super) fn report_keys(&self, keys: &mut Keys) {
        let bytes = keys.table.bytes();
        self.usage.change(std::mem::replace(&mut keys.reported_bytes, bytes), bytes);
    }

    /// Monotonic time in milliseconds.
    pub(super) fn now_ms(&self) -> u64 {
        self.env.clock.monotonic().as_millis() as u64
    }
}
