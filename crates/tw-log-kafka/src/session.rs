//! A writer's session: transactions in its name, as long as nobody else writes in that name.
//!
//! How others are shut out, and what is doubtful, is in ADR 0009. In short: a session begins with `InitProducerId`, which
//! raises the epoch that Kafka knows the writer by, and with a claim in the topic of writers; a session that is begun again
//! claims the name again, and goes on only if nobody else has claimed it in between.

use crate::client::{self, Deliveries, Isolation, Run, Writing, is_fenced};
use crate::plan::Write;
use crate::record::Collected;
use crate::{Options, topics};
use rdkafka::Offset as At;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::TopicPartitionList;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tw_types::PartitionId;
use tw_wire::kafka::{self, Place};

/// Records that wait for the broker at most, so that the library's queue never overflows.
const UNDER_WAY_MAX: usize = 500_000;

/// How long putting away what was heard may take at most, before a commit goes on all the same.
const REST_MAX: Duration = Duration::from_millis(20);

/// What a transaction writes to one partition.
pub(crate) struct Share<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: PartitionId,
    /// Where the first record must go.
    pub(crate) record: u64,
    pub(crate) content: Content<'a>,
}

/// The records of a share.
pub(crate) enum Content<'a> {
    /// Events.
    Events(&'a Write),
    /// That the partition was emptied, and ends here.
    Trimmed(Place),
}

/// How a transaction ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is committed.
    Committed,
    /// Somebody else has written to one of the partitions: nothing was written. Of each share, its last record, which was
    /// aborted.
    Displaced(Vec<u64>),
    /// Nothing was written, since Kafka takes no more of this session: it has to be begun again.
    Refused,
    /// Nobody knows: the session has to be begun again, and the log looked at.
    Doubtful(KafkaError),
}

/// Why a session did not begin again.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Another process has claimed the name.
    Fenced,
    /// Kafka does not answer, or refuses, be it because another session has begun in this name meanwhile.
    Failed(KafkaError),
}

impl From<KafkaError> for Refusal {
    fn from(error: KafkaError) -> Self {
        Self::Failed(error)
    }
}

/// See the module's text.
pub(crate) struct Session {
    options: Options,
    /// What this process claims the name with.
    claim: String,
    producer: ThreadedProducer<Writing>,
    deliveries: Arc<Deliveries>,
}

impl Session {
    /// Takes the name `options.writer`, and shuts out whoever had it.
    pub(crate) fn begin(options: &Options, claim: String) -> Result<Self, KafkaError> {
        let (producer, deliveries) = start(options)?;
        let session = Self { options: options.clone(), claim, producer, deliveries };
        session.send_claim()?;
        session.commit()?;
        Ok(session)
    }

    /// Begins again under the same claim. When this returns, what was under way is decided.
    ///
    /// Kafka knows nothing of claims: beginning shuts out whoever writes in this name, a rightful successor too, who then
    /// begins again as well. That is why the claims are looked at before, for what they are worth, and after.
    pub(crate) fn begin_again(&mut self) -> Result<(), Refusal> {
        let before = last_claim(&self.options, None)?;
        if before.is_some_and(|claim| claim != self.claim) {
            return Err(Refusal::Fenced);
        }
        (self.producer, self.deliveries) = start(&self.options)?;
        let record = self.send_claim()?;
        // Every claim that was made so far is before this record, whatever became of the transaction that made it: one that
        // was aborted was the attempt of somebody who will try again.
        let last = last_claim(&self.options, Some(record))?;
        if last.as_ref() != Some(&self.claim) {
            self.abort()?;
            return Err(Refusal::Fenced);
        }
        Ok(self.commit()?)
    }

    /// Whether a request may have been lost, or be on its way still: then it must not meet another transaction of the same
    /// epoch (KAFKA-17754).
    pub(crate) fn is_troubled(&self) -> bool {
        self.deliveries.is_troubled()
    }

    fn limit(&self) -> Duration {
        Duration::from_millis(self.options.transaction_ms_max)
    }

