//! Two regions compare what they hold of an epoch of one of them, before anything is sent.

use serde::{Deserialize, Serialize};
use tw_types::{Hlc, Sequence};

/// How far an epoch goes: the last sequence and its timestamp. Sequence 0: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mark {
    /// The last sequence, inclusive.
    pub sequence: Sequence,
    /// Its timestamp.
    pub hlc: Hlc,
}

/// How a region stands that says how much it accepted of its own epoch, seen from a region that holds some of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has all that was received of it, and this many more.
    Fine {
        /// How many sequences are still to be received.
        ahead: u64,
    },
    /// It has less than was received of it: it is an older copy. It must raise its epoch, and may fetch back its own events
    /// from `from` to `to`, both inclusive, before it says where the old epoch ends.
    Behind {
        /// The first event that it has lost.
        from: Sequence,
        /// The last event of it that is held here.
        to: Sequence,
    },
    /// Both have an event with this number and they are different ones: an older copy went on in the same epoch. It must raise
    /// its epoch; what it accepted since it was restored has to be accepted anew under the new one.
    Fork {
        /// The sequence at which they differ, at the latest.
        at: Sequence,
    },
}

/// Compares what is `held` of a region's epoch with what that region `accepted` in it. `at_shorter` is the timestamp that
/// the side with more events has at the last sequence of the side with fewer, which it looks up in its log; None if that event
/// is no longer there. Without it a fork is only found when the timestamps cannot fit.
pub fn compare(held: Mark, accepted: Mark, at_shorter: Option<Hlc>) -> Standing {
    let (shorter, longer) =
        if held.sequence <= accepted.sequence { (held, accepted) } else { (accepted, held) };
    let distance = longer.sequence.0 - shorter.sequence.0;
    // From event to event timestamps rise by at least one.
    let is_possible =
        if distance == 0 { shorter.hlc == longer.hlc } else { shorter.hlc.plus(distance) <= longer.hlc };
    let is_same = is_possible && at_shorter.is_none_or(|hlc| hlc == shorter.hlc);
    if shorter.sequence > Sequence(0) && !is_same {
        return Standing::Fork { at: shorter.sequence };
    }
    if held.sequence > accepted.sequence {
        return Standing::Behind { from: Sequence(accepted.sequence.0 + 1), to: held.sequence };
    }
    Standing::Fine { ahead: distance }
}
