//! The writer: gathers appends, writes each group in one transaction, tells the outcome.

use crate::blocks::{first_place, is_same, last_place};
use crate::client;
use crate::partition::Partition;
use crate::plan::{Plan, Tip, Write, plan};
use crate::probe::Probe;
use crate::queue::Request;
use crate::session::{Content, Outcome, Refusal, Session, Share};
use crate::shared::Shared;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tw_log::{AckSender, Append, Error, Permit, Placed, Result};
use tw_types::{Hlc, Offset, Origin, RegionId, StreamPartition};
use tw_wire::kafka::Place;

/// How long to wait before brokers that are away are asked again.
const RETRY: Duration = Duration::from_millis(100);

/// See the module's text.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) session: Session,
    pub(crate) probe: Probe,
    /// Whether the session has to be begun again before the next transaction.
    pub(crate) is_broken: bool,
}

/// An append that waits for its outcome.
struct Waiting {
    parts: Vec<Append>,
    ack: AckSender,
    _permit: Permit,
}

type Partitions = BTreeMap<StreamPartition, Arc<Partition>>;
type Tips = BTreeMap<StreamPartition, Tip>;

/// What to do with a group after an attempt.
enum Next {
    /// All are answered.
    Done,
    /// Nothing was written: once more.
    Again,
    /// It will never be written, or nobody knows.
    Fail(Error),
}

impl Writer {
    /// Serves requests until the queue is closed.
    pub(crate) fn run(mut self) {
        let (bytes_max, appends_max) =
            (self.shared.options.group_bytes_max, self.shared.options.group_appends_max as usize);
        while let Some(requests) = self.shared.queue.take(bytes_max, appends_max) {
            if requests.is_empty() {
                self.probe.listen();
            }
            let mut group = Vec::with_capacity(requests.len());
            for request in requests {
                match request {
                    Request::Append { parts, permit, ack, .. } => {
                        group.push(Waiting { parts, ack, _permit: permit });
                    }
                    Request::Empty { at, expected_end, reply } => {
                        self.append(std::mem::take(&mut group));
                        self.empty(at, expected_end, reply);
                    }
                }
            }
            self.append(group);
        }
        self.shared.queue.fail_all(&self.shared.gone());
    }

    /// Writes a group, however many attempts it takes.
    fn append(&mut self, mut group: Vec<Waiting>) {
        let deadline = self.deadline();
        while !group.is_empty() {
            match self.attempt(&mut group, deadline) {
                Next::Done => return,
                Next::Again => {}
                Next::Fail(error) => {
                    for waiting in group.drain(..) {
                        waiting.ack.resolve(Err(error.clone()));
                    }
                }
            }
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.shared.options.outage_ms_max)
    }

    /// One transaction. Appends that are answered leave the group.
    fn attempt(&mut self, group: &mut Vec<Waiting>, deadline: Instant) -> Next {
        if let Some(stopped) = self.stopped() {
            return Next::Fail(stopped);
        }
        if let Err(next) = self.repair(deadline) {
            return next;
        }
        let partitions = self.partitions(group);
        // An append that expects more than there is known to be knows better: somebody else has written.
        let tips = match self.tips(&partitions, false) {
            Ok((tips, _)) if is_ahead(group, &tips) => self.tips(&partitions, true),
            told => told,
        };
        let (tips, stuck) = match tips {
            Ok(tips) => tips,
            Err(error) => return self.wait_for_brokers(error, deadline),
        };
        if !stuck.is_empty() {
            // The others need not wait for these.
            self.refuse(group, &stuck);
            return Next::Again;
        }
        let plan = self.plan(group, &tips);
        let placed = answer_refused(group, plan.outcomes);
        if plan.writes.is_empty() {
            for (waiting, placed) in group.drain(..).zip(placed) {
                waiting.ack.resolve(Ok(placed));
            }
            return Next::Done;
        }
        match self.write(&partitions, &plan.writes) {
            Outcome::Committed => {
                self.note(&partitions, &plan.writes);
                self.committed(group, &partitions, &plan.writes, placed)
            }
            Outcome::Displaced(lasts) => {
                self.displaced(plan.writes.keys().filter_map(|at| partitions.get(at)), &lasts);
                self.once_more(deadline)
            }
            Outcome::Refused => {
                self.is_broken = true;
                self.once_more(deadline)
            }
            Outcome::Doubtful(cause) => {
                tracing::warn!(%cause, "the outcome of a transaction did not arrive");
                self.is_broken = true;
                match self.decide(&partitions, &plan.writes, deadline) {
                    Some(true) => self.committed(group, &partitions, &plan.writes, placed),
                    Some(false) => self.once_more(deadline),
                    None => Next::Fail(Error::Unknown(Arc::new(io::Error::other(cause.to_string())))),
                }
            }
        }
    }

