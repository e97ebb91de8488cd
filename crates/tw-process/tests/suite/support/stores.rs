//! A store whose commits fail when told to.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use tw_state::{Batch, Entry, Error, Keyspace, Result, Snapshot, Store};

/// A store that fails at a commit of one's choice, with or without having carried it out.
pub struct FaultyStore {
    pub inner: Arc<dyn Store>,
    /// Commits until the failure; below zero: it has happened, or none was asked for.
    pub countdown: AtomicI64,
    carried_out: AtomicBool,
    /// Commits that were carried out.
    pub commits: AtomicU64,
}

impl FaultyStore {
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            countdown: AtomicI64::new(-1),
            carried_out: AtomicBool::new(false),
            commits: AtomicU64::new(0),
        }
    }

    /// The commit after `commits` further ones fails.
    pub fn fail_after(&self, commits: u32, carried_out: bool) {
        self.carried_out.store(carried_out, Ordering::SeqCst);
        self.countdown.store(i64::from(commits), Ordering::SeqCst);
    }
}

impl Store for FaultyStore {
    fn keyspace(&self, name: &str) -> Result<Keyspace> {
        self.inner.keyspace(name)
    }

    fn keyspaces(&self) -> Result<Vec<String>> {
        self.inner.keyspaces()
    }

    fn drop_keyspace(&self, name: &str) -> Result<()> {
        self.inner.drop_keyspace(name)
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        if self.countdown.fetch_sub(1, Ordering::SeqCst) == 0 {
            if self.carried_out.load(Ordering::SeqCst) {
                self.inner.commit(batch)?;
            }
            let source = "the disk is on fire".into();
            return Err(Error::Engine { folder: "state".into(), source });
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.inner.commit(batch)
    }

    fn ingest(&self, keyspace: Keyspace, entries: &mut dyn Iterator<Item = Entry>) -> Result<()> {
        self.inner.ingest(keyspace, entries)
    }

    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>> {
        self.inner.get(keyspace, key)
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        self.inner.snapshot()
    }

    fn disk_bytes(&self, keyspace: Keyspace) -> u64 {
        self.inner.disk_bytes(keyspace)
    }
}
