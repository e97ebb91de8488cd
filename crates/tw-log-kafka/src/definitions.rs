//! Definitions of streams, and the topics that belong to them.
//!
//! A definition is an event of `$config`; it counts as soon as it is there. The topic follows: whoever opens the log makes
//! what is missing, and removes what was dropped.

use crate::queue::Request;
use crate::shared::Shared;
use crate::{Options, client, topics};
use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tw_log::{
    Ack, Append, CONFIG_PARTITION, ConfigChange, Definition, Error, NewStream, Permit, Result, Streams,
};
use tw_types::{Cleanup, Offset, StreamDef, StreamId, StreamOptions, StreamPartition};

/// What is asked of the thread that manages topics.
pub(crate) enum Order {
    Define(Definition, oneshot::Sender<Result<Arc<StreamDef>>>),
    Trim(StreamPartition, Offset, oneshot::Sender<Result<()>>),
}

/// How far `$config` has been followed.
pub(crate) struct Followed {
    next: Offset,
    streams: Streams,
    /// Whether something was folded that nobody else was shown: what follows it may not be readable now.
    has_changed: bool,
}

/// Manages definitions and topics.
pub(crate) struct Definitions {
    pub(crate) shared: Arc<Shared>,
    pub(crate) admin: AdminClient<client::Quiet>,
    pub(crate) followed: Mutex<Followed>,
    pub(crate) is_behind: AtomicBool,
}

impl Followed {
    pub(crate) fn new() -> Self {
        Self { next: Offset::ZERO, streams: Streams::new(), has_changed: false }
    }
}

impl Definitions {
    /// Serves orders until nobody can give any more.
    pub(crate) fn run(&self, orders: mpsc::Receiver<Order>) {
        for order in orders {
            match order {
                Order::Define(definition, reply) => {
                    let outcome = self.define(&definition);
                    if outcome.is_err() {
                        // It may have been committed all the same, or what others have defined.
                        self.is_behind.store(true, Ordering::Release);
                    }
                    let _nobody_listens = reply.send(outcome);
                }
                Order::Trim(at, before, reply) => {
                    let _nobody_listens = reply.send(self.trim(at, before));
                }
            }
        }
    }

    /// Takes over the changes that `$config` has and nobody here knows of, as far as Kafka shows them.
    pub(crate) fn follow(&self) -> Result<()> {
        let mut followed = self.followed.lock();
        let outcome = self.read_on(&mut followed);
        if followed.has_changed {
            self.shared.set_streams(Arc::new(followed.streams.clone()));
            followed.has_changed = false;
        }
        self.is_behind.store(!matches!(outcome, Ok(true)), Ordering::Release);
        outcome.map(drop)
    }

