//! Consumer groups: other programs that read the log's topics straight from Kafka, seen, and put back.
//!
//! ```text
//!  Groups ── a thread per request ─▶ work ─▶ broker    what brokers say of groups: members, committed offsets
//!                                      │  └▶ places    which event a record of Kafka is, and where an event is
//!                                      └───▶ aim       where a group is put: a decision without I/O
//! ```
//!
//! Groups count in Kafka's offsets, the platform in its own, which have no gaps; what is shown and what is asked for are the
//! platform's. It joins no group, and commits for none that has members: the brokers refuse that, too.

mod aim;
mod broker;
mod places;
mod work;

use crate::KafkaLog;
use crate::client;
use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tw_log::{Log, spawn_guarded};
use tw_types::{Offset, PartitionId, StreamName, StreamPartition, Timestamp};

/// How many requests about groups are served at once; each has a thread, and clients of its own.
const REQUESTS_MAX: usize = 4;
/// How much longer than its limit a request is waited for, so that it can say itself why it failed.
const GRACE: Duration = Duration::from_secs(2);
/// The longest name of a group that is asked for, in bytes.
const NAME_BYTES_MAX: usize = 1_024;

/// The outcome of what is done about groups.
type Result<T> = std::result::Result<T, GroupError>;

/// Something about a group could not be done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GroupError {
    /// The log, or the brokers that hold it.
    #[error(transparent)]
    Log(#[from] tw_log::Error),
    /// The brokers know no such group.
    #[error(
        "the brokers know no group `{0}`: a group is there from its first commit on, and goes some time after its last"
    )]
    NoGroup(String),
    /// No group can have this name.
    #[error("`{0}` is no name of a group: use 1 to 1,024 bytes without control characters")]
    InvalidName(String),
    /// The group has members, which would go on from where they are.
    #[error("group `{0}` has members, which go on from where they are: end its programs, then try again")]
    HasMembers(String),
    /// Nothing to go back from.
    #[error(
        "group `{group}` has committed nothing in partition {partition} of `{stream}` to go back from: use a start, an end, an offset or a time"
    )]
    NothingCommitted {
        /// The group.
        group: String,
        /// The stream.
        stream: StreamName,
        /// The partition.
        partition: PartitionId,
    },
    /// The brokers do not allow it.
    #[error(
        "the brokers refuse this for group `{group}`: let the user with whom nodes come to Kafka describe and commit groups"
    )]
    Refused {
        /// The group.
        group: String,
        /// Why.
        #[source]
        source: Arc<KafkaError>,
    },
    /// The commit was sent, and its answer did not come.
    #[error("it is unknown whether the offsets of group `{0}` were changed: look at it, then try again")]
    Unknown(String),
    /// As many requests about groups are under way as are served at once, and none of them was done in time.
    #[error("{REQUESTS_MAX} requests about groups are under way, and none was done in time: try again later")]
    Busy,
    /// There are more groups than were asked about in time.
    #[error("of {groups} groups only {told} were told in time: ask for them in pages, with a limit")]
    TooMany {
        /// How many there are.
        groups: usize,
        /// How many were told.
        told: usize,
    },
}

/// Which groups are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupFilter {
    /// Only those whose names start so.
    pub prefix: String,
    /// Only those after this name.
    pub after: Option<String>,
    /// At most so many; None is all of them.
    pub limit: Option<usize>,
    /// Only those that read this stream.
    pub stream: Option<String>,
}

