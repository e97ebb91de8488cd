//! Collecting the events of one write.

use super::event::{check, invalid, partition_key, texts};
use super::partition::Partition;
use super::pool::Builders;
use super::traced::{TRACED_MAX, Traced};
use super::{Core, Error, Result, keys};
use crate::Error as LogError;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::sync::{Arc, OnceLock};
use tw_order::{IdHash, Proposed, SubjectHash, partition_of};
use tw_types::{EventRef, ExpectedVersion, PartitionId, StreamDef, StreamPartition};
use tw_wire::{Batch, BatchBuilder, Run, TEXTS_MAX};

/// The longest idempotency key, in bytes.
pub const KEY_BYTES_MAX: usize = 256;

/// The events of one write: all of them are stored, or none. Made by [`EventStore::write`](super::EventStore::write).
#[derive(Debug)]
pub struct Write {
    bytes_max: usize,
    events_max: usize,
    builders: Arc<Builders>,
    parts: SmallVec<[Part; 1]>,
    /// The parts by partition, once they are many.
    by_partition: HashMap<StreamPartition, usize>,
    count: usize,
    /// The part of each event; empty while there is one part only.
    order: Vec<u32>,
    key: Option<String>,
    dedup: bool,
    while_held: bool,
    traced: Vec<Traced>,
}

/// Up to so many parts are looked through one by one.
const FEW_PARTS: usize = 8;

/// The share of one partition.
#[derive(Debug)]
struct Part {
    def: Arc<StreamDef>,
    at: StreamPartition,
    builder: BatchBuilder,
    /// What it is instead, if other regions have accepted it.
    runs: Vec<Run>,
    events: SmallVec<[Proposed; 1]>,
    expected: Vec<(String, SubjectHash, ExpectedVersion)>,
}

impl Write {
    pub(super) fn new(options: &super::Options, builders: Arc<Builders>) -> Self {
        Self {
            bytes_max: options.write_bytes_max as usize,
            events_max: options.write_events_max as usize,
            builders,
            parts: SmallVec::new(),
            by_partition: HashMap::new(),
            count: 0,
            order: Vec::new(),
            key: None,
            dedup: true,
            while_held: false,
            traced: Vec::new(),
        }
    }

    /// Adds an event, which is encoded at once. It goes to the partition of its subject: Kafka's for that key. Without a
    /// subject, the extension `partitionkey` or else the id takes its place.
    ///
    /// # Errors
    /// [`Error::InvalidEvent`] for an empty attribute, a reserved or malformed extension name; [`Error::EventTooLarge`]
    /// over the stream's `event_bytes_max`; [`Error::InvalidWrite`] when the write gets too large, or has too many
    /// different texts of those that are stored once. The event is then not in it, the write can go on without it.
    pub fn push(&mut self, stream: &Arc<StreamDef>, event: &EventRef<'_>) -> Result<()> {
        self.add(stream, Self::partition_of(stream, event), event)
    }

    /// The partition to which [`Write::push`] adds an event.
    pub fn partition_of(stream: &StreamDef, event: &EventRef<'_>) -> PartitionId {
        let key = event.subject.unwrap_or_else(|| partition_key(event).unwrap_or(event.id));
        partition_of(key, stream.partitions)
    }

    /// Adds an event without a subject to a certain partition: how something is told to all partitions of a stream.
    ///
    /// # Errors
    /// Those of [`Write::push`]; [`Error::InvalidEvent`] for an event with a subject, which has its partition already.
    pub fn push_to(
        &mut self,
        stream: &Arc<StreamDef>,
        partition: PartitionId,
        event: &EventRef<'_>,
    ) -> Result<()> {
        if event.subject.is_some() {
            return Err(invalid(event, "its subject decides on its partition: leave one of them out"));
        }
        self.add(stream, partition, event)
    }

