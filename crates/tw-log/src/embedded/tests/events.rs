//! The event store on the simulated log: crashes at any operation of the disk, with any part of the index left.
//!
//! Writers go on until the power goes. In the next life what was acknowledged must be where it was said to be; and what
//! nobody knows about is written once more, with the same ids or the same key, after which it must be there exactly once.

use super::by_hand::ByHand;
use super::cut::Cut;
use super::rig::small;
use crate::store::{Appended, Error, EventStore, Filter, Options, Write};
use crate::{Log, NewStream};
use futures_util::future::{join_all, select};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use tw_env::sim::{Fault, Sim, SimRandom};
use tw_state::MemoryStore;
use tw_types::{
    EventRef, ExpectedVersion, Offset, PartitionId, Position, StreamDef, StreamName, StreamPartition, Version,
};

/// How many lives a history has.
const LIVES: u64 = 6;
/// How many subjects share most of the events.
const SUBJECTS: u64 = 5;
/// The subjects of a burst: more than are stored in one commit.
const BURST: u64 = 4_500;

/// A write that somebody wants to be in the log once.
#[derive(Debug, Clone)]
struct Intent {
    /// Subjects and ids.
    events: Vec<(String, String)>,
    key: Option<String>,
    /// The version that the subject of the first event is to have before.
    expected: Option<Version>,
}

/// What writers remember from one life to the next.
#[derive(Debug, Default)]
struct Memory {
    stored: BTreeMap<(String, String), (Position, Version)>,
    refused: BTreeSet<(String, String)>,
    /// What nobody knows about.
    open: Vec<Intent>,
    next: u64,
}

impl Memory {
    fn take_note(&mut self, intent: Intent, outcome: Result<Appended, Error>) {
        match outcome {
            Ok(appended) => {
                assert_eq!(appended.events.len(), intent.events.len());
                let first = &appended.events[0];
                if let Some(expected) = intent.expected.filter(|_| !first.duplicate) {
                    assert_eq!(first.version, expected.next(), "LOG-3");
                }
                for (event, told) in intent.events.into_iter().zip(appended.events) {
                    let place = (told.position, told.version);
                    let before = self.stored.insert(event, place);
                    assert!(
                        before.is_none_or(|before| before == place),
                        "the answer to a repetition is the first one"
                    );
                }
            }
            Err(Error::Conflict { actual, .. }) => {
                assert_ne!(intent.expected, Some(actual), "LOG-3");
                self.refused.extend(intent.events);
            }
            Err(Error::Log(_)) => self.open.push(intent),
            Err(other) => panic!("{other}"),
        }
    }
}

/// One life of a machine, from its start to its end.
struct Life {
    log: Arc<ByHand>,
    store: EventStore,
    stream: Arc<StreamDef>,
    random: SimRandom,
    memory: RefCell<Memory>,
}

impl Life {
    fn write(&self, intent: &Intent) -> Write {
        let mut write = self.store.write();
        for (subject, id) in &intent.events {
            let event =
                EventRef { id, source: "/test", ty: "t", subject: Some(subject), ..EventRef::default() };
            write.push(&self.stream, &event).unwrap();
        }
        if let Some(version) = intent.expected {
            let expected = if version == Version::NONE {
                ExpectedVersion::None
            } else {
                ExpectedVersion::Exact(version)
            };
            write.expect(&self.stream, &intent.events[0].0, expected);
        }
        if let Some(key) = &intent.key {
            // Only the key stands between a repetition and a second copy.
            write.dedup_by_id(false);
            write.idempotency_key(key);
        }
        write
    }

    fn number(&self) -> u64 {
        let mut memory = self.memory.borrow_mut();
        memory.next += 1;
        memory.next
    }

    async fn intent(&self) -> Result<Intent, Error> {
        let number = self.number();
        let count = 1 + self.random.below(3);
        let events = (0..count).map(|event| {
            let subject = format!("subject-{}", self.random.below(SUBJECTS).min(self.random.below(SUBJECTS)));
            (subject, format!("{number}-{event}"))
        });
        let events: Vec<_> = events.collect();
        let (mut key, mut expected) = (None, None);
        match self.random.below(4) {
            0 => key = Some(format!("key-{number}")),
            1 => expected = Some(self.store.version(self.stream.id, &events[0].0).await?),
            _ => {}
        }
        Ok(Intent { events, key, expected })
    }

    /// Writes until the log stops, or for some rounds: up to three writes at a time.
    async fn writer(&self, rounds: u64) {
        for _ in 0..rounds {
            let mut under_way = Vec::new();
            for _ in 0..=self.random.below(3) {
                let Ok(intent) = self.intent().await else { break };
                match self.store.submit(self.write(&intent)).await {
                    Ok(pending) => under_way.push((intent, pending)),
                    Err(error) => self.memory.borrow_mut().take_note(intent, Err(error)),
                }
            }
            for (intent, pending) in under_way {
                let outcome = pending.await;
                self.memory.borrow_mut().take_note(intent, outcome);
            }
            if self.log.has_stopped() {
                return;
            }
        }
    }

    /// Writes one event each of many new subjects.
    async fn burst(&self) {
        for _ in 0..BURST / 300 {
            let name = |_| (format!("burst-{}", self.number()), "1".to_owned());
            let intent = Intent { events: (0..300).map(name).collect(), key: None, expected: None };
            let outcome = self.store.append(self.write(&intent)).await;
            self.memory.borrow_mut().take_note(intent, outcome);
        }
    }

