//! What a write learns on its way to being accepted: what has to be loaded and read for that.
//!
//! A write may be about more subjects than there is memory for. Their ids are loaded some at a time; the ledger compares
//! those that it has, and what came of that is all that is kept of them until the write is accepted.

use super::partition::{Partition, State};
use super::pending::AppendedEvent;
use super::read::yield_now;
use super::write::PreparedPart;
use super::{Core, Result};
use tw_order::{Fact, IdWindow, KeyPart, Load, Loaded, PackedRun, Posting, SubjectHash, Suspect};
use tw_types::Offset;

/// The ids of so many subjects are loaded at a time, about 5 MiB.
const WINDOWS_MAX: usize = 1_024;
/// So many subjects are loaded at a time.
const LOADS_MAX: usize = 16 * WINDOWS_MAX;
/// After so many, others on this thread have their turn.
const TURN: usize = 64;

/// What one part of a write has learned.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// How far its events were compared: one fact for each at most, in order.
    pub(super) facts: Vec<Fact>,
    /// The same, if it holds: that depends on the suspects.
    seen: Vec<Fact>,
    /// Kept until the write is accepted, without ids once the ledger has had them: so all that it needs is there at once,
    /// even when memory is so short that others drive it out again and again.
    loaded: Vec<(SubjectHash, Loaded)>,
    /// How many of those the ledger was told.
    told: usize,
    /// When that was.
    moment: Moment,
    /// What the first write with the same key was answered.
    pub(super) answer: Option<Answer>,
}

/// The state of a partition, as far as it decides on whether what was loaded still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Moment {
    generation: u64,
    taken_back: u64,
    stored: Option<Offset>,
}

/// What was answered to the first write with a key.
#[derive(Debug)]
pub(super) struct Answer {
    /// What that write has stored of the part; None if that is not known.
    pub(super) of: Option<KeyPart>,
    /// The places and versions of its events; None if not all of them are there.
    pub(super) events: Option<Vec<AppendedEvent>>,
}

impl Learned {
    /// Whether anything was loaded that may still hold.
    pub(super) fn has_begun(&self) -> bool {
        !self.loaded.is_empty()
    }

    /// Tells the ledger what was loaded and still holds. Says whether there was any.
    pub(super) fn tell(&mut self, state: &mut State) -> bool {
        let State { generation, taken_back, stored, .. } = *state;
        let now = Moment { generation, taken_back, stored };
        let then = std::mem::replace(&mut self.moment, now);
        if then.taken_back != taken_back {
            // Versions that were looked at may be those of other events now.
            self.facts.clear();
        }
        if (then.taken_back, then.stored) != (taken_back, stored) {
            self.loaded.clear();
            self.told = 0;
        } else if then.generation != generation {
            // It was sealed: what somebody else has appended meanwhile is there, and nowhere else.
            let sealed = state.sealed.as_deref();
            self.loaded.retain(|(subject, _)| !sealed.is_some_and(|sealed| sealed.has_events(*subject)));
            self.told = 0;
        }
        let told = std::mem::replace(&mut self.told, self.loaded.len());
        for (subject, loaded) in self.loaded.iter_mut().skip(told) {
            state.ledger.load(*subject, loaded);
            without_ids(loaded);
        }
        told < self.loaded.len()
    }

    /// Takes note of what a ledger has seen; `in_doubt` until [`Learned::learn`].
    pub(super) fn see(&mut self, seen: Vec<Fact>, in_doubt: bool) {
        self.seen = seen;
        if !in_doubt {
            self.learn(Vec::new());
        }
    }

    /// Takes note of what came of the suspects.
    pub(super) fn learn(&mut self, facts: Vec<Fact>) {
        let mut news = std::mem::take(&mut self.seen);
        news.extend(facts);
        if !news.is_empty() {
            Fact::learn(&mut self.facts, news);
        }
    }
}

/// Keeps of a subject what takes little memory.
fn without_ids(loaded: &mut Loaded) {
    if loaded.window.take().is_some() {
        loaded.complete = false;
    }
}

