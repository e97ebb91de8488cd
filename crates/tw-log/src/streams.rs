//! The registry of streams: a fold of the events of `$config`.

#[cfg(test)]
mod tests;

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use tw_types::{
    Cleanup, Compression, Data, Event, Offset, PartitionId, Schema, StreamDef, StreamId, StreamKind,
    StreamMode, StreamName, StreamOptions, StreamPartition, Version,
};
use tw_wire::{Batch, BatchBuilder, Block};

/// The number of `$config`, which exists from the start, has one partition and is never trimmed.
pub const CONFIG_STREAM: StreamId = StreamId(0);

/// The partition of `$config`.
pub const CONFIG_PARTITION: StreamPartition = StreamPartition::new(CONFIG_STREAM, PartitionId(0));

/// What a stream is created with, or altered to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewStream {
    /// Its name.
    pub name: StreamName,
    /// What its events mean.
    pub kind: StreamKind,
    /// How many partitions it has: 1 to [`StreamDef::PARTITIONS_MAX`].
    pub partitions: u32,
    /// Its declared columns.
    pub schema: Option<Schema>,
    /// Its options.
    pub options: StreamOptions,
}

impl NewStream {
    /// A stream of plain JSON events with default options.
    pub fn plain(name: StreamName, partitions: u32) -> Self {
        Self { name, kind: StreamKind::Events, partitions, schema: None, options: StreamOptions::default() }
    }
}

/// A change of a definition that is asked for.
#[derive(Debug, Clone)]
pub enum Definition {
    /// A new stream.
    Create(NewStream),
    /// Another schema and other options for the stream of this name.
    Alter(NewStream),
    /// The end of a stream.
    Drop(StreamName),
}

/// A change of the registry, as it is written to `$config`: the subject is `stream/` and the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// `tradewind.stream.created`
    Created(StreamDef),
    /// `tradewind.stream.altered`
    Altered(StreamDef),
    /// `tradewind.stream.dropped`
    Dropped(StreamDef),
}

const CREATED: &str = "tradewind.stream.created";
const ALTERED: &str = "tradewind.stream.altered";
const DROPPED: &str = "tradewind.stream.dropped";

impl ConfigChange {
    /// The definition that it carries.
    pub fn definition(&self) -> &StreamDef {
        match self {
            Self::Created(def) | Self::Altered(def) | Self::Dropped(def) => def,
        }
    }

    /// The event that says it. `id` must be unique among the events of `$config`.
    pub fn to_event(&self, id: String) -> Event {
        let ty = match self {
            Self::Created(_) => CREATED,
            Self::Altered(_) => ALTERED,
            Self::Dropped(_) => DROPPED,
        };
        let def = self.definition();
        Event {
            id,
            source: "tradewind:log".into(),
            ty: ty.into(),
            subject: Some(format!("stream/{}", def.name)),
            // A definition consists of texts and numbers, which always have a JSON form.
            data: Data::Json(serde_json::to_vec(def).unwrap_or_default()),
            ..Event::default()
        }
    }

    /// The event that says it as a batch for [`CONFIG_PARTITION`]. `streams` is what it changes; `id` must be unique among
    /// the events of `$config`.
    ///
    /// # Errors
    /// [`Error::Wire`] when it is too large.
    pub fn to_batch(&self, streams: &Streams, id: u64) -> Result<Batch> {
        let mut builder = BatchBuilder::new();
        let event = self.to_event(format!("{id:016x}"));
        builder.push_versioned(&event.as_ref(), streams.next_version(&self.definition().name));
        Ok(builder.finish(Compression::None)?)
    }

    /// Reads an event of `$config`; None if it is about something else than a stream.
    ///
    /// # Errors
    /// The message of an event that is of one of our types but does not read: written by a later version.
    pub fn from_event(ty: &str, data: &[u8]) -> Result<Option<Self>, serde_json::Error> {
        Ok(Some(match ty {
            CREATED => Self::Created(serde_json::from_slice(data)?),
            ALTERED => Self::Altered(serde_json::from_slice(data)?),
            DROPPED => Self::Dropped(serde_json::from_slice(data)?),
            _ => return Ok(None),
        }))
    }
}

