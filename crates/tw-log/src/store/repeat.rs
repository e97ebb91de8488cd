//! Answering a write with an idempotency key as it was answered the first time.

use super::learned::Answer;
use super::partition::Partition;
use super::pending::AppendedEvent;
use super::read::yield_now;
use super::write::{Prepared, PreparedPart};
use super::{Core, Error, Result};
use crate::Error as LogError;
use hashbrown::{HashMap, HashSet};
use tw_order::{IdHash, KeyPart, Posting, SubjectHash};
use tw_types::{Offset, Position, StreamPartition, Version};

/// How many events of a subject are looked up at a time.
const PAGE_EVENTS: usize = 4_096;
/// So many events, about, are read at a time, in the order of the log.
const READ_EVENTS: usize = 65_536;

/// Where an event is, and its version.
type Place = (Offset, Version);

/// Ids by subject that are looked for, and where the first event with each is.
type Sought<'a> = HashMap<SubjectHash, HashMap<&'a str, Option<Place>>>;

impl Core {
    /// What was answered for a part to an earlier write with the same key, which has stored `of` of it. None: what that
    /// write has stored of it is not known, and it is looked whether all of it is there.
    pub(super) async fn first_answer(
        &self,
        write: &Prepared,
        part: &PreparedPart,
        of: Option<KeyPart>,
    ) -> Result<Answer> {
        let Some(done) = of else {
            let events = self.found(part, vec![None; part.events.len()]).await?;
            return Ok(Answer { of, events });
        };
        let events = self.repeat(part, done).await?;
        if events.is_none() {
            let key = write.key.as_ref().map(|key| key.text.clone());
            return Err(Error::KeyGone(key.unwrap_or_default()));
        }
        Ok(Answer { of, events })
    }

    /// The places and versions of a part's events that an earlier write has stored; None when they are gone.
    async fn repeat(&self, part: &PreparedPart, done: KeyPart) -> Result<Option<Vec<AppendedEvent>>> {
        let mut stored = Vec::with_capacity((done.count as usize).min(part.events.len()));
        let scanned = self.scan(part.partition.at, done.base, done.end(), |record| {
            stored.push((record.event.id.to_owned(), record.offset, record.version));
            true
        });
        match scanned.await {
            Err(Error::Log(LogError::Trimmed { .. })) => return Ok(None),
            scanned => scanned?,
        };
        let mut stored = stored.into_iter().peekable();
        let place = |index| {
            let stored = stored.next_if(|(stored, ..)| stored == part.id(index));
            stored.map(|(_, offset, version)| (offset, version))
        };
        let places = (0..part.events.len()).map(place).collect();
        self.found(part, places).await
    }

    /// The places and versions of a part's events. Those without a place were duplicates themselves the first time: they
    /// are looked for in the histories of their subjects. None when they are gone.
    async fn found(
        &self,
        part: &PreparedPart,
        places: Vec<Option<Place>>,
    ) -> Result<Option<Vec<AppendedEvent>>> {
        let mut sought = Sought::new();
        for (index, (event, place)) in part.events.iter().zip(&places).enumerate() {
            if place.is_none() {
                let Some(subject) = event.subject else { return Ok(None) };
                sought.entry(subject).or_default().insert(part.id(index), None);
            }
        }
        if !self.find(&part.partition, &mut sought).await? {
            return Ok(None);
        }
        let event = |(index, place): (usize, Option<Place>)| {
            let found = || *sought.get(&part.events.get(index)?.subject?)?.get(part.id(index))?;
            let (offset, version) = place.or_else(found)?;
            let position = Position { partition: part.partition.at.partition, offset };
            Some(AppendedEvent { position, version, duplicate: true })
        };
        Ok(places.into_iter().enumerate().map(event).collect())
    }

    /// Looks through the whole histories of subjects, each once, and reads each block of the log about once. False when an id
    /// is not among those of its subject.
    async fn find(&self, partition: &Partition, sought: &mut Sought<'_>) -> Result<bool> {
        let at = partition.at;
        let start = self.log.bounds(at)?.start;
        let subjects: Vec<SubjectHash> = sought.keys().copied().collect();
        let mut alike: Vec<Posting> = Vec::new();
        for subject in subjects {
            let ids = sought.get(&subject).into_iter().flat_map(HashMap::keys);
            let hashes: HashSet<IdHash> = ids.map(|id| IdHash::of(id)).collect();
            let mut missing = hashes.clone();
            let mut from = Version(1);
            loop {
                let (page, _) = self.page(partition, subject, from, start, PAGE_EVENTS)?;
                let Some(last) = page.last() else { break };
                from = last.version.next();
                let wanted = page.iter().filter(|posting| hashes.contains(&posting.id));
                alike.extend(wanted.inspect(|posting| {
                    missing.remove(&posting.id);
                }));
                if alike.len() >= READ_EVENTS {
                    self.read_alike(at, &mut alike, sought).await?;
                    if sought.get(&subject).is_some_and(|ids| ids.values().all(Option::is_some)) {
                        break;
                    }
                }
                yield_now().await;
            }
            if !missing.is_empty() {
                return Ok(false);
            }
        }
        self.read_alike(at, &mut alike, sought).await?;
        Ok(true)
    }

    /// Reads events whose ids may be looked for.
    async fn read_alike(
        &self,
        at: StreamPartition,
        alike: &mut Vec<Posting>,
        sought: &mut Sought<'_>,
    ) -> Result<()> {
        alike.sort_unstable_by_key(|posting| posting.offset);
        self.read_postings(at, alike, |record, posting| {
            let subject = record.event.subject.map(SubjectHash::of);
            let ids = subject.and_then(|subject| sought.get_mut(&subject));
            let Some(place) = ids.and_then(|ids| ids.get_mut(record.event.id)) else { return };
            if place.is_none_or(|(_, known)| posting.version < known) {
                *place = Some((posting.offset, posting.version));
            }
        })
        .await?;
        alike.clear();
        Ok(())
    }
}
