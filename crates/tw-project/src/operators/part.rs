//! What one partition has of a grouping, wherever it is kept.

use crate::state::layout::{self, Kind, PREFIX_BYTES};
use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use tw_state::{Entry, Keyspace, Range, Snapshot};
use tw_types::PartitionId;

/// What one partition has of a grouping at one moment.
pub(crate) trait Part: Sync {
    /// The groups whose keys start with `start`, in the order of their keys.
    fn groups(&self, start: &[u8]) -> Entries<'_>;

    /// The group of exactly this key.
    fn group(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// The entries of one aggregate of a group that was read, in the order of their keys. `owner` are the group's key and the aggregate.
    fn entries(&self, owner: &[u8]) -> Entries<'_>;

    /// The entries of the groups that were read, the last one excepted, are not asked for any more.
    fn forget(&self) {}
}

/// Sorted entries.
pub(crate) enum Entries<'a> {
    /// Of the store, with so many bytes before what is their key here.
    Stored(Box<dyn Iterator<Item = tw_state::Result<Entry>> + Send + 'a>, usize),
    /// Of another node.
    Fetched(Box<dyn Iterator<Item = Result<Entry>> + Send + 'a>),
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        match self {
            Self::Stored(entries, skip) => Some(match entries.next()? {
                Ok((key, value)) => Ok((key.slice((*skip).min(key.len())..), value)),
                Err(error) => Err(state(error)),
            }),
            Self::Fetched(entries) => entries.next(),
        }
    }
}

/// An error of the store as one of a query.
pub(crate) fn state(error: tw_state::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// A partition that is kept in the store.
pub(crate) struct StoredPart<'a> {
    pub(crate) snapshot: &'a dyn Snapshot,
    pub(crate) keyspace: Keyspace,
    pub(crate) partition: PartitionId,
    pub(crate) era: u32,
}

impl StoredPart<'_> {
    fn key(&self, kind: Kind, rest: &[u8]) -> Vec<u8> {
        layout::key(&layout::prefix(kind, self.partition, self.era), rest)
    }

    /// The groups whose keys start with `start` and come after `after`.
    pub(crate) fn groups_after(&self, start: &[u8], after: Option<&[u8]>) -> Entries<'_> {
        self.range(Kind::Group, start, after)
    }

    /// The entries of an owner whose keys come after `after`.
    pub(crate) fn entries_after(&self, owner: &[u8], after: Option<&[u8]>) -> Entries<'_> {
        let range = self.range(Kind::Entry, owner, after.map(|after| [owner, after].concat()).as_deref());
        match range {
            Entries::Stored(entries, skip) => Entries::Stored(entries, skip + owner.len()),
            fetched => fetched,
        }
    }

    /// What starts with `start` and comes after `after`, both without the prefix of a kind.
    fn range(&self, kind: Kind, start: &[u8], after: Option<&[u8]>) -> Entries<'_> {
        let mut range = Range::prefix(&self.key(kind, start));
        if let Some(after) = after {
            range = range.after(&self.key(kind, after));
        }
        Entries::Stored(self.snapshot.range(self.keyspace, range), PREFIX_BYTES)
    }
}

impl Part for StoredPart<'_> {
    fn groups(&self, start: &[u8]) -> Entries<'_> {
        self.groups_after(start, None)
    }

    fn group(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.snapshot.get(self.keyspace, &self.key(Kind::Group, key)).map_err(state)
    }

    fn entries(&self, owner: &[u8]) -> Entries<'_> {
        self.entries_after(owner, None)
    }
}
