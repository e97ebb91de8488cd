//! Workers on a log and a store in memory, with the machine's own clock.

use crate::support::ledger::{Health, Ledger};
use crate::support::stores::FaultyStore;
use crate::support::world;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tw_env::Env;
use tw_log::store::EventStore;
use tw_log::{BoxFuture, Log, MemoryLog, Signal};
use tw_process::{
    Assigned, Error, Handle, LogWriter, Options, PARKED_STREAM, ParkedId, ParkedWriter, PartitionStatus,
    Workers,
};
use tw_state::{MemoryStore, Store as _};
use tw_types::{Event, Offset, PartitionId, StreamDef, StreamPartition, Token};

/// Nothing in these tests takes as long.
pub const LONG: Duration = Duration::from_secs(120);

pub struct Node {
    pub log: Arc<MemoryLog>,
    pub store: Arc<FaultyStore>,
    pub health: Arc<Health>,
    pub stream: Arc<StreamDef>,
    pub options: Options,
    /// None on a node that is alone: it writes to the log itself.
    pub events: Option<EventStore>,
    handle: Option<Handle>,
    refusals: Arc<Refusals>,
}

pub fn options() -> Options {
    let retry = tw_order::gate::Options {
        attempts_max: 2,
        retry_ms_min: 1,
        retry_ms_max: 2,
        ..tw_order::gate::Options::default()
    };
    Options { worker_threads: 2, failure_ms_min: 1, failure_ms_max: 5, retry, ..Options::default() }
}

/// Whether nothing may be written to `$parked`, and how often that has been tried.
#[derive(Default)]
struct Refusals {
    on: AtomicBool,
    count: AtomicU64,
}

/// Writes to `$parked`, unless it is told not to.
struct Writer {
    inner: Arc<dyn ParkedWriter>,
    refusals: Arc<Refusals>,
}

impl ParkedWriter for Writer {
    fn append(&self, events: Vec<Event>) -> BoxFuture<'_, tw_log::store::Result<()>> {
        if self.refusals.on.load(Ordering::SeqCst) {
            self.refusals.count.fetch_add(1, Ordering::SeqCst);
            return Box::pin(async { Err(tw_log::Error::DiskFull { folder: "log".into() }.into()) });
        }
        self.inner.append(events)
    }
}

fn start(
    options: &Options,
    log: &Arc<MemoryLog>,
    store: &Arc<FaultyStore>,
    inner: Arc<dyn ParkedWriter>,
    refusals: &Arc<Refusals>,
) -> Handle {
    let writer = Arc::new(Writer { inner, refusals: refusals.clone() });
    Workers::start(options.clone(), log.clone(), store.clone(), writer, Env::real()).unwrap()
}

/// Runs a future to its end, with timers.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Waits on `signal` until `holds`.
pub fn eventually(signal: &Signal, mut holds: impl FnMut() -> bool) {
    loop {
        let seen = signal.get();
        if holds() {
            return;
        }
        assert!(signal.wait_over(seen, LONG) > seen, "it does not come true");
    }
}

