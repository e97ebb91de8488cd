//! What is due, what is taken, what goes.

use super::*;
use proptest::prelude::*;
use tw_types::StreamId;

const SECOND: Duration = Duration::from_secs(1);

fn options() -> Options {
    Options { events_max: 1_000, interval_ms_max: 60_000, ..Options::default() }
}

fn key(number: u32) -> Key {
    ("v".to_owned(), PartitionId(number))
}

fn candidates(positions: &[u64]) -> BTreeMap<Key, Candidate> {
    let candidate = |position: &u64| Candidate { generation: 1, position: Offset(*position) };
    (0..).map(key).zip(positions.iter().map(candidate)).collect()
}

fn store(number: u32) -> Action {
    Action::Store { key: key(number), supersedes: false }
}

/// A schedule that knows the newest snapshot of each partition since time zero.
fn knowing(newest: &[u64]) -> Schedule {
    let mut schedule = Schedule::default();
    for (number, newest) in (0..).zip(newest) {
        schedule.found(Duration::ZERO, key(number), 1, Some(Offset(*newest)).filter(|newest| newest.0 > 0));
    }
    schedule
}

#[test]
fn a_snapshot_is_due_after_so_many_events_or_so_much_time_with_events() {
    let (mut schedule, options) = (knowing(&[0, 500]), options());
    let mut next = |seconds: u32, positions: [u64; 2]| {
        schedule.next(SECOND * seconds, &options, &candidates(&positions))
    };
    assert_eq!(next(1, [0, 500]), Action::Wait(None));
    assert_eq!(next(1, [999, 1_499]), Action::Wait(Some(SECOND * 60)));
    assert_eq!(next(1, [999, 1_500]), store(1));
    assert_eq!(next(1, [1_200, 1_600]), store(0), "whoever has more to lose is first");
    assert_eq!(next(60, [0, 501]), store(1));
    assert_eq!(next(60, [0, 500]), Action::Wait(None), "nothing happened");
    assert_eq!(next(60, [0, 400]), Action::Wait(None), "others are further");
}

#[test]
fn what_was_stored_starts_the_time_again() {
    let (mut schedule, options) = (knowing(&[0]), options());
    schedule.stored(SECOND * 10, key(0), 1, Offset(1_000));
    assert_eq!(schedule.next(SECOND * 60, &options, &candidates(&[1_500])), Action::Wait(Some(SECOND * 70)));
    assert_eq!(schedule.next(SECOND * 70, &options, &candidates(&[1_500])), store(0));
    assert_eq!(schedule.lag_events(&candidates(&[1_500, 30])), 500);
}

#[test]
fn a_partition_that_was_away_is_asked_about_again() {
    let (mut schedule, options) = (knowing(&[0, 0]), options());
    assert_eq!(schedule.next(SECOND, &options, &candidates(&[0])), Action::Wait(None));
    assert_eq!(schedule.next(SECOND, &options, &candidates(&[0, 0])), Action::Ask(key(1)));
}

#[test]
fn a_generation_that_takes_over_is_stored_at_once_and_alone() {
    let (mut schedule, options) = (knowing(&[400]), options());
    let mut rebuilt = candidates(&[400]);
    rebuilt.values_mut().for_each(|candidate| candidate.generation = 2);
    let action = Action::Store { key: key(0), supersedes: true };
    assert_eq!(schedule.next(SECOND, &options, &rebuilt), action);
    assert_eq!(schedule.next(SECOND, &options, &rebuilt), action, "until it has come off");
    schedule.stored(SECOND, key(0), 2, Offset(400));
    assert_eq!(schedule.next(SECOND, &options, &rebuilt), Action::Wait(None));
}

#[test]
fn after_failures_it_pauses_longer_and_longer_and_tries_the_others_first() {
    let (mut schedule, options) = (knowing(&[0, 0]), options());
    let both = candidates(&[5_000, 2_000]);
    let mut now = Duration::ZERO;
    let mut pauses = Vec::new();
    for number in [0, 1, 0] {
        assert_eq!(schedule.next(now, &options, &both), store(number));
        schedule.failed(now, &options, Some(&key(number)));
        let Action::Wait(Some(until)) = schedule.next(now, &options, &both) else { panic!("no pause") };
        pauses.push((until - now).as_secs());
        now = until;
    }
    assert_eq!(pauses, [1, 2, 4]);
    schedule.stored(now, key(1), 1, Offset(2_000));
    schedule.failed(now, &options, Some(&key(0)));
    assert_eq!(schedule.next(now, &options, &both), Action::Wait(Some(now + SECOND)));
    (0..99).for_each(|_| schedule.failed(now, &options, None));
    assert_eq!(schedule.next(now, &options, &both), Action::Wait(Some(now + SECOND * 300)));
}

