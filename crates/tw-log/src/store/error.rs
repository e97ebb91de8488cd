//! What can go wrong with the event store.

use std::io;
use std::sync::Arc;
use tw_types::{ExpectedVersion, Origin, Sequence, StreamName, StreamPartition, Version};

/// An operation on the event store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log failed, or refused the append.
    #[error(transparent)]
    Log(#[from] crate::Error),
    /// The subject index failed. It can be rebuilt from the log.
    #[error("the subject index failed")]
    Index(#[source] Arc<tw_state::Error>),
    /// An entry of the subject index does not read. It can be rebuilt from the log.
    #[error("the subject index is damaged: remove the state folder, and it will be rebuilt from the log")]
    DamagedIndex(#[from] tw_order::InvalidRun),
    /// A subject has another version than the writer expected (LOG-3). Nothing was stored.
    #[error(
        "subject `{subject}` of stream `{stream}` has version {actual}, but the append expected {expected}"
    )]
    Conflict {
        /// The stream.
        stream: StreamName,
        /// The subject.
        subject: String,
        /// What the writer expected.
        expected: ExpectedVersion,
        /// Its version; 0 when it has no events.
        actual: Version,
    },
    /// An idempotency key was used before, for something else. Nothing was stored.
    #[error("idempotency key `{0}` was used for another write: use a new key for each write")]
    KeyReused(String),
    /// The first write with an idempotency key cannot be answered again, because its events are gone.
    #[error("the events of the first write with idempotency key `{0}` have been removed")]
    KeyGone(String),
    /// An event of another region is in the log already (REG-3). Nothing was stored.
    #[error(
        "`{origin}` (region.epoch.sequence) is in partition {at} already, which has everything up to {reached}"
    )]
    Received {
        /// The partition.
        at: StreamPartition,
        /// The first event of what was to be stored.
        origin: Origin,
        /// The last sequence of that region and epoch that is there, or under way.
        reached: Sequence,
    },
    /// The region does not accept anything now. Nothing was stored.
    #[error(
        "stream `{stream}` takes nothing until this region has everything that others have: try again later"
    )]
    Held {
        /// The stream.
        stream: StreamName,
    },
    /// An event, a key or a condition breaks a rule.
    #[error("event `{id}` cannot be stored: {reason}")]
    InvalidEvent {
        /// The id of the event, cut to 80 characters.
        id: String,
        /// The rule, and what to do.
        reason: String,
    },
    /// An event is larger than its stream takes.
    #[error(
        "event `{id}` has {bytes} bytes, over the limit of {bytes_max} bytes of stream `{stream}`: make it smaller, or \
         raise the stream's `event_bytes_max`"
    )]
    EventTooLarge {
        /// The id of the event, cut to 80 characters.
        id: String,
        /// The stream.
        stream: StreamName,
        /// How many bytes it has, attributes and data.
        bytes: usize,
        /// How many it may have.
        bytes_max: u32,
    },
    /// The write as a whole breaks a rule.
    #[error("the write cannot be stored: {0}")]
    InvalidWrite(String),
    /// An option is outside its bounds.
    #[error("event store option `{option}` is {value}, outside {bounds}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// The refused value.
        value: u64,
        /// What is allowed, with the unit.
        bounds: &'static str,
    },
    /// The thread that stores the index could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

impl From<tw_state::Error> for Error {
    fn from(error: tw_state::Error) -> Self {
        Self::Index(Arc::new(error))
    }
}

impl From<tw_wire::Error> for Error {
    fn from(error: tw_wire::Error) -> Self {
        Self::Log(error.into())
    }
}