/// All streams, by name and by number.
#[derive(Debug, Clone, Default)]
pub struct Streams {
    by_name: BTreeMap<StreamName, Arc<StreamDef>>,
    by_id: BTreeMap<StreamId, Arc<StreamDef>>,
    next_id: u32,
    /// How many changes each name has seen, dropped streams included.
    versions: BTreeMap<StreamName, u64>,
}

impl Streams {
    /// The registry of a new installation: `$config` alone.
    pub fn new() -> Self {
        let mut streams = Self::default();
        if let Ok(name) = StreamName::new("$config") {
            let NewStream { name, kind, partitions, schema, options } = NewStream::plain(name, 1);
            let def = StreamDef { id: CONFIG_STREAM, name, kind, partitions, schema, options };
            streams.apply(ConfigChange::Created(def));
            // No event tells of it.
            streams.versions.clear();
        }
        streams
    }

    /// Carries out a change that `$config` tells of.
    pub fn apply(&mut self, change: ConfigChange) {
        *self.versions.entry(change.definition().name.clone()).or_default() += 1;
        match change {
            ConfigChange::Created(def) | ConfigChange::Altered(def) => {
                self.next_id = self.next_id.max(def.id.0 + 1);
                let def = Arc::new(def);
                self.by_name.insert(def.name.clone(), def.clone());
                self.by_id.insert(def.id, def);
            }
            ConfigChange::Dropped(def) => {
                // Even if nothing else tells of it any more, its number is never given out again.
                self.next_id = self.next_id.max(def.id.0 + 1);
                self.by_name.remove(&def.name);
                self.by_id.remove(&def.id);
            }
        }
    }

    /// Carries out the changes that a block of `$config` tells of from offset `from` on; returns whether there were any.
    ///
    /// # Errors
    /// [`Error::InvalidStream`] for a change that a later version has written; [`Error::Wire`] when the block does not read.
    pub fn fold(&mut self, block: &Block, from: Offset) -> Result<bool> {
        let mut changed = false;
        for record in block.records()?.iter()? {
            let record = record?;
            if record.offset < from {
                continue;
            }
            let event = record.event;
            match ConfigChange::from_event(event.ty, event.data.bytes()) {
                Ok(Some(change)) => {
                    self.apply(change);
                    changed = true;
                }
                Ok(None) => {}
                Err(error) => {
                    protected(format!(
                        "event `{}` was written by a later version, use that version: {error}",
                        event.id
                    ))?;
                }
            }
        }
        Ok(changed)
    }

    /// The change that is asked for, if it is allowed.
    ///
    /// # Errors
    /// As [`Streams::create`], [`Streams::alter`] and [`Streams::drop_stream`].
    pub fn change(&self, wanted: &Definition) -> Result<ConfigChange> {
        match wanted {
            Definition::Create(new) => self.create(new.clone()),
            Definition::Alter(changed) => self.alter(changed.clone()),
            Definition::Drop(name) => self.drop_stream(name),
        }
    }

    /// The change that creates `new`.
    ///
    /// # Errors
    /// [`Error::StreamExists`], [`Error::InvalidStream`] also for a stream that shows a topic of Kafka.
    pub fn create(&self, new: NewStream) -> Result<ConfigChange> {
        if new.options.topic.is_some() {
            let reason = "only a log on Kafka can show a topic: leave the option `topic` out".to_owned();
            return Err(Error::InvalidStream { name: new.name, reason });
        }
        self.attach(new)
    }

