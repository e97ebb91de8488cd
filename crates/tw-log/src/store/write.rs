//! Collecting the events of one write.

use super::partition::Partition;
use super::{Core, Error, Result, keys};
use hashbrown::HashMap;
use std::sync::Arc;
use tw_order::{IdHash, Proposed, SubjectHash, partition_of};
use tw_types::{EventRef, ExpectedVersion, ExtensionValue, PartitionId, StreamDef, StreamPartition};
use tw_wire::{Batch, BatchBuilder};

/// Extension attributes whose names start so are the platform's own.
const RESERVED: &str = "tw";
/// The longest idempotency key, in bytes.
pub const KEY_BYTES_MAX: usize = 256;

/// The events of one write: all of them are stored, or none. Made by [`EventStore::write`](super::EventStore::write).
#[derive(Debug)]
pub struct Write {
    bytes_max: usize,
    events_max: usize,
    parts: Vec<Part>,
    by_partition: HashMap<StreamPartition, usize>,
    /// The part of each event.
    order: Vec<u32>,
    key: Option<String>,
    dedup: bool,
}

/// The share of one partition.
#[derive(Debug)]
struct Part {
    def: Arc<StreamDef>,
    at: StreamPartition,
    builder: BatchBuilder,
    events: Vec<Proposed>,
    ids: Ids,
    expected: Vec<(String, SubjectHash, ExpectedVersion)>,
}

/// The ids of a part's events, one after the other.
#[derive(Debug, Default)]
pub(super) struct Ids {
    text: String,
    ends: Vec<u32>,
}

impl Ids {
    fn push(&mut self, id: &str) {
        self.text.push_str(id);
        self.ends.push(self.text.len() as u32);
    }

    pub(super) fn get(&self, index: usize) -> &str {
        let start =
            index.checked_sub(1).map_or(0, |before| self.ends.get(before).copied().unwrap_or(u32::MAX));
        let end = self.ends.get(index).copied().unwrap_or_default();
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }
}

/// Says why an event is refused.
fn invalid(event: &EventRef<'_>, reason: impl Into<String>) -> Error {
    Error::InvalidEvent { id: event.id.chars().take(80).collect(), reason: reason.into() }
}

impl Write {
    pub(super) fn new(options: &super::Options) -> Self {
        Self {
            bytes_max: options.write_bytes_max as usize,
            events_max: options.write_events_max as usize,
            parts: Vec::new(),
            by_partition: HashMap::new(),
            order: Vec::new(),
            key: None,
            dedup: true,
        }
    }