    /// Whether the log takes no more appends for good.
    fn stopped(&self) -> Option<Error> {
        self.shared.queue.closed().filter(|error| matches!(error, Error::Fenced { .. }))
    }

    fn fenced(&self) -> Error {
        let error = Error::Fenced { writer: self.shared.options.writer.clone() };
        self.shared.stop(error.clone());
        tracing::error!(%error, "the log has stopped");
        error
    }

    /// Begins the session again if it broke, or if a request of it may still be on its way.
    fn repair(&mut self, deadline: Instant) -> std::result::Result<(), Next> {
        if !self.is_broken && !self.session.is_troubled() {
            return Ok(());
        }
        self.is_broken = true;
        match self.session.begin_again() {
            Ok(()) => {
                self.is_broken = false;
                self.shared.all().iter().for_each(|partition| partition.make_stale());
                Ok(())
            }
            Err(Refusal::Fenced) => Err(Next::Fail(self.fenced())),
            Err(Refusal::Failed(cause)) => {
                let error = client::unavailable(&self.shared.options, "take events", cause);
                Err(self.wait_for_brokers(error, deadline))
            }
        }
    }

    /// Takes note of a transaction that was aborted because others had written in between.
    fn displaced<'p>(&self, partitions: impl Iterator<Item = &'p Arc<Partition>>, lasts: &[u64]) {
        for (partition, last) in partitions.zip(lasts) {
            tracing::debug!(at = %partition.at, last, tip = ?partition.tip().0, "others have written in between");
            partition.passed(*last);
        }
    }

    /// Another attempt after one that wrote nothing, unless the log is closing or it has taken too long already.
    fn once_more(&self, deadline: Instant) -> Next {
        match self.shared.queue.closed() {
            Some(closed) => Next::Fail(closed),
            None if Instant::now() > deadline => Next::Fail(Error::Busy),
            None => Next::Again,
        }
    }

    /// Waits a moment, unless the log is closing or it has taken too long already.
    fn wait_for_brokers(&self, error: Error, deadline: Instant) -> Next {
        let is_closing = self.shared.queue.closed().is_some();
        if is_closing {
            // Each of the others would wait as long.
            self.shared.queue.fail_all(&error);
        }
        if is_closing || Instant::now() > deadline || !matches!(error, Error::Unavailable { .. }) {
            return Next::Fail(error);
        }
        tracing::warn!(%error, "the log waits for its servers");
        std::thread::sleep(RETRY);
        Next::Again
    }

    /// The partitions of a group, as far as they exist.
    fn partitions(&self, group: &[Waiting]) -> Partitions {
        let mut partitions = Partitions::new();
        for part in group.iter().flat_map(|waiting| &waiting.parts) {
            if !partitions.contains_key(&part.at)
                && let Ok(partition) = self.shared.partition(part.at)
            {
                partitions.insert(part.at, partition);
            }
        }
        partitions
    }

    /// Where partitions end; those of which that is not known, or all, are asked for. And those of which it cannot be known
    /// now, because Kafka does not show all that is there.
    fn tips(&self, partitions: &Partitions, all: bool) -> Result<(Tips, Vec<StreamPartition>)> {
        let stale: Vec<_> =
            partitions.values().filter(|partition| all || partition.tip().1).cloned().collect();
        let mut stuck = Vec::new();
        if !stale.is_empty() {
            let found = self.probe.load_all(&stale, |at| self.shared.partition(at).is_ok())?;
            stuck = found.unsettled.iter().map(|partition| partition.at).collect();
            if !found.moved.is_empty() {
                self.shared.observe();
                self.shared.commits.increment();
            }
        }
        Ok((partitions.iter().map(|(at, partition)| (*at, partition.tip().0)).collect(), stuck))
    }

    /// Refuses the appends of a group to these partitions.
    fn refuse(&self, group: &mut Vec<Waiting>, stuck: &[StreamPartition]) {
        let touches = |waiting: &mut Waiting| waiting.parts.iter().any(|part| stuck.contains(&part.at));
        let error = self.probe.unsettled();
        tracing::warn!(?stuck, %error, "events are refused");
        for waiting in group.extract_if(.., touches) {
            waiting.ack.resolve(Err(error.clone()));
        }
    }

    fn plan(&self, group: &[Waiting], tips: &Tips) -> Plan {
        let appends: Vec<&[Append]> = group.iter().map(|waiting| waiting.parts.as_slice()).collect();
        let now_ms = self.shared.env.clock.now_ms();
        let missing = |at| self.shared.missing(at);
        plan(&appends, tips, missing, &mut self.shared.clock.lock(), now_ms, self.shared.options.region)
    }

    fn write(&self, partitions: &Partitions, writes: &BTreeMap<StreamPartition, Write>) -> Outcome {
        let shares: Vec<Share<'_>> = writes
            .iter()
            .filter_map(|(at, write)| {
                let topic = &*partitions.get(at)?.topic;
                let (partition, record) = (at.partition, write.tip.record);
                Some(Share { topic, partition, record, content: Content::Events(write) })
            })
            .collect();
        self.session.write(&shares)
    }

    /// Takes note of a transaction of which nothing else is known yet.
    fn note(&self, partitions: &Partitions, writes: &BTreeMap<StreamPartition, Write>) {
        for (at, Write { tip, blocks, events }) in writes {
            if let Some(partition) = partitions.get(at) {
                self.shared.wrote(partition, *tip, blocks, *events);
            }
        }
    }

    /// The transaction is durable: readers see it, then the appenders hear of it.
    fn committed(
        &self,
        group: &mut Vec<Waiting>,
        partitions: &Partitions,
        writes: &BTreeMap<StreamPartition, Write>,
        placed: Vec<Vec<Placed>>,
    ) -> Next {
        for (at, write) in writes {
            if let Some(partition) = partitions.get(at) {
                partition.end.raise(write.tip.end + write.events);
            }
        }
        self.shared.commits.increment();
        for (waiting, placed) in group.drain(..).zip(placed) {
            waiting.ack.resolve(Ok(placed));
        }
        Next::Done
    }

    /// Finds out whether a transaction whose outcome did not arrive was committed: a new session has made Kafka decide it,
    /// and the log says how. None if that cannot be told.
    fn decide(
        &mut self,
        partitions: &Partitions,
        writes: &BTreeMap<StreamPartition, Write>,
        deadline: Instant,
    ) -> Option<bool> {
        loop {
            if writes.keys().any(|at| self.shared.partition(*at).is_err()) {
                // Its stream was dropped, and what it said with it.
                return None;
            }
            match self.repair(deadline) {
                Ok(()) => {}
                Err(Next::Fail(_)) => return None,
                Err(_) => continue,
            }
            let found = self.tips(partitions, true).and_then(|(tips, stuck)| {
                let settled = if stuck.is_empty() { Ok(()) } else { Err(self.probe.unsettled()) };
                settled.and_then(|()| self.find(partitions, writes, &tips))
            });
            match found {
                Ok(found) if found.iter().all(|is_there| *is_there) => return Some(true),
                Ok(found) if found.iter().all(|is_there| !is_there) => return Some(false),
                Ok(_) => {
                    tracing::error!("Kafka has committed a part of a transaction and aborted another");
                    return None;
                }
                Err(error) => match self.wait_for_brokers(error, deadline) {
                    Next::Fail(_) => return None,
                    _ => self.is_broken = true,
                },
            }
        }
    }

    /// Whether the events of a transaction are there, per partition.
    fn find(
        &self,
        partitions: &Partitions,
        writes: &BTreeMap<StreamPartition, Write>,
        tips: &Tips,
    ) -> Result<Vec<bool>> {
        let mut found = Vec::with_capacity(writes.len());
        for (at, write) in writes {
            let (Some(partition), Some(tip)) = (partitions.get(at), tips.get(at)) else { continue };
            let Some((first, last)) = write.blocks.first().zip(write.blocks.last()) else { continue };
            found.push(if tip.end == write.tip.end {
                false
            } else if partition.last().is_some_and(|place| is_same(&place, &last_place(last))) {
                true
            } else {
                // Others have written since. What is committed comes where it was to go, or not at all.
                let (record, place) = self.probe.first_from(partition, write.tip.record, tip.record)?;
                record == write.tip.record && is_same(&place, &first_place(first))
            });
        }
        Ok(found)
    }

    /// Writes the record that says that a partition was emptied.
    fn empty(
        &mut self,
        at: StreamPartition,
        expected_end: Option<Offset>,
        reply: oneshot::Sender<Result<u64>>,
    ) {
        let deadline = self.deadline();
        let outcome = loop {
            match self.try_empty(at, expected_end, deadline) {
                Ok(Some(record)) => break Ok(record),
                Ok(None) => {}
                Err(error) => break Err(error),
            }
        };
        let _nobody_listens = reply.send(outcome);
    }

    fn try_empty(
        &mut self,
        at: StreamPartition,
        expected_end: Option<Offset>,
        deadline: Instant,
    ) -> Result<Option<u64>> {
        if let Some(stopped) = self.stopped() {
            return Err(stopped);
        }
        match self.repair(deadline) {
            Ok(()) => {}
            Err(Next::Fail(error)) => return Err(error),
            Err(_) => return Ok(None),
        }
        let partition = self.shared.partition(at)?;
        let partitions = Partitions::from([(at, partition.clone())]);
        let tips = match self.tips(&partitions, false) {
            Ok((tips, stuck)) if stuck.is_empty() => tips,
            Ok(_) => return Err(self.probe.unsettled()),
            Err(error) => match self.wait_for_brokers(error, deadline) {
                Next::Fail(error) => return Err(error),
                _ => return Ok(None),
            },
        };
        let Some(tip) = tips.get(&at) else { return Err(self.shared.missing(at)) };
        // What came after the events that are to go must stay.
        if let Some(expected) = expected_end.filter(|expected| expected.0 != tip.end) {
            return Err(Error::WrongEnd { at, expected, actual: Offset(tip.end) });
        }
        let place = end_place(partition.last(), *tip, self.shared.options.region);
        let (topic, content) = (&*partition.topic, Content::Trimmed(place));
        match self.session.write(&[Share { topic, partition: at.partition, record: tip.record, content }]) {
            Outcome::Committed => {
                partition.wrote_mark(tip.record);
                return Ok(Some(tip.record));
            }
            Outcome::Displaced(lasts) => self.displaced([&partition].into_iter(), &lasts),
            // Once more does no harm.
            Outcome::Refused | Outcome::Doubtful(_) => self.is_broken = true,
        }
        match self.once_more(deadline) {
            Next::Fail(error) => Err(error),
            _ => Ok(None),
        }
    }
}

