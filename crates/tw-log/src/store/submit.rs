//! Appending: from a prepared write to an acknowledged one.

use super::learned::Learned;
use super::partition::{Flight, Partition, SharedAck, State, share};
use super::pending::{Pending, PendingPart};
use super::received::Mark;
use super::write::{Content, Prepared, PreparedPart};
use super::{Core, Error, Result, keys};
use crate::{Append, Error as LogError, Foreign, Permit};
use parking_lot::MutexGuard;
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tw_order::{
    Accepted, Fact, KeyDecision, KeyPart, KeyRecord, Load, Obstacle, Plan, Request, Stop, Suspect,
};
use tw_types::{Offset, StreamMode};
use tw_wire::{Batch, Run};

/// The locks of a write's partitions.
type States<'a> = SmallVec<[MutexGuard<'a, State>; 1]>;

/// What a version takes at most in a block, in bytes.
const VERSION_BYTES_MAX: usize = 10;

/// Why a write has to wait, and for what.
enum Hurdle {
    /// The ledger of the part's partition is not current.
    Current(usize),
    /// The index has no room for more.
    Room,
    /// These subjects have to be loaded, or some of them.
    Load(usize, Vec<Load>),
    /// These events have to be compared.
    Compare(usize, Vec<Suspect>),
    /// An append under way has to end.
    Confirmed(Arc<Partition>, Offset),
    /// The record of the idempotency key has to be read.
    Key,
    /// The key was used for something else, if that arrived in the log.
    Reused(Vec<KeyPart>),
    /// What was answered the first time has to be found out, for a part that the first write has stored as this one, or for
    /// one of which nothing is known.
    Answer(usize, Option<KeyPart>),
}

/// What becomes of a part.
enum Fate {
    /// The first write with the same key was answered for it.
    Answered,
    /// It can be appended.
    Planned(Plan),
}

/// What is known of a write's key besides what is in memory.
struct KnownKey {
    stored: Option<KeyRecord>,
    /// The generation of the keys in memory before that was read.
    generation: u64,
}

impl Core {
    /// Gives a write its place in the log. It is accepted when this returns, not yet durable.
    pub(super) async fn submit(self: &Arc<Self>, write: &Prepared) -> Result<Pending> {
        self.check_held(write)?;
        let bytes =
            write.parts.iter().map(|part| part.content.bytes() + part.events.len() * VERSION_BYTES_MAX);
        let mut permit = Some(self.log.reserve(bytes.sum()).await?);
        let mut learned: SmallVec<[Learned; 1]> = write.parts.iter().map(|_| Learned::default()).collect();
        let mut key = None;
        let mut reused = Vec::new();
        loop {
            let hurdle = match self.attempt(write, &mut learned, key.as_ref(), &mut permit)? {
                Ok(pending) => return Ok(pending),
                Err(hurdle) => hurdle,
            };
            match hurdle {
                Hurdle::Room => self.room().await?,
                Hurdle::Confirmed(partition, until) => partition.confirmed(until).await,
                Hurdle::Current(part) => {
                    if let Some(part) = write.parts.get(part) {
                        self.current(&part.partition).await?;
                    }
                }
                Hurdle::Load(part, loads) => {
                    if let (Some(part), Some(learned)) = (write.parts.get(part), learned.get_mut(part)) {
                        self.load(&part.partition, &loads, learned).await?;
                    }
                }
                Hurdle::Compare(part, suspects) => {
                    if let (Some(part), Some(learned)) = (write.parts.get(part), learned.get_mut(part)) {
                        learned.learn(self.compare(part, &suspects).await?);
                    }
                }
                Hurdle::Answer(part, of) => {
                    if let (Some(part), Some(learned)) = (write.parts.get(part), learned.get_mut(part)) {
                        learned.answer = Some(self.first_answer(write, part, of).await?);
                    }
                }
                Hurdle::Reused(parts) if parts == reused => {
                    let key = write.key.as_ref().map(|key| key.text.clone());
                    return Err(Error::KeyReused(key.unwrap_or_default()));
                }
                Hurdle::Reused(parts) => {
                    for part in &parts {
                        match self.settled(part).await {
                            // Dropped meanwhile: the key is looked at without it.
                            Err(Error::Log(LogError::NoStreamId(_))) => {}
                            settled => settled?,
                        }
                    }
                    reused = parts;
                }
                Hurdle::Key => {
                    if let Some(wanted) = &write.key {
                        let generation = self.keys.lock().generation;
                        key = Some(KnownKey { stored: self.index.key(wanted.hash)?, generation });
                    }
                }
            }
        }
    }

