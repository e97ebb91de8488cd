//! What the store knows of views: their generations, and those that are not used any more.
//!
//! ```text
//! 0            the number of the next generation
//! 1 name       a view: its generations
//! 2 number     a generation that is not used any more, but whose keyspace is still there
//! ```

use super::Assigned;
use crate::parked::Retired;
use crate::{Error, View};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use tw_state::{Batch, Keyspace, Range, Store};
use tw_types::{Offset, PartitionId, StreamDef, StreamId, StreamName, StreamPartition};

/// The keyspace of this module.
const KEYSPACE: &str = "views";
/// What the keyspaces of generations are called, before their number.
const PREFIX: &str = "view.";

const NEXT: u8 = 0;
const VIEW: u8 = 1;
const RETIRED: u8 = 2;

/// A generation, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GenerationRecord {
    /// Unique in the store.
    pub(super) number: u64,
    /// The definition that it was built with.
    pub(super) definition: u64,
    pub(super) stream_id: StreamId,
    pub(super) stream: StreamName,
    pub(super) partitions: u32,
    /// The ends of the partitions that it must have reached before it is read: it took the place of a complete one that could
    /// not go on. Empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) readable_from: Vec<Offset>,
    /// Where the episodes of parked events started when the view was added, which tells it from an earlier and a later view
    /// of its name; None when that could not be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) life: Option<u32>,
}

impl GenerationRecord {
    pub(super) fn keyspace(&self) -> String {
        format!("{PREFIX}{}", self.number)
    }

    /// Whether a view can go on with what this generation holds.
    pub(super) fn fits(&self, view: &dyn View) -> bool {
        self.definition == view.definition() && self.stream_id == view.stream()
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = StreamPartition> + use<> {
        let stream = self.stream_id;
        (0..self.partitions).map(move |partition| StreamPartition::new(stream, PartitionId(partition)))
    }
}

/// A view, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ViewRecord {
    /// The generation that is read.
    pub(super) active: GenerationRecord,
    /// The one that is to take over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) building: Option<GenerationRecord>,
}

impl ViewRecord {
    pub(super) fn new(active: GenerationRecord) -> Self {
        Self { active, building: None }
    }

    pub(super) fn into_generations(self) -> impl Iterator<Item = GenerationRecord> {
        std::iter::once(self.active).chain(self.building)
    }
}

/// A generation that is not used any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RetiredRecord {
    pub(super) view: String,
    pub(super) number: u64,
    pub(super) generation: GenerationRecord,
    /// The generation that took over, if the view is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) heir: Option<u64>,
    /// The partitions that were assigned to this node then; None: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) assigned: Option<BTreeSet<PartitionId>>,
    /// Whether it was the one that is read.
    #[serde(default)]
    pub(super) was_read: bool,
}

impl RetiredRecord {
    /// The partitions about which this node has to say that they are not parked any more.
    fn partitions(&self) -> impl Iterator<Item = StreamPartition> {
        let is_assigned = |at: &StreamPartition| {
            self.assigned.as_ref().is_none_or(|assigned| assigned.contains(&at.partition))
        };
        self.generation.partitions().filter(is_assigned)
    }
}

/// See the module's text.
pub(super) struct Meta {
    store: Arc<dyn Store>,
    keyspace: Keyspace,
}

fn key(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind], rest].concat()
}

fn write(record: &impl Serialize) -> Vec<u8> {
    // Texts and numbers always have a JSON form.
    serde_json::to_vec(record).unwrap_or_default()
}

impl Meta {
    /// Opens what is stored, and drops the keyspaces of generations that nobody knows: a crash came between.
    pub(super) fn open(store: Arc<dyn Store>) -> Result<Self, Error> {
        let keyspace = store.keyspace(KEYSPACE)?;
        let meta = Self { store, keyspace };
        let mut known: BTreeSet<String> =
            meta.retired()?.into_iter().map(|retired| retired.generation.keyspace()).collect();
        for name in meta.names()? {
            if let Some(ViewRecord { active, building }) = meta.view(&name)? {
                known.extend([Some(active), building].into_iter().flatten().map(|record| record.keyspace()));
            }
        }
        for name in meta.store.keyspaces()? {
            if name.starts_with(PREFIX) && !known.contains(&name) {
                meta.store.drop_keyspace(&name)?;
            }
        }
        Ok(meta)
    }