    /// Writes once more what nobody knows about.
    async fn write_again(&self) {
        let open = std::mem::take(&mut self.memory.borrow_mut().open);
        for intent in open {
            let outcome = self.store.append(self.write(&intent)).await;
            self.memory.borrow_mut().take_note(intent, outcome);
        }
    }

    /// Lets `work` go on while the log commits and the index is stored now and then.
    async fn drive(&self, work: impl Future<Output = ()>) {
        let machine = async {
            loop {
                tokio::task::yield_now().await;
                if self.random.chance(1, 3) || self.log.has_stopped() {
                    self.log.commit();
                    if self.random.chance(1, 15) {
                        self.store.flush().unwrap();
                    }
                }
            }
        };
        let machine: std::pin::Pin<&mut dyn Future<Output = ()>> = pin!(machine);
        select(pin!(work), machine).await;
    }

    /// Compares what writers were told with what is there.
    async fn check(&self) {
        let mut by_subject: BTreeMap<String, Vec<(Position, Version, String)>> = BTreeMap::new();
        for partition in (0..self.stream.partitions).map(PartitionId) {
            let at = StreamPartition::new(self.stream.id, partition);
            let all = Filter::default();
            let page = self.store.read(at, Offset::ZERO, &all, usize::MAX, usize::MAX).await.unwrap();
            assert_eq!(page.next, self.log.bounds(at).unwrap().end);
            for stored in page.events {
                let subject = stored.event.subject.unwrap();
                by_subject.entry(subject).or_default().push((
                    stored.position,
                    stored.version,
                    stored.event.id,
                ));
            }
        }
        let mut found = BTreeMap::new();
        for (subject, events) in &by_subject {
            let versions: Vec<_> = events.iter().map(|(_, version, _)| version.0).collect();
            assert_eq!(versions, (1..=events.len() as u64).collect::<Vec<_>>(), "LOG-2: {subject}");
            for (position, version, id) in events {
                let twice = found.insert((subject.clone(), id.clone()), (*position, *version));
                assert_eq!(twice, None, "`{id}` of `{subject}` is there twice");
            }
            if subject.starts_with("burst") && !subject.ends_with("77") {
                continue;
            }
            let version = self.store.version(self.stream.id, subject).await.unwrap();
            assert_eq!(version.0, events.len() as u64, "{subject}");
            let history = self.store.history(self.stream.id, subject, Version(1), usize::MAX).await.unwrap();
            let history: Vec<_> = history
                .into_iter()
                .map(|stored| (stored.position, stored.version, stored.event.id))
                .collect();
            assert!(history == *events, "the history of {subject}");
        }
        let memory = self.memory.borrow();
        for (event, place) in &memory.stored {
            assert_eq!(found.get(event), Some(place), "LOG-1: {event:?}");
        }
        for event in &memory.refused {
            assert!(!found.contains_key(event), "{event:?} was refused");
        }
        let open: BTreeSet<_> = memory.open.iter().flat_map(|intent| &intent.events).collect();
        for event in found.keys().filter(|event| !memory.stored.contains_key(event)) {
            assert!(open.contains(event), "nobody wrote {event:?}");
        }
    }
}

async fn history(seed: u64) {
    let (sim, random) = (Sim::new(seed), SimRandom::new(seed.wrapping_mul(31)));
    let (mut memory, mut state) = (Memory::default(), Arc::new(Cut::new(&MemoryStore::new(), seed)));
    for number in 0..LIVES {
        let log = Arc::new(ByHand::open(&sim, &small()).unwrap());
        log.commit();
        let stream = match log.streams().get("s") {
            Ok(stream) => stream.clone(),
            Err(_) => log.create_stream(NewStream::plain(StreamName::new("s").unwrap(), 3)).await.unwrap(),
        };
        // The index is stored when the history says so.
        let options = Options { index_flush_ms: 3_600_000, ..Options::default() };
        let store = EventStore::open(log.clone(), state.clone(), sim.env(), options).unwrap();
        let random_here = SimRandom::new(seed * 100 + number);
        let life = Life { log, store, stream, random: random_here, memory: RefCell::new(memory) };
        life.check().await;
        life.drive(life.write_again()).await;
        assert_eq!(life.memory.borrow().open.len(), 0);
        life.check().await;
        if number + 1 == LIVES {
            return;
        }
        sim.disk.fault_at(sim.disk.operations() + random.below(160), Fault::Crash);
        let bursts = random.chance(1, 4);
        let writers = join_all((0..4).map(|_| life.writer(40)));
        life.drive(async {
            if bursts {
                life.burst().await;
            }
            writers.await;
        })
        .await;
        life.log.commit();
        let Life { store, memory: remembered, .. } = life;
        drop(store);
        memory = remembered.into_inner();
        let seed = random.below(u64::MAX);
        state = Arc::new(match random.below(5) {
            0 => Cut::new(&MemoryStore::new(), seed),
            1 | 2 => Cut::new(state.live(), seed),
            _ => Cut::new(state.survivor(), seed),
        });
        if random.chance(1, 3) {
            sim.disk.process_loss();
        } else {
            sim.disk.power_loss();
        }
    }
}

/// LOG-1, LOG-2 and LOG-3 for subjects, and each write once, through crashes of everything at any moment.
#[test]
fn log_2_log_3_every_write_is_there_once_through_crashes() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for seed in 0..u64::from(tw_testing::cases(60)) {
        let outcome = std::panic::catch_unwind(|| runtime.block_on(history(seed)));
        assert!(outcome.is_ok(), "seed {seed}: see above");
    }
}
