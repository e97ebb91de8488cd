//! Whom the sending end refuses: who has another history than this region, or asks for what was not agreed on.

use super::super::wire::{Pulled, Refuse};
use tw_merge::received::{Mark, Standing, compare};
use tw_types::{Epoch, Hlc, PartitionId, Sequence};

/// Whose events are sent, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sends {
    /// This region's own: nobody can have more of them.
    Own,
    /// What was received of the receiver's own region, or of one that is gone.
    GivesBack,
    /// What is received of another region. The receiver may have had it from somewhere else before.
    Relays,
}

/// Whether the receiver has the same events as this region, and no more of them, unless it may have.
pub(super) fn check(
    epoch: Epoch,
    held: Mark,
    end: Mark,
    named_hlc: Option<Hlc>,
    sends: Sends,
) -> Result<(), Refuse> {
    if held.sequence == Sequence(0) {
        return Ok(());
    }
    // Where a relay's own mark is of an event that it was told is gone, its time is not the event's: the last one before what is left, which may be another one
    // each time. Only the event itself says more.
    let is_same = sends == Sends::Relays && held.sequence == end.sequence;
    if is_same && named_hlc.is_none_or(|named| named == held.hlc) {
        return Ok(());
    }
    let whose = if sends == Sends::Own { "my epoch" } else { "its epoch" };
    let (code, text) = match compare(held, end, named_hlc.filter(|_| held.sequence <= end.sequence)) {
        Standing::Fine { .. } => return Ok(()),
        Standing::Behind { .. } if sends != Sends::Own => return Ok(()),
        Standing::Behind { from, to } => {
            ("older-copy", format!("you have events {from} to {to} of {whose} {epoch}, and I have not"))
        }
        Standing::Fork { at } => (
            "fork",
            format!("your event {at} of {whose} {epoch} is not the one here: one of us has another history"),
        ),
    };
    let remedy = match sends {
        Sends::Own => {
            "stop the sending region, put its copy back as it was, and raise its epoch before it is started: then it fetches back what it lost"
        }
        Sends::GivesBack => {
            "put the copy back once more, as it was before it accepted anything, and raise its epoch before it is started"
        }
        Sends::Relays => {
            "there are two copies of the region that is relayed: stop one of them, and have whoever took of it what the other one does not know put back"
        }
    };
    Err(Refuse { code: code.to_owned(), text, remedy: remedy.to_owned() })
}

pub(super) fn not_agreed(entry: &Pulled) -> Refuse {
    let Pulled { stream, partition: PartitionId(partition), region, .. } = entry;
    Refuse {
        code: "not-agreed".to_owned(),
        text: format!(
            "partition {partition} of stream `{stream}` and region `{region}` is not among those that were agreed on"
        ),
        remedy: "connect anew, so that both tell what they replicate".to_owned(),
    }
}