/// Groups in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupPage {
    /// The groups.
    pub groups: Vec<GroupRow>,
    /// After which name the next page begins, if there may be more.
    pub next: Option<String>,
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRow {
    /// Its name.
    pub group: String,
    /// `stable`, `empty`, `preparing_rebalance`, `completing_rebalance`; `unknown` if the brokers do not say, as of groups of the
    /// newer protocol (KIP-848), which the client library does not ask for.
    pub state: String,
    /// How its members share partitions, such as `range`; None without members.
    pub protocol: Option<String>,
    /// How many members it has; None if the brokers do not say.
    pub members: Option<usize>,
    /// The streams that it reads or has read, in order.
    pub streams: Vec<StreamName>,
    /// How many events it has not committed yet, in partitions where it has committed anything; None where it has nowhere.
    pub lag_events: Option<u64>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub group: String,
    /// As in [`GroupRow`].
    pub state: String,
    /// As in [`GroupRow`].
    pub protocol: Option<String>,
    /// Its members; None if the brokers do not say.
    pub members: Option<Vec<Member>>,
    /// The partitions that it reads or has read, in order of streams and numbers.
    pub partitions: Vec<GroupPartition>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What the broker calls it.
    pub id: String,
    /// What it calls itself.
    pub client: String,
    /// Where it comes from.
    pub host: String,
    /// Which partitions of streams it has.
    pub partitions: Vec<(StreamName, PartitionId)>,
}

/// A partition that a group reads or has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPartition {
    /// The stream.
    pub stream: StreamName,
    /// Its partition.
    pub partition: PartitionId,
    /// The event that the group reads next, by what it has committed; between start and end. None without a commit.
    pub committed: Option<Offset>,
    /// What it has committed, as Kafka counts.
    pub record: Option<u64>,
    /// The first event.
    pub start: Offset,
    /// The offset after the last event.
    pub end: Offset,
    /// How many events there are from `committed` to `end`.
    pub lag_events: Option<u64>,
    /// The member that has it.
    pub member: Option<String>,
}

/// Where a group is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// With the first event that there is.
    Start,
    /// With the next event to come.
    End,
    /// With this event.
    Offset(Offset),
    /// With the first event of this time or later.
    Time(Timestamp),
    /// So many events before the one that it would read next.
    Back(u64),
}

/// A wish to have a group go on elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// The stream.
    pub stream: String,
    /// Its partitions; None is all of them.
    pub partitions: Option<Vec<PartitionId>>,
    /// Where.
    pub to: Target,
    /// Whether it is only told what would be done.
    pub dry_run: bool,
}

/// What a reset does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resets {
    /// Whether the brokers know the group. One that they do not is made by its first commit.
    pub exists: bool,
    /// What becomes of each partition.
    pub partitions: Vec<ResetPartition>,
}

/// What a reset does to a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetPartition {
    /// The partition.
    pub partition: PartitionId,
    /// The event that the group would read next; None without a commit.
    pub from: Option<Offset>,
    /// The one that it reads next then.
    pub to: Offset,
    /// The same as Kafka counts.
    pub record: u64,
    /// Whether there are no events where it was to go, and `to` is the start or the end instead.
    pub clamped: bool,
}

/// The consumer groups of the brokers that hold a log.
#[derive(Clone)]
pub struct Groups {
    log: Arc<KafkaLog>,
    permits: Arc<Semaphore>,
    known: Arc<Mutex<places::Known>>,
}

/// How long a request may take, and whether it has come to where its outcome is not known any more.
#[derive(Debug, Clone)]
pub(crate) struct Deadline {
    at: Instant,
    is_committing: Arc<AtomicBool>,
}