    /// Refuses what this region would accept for others to see while it must not.
    fn check_held(&self, write: &Prepared) -> Result<()> {
        if !self.is_held.load(Ordering::SeqCst) || write.while_held {
            return Ok(());
        }
        let is_held = |part: &&PreparedPart| {
            matches!(part.content, Content::Own(_)) && part.def.options.mode != StreamMode::Local
        };
        match write.parts.iter().find(is_held) {
            Some(part) => Err(Error::Held { stream: part.def.name.clone() }),
            None => Ok(()),
        }
    }

    /// Waits until it is clear whether a part of another write has arrived.
    async fn settled(&self, part: &KeyPart) -> Result<()> {
        let partition = self.partition(part.at)?;
        partition.confirmed(part.end()).await;
        self.current(&partition).await
    }

    /// Accepts the write if nothing is in its way. Holds the locks of all its partitions meanwhile.
    fn attempt(
        self: &Arc<Self>,
        write: &Prepared,
        learned: &mut [Learned],
        key: Option<&KnownKey>,
        permit: &mut Option<Permit>,
    ) -> Result<std::result::Result<Pending, Hurdle>> {
        // What was loaded for it fills the index, too: once it has begun, it is not to wait for itself.
        if self.usage.is_full() && !learned.iter().any(Learned::has_begun) {
            return Ok(Err(Hurdle::Room));
        }
        let mut states: States<'_> = write.parts.iter().map(|part| part.partition.lock()).collect();
        let decided = self.decide(write, learned, key, &mut states);
        if !matches!(decided, Ok(Ok(_))) {
            // What was loaded for this is not to stay beyond the bound.
            states.iter_mut().filter(|state| state.ready).for_each(|state| self.evict(state));
        }
        match decided? {
            Ok(fates) => self.accept(write, states, learned, fates, permit).map(Ok),
            Err(hurdle) => Ok(Err(hurdle)),
        }
    }

    /// What becomes of each part, if nothing is in the way.
    fn decide(
        &self,
        write: &Prepared,
        learned: &mut [Learned],
        key: Option<&KnownKey>,
        states: &mut States<'_>,
    ) -> Result<std::result::Result<SmallVec<[Fate; 1]>, Hurdle>> {
        let parts = || write.parts.iter().enumerate();
        for (((index, part), state), learned) in parts().zip(&mut *states).zip(&mut *learned) {
            if state.gone {
                return Err(LogError::NoStreamId(part.partition.at.stream).into());
            }
            if !part.partition.is_current(state) {
                return Ok(Err(Hurdle::Current(index)));
            }
            if let Content::Foreign(runs) = &part.content {
                state.check_new(part.partition.at, runs)?;
            }
            if learned.tell(state) {
                self.report(state);
            }
        }
        let done = match self.look_at_key(write, key, states)? {
            Ok(done) => done,
            Err(hurdle) => return Ok(Err(hurdle)),
        };
        let mut fates: SmallVec<[Fate; 1]> = SmallVec::new();
        for (((index, part), state), learned) in parts().zip(states).zip(learned) {
            let of = done.iter().find(|done| done.at == part.partition.at).copied();
            // A part of which nothing is known was cut off, or it was all duplicates the first time.
            if of.is_some() || (write.dedup && !done.is_empty()) {
                match &learned.answer {
                    Some(answer) if answer.of == of => {
                        if answer.events.is_some() {
                            fates.push(Fate::Answered);
                            continue;
                        }
                    }
                    _ => return Ok(Err(Hurdle::Answer(index, of))),
                }
            }
            match self.check(write, part, state, &learned.facts) {
                Ok(plan) => fates.push(Fate::Planned(plan)),
                Err(Stop { obstacle, seen }) => {
                    // With suspects, it holds only together with what comes of them.
                    learned.see(seen, matches!(obstacle, Obstacle::Check(_)));
                    return hurdle(index, part, obstacle).map(Err);
                }
            }
        }
        Ok(Ok(fates))
    }

    /// Asks a partition's ledger.
    fn check(
        &self,
        write: &Prepared,
        part: &PreparedPart,
        state: &mut State,
        facts: &[Fact],
    ) -> std::result::Result<Plan, Stop> {
        let State { ledger, sealed, confirmed, .. } = state;
        let same_id = same_id(part);
        let request = Request {
            sealed: sealed.as_deref(),
            confirmed: *confirmed,
            ..self.request(write, part, facts, &same_id)
        };
        match ledger.check(&request) {
            // What was flushed meanwhile may have left all that is wanted.
            Err(Stop { obstacle: Obstacle::Load(loads), .. }) if ledger.recall(&loads) => {
                ledger.check(&request)
            }
            outcome => outcome,
        }
    }

