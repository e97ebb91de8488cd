//! Reading what is not in memory: threads with a client each, which stays where the last read of a partition ended.

use crate::blocks::Blocks;
use crate::client::{self, Isolation, Quiet};
use crate::partition::Partition;
use crate::record;
use crate::shared::Shared;
use parking_lot::RwLock;
use rdkafka::Offset as At;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::TopicPartitionList;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tw_log::{Error, Result};
use tw_types::{Offset, StreamPartition};
use tw_wire::Block;
use tw_wire::kafka::Record;

/// Closer than this, records are read over rather than jumped over.
const JUMP_MIN: u64 = 256;
/// How long a broker may wait for more, in milliseconds.
const WAIT_MS: u32 = 5;
/// After how long without a request a reader rests.
const REST: Duration = Duration::from_secs(1);

/// A read that asks Kafka.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) partition: Arc<Partition>,
    /// The first offset that is wanted.
    pub(crate) from: Offset,
    /// The end: something is there before it.
    pub(crate) end: Offset,
    /// A record at or before the wanted one.
    pub(crate) record: u64,
    pub(crate) bytes_max: usize,
    pub(crate) reply: oneshot::Sender<Result<Vec<Block>>>,
}

impl Job {
    /// The error of a wanted event that was removed, as were all before `start`.
    fn trimmed(&self, start: Offset) -> Error {
        Error::Trimmed { at: self.partition.at, start: start.max(self.partition.bounds().start) }
    }
}

/// The threads that read.
#[derive(Debug, Default)]
pub(crate) struct Readers(RwLock<Vec<mpsc::Sender<Job>>>);

impl Readers {
    /// Adds a thread, which serves what comes out of the receiver.
    pub(crate) fn add(&self) -> mpsc::Receiver<Job> {
        let (sender, receiver) = mpsc::channel();
        self.0.write().push(sender);
        receiver
    }

    /// Hands a read to the thread that reads its partition; if that has ended, nobody ever replies.
    pub(crate) fn send(&self, job: Job) {
        let at = job.partition.at;
        let number = (at.stream.0 as usize).wrapping_mul(31).wrapping_add(at.partition.0 as usize);
        let readers = self.0.read();
        if let Some(reader) = readers.get(number % readers.len().max(1)) {
            let _has_ended = reader.send(job);
        }
    }

    /// Takes no more reads; the threads end.
    pub(crate) fn close(&self) {
        self.0.write().clear();
    }
}

/// Where a client stands.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Cursor {
    at: StreamPartition,
    /// The offset after the last event that it gave.
    next: u64,
}

/// What became of a record, or of whatever else came.
enum Step {
    /// It is not wanted.
    Over,
    /// Its event, of this offset, was given.
    Given(u64),
    /// The wanted one is further on, at this record or after it.
    Jump(u64),
    /// It was written since; whoever reads on reads it then.
    Beyond,
}

