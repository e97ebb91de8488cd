//! Pure cores of order: what version an event gets, whether an append may happen, whether it has happened already, and
//! which events may be applied while an earlier one of their subject cannot ([`gate`]).
//!
//! A core decides from its arguments alone; the event store (`tw-log`) and the partition workers (`tw-process`) carry
//! the decisions out.

mod consolidate;
pub mod gate;
mod hash;
mod keys;
mod ledger;
mod partition;
mod run;
mod window;

pub use consolidate::{Consolidated, RUN_EVENTS_MAX, TAIL_EVENTS_MAX, consolidate};
pub use hash::{IdHash, SubjectHash};
pub use keys::{KeyDecision, KeyHash, KeyPart, KeyRecord, KeyTable};
pub use ledger::{
    Accepted, DEDUP_VERSIONS, Duplicate, Fact, Ledger, Load, Loaded, Obstacle, Plan, Proposed, Request,
    Sealed, SealedEntry, Stop, Suspect,
};
pub use partition::{murmur2, partition_of};
pub use run::{InvalidRun, PackedRun, Posting};
pub use window::IdWindow;