    /// What to ask a ledger, but for what it has confirmed and sealed.
    fn request<'a>(
        &self,
        write: &Prepared,
        part: &'a PreparedPart,
        facts: &'a [Fact],
        same_id: &'a dyn Fn(usize, usize) -> bool,
    ) -> Request<'a> {
        Request {
            events: &part.events,
            expected: &part.expected,
            dedup: write.dedup,
            same_id,
            facts,
            confirmed: Offset::ZERO,
            sealed: None,
            now: self.now_ms(),
        }
    }

    /// Which parts were stored before by a write with the same key.
    fn look_at_key(
        &self,
        write: &Prepared,
        known: Option<&KnownKey>,
        states: &[MutexGuard<'_, State>],
    ) -> Result<std::result::Result<Vec<KeyPart>, Hurdle>> {
        let Some(key) = &write.key else { return Ok(Ok(Vec::new())) };
        let keys = self.keys.lock();
        let Some(known) = known.filter(|known| known.generation == keys.generation) else {
            return Ok(Err(Hurdle::Key));
        };
        let mut record = self.living(keys.table.get(key.hash));
        if let Some(mut merged) = self.living(known.stored.as_ref()) {
            if let Some(record) = &record {
                merged.merge(record, self.options.get().idempotency_ms);
            }
            record = Some(merged);
        }
        let now_ms = self.env.clock.now_ms();
        match KeyRecord::decide(record.as_ref(), key.fingerprint, now_ms, self.options.get().idempotency_ms) {
            KeyDecision::New => Ok(Ok(Vec::new())),
            KeyDecision::Repeated(parts) => {
                // The answer depends on whether the first write arrives.
                for part in &parts {
                    let own = write.parts.iter().zip(states).find(|(own, _)| own.partition.at == part.at);
                    if let Some((own, _)) = own.filter(|(_, state)| part.end() > state.confirmed) {
                        return Ok(Err(Hurdle::Confirmed(own.partition.clone(), part.end())));
                    }
                }
                Ok(Ok(parts))
            }
            KeyDecision::Reused => {
                Ok(Err(Hurdle::Reused(record.map(|record| record.parts).unwrap_or_default())))
            }
        }
    }

    /// What a record says of streams that exist; None if that is nothing. Nobody can ask again for what was stored in others.
    fn living(&self, record: Option<&KeyRecord>) -> Option<KeyRecord> {
        let mut record = record?.clone();
        let streams = self.log.streams();
        record.parts.retain(|part| streams.by_id(part.at.stream).is_ok());
        (!record.parts.is_empty()).then_some(record)
    }

    /// Gives events their versions and the log its append, all under the locks of the partitions.
    fn accept(
        self: &Arc<Self>,
        write: &Prepared,
        mut states: States<'_>,
        learned: &mut [Learned],
        fates: SmallVec<[Fate; 1]>,
        permit: &mut Option<Permit>,
    ) -> Result<Pending> {
        let mut appends = Vec::new();
        let mut flights: SmallVec<[(usize, Offset); 1]> = SmallVec::new();
        let mut bases: SmallVec<[(usize, Offset); 1]> = SmallVec::new();
        let mut parts: SmallVec<[PendingPart; 1]> = SmallVec::new();
        let mut failed = None;
        for (index, (part, fate)) in write.parts.iter().zip(fates).enumerate() {
            let (Some(state), Some(learned)) = (states.get_mut(index), learned.get_mut(index)) else {
                continue;
            };
            let plan = match fate {
                Fate::Answered => {
                    let events = learned.answer.take().and_then(|answer| answer.events);
                    parts.push(PendingPart::Answered(events.unwrap_or_default()));
                    continue;
                }
                Fate::Planned(plan) => plan,
            };
            let accepted = {
                let same_id = same_id(part);
                state.ledger.accept(&self.request(write, part, &learned.facts, &same_id), plan)
            };
            bases.push((index, accepted.base));
            let mut flight = None;
            if accepted.base < state.ledger.end() {
                match batches(write, part, &accepted) {
                    Ok(batches) => {
                        let first = flights.len();
                        let mut base = accepted.base;
                        for (batch, foreign) in batches {
                            flights.push((index, base));
                            let (at, expected_end) = (part.partition.at, Some(base));
                            base = base.plus(u64::from(batch.count()));
                            appends.push(Append { at, batch, expected_end, foreign });
                        }
                        flight = Some(first..flights.len());
                    }
                    Err(error) => failed = Some(error),
                }
            }
            parts.push(PendingPart::New { accepted, flight });
        }
        if let Some(error) = failed {
            for (index, base) in bases {
                if let Some(state) = states.get_mut(index) {
                    state.ledger.truncate(base);
                }
            }
            return Err(error);
        }
        let ack = (!appends.is_empty()).then(|| self.launch(write, &mut states, &flights, appends, permit));
        for state in &mut states {
            self.report(state);
            self.evict(state);
        }
        Ok(Pending::new(ack, parts, write))
    }

    fn launch(
        &self,
        write: &Prepared,
        states: &mut [MutexGuard<'_, State>],
        flights: &[(usize, Offset)],
        appends: Vec<Append>,
        permit: &mut Option<Permit>,
    ) -> SharedAck {
        if let Some(key) = &write.key {
            let part = |append: &Append| KeyPart {
                at: append.at,
                base: append.expected_end.unwrap_or_default(),
                count: append.batch.count(),
            };
            let record = KeyRecord {
                fingerprint: key.fingerprint,
                time_ms: self.env.clock.now_ms(),
                parts: appends.iter().map(part).collect(),
            };
            let mut keys = self.keys.lock();
            keys.table.add(key.hash, &record, self.options.get().idempotency_ms);
            self.report_keys(&mut keys);
        }
        let permit = permit.take().unwrap_or_else(Permit::unlimited);
        let count = |append: &Append| u64::from(append.batch.count());
        let mark = |append: &Append| Some(Mark::after(&append.foreign?, count(append)));
        let arrivals: SmallVec<[_; 1]> = appends.iter().map(|append| (count(append), mark(append))).collect();
        let ack = share(self.log.append(permit, appends));
        for ((part, (index, base)), (count, foreign)) in flights.iter().enumerate().zip(arrivals) {
            if let Some(state) = states.get_mut(*index) {
                let end = base.plus(count);
                state.flights.push_back(Flight { base: *base, end, part, foreign, ack: ack.clone() });
            }
        }
        ack
    }
}

fn same_id(part: &PreparedPart) -> impl Fn(usize, usize) -> bool + '_ {
    |a, b| part.id(a) == part.id(b)
}