    /// Whether there may be changes that could not be taken over when they were learned of.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Acquire)
    }

    /// Reads what is new; says whether that was all.
    fn read_on(&self, followed: &mut Followed) -> Result<bool> {
        let end = self.shared.partition(CONFIG_PARTITION)?.bounds().end;
        while followed.next < end {
            let blocks = pollster::block_on(self.shared.read(CONFIG_PARTITION, followed.next, 1 << 20))?;
            if blocks.is_empty() {
                return Ok(false);
            }
            for block in blocks {
                followed.has_changed |= followed.streams.fold(&block, followed.next)?;
                followed.next = block.header().end_offset();
            }
        }
        Ok(true)
    }

    fn define(&self, definition: &Definition) -> Result<Arc<StreamDef>> {
        loop {
            self.follow()?;
            let (next, streams) = {
                let followed = self.followed.lock();
                (followed.next, followed.streams.clone())
            };
            let change = match definition {
                Definition::Create(new) | Definition::Alter(new)
                    if new.schema.as_ref().is_some_and(tw_types::Schema::merges) =>
                {
                    // Where a row's changes belong is known by timestamps, which do not rise here when another node takes over.
                    let reason = "rows are not merged on Kafka yet: leave the classes of its columns out, or create it in an embedded log";
                    Err(Error::InvalidStream { name: new.name.clone(), reason: reason.to_owned() })
                }
                Definition::Create(new) if new.options.topic.is_some() => {
                    check_shown(new)?;
                    self.check_topic(new, &streams)?;
                    streams.attach(new.clone())
                }
                Definition::Alter(changed) => check_shown(changed).and_then(|()| streams.change(definition)),
                Definition::Create(_) | Definition::Drop(_) => streams.change(definition),
            }?;
            match self.append(&change, &streams, next) {
                // Somebody else has changed something: once more from there.
                Err(Error::WrongEnd { .. }) => continue,
                outcome => outcome?,
            }
            // Before anybody learns of it here.
            self.carry_out(&change)?;
            self.follow()?;
            return Ok(Arc::new(change.definition().clone()));
        }
    }

    fn append(&self, change: &ConfigChange, streams: &Streams, expected: Offset) -> Result<()> {
        let batch = change.to_batch(streams, self.shared.env.random.next_u64())?;
        let bytes = batch.bytes();
        self.shared.permits.check(bytes)?;
        let parts = vec![Append { at: CONFIG_PARTITION, batch, expected_end: Some(expected), foreign: None }];
        let (sender, ack) = Ack::channel();
        let permit = Permit::unlimited();
        self.shared.queue.push(Request::Append { parts, bytes: bytes as u64, permit, ack: sender });
        ack.wait().map(drop)
    }

    /// Whether a stream can show the topic that it names.
    fn check_topic(&self, new: &NewStream, streams: &Streams) -> Result<()> {
        let topic = new.options.topic.as_deref().unwrap_or_default();
        let invalid = |reason: String| Err(Error::InvalidStream { name: new.name.clone(), reason });
        if topic.starts_with(&topics::prefix(&self.shared.options)) {
            return invalid(format!("topic `{topic}` belongs to the log itself"));
        }
        if let Some(def) = streams.iter().find(|def| def.options.topic.as_deref() == Some(topic)) {
            return invalid(format!("stream `{}` shows topic `{topic}` already", def.name));
        }
        let limit = Duration::from_millis(self.shared.options.request_ms_max);
        let metadata = self.admin.inner().fetch_metadata(Some(topic), limit);
        let metadata = metadata.map_err(|cause| self.failed("find a topic", cause))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        match found.map_or(0, |found| found.partitions().len()) {
            0 => invalid(format!("there is no topic `{topic}`")),
            partitions if partitions == new.partitions as usize => Ok(()),
            partitions => invalid(format!("topic `{topic}` has {partitions} partitions: give it as many")),
        }
    }

    /// Makes the topics what a definition says. One that is only shown is left alone.
    fn carry_out(&self, change: &ConfigChange) -> Result<()> {
        if change.definition().options.topic.is_some() {
            return Ok(());
        }
        let topic = topics::of_stream(&self.shared.options, change.definition());
        match change {
            ConfigChange::Created(def) => self.create(&topic, def.partitions, topics::settings(def)),
            ConfigChange::Altered(def) => {
                let settings = topics::settings(def);
                let config = settings
                    .iter()
                    .fold(AlterConfig::new(ResourceSpecifier::Topic(&topic)), |config, (name, value)| {
                        config.set(name, value)
                    });
                let altered = pollster::block_on(self.admin.alter_configs([&config], &self.limits()));
                let altered = altered.map_err(|cause| self.failed("alter a topic", cause))?;
                let refused = altered.into_iter().find_map(std::result::Result::err);
                refused
                    .map_or(Ok(()), |(_, code)| Err(self.failed("alter a topic", KafkaError::AdminOp(code))))
            }
            ConfigChange::Dropped(_) => self.delete(&topic),
        }
    }

    fn limits(&self) -> AdminOptions {
        let limit = Duration::from_millis(self.shared.options.request_ms_max);
        AdminOptions::new().request_timeout(Some(limit)).operation_timeout(Some(limit))
    }

    fn failed(&self, action: &'static str, cause: KafkaError) -> Error {
        client::unavailable(&self.shared.options, action, cause)
    }

    /// Makes a topic, unless it is there.
    pub(crate) fn create(
        &self,
        topic: &str,
        partitions: u32,
        settings: Vec<(&'static str, String)>,
    ) -> Result<()> {
        let Options { replicas, request_ms_max, .. } = self.shared.options;
        let replicas = if replicas == 0 { -1 } else { replicas as i32 };
        let new = NewTopic::new(topic, partitions as i32, TopicReplication::Fixed(replicas));
        let new = settings.iter().fold(new, |new, (name, value)| new.set(name, value));
        let deadline = Instant::now() + Duration::from_millis(request_ms_max);
        loop {
            let made = pollster::block_on(self.admin.create_topics([&new], &self.limits()));
            let made = made.map_err(|cause| self.failed("make a topic", cause))?;
            match made.into_iter().find_map(std::result::Result::err) {
                None | Some((_, RDKafkaErrorCode::TopicAlreadyExists)) => return Ok(()),
                // Brokers that have just started are not counted yet.
                Some((_, RDKafkaErrorCode::InvalidReplicationFactor)) if Instant::now() < deadline => {
                    std::thread::sleep(client::LOOK);
                }
                Some((_, code)) => return Err(self.failed("make a topic", KafkaError::AdminOp(code))),
            }
        }
    }

    fn delete(&self, topic: &str) -> Result<()> {
        let gone = pollster::block_on(self.admin.delete_topics(&[topic], &self.limits()));
        let gone = gone.map_err(|cause| self.failed("remove a topic", cause))?;
        match gone.into_iter().find_map(std::result::Result::err) {
            None | Some((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => Ok(()),
            Some((_, code)) => Err(self.failed("remove a topic", KafkaError::AdminOp(code))),
        }
    }

    /// Makes the topics that are missing and removes those of dropped streams, after a crash between a definition and its
    /// topic.
    pub(crate) fn put_right(&self) -> Result<()> {
        let limit = Duration::from_millis(self.shared.options.request_ms_max);
        let metadata = self.admin.inner().fetch_metadata(None, limit);
        let metadata = metadata.map_err(|cause| self.failed("list topics", cause))?;
        let present: BTreeSet<&str> =
            metadata.topics().iter().map(rdkafka::metadata::MetadataTopic::name).collect();
        let streams = self.shared.streams();
        for def in streams.iter().filter(|def| def.options.topic.is_none()) {
            let topic = topics::of_stream(&self.shared.options, def);
            if !present.contains(topic.as_str()) {
                self.create(&topic, def.partitions, topics::settings(def))?;
            }
        }
        let next = self.followed.lock().streams.next_id();
        let prefix = topics::prefix(&self.shared.options);
        for topic in present.into_iter().filter(|topic| topic.starts_with(&prefix)) {
            let number = topic.rsplit_once('.').and_then(|(_, number)| number.parse().ok()).map(StreamId);
            // A number that was not given out yet may be given out by somebody else right now.
            if number.is_some_and(|number| number < next && streams.by_id(number).is_err()) {
                self.delete(topic)?;
            }
        }
        Ok(())
    }

    /// Removes the events before an offset.
    fn trim(&self, at: StreamPartition, before: Offset) -> Result<()> {
        let partition = self.shared.partition(at)?;
        let record = loop {
            let bounds = partition.bounds();
            if before > bounds.end {
                return Err(Error::BeyondEnd { at, from: before, end: bounds.end });
            }
            if before <= bounds.start {
                return Ok(());
            }
            if before < bounds.end {
                break pollster::block_on(self.shared.locate(&partition, before))?;
            }
            match self.empty(at, before) {
                // That was the end: somebody has written since.
                Err(Error::WrongEnd { .. }) => {}
                outcome => break outcome?,
            }
        };
        let mut list = TopicPartitionList::with_capacity(1);
        let to = rdkafka::Offset::Offset(i64::try_from(record).unwrap_or(i64::MAX));
        let added = list.add_partition_offset(&partition.topic, partition.number(), to);
        let removed =
            added.and_then(|()| pollster::block_on(self.admin.delete_records(&list, &self.limits())));
        let removed = removed.map_err(|cause| self.failed("remove events", cause))?;
        for element in removed.elements() {
            element.error().map_err(|cause| self.failed("remove events", cause))?;
        }
        partition.trimmed(before.0);
        Ok(())
    }

    /// Has it written that a partition was emptied that ends there; returns the record that says so.
    fn empty(&self, at: StreamPartition, end: Offset) -> Result<u64> {
        let (reply, outcome) = oneshot::channel();
        self.shared.queue.push(Request::Empty { at, expected_end: Some(end), reply });
        pollster::block_on(outcome).unwrap_or_else(|_| Err(self.shared.gone()))
    }
}

/// Refuses options that have no effect on a topic of others.
fn check_shown(new: &NewStream) -> Result<()> {
    let StreamOptions { retention_ms, retention_bytes, cleanup, topic, .. } = &new.options;
    let is_plain = retention_ms.is_none() && retention_bytes.is_none() && *cleanup == Cleanup::Delete;
    if topic.is_none() || is_plain {
        return Ok(());
    }
    let reason = "what becomes of old events is a setting of the topic that it shows".to_owned();
    Err(Error::InvalidStream { name: new.name.clone(), reason })
}
