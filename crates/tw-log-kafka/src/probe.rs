//! Finding out where partitions start and end: the first and the last record that is committed.

use crate::client::{self, Isolation, Quiet};
use crate::partition::{LastRecord, Learned, Loaded, Partition};
use crate::{Options, record};
use rdkafka::Offset as At;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::TopicPartitionList;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tw_log::{Error, Result};
use tw_types::StreamPartition;
use tw_wire::kafka::Place;

/// How long to wait before a broker is asked again that does not show all yet.
const AGAIN: Duration = Duration::from_millis(5);

/// How far back from the end the first look for the last record goes, and how much further each next one.
const BACK: u64 = 2;
const BACK_FACTOR: u64 = 32;

/// A client that looks, and reads no more than it must.
pub(crate) struct Probe {
    options: Options,
    consumer: BaseConsumer<Quiet>,
}

/// The records of Kafka that a partition has, by their offsets: from, to.
pub(crate) type Range = (u64, u64);

/// What Kafka says of partitions.
type Loads = BTreeMap<StreamPartition, Loaded>;

/// Which record of a partition is looked for.
#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    First,
    Last,
}

/// What came of asking about partitions.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Those that have moved on.
    pub(crate) moved: Vec<Arc<Partition>>,
    /// Those of which Kafka does not say now what is certain, or not all that is known.
    pub(crate) unsettled: Vec<Arc<Partition>>,
}

