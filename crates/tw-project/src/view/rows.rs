//! The rows of one partition that a view keeps: a cache of what the store has, with the changes since the last flush.
//!
//! ```text
//! key   = 01 subject | 02 hlc region epoch sequence     after the prefix of `state::layout`; 8, 2, 4 and 8 bytes, big-endian
//! value = count hlc region epoch sequence row           LEB128 numbers, then `state::value`
//! ```
//!
//! The layout is version 2. In version 1 offsets stood for hlc, region, epoch and sequence.
//!
//! A row of a table with a key is there once. Of a table without one, equal rows have the same subject, and are counted. Behind a row that is
//! merged stands what is kept to take in changes that come late; such a row may be there 0 times.

use crate::operators::aggregator::{PLACE_BYTES, RowPlace};
use crate::operators::groups::Error;
use crate::rows::slot::Slot;
use crate::state::Malformed;
use crate::state::layout::{self, Kind, PREFIX_BYTES};
use crate::state::value::{put_row, take_row};
use crate::state::varint;
use hashbrown::HashMap;
use tw_state::{Batch, Keyspace, Store};
use tw_types::{Epoch, Hlc, Origin, PartitionId, RegionId, Sequence};

/// About how much a row takes beside its key and its value.
const ROW_BYTES: usize = 80;

/// What identifies a row in its partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RowKey(Box<[u8]>);

impl RowKey {
    /// A row of a subject.
    pub(crate) fn subject(subject: &str) -> Self {
        let mut key = Vec::with_capacity(subject.len() + 1);
        key.push(1);
        key.extend_from_slice(subject.as_bytes());
        Self(key.into())
    }

    /// A row that is an event: one of a stream that is no table, or one without a subject.
    pub(crate) fn event(place: RowPlace) -> Self {
        let mut key = Vec::with_capacity(1 + PLACE_BYTES);
        key.push(2);
        place.put(&mut key);
        Self(key.into())
    }

    /// The key, after the prefix.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A row as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StoredRow(Vec<u8>);

/// A row as it is read.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// How often it is there.
    pub(crate) count: u64,
    pub(crate) place: RowPlace,
    pub(crate) slots: Vec<Slot<'a>>,
    /// What is kept behind it; nothing but of rows that are merged.
    pub(crate) rest: &'a [u8],
}

impl StoredRow {
    /// The stored form.
    pub(crate) fn new(count: u64, place: RowPlace, slots: &[Slot<'_>]) -> Self {
        let mut out = Vec::with_capacity(16 + slots.len() * 8);
        varint::put(&mut out, count);
        varint::put(&mut out, place.hlc.as_u64());
        varint::put(&mut out, place.origin.region.0.into());
        varint::put(&mut out, place.origin.epoch.0.into());
        varint::put(&mut out, place.origin.sequence.0);
        put_row(slots, &mut out);
        Self(out)
    }

    /// The same with something kept behind it.
    pub(crate) fn with_rest(count: u64, place: RowPlace, slots: &[Slot<'_>], rest: &[u8]) -> Self {
        let mut row = Self::new(count, place, slots);
        row.0.extend_from_slice(rest);
        row
    }

    /// Reads it.
    pub(crate) fn read(&self) -> Result<Row<'_>, Malformed> {
        read_row(&self.0)
    }
}

/// Reads the stored form of a row.
pub(crate) fn read_row(mut stored: &[u8]) -> Result<Row<'_>, Malformed> {
    let input = &mut stored;
    let count = varint::take(input)?;
    let hlc = Hlc::from_u64(varint::take(input)?);
    let damaged = |_| Malformed("the origin of a row is out of range");
    let origin = Origin {
        region: RegionId(varint::take(input)?.try_into().map_err(damaged)?),
        epoch: Epoch(varint::take(input)?.try_into().map_err(damaged)?),
        sequence: Sequence(varint::take(input)?),
    };
    let place = RowPlace { hlc, origin };
    let mut slots = Vec::new();
    take_row(input, &mut slots)?;
    Ok(Row { count, place, slots, rest: input })
}

#[derive(Debug)]
struct Cached {
    /// None: there is no such row.
    row: Option<StoredRow>,
    changed: bool,
}

/// See the module's text.
pub(crate) struct RowCache {
    partition: PartitionId,
    keyspace: Keyspace,
    era: u32,
    rows: HashMap<RowKey, Cached>,
    bytes: usize,
    changed_bytes: usize,
    /// Whether the store had no row when this was opened, so that what is not here does not exist.
    complete: bool,
}

