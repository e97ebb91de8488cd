//! The reference model: a store in memory.
//!
//! Nothing outlives it. Cores' tests and simulations use it, and the conformance suite compares the engine with it.

use crate::store::{check_entry, check_name};
use crate::{Batch, Change, Entry, Error, Keyspace, Range, Result, Snapshot, Store};
use bytes::Bytes;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A store in memory. See the module's text.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: RwLock<State>,
}

/// Maps are shared with snapshots and copied when they change while one is held.
type Maps = BTreeMap<Keyspace, Arc<BTreeMap<Bytes, Bytes>>>;

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<String, Keyspace>,
    maps: Maps,
    next: u32,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    fn keyspace(&self, name: &str) -> Result<Keyspace> {
        check_name(name)?;
        let mut state = self.state.write();
        if let Some(keyspace) = state.names.get(name) {
            return Ok(*keyspace);
        }
        let keyspace = Keyspace(state.next);
        state.next += 1;
        state.names.insert(name.to_owned(), keyspace);
        state.maps.insert(keyspace, Arc::default());
        Ok(keyspace)
    }

    fn keyspaces(&self) -> Result<Vec<String>> {
        Ok(self.state.read().names.keys().cloned().collect())
    }

    fn drop_keyspace(&self, name: &str) -> Result<()> {
        let mut state = self.state.write();
        if let Some(keyspace) = state.names.remove(name) {
            state.maps.remove(&keyspace);
        }
        Ok(())
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        let mut state = self.state.write();
        for (keyspace, key, change) in &batch.changes {
            if !state.maps.contains_key(keyspace) {
                return Err(Error::NoKeyspace);
            }
            check_entry(key, if let Change::Put(value) = change { value } else { &[] })?;
        }
        for (keyspace, key, change) in batch.changes {
            let Some(map) = state.maps.get_mut(&keyspace).map(Arc::make_mut) else { continue };
            match change {
                Change::Put(value) => map.insert(key, value),
                Change::Remove => map.remove(&key),
            };
        }
        Ok(())
    }

    fn ingest(&self, keyspace: Keyspace, entries: &mut dyn Iterator<Item = Entry>) -> Result<()> {
        let mut added: Vec<Entry> = Vec::new();
        for (key, value) in entries {
            check_entry(&key, &value)?;
            if added.last().is_some_and(|(last, _)| *last >= key) {
                return Err(Error::OutOfOrder);
            }
            added.push((key, value));
        }
        let mut state = self.state.write();
        let map = state.maps.get_mut(&keyspace).ok_or(Error::NoKeyspace)?;
        Arc::make_mut(map).extend(added);
        Ok(())
    }

    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>> {
        get(&self.state.read().maps, keyspace, key)
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        Box::new(MemorySnapshot { maps: self.state.read().maps.clone() })
    }

    fn disk_bytes(&self, _keyspace: Keyspace) -> u64 {
        0
    }
}

struct MemorySnapshot {
    maps: Maps,
}

impl MemorySnapshot {
    fn entries(
        &self,
        keyspace: Keyspace,
        range: Range,
    ) -> Result<Option<std::collections::btree_map::Range<'_, Bytes, Bytes>>> {
        let map = self.maps.get(&keyspace).ok_or(Error::NoKeyspace)?;
        Ok((!range.is_empty()).then(|| map.range((range.start, range.end))))
    }
}

impl Snapshot for MemorySnapshot {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>> {
        get(&self.maps, keyspace, key)
    }

    fn range(&self, keyspace: Keyspace, range: Range) -> Box<dyn Iterator<Item = Result<Entry>> + Send + '_> {
        match self.entries(keyspace, range) {
            Ok(entries) => Box::new(entries.into_iter().flatten().map(cloned)),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    fn range_rev(
        &self,
        keyspace: Keyspace,
        range: Range,
    ) -> Box<dyn Iterator<Item = Result<Entry>> + Send + '_> {
        match self.entries(keyspace, range) {
            Ok(entries) => Box::new(entries.into_iter().flat_map(Iterator::rev).map(cloned)),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
}

fn get(maps: &Maps, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>> {
    Ok(maps.get(&keyspace).ok_or(Error::NoKeyspace)?.get(key).cloned())
}

fn cloned((key, value): (&Bytes, &Bytes)) -> Result<Entry> {
    Ok((key.clone(), value.clone()))
}
