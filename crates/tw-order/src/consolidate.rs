//! How fresh events join what the stored index has of a subject.

use crate::run::InvalidRun;
use crate::{PackedRun, Posting};

/// A subject's tail, which every flush that touches the subject writes anew, has at most this many events.
pub const TAIL_EVENTS_MAX: usize = 16;
/// Other runs have at most this many.
pub const RUN_EVENTS_MAX: usize = 512;

/// What to store of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consolidated {
    /// Runs that never change again.
    pub runs: Vec<PackedRun>,
    /// Its latest events.
    pub tail: PackedRun,
}

/// Joins the stored tail of a subject and its fresh events, which may repeat events of the tail.
///
/// # Errors
/// [`InvalidRun`] when there are no events at all, or offsets do not increase with versions.
pub fn consolidate(
    tail: Option<&PackedRun>,
    fresh: impl Iterator<Item = Posting>,
) -> Result<Consolidated, InvalidRun> {
    let stored = tail.map(PackedRun::last);
    let mut events: Vec<Posting> = tail.into_iter().flat_map(PackedRun::iter).collect();
    events.extend(fresh.filter(|posting| stored.is_none_or(|stored| posting.version > stored)));
    let mut runs = Vec::new();
    let mut segments =
        events.chunk_by(|before, after| after.version == before.version.next()).collect::<Vec<_>>();
    let last = segments.pop().ok_or(InvalidRun)?;
    let keep = if last.len() > TAIL_EVENTS_MAX { 1 } else { last.len() };
    let (full, tail) = last.split_at(last.len() - keep);
    for segment in segments.into_iter().chain([full]) {
        for run in segment.chunks(RUN_EVENTS_MAX) {
            runs.push(PackedRun::pack(run)?);
        }
    }
    Ok(Consolidated { runs, tail: PackedRun::pack(tail)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IdHash;
    use proptest::prelude::*;
    use tw_types::{Offset, Version};

    fn posting(version: u64) -> Posting {
        Posting { version: Version(version), offset: Offset(version * 3), id: IdHash(version as u32) }
    }

    #[test]
    fn a_short_history_is_all_tail() {
        let stored = PackedRun::pack(&[posting(1), posting(2)]).unwrap();
        let joined = consolidate(Some(&stored), [posting(2), posting(3)].into_iter()).unwrap();
        assert_eq!(joined.runs, []);
        assert_eq!(joined.tail.iter().collect::<Vec<_>>(), [posting(1), posting(2), posting(3)]);
        assert!(consolidate(None, std::iter::empty()).is_err());
    }

    proptest! {
        #[test]
        fn no_event_is_lost_however_flushes_fall(
            gaps in proptest::collection::vec(prop_oneof![30 => Just(1u64), 1 => 2u64..40], 1..1_500),
            flushes in proptest::collection::vec(1usize..400, 1..30),
        ) {
            let versions: Vec<u64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let (mut stored, mut tail, mut rest) = (Vec::new(), None, versions.as_slice());
            for flush in flushes.into_iter().chain([usize::MAX]) {
                let (now, later) = rest.split_at(flush.min(rest.len()));
                rest = later;
                if now.is_empty() {
                    continue;
                }
                let joined = consolidate(tail.as_ref(), now.iter().map(|version| posting(*version))).unwrap();
                prop_assert!(joined.tail.iter().count() <= TAIL_EVENTS_MAX);
                for run in &joined.runs {
                    prop_assert!(run.iter().count() <= RUN_EVENTS_MAX);
                    stored.extend(run.iter());
                }
                tail = Some(joined.tail);
            }
            stored.extend(tail.iter().flat_map(PackedRun::iter));
            prop_assert_eq!(stored, versions.into_iter().map(posting).collect::<Vec<_>>());
        }
    }
}
