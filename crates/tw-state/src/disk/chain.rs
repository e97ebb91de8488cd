//! The chain of commits: shows whether any are missing after the files were opened.
//!
//! The engine cuts a journal where it cannot read it. At the end that is right: the last commit was torn. In the
//! middle it is damage, and because keyspaces are flushed at different times, they could then disagree about what
//! was committed, or lack commits between others. So every commit writes, atomically with its changes,
//!
//! - into each keyspace that it touches a *mark*: the count of commits that touched that keyspace, under a key of its
//!   own, while it removes the mark of the commit before;
//! - into the keyspace `.commits` that same count under the engine's number of the keyspace.
//!
//! A keyspace is whole if it has exactly one mark (a missing or misplaced commit leaves another one behind), and it
//! agrees with the others if `.commits` has the same count. Keys of marks repeat after [`RING`] commits, so that
//! they do not pile up. A count without its keyspace shows that a keyspace was lost.

use super::{Failure, Keyspaces};
use crate::Keyspace;
use crate::store::RESERVED;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// The keyspace of the counts; names of callers do not start with a dot.
pub(super) const NAME: &str = ".commits";
/// How many keys the marks of a keyspace share.
const RING: u64 = 1024;

pub(super) struct Chain {
    counts: fjall::Keyspace,
    /// The count of commits that touched each keyspace, and its name.
    known: BTreeMap<Keyspace, u64>,
}

impl Chain {
    pub(super) fn new(counts: fjall::Keyspace) -> Self {
        Self { counts, known: BTreeMap::new() }
    }

    /// Learns the count of a keyspace that was found on the disk, and checks it.
    pub(super) fn recover(&mut self, keyspace: Keyspace, tree: &fjall::Keyspace) -> Result<(), Failure> {
        let broken = || Failure::BrokenChain(tree.name().to_string());
        let mut marks = tree.range(Bytes::from_static(&RESERVED)..);
        let mark = marks.next().map(fjall::Guard::value).transpose()?;
        let count = self.counts.get(count_key(tree))?;
        if marks.next().is_some() || mark != count {
            return Err(broken());
        }
        if let Some(count) = count {
            let count = count.as_ref().try_into().map_err(|_| broken())?;
            self.known.insert(keyspace, u64::from_be_bytes(count));
        }
        Ok(())
    }

    /// Checks that no keyspace is missing, once all that are there are known.
    pub(super) fn check_absent(
        &self,
        keyspaces: &Keyspaces,
        mut writes: fjall::OwnedWriteBatch,
    ) -> Result<(), Failure> {
        let there: BTreeSet<Bytes> = keyspaces.trees.values().map(count_key).collect();
        for count in self.counts.iter() {
            let (key, count) = count.into_inner()?;
            let key = Bytes::from(key);
            if count.is_empty() {
                writes.remove(&self.counts, key);
            } else if !there.contains(&key) {
                return Err(Failure::BrokenChain(format!("number {key:x?}")));
            }
        }
        Ok(writes.commit()?)
    }

    /// Drops a keyspace. Its count is emptied before and removed after, so that a drop that was cut off is seen.
    pub(super) fn drop_tree(
        &mut self,
        keyspace: Keyspace,
        tree: &fjall::Keyspace,
        database: &fjall::Database,
    ) -> fjall::Result<()> {
        self.known.remove(&keyspace);
        self.counts.insert(count_key(tree), Bytes::new())?;
        database.persist(fjall::PersistMode::SyncData)?;
        database.delete_keyspace(tree.clone())?;
        self.counts.remove(count_key(tree))
    }

    /// Drops a keyspace that was being dropped when the process ended; false for all others.
    pub(super) fn finish_drop(
        &self,
        tree: &fjall::Keyspace,
        database: &fjall::Database,
    ) -> Result<bool, Failure> {
        let dropping = self.counts.get(count_key(tree))?.is_some_and(|count| count.is_empty());
        if dropping {
            database.delete_keyspace(tree.clone())?;
        }
        Ok(dropping)
    }

    /// Adds to a commit what shows later that it is there.
    pub(super) fn link(
        &self,
        keyspace: Keyspace,
        tree: &fjall::Keyspace,
        writes: &mut fjall::OwnedWriteBatch,
    ) {
        let before = self.known.get(&keyspace).copied();
        let count = before.unwrap_or_default() + 1;
        let value = Bytes::copy_from_slice(&count.to_be_bytes());
        if let Some(before) = before {
            writes.remove(tree, mark_key(before));
        }
        writes.insert(tree, mark_key(count), value.clone());
        writes.insert(&self.counts, count_key(tree), value);
    }

    /// The commit that was given these links is there.
    pub(super) fn linked(&mut self, touched: &[Keyspace]) {
        for keyspace in touched {
            *self.known.entry(*keyspace).or_default() += 1;
        }
    }
}

fn mark_key(count: u64) -> Bytes {
    let mut key = RESERVED.to_vec();
    key.extend_from_slice(&(count % RING).to_be_bytes());
    Bytes::from(key)
}

fn count_key(tree: &fjall::Keyspace) -> Bytes {
    Bytes::copy_from_slice(&tree.id().to_be_bytes())
}