#[test]
fn a_snapshot_is_wanted_and_taken_where_it_saves_more_than_it_may() {
    let at = |own: Option<u64>, start: u64, end: u64| Stand {
        own: own.map(Offset),
        start: Offset(start),
        end: Offset(end),
    };
    let max = 100;
    assert!(at(None, 0, 0).is_wanted(max));
    assert!(!at(Some(900), 0, 1_000).is_wanted(max));
    assert!(at(Some(899), 0, 1_000).is_wanted(max));
    assert!(at(Some(899), 900, 901).is_wanted(max), "the log does not have what comes next");
    assert!(!at(Some(1_001), 0, 1_000).is_wanted(max), "the log is an older copy: that is for a person");
    assert!(at(None, 5, 10).takes(Offset(5), max) && at(None, 5, 10).takes(Offset(10), max));
    assert!(!at(None, 5, 10).takes(Offset(4), max) && !at(None, 5, 10).takes(Offset(11), max));
    assert!(
        at(Some(800), 0, 1_000).takes(Offset(901), max) && !at(Some(800), 0, 1_000).takes(Offset(900), max)
    );
    assert!(at(Some(899), 900, 1_000).takes(Offset(900), max));
}

fn place() -> Place {
    Place::new("v", PartitionId(0), 7, StreamId(1))
}

fn run(position: u64, random: u64) -> Run {
    Run { position: Offset(position), random }
}

/// The objects of a run: two chunks, and the manifest if it is whole.
fn objects(place: &Place, run: Run, whole: bool) -> Vec<String> {
    let mut names = vec![place.chunk(run, 0), place.chunk(run, 1)];
    names.extend(whole.then(|| place.manifest(run)));
    names
}

#[test]
fn the_newest_whole_snapshot_of_this_log_is_chosen_that_was_not_refused() {
    let place = place();
    let mut names = objects(&place, run(90, 0), false);
    for position in [10, 50, 70, 200] {
        names.extend(objects(&place, run(position, 1), true));
    }
    let stand = Stand { own: None, start: Offset(20), end: Offset(100) };
    let mut refused = BTreeSet::new();
    for chosen in [Some(run(70, 1)), Some(run(50, 1)), None] {
        assert_eq!(stand.choose(&place, &names, &refused, 1), chosen);
        refused.extend(chosen);
    }
    assert_eq!(newest(&place, &names, Offset(100)), Some(Offset(70)));
}

#[test]
fn snapshots_of_other_definitions_go_and_their_manifests_first() {
    let (place, old) = (place(), Place::new("v", PartitionId(0), 6, StreamId(1)));
    let mut names = objects(&old, run(90, 1), true);
    names.extend(objects(&place, run(10, 1), true));
    let gone = outdated(&place, &names, run(10, 1), Offset(100), 2, false);
    assert_eq!(gone, [old.manifest(run(90, 1)), old.chunk(run(90, 1), 0), old.chunk(run(90, 1), 1)]);
}

#[test]
fn a_view_that_was_built_anew_leaves_no_earlier_snapshot() {
    let place = place();
    let mut names = objects(&place, run(90, 1), true);
    names.extend(objects(&place, run(80, 2), true));
    let gone = outdated(&place, &names, run(80, 2), Offset(100), 2, true);
    assert_eq!(gone, [place.manifest(run(90, 1)), place.chunk(run(90, 1), 0), place.chunk(run(90, 1), 1)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(tw_testing::cases(256)))]

    /// Whatever is there, the newest ones stay whole, what goes is older than they are, and in the end no more are left.
    #[test]
    fn the_newest_snapshots_stay_whole_and_older_ones_go(
        runs in prop::collection::btree_map((0u64..60, 0u64..3), any::<bool>(), 1..12),
        end in 0u64..60,
        kept in 1u64..4,
    ) {
        let place = place();
        let mut names = Vec::new();
        for ((position, random), whole) in &runs {
            names.extend(objects(&place, run(*position, *random), *whole));
        }
        names.sort_unstable();
        let gone = outdated(&place, &names, run(0, 9), Offset(end), kept, false);
        let left: Vec<String> = names.iter().filter(|name| !gone.contains(name)).cloned().collect();
        let whole = |names: &[String]| -> Vec<Run> {
            let mut runs: Vec<_> = manifests(&place, names).collect();
            runs.sort_unstable();
            runs
        };
        let ours: Vec<Run> = whole(&names).into_iter().filter(|run| run.position.0 <= end).collect();
        let stay = &ours[ours.len().saturating_sub(kept as usize)..];
        let left_whole: Vec<Run> = whole(&left).into_iter().filter(|run| run.position.0 <= end).collect();
        prop_assert_eq!(&left_whole[..], stay);
        // Each has all its chunks, also those beyond the end.
        for run in whole(&left) {
            prop_assert!(objects(&place, run, true).iter().all(|name| left.contains(name)));
        }
        if stay.len() == kept as usize {
            let oldest = stay[0];
            let is_newer = |name: &String| match place.read(name) {
                Some(Object::Chunk(run) | Object::Manifest(run)) => run >= oldest,
                None => false,
            };
            prop_assert!(left.iter().all(is_newer));
        } else {
            prop_assert_eq!(gone.len(), 0);
        }
        let first_chunk = gone.iter().position(|name| name.contains("/chunks/")).unwrap_or(gone.len());
        prop_assert!(gone[first_chunk..].iter().all(|name| name.contains("/chunks/")));
    }
}