    /// The change that creates `new`, which may show a topic of Kafka: for the engine that can.
    ///
    /// # Errors
    /// [`Error::StreamExists`], [`Error::InvalidStream`].
    pub fn attach(&self, new: NewStream) -> Result<ConfigChange> {
        if self.by_name.contains_key(&new.name) {
            return Err(Error::StreamExists(new.name));
        }
        check(&new)?;
        let NewStream { name, kind, partitions, schema, options } = new;
        let id = StreamId(self.next_id);
        Ok(ConfigChange::Created(StreamDef { id, name, kind, partitions, schema, options }))
    }

    /// The change that gives a stream the schema and the options of `changed`.
    ///
    /// # Errors
    /// [`Error::NoStream`], [`Error::InvalidStream`] also when kind or partitions differ, and for the platform's own
    /// streams, whose names start with `$`: the platform needs all that they hold. Only the default options can be given
    /// back to them.
    pub fn alter(&self, changed: NewStream) -> Result<ConfigChange> {
        let def = self.get(changed.name.as_str())?;
        let mode = if is_of_all_regions(&def.name) { def.options.mode } else { StreamMode::Local };
        let defaults = StreamOptions { mode, ..StreamOptions::default() };
        let way_back = changed.schema == def.schema && changed.options == defaults;
        if def.name.is_system() && !way_back {
            let reason =
                "it is the platform's own, and cannot be altered but to the default options".to_owned();
            return Err(Error::InvalidStream { name: changed.name, reason });
        }
        if (changed.kind, changed.partitions) != (def.kind, def.partitions) {
            let reason = "its kind and its number of partitions cannot be changed".to_owned();
            return Err(Error::InvalidStream { name: changed.name, reason });
        }
        if changed.options.topic != def.options.topic {
            let reason = "the topic that it shows cannot be changed: drop it, and create it anew".to_owned();
            return Err(Error::InvalidStream { name: changed.name, reason });
        }
        if changed.options.home != def.options.home {
            let reason =
                "whether it has a home and where it was first cannot be changed: move the home, or create another stream"
                    .to_owned();
            return Err(Error::InvalidStream { name: changed.name, reason });
        }
        check(&changed)?;
        let NewStream { schema, options, .. } = changed;
        Ok(ConfigChange::Altered(StreamDef { schema, options, ..StreamDef::clone(def) }))
    }

    /// The change that drops a stream.
    ///
    /// # Errors
    /// [`Error::NoStream`]; [`Error::InvalidStream`] for `$config`.
    pub fn drop_stream(&self, name: &StreamName) -> Result<ConfigChange> {
        let def = self.get(name.as_str())?;
        if def.id == CONFIG_STREAM {
            let reason = "it holds all definitions and cannot be dropped".to_owned();
            return Err(Error::InvalidStream { name: name.clone(), reason });
        }
        Ok(ConfigChange::Dropped(StreamDef::clone(def)))
    }

    /// The number that the next new stream gets; all lower ones were given out.
    pub fn next_id(&self) -> StreamId {
        StreamId(self.next_id)
    }

    /// The version in its subject's history that the event of the next change of `name` gets.
    pub fn next_version(&self, name: &StreamName) -> Version {
        Version(self.versions.get(name).copied().unwrap_or_default()).next()
    }

    /// The stream called `name`.
    ///
    /// # Errors
    /// [`Error::NoStream`].
    pub fn get(&self, name: &str) -> Result<&Arc<StreamDef>> {
        self.by_name.get(name).ok_or_else(|| Error::NoStream(name.to_owned()))
    }

    /// The stream of this number.
    ///
    /// # Errors
    /// [`Error::NoStreamId`].
    pub fn by_id(&self, id: StreamId) -> Result<&Arc<StreamDef>> {
        self.by_id.get(&id).ok_or(Error::NoStreamId(id))
    }

    /// The stream of a partition that exists.
    ///
    /// # Errors
    /// [`Error::NoStreamId`], [`Error::NoPartition`].
    pub fn of_partition(&self, at: StreamPartition) -> Result<&Arc<StreamDef>> {
        let def = self.by_id(at.stream)?;
        if at.partition.0 >= def.partitions {
            return Err(Error::NoPartition { at, partitions: def.partitions });
        }
        Ok(def)
    }