    /// Adds events that another region has accepted, to the partition in which they are there. They keep origin and time, and get
    /// versions of this region. Events of this region may be added for other partitions, not for this one.
    /// Ids are not looked at, not those of this region's events in the same write either: what is here already is known by its origin. The
    /// bounds of what clients write at once do not count, since another region has let it pass; that of the log does.
    ///
    /// # Errors
    /// [`Error::InvalidWrite`] when the write has something of this region for this partition; [`Error::Log`] for a run that does
    /// not read. The run is then not in it, the write can go on without it.
    pub fn push_foreign(&mut self, stream: &Arc<StreamDef>, partition: PartitionId, run: Run) -> Result<()> {
        let (stream_name, count) = (&stream.name, run.batch.count() as usize);
        let at = StreamPartition::new(stream.id, partition);
        let known = self.number(at).and_then(|number| self.parts.get(number));
        if known.is_some_and(|part| part.runs.is_empty() && !part.events.is_empty()) {
            let reason = format!(
                "it has events for partition {partition} of stream `{stream_name}` already: those of another region \
                 need a write of their own there"
            );
            return Err(Error::InvalidWrite(reason));
        }
        // Nothing is left behind of a run that does not read.
        let mut events = Vec::with_capacity(count);
        let records = run.batch.records().map_err(LogError::from)?;
        let mut traced = Vec::new();
        for (number, record) in (0u64..).zip(records.iter().map_err(LogError::from)?) {
            let event = record.map_err(LogError::from)?.event;
            traced.extend(Traced::find(at, &run, number, &event));
            events.push(Proposed { subject: event.subject.map(SubjectHash::of), id: IdHash::of(event.id) });
        }
        let number = self.part(stream, partition);
        let Some(part) = self.parts.get_mut(number) else { return Ok(()) };
        part.events.extend(events);
        part.runs.push(run);
        if self.parts.len() > 1 {
            self.order.resize(self.count, 0);
            self.order.resize(self.count + count, number as u32);
        }
        self.count += count;
        traced.truncate(TRACED_MAX.saturating_sub(self.traced.len()));
        self.traced.append(&mut traced);
        Ok(())
    }

    /// The events of other regions in it that belong to a trace, the first few.
    pub fn traced(&self) -> &[Traced] {
        &self.traced
    }

    fn add(&mut self, stream: &Arc<StreamDef>, partition: PartitionId, event: &EventRef<'_>) -> Result<()> {
        let bytes = check(stream, event)?;
        if self.count >= self.events_max {
            let reason = format!("it has over {} events: split it", self.events_max);
            return Err(Error::InvalidWrite(reason));
        }
        let bytes_max = self.bytes_max;
        let too_large = || {
            let stream = &stream.name;
            let reason =
                format!("it has over {bytes_max} bytes for one partition of stream `{stream}`: split it");
            Error::InvalidWrite(reason)
        };
        if bytes > bytes_max {
            return Err(too_large());
        }
        let number = self.part(stream, partition);
        let Some(part) = self.parts.get_mut(number) else { return Ok(()) };
        if !part.runs.is_empty() {
            return Err(invalid(
                event,
                "its partition gets events of another region: put it into another write",
            ));
        }
        if part.builder.bytes() + bytes > bytes_max {
            return Err(too_large());
        }
        if part.builder.texts() + texts(event) > TEXTS_MAX {
            let stream = &stream.name;
            let reason = format!(
                "it has over {TEXTS_MAX} different sources, types and names of extensions for one partition of stream \
                 `{stream}`: split it"
            );
            return Err(Error::InvalidWrite(reason));
        }
        part.builder.push(event);
        part.events.push(Proposed { subject: event.subject.map(SubjectHash::of), id: IdHash::of(event.id) });
        if self.parts.len() > 1 {
            // Those before belong to the first part, if there was only one.
            self.order.resize(self.count, 0);
            self.order.push(number as u32);
        }
        self.count += 1;
        Ok(())
    }

    /// Makes the whole write depend on the version that `subject` has before it (LOG-3). The write must have an event
    /// of that subject. If all its events of that subject are duplicates, the condition does not matter.
    pub fn expect(&mut self, stream: &Arc<StreamDef>, subject: &str, expected: ExpectedVersion) {
        if expected == ExpectedVersion::Any {
            return;
        }
        let number = self.part(stream, partition_of(subject, stream.partitions));
        if let Some(part) = self.parts.get_mut(number) {
            part.expected.push((subject.to_owned(), SubjectHash::of(subject), expected));
        }
    }