/// What to do about an obstacle.
fn hurdle(index: usize, part: &PreparedPart, obstacle: Obstacle) -> Result<Hurdle> {
    Ok(match obstacle {
        Obstacle::Load(loads) => Hurdle::Load(index, loads),
        Obstacle::Check(suspects) => Hurdle::Compare(index, suspects),
        Obstacle::Wait(until) => Hurdle::Confirmed(part.partition.clone(), until),
        Obstacle::Conflict { index, actual } => {
            return Err(Error::Conflict {
                stream: part.def.name.clone(),
                subject: part.subjects.get(index).cloned().unwrap_or_default(),
                expected: part.expected.get(index).map(|(_, expected)| *expected).unwrap_or_default(),
                actual,
            });
        }
    })
}

/// Batches, each with whence it comes if that is another region.
type Batches = SmallVec<[(Batch, Option<Foreign>); 1]>;

/// What is appended of a part, with its versions.
fn batches(write: &Prepared, part: &PreparedPart, accepted: &Accepted) -> Result<Batches> {
    let runs = match &part.content {
        Content::Own(own) => return Ok(smallvec![(batch(write, part, own, accepted)?, None)]),
        Content::Foreign(runs) => runs,
    };
    let mut versions = accepted.versions.iter().copied();
    let batch = |run: &Run| {
        let versions: Vec<_> = versions.by_ref().take(run.batch.count() as usize).collect();
        let foreign = Some(run.into());
        let batch = run.batch.clone();
        Ok((if part.has_subjects { batch.with_versions(versions)? } else { batch }, foreign))
    };
    runs.iter().map(batch).collect()
}

/// The batch of the events that are stored, with their versions.
fn batch(write: &Prepared, part: &PreparedPart, own: &Batch, accepted: &Accepted) -> Result<Batch> {
    let batch = if accepted.duplicates.is_empty() {
        own.clone()
    } else {
        let duplicate = |index: usize| {
            accepted.duplicates.binary_search_by_key(&(index as u32), |duplicate| duplicate.index).is_ok()
        };
        let compression = part.def.options.compression;
        keys::rewrite(own, compression, write.key.as_ref(), |index| !duplicate(index))?
    };
    if !part.has_subjects {
        return Ok(batch);
    }
    Ok(batch.with_versions(accepted.versions.iter().copied())?)
}
