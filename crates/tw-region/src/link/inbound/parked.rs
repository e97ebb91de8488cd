//! Why the receiving end takes nothing more of a partition, and what to do about it.

use tw_merge::{delivery, received};
use tw_types::{Epoch, Hlc, Origin, RegionId, Sequence};

/// Why nothing is taken of a partition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Parked {
    /// Two histories.
    #[error(
        "event {at} has the timestamp {told} there and {known} here: a copy of the region went on without a new epoch; raise its epoch, and accept anew what the copy accepted"
    )]
    Fork {
        /// The sequence at which the two differ, at the latest.
        at: Origin,
        /// Its timestamp here, or the nearest one that it can have had.
        known: Hlc,
        /// The timestamp with which it comes.
        told: Hlc,
    },
    /// More than there can be.
    #[error(
        "event {last} lies beyond {end}, where its epoch ended: the region must go on under its new epoch"
    )]
    Closed {
        /// The last event of the block.
        last: Origin,
        /// The last sequence of the epoch.
        end: Sequence,
    },
    /// Events of a third region.
    #[error(
        "the block at {first} is not of region `{peer}`: each region sends its own events only; link region `{}` itself", first.region
    )]
    NotItsOwn {
        /// Where the block was accepted.
        first: Origin,
        /// Who sent it.
        peer: RegionId,
    },
    /// A block that cannot be one.
    #[error(transparent)]
    Span(#[from] tw_merge::span::Error),
    /// What the region says of its epochs contradicts what is here.
    #[error(transparent)]
    Epochs(#[from] received::Error),
    /// What the block says of time cannot be.
    #[error(transparent)]
    Time(#[from] delivery::Error),
    /// Another copy of this region was put back before, and has used the epoch.
    #[error(
        "region `{region}` has accepted up to {last} in epoch {epoch}, in which this copy of it is about to begin: stop it, raise its epoch once more, and start it again"
    )]
    InUse {
        /// This region.
        region: RegionId,
        /// Its epoch.
        epoch: Epoch,
        /// The last sequence that another region has of it.
        last: Sequence,
    },
    /// The log does not take it.
    #[error("the log refuses it ({reason}): remove the cause, then retry this partition")]
    Refused {
        /// What the log says.
        reason: String,
    },
}
