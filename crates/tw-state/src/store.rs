//! The trait that engines implement, and the values that cross it.

use crate::{Error, Result};
use bytes::Bytes;
use std::ops::Bound;

/// A key and its value.
pub type Entry = (Bytes, Bytes);

/// A range of keys; both ends can be inclusive, exclusive or open. One that ends before it starts is empty.
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

    /// Whether no key can be in it.
    pub(crate) fn is_empty(&self) -> bool {
        match (&self.start, &self.end) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (
                Bound::Included(start) | Bound::Excluded(start),
                Bound::Excluded(end) | Bound::Included(end),
            ) => start >= end,
        }
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

/// A consistent view of all keyspaces that were there at one moment. Commits after that moment do not show.
///
/// A keyspace that was created later, or dropped before, is [`crate::Error::NoKeyspace`].
pub trait Snapshot: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// [`crate::Error::NoKeyspace`], [`crate::Error::Engine`].
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

/// The longest key, in bytes; the shortest has one.
pub const KEY_BYTES_MAX: usize = 32 * 1024;
/// The longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The longest name of a keyspace, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// An embedded ordered key-value store.
///
/// Keys have 1 to [`KEY_BYTES_MAX`] bytes and do not start with 32 bytes of 0xff, which engines keep for themselves.
pub trait Store: Send + Sync + 'static {
    /// The keyspace called `name`, created if need be: 1 to [`NAME_BYTES_MAX`] bytes that do not start with a dot.
    ///
    /// # Errors
    /// [`crate::Error::InvalidName`]; [`crate::Error::Engine`].
    fn keyspace(&self, name: &str) -> Result<Keyspace>;

    /// The names of all keyspaces.
    ///
    /// # Errors
    /// [`crate::Error`].
    fn keyspaces(&self) -> Result<Vec<String>>;

    /// Removes a keyspace and everything in it; one that does not exist is fine. Its number is not used again, and
    /// snapshots that were taken before still show it.
    ///
    /// # Errors
    /// [`crate::Error`].
    fn drop_keyspace(&self, name: &str) -> Result<()>;

    /// Carries out all changes or none. They outlive the process once this returns, even kill -9; they are not synced,
    /// so a power loss may take the latest commits back, always all from some commit on.
    ///
    /// # Errors
    /// [`crate::Error::NoKeyspace`] and [`crate::Error::InvalidKey`], after which none are carried out;
    /// [`crate::Error::Engine`], after which the store takes no more and opening it again tells.
    fn commit(&self, batch: Batch) -> Result<()>;

    /// Adds many entries at once, in strictly ascending order of their keys; faster than [`Store::commit`], but not
    /// atomic: after a crash in between some or none may be there, so the caller must be able to add them again. Entries
    /// that are there already are replaced. Once this returns, no crash takes them back, nor any commit before them.
    ///
    /// # Errors
    /// As [`Store::commit`]; [`crate::Error::OutOfOrder`] when a key is not over the one before.
    fn ingest(&self, keyspace: Keyspace, entries: &mut dyn Iterator<Item = Entry>) -> Result<()>;

    /// The value of a key now. Two calls may see two moments; a [`Snapshot`] sees one.
    ///
    /// # Errors
    /// [`crate::Error::NoKeyspace`], [`crate::Error::Engine`].
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>>;

    /// A consistent view of what is there now. It holds back the removal of what is overwritten: keep it briefly.
    fn snapshot(&self) -> Box<dyn Snapshot>;

    /// About how many bytes a keyspace takes on the disk.
    fn disk_bytes(&self, keyspace: Keyspace) -> u64;
}

/// Where the keys start that engines keep for themselves.
pub(crate) const RESERVED: [u8; 32] = [0xff; 32];

pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.starts_with('.') {
        return Err(Error::InvalidName(name.chars().take(80).collect()));
    }
    Ok(())
}

pub(crate) fn check_entry(key: &[u8], value: &[u8]) -> Result<()> {
    if key.is_empty()
        || key.len() > KEY_BYTES_MAX
        || value.len() > VALUE_BYTES_MAX
        || (key.first() == Some(&0xff) && key.starts_with(&RESERVED))
    {
        return Err(Error::InvalidKey { key_bytes: key.len(), value_bytes: value.len() });
    }
    Ok(())
}
