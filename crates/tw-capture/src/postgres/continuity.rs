//! Whether the stream can go on where the log ends, or whether changes are missing (CAP-3).
//!
//! Pure: what the log remembers and what the server says go in, a decision comes out.

use crate::{Cursor, Lsn};

/// What the server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) system_id: String,
    pub(crate) timeline: u32,
    /// Where each earlier timeline ended: (timeline, first place that is not on it).
    pub(crate) history: Vec<(u32, Lsn)>,
    /// The end of the write-ahead log that is on stable storage.
    pub(crate) end: Lsn,
}

/// What the server says about the slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Changes before it have been confirmed and are not sent any more. None: the slot has not found its start.
    pub(crate) confirmed: Option<Lsn>,
    /// Why the slot cannot be used any more, if so.
    pub(crate) lost: Option<String>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Go on.
    Resume,
    /// Begin: there is nothing in the log. A slot that cannot be used is in the way if `replace_slot`.
    Begin {
        /// Whether the slot has to be dropped and made again.
        replace_slot: bool,
    },
    /// Changes are missing: say so, and begin anew.
    Gap {
        /// Why.
        reason: String,
    },
}

/// Compares what the log remembers with what the server has. A missing slot is `None`.
pub(crate) fn decide(cursor: Option<&Cursor>, server: &Server, slot: Option<&Slot>) -> Decision {
    let Some(cursor) = cursor.filter(|cursor| cursor.lsn > Lsn(0)) else {
        // After a gap, what an old slot still holds is older than the snapshot to come.
        let anew = cursor.is_some();
        let unusable = slot.is_some_and(|slot| slot.lost.is_some() || slot.confirmed.is_none());
        return Decision::Begin { replace_slot: slot.is_some() && (anew || unusable) };
    };
    let gap = |reason: String| Decision::Gap { reason };
    if cursor.system_id != server.system_id {
        return gap(format!(
            "the server is another database cluster: {} instead of {}",
            server.system_id, cursor.system_id
        ));
    }
    if cursor.timeline != server.timeline {
        let left = server.history.iter().find(|(timeline, _)| *timeline == cursor.timeline);
        match left {
            Some((_, end)) if cursor.lsn <= *end => {}
            Some((_, end)) => {
                return gap(format!(
                    "the server left timeline {} at {end}, before {}, up to which the log has its changes",
                    cursor.timeline, cursor.lsn
                ));
            }
            None => {
                return gap(format!(
                    "the server is on timeline {}, which does not descend from timeline {}",
                    server.timeline, cursor.timeline
                ));
            }
        }
    }
    if server.end < cursor.lsn {
        return gap(format!("the server's write-ahead log ends at {}, before {}", server.end, cursor.lsn));
    }
    match slot {
        None => gap("the replication slot is gone".into()),
        Some(Slot { lost: Some(why), .. }) => gap(format!("the replication slot is lost: {why}")),
        Some(Slot { confirmed: None, .. }) => gap("the replication slot was made anew".into()),
        // The slot never learns of a place that is not in the log first (CAP-1), so somebody else moved it.
        Some(Slot { confirmed: Some(confirmed), .. }) if *confirmed > cursor.lsn => gap(format!(
            "the replication slot was made anew or moved by somebody else: it starts at {confirmed}, after {}",
            cursor.lsn
        )),
        Some(_) => Decision::Resume,
    }
}

/// Reads a timeline history file: lines of timeline, end, reason; comments start with `#`.
pub(crate) fn parse_history(text: &str) -> Vec<(u32, Lsn)> {
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(lsn: u64) -> Cursor {
        Cursor { v: 1, system_id: "7".into(), timeline: 2, lsn: Lsn(lsn), ordinal: 0, xid: 0 }
    }

    fn server() -> Server {
        Server { system_id: "7".into(), timeline: 2, history: vec![(1, Lsn(50))], end: Lsn(1000) }
    }

    fn slot(confirmed: u64) -> Slot {
        Slot { confirmed: Some(Lsn(confirmed)), lost: None }
    }

    #[test]
    fn a_slot_at_or_before_the_cursor_goes_on() {
        for confirmed in [1, 99, 100] {
            assert_eq!(decide(Some(&cursor(100)), &server(), Some(&slot(confirmed))), Decision::Resume);
        }
    }

    #[test]
    fn cap_3_what_cannot_be_closed_is_a_gap() {
        let lost = Slot { lost: Some("wal_removed".into()), ..slot(90) };
        let copy = Server { system_id: "8".into(), ..server() };
        let behind = Server { end: Lsn(99), ..server() };
        let promoted_early = Server { timeline: 3, history: vec![(1, Lsn(50)), (2, Lsn(99))], ..server() };
        let stranger = Server { timeline: 3, history: vec![(1, Lsn(50))], ..server() };
        for (server, slot, part) in [
            (server(), None, "is gone"),
            (server(), Some(lost), "wal_removed"),
            (server(), Some(slot(101)), "made anew"),
            (server(), Some(Slot { confirmed: None, lost: None }), "made anew"),
            (copy, Some(slot(90)), "another database cluster"),
            (behind, Some(slot(90)), "ends at 0/63"),
            (promoted_early, Some(slot(90)), "left timeline 2"),
            (stranger, Some(slot(90)), "does not descend"),
        ] {
            match decide(Some(&cursor(100)), &server, slot.as_ref()) {
                Decision::Gap { reason } => assert!(reason.contains(part), "{reason}"),
                other => panic!("{part}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_promotion_after_the_cursor_goes_on() {
        let promoted = Server { timeline: 3, history: vec![(1, Lsn(50)), (2, Lsn(100))], ..server() };
        assert_eq!(decide(Some(&cursor(100)), &promoted, Some(&slot(90))), Decision::Resume);
    }

    #[test]
    fn a_new_source_takes_a_slot_that_works_and_replaces_one_that_does_not() {
        let lost = Slot { lost: Some("x".into()), ..slot(9) };
        assert_eq!(decide(None, &server(), None), Decision::Begin { replace_slot: false });
        assert_eq!(decide(None, &server(), Some(&slot(9))), Decision::Begin { replace_slot: false });
        assert_eq!(decide(None, &server(), Some(&lost)), Decision::Begin { replace_slot: true });
        // Begun anew after a gap, but stopped before the new slot was there.
        assert_eq!(
            decide(Some(&cursor(0)), &server(), Some(&slot(9))),
            Decision::Begin { replace_slot: true }
        );
    }

    #[test]
    fn history_files_are_understood() {
        let text = "1\t0/3000110\tno recovery target specified\n\n# comment\n2\t0/5000060\tbefore 2000\n";
        assert_eq!(parse_history(text), [(1, Lsn(0x300_0110)), (2, Lsn(0x500_0060))]);
    }
}
