//! Groups that come from elsewhere, as a reader of groups sees them.

use super::super::frames::GroupsFrame;
use super::*;

/// Frames as they would come: without what stands before their payload.
fn frames(groups: &[(&str, &[(u8, &str)])], groups_per_frame: usize) -> VecDeque<Bytes> {
    let frame = |groups: &[(&str, &[(u8, &str)])]| {
        let mut frame = GroupsFrame::new(PartitionId(4));
        for (key, entries) in groups {
            entries.iter().for_each(|(aggregate, entry)| frame.entry(*aggregate, entry.as_bytes(), b"v"));
            frame.group(key.as_bytes(), key.as_bytes());
        }
        frame.finish().slice(5..)
    };
    groups.chunks(groups_per_frame).map(frame).collect()
}

fn fetched(frames: VecDeque<Bytes>, bytes_max: usize) -> FetchedGroups {
    FetchedGroups::new(PartitionId(4), Feed::Ready(frames), Budget::new(bytes_max))
}

fn entries(fetched: &FetchedGroups, owner: &[u8]) -> Vec<Bytes> {
    fetched.entries(owner).map(|entry| entry.unwrap().0).collect()
}

const GROUPS: &[(&str, &[(u8, &str)])] =
    &[("a", &[(0, "x"), (0, "y"), (1, "z")]), ("b", &[]), ("c", &[(1, "u")]), ("d", &[(1, "w")])];

#[test]
fn entries_are_there_until_their_group_is_forgotten() {
    let fetched = fetched(frames(GROUPS, 3), 1_000);
    let mut groups = fetched.groups(b"");
    let mut next = || groups.next().map(|group| group.unwrap().0);
    assert_eq!(next().unwrap(), "a");
    assert_eq!(next().unwrap(), "b");
    assert_eq!(entries(&fetched, b"a\0"), ["x", "y"]);
    assert_eq!(entries(&fetched, b"a\x01"), ["z"]);
    assert!(entries(&fetched, b"b\0").is_empty());
    assert_eq!(next().unwrap(), "c");
    fetched.forget();
    // The last one belongs to what is put together next.
    assert_eq!(entries(&fetched, b"c\x01"), ["u"]);
    assert!(entries(&fetched, b"a\0").is_empty());
    assert_eq!(next().unwrap(), "d");
    assert_eq!(next(), None);
    assert_eq!(entries(&fetched, b"d\x01"), ["w"]);
}

#[test]
fn entries_take_no_more_memory_than_a_query_may() {
    let read = |bytes_max, forget: bool| {
        let fetched = fetched(frames(GROUPS, 1), bytes_max);
        let mut groups = fetched.groups(b"");
        std::iter::from_fn(|| {
            let group = groups.next()?;
            if forget {
                fetched.forget();
            }
            Some(group.map(drop))
        })
        .collect::<Result<Vec<_>>>()
    };
    assert_eq!(read(5 * 82, false).unwrap().len(), 4);
    assert!(matches!(read(4 * 82, false), Err(DataFusionError::ResourcesExhausted(_))));
    assert_eq!(read(4 * 82, true).unwrap().len(), 4);
}

#[test]
fn groups_that_were_not_asked_for_are_refused() {
    let error = |frames: VecDeque<Bytes>, start: &[u8]| {
        let fetched = fetched(frames, 1_000);
        let read: Result<Vec<_>> = fetched.groups(start).collect();
        read.unwrap_err().to_string()
    };
    assert!(error(frames(GROUPS, 2), b"a").contains("a group came that was not asked for"));
    let backwards: &[(&str, &[(u8, &str)])] = &[("b", &[]), ("a", &[])];
    assert!(error(frames(backwards, 2), b"").contains("not in the order of their keys"));
    let mut other = GroupsFrame::new(PartitionId(5));
    other.group(b"a", b"");
    assert!(error([other.finish().slice(5..)].into(), b"").contains("groups of another partition"));
    let mut orphan = GroupsFrame::new(PartitionId(4));
    orphan.entry(0, b"x", b"");
    assert!(error([orphan.finish().slice(5..)].into(), b"").contains("entries without their group"));
}

#[test]
fn groups_that_break_off_are_no_groups() {
    let (sender, frames_of) = tokio::sync::mpsc::channel(9);
    for frame in frames(GROUPS, 4) {
        sender.try_send(Ok(frame)).unwrap();
    }
    drop(sender);
    let fetched = FetchedGroups::new(PartitionId(4), Feed::Channel(frames_of), Budget::new(1_000));
    let read: Vec<_> = fetched.groups(b"").map(|group| group.is_ok()).collect();
    assert_eq!(read, [true, true, true, true, false]);
}
