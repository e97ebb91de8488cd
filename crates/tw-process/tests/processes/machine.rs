//! A node's log, state, event store and workers, all on disk.

use crate::ledger::{self, Health, Ledger};
use crate::world;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tw_env::Env;
use tw_log::store::EventStore;
use tw_log::{EmbeddedLog, Log};
use tw_order::gate;
use tw_process::{Handle, Options, PARKED_STREAM, ParkedFilter, Workers};
use tw_state::DiskStore;
use tw_types::{Offset, PartitionId, StreamDef, StreamPartition, Token};

/// Nothing in these tests takes as long.
const LONG: Duration = Duration::from_secs(120);

pub struct Machine {
    pub log: Arc<EmbeddedLog>,
    pub store: Arc<DiskStore>,
    pub handle: Handle,
    pub stream: Arc<StreamDef>,
    pub health: Arc<Health>,
}

pub fn options() -> Options {
    let retry =
        gate::Options { attempts_max: 2, retry_ms_min: 1, retry_ms_max: 2, ..gate::Options::default() };
    Options { worker_threads: 2, commit_ms_max: 20, retry, ..Options::default() }
}

impl Machine {
    /// Opens what is in `folder`, and starts the workers; the view `v` is not added yet.
    pub fn open(folder: &Path, partitions: u32, options: Options) -> Self {
        let env = Env::real();
        let small = tw_log::Options {
            segment_bytes: 4 << 20,
            append_bytes_max: 1 << 20,
            group_bytes_max: 1 << 20,
            tail_bytes: 4 << 20,
            ..tw_log::Options::default()
        };
        let log = Arc::new(EmbeddedLog::open(folder.join("log"), small, env.clone()).unwrap());
        let small = tw_state::Options {
            write_buffer_bytes: 1 << 20,
            cache_bytes: 1 << 20,
            ..tw_state::Options::default()
        };
        let store = Arc::new(DiskStore::open(&folder.join("state"), small).unwrap());
        let index = tw_log::store::Options::default();
        let events = EventStore::open(log.clone(), store.clone(), env.clone(), index).unwrap();
        let handle = Workers::start(options, log.clone(), store.clone(), Arc::new(events), env).unwrap();
        let known = log.streams().get("orders").cloned();
        let stream = known.unwrap_or_else(|_| world::create(log.as_ref(), "orders", partitions));
        Self { log, store, handle, stream, health: Arc::default() }
    }

    pub fn add(&self) {
        self.handle.add(Arc::new(Ledger::new("v", self.stream.id, &self.health))).unwrap();
    }

    pub fn at(&self, partition: u32) -> StreamPartition {
        StreamPartition::new(self.stream.id, PartitionId(partition))
    }

    /// The end of each partition.
    pub fn ends(&self) -> Vec<u64> {
        (0..self.stream.partitions).map(|p| self.log.bounds(self.at(p)).unwrap().end.0).collect()
    }

    /// Waits until the view has seen everything.
    pub fn catch_up(&self) {
        let ends = self.ends().into_iter().zip(0..);
        let token: Token = ends.map(|(end, partition)| (self.at(partition), Offset(end))).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(self.handle.wait_for("v", &token, LONG)).unwrap();
    }

    /// Waits until the view's partitions are as they should be, looking again and again.
    pub fn wait_until(&self, holds: impl Fn(&tw_process::PartitionStatus) -> bool) {
        let since = Instant::now();
        while !self.handle.status_of("v").unwrap().partitions.iter().all(&holds) {
            assert!(since.elapsed() < LONG, "it never comes: {:?}", self.handle.status());
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Lets everything that is parked be tried again, until nothing waits any more.
    pub fn retry_all(&self) {
        self.wait_until(|partition| partition.blocked == partition.parked);
        pollster::block_on(self.handle.parked().retry_all(&ParkedFilter::default())).unwrap();
        self.wait_until(|partition| partition.waiting == 0);
        // What is said of it is written soon after.
        let keyspace = self.handle.reading("v").unwrap().keyspace;
        let since = Instant::now();
        while !ledger::is_silent(self.store.as_ref(), keyspace) {
            assert!(since.elapsed() < LONG, "the outbox is never empty");
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// The offsets that the ledger of each partition holds.
    pub fn applied(&self) -> Vec<BTreeSet<u64>> {
        let keyspace = self.handle.reading("v").unwrap().keyspace;
        let applied = |p| ledger::applied(self.store.as_ref(), keyspace, PartitionId(p));
        (0..self.stream.partitions).map(applied).collect()
    }

    /// Everything that `$parked` says: type, subject and id of each event.
    pub fn said(&self) -> Vec<(String, String, String)> {
        let id = self.log.streams().get(PARKED_STREAM).unwrap().id;
        let at = StreamPartition::new(id, PartitionId(0));
        let (mut from, mut said) = (Offset::ZERO, Vec::new());
        loop {
            let blocks = pollster::block_on(self.log.read(at, from, 1 << 20)).unwrap();
            let Some(last) = blocks.last() else { return said };
            from = last.header().end_offset();
            for block in blocks {
                for event in block.records().unwrap().iter().unwrap() {
                    let event = event.unwrap().event;
                    let subject = event.subject.unwrap().to_owned();
                    said.push((event.ty.to_owned(), subject, event.id.to_owned()));
                }
            }
        }
    }
}
