//! Following what other processes write: by asking every now and then, and at once for those who wait for it.

use crate::client::Isolation;
use crate::definitions::Definitions;
use crate::partition::Partition;
use crate::probe::Probe;
use crate::shared::Shared;
use crate::{Options, client};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tw_log::{CONFIG_PARTITION, Error, Result};
use tw_types::{StreamPartition, chain};

/// How long a transaction that is being committed is waited for before the next look.
const SOON: Duration = Duration::from_millis(2);

/// Somebody waits for what was committed until now.
#[derive(Debug)]
pub(crate) struct Refresh {
    pub(crate) at: Vec<StreamPartition>,
    pub(crate) reply: oneshot::Sender<Result<()>>,
}

/// What somebody waits for.
struct Goal {
    partition: Arc<Partition>,
    /// The record before which nothing may be unknown; None until Kafka has said it.
    record: Option<u64>,
}

impl Goal {
    fn is_reached(&self) -> bool {
        self.record.is_some_and(|record| self.partition.tip().0.record >= record)
    }
}

/// Somebody who waits, and what for.
struct Waiting {
    goals: Vec<Goal>,
    deadline: Instant,
    reply: oneshot::Sender<Result<()>>,
}

/// See the module's text.
pub(crate) struct Watch {
    definitions: Arc<Definitions>,
    /// What is committed.
    probe: Probe,
    /// What is written, and may be committed without being readable as such.
    written: Probe,
    waiting: Vec<Waiting>,
}

impl Watch {
    pub(crate) fn new(options: &Options, definitions: Arc<Definitions>) -> Result<Self> {
        let probe = Probe::new(options, Isolation::Committed)?;
        let written = Probe::new(options, Isolation::Uncommitted)?;
        Ok(Self { definitions, probe, written, waiting: Vec::new() })
    }

    fn shared(&self) -> &Shared {
        &self.definitions.shared
    }