impl Deadline {
    fn new(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, is_committing: Arc::default() }
    }

    /// What is left; none once it is over.
    pub(crate) fn left(&self) -> Option<Duration> {
        Some(self.at.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    fn commits(&self) {
        self.is_committing.store(true, Ordering::Release);
    }
}

impl Groups {
    /// The groups of whoever reads the topics of this log.
    pub fn new(log: Arc<KafkaLog>) -> Self {
        Self { log, permits: Arc::new(Semaphore::new(REQUESTS_MAX)), known: Arc::default() }
    }

    /// Lists groups of the consumer protocol, whatever topics they read. Members of all are asked for in one request to each
    /// broker; committed offsets only of those that are listed. With a filter by stream, a page may be short.
    ///
    /// # Errors
    /// [`GroupError::Busy`], [`GroupError::TooMany`] without a limit; [`GroupError::Log`] when there is no such stream or the
    /// brokers do not answer within `request_ms_max`.
    pub async fn list(&self, filter: GroupFilter) -> Result<GroupPage> {
        self.on_thread("list groups", None, move |work| work.list(&filter)).await
    }

    /// Shows a group.
    ///
    /// # Errors
    /// [`GroupError::NoGroup`], [`GroupError::InvalidName`], and as [`Groups::list`].
    pub async fn show(&self, group: &str) -> Result<Group> {
        let group = checked(group)?;
        self.on_thread("show a group", None, move |work| work.show(&group)).await
    }

    /// Has a group that has no members go on elsewhere, or says what that would be.
    ///
    /// # Errors
    /// [`GroupError::HasMembers`], [`GroupError::NothingCommitted`], [`GroupError::Refused`]; [`GroupError::Unknown`] when the
    /// answer to the commit did not come; and as [`Groups::list`].
    pub async fn reset(&self, group: &str, reset: Reset) -> Result<Resets> {
        let group = checked(group)?;
        let def = self.log.streams().get(&reset.stream)?.clone();
        let mut partitions: Vec<PartitionId> = match &reset.partitions {
            Some(partitions) => partitions.clone(),
            None => (0..def.partitions).map(PartitionId).collect(),
        };
        partitions.sort_unstable();
        partitions.dedup();
        let at: Vec<_> = partitions.into_iter().map(|number| StreamPartition::new(def.id, number)).collect();
        // Also what others have just written, so that an end is one.
        self.log.refresh(&at).await?;
        let name = group.clone();
        let work = move |work: &work::Work| work.reset(&name, &at, &def.name, reset.to, reset.dry_run);
        self.on_thread("set the offsets of a group", Some(&group), work).await
    }

    /// Has a thread do it, which blocks. Who waits is answered in time, whatever the brokers do; the thread ends soon after.
    async fn on_thread<T: Send + 'static>(
        &self,
        action: &'static str,
        commits_for: Option<&str>,
        run: impl FnOnce(&work::Work) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = self.log.shared().clone();
        let limit = Duration::from_millis(shared.options.request_ms_max);
        let permit = tokio::time::timeout(limit, self.permits.clone().acquire_owned()).await;
        // Nobody closes the semaphore.
        let permit = permit.ok().and_then(std::result::Result::ok).ok_or(GroupError::Busy)?;
        let deadline = Deadline::new(limit);
        let work = work::Work {
            shared: shared.clone(),
            known: self.known.clone(),
            deadline: deadline.clone(),
            action,
        };
        let (reply, outcome) = oneshot::channel();
        let run = move || {
            let _until_it_ends: OwnedSemaphorePermit = permit;
            let _nobody_listens = reply.send(run(&work));
        };
        // Nothing of the log depends on it: if it panics, nobody replies, and that is all.
        spawn_guarded("kafka-groups", run, drop)?;
        let failed = |code| {
            let cause = KafkaError::GroupListFetch(code);
            client::unavailable(&shared.options, action, cause).into()
        };
        match tokio::time::timeout(limit + GRACE, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_panicked)) => Err(failed(RDKafkaErrorCode::Fail)),
            Err(_elapsed) if deadline.is_committing.load(Ordering::Acquire) => {
                Err(GroupError::Unknown(commits_for.unwrap_or_default().to_owned()))
            }
            Err(_elapsed) => Err(failed(RDKafkaErrorCode::OperationTimedOut)),
        }
    }
}

/// A name that the brokers can be asked for.
fn checked(group: &str) -> Result<String> {
    let is_fine = (1..=NAME_BYTES_MAX).contains(&group.len()) && !group.chars().any(char::is_control);
    if is_fine {
        return Ok(group.to_owned());
    }
    Err(GroupError::InvalidName(group.chars().take(80).filter(|c| !c.is_control()).collect()))
}
