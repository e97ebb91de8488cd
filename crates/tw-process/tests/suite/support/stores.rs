//! A store whose commits fail when told to, and in which things happen after a snapshot.

use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::{self, ThreadId};
use tw_state::{Batch, Entry, Error, Keyspace, Result, Snapshot, Store};

/// What happens after the next snapshot of one thread.
type Afterwards = (ThreadId, Box<dyn FnOnce() + Send>);

/// A store that fails at a commit of one's choice, with or without having carried it out.
pub struct FaultyStore {
    pub inner: Arc<dyn Store>,
    /// Commits until the failure; below zero: it has happened, or none was asked for.
    pub countdown: AtomicI64,
    carried_out: AtomicBool,
    /// Commits that were carried out.
    pub commits: AtomicU64,
    afterwards: Mutex<Option<Afterwards>>,
}

impl FaultyStore {
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            countdown: AtomicI64::new(-1),
            carried_out: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            afterwards: Mutex::default(),
        }
    }

    /// Has something happen between this thread's next snapshot and whatever the thread does with it.
    pub fn after_snapshot(&self, happens: impl FnOnce() + Send + 'static) {
        *self.afterwards.lock() = Some((thread::current().id(), Box::new(happens)));
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
        let snapshot = self.inner.snapshot();
        let happens = self.afterwards.lock().take_if(|(whose, _)| *whose == thread::current().id());
        if let Some((_, happens)) = happens {
            happens();
        }
        snapshot
    }

    fn disk_bytes(&self, keyspace: Keyspace) -> u64 {
        self.inner.disk_bytes(keyspace)
    }
}