/// Looks again and again until `holds`: for what raises no signal.
pub fn poll(mut holds: impl FnMut() -> bool) {
    let since = std::time::Instant::now();
    while !holds() {
        assert!(since.elapsed() < LONG, "it does not come true");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// The parked event of this id.
pub fn id(text: &str) -> ParkedId {
    text.parse().unwrap()
}

impl Node {
    pub fn new(partitions: u32) -> Self {
        Self::with(partitions, options())
    }

    pub fn with(partitions: u32, options: Options) -> Self {
        let log = Arc::new(MemoryLog::new(Env::real()));
        let stream = world::create(log.as_ref(), "orders", partitions);
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
        let refusals = Arc::default();
        let writer = Arc::new(LogWriter::new(log.clone()));
        let handle = Some(start(&options, &log, &store, writer, &refusals));
        Self { refusals, log, store, health: Arc::default(), stream, events: None, options, handle }
    }

    /// Nodes on one log, each with a store and an event store of its own.
    pub fn many(partitions: u32, count: usize) -> Vec<Self> {
        let log = Arc::new(MemoryLog::new(Env::real()));
        let stream = world::create(log.as_ref(), "orders", partitions);
        let health = Arc::default();
        let node = |_| {
            let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
            let index = tw_log::store::Options::default();
            let events = EventStore::open(log.clone(), store.clone(), Env::real(), index).unwrap();
            let (options, refusals) = (options(), Arc::default());
            let handle = start(&options, &log, &store, Arc::new(events.clone()), &refusals);
            let (log, stream) = (log.clone(), stream.clone());
            let (health, events, handle) = (Arc::clone(&health), Some(events), Some(handle));
            Self { log, store, health, stream, options, events, handle, refusals }
        };
        (0..count).map(node).collect()
    }

    /// Starts anew, as after a crash, with the same state or without.
    pub fn restart(&mut self, keep_state: bool) {
        self.handle = None;
        if !keep_state {
            self.store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
        }
        let writer: Arc<dyn ParkedWriter> = match &self.events {
            Some(events) => Arc::new(events.clone()),
            None => Arc::new(LogWriter::new(self.log.clone())),
        };
        self.handle = Some(start(&self.options, &self.log, &self.store, writer, &self.refusals));
    }

    pub fn handle(&self) -> &Handle {
        self.handle.as_ref().unwrap()
    }

    /// Lets writes to `$parked` fail from now on, or not.
    pub fn refuse_parked(&self, refuse: bool) {
        self.refusals.on.store(refuse, Ordering::SeqCst);
    }

    /// How often something could not be written to `$parked`.
    pub fn refusals(&self) -> u64 {
        self.refusals.count.load(Ordering::SeqCst)
    }

    pub fn view(&self, name: &str) -> Arc<Ledger> {
        Arc::new(Ledger::new(name, self.stream.id, &self.health))
    }

    /// Adds a ledger under this name.
    pub fn add(&self, name: &str) {
        self.handle().add(self.view(name)).unwrap();
    }

    pub fn append(&self, partition: u32, subjects: &[&str]) -> u64 {
        let samples: Vec<_> = subjects.iter().map(|subject| world::Sample::of(subject)).collect();
        world::append(self.log.as_ref(), &self.stream, partition, &samples)
    }

    /// Appends two events of each of `count` subjects to an empty partition: the first one is sick, the other one has to
    /// wait for it.
    pub fn append_sick(&self, partition: u32, count: u64) {
        let subjects: Vec<String> = (0..count).map(|number| format!("s{number}")).collect();
        let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
        (0..count).for_each(|offset| self.sick(partition, offset));
        self.append(partition, &subjects);
        self.append(partition, &subjects);
    }

    pub fn at(&self, partition: u32) -> StreamPartition {
        StreamPartition::new(self.stream.id, PartitionId(partition))
    }

    /// Lets the node process these partitions of its stream, and no others.
    pub fn assign(&self, partitions: &[u32]) {
        let partitions = partitions.iter().map(|partition| self.at(*partition)).collect();
        self.handle().assign(Assigned::Only(partitions)).unwrap();
    }

    /// Waits until a view has seen everything of one partition.
    pub fn wait_at(&self, name: &str, partition: u32) -> Result<(), Error> {
        let at = self.at(partition);
        let token = [(at, self.log.bounds(at).unwrap().end)].into_iter().collect();
        self.wait_for(name, &token, LONG)
    }

    /// The end of every partition.
    pub fn token(&self) -> Token {
        (0..self.stream.partitions).map(|p| (self.at(p), self.log.bounds(self.at(p)).unwrap().end)).collect()
    }

    /// Waits until a view has seen everything.
    pub fn wait(&self, name: &str) -> Result<(), Error> {
        self.wait_for(name, &self.token(), LONG)
    }

    pub fn wait_for(&self, name: &str, token: &Token, timeout: Duration) -> Result<(), Error> {
        block_on(self.handle().wait_for(name, token, timeout))
    }

    /// What the partitions of the view `v` say, added up.
    pub fn sum(&self, of: fn(&PartitionStatus) -> u64) -> u64 {
        self.handle().status_of("v").unwrap().partitions.iter().map(of).sum()
    }

    /// Whether everything that the node has to say about parked events of the view `v` is written.
    pub fn is_silent(&self) -> bool {
        super::ledger::is_silent(self.store.as_ref(), self.handle().reading("v").unwrap().keyspace)
    }

    /// How many events of `$parked` the node has read.
    pub fn folded(&self) -> impl Fn() -> u64 + Send + 'static {
        let store = self.store.clone();
        move || {
            let position = store.get(store.keyspace("parked").unwrap(), &[0]).unwrap();
            position.map_or(0, |position| u64::from_be_bytes(position.as_ref().try_into().unwrap()))
        }
    }

    /// Waits until the node has read so many events of `$parked`.
    pub fn wait_until_folded(&self, count: u64) {
        let folded = self.folded();
        poll(|| folded() >= count);
    }

    /// The offsets that the view's ledger of a partition holds.
    pub fn applied(&self, name: &str, partition: u32) -> BTreeSet<u64> {
        let reading = self.handle().reading(name).unwrap();
        super::ledger::applied(self.store.as_ref(), reading.keyspace, PartitionId(partition))
    }

    pub fn sick(&self, partition: u32, offset: u64) {
        self.health.sick.lock().insert((PartitionId(partition), Offset(offset)));
    }

    pub fn heal(&self, partition: u32, offset: u64) {
        self.health.sick.lock().remove(&(PartitionId(partition), Offset(offset)));
    }

    fn parked(&self) -> StreamPartition {
        let id = self.log.streams().get(PARKED_STREAM).unwrap().id;
        StreamPartition::new(id, PartitionId(0))
    }

    /// Waits until so many events are in `$parked`; returns them as `type subject`, without what is common to all.
    pub fn parked_events(&self, count: u64) -> Vec<String> {
        let end = self.log.end_signal(self.parked()).unwrap();
        eventually(&end, || end.get() >= count);
        let blocks = pollster::block_on(self.log.read(self.parked(), Offset::ZERO, usize::MAX)).unwrap();
        let mut events = Vec::new();
        for block in blocks {
            for event in block.records().unwrap().iter().unwrap() {
                let event = event.unwrap().event;
                let ty = event.ty.strip_prefix("tradewind.parked.").unwrap();
                events.push(format!("{ty} {}", event.subject.unwrap()));
            }
        }
        events
    }
}
