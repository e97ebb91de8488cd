//! What can go wrong with processing.

use crate::ParkedId;
use tw_order::gate;
use tw_types::{StreamPartition, Token};

/// An operation on the workers failed, or a partition stands still.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// An option is outside its bounds.
    #[error("processing option `{option}` is {value}, outside {bounds}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// The refused value.
        value: u64,
        /// What is allowed, with the unit.
        bounds: &'static str,
    },
    /// An option of the retries is outside its bounds.
    #[error(transparent)]
    InvalidRetry(#[from] gate::InvalidOption),
    /// No view has this name.
    #[error("there is no view `{0}`")]
    NoView(String),
    /// A view of this name is there.
    #[error("a view `{0}` exists already")]
    ViewExists(String),
    /// The name of a view breaks a rule.
    #[error("`{0}` cannot name a view: it must have 1 to 1000 bytes, and no `/` at its ends")]
    InvalidName(String),
    /// A view is built anew, and what it was before cannot go on.
    #[error("view `{view}` is being built, {percent} %: try again later")]
    NotBuilt {
        /// The view.
        view: String,
        /// How much of what was there when it began has been processed.
        percent: u64,
    },
    /// Nothing is built anew that could be read.
    #[error("no new version of view `{0}` is being built")]
    NotBuilding(String),
    /// Two generations of a view cannot be read at the same offsets.
    #[error("view `{view}` cannot be compared with its new version: {reason}")]
    NotComparable {
        /// The view.
        view: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// A partition stands still until someone acts.
    #[error("view `{view}` stands still at partition {at}: {reason}")]
    Stopped {
        /// The view.
        view: String,
        /// The partition.
        at: StreamPartition,
        /// Why, and what to do.
        reason: String,
    },
    /// A view did not get as far as was asked for.
    #[error("view `{view}` has not reached `{token}` within {timeout_ms} ms: try again, or allow more time")]
    Timeout {
        /// The view.
        view: String,
        /// What was asked for.
        token: Token,
        /// How long it waited.
        timeout_ms: u64,
    },
    /// A token names a partition that the view's stream does not have.
    #[error("partition {at} of the token does not exist: the stream has {partitions}")]
    NoPartition {
        /// The partition.
        at: StreamPartition,
        /// How many there are.
        partitions: u32,
    },
    /// A partition is not this node's business.
    #[error(
        "partition {at} of view `{view}` is not processed on this node: ask the one that it is assigned to"
    )]
    NotAssigned {
        /// The view.
        view: String,
        /// The partition.
        at: StreamPartition,
    },
    /// What a node works with cannot be forgotten.
    #[error("partition {0} is assigned to this node: take it away first")]
    Assigned(StreamPartition),
    /// No event is parked there.
    #[error("no parked event is at `{0}`: `tradewind parked ls` lists those that are")]
    NotParked(ParkedId),
    /// The stream of parked events is not as it must be.
    #[error("stream `{name}` has {partitions} partitions instead of one: it was not created by this program")]
    ParkedStream {
        /// Its name.
        name: String,
        /// How many partitions it has.
        partitions: u32,
    },
    /// Stored state is of a later version of this program.
    #[error("the state of view `{0}` was written by a later version: use that one, or rebuild the view")]
    LaterVersion(String),
    /// The system gave no thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::sync::Arc<std::io::Error>),
    /// Some partitions did not finish in time at a shutdown; they go on from their last commit.
    #[error(
        "{partitions} partitions were not committed within {drain_ms_max} ms: they will go on from their last commit"
    )]
    NotDrained {
        /// How many.
        partitions: usize,
        /// The bound.
        drain_ms_max: u64,
    },
    /// The workers are being stopped.
    #[error("processing is shutting down")]
    Closed,
    /// The log failed.
    #[error(transparent)]
    Log(#[from] tw_log::Error),
    /// What was decided or found about parked events could not be written.
    #[error("cannot write to `$parked`")]
    Parked(#[source] std::sync::Arc<tw_log::store::Error>),
    /// The depot of snapshots failed.
    #[error(transparent)]
    Depot(#[from] tw_depot::Error),
    /// Snapshots are kept nowhere.
    #[error("snapshots of state are not kept: name a depot in the configuration")]
    NoDepot,
    /// A snapshot is the owner's business.
    #[error("snapshots of partition {0} are not stored by this node: it is not the owner")]
    NotOwner(StreamPartition),
    /// The state is too large for a snapshot.
    #[error(
        "the state of partition {at} has over {chunks_max} chunks of 4 MiB: give the stream more partitions"
    )]
    SnapshotTooLarge {
        /// The partition.
        at: StreamPartition,
        /// The bound.
        chunks_max: usize,
    },
    /// State could not be compressed.
    #[error("state cannot be compressed for a snapshot")]
    Compression(#[source] std::sync::Arc<std::io::Error>),
    /// The store failed.
    #[error(transparent)]
    State(std::sync::Arc<tw_state::Error>),
}

impl From<tw_state::Error> for Error {
    fn from(error: tw_state::Error) -> Self {
        Self::State(std::sync::Arc::new(error))
    }
}

impl From<tw_log::store::Error> for Error {
    fn from(error: tw_log::store::Error) -> Self {
        Self::Parked(std::sync::Arc::new(error))
    }
}

impl From<tw_wire::Error> for Error {
    fn from(error: tw_wire::Error) -> Self {
        Self::Log(error.into())
    }
}