impl Probe {
    pub(crate) fn new(options: &Options, isolation: Isolation) -> Result<Self> {
        let consumer = client::prober(options, isolation);
        let consumer = consumer.map_err(|cause| client::unavailable(options, "make a client", cause))?;
        Ok(Self { options: options.clone(), consumer })
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.options.request_ms_max)
    }

    fn failed(&self, cause: KafkaError) -> Error {
        client::unavailable(&self.options, "tell where partitions end", cause)
    }

    /// The ends, per partition; those whose topic is not there are left out. Of what is committed: up to where everything is
    /// decided (the last stable offset).
    pub(crate) fn ends(&self, partitions: &[Arc<Partition>]) -> Result<HashMap<(Arc<str>, i32), u64>> {
        self.listen();
        self.offsets(partitions, At::End)
    }

    /// The first records that Kafka has, per partition, as [`Probe::ends`].
    pub(crate) fn starts(&self, partitions: &[Arc<Partition>]) -> Result<HashMap<(Arc<str>, i32), u64>> {
        self.listen();
        self.offsets(partitions, At::Beginning)
    }

    /// The first records that are of this time or later, in milliseconds since 1970, per partition; those that have none are
    /// left out.
    pub(crate) fn since(
        &self,
        partitions: &[Arc<Partition>],
        time_ms: i64,
    ) -> Result<HashMap<(Arc<str>, i32), u64>> {
        self.listen();
        self.offsets(partitions, At::Offset(time_ms.max(0)))
    }

    fn offsets(&self, partitions: &[Arc<Partition>], which: At) -> Result<HashMap<(Arc<str>, i32), u64>> {
        let mut wanted = TopicPartitionList::with_capacity(partitions.len());
        // Each once, however many wait for it: of what is in its list twice the library asks nonsense.
        let places: BTreeSet<_> = partitions.iter().map(|p| (&*p.topic, p.number())).collect();
        for (topic, number) in places {
            let added = wanted.add_partition_offset(topic, number, which);
            added.map_err(|cause| self.failed(cause))?;
        }
        if partitions.is_empty() {
            return Ok(HashMap::new());
        }
        let found = match self.consumer.offsets_for_times(wanted, self.timeout()) {
            Err(error) if is_absent(&error) => return Ok(HashMap::new()),
            found => found.map_err(|cause| self.failed(cause))?,
        };
        let topics: HashMap<&str, &Arc<str>> = partitions.iter().map(|p| (&*p.topic, &p.topic)).collect();
        let mut offsets = HashMap::with_capacity(partitions.len());
        for element in found.elements() {
            match element.error() {
                Err(error) if is_absent(&error) => continue,
                told => told.map_err(|cause| self.failed(cause))?,
            }
            if let (At::Offset(offset), Some(topic)) = (element.offset(), topics.get(element.topic())) {
                let offset = u64::try_from(offset).unwrap_or_default();
                offsets.insert((Arc::clone(topic), element.partition()), offset);
            }
        }
        Ok(offsets)
    }

    /// Finds out about partitions, and tells them. Waits until Kafka shows all that is known of those that exist still, unless
    /// it has been waited for in vain before.
    pub(crate) fn load_all(
        &self,
        partitions: &[Arc<Partition>],
        exists: impl Fn(StreamPartition) -> bool,
    ) -> Result<Found> {
        let deadline = Instant::now() + self.timeout();
        let mut found = self.load(partitions)?;
        while found.unsettled.iter().any(|partition| !partition.is_stuck()) {
            if Instant::now() > deadline {
                found.unsettled.iter().for_each(|partition| partition.make_stuck());
                break;
            }
            std::thread::sleep(AGAIN);
            let again = self.load(&found.unsettled)?;
            found.moved.extend(again.moved);
            found.unsettled = again.unsettled;
            found.unsettled.retain(|partition| exists(partition.at));
        }
        Ok(found)
    }

    /// The error of what needs to know where a partition ends that Kafka does not show.
    pub(crate) fn unsettled(&self) -> Error {
        self.failed(KafkaError::MessageConsumption(RDKafkaErrorCode::OffsetNotAvailable))
    }

    /// Finds out about partitions, as far as Kafka says it now, and tells them.
    ///
    /// What was found while a connection was lost does not count: an end that was asked for before need not fit what is read
    /// after it.
    pub(crate) fn load(&self, partitions: &[Arc<Partition>]) -> Result<Found> {
        let deadline = Instant::now() + self.timeout();
        loop {
            let troubles = self.troubles();
            let loaded = self.look(partitions)?;
            if self.troubles() == troubles {
                let mut found = Found::default();
                for partition in partitions {
                    match loaded.get(&partition.at).map(|loaded| partition.learn(loaded)) {
                        Some(Learned::Moved) => found.moved.push(partition.clone()),
                        Some(Learned::Same) => {}
                        Some(Learned::Behind) | None => {
                            let (at, tip) = (partition.at, partition.tip().0);
                            tracing::debug!(%at, ?tip, loaded = ?loaded.get(&at), "Kafka does not show all yet");
                            found.unsettled.push(partition.clone());
                        }
                    }
                }
                return Ok(found);
            }
            if Instant::now() > deadline {
                let cause = KafkaError::MessageConsumption(RDKafkaErrorCode::BrokerTransportFailure);
                return Err(self.failed(cause));
            }
        }
    }

    /// Takes note of what the library has to say; nothing is assigned, so that nothing else comes. To be called now and then.
    pub(crate) fn listen(&self) {
        while self.consumer.poll(Duration::from_millis(1)).is_some() {}
    }

    /// How many signs of trouble there were.
    fn troubles(&self) -> u64 {
        self.listen();
        self.consumer.context().troubles()
    }

    /// What Kafka says of partitions. A last record whose marker is the last thing there is certain; otherwise a new leader
    /// may have shown less than the one that told the end, so that it counts only if there was no new one.
    fn look(&self, partitions: &[Arc<Partition>]) -> Result<Loads> {
        let (mut loaded, unsure) = self.look_once(partitions)?;
        if !unsure.is_empty() {
            let before = self.leaders(&unsure)?;
            let (again, still_unsure) = self.look_once(&unsure)?;
            let after = self.leaders(&unsure)?;
            let is_same =
                |p: &Partition| before.get(&p.at).is_some_and(|leader| after.get(&p.at) == Some(leader));
            let counts = |p: &Partition| is_same(p) || !still_unsure.iter().any(|unsure| unsure.at == p.at);
            let counting = unsure.iter().filter(|p| counts(p));
            loaded.extend(counting.filter_map(|p| Some((p.at, *again.get(&p.at)?))));
        }
        Ok(loaded)
    }

    /// The brokers that lead partitions; those without one are left out.
    fn leaders(&self, partitions: &[Arc<Partition>]) -> Result<BTreeMap<StreamPartition, i32>> {
        let mut leaders = BTreeMap::new();
        for (topic, partitions) in by_topic(partitions) {
            let metadata = self.consumer.fetch_metadata(Some(&topic), self.timeout());
            let metadata = metadata.map_err(|cause| self.failed(cause))?;
            let told = metadata.topics().iter().filter(|told| told.name() == &*topic);
            for told in told.flat_map(MetadataTopic::partitions).filter(|told| told.leader() >= 0) {
                let known = partitions.iter().filter(|p| p.number() == told.id());
                leaders.extend(known.map(|p| (p.at, told.leader())));
            }
        }
        Ok(leaders)
    }

    /// What is read of partitions, and those for which that may be too little.
    fn look_once(&self, partitions: &[Arc<Partition>]) -> Result<(Loads, Vec<Arc<Partition>>)> {
        let firsts = self.offsets(partitions, At::Beginning)?;
        let ends = self.offsets(partitions, At::End)?;
        let range = |p: &Partition| {
            let key = (p.topic.clone(), p.number());
            Some((*firsts.get(&key)?, *ends.get(&key)?))
        };
        let (mut loaded, mut unsure) = (Loads::new(), Vec::new());
        // The library tells the end of a partition by its number alone: one topic at a time.
        for (topic, partitions) in by_topic(partitions) {
            let known: Vec<(&Arc<Partition>, Range)> =
                partitions.into_iter().filter_map(|p| range(p).map(|range| (p, range))).collect();
            let lasts = self.find(&topic, &known, Wanted::Last)?;
            let trimmed: Vec<_> = known.iter().copied().filter(|(_, (first, _))| *first > 0).collect();
            let firsts = self.find(&topic, &trimmed, Wanted::First)?;
            for (partition, (first_record, next_record)) in known {
                let first = firsts.get(&partition.number()).map(|(_, last)| last.place());
                let last = lasts.get(&partition.number()).copied();
                let is_sure = first_record == next_record
                    || last.is_some_and(|(record, _)| record + 2 >= next_record)
                        && (first_record == 0 || first.is_some());
                if !is_sure {
                    unsure.push(partition.clone());
                }
                loaded.insert(partition.at, Loaded { first_record, next_record, first, last });
            }
        }
        Ok((loaded, unsure))
    }

    /// The first record that is committed from `record` on, and before `end`, where there is one.
    pub(crate) fn first_from(
        &self,
        partition: &Arc<Partition>,
        record: u64,
        end: u64,
    ) -> Result<(u64, Place)> {
        let found = self.find(&partition.topic, &[(partition, (record, end))], Wanted::First)?;
        let found = found.get(&partition.number()).map(|(record, last)| (*record, last.place()));
        found.ok_or_else(|| self.unsettled())
    }

    /// The first record that is committed in a range of each partition of a topic, and its place; those that have none are left
    /// out.
    pub(crate) fn firsts(
        &self,
        topic: &str,
        ranges: &[(&Arc<Partition>, Range)],
    ) -> Result<HashMap<i32, (u64, Place)>> {
        let found = self.find(topic, ranges, Wanted::First)?;
        Ok(found.into_iter().map(|(number, (record, last))| (number, (record, last.place()))).collect())
    }

    /// Finds a record of each partition of a topic; none where none is committed.
    fn find(
        &self,
        topic: &str,
        partitions: &[(&Arc<Partition>, Range)],
        wanted: Wanted,
    ) -> Result<HashMap<i32, (u64, LastRecord)>> {
        let mut found = HashMap::new();
        let mut open: Vec<(&Arc<Partition>, Range)> =
            partitions.iter().copied().filter(|(_, (first, end))| first < end).collect();
        let is_foreign = partitions.first().is_some_and(|(partition, _)| partition.is_foreign);
        let mut back = BACK;
        while !open.is_empty() {
            let starts: BTreeMap<i32, Range> = open
                .iter()
                .map(|(partition, (first, end))| {
                    let from = end.saturating_sub(back).max(*first);
                    (partition.number(), (if wanted == Wanted::First { *first } else { from }, *end))
                })
                .collect();
            self.scan((topic, is_foreign), &starts, wanted, &mut found)?;
            open.retain(|(partition, (first, _))| {
                let number = partition.number();
                let from = starts.get(&number).map_or(0, |(from, _)| *from);
                !found.contains_key(&number) && from > *first
            });
            back = back.saturating_mul(BACK_FACTOR);
        }
        Ok(found)
    }

    /// Reads the given ranges, until the wanted record of each is known or there is none.
    fn scan(
        &self,
        (topic, is_foreign): (&str, bool),
        ranges: &BTreeMap<i32, Range>,
        wanted: Wanted,
        found: &mut HashMap<i32, (u64, LastRecord)>,
    ) -> Result<()> {
        let mut list = TopicPartitionList::with_capacity(ranges.len());
        for (number, (from, _)) in ranges {
            let from = At::Offset(i64::try_from(*from).unwrap_or(i64::MAX));
            list.add_partition_offset(topic, *number, from).map_err(|cause| self.failed(cause))?;
        }
        self.consumer.assign(&list).map_err(|cause| self.failed(cause))?;
        let outcome = self.collect((topic, is_foreign), ranges, wanted, found);
        self.consumer.unassign().map_err(|cause| self.failed(cause))?;
        outcome
    }

    fn collect(
        &self,
        (topic, is_foreign): (&str, bool),
        ranges: &BTreeMap<i32, Range>,
        wanted: Wanted,
        found: &mut HashMap<i32, (u64, LastRecord)>,
    ) -> Result<()> {
        let mut open: BTreeSet<i32> = ranges.keys().copied().collect();
        let deadline = Instant::now() + self.timeout();
        let mut cause = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
        while !open.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.failed(cause));
            }
            match self.consumer.poll(left.min(client::LOOK)) {
                None => {}
                Some(Err(KafkaError::PartitionEOF(number))) => {
                    open.remove(&number);
                }
                Some(Err(error)) => cause = error,
                Some(Ok(message)) if message.topic() == topic => {
                    let number = message.partition();
                    let Some((_, end)) = ranges.get(&number).filter(|_| open.contains(&number)) else {
                        continue;
                    };
                    let offset = u64::try_from(message.offset()).unwrap_or_default();
                    if offset >= *end {
                        // Written since.
                        open.remove(&number);
                        continue;
                    }
                    let last = if is_foreign {
                        let mut text = String::new();
                        LastRecord::Event(record::read_foreign(&message, self.options.region, &mut text).0)
                    } else {
                        LastRecord::from(record::read(&message)?)
                    };
                    found.insert(number, (offset, last));
                    if wanted == Wanted::First || offset + 1 >= *end {
                        open.remove(&number);
                    }
                }
                Some(Ok(_)) => {}
            }
        }
        Ok(())
    }
}

fn by_topic(partitions: &[Arc<Partition>]) -> BTreeMap<Arc<str>, Vec<&Arc<Partition>>> {
    let mut topics: BTreeMap<Arc<str>, Vec<&Arc<Partition>>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(partition.topic.clone()).or_default().push(partition);
    }
    topics
}

/// Whether the topic or the partition is not there, or not yet.
fn is_absent(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    matches!(error.rdkafka_error_code(), Some(UnknownPartition | UnknownTopic | UnknownTopicOrPartition))
}