    /// All streams in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<StreamDef>> {
        self.by_name.values()
    }
}

/// Refuses events that define streams when they come as a plain append to `$config`: only an engine writes those.
///
/// # Errors
/// [`Error::InvalidStream`] for such an event; [`Error::Wire`] when the batch does not read.
pub fn check_append(at: StreamPartition, batch: &Batch) -> Result<()> {
    if at.stream != CONFIG_STREAM {
        return Ok(());
    }
    for record in batch.records()?.iter()? {
        let event = record?.event;
        if !matches!(ConfigChange::from_event(event.ty, event.data.bytes()), Ok(None)) {
            return protected(format!(
                "event `{}` defines a stream: create, alter or drop the stream instead",
                event.id
            ));
        }
    }
    Ok(())
}

/// Refuses a trim of `$config`.
///
/// # Errors
/// [`Error::InvalidStream`].
pub fn check_trim(at: StreamPartition) -> Result<()> {
    if at.stream == CONFIG_STREAM {
        return protected("it holds all definitions and cannot be trimmed".to_owned());
    }
    Ok(())
}

/// Something that `$config` does not allow.
fn protected(reason: String) -> Result<()> {
    StreamName::new("$config").map_or(Ok(()), |name| Err(Error::InvalidStream { name, reason }))
}

fn check(new: &NewStream) -> Result<()> {
    let invalid = |reason: String| Err(Error::InvalidStream { name: new.name.clone(), reason });
    if !(1..=StreamDef::PARTITIONS_MAX).contains(&new.partitions) {
        return invalid(format!(
            "it has {} partitions, outside 1 to {}",
            new.partitions,
            StreamDef::PARTITIONS_MAX
        ));
    }
    if let Some(schema) = &new.schema {
        for (index, column) in schema.columns.iter().enumerate() {
            if schema.columns.iter().take(index).any(|other| other.name == column.name) {
                return invalid(format!("column `{}` is declared twice", column.name));
            }
        }
        let is_known = |key: &String| {
            schema.column(key).is_some() || (schema.merges() && key == tw_types::Schema::SUBJECT)
        };
        if let Some(key) = schema.key.iter().find(|key| !is_known(key)) {
            return invalid(format!("key column `{key}` is not declared"));
        }
    }
    new.options.check().map_err(|invalid| Error::from((new.name.clone(), invalid)))?;
    match not_mergeable(new) {
        Some(reason) => invalid(reason.to_owned()),
        None => Ok(()),
    }
}

/// The streams in which regions tell each other what is defined, who takes writes, who serves which users, and who is not waited for.
const OF_ALL_REGIONS: [&str; 5] = ["$definitions", "$homes", "$at_risk", "$routing", "$evictions"];
/// How the names of those begin in which each region tells what it had seen; its number follows.
const SEEN_BY: &str = "$seen.";

fn is_of_all_regions(name: &StreamName) -> bool {
    let is_of_each = [SEEN_BY, StreamName::OF_CLAIMS].iter().any(|start| name.as_str().starts_with(start));
    is_of_each || OF_ALL_REGIONS.contains(&name.as_str())
}

/// Why a stream cannot be in several regions, if it is to be and cannot.
fn not_mergeable(new: &NewStream) -> Option<&'static str> {
    if new.options.mode == StreamMode::Local {
        return None;
    }
    if new.name.is_system() && !is_of_all_regions(&new.name) {
        return Some("the platform's own streams are of one region: leave its mode `local`");
    }
    if new.kind == StreamKind::Table && new.options.mode == StreamMode::ActiveActive {
        return Some(
            "the changes of a captured table belong to one database: use the mode `local` or `home-region`",
        );
    }
    if new.options.topic.is_some() {
        return Some("it shows a topic that others write: leave its mode `local`");
    }
    (new.options.cleanup == Cleanup::Compact)
        .then_some("the latest event of a subject is another one in each region: use the cleanup `delete`, or the mode `local`")
}