    /// Gives the write a name of 1 to [`KEY_BYTES_MAX`] bytes: the same write with the same key is stored once, and
    /// answered each time as it was the first time, as long as the key is remembered (option `idempotency_ms`). The
    /// same key with other events is an error. Ids are part of what an event says: whoever makes them up derives them
    /// from the key.
    pub fn idempotency_key(&mut self, key: &str) {
        self.key = Some(key.to_owned());
    }

    /// Whether an event with the id of one of the latest 1,024 events of its subject is a duplicate, which is not
    /// stored again. On unless it is switched off.
    pub fn dedup_by_id(&mut self, on: bool) {
        self.dedup = on;
    }

    /// It is taken although the store is [held](super::EventStore::hold): for what ends that.
    pub fn while_held(&mut self) {
        self.while_held = true;
    }

    /// The partition of each event, in the order in which they were pushed.
    pub fn places(&self) -> impl Iterator<Item = StreamPartition> + '_ {
        let part = |index: usize| self.order.get(index).map_or(0, |part| *part as usize);
        (0..self.count).filter_map(move |index| Some(self.parts.get(part(index))?.at))
    }

    /// Whether it can be stored again without harm, when nobody knows whether it was: what is there already is not stored
    /// again. So it is if every event has a subject, and ids are looked at.
    pub fn can_repeat(&self) -> bool {
        let mut events = self.parts.iter().flat_map(|part| &part.events);
        self.dedup && !self.has_foreign() && events.all(|event| event.subject.is_some())
    }

    /// How many events it has.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Which part is that of a partition.
    fn number(&self, at: StreamPartition) -> Option<usize> {
        if self.parts.len() <= FEW_PARTS {
            return self.parts.iter().position(|part| part.at == at);
        }
        self.by_partition.get(&at).copied()
    }

    fn has_foreign(&self) -> bool {
        self.parts.iter().any(|part| !part.runs.is_empty())
    }

    fn part(&mut self, stream: &Arc<StreamDef>, partition: PartitionId) -> usize {
        let at = StreamPartition::new(stream.id, partition);
        if let Some(number) = self.number(at) {
            return number;
        }
        if self.parts.len() == FEW_PARTS {
            self.by_partition.extend(self.parts.iter().map(|part| part.at).zip(0..));
        }
        let new = self.parts.len();
        if new >= FEW_PARTS {
            self.by_partition.insert(at, new);
        }
        let builder = self.builders.take();
        self.parts.push(Part {
            def: stream.clone(),
            at,
            builder,
            runs: Vec::new(),
            events: SmallVec::new(),
            expected: Vec::new(),
        });
        new
    }

    /// Ends the batches and finds the partitions.
    pub(super) fn prepare(mut self, core: &Core) -> Result<Prepared> {
        if self.count == 0 {
            return Err(Error::InvalidWrite("it has no events".into()));
        }
        if let Some(key) = &self.key
            && !(1..=KEY_BYTES_MAX).contains(&key.len())
        {
            let reason = format!("its idempotency key has {} bytes, outside 1 to {KEY_BYTES_MAX}", key.len());
            return Err(Error::InvalidWrite(reason));
        }
        let keyed = self.key.is_some();
        let has_foreign = self.has_foreign();
        if keyed && has_foreign {
            let reason = "it has an idempotency key and events of another region, which are known by their origin: \
                          leave the key out";
            return Err(Error::InvalidWrite(reason.into()));
        }
        let builders = self.builders;
        let mut parts: SmallVec<[PreparedPart; 1]> =
            self.parts.into_iter().map(|part| part.prepare(core, &builders, keyed)).collect::<Result<_>>()?;
        if parts.len() > 1 {
            sort(&mut parts, &mut self.order);
        }
        let key = self.key.map(|key| keys::prepare(key, &mut parts)).transpose()?;
        let order = if parts.len() > 1 { self.order.into() } else { Arc::default() };
        // What other regions have accepted is stored as it is, whatever its ids are.
        let (dedup, while_held) = (self.dedup && !has_foreign, self.while_held);
        Ok(Prepared { parts, order, key, dedup, while_held })
    }
}