    /// Says in the topic of writers who writes in this name, in a transaction that goes on; returns the record's offset.
    fn send_claim(&self) -> Result<u64, KafkaError> {
        self.producer.begin_transaction()?;
        self.deliveries.begin(1);
        self.deliveries.sent();
        let topic = topics::of_writers(&self.options);
        let record = BaseRecord::with_opaque_to(&topic, 0).partition(0);
        let record = record.key(self.options.writer.as_str()).payload(self.claim.as_str());
        self.producer.send(record).map_err(|(error, _)| error)?;
        let run = self.delivered(Instant::now() + self.limit())?.pop().flatten();
        run.map(|run| run.first).ok_or_else(timed_out)
    }

    /// Where the records went, once all have been taken.
    fn delivered(&self, deadline: Instant) -> Result<Vec<Option<Run>>, KafkaError> {
        if !self.deliveries.wait_below(1, deadline) {
            return Err(timed_out());
        }
        self.deliveries.outcome()
    }

    /// Writes all shares or none.
    pub(crate) fn write(&self, shares: &[Share<'_>]) -> Outcome {
        let deadline = Instant::now() + self.limit();
        let runs = match self.produce(shares, deadline) {
            Ok(runs) => runs,
            // A commit of the transaction before that comes late may have ended this one, if there was trouble.
            Err(error) if self.is_shut_out(&error) && !self.is_troubled() => return Outcome::Refused,
            Err(error) => return Outcome::Doubtful(error),
        };
        // What the library had to say of the transaction before has been heard by now.
        if self.is_troubled() {
            return Outcome::Doubtful(KafkaError::MessageProduction(
                RDKafkaErrorCode::BrokerTransportFailure,
            ));
        }
        let as_foreseen = |(share, run): (&Share<'_>, &Option<Run>)| {
            let count = share.content.count();
            let last = share.record + count.saturating_sub(1);
            *run == Some(Run { first: share.record, last, count })
        };
        if shares.iter().zip(&runs).all(as_foreseen) {
            return self.commit().map_or_else(Outcome::Doubtful, |()| Outcome::Committed);
        }
        let lasts = runs.iter().map(|run| run.map_or(0, |run| run.last)).collect();
        self.abort().map_or_else(Outcome::Doubtful, |()| Outcome::Displaced(lasts))
    }

    /// Commits the transaction, in one call: the library does not take a commit up again reliably.
    fn commit(&self) -> Result<(), KafkaError> {
        self.rest();
        self.producer.commit_transaction(self.limit())
    }

    /// Waits until the library has put away what it said of the records, which it does right after it was heard. A commit
    /// that finds something in flight still polls for 100 ms, whatever comes.
    fn rest(&self) {
        let deadline = Instant::now() + REST_MAX;
        while self.producer.in_flight_count() > 0 && Instant::now() < deadline {
            std::thread::yield_now();
        }
    }

    fn abort(&self) -> Result<(), KafkaError> {
        self.producer.abort_transaction(self.limit())
    }

    /// Whether Kafka takes no more of this session, because of another one, or because it has ended a transaction that took
    /// too long.
    fn is_shut_out(&self, error: &KafkaError) -> bool {
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        let fenced = matches!(fatal, Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced));
        fenced || is_fenced(error)
    }

