//! The trait that engines implement, and the values that cross it.

use crate::Result;
use bytes::Bytes;
use std::ops::Bound;

/// A key and its value.
pub type Entry = (Bytes, Bytes);

/// A range of keys; both ends can be inclusive, exclusive or open.
#[derive(Debug, Clone)]
pub struct Range {
    /// Where it starts.
    pub start: Bound<Bytes>,
    /// Where it ends.
    pub end: Bound<Bytes>,
}

impl Range {
    /// Every key.
    pub fn all() -> Self {
        Self { start: Bound::Unbounded, end: Bound::Unbounded }
    }

    /// Every key that starts with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        let start = Bound::Included(Bytes::copy_from_slice(prefix));
        // The first key after all keys with this prefix: its last byte that can be raised, raised.
        let last = prefix.iter().rposition(|byte| *byte != u8::MAX);
        let end = last.and_then(|last| prefix.get(..=last)).map_or(Bound::Unbounded, |head| {
            let mut head = head.to_vec();
            if let Some(byte) = head.last_mut() {
                *byte += 1;
            }
            Bound::Excluded(Bytes::from(head))
        });
        Self { start, end }
    }

    /// The same range without the keys up to and including `key`.
    pub fn after(mut self, key: &[u8]) -> Self {
        self.start = Bound::Excluded(Bytes::copy_from_slice(key));
        self
    }
}

/// A named set of keys of a [`Store`]. Cheap to copy; meaningless in another store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Keyspace(pub u32);

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The key has this value from now on.
    Put(Bytes),
    /// The key has no value from now on.
    Remove,
}

/// Changes that become visible together. The last change of a key counts.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The changes in the order in which they were made.
    pub changes: Vec<(Keyspace, Bytes, Change)>,
}

impl Batch {
    /// No changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives `key` a value.
    pub fn put(&mut self, keyspace: Keyspace, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changes.push((keyspace, key.into(), Change::Put(value.into())));
    }

    /// Takes the value of `key` away.
    pub fn remove(&mut self, keyspace: Keyspace, key: impl Into<Bytes>) {
        self.changes.push((keyspace, key.into(), Change::Remove));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// A consistent view of all keyspaces at one moment. Commits after that moment do not show.
pub trait Snapshot: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// [`crate::Error`].
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>>;

    /// The entries of a range in the order of their keys.
    fn range(&self, keyspace: Keyspace, range: Range) -> Box<dyn Iterator<Item = Result<Entry>> + Send + '_>;

    /// The entries of a range in the reverse order of their keys.
    fn range_rev(
        &self,
        keyspace: Keyspace,
        range: Range,
    ) -> Box<dyn Iterator<Item = Result<Entry>> + Send + '_>;
}

/// An embedded ordered key-value store.
pub trait Store: Send + Sync + 'static {
    /// The keyspace called `name` (1 to 200 bytes), created if need be.
    ///
    /// # Errors
    /// [`crate::Error`].
    fn keyspace(&self, name: &str) -> Result<Keyspace>;

    /// The names of all keyspaces.
    ///
    /// # Errors
    /// [`crate::Error`].
    fn keyspaces(&self) -> Result<Vec<String>>;

    /// Removes a keyspace and everything in it; one that does not exist is fine.
    ///
    /// # Errors
    /// [`crate::Error`].
    fn drop_keyspace(&self, name: &str) -> Result<()>;

    /// Carries out all changes or none.
    ///
    /// # Errors
    /// [`crate::Error`]; then none are carried out.
    fn commit(&self, batch: Batch) -> Result<()>;

    /// Adds many entries at once, in strictly ascending order of their keys; faster than [`Store::commit`], but not
    /// atomic: after a crash some or none may be there, so the caller must be able to add them again.
    ///
    /// # Errors
    /// [`crate::Error`].
    fn ingest(&self, keyspace: Keyspace, entries: &mut dyn Iterator<Item = Entry>) -> Result<()>;

    /// The value of a key now.
    ///
    /// # Errors
    /// [`crate::Error`].
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>>;

    /// A consistent view of what is there now.
    fn snapshot(&self) -> Box<dyn Snapshot>;

    /// About how many bytes a keyspace takes on the disk.
    fn disk_bytes(&self, keyspace: Keyspace) -> u64;
}
