//! Windows against a model that keeps every event.

use super::*;
use proptest::prelude::*;

fn posting(version: u64, id: u32) -> Posting {
    Posting { version: Version(version), offset: Offset(version * 3), id: IdHash(id) }
}

fn window(postings: &[Posting]) -> IdWindow {
    let mut window = IdWindow::default();
    postings.iter().for_each(|posting| window.push(*posting));
    window
}

/// The versions that the model finds.
fn model(postings: &[Posting], id: IdHash) -> Vec<Version> {
    let head = postings.last().map_or(0, |last| last.version.0);
    let recent = postings.iter().filter(|posting| posting.version.0 + DEDUP_VERSIONS > head);
    recent.filter(|posting| posting.id == id).map(|posting| posting.version).collect()
}

/// Ids that are spread as hashes are, with few of them the same.
fn spread(number: u32) -> u32 {
    (number + 1).wrapping_mul(0x9e37_79b1)
}

/// Versions with few gaps, most of them small, and ids of which few or many are alike. Never 0, which stands in gaps.
fn postings() -> impl Strategy<Value = Vec<Posting>> {
    let gap = prop_oneof![60 => Just(1u64), 2 => 2u64..20, 1 => 500u64..2_500];
    let kinds = prop_oneof![Just(3u32), Just(700), Just(1 << 30)];
    (kinds, proptest::collection::vec((gap, any::<u32>()), 1..3_000)).prop_map(|(kinds, events)| {
        let versions = events.iter().scan(0, |at, (gap, _)| {
            *at += gap;
            Some(*at)
        });
        versions.zip(&events).map(|(version, (_, id))| posting(version, spread(id % kinds).max(1))).collect()
    })
}

proptest! {
    #[test]
    fn what_it_finds_is_what_the_model_finds(postings in postings(), others in proptest::collection::vec(1u32.., 20)) {
        let window = window(&postings);
        prop_assert_eq!(window.head(), postings.last().unwrap().version);
        prop_assert_eq!(window.last_offset(), postings.last().unwrap().offset);
        let recent = postings.iter().rev().take(1_100).map(|posting| posting.id);
        for id in recent.chain(others.into_iter().map(IdHash)) {
            let found: Vec<_> = window.with_id(id).collect();
            prop_assert_eq!(&found, &model(&postings, id));
            prop_assert!(window.may_have(id) || found.is_empty());
        }
        prop_assert!(window.heap_bytes() <= 4_096 + 1_024);
    }

    #[test]
    fn two_halves_are_as_good_as_the_whole(postings in postings(), cut in any::<prop::sample::Index>(), overlap in 0usize..50) {
        let cut = cut.index(postings.len());
        let mut joined = window(&postings[..cut]);
        joined.extend(&window(&postings[cut.saturating_sub(overlap)..]));
        prop_assert_eq!(joined.last_offset(), postings.last().unwrap().offset);
        for posting in postings.iter().rev().take(1_100) {
            let found: Vec<_> = joined.with_id(posting.id).collect();
            prop_assert_eq!(found, model(&postings, posting.id));
        }
    }
}

#[test]
fn it_is_complete_when_nothing_older_is_missing() {
    assert!(IdWindow::default().is_complete());
    let versions = |from: u64, to: u64| (from..=to).map(|version| posting(version, 1)).collect::<Vec<_>>();
    assert!(window(&versions(1, 7)).is_complete());
    assert!(!window(&versions(2, 7)).is_complete());
    assert!(!window(&versions(500, 1_522)).is_complete());
    assert!(window(&versions(500, 1_523)).is_complete());
    // Versions that the log has lost are missing nowhere.
    assert!(window(&[posting(1, 1), posting(900, 1), posting(2_000, 1)]).is_complete());
}

#[test]
fn what_came_before_is_not_added_again() {
    let mut window = window(&[posting(1, 5), posting(2, 6)]);
    window.push(posting(2, 7));
    window.push(posting(1, 7));
    assert_eq!((window.head(), window.with_id(IdHash(7)).count()), (Version(2), 0));
}

#[test]
fn a_short_window_takes_little_memory() {
    assert!(size_of::<IdWindow>() <= 64);
    assert_eq!(IdWindow::default().heap_bytes(), 0);
    assert_eq!(window(&[posting(1, 1)]).heap_bytes(), 16);
    let full: Vec<_> = (1..=5_000).map(|version| posting(version, version as u32)).collect();
    assert_eq!(window(&full).heap_bytes(), 5 << 10);
}

#[test]
fn the_filter_spares_most_searches() {
    let mut window = IdWindow::default();
    let mut wrong = 0;
    for version in 1..=20_000u32 {
        window.push(posting(version.into(), spread(version)));
        let strange = IdHash(spread(version + 1_000_000));
        wrong += u32::from(window.filter.as_ref().is_some_and(|filter| filter.may_have(strange)));
    }
    assert!(wrong < 20_000 / 12, "{wrong} of 20000");
}
