//! Whatever the pace of writes, the log holds what was pushed, in its order, and no cursor promises more.

use super::*;
use crate::pace::Departure;
use proptest::prelude::*;
use tw_env::sim::Sim;
use tw_log::{Log, MemoryLog, NewStream};
use tw_state::MemoryStore;
use tw_types::{Data, Offset, StreamName, StreamPartition};

/// What happens to a source.
#[derive(Debug, Clone)]
enum Step {
    /// A change of one of a few rows, with so many bytes.
    Change(u8, usize),
    Commit,
    /// Milliseconds pass.
    Pass(u64),
    /// The oldest write becomes durable.
    Land,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..6, 1usize..2_000).prop_map(|(row, bytes)| Step::Change(row, bytes)),
        1 => (0u8..6, Just(40 << 10)).prop_map(|(row, bytes)| Step::Change(row, bytes)),
        3 => Just(Step::Commit),
        2 => (0u64..3).prop_map(Step::Pass),
        2 => Just(Step::Land),
    ]
}

/// A sink as a session uses it: changes are numbered, and the cursor's place is the number of the last one.
struct Harness {
    sim: Sim,
    store: EventStore,
    def: Arc<StreamDef>,
    sink: Sink,
    changes: u64,
    in_transaction: bool,
    /// The numbers of the last changes of transactions, and of those that made a write full.
    ends: Vec<u64>,
}

impl Harness {
    async fn new() -> Self {
        let sim = Sim::new(1);
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new(sim.env()));
        let options = tw_log::store::Options::default();
        let store = EventStore::open(log.clone(), Arc::new(MemoryStore::new()), sim.env(), options).unwrap();
        let sources = cursor::sources_stream(log.as_ref()).await.unwrap();
        let stream = NewStream::plain(StreamName::new("shop.t").unwrap(), 3);
        let def = log.create_stream(stream).await.unwrap();
        let sink = Sink::new(
            (store.clone(), Arc::new(crate::Ungated)),
            sim.env(),
            "shop",
            sources,
            (64 << 10, 3),
            Lsn(0),
        );
        Self { sim, store, def, sink, changes: 0, in_transaction: false, ends: vec![0] }
    }

    async fn submit(&mut self) {
        let cursor =
            Cursor { v: 1, system_id: "1".into(), timeline: 1, lsn: Lsn(self.changes), ordinal: 0, xid: 0 };
        self.sink.submit(&cursor, &[]).await.unwrap();
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Change(row, bytes) => {
                self.changes += 1;
                self.in_transaction = true;
                let (id, subject) = (self.changes.to_string(), row.to_string());
                let data = serde_json::to_vec(&"x".repeat(*bytes)).unwrap();
                let event = EventRef {
                    id: &id,
                    source: "/sources/shop",
                    ty: "row.update",
                    subject: Some(&subject),
                    time: None,
                    datacontenttype: None,
                    dataschema: None,
                    extensions: Vec::new(),
                    data: Data::Json(&data),
                };
                let def = self.def.clone();
                self.sink.push(&def, None, &event).unwrap();
                if self.sink.is_full() {
                    self.ends.push(self.changes);
                    self.submit().await;
                }
            }
            Step::Commit => {
                self.in_transaction = false;
                self.ends.push(self.changes);
            }
            Step::Pass(ms) => self.sim.clock.advance(*ms),
            Step::Land => self.sink.settle_one().await.unwrap(),
        }
        let due = !self.in_transaction && !self.sink.is_empty();
        if due && self.sink.departure() == Departure::Now {
            self.submit().await;
        }
    }

    /// The numbers that a partition of a stream holds, as `number` reads them.
    async fn numbers(
        &self,
        at: StreamPartition,
        number: impl Fn(&tw_types::EventRef<'_>) -> u64,
    ) -> Vec<u64> {
        let log = self.store.log();
        let (mut next, end, mut found) = (Offset::ZERO, log.bounds(at).unwrap().end, Vec::new());
        while next < end {
            for block in log.read(at, next, 1 << 20).await.unwrap() {
                for record in block.records().unwrap().iter().unwrap() {
                    found.push(number(&record.unwrap().event));
                }
                next = block.header().end_offset();
            }
        }
        found
    }

    /// The numbers of the changes in the log, by partition.
    async fn logged(&self) -> Vec<Vec<u64>> {
        let mut logged = Vec::new();
        for partition in (0..self.def.partitions).map(PartitionId) {
            let at = StreamPartition::new(self.def.id, partition);
            logged.push(self.numbers(at, |event| event.id.parse().unwrap()).await);
        }
        logged
    }

    async fn cursors(&self) -> Vec<u64> {
        let at = StreamPartition::new(self.sink.sources.id, PartitionId(0));
        self.numbers(at, |event| serde_json::from_slice::<Cursor>(event.data.bytes()).unwrap().lsn.0).await
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn cap_2_writes_keep_order_and_transactions_whole_at_any_pace(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut harness = Harness::new().await;
            let durable = harness.sink.durable();
            for step in &steps {
                harness.take(step).await;
                // CAP-1: everything up to there can be read.
                let confirmed = durable.borrow().0;
                let logged: Vec<u64> = harness.logged().await.concat();
                prop_assert!((1..=confirmed).all(|change| logged.contains(&change)));
            }
            harness.take(&Step::Commit).await;
            harness.submit().await;
            harness.sink.settle().await.unwrap();
            let logged = harness.logged().await;
            prop_assert!(logged.iter().all(|numbers| numbers.is_sorted_by(|a, b| a < b)));
            let mut all = logged.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (1..=harness.changes).collect::<Vec<_>>());
            let cursors = harness.cursors().await;
            prop_assert!(cursors.is_sorted());
            prop_assert_eq!(cursors.last(), Some(&harness.changes));
            prop_assert!(cursors.iter().all(|cursor| harness.ends.contains(cursor)), "{:?}", cursors);
            Ok(())
        })?;
    }
}
