//! The engine of a node: an LSM tree per keyspace with one journal for all (fjall 3; docs/adr/0003 says why).
//!
//! ```text
//! commit ─▶ journal (one for all keyspaces) ─▶ memtable per keyspace ─flush─▶ sorted tables ─compaction─▶ …
//! ingest ─────────────────────────────────────────────────────────────────▶ sorted tables
//! ```
//!
//! A commit is in the operating system's hands when it returns, so it outlives the process. The engine syncs the
//! journal before it flushes a memtable, so that after a power loss no keyspace is ahead of the journal; this module
//! does the same before it ingests. What the engine cannot see (a journal that was damaged in the middle and is
//! silently cut there) the [chain] of commits shows.

mod chain;
mod files;
mod options;
mod snapshot;

pub use options::Options;

use crate::store::{check_entry, check_name};
use crate::{Batch, Change, Entry, Error, Keyspace, Result, Snapshot, Store};
use bytes::Bytes;
use chain::Chain;
use fjall::config::{BlockSizePolicy, CompressionPolicy};
use fjall::{AbstractTree, Database, KeyspaceCreateOptions, PersistMode};
use parking_lot::{Mutex, RwLock};
use snapshot::DiskSnapshot;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A store in a folder. See the module's text.
pub struct DiskStore {
    folder: PathBuf,
    options: Options,
    /// Replaced, never changed, so that snapshots keep what they saw.
    keyspaces: RwLock<Arc<Keyspaces>>,
    /// Held while a commit or the end of an ingest happens.
    chain: Mutex<Chain>,
    /// Last, because it waits for its threads when it is dropped.
    database: Database,
}

/// The keyspaces that are open.
#[derive(Clone, Default)]
struct Keyspaces {
    names: BTreeMap<String, Keyspace>,
    trees: BTreeMap<Keyspace, fjall::Keyspace>,
    next: u32,
}

impl Keyspaces {
    fn add(&mut self, name: &str, tree: fjall::Keyspace) -> Keyspace {
        let keyspace = Keyspace(self.next);
        self.next += 1;
        self.names.insert(name.to_owned(), keyspace);
        self.trees.insert(keyspace, tree);
        keyspace
    }

    fn tree(&self, keyspace: Keyspace) -> Result<&fjall::Keyspace> {
        self.trees.get(&keyspace).ok_or(Error::NoKeyspace)
    }
}

impl DiskStore {
    /// Opens the store in `folder`, which is created if need be.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it, [`Error::InvalidOption`], and [`Error::Engine`] when its files
    /// are damaged or cannot be read.
    pub fn open(folder: &Path, options: Options) -> Result<Self> {
        options.check()?;
        let engine = |source| Error::Engine { folder: folder.to_owned(), source };
        // The engine asserts some of what it expects of its files.
        let opened = std::panic::catch_unwind(|| Self::open_files(folder, &options))
            .map_err(|_| engine("the engine gave up on its files".into()))?;
        match opened {
            Ok((database, keyspaces, chain)) => Ok(Self {
                folder: folder.to_owned(),
                options,
                keyspaces: RwLock::new(Arc::new(keyspaces)),
                chain: Mutex::new(chain),
                database,
            }),
            Err(Failure::Engine(fjall::Error::Locked)) => Err(Error::Locked(folder.to_owned())),
            Err(failure) => Err(engine(Box::new(failure))),
        }
    }

    fn open_files(folder: &Path, options: &Options) -> Result<(Database, Keyspaces, Chain), Failure> {
        files::check(folder)?;
        let database = Database::builder(folder)
            .cache_size(options.cache_bytes)
            .max_journaling_size(options.journal_bytes_max)
            .max_cached_files(Some(options.open_files_max as usize))
            .worker_threads(options.threads as usize)
            .open()?;
        let mut keyspaces = Keyspaces::default();
        let mut names: Vec<_> = database.list_keyspace_names();
        names.sort();
        let mut chain =
            Chain::new(database.keyspace(chain::NAME, || create_options(options.write_buffer_bytes))?);
        for name in names.iter().filter(|name| ***name != *chain::NAME) {
            let tree = database.keyspace(name, KeyspaceCreateOptions::default)?;
            if !chain.finish_drop(&tree, &database)? {
                let keyspace = keyspaces.add(name, tree.clone());
                chain.recover(keyspace, &tree)?;
            }
        }
        chain.check_absent(&keyspaces, database.batch())?;
        Ok((database, keyspaces, chain))
    }

    fn engine(&self, source: fjall::Error) -> Error {
        Error::Engine { folder: self.folder.clone(), source: Box::new(source) }
    }

    /// Seals the largest memtables while together they are over the bound; threads of the engine flush them.
    fn bound_memory(&self, keyspaces: &Keyspaces) -> Result<()> {
        let sizes = || keyspaces.trees.values().map(|tree| (tree.tree.active_memtable().size(), tree));
        let bound = self.options.write_buffer_bytes;
        // Measured anew each time: the engine's own threads seal memtables too, and what they took is gone.
        while sizes().map(|(bytes, _)| bytes).sum::<u64>() > bound {
            let Some((1.., largest)) = sizes().max_by_key(|(bytes, _)| *bytes) else { break };
            largest.rotate_memtable().map_err(|error| self.engine(error))?;
        }
        Ok(())
    }
}