impl Core {
    /// Looks the first ones of these subjects up: in what is being stored, then in the stored index.
    pub(super) async fn load(
        &self,
        partition: &Partition,
        loads: &[Load],
        learned: &mut Learned,
    ) -> Result<()> {
        let mut windows = 0;
        let fits = |load: &&Load| {
            windows += usize::from(load.ids);
            windows <= WINDOWS_MAX
        };
        let count = loads.iter().take(LOADS_MAX).take_while(fits).count();
        for loads in loads.get(..count).unwrap_or_default().chunks(TURN) {
            let sealed: Vec<Option<Loaded>> = {
                let state = partition.lock();
                let sealed = state.sealed.as_deref();
                loads.iter().map(|load| sealed.and_then(|sealed| sealed.loaded(load.subject))).collect()
            };
            for (load, sealed) in loads.iter().zip(sealed) {
                learned.loaded.push((load.subject, self.look_up(partition, *load, sealed)?));
            }
            yield_now().await;
        }
        Ok(())
    }

    fn look_up(&self, partition: &Partition, load: Load, sealed: Option<Loaded>) -> Result<Loaded> {
        let Some(mut loaded) = sealed else {
            return self.index.load(partition.at, load.subject, load.ids);
        };
        if !load.ids {
            without_ids(&mut loaded);
        } else if !loaded.complete {
            self.complete(partition, load.subject, &mut loaded)?;
        }
        Ok(loaded)
    }

    /// Adds stored events to the latest ones of a subject that is being stored.
    fn complete(&self, partition: &Partition, subject: SubjectHash, loaded: &mut Loaded) -> Result<()> {
        let stored = self.index.load(partition.at, subject, true)?;
        let mut window = stored.window.unwrap_or_else(|| {
            let mut window = IdWindow::default();
            stored.tail.iter().flat_map(PackedRun::iter).for_each(|posting| window.push(posting));
            window
        });
        loaded.window.iter().for_each(|later| window.extend(later));
        (loaded.window, loaded.complete) = (Some(window), true);
        Ok(())
    }

    /// Finds out whether events of a write have the ids of events in the log.
    pub(super) async fn compare(&self, part: &PreparedPart, suspects: &[Suspect]) -> Result<Vec<Fact>> {
        let at = part.partition.at;
        let mut facts = Vec::with_capacity(suspects.len());
        let mut stored: Vec<(Posting, usize)> = Vec::with_capacity(suspects.len());
        for Suspect { index, version, offset } in suspects {
            let event = part.events.get(*index as usize);
            let offset = match (offset, event.and_then(|event| event.subject)) {
                (None, Some(subject)) => self.index.posting(at, subject, *version)?.map(|found| found.offset),
                _ => *offset,
            };
            if let (Some(offset), Some(event)) = (offset, event) {
                stored.push((Posting { version: *version, offset, id: event.id }, facts.len()));
            }
            // One that is gone cannot be compared. Two events too many can be told apart later, one too few cannot.
            facts.push(Fact { index: *index, version: *version, same: None });
        }
        // In the order of the log, so that each block is read once.
        stored.sort_unstable_by_key(|(posting, _)| posting.offset);
        let mut postings: Vec<Posting> = stored.iter().map(|(posting, _)| *posting).collect();
        postings.dedup_by_key(|posting| posting.offset);
        let mut stored = stored.into_iter().peekable();
        self.read_postings(at, &postings, |record, posting| {
            let subject = record.event.subject.map(SubjectHash::of);
            while let Some((Posting { offset, .. }, place)) =
                stored.next_if(|(next, _)| next.offset <= posting.offset)
            {
                let Some(fact) = facts.get_mut(place).filter(|_| offset == posting.offset) else { continue };
                let index = fact.index as usize;
                let is_same = part.id(index) == record.event.id
                    && part.events.get(index).is_some_and(|event| event.subject == subject);
                fact.same = Some(offset).filter(|_| is_same);
            }
        })
        .await?;
        Ok(facts)
    }
}