/// What the record says that ends an emptied partition.
fn end_place(last: Option<Place>, tip: Tip, region: RegionId) -> Place {
    let origin = Origin { region, epoch: tw_types::Epoch(1), sequence: tw_types::Sequence(tip.sequence) };
    let hlc = last.map_or(Hlc::ZERO, |place| place.hlc);
    Place { offset: Offset(tip.end), hlc, origin, version: None }
}

/// Whether an append expects an end that is beyond the known one and what the group adds to it.
fn is_ahead(group: &[Waiting], tips: &Tips) -> bool {
    let mut ends: BTreeMap<StreamPartition, u64> = tips.iter().map(|(at, tip)| (*at, tip.end)).collect();
    for part in group.iter().flat_map(|waiting| &waiting.parts) {
        let Some(end) = ends.get_mut(&part.at) else { continue };
        if part.expected_end.is_some_and(|expected| expected.0 > *end) {
            return true;
        }
        *end += u64::from(part.batch.count());
    }
    false
}

/// Tells those whose append is refused; returns where the others go, in their order.
fn answer_refused(group: &mut Vec<Waiting>, outcomes: Vec<Result<Vec<Placed>>>) -> Vec<Vec<Placed>> {
    let mut left = Vec::with_capacity(group.len());
    let mut places = Vec::with_capacity(group.len());
    for (waiting, outcome) in group.drain(..).zip(outcomes) {
        match outcome {
            Ok(placed) => {
                left.push(waiting);
                places.push(placed);
            }
            Err(error) => waiting.ack.resolve(Err(error)),
        }
    }
    *group = left;
    places
}