    /// Adds an event, which is encoded at once. It goes to the partition of its subject: Kafka's for that key. Without a
    /// subject, the extension `partitionkey` or else the id takes its place.
    ///
    /// # Errors
    /// [`Error::InvalidEvent`] for an empty attribute, a reserved or malformed extension name, or an event over the
    /// stream's `event_bytes_max`; [`Error::InvalidWrite`] when the write gets too large. The event is then not in it,
    /// the write can go on without it.
    pub fn push(&mut self, stream: &Arc<StreamDef>, event: &EventRef<'_>) -> Result<()> {
        let key = event.subject.unwrap_or_else(|| partition_key(event).unwrap_or(event.id));
        self.add(stream, partition_of(key, stream.partitions), event)
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

    fn add(&mut self, stream: &Arc<StreamDef>, partition: PartitionId, event: &EventRef<'_>) -> Result<()> {
        check(stream, event)?;
        let events = self.order.len();
        if events >= self.events_max {
            let reason = format!("it has over {} events: split it", self.events_max);
            return Err(Error::InvalidWrite(reason));
        }
        let bytes_max = self.bytes_max;
        let number = self.part(stream, partition);
        let Some(part) = self.parts.get_mut(number) else { return Ok(()) };
        if part.builder.bytes() + bytes(event) > bytes_max {
            return Err(Error::InvalidWrite(format!(
                "it has over {bytes_max} bytes for one partition of stream `{}`: split it",
                stream.name
            )));
        }
        part.builder.push(event);
        part.events.push(Proposed { subject: event.subject.map(SubjectHash::of), id: IdHash::of(event.id) });
        part.ids.push(event.id);
        self.order.push(number as u32);
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

    /// How many events it has.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn part(&mut self, stream: &Arc<StreamDef>, partition: PartitionId) -> usize {
        let at = StreamPartition::new(stream.id, partition);
        // Most writes go to one partition.
        if let Some((number, part)) = self.parts.iter().enumerate().next_back()
            && part.at == at
        {
            return number;
        }
        *self.by_partition.entry(at).or_insert_with(|| {
            self.parts.push(Part {
                def: stream.clone(),
                at,
                builder: BatchBuilder::new(),
                events: Vec::new(),
                ids: Ids::default(),
                expected: Vec::new(),
            });
            self.parts.len() - 1
        })
    }

    /// Ends the batches and finds the partitions.
    pub(super) fn prepare(mut self, core: &Core) -> Result<Prepared> {
        if self.order.is_empty() {
            return Err(Error::InvalidWrite("it has no events".into()));
        }
        if let Some(key) = &self.key
            && !(1..=KEY_BYTES_MAX).contains(&key.len())
        {
            let reason = format!("its idempotency key has {} bytes, outside 1 to {KEY_BYTES_MAX}", key.len());
            return Err(Error::InvalidWrite(reason));
        }
        // Partitions are locked in this order.
        let mut sorted: Vec<usize> = (0..self.parts.len()).collect();
        sorted.sort_unstable_by_key(|number| self.parts.get(*number).map(|part| part.at));
        let mut places = vec![0; sorted.len()];
        for (place, number) in sorted.iter().enumerate() {
            if let Some(slot) = places.get_mut(*number) {
                *slot = place as u32;
            }
        }
        if places.len() > 1 {
            for number in &mut self.order {
                *number = places.get(*number as usize).copied().unwrap_or_default();
            }
        }
        let keyed = self.key.is_some();
        let mut parts: Vec<PreparedPart> =
            self.parts.into_iter().map(|part| part.prepare(core, keyed)).collect::<Result<_>>()?;
        parts.sort_unstable_by_key(|part| part.partition.at);
        let key = self.key.map(|key| keys::prepare(key, &mut parts)).transpose()?;
        Ok(Prepared { parts, order: self.order.into(), key, dedup: self.dedup })
    }
}

impl Part {
    fn prepare(mut self, core: &Core, keyed: bool) -> Result<PreparedPart> {
        for (subject, hash, _) in &self.expected {
            if !self.events.iter().any(|event| event.subject == Some(*hash)) {
                let reason = format!("it expects a version of subject `{subject}`, of which it has no event");
                return Err(Error::InvalidWrite(reason));
            }
        }
        // A batch that is written once more, to say its key, is compressed then.
        let compression = if keyed { tw_types::Compression::None } else { self.def.options.compression };
        let batch = self.builder.finish(compression)?;
        let (subjects, expected) =
            self.expected.into_iter().map(|(subject, hash, expected)| (subject, (hash, expected))).unzip();
        Ok(PreparedPart {
            partition: core.partition(self.at)?,
            def: self.def,
            batch,
            has_subjects: self.events.iter().any(|event| event.subject.is_some()),
            events: self.events,
            ids: self.ids,
            subjects,
            expected,
        })
    }
}

/// A write on its way.
#[derive(Debug)]
pub(super) struct Prepared {
    /// In the order of their partitions.
    pub(super) parts: Vec<PreparedPart>,
    /// The part of each event, in the order in which they were pushed.
    pub(super) order: Arc<[u32]>,
    pub(super) key: Option<keys::Key>,
    pub(super) dedup: bool,
}

#[derive(Debug)]
pub(super) struct PreparedPart {
    pub(super) partition: Arc<Partition>,
    pub(super) def: Arc<StreamDef>,
    pub(super) batch: Batch,
    pub(super) has_subjects: bool,
    pub(super) events: Vec<Proposed>,
    pub(super) ids: Ids,
    /// The subjects of `expected`.
    pub(super) subjects: Vec<String>,
    pub(super) expected: Vec<(SubjectHash, ExpectedVersion)>,
}

fn partition_key<'a>(event: &EventRef<'a>) -> Option<&'a str> {
    event.extensions.iter().find_map(|extension| match extension.value {
        ExtensionValue::Text(text) if extension.name == "partitionkey" && !text.is_empty() => Some(text),
        _ => None,
    })
}

/// About how many bytes an event has when it is encoded: at least as many as it will have.
fn bytes(event: &EventRef<'_>) -> usize {
    let optional = |text: Option<&str>| text.map_or(0, |text| text.len() + 10);
    let extensions = event.extensions.iter().map(|extension| {
        let value = if let ExtensionValue::Text(text) = extension.value { text.len() } else { 0 };
        extension.name.len() + value + 20
    });
    event.id.len()
        + event.source.len()
        + event.ty.len()
        + optional(event.subject)
        + optional(event.datacontenttype)
        + optional(event.dataschema)
        + extensions.sum::<usize>()
        + event.data.bytes().len()
        + 48
}

fn check(stream: &StreamDef, event: &EventRef<'_>) -> Result<()> {
    for (attribute, value) in [("id", event.id), ("source", event.source), ("type", event.ty)] {
        if value.is_empty() {
            return Err(invalid(event, format!("its attribute `{attribute}` is empty: give it a value")));
        }
    }
    if event.subject == Some("") {
        return Err(invalid(event, "its attribute `subject` is empty: give it a value, or leave it out"));
    }
    for extension in &event.extensions {
        let name = extension.name;
        if name.starts_with(RESERVED) {
            let reason = format!("extension names that start with `tw` are reserved: rename `{name}`");
            return Err(invalid(event, reason));
        }
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            let reason =
                format!("extension `{name}` is not made of lower-case letters and digits: rename it");
            return Err(invalid(event, reason));
        }
    }
    let bytes = bytes(event);
    let bytes_max = stream.options.event_bytes_max as usize;
    if bytes > bytes_max {
        let reason = format!(
            "it has {bytes} bytes, over the limit of {bytes_max} bytes for stream `{}`: make it smaller, or raise the \
             stream's `event_bytes_max`",
            stream.name
        );
        return Err(invalid(event, reason));
    }
    Ok(())
}