/// Small blocks for point reads, no compression: state is small next to the log and is read at random.
fn create_options(memtable_bytes: u64) -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(memtable_bytes)
        .data_block_size_policy(BlockSizePolicy::all(4 * 1024))
        .data_block_compression_policy(CompressionPolicy::disabled())
}

impl Store for DiskStore {
    fn keyspace(&self, name: &str) -> Result<Keyspace> {
        check_name(name)?;
        if let Some(keyspace) = self.keyspaces.read().names.get(name) {
            return Ok(*keyspace);
        }
        // One at a time, and not under the lock that readers take: this syncs.
        let _chain = self.chain.lock();
        if let Some(keyspace) = self.keyspaces.read().names.get(name) {
            return Ok(*keyspace);
        }
        let tree = self
            .database
            .keyspace(name, || create_options(self.options.write_buffer_bytes))
            .map_err(|error| self.engine(error))?;
        Ok(Arc::make_mut(&mut self.keyspaces.write()).add(name, tree))
    }

    fn keyspaces(&self) -> Result<Vec<String>> {
        Ok(self.keyspaces.read().names.keys().cloned().collect())
    }

    fn drop_keyspace(&self, name: &str) -> Result<()> {
        // No commit may be under way that would still write to it.
        let mut chain = self.chain.lock();
        let dropped = {
            let mut keyspaces = self.keyspaces.write();
            let keyspaces = Arc::make_mut(&mut keyspaces);
            let number = keyspaces.names.remove(name);
            number.and_then(|number| Some((number, keyspaces.trees.remove(&number)?)))
        };
        let Some((keyspace, tree)) = dropped else { return Ok(()) };
        chain.drop_tree(keyspace, &tree, &self.database).map_err(|error| self.engine(error))
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut chain = self.chain.lock();
        let keyspaces = self.keyspaces.read().clone();
        let mut writes = self.database.batch();
        let mut touched: Vec<Keyspace> = Vec::new();
        let mut last: Option<(Keyspace, &fjall::Keyspace)> = None;
        for (keyspace, key, change) in batch.changes {
            let tree = match last {
                Some((same, tree)) if same == keyspace => tree,
                _ => {
                    if !touched.contains(&keyspace) {
                        touched.push(keyspace);
                    }
                    keyspaces.tree(keyspace)?
                }
            };
            last = Some((keyspace, tree));
            match change {
                Change::Put(value) => {
                    check_entry(&key, &value)?;
                    writes.insert(tree, key, value);
                }
                Change::Remove => {
                    check_entry(&key, &[])?;
                    writes.remove(tree, key);
                }
            }
        }
        for keyspace in &touched {
            chain.link(*keyspace, keyspaces.tree(*keyspace)?, &mut writes);
        }
        writes.commit().map_err(|error| self.engine(error))?;
        chain.linked(&touched);
        self.bound_memory(&keyspaces)
    }

    fn ingest(&self, keyspace: Keyspace, entries: &mut dyn Iterator<Item = Entry>) -> Result<()> {
        let keyspaces = self.keyspaces.read().clone();
        let tree = keyspaces.tree(keyspace)?;
        let mut ingestion = tree.start_ingestion().map_err(|error| self.engine(error))?;
        let mut last = Bytes::new();
        for (key, value) in entries {
            check_entry(&key, &value)?;
            if last >= key {
                return Err(Error::OutOfOrder);
            }
            last = key.clone();
            ingestion.write(key, value).map_err(|error| self.engine(error))?;
        }
        let chain = self.chain.lock();
        // Finishing flushes the memtable of this keyspace, which must not get ahead of the others after a power loss.
        self.database.persist(PersistMode::SyncData).map_err(|error| self.engine(error))?;
        ingestion.finish().map_err(|error| self.engine(error))?;
        drop(chain);
        Ok(())
    }

    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>> {
        let keyspaces = self.keyspaces.read();
        let value = keyspaces.tree(keyspace)?.get(key).map_err(|error| self.engine(error))?;
        Ok(value.map(Bytes::from))
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        // First the keyspaces: one that is created in between is then not part of it, rather than empty.
        let keyspaces = self.keyspaces.read().clone();
        Box::new(DiskSnapshot::new(self.folder.clone(), keyspaces, self.database.snapshot()))
    }

    fn disk_bytes(&self, keyspace: Keyspace) -> u64 {
        self.keyspaces.read().tree(keyspace).map_or(0, fjall::Keyspace::disk_space)
    }
}

/// Why the files could not be opened.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Engine(#[from] fjall::Error),
    #[error("commits are missing from keyspace `{0}`: files are damaged or missing")]
    BrokenChain(String),
    #[error("`{0}` is damaged")]
    Damaged(PathBuf),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl std::fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskStore").field("folder", &self.folder).finish_non_exhaustive()
    }
}