    /// Looks again and again, until nobody can ask any more.
    pub(crate) fn run(mut self, requests: &Receiver<Refresh>) {
        let every = Duration::from_millis(self.shared().options.follow_ms);
        let mut next_look = Instant::now() + every;
        loop {
            let left = next_look.saturating_duration_since(Instant::now());
            match requests.recv_timeout(if self.waiting.is_empty() { left } else { left.min(SOON) }) {
                Ok(request) => self.take(std::iter::once(request).chain(requests.try_iter()).collect()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let is_due = next_look <= Instant::now();
            let mut waiting = std::mem::take(&mut self.waiting);
            let set = self.set_goals(waiting.iter_mut().flat_map(|waiting| &mut waiting.goals));
            self.waiting = waiting;
            if let Err(error) = set.and_then(|()| self.look(is_due, every)) {
                let error = chain(&error);
                tracing::debug!(error, "other writers cannot be followed now");
            }
            if is_due {
                next_look = Instant::now() + every;
            }
            self.answer();
        }
    }

    /// Finds out what those wait for who ask now.
    fn take(&mut self, requests: Vec<Refresh>) {
        let is_known = |at: &StreamPartition| self.shared().partition(*at).is_ok();
        // A partition that nobody here knows of may have been defined since.
        if !requests.iter().flat_map(|request| &request.at).all(is_known)
            && let Err(error) = self.follow_definitions()
        {
            for request in requests {
                let _nobody_listens = request.reply.send(Err(error.clone()));
            }
            return;
        }
        for Refresh { at, reply } in requests {
            let partitions: Result<Vec<_>> = at.iter().map(|at| self.shared().partition(*at)).collect();
            match partitions {
                Ok(partitions) => {
                    let goal = |partition| Goal { partition, record: None };
                    let goals = partitions.into_iter().map(goal).collect();
                    let deadline = Instant::now() + self.limit();
                    self.waiting.push(Waiting { goals, deadline, reply });
                }
                Err(error) => {
                    let _nobody_listens = reply.send(Err(error));
                }
            }
        }
    }

    fn limit(&self) -> Duration {
        Duration::from_millis(self.shared().options.request_ms_max)
    }

    /// Asks how far everything must be known so that nothing is missing that is committed now. A topic that is not there is
    /// being made: it is asked for again.
    fn set_goals<'g>(&self, goals: impl Iterator<Item = &'g mut Goal>) -> Result<()> {
        let open: Vec<&mut Goal> = goals.filter(|goal| goal.record.is_none()).collect();
        let partitions: Vec<_> = open.iter().map(|goal| goal.partition.clone()).collect();
        let ends = self.written.ends(&partitions)?;
        for goal in open {
            goal.record = ends.get(&(goal.partition.topic.clone(), goal.partition.number())).copied();
        }
        Ok(())
    }

    /// Takes over all definitions that are committed now.
    fn follow_definitions(&self) -> Result<()> {
        let config = [self.shared().partition(CONFIG_PARTITION)?];
        let deadline = Instant::now() + self.limit();
        let mut goals = [Goal { partition: self.shared().partition(CONFIG_PARTITION)?, record: None }];
        loop {
            self.set_goals(goals.iter_mut())?;
            self.learn(&config)?;
            if goals.iter().all(Goal::is_reached) {
                self.definitions.follow()?;
                if !self.definitions.is_behind() {
                    return Ok(());
                }
            }
            if Instant::now() > deadline {
                return Err(self.late());
            }
            std::thread::sleep(SOON);
        }
    }

    fn late(&self) -> Error {
        let cause = KafkaError::MessageConsumption(RDKafkaErrorCode::OffsetNotAvailable);
        client::unavailable(&self.shared().options, "show what others have written", cause)
    }

    /// Asks for the ends of what is waited for, and when it is time of everything else that this process does not write to
    /// itself just now.
    fn look(&self, everything: bool, every: Duration) -> Result<()> {
        let is_wanted = |p: &Arc<Partition>| {
            let mut goals = self.waiting.iter().flat_map(|waiting| &waiting.goals);
            goals.any(|goal| goal.partition.at == p.at && !goal.is_reached())
        };
        let is_idle = |p: &Arc<Partition>| p.written().is_none_or(|when| when.elapsed() > every);
        let mut partitions = self.shared().all();
        partitions.retain(|partition| everything && is_idle(partition) || is_wanted(partition));
        self.learn(&partitions)
    }

    /// Learns what is new in partitions. Definitions that cannot be read now are read at the next look, whatever is new then.
    fn learn(&self, partitions: &[Arc<Partition>]) -> Result<()> {
        let ends = self.probe.ends(partitions)?;
        let has_moved = |p: &&Arc<Partition>| {
            ends.get(&(p.topic.clone(), p.number())).is_some_and(|end| *end > p.tip().0.record)
        };
        let moved: Vec<_> = partitions.iter().filter(has_moved).cloned().collect();
        let mut follows = self.definitions.is_behind();
        if !moved.is_empty() {
            let moved = self.probe.load(&moved)?.moved;
            if !moved.is_empty() {
                self.shared().observe();
                self.shared().commits.increment();
            }
            follows |= moved.iter().any(|partition| partition.at == CONFIG_PARTITION);
        }
        if follows { self.definitions.follow() } else { Ok(()) }
    }

    /// Tells those who wait that they need not any more.
    fn answer(&mut self) {
        let now = Instant::now();
        for waiting in std::mem::take(&mut self.waiting) {
            let is_gone = |goal: &Goal| self.shared().partition(goal.partition.at).is_err();
            // Whoever asks for definitions finds them carried out.
            let is_carried_out =
                |goal: &Goal| goal.partition.at != CONFIG_PARTITION || !self.definitions.is_behind();
            let is_reached = |goal: &Goal| goal.is_reached() && is_carried_out(goal);
            if waiting.goals.iter().all(|goal| is_reached(goal) || is_gone(goal)) {
                let _nobody_listens = waiting.reply.send(Ok(()));
            } else if now > waiting.deadline {
                let _nobody_listens = waiting.reply.send(Err(self.late()));
            } else {
                self.waiting.push(waiting);
            }
        }
    }
}