/// See the module's text.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    consumer: BaseConsumer<Quiet>,
    cursor: Option<Cursor>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Self> {
        // A request that waits at the broker for more of one partition holds up the first one for the next.
        let consumer = client::consumer(&shared.options, Isolation::Committed, WAIT_MS);
        let consumer =
            consumer.map_err(|cause| client::unavailable(&shared.options, "make a client", cause))?;
        Ok(Self { shared, consumer, cursor: None })
    }

    /// Serves reads until nobody can ask any more.
    pub(crate) fn run(mut self, jobs: mpsc::Receiver<Job>) {
        let mut rests = false;
        loop {
            let job = match jobs.recv_timeout(REST) {
                Ok(job) => job,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    rests = self.rest(rests);
                    continue;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            };
            rests = false;
            // Whoever asked may have lost interest meanwhile.
            if job.reply.is_closed() {
                continue;
            }
            let outcome = self.read(&job);
            if outcome.is_err() {
                self.cursor = None;
            }
            let _nobody_listens = job.reply.send(outcome);
        }
    }

    /// Nobody reads: hears what the library has to say, which it keeps, and sorts, until it is asked. In an outage that grows.
    /// Gives whether it rests.
    fn rest(&mut self, rested: bool) -> bool {
        if !rested {
            self.cursor = None;
            // With nothing assigned, nothing else comes.
            if let Err(error) = self.consumer.unassign() {
                tracing::debug!(%error, "a reader keeps what it was reading");
                return false;
            }
        }
        while self.consumer.poll(Duration::ZERO).is_some() {}
        true
    }

    fn failed(&self, cause: KafkaError) -> Error {
        client::unavailable(&self.shared.options, "give events", cause)
    }

    fn seek(&self, partition: &Partition, record: u64) -> Result<()> {
        let mut list = TopicPartitionList::with_capacity(1);
        let at = At::Offset(i64::try_from(record).unwrap_or(i64::MAX));
        let added = list.add_partition_offset(&partition.topic, partition.number(), at);
        added.and_then(|()| self.consumer.assign(&list)).map_err(|cause| self.failed(cause))
    }

    fn read(&mut self, job: &Job) -> Result<Vec<Block>> {
        let wanted = Cursor { at: job.partition.at, next: job.from.0 };
        if self.cursor.take() != Some(wanted) {
            self.seek(&job.partition, job.record)?;
        }
        let deadline = Instant::now() + Duration::from_millis(self.shared.options.request_ms_max);
        let mut blocks = Blocks::new(job.partition.at);
        let (mut next, mut from_start, mut is_beyond) = (job.from.0, false, false);
        let mut text = String::new();
        let mut cause = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
        while next < job.end.0 && (blocks.is_empty() || blocks.bytes() < job.bytes_max) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.failed(cause));
            }
            let step = match self.consumer.poll(left.min(client::LOOK)) {
                None => Step::Over,
                // What is acknowledged is there, as soon as Kafka's marker is.
                Some(Err(KafkaError::PartitionEOF(_))) => Step::Over,
                // Whoever reads on is told.
                Some(Err(error)) if is_removed(&error) && !blocks.is_empty() => Step::Beyond,
                // The wanted event may be there all the same, further on than where it was looked for.
                Some(Err(error)) if is_removed(&error) && !from_start => {
                    from_start = true;
                    Step::Jump(self.first_record(job)?)
                }
                Some(Err(error)) if is_removed(&error) => return Err(job.trimmed(job.from.next())),
                Some(Err(error)) if is_damaged(&error) => return Err(damaged(&job.partition, &error)),
                Some(Err(error)) => {
                    cause = error;
                    Step::Over
                }
                Some(Ok(message)) if is_of(&message, &job.partition) => {
                    self.take(&message, job, &mut text, &mut blocks)?
                }
                Some(Ok(_)) => Step::Over,
            };
            match step {
                Step::Over => {}
                Step::Given(offset) if from_start && next == job.from.0 && offset > next => {
                    return Err(job.trimmed(Offset(offset)));
                }
                Step::Given(offset) => next = offset + 1,
                Step::Jump(record) => self.seek(&job.partition, record)?,
                Step::Beyond => {
                    is_beyond = true;
                    break;
                }
            }
        }
        // A record that was looked at and not given would be missing from the next read.
        self.cursor = (!is_beyond).then_some(Cursor { at: job.partition.at, next });
        Ok(blocks.finish()?)
    }

    /// The first record that Kafka has, if anything is there that is known of.
    fn first_record(&self, job: &Job) -> Result<u64> {
        let limit = Duration::from_millis(self.shared.options.request_ms_max);
        let (topic, number) = (&*job.partition.topic, job.partition.number());
        let (first, _) =
            self.consumer.fetch_watermarks(topic, number, limit).map_err(|cause| self.failed(cause))?;
        let first = u64::try_from(first).unwrap_or_default();
        if first >= job.partition.tip().0.record { Err(job.trimmed(job.end)) } else { Ok(first) }
    }

    /// Adds the event of a record if it is wanted. What a record of others does not say itself is written into `text`.
    fn take(
        &self,
        message: &BorrowedMessage<'_>,
        job: &Job,
        text: &mut String,
        blocks: &mut Blocks,
    ) -> Result<Step> {
        let at = u64::try_from(message.offset()).unwrap_or_default();
        let record = if job.partition.is_foreign {
            let (place, event) = record::read_foreign(message, self.shared.options.region, text);
            Record::Event(place, event)
        } else {
            record::read(message)?
        };
        let Record::Event(place, event) = record else { return Ok(Step::Over) };
        let ahead = job.from.0.saturating_sub(place.offset.0);
        if ahead > JUMP_MIN {
            return Ok(Step::Jump(at + ahead));
        }
        if ahead > 0 {
            return Ok(Step::Over);
        }
        if place.offset >= job.end {
            return Ok(Step::Beyond);
        }
        if blocks.is_empty() {
            job.partition.remember(place.offset.0, at, self.shared.options.places_max as usize);
        }
        blocks.push(&place, &event)?;
        Ok(Step::Given(place.offset.0))
    }
}

fn is_of(message: &BorrowedMessage<'_>, partition: &Partition) -> bool {
    message.partition() == partition.number() && message.topic() == &*partition.topic
}

fn is_removed(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AutoOffsetReset, OffsetOutOfRange};
    matches!(error.rdkafka_error_code(), Some(AutoOffsetReset | OffsetOutOfRange))
}

fn is_damaged(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{BadCompression, BadMessage, InvalidMessage};
    matches!(error.rdkafka_error_code(), Some(BadCompression | BadMessage | InvalidMessage))
}

fn damaged(partition: &Partition, error: &KafkaError) -> Error {
    let file = format!("kafka:{}/{}", partition.topic, partition.number()).into();
    Error::Damaged { file, position: 0, cause: error.to_string() }
}

#[cfg(test)]
mod tests;