    fn produce(&self, shares: &[Share<'_>], deadline: Instant) -> Result<Vec<Option<Run>>, KafkaError> {
        self.producer.begin_transaction()?;
        self.deliveries.begin(shares.len());
        for (slot, share) in shares.iter().enumerate() {
            self.send(slot, share, deadline)?;
        }
        self.delivered(deadline)
    }

    fn send(&self, slot: usize, share: &Share<'_>, deadline: Instant) -> Result<(), KafkaError> {
        let write = match &share.content {
            Content::Events(write) => write,
            Content::Trimmed(place) => {
                let mut headers = Collected::new();
                kafka::write_trimmed(share.partition, place, &mut |name, value| headers.add(name, value));
                return self.send_one(slot, share, b"\0trimmed", &[], place, headers);
            }
        };
        let mut text = Vec::new();
        let unreadable = |_| KafkaError::MessageProduction(RDKafkaErrorCode::InvalidMessage);
        for block in &write.blocks {
            let versioned = block.header().is_versioned();
            let records = block.records().map_err(unreadable)?;
            for record in records.iter().map_err(unreadable)? {
                let record = record.map_err(unreadable)?;
                self.deliveries.wait_below(UNDER_WAY_MAX, deadline);
                let mut headers = Collected::new();
                kafka::write_headers(share.partition, &record, versioned, &mut |name, value| {
                    headers.add(name, value);
                });
                let key = kafka::key(share.partition, &record, &mut text);
                // Never without a value, which compaction would take for the end of the key.
                let data = record.event.data.bytes();
                let (offset, hlc, origin) = (record.offset, record.hlc, record.origin);
                let place = Place { offset, hlc, origin, version: None };
                self.send_one(slot, share, key, data, &place, headers)?;
            }
        }
        Ok(())
    }

    fn send_one(
        &self,
        slot: usize,
        share: &Share<'_>,
        key: &[u8],
        data: &[u8],
        place: &Place,
        headers: Collected,
    ) -> Result<(), KafkaError> {
        let millis = i64::try_from(place.hlc.millis()).unwrap_or(i64::MAX);
        let record = BaseRecord::with_opaque_to(share.topic, slot)
            .partition(share.partition.0 as i32)
            .key(key)
            .payload(data)
            .timestamp(millis)
            .headers(headers.finish());
        self.deliveries.sent();
        self.producer.send(record).map_err(|(error, _)| {
            self.deliveries.not_sent();
            error
        })
    }
}

impl Content<'_> {
    fn count(&self) -> u64 {
        match self {
            Self::Events(write) => write.events,
            Self::Trimmed(_) => 1,
        }
    }
}

/// A producer that has the epoch of the writer's name.
fn start(options: &Options) -> Result<(ThreadedProducer<Writing>, Arc<Deliveries>), KafkaError> {
    let deliveries = Arc::new(Deliveries::default());
    let producer: ThreadedProducer<Writing> =
        client::producer(options).create_with_context(Writing(deliveries.clone()))?;
    producer.init_transactions(Duration::from_millis(options.request_ms_max))?;
    deliveries.calm_down();
    Ok((producer, deliveries))
}

fn timed_out() -> KafkaError {
    KafkaError::MessageProduction(RDKafkaErrorCode::OperationTimedOut)
}

/// The last claim of a name before a record of the topic of writers, which exists, or the last that is found without one.
fn last_claim(options: &Options, before: Option<u64>) -> Result<Option<String>, KafkaError> {
    // A claim counts before its transaction can be read as committed: another one that began earlier may be open still.
    let consumer: BaseConsumer<_> = client::consumer(options, Isolation::Uncommitted, 5)?;
    let topic = topics::of_writers(options);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, At::Beginning)?;
    consumer.assign(&list)?;
    let deadline = Instant::now() + Duration::from_millis(options.request_ms_max);
    let (mut last, mut cause) = (None, timed_out());
    while Instant::now() < deadline {
        match consumer.poll(client::LOOK) {
            Some(Err(KafkaError::PartitionEOF(_))) if before.is_none() => return Ok(last),
            Some(Err(KafkaError::PartitionEOF(_))) | None => {}
            Some(Err(error)) => cause = error,
            Some(Ok(message)) => {
                let offset = u64::try_from(message.offset()).unwrap_or_default();
                if before.is_some_and(|before| offset >= before) {
                    return Ok(last);
                }
                if message.key() == Some(options.writer.as_bytes()) {
                    last = message.payload().map(|claim| String::from_utf8_lossy(claim).into_owned());
                }
            }
        }
    }
    Err(cause)
}