/// Puts parts in the order in which their partitions are locked. `order` has the part of each event.
fn sort(parts: &mut [PreparedPart], order: &mut [u32]) {
    let mut sorted: Vec<(StreamPartition, usize)> =
        parts.iter().map(|part| part.partition.at).zip(0..).collect();
    sorted.sort_unstable();
    let mut places = vec![0; sorted.len()];
    for (place, (_, number)) in sorted.iter().enumerate() {
        if let Some(slot) = places.get_mut(*number) {
            *slot = place as u32;
        }
    }
    for number in order {
        *number = places.get(*number as usize).copied().unwrap_or_default();
    }
    parts.sort_unstable_by_key(|part| part.partition.at);
}

impl Part {
    fn prepare(mut self, core: &Core, builders: &Builders, keyed: bool) -> Result<PreparedPart> {
        for (subject, hash, _) in &self.expected {
            if !self.events.iter().any(|event| event.subject == Some(*hash)) {
                let reason = format!("it expects a version of subject `{subject}`, of which it has no event");
                return Err(Error::InvalidWrite(reason));
            }
        }
        // A batch that is written once more, to say its key, is compressed then.
        let compression = if keyed { tw_types::Compression::None } else { self.def.options.compression };
        let bytes = self.builder.bytes();
        let content = if self.runs.is_empty() {
            Content::Own(self.builder.finish(compression)?)
        } else {
            Content::Foreign(self.runs)
        };
        builders.put_back(self.builder, bytes);
        let (subjects, expected) =
            self.expected.into_iter().map(|(subject, hash, expected)| (subject, (hash, expected))).unzip();
        Ok(PreparedPart {
            partition: core.partition(self.at)?,
            def: self.def,
            content,
            has_subjects: self.events.iter().any(|event| event.subject.is_some()),
            events: self.events,
            ids: OnceLock::new(),
            subjects,
            expected,
        })
    }
}

/// A write on its way.
#[derive(Debug)]
pub(super) struct Prepared {
    /// In the order of their partitions.
    pub(super) parts: SmallVec<[PreparedPart; 1]>,
    /// The part of each event, in the order in which they were pushed; empty if there is one part only.
    pub(super) order: Arc<[u32]>,
    pub(super) key: Option<keys::Key>,
    pub(super) dedup: bool,
    /// It is taken although nothing of this region is.
    pub(super) while_held: bool,
}

/// The events of a part.
#[derive(Debug)]
pub(super) enum Content {
    /// Accepted here.
    Own(Batch),
    /// Accepted by other regions: each run is an append of its own.
    Foreign(Vec<Run>),
}

impl Content {
    /// How many bytes its blocks will have, without versions.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Own(batch) => batch.bytes(),
            Self::Foreign(runs) => runs.iter().map(|run| run.batch.bytes()).sum(),
        }
    }

    /// What is accepted here of it.
    pub(super) fn own(&self) -> Option<&Batch> {
        match self {
            Self::Own(batch) => Some(batch),
            Self::Foreign(_) => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct PreparedPart {
    pub(super) partition: Arc<Partition>,
    pub(super) def: Arc<StreamDef>,
    pub(super) content: Content,
    pub(super) has_subjects: bool,
    pub(super) events: SmallVec<[Proposed; 1]>,
    /// The ids of its events, once somebody has asked for them.
    ids: OnceLock<Vec<String>>,
    /// The subjects of `expected`.
    pub(super) subjects: Vec<String>,
    pub(super) expected: Vec<(SubjectHash, ExpectedVersion)>,
}

impl PreparedPart {
    /// The id of an event.
    pub(super) fn id(&self, index: usize) -> &str {
        // The batch was made here: it reads.
        let ids = || self.content.own().and_then(|batch| keys::ids(batch).ok());
        let ids = self.ids.get_or_init(|| ids().unwrap_or_default());
        ids.get(index).map(String::as_str).unwrap_or_default()
    }
}