/// Changes that are not made yet: of one call, which may still fail.
pub(crate) type Staged = HashMap<RowKey, Option<StoredRow>>;

impl RowCache {
    pub(crate) fn open(
        partition: PartitionId,
        keyspace: Keyspace,
        era: u32,
        store: &dyn Store,
    ) -> Result<Self, Error> {
        let prefix = layout::prefix(Kind::Row, partition, era);
        let snapshot = store.snapshot();
        let first = snapshot.range(keyspace, tw_state::Range::prefix(&prefix)).next().transpose()?;
        let complete = first.is_none();
        Ok(Self { partition, keyspace, era, rows: HashMap::new(), bytes: 0, changed_bytes: 0, complete })
    }

    fn prefix(&self) -> [u8; PREFIX_BYTES] {
        layout::prefix(Kind::Row, self.partition, self.era)
    }

    /// The row of a key, read from the store if need be.
    pub(crate) fn get(&mut self, key: &RowKey, store: &dyn Store) -> Result<Option<&StoredRow>, Error> {
        if !self.rows.contains_key(key) {
            let row = if self.complete {
                None
            } else {
                store
                    .get(self.keyspace, &layout::key(&self.prefix(), key.bytes()))?
                    .map(|stored| StoredRow(stored.to_vec()))
            };
            self.bytes += size(key, row.as_ref());
            self.rows.insert(key.clone(), Cached { row, changed: false });
        }
        Ok(self.rows.get(key).and_then(|cached| cached.row.as_ref()))
    }

    /// Makes changes.
    pub(crate) fn put_all(&mut self, staged: Staged) {
        for (key, row) in staged {
            let new = size(&key, row.as_ref());
            self.bytes += new;
            self.changed_bytes += new;
            let cached = Cached { row, changed: true };
            if let Some(old) = self.rows.insert(key.clone(), cached) {
                self.bytes -= size(&key, old.row.as_ref());
            }
        }
    }

    /// About how many bytes will be written by the next flush.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.changed_bytes
    }

    /// Adds the rows that have changed to `batch`, and forgets all if more than `cache_bytes_max` are in use.
    pub(crate) fn flush(&mut self, batch: &mut Batch, cache_bytes_max: usize) {
        if self.changed_bytes > 0 {
            let prefix = self.prefix();
            for (key, cached) in &mut self.rows {
                if !std::mem::take(&mut cached.changed) {
                    continue;
                }
                let stored_key = layout::key(&prefix, key.bytes());
                match &cached.row {
                    Some(row) => batch.put(self.keyspace, stored_key, row.0.clone()),
                    None => batch.remove(self.keyspace, stored_key),
                }
            }
            self.changed_bytes = 0;
        }
        if self.bytes > cache_bytes_max {
            self.rows = HashMap::new();
            (self.bytes, self.complete) = (0, false);
        }
    }

    /// Starts an empty era.
    pub(crate) fn start_era(&mut self, era: u32) {
        self.rows.clear();
        (self.era, self.bytes, self.changed_bytes, self.complete) = (era, 0, 0, true);
    }
}

fn size(key: &RowKey, row: Option<&StoredRow>) -> usize {
    ROW_BYTES + key.0.len() + row.map_or(0, |row| row.0.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_version_2() {
        let origin = Origin { region: RegionId(2), epoch: Epoch(1), sequence: Sequence(5) };
        let place = RowPlace { hlc: Hlc::from_u64(300), origin };
        let stored = StoredRow::new(1, place, &[Slot::Int(7)]);
        assert_eq!(stored.0, [1, 0xac, 2, 2, 1, 5, 1, 1, 3, 14]);
        let row = stored.read().unwrap();
        assert_eq!((row.count, row.place, row.slots, row.rest), (1, place, vec![Slot::Int(7)], &[][..]));
        assert_eq!(StoredRow::with_rest(0, place, &[], &[9]).read().unwrap().rest, [9]);
        assert_eq!(RowKey::subject("a").bytes(), [1, b'a']);
        let event = [2, 0, 0, 0, 0, 0, 0, 1, 44, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5];
        assert_eq!(RowKey::event(place).bytes(), event);
        assert!(read_row(&[1, 0xac, 2, 0xff, 0xff, 4, 1, 5]).is_err());
    }
}
