//! A view of one moment.

use super::Keyspaces;
use crate::store::RESERVED;
use crate::{Entry, Error, Keyspace, Range, Result, Snapshot};
use bytes::Bytes;
use fjall::Readable;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) struct DiskSnapshot {
    folder: PathBuf,
    keyspaces: Arc<Keyspaces>,
    view: fjall::Snapshot,
}

impl DiskSnapshot {
    pub(super) fn new(folder: PathBuf, keyspaces: Arc<Keyspaces>, view: fjall::Snapshot) -> Self {
        Self { folder, keyspaces, view }
    }

    fn engine(&self, source: fjall::Error) -> Error {
        Error::Engine { folder: self.folder.clone(), source: Box::new(source) }
    }

    /// The entries of a range that can hold any; the engine's own keys at the end are left out by bounding it.
    fn entries(&self, keyspace: Keyspace, range: Range) -> Result<Option<fjall::Iter>> {
        let tree = self.keyspaces.tree(keyspace)?;
        let end = match range.end {
            Bound::Included(end) | Bound::Excluded(end) if *end >= RESERVED[..] => None,
            Bound::Unbounded => None,
            end => Some(end),
        };
        let end = end.unwrap_or(Bound::Excluded(Bytes::from_static(&RESERVED)));
        let range = Range { start: range.start, end };
        Ok((!range.is_empty()).then(|| self.view.range(tree, (range.start, range.end))))
    }

    fn entry(&self, guard: fjall::Guard) -> Result<Entry> {
        let (key, value) = guard.into_inner().map_err(|error| self.engine(error))?;
        Ok((Bytes::from(key), Bytes::from(value)))
    }
}

impl Snapshot for DiskSnapshot {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.view.get(self.keyspaces.tree(keyspace)?, key).map_err(|error| self.engine(error))?;
        Ok(value.map(Bytes::from))
    }

    fn range(&self, keyspace: Keyspace, range: Range) -> Box<dyn Iterator<Item = Result<Entry>> + Send + '_> {
        match self.entries(keyspace, range) {
            Ok(entries) => Box::new(entries.into_iter().flatten().map(|guard| self.entry(guard))),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    fn range_rev(
        &self,
        keyspace: Keyspace,
        range: Range,
    ) -> Box<dyn Iterator<Item = Result<Entry>> + Send + '_> {
        match self.entries(keyspace, range) {
            Ok(entries) => {
                Box::new(entries.into_iter().flat_map(Iterator::rev).map(|guard| self.entry(guard)))
            }
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
}
