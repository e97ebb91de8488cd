//! A pipeline without threads: the test makes its turns and moves its clock.

use crate::parked::{Change, Fact, Index, PARKED_STREAM, ParkedId, What};
use crate::pipeline::{Deps, Letter, Outboxes, Pipeline, Turn};
use crate::progress::{Control, Progress, Report, Wish};
use crate::support::ledger::{self, Health, Ledger, applied};
use crate::support::stores::FaultyStore;
use crate::support::world::{self, Sample};
use crate::{Options, View, keys};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use tw_env::Env;
use tw_env::sim::{Sim, SimClock};
use tw_log::faulty::FaultyLog;
use tw_log::{Append, Log, MemoryLog};
use tw_state::{Batch, Keyspace, MemoryStore, Range, Store};
use tw_types::{Compression, Offset, PartitionId, StreamDef, StreamPartition};
use tw_wire::BatchBuilder;

pub(super) fn samples(subjects: &[&str]) -> Vec<Sample> {
    subjects.iter().map(|subject| Sample::of(subject)).collect()
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(super) struct Harness {
    pub(super) log: Arc<FaultyLog>,
    pub(super) store: Arc<FaultyStore>,
    pub(super) health: Arc<Health>,
    pub(super) options: Options,
    pub(super) keyspace: Keyspace,
    env: Env,
    clock: Arc<SimClock>,
    stream: Arc<StreamDef>,
    parked: Arc<StreamDef>,
    view: Arc<dyn View>,
    progress: Arc<Progress>,
    deps: Arc<Deps>,
    pipeline: Pipeline,
    woken: Arc<Flag>,
    /// When the pipeline wants its next turn.
    next: Turn,
}

impl Harness {
    pub(super) fn new() -> Self {
        let retry = tw_order::gate::Options { attempts_max: 3, ..tw_order::gate::Options::default() };
        Self::with(Options { retry, ..Options::default() })
    }

    pub(super) fn with(options: Options) -> Self {
        let Sim { clock, .. } = Sim::new(1);
        let env = Env { clock: clock.clone(), ..Env::real() };
        let log = Arc::new(FaultyLog::new(Arc::new(MemoryLog::new(env.clone()))));
        let stream = world::create(log.as_ref(), "orders", 1);
        let parked = world::create(log.as_ref(), PARKED_STREAM, 1);
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
        let keyspace = store.keyspace("view.1").unwrap();
        let health = Arc::new(Health::default());
        let view: Arc<dyn View> = Arc::new(Ledger::new("ledger", stream.id, &health));
        let (deps, progress, pipeline) = open(&options, &log, &store, &env, &view, keyspace);
        let woken = Arc::default();
        let next = Turn::Again;
        Self {
            log,
            store,
            health,
            options,
            keyspace,
            env,
            clock,
            stream,
            parked,
            view,
            progress,
            deps,
            pipeline,
            woken,
            next,
        }
    }

    pub(super) fn at(&self) -> StreamPartition {
        StreamPartition::new(self.stream.id, PartitionId(0))
    }

    /// A new process: everything in memory is gone.
    pub(super) fn reopen(&mut self) {
        (self.deps, self.progress, self.pipeline) =
            open(&self.options, &self.log, &self.store, &self.env, &self.view, self.keyspace);
        self.next = Turn::Again;
        self.fold();
        self.settle();
    }

    /// A new process that finds no state.
    pub(super) fn lose_state(&mut self) {
        self.store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
        self.keyspace = self.store.keyspace("view.1").unwrap();
        self.reopen();
    }

    pub(super) fn append(&mut self, samples: &[Sample]) -> u64 {
        world::append(self.log.as_ref(), &self.stream, 0, samples)
    }

    pub(super) fn sick(&self, offset: u64) {
        self.health.sick.lock().insert((PartitionId(0), Offset(offset)));
    }

    pub(super) fn heal(&self, offset: u64) {
        self.health.sick.lock().remove(&(PartitionId(0), Offset(offset)));
    }

    pub(super) fn trim(&self, before: u64) {
        pollster::block_on(self.log.trim(self.at(), Offset(before))).unwrap();
    }

    pub(super) fn drop_stream(&self) {
        pollster::block_on(self.log.drop_stream(&self.stream.name)).unwrap();
    }

    /// Makes turns until the pipeline waits.
    pub(super) fn settle(&mut self) {
        for _ in 0..1_000_000 {
            let due = match self.next {
                Turn::Again => true,
                Turn::Wait(Some(at)) => at <= self.env.clock.monotonic(),
                Turn::Wait(None) => false,
                Turn::Done => return,
            };
            if !self.woken.0.swap(false, Ordering::SeqCst) && !due {
                return;
            }
            let waker = Waker::from(self.woken.clone());
            self.next = self.pipeline.turn(&mut Context::from_waker(&waker));
        }
        panic!("the pipeline never rests");
    }

    /// Whether the failure of the store that was asked for has happened.
    pub(super) fn has_failed(&self) -> bool {
        self.store.countdown.load(Ordering::SeqCst) < 0
    }

    /// Lets time pass, a millisecond at a time.
    pub(super) fn pass(&mut self, ms: u64) {
        self.settle();
        for _ in 0..ms {
            self.clock.advance(1);
            self.settle();
        }
    }

    pub(super) fn hold(&mut self, hold: bool) {
        if hold {
            self.progress.wish(Wish::Switch);
        } else {
            self.progress.unwish(Wish::Switch);
        }
        assert_eq!(self.progress.control() == Control::Hold, hold);
        self.next = Turn::Again;
        self.settle();
    }

    pub(super) fn position(&self) -> u64 {
        self.report().cursor.position.0
    }

    pub(super) fn report(&self) -> Report {
        self.progress.report()
    }

    pub(super) fn commits(&self) -> u64 {
        self.store.commits.load(Ordering::SeqCst)
    }

    pub(super) fn applied(&self) -> BTreeSet<u64> {
        applied(self.store.as_ref(), self.keyspace, PartitionId(0))
    }

    /// The event that cleared all last.
    pub(super) fn last_clear(&self) -> Option<u64> {
        let value = self.store.get(self.keyspace, &ledger::key(3, PartitionId(0), &[])).unwrap();
        value.map(|value| u64::from_be_bytes(value[..].try_into().unwrap()))
    }

    /// Whether a person has dropped an event, and in time.
    pub(super) fn is_dropped(&self, offset: u64) -> bool {
        let view = crate::parked::ViewKey::new("ledger");
        self.deps.index.dropped_at(view, self.at(), Offset(offset)).unwrap().is_some()
    }

    /// The worker's own keys of a kind.
    pub(super) fn keys(&self, kind: keys::Kind) -> Vec<Bytes> {
        let prefix = keys::prefix(kind, PartitionId(0));
        let snapshot = self.store.snapshot();
        snapshot.range(self.keyspace, Range::prefix(&prefix)).map(|entry| entry.unwrap().0).collect()
    }

    /// How many of them there are.
    pub(super) fn entries(&self, kind: keys::Kind) -> usize {
        self.keys(kind).len()
    }

    /// Writes what is in the outbox to `$parked`, as the parked service does.
    pub(super) fn post(&mut self) {
        let prefix = keys::prefix(keys::Kind::Outbox, PartitionId(0));
        let entries: Vec<_> =
            self.store.snapshot().range(self.keyspace, Range::prefix(&prefix)).map(Result::unwrap).collect();
        let mut batch = Batch::new();
        for (key, value) in entries {
            let letter: Letter = serde_json::from_slice(&value).unwrap();
            self.say(letter.what, letter.fact);
            batch.remove(self.keyspace, key);
        }
        self.store.inner.commit(batch).unwrap();
        self.fold();
    }

    pub(super) fn say(&self, what: What, fact: Fact) {
        let mut batch = BatchBuilder::new();
        batch.push(&fact.to_event(what, 0).as_ref());
        let at = StreamPartition::new(self.parked.id, PartitionId(0));
        let batch = batch.finish(Compression::None).unwrap();
        let permit = self.log.try_reserve(0).unwrap();
        self.log
            .append(permit, vec![Append { at, batch, expected_end: None, foreign: None }])
            .wait()
            .unwrap();
    }

    /// A person decides about a parked event.
    pub(super) fn decide(&mut self, offset: u64, what: What) {
        self.post();
        let view = crate::parked::ViewKey::new("ledger");
        let said = self.deps.index.said(view, self.at(), Offset(offset)).unwrap();
        let fact = self.facts().into_iter().rev().find(|(_, fact)| fact.offset.0 == offset).unwrap().1;
        assert_eq!(said.unwrap().episode, fact.episode);
        self.say(what, fact);
        self.fold();
        self.settle();
    }

    pub(super) fn fold(&self) {
        self.folding()();
    }

    /// What folds everything that `$parked` says when it is called.
    pub(super) fn folding(&self) -> impl Fn() + Send + use<> {
        let at = StreamPartition::new(self.parked.id, PartitionId(0));
        let (log, deps) = (self.log.clone(), self.deps.clone());
        move || {
            loop {
                let from = deps.index.folded();
                let blocks = pollster::block_on(log.read(at, from, 1 << 20)).unwrap();
                let Some(block) = blocks.first() else { return };
                let records = block.records().unwrap();
                let events: Vec<_> = records
                    .iter()
                    .unwrap()
                    .map(Result::unwrap)
                    .filter(|event| event.offset >= from)
                    .collect();
                if deps.index.fold(&events).is_err() {
                    deps.index.refresh().unwrap();
                }
            }
        }
    }

    /// The pipeline is of a generation that is built, and not read.
    pub(super) fn is_built(&self) {
        self.deps.outboxes.build(self.keyspace);
    }

    /// Whether it has to be built anew.
    pub(super) fn is_stale(&self) -> bool {
        self.progress.is_stale()
    }

    /// What is said of an event in its first episode.
    pub(super) fn fact(&self, offset: u64) -> Fact {
        Fact::new("ledger", &self.stream.name, self.at(), Offset(offset), 0)
    }

    /// Another pipeline of the view has parked an event, and a person has dropped it.
    pub(super) fn is_dropped_elsewhere(&self, offset: u64) {
        let fact = self.fact(offset);
        self.say(What::Parked, fact.clone());
        self.say(What::Dropped, fact);
    }

    /// Everything that `$parked` says.
    pub(super) fn facts(&self) -> Vec<(What, Fact)> {
        let at = StreamPartition::new(self.parked.id, PartitionId(0));
        let blocks = pollster::block_on(self.log.read(at, Offset::ZERO, usize::MAX)).unwrap();
        let mut facts = Vec::new();
        for block in blocks {
            for event in block.records().unwrap().iter().unwrap() {
                let event = event.unwrap();
                let id: ParkedId = event.event.subject.unwrap().parse().unwrap();
                assert_eq!(id.view, "ledger");
                match Change::read(event.event.ty, event.event.data.bytes()) {
                    Some(Change::Event(what, fact)) => facts.push((what, fact)),
                    other => panic!("{other:?}"),
                }
            }
        }
        facts
    }
}

fn open(
    options: &Options,
    log: &Arc<FaultyLog>,
    store: &Arc<FaultyStore>,
    env: &Env,
    view: &Arc<dyn View>,
    keyspace: Keyspace,
) -> (Arc<Deps>, Arc<Progress>, Pipeline) {
    let deps = Arc::new(Deps {
        options: Arc::new(tw_env::Live::new(options.clone())),
        log: log.clone(),
        store: store.clone(),
        env: env.clone(),
        index: Arc::new(Index::open(store.clone()).unwrap()),
        outboxes: Arc::new(Outboxes::default()),
        moved: Arc::default(),
        spans: Default::default(),
        keeping: Default::default(),
        snapshots: Arc::default(),
    });
    let at = StreamPartition::new(view.stream(), PartitionId(0));
    let progress = Arc::new(Progress::new(at, Arc::default(), Arc::default(), env.clock.monotonic()));
    let pipeline = Pipeline::new(deps.clone(), view.clone(), at, keyspace, progress.clone());
    (deps, progress, pipeline)
}