    /// A new generation of a view, with an empty keyspace.
    pub(super) fn allocate(
        &self,
        view: &dyn View,
        stream: &StreamDef,
        life: Option<u32>,
    ) -> Result<GenerationRecord, Error> {
        let next = self.store.get(self.keyspace, &[NEXT])?;
        let number = next.and_then(|bytes| bytes.last_chunk().copied()).map_or(1, u64::from_be_bytes);
        let mut batch = Batch::new();
        batch.put(self.keyspace, vec![NEXT], (number + 1).to_be_bytes().to_vec());
        self.store.commit(batch)?;
        Ok(GenerationRecord {
            number,
            definition: view.definition(),
            stream_id: stream.id,
            stream: stream.name.clone(),
            partitions: stream.partitions,
            readable_from: Vec::new(),
            life,
        })
    }

    pub(super) fn view(&self, name: &str) -> Result<Option<ViewRecord>, Error> {
        let Some(bytes) = self.store.get(self.keyspace, &key(VIEW, name.as_bytes()))? else {
            return Ok(None);
        };
        let record = serde_json::from_slice(&bytes).map_err(|_| Error::LaterVersion(name.to_owned()))?;
        Ok(Some(record))
    }

    pub(super) fn names(&self) -> Result<Vec<String>, Error> {
        let snapshot = self.store.snapshot();
        let entries = snapshot.range(self.keyspace, Range::prefix(&[VIEW]));
        entries
            .map(|entry| {
                let (key, _) = entry?;
                Ok(String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned())
            })
            .collect()
    }

    /// The generations that are not used any more, in the order of their numbers.
    pub(super) fn retired(&self) -> Result<Vec<RetiredRecord>, Error> {
        let snapshot = self.store.snapshot();
        let entries = snapshot.range(self.keyspace, Range::prefix(&[RETIRED]));
        entries
            .map(|entry| {
                let (_, value) = entry?;
                serde_json::from_slice(&value).map_err(|_| Error::LaterVersion(KEYSPACE.to_owned()))
            })
            .collect()
    }

    /// Stores a view, and that some of its generations are not used any more.
    pub(super) fn put_view(
        &self,
        name: &str,
        record: &ViewRecord,
        retired: &[GenerationRecord],
        assigned: &Assigned,
    ) -> Result<Vec<RetiredRecord>, Error> {
        let mut batch = Batch::new();
        batch.put(self.keyspace, key(VIEW, name.as_bytes()), write(record));
        self.retire(batch, name, retired, Some(record.active.number), assigned)
    }

    /// Forgets a view, all of whose generations are `retired`.
    pub(super) fn remove_view(
        &self,
        name: &str,
        retired: &[GenerationRecord],
    ) -> Result<Vec<RetiredRecord>, Error> {
        let mut batch = Batch::new();
        batch.remove(self.keyspace, key(VIEW, name.as_bytes()));
        self.retire(batch, name, retired, None, &Assigned::All)
    }

    fn retire(
        &self,
        mut batch: Batch,
        view: &str,
        retired: &[GenerationRecord],
        heir: Option<u64>,
        assigned: &Assigned,
    ) -> Result<Vec<RetiredRecord>, Error> {
        let assigned = |generation: &GenerationRecord| match assigned {
            Assigned::All => None,
            Assigned::Only(_) => Some(
                generation.partitions().filter(|at| assigned.holds(*at)).map(|at| at.partition).collect(),
            ),
        };
        let read = self.view(view)?.map(|before| before.active.number);
        let row = |generation: &GenerationRecord| RetiredRecord {
            view: view.to_owned(),
            number: generation.number,
            generation: generation.clone(),
            heir,
            assigned: assigned(generation),
            was_read: read == Some(generation.number),
        };
        let rows: Vec<_> = retired.iter().map(row).collect();
        for row in &rows {
            batch.put(self.keyspace, key(RETIRED, &row.number.to_be_bytes()), write(row));
        }
        self.store.commit(batch)?;
        Ok(rows)
    }

    /// Forgets a generation that is not used any more: its keyspace first, so that a crash forgets nothing else.
    pub(super) fn forget(&self, number: u64) -> Result<(), Error> {
        self.store.drop_keyspace(&format!("{PREFIX}{number}"))?;
        let mut batch = Batch::new();
        batch.remove(self.keyspace, key(RETIRED, &number.to_be_bytes()));
        self.store.commit(batch)?;
        Ok(())
    }

    /// What the parked service needs to know of a generation that is not used any more.
    pub(super) fn retired_of(&self, row: &RetiredRecord) -> Result<Retired, Error> {
        let heir = row.heir.map(|number| self.store.keyspace(&format!("{PREFIX}{number}"))).transpose()?;
        Ok(Retired {
            view: row.view.clone(),
            stream: row.generation.stream.clone(),
            at: row.partitions().collect(),
            keyspace: self.store.keyspace(&row.generation.keyspace())?,
            number: row.number,
            life: row.generation.life,
            was_read: row.was_read,
            heir,
        })
    }
}
