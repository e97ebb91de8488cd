//! Where a group is put, and how far behind it is: decisions without I/O, in the platform's offsets.

use super::Target;
use tw_log::Bounds;
use tw_types::Offset;

/// Where a partition is to be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aim {
    pub(super) to: Offset,
    /// Whether there are no events where it was to be.
    pub(super) clamped: bool,
}

/// Where `target` is in a partition with these bounds that a group has committed up to `from`. `at_time` is the first event of
/// the time that the target names, if it names one and there is such an event. None if there is nothing to go back from.
pub(super) fn aim(
    target: Target,
    bounds: Bounds,
    from: Option<Offset>,
    at_time: Option<Offset>,
) -> Option<Aim> {
    let wanted = match target {
        Target::Start => Some(bounds.start),
        Target::End => Some(bounds.end),
        Target::Offset(offset) => Some(offset),
        // No event is so late: the next one to come is the first that can be.
        Target::Time(_) => Some(at_time.unwrap_or(bounds.end)),
        // Before the first event there is nothing.
        Target::Back(events) => from?.0.checked_sub(events).map(Offset),
    };
    let to = clamp(wanted.unwrap_or(bounds.start), bounds);
    // A time names no offset: what was removed meanwhile is no reason to say so.
    let is_exact = matches!(target, Target::Time(_)) || wanted == Some(to);
    Some(Aim { to, clamped: !is_exact })
}

/// The nearest place in a partition.
pub(super) fn clamp(offset: Offset, Bounds { start, end }: Bounds) -> Offset {
    offset.min(end).max(start)
}

/// How many events a group has not committed that reads `next` next.
pub(super) fn lag(next: Offset, bounds: Bounds) -> u64 {
    bounds.end.0.saturating_sub(clamp(next, bounds).0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tw_types::Timestamp;

    fn bounds(start: u64, end: u64) -> Bounds {
        Bounds { start: Offset(start), end: Offset(end) }
    }

    fn to(offset: u64, clamped: bool) -> Option<Aim> {
        Some(Aim { to: Offset(offset), clamped })
    }

    #[test]
    fn what_is_outside_of_a_partition_becomes_its_nearest_end_and_says_so() {
        let held = bounds(10, 20);
        let aim = |target, from: Option<u64>| aim(target, held, from.map(Offset), None);
        assert_eq!(aim(Target::Start, None), to(10, false));
        assert_eq!(aim(Target::End, None), to(20, false));
        assert_eq!(aim(Target::Offset(Offset(15)), None), to(15, false));
        assert_eq!(aim(Target::Offset(Offset(20)), None), to(20, false));
        assert_eq!(aim(Target::Offset(Offset(9)), None), to(10, true));
        assert_eq!(aim(Target::Offset(Offset(21)), Some(3)), to(20, true));
        assert_eq!(aim(Target::Back(5), Some(18)), to(13, false));
        assert_eq!(aim(Target::Back(9), Some(18)), to(10, true));
        assert_eq!(aim(Target::Back(90), Some(18)), to(10, true));
    }

    #[test]
    fn nothing_goes_back_from_nothing() {
        assert_eq!(aim(Target::Back(1), bounds(0, 9), None, None), None);
    }

    #[test]
    fn a_time_after_the_last_event_is_the_end() {
        let time = Target::Time(Timestamp::from_millis(1));
        assert_eq!(aim(time, bounds(3, 9), None, None), to(9, false));
        assert_eq!(aim(time, bounds(3, 9), None, Some(Offset(5))), to(5, false));
    }

    #[test]
    fn who_has_committed_what_was_removed_since_lacks_what_is_there() {
        assert_eq!(lag(Offset(2), bounds(5, 9)), 4);
        assert_eq!(lag(Offset(11), bounds(5, 9)), 0);
    }

    proptest! {
        #[test]
        fn a_group_is_put_where_events_are_and_lacks_what_comes_after(
            start in 0u64..1_000,
            length in 0u64..1_000,
            from in proptest::option::of(0u64..3_000),
            number in 0u64..3_000,
            which in 0..3,
        ) {
            let held = bounds(start, start + length);
            let target = match which {
                0 => Target::Offset(Offset(number)),
                1 => Target::Back(number),
                _ => Target::End,
            };
            let Some(Aim { to, clamped }) = aim(target, held, from.map(Offset), None) else {
                prop_assert!(which == 1 && from.is_none());
                return Ok(());
            };
            prop_assert!(held.start <= to && to <= held.end);
            prop_assert_eq!(lag(to, held), held.end.0 - to.0);
            let wanted = match target {
                Target::Offset(offset) => i128::from(offset.0),
                Target::Back(events) => i128::from(from.unwrap_or_default()) - i128::from(events),
                _ => i128::from(held.end.0),
            };
            prop_assert_eq!(clamped, i128::from(to.0) != wanted);
        }
    }
}
