//! A place for the index of which a crash leaves what the state's trait promises, and no more.

use parking_lot::Mutex;
use tw_env::sim::SimRandom;
use tw_state::{Batch, Entry, Keyspace, MemoryStore, Result, Snapshot, Store};

/// A store in memory, and beside it what a power loss leaves of it: every write up to the cut, and a part of the next one
/// if entries are ingested by it.
pub(super) struct Cut {
    live: MemoryStore,
    survivor: MemoryStore,
    chance: Mutex<Chance>,
}

struct Chance {
    random: SimRandom,
    /// How many more writes survive.
    left: u64,
}

impl Cut {
    /// What is in `from` survives, and some of the writes to come.
    pub(super) fn new(from: &dyn Store, seed: u64) -> Self {
        let random = SimRandom::new(seed);
        let left = random.below(12);
        let chance = Mutex::new(Chance { random, left });
        Self { live: copy(from), survivor: copy(from), chance }
    }

    /// What a power loss leaves.
    pub(super) fn survivor(&self) -> &dyn Store {
        &self.survivor
    }

    /// What the end of the process leaves: everything.
    pub(super) fn live(&self) -> &dyn Store {
        &self.live
    }
}

/// Copies a store key by key.
fn copy(from: &dyn Store) -> MemoryStore {
    let to = MemoryStore::new();
    let snapshot = from.snapshot();
    for name in from.keyspaces().unwrap() {
        let (source, target) = (from.keyspace(&name).unwrap(), to.keyspace(&name).unwrap());
        let entries: Vec<Entry> =
            snapshot.range(source, tw_state::Range::all()).collect::<Result<_>>().unwrap();
        to.ingest(target, &mut entries.into_iter()).unwrap();
    }
    to
}

impl Store for Cut {
    fn keyspace(&self, name: &str) -> Result<Keyspace> {
        // Both were made alike, so that a keyspace has the same number in both.
        let keyspace = self.live.keyspace(name)?;
        assert_eq!(self.survivor.keyspace(name)?, keyspace);
        Ok(keyspace)
    }

    fn keyspaces(&self) -> Result<Vec<String>> {
        self.live.keyspaces()
    }

    fn drop_keyspace(&self, name: &str) -> Result<()> {
        self.survivor.drop_keyspace(name)?;
        self.live.drop_keyspace(name)
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        let mut chance = self.chance.lock();
        if chance.left > 0 {
            chance.left -= 1;
            self.survivor.commit(batch.clone())?;
        }
        self.live.commit(batch)
    }

    fn ingest(&self, keyspace: Keyspace, entries: &mut dyn Iterator<Item = Entry>) -> Result<()> {
        let mut chance = self.chance.lock();
        let entries: Vec<Entry> = entries.collect();
        let survive = match chance.left {
            0 => 0,
            1 => chance.random.below(entries.len() as u64 + 1) as usize,
            _ => entries.len(),
        };
        chance.left = chance.left.saturating_sub(1);
        self.survivor.ingest(keyspace, &mut entries.iter().take(survive).cloned())?;
        self.live.ingest(keyspace, &mut entries.into_iter())
    }

    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<bytes::Bytes>> {
        self.live.get(keyspace, key)
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        self.live.snapshot()
    }

    fn disk_bytes(&self, keyspace: Keyspace) -> u64 {
        self.live.disk_bytes(keyspace)
    }
}
