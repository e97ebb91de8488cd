//! Single cases.

use super::*;

fn one(subject: &str, id: &str) -> Proposed {
    Proposed { subject: Some(SubjectHash::of(subject)), id: IdHash::of(id) }
}

fn ask(
    ledger: &mut Ledger,
    events: &[Proposed],
    expected: &[(SubjectHash, ExpectedVersion)],
    confirmed: Offset,
) -> Result<Accepted, Obstacle> {
    let request = Request {
        events,
        expected,
        dedup: true,
        same_id: &|_, _| true,
        facts: &[],
        confirmed,
        sealed: None,
        now: 0,
    };
    let plan = ledger.check(&request).map_err(|stop| stop.obstacle)?;
    Ok(ledger.accept(&request, plan))
}

fn window_of(postings: impl Iterator<Item = Posting>) -> IdWindow {
    let mut window = IdWindow::default();
    postings.for_each(|posting| window.push(posting));
    window
}

fn absent() -> Loaded {
    Loaded { complete: true, ..Loaded::default() }
}

#[test]
fn log_3_a_conflict_with_an_append_in_flight_waits_for_it() {
    let mut ledger = Ledger::new(Offset(5));
    let a = SubjectHash::of("a");
    ledger.load(a, &absent());
    let expect_none = [(a, ExpectedVersion::None)];
    let first = ask(&mut ledger, &[one("a", "1")], &expect_none, Offset(5)).unwrap();
    assert_eq!((first.base, first.versions), (Offset(5), vec![Version(1)]));
    // Whether the second is refused depends on whether the first arrives.
    let second = ask(&mut ledger, &[one("a", "2")], &expect_none, Offset(5));
    assert_eq!(second.unwrap_err(), Obstacle::Wait(Offset(6)));
    let second = ask(&mut ledger, &[one("a", "2")], &expect_none, Offset(6));
    assert_eq!(second.unwrap_err(), Obstacle::Conflict { index: 0, actual: Version(1) });
    ledger.truncate(Offset(5));
    ledger.load(a, &absent());
    let second = ask(&mut ledger, &[one("a", "2")], &expect_none, Offset(5)).unwrap();
    assert_eq!(second.versions, [Version(1)]);
}

#[test]
fn log_2_a_repeated_id_within_one_append_is_stored_once() {
    let mut ledger = Ledger::new(Offset::ZERO);
    ledger.load(SubjectHash::of("a"), &absent());
    let events = [one("a", "1"), one("a", "2"), one("a", "1"), one("a", "2"), one("a", "3")];
    let accepted = ask(&mut ledger, &events, &[], Offset::ZERO).unwrap();
    assert_eq!(accepted.versions, [Version(1), Version(2), Version(3)]);
    let duplicates: Vec<_> = accepted.duplicates.iter().map(|d| (d.index, d.version.0, d.offset.0)).collect();
    assert_eq!(duplicates, [(2, 1, 0), (3, 2, 1)]);
    assert_eq!(ledger.end(), Offset(3));
}

#[test]
fn a_hundred_thousand_new_subjects_take_bounded_memory() {
    let mut ledger = Ledger::new(Offset::ZERO);
    for number in 0..100_000 {
        let subject = SubjectHash::of(&format!("subject-{number}"));
        ledger.load(subject, &absent());
        assert!(ledger.replay(Some(subject), None, Offset(number), IdHash(0)));
    }
    assert_eq!(ledger.fresh(), 100_000);
    assert!(ledger.bytes() < 100_000 * 160, "{} bytes", ledger.bytes());
    let sealed = ledger.seal();
    assert_eq!((ledger.fresh(), sealed.sorted().len()), (0, 100_000));
    assert_eq!(ledger.end(), Offset(100_000));
}

#[test]
fn what_several_writers_load_at_the_same_time_is_held_and_counted_once() {
    let mut ledger = Ledger::new(Offset(2_000));
    let a = SubjectHash::of("a");
    let posting = |n: u64| Posting { version: Version(n), offset: Offset(n), id: IdHash(n as u32) };
    let known = Loaded {
        head: Version(1_024),
        tail: Some(PackedRun::pack(&[posting(1_024)]).unwrap()),
        window: Some(window_of((1..=1_024).map(posting))),
        complete: true,
        ..Loaded::default()
    };
    ledger.load(a, &known);
    let bytes = (ledger.bytes(), ledger.window_bytes());
    for _ in 0..100 {
        ledger.load(a, &known);
    }
    assert_eq!((ledger.bytes(), ledger.window_bytes()), bytes);
}

/// A ledger whose partition has a long history of the subjects, all of it stored.
fn with_long_histories(subjects: impl Iterator<Item = u64>) -> Ledger {
    let mut ledger = Ledger::new(Offset(10_000_000));
    for number in subjects {
        load_long_history(&mut ledger, number);
    }
    ledger
}

fn load_long_history(ledger: &mut Ledger, number: u64) {
    let posting = |n: u64| Posting {
        version: Version(n),
        offset: Offset(number * 2_000 + n),
        id: IdHash::of(&format!("{number}-{n}")),
    };
    let loaded = Loaded {
        head: Version(2_000),
        tail: Some(PackedRun::pack(&[posting(2_000)]).unwrap()),
        window: Some(window_of((977..=2_000).map(posting))),
        complete: true,
        ..Loaded::default()
    };
    ledger.load(SubjectHash::of(&number.to_string()), &loaded);
}

#[test]
fn windows_outlive_a_flush_and_nothing_has_to_be_loaded_again() {
    let mut ledger = with_long_histories(0..3);
    let first = ask(&mut ledger, &[one("0", "new"), one("1", "new")], &[], Offset(10_000_000)).unwrap();
    assert_eq!(first.versions, [Version(2_001), Version(2_001)]);
    let sealed = ledger.seal();
    let events = [one("0", "newer"), one("2", "new")];
    let Err(Obstacle::Load(loads)) = ask(&mut ledger, &events, &[], Offset(10_000_002)) else { panic!() };
    assert_eq!(loads.len(), 2);
    assert!(ledger.recall(&loads));
    let second = ask(&mut ledger, &events, &[], Offset(10_000_002)).unwrap();
    assert_eq!(second.versions, [Version(2_002), Version(2_001)]);
    assert!(!ledger.recall(&loads), "they are there already");
    // What was new before the flush, and what is older, is still compared.
    for (id, version) in [("new", 2_001), ("0-2000", 2_000), ("0-979", 979)] {
        let suspects = ask(&mut ledger, &[one("0", id)], &[], Offset(10_000_004)).unwrap_err();
        let suspect = Suspect { index: 0, version: Version(version), offset: None };
        assert_eq!(suspects, Obstacle::Check(vec![suspect]), "{id}");
    }
    assert!(ask(&mut ledger, &[one("0", "0-978")], &[], Offset(10_000_004)).is_ok(), "one too old");
    drop(sealed);
}

#[test]
fn the_windows_of_ten_thousand_subjects_take_5_kib_each() {
    let mut ledger = with_long_histories(0..10_000);
    let each = ledger.window_bytes() / 10_000;
    assert!((5_120..5_400).contains(&each), "{each} bytes");
    let bytes = |ledger: &Ledger| ledger.window_uses().map(|(_, bytes)| bytes).sum::<usize>();
    let before = bytes(&ledger);
    ledger.evict_windows(20_000_000, u64::MAX);
    assert!((20_000_000..20_000_000 + each).contains(&(before - bytes(&ledger))), "no more than that");
    // What is left is used on, what has left is loaded again.
    let events: Vec<_> = (0..10_000).map(|number| one(&number.to_string(), "new")).collect();
    let Err(Obstacle::Load(loads)) = ask(&mut ledger, &events, &[], Offset(10_000_000)) else { panic!() };
    assert_eq!(loads.len() + ledger.window_uses().count(), 10_000);
    assert!(loads.iter().all(|load| load.ids));
}

#[test]
fn a_flood_of_the_same_id_is_compared_in_bounded_memory() {
    const FLOOD: usize = 20_000;
    let mut ledger = Ledger::new(Offset::ZERO);
    let a = SubjectHash::of("a");
    ledger.load(a, &absent());
    for number in 0..DEDUP_VERSIONS {
        assert!(ledger.replay(Some(a), None, Offset(number), IdHash::of("1")));
    }
    let events = vec![one("a", "1"); FLOOD];
    // All ids of the append are the same, or only their hashes; in the log is the same id, or only the same hash.
    for (same_in_append, same_in_log) in [(true, true), (true, false), (false, true), (false, false)] {
        let same_id = |_: usize, _: usize| same_in_append;
        let mut facts = Vec::new();
        let mut rounds = 0;
        let plan = loop {
            let request = Request {
                events: &events,
                expected: &[],
                dedup: true,
                same_id: &same_id,
                facts: &facts,
                confirmed: ledger.end(),
                sealed: None,
                now: 0,
            };
            let suspects = match ledger.check(&request).map_err(|stop| stop.obstacle) {
                Ok(plan) => break plan,
                Err(Obstacle::Check(suspects)) => suspects,
                Err(other) => panic!("{other:?}"),
            };
            assert!(suspects.len() <= FLOOD + 4_096, "{} suspects", suspects.len());
            let fact = |suspect: &Suspect| Fact {
                index: suspect.index,
                version: suspect.version,
                same: suspect.offset.filter(|_| same_in_log),
            };
            Fact::learn(&mut facts, suspects.iter().map(fact).collect());
            assert!(facts.len() <= FLOOD);
            rounds += 1;
            if !same_in_append && !same_in_log && rounds == 10 {
                // A thousand rounds would show no more.
                return;
            }
        };
        assert_eq!(rounds, 1);
        assert_eq!(plan.duplicates.len(), if same_in_log { FLOOD } else { 0 });
        assert!(plan.duplicates.iter().all(|duplicate| duplicate.version == Version(1)));
    }
}

#[test]
fn an_append_needs_more_windows_than_there_is_memory_for() {
    const SUBJECTS: u64 = 500;
    let mut ledger = with_long_histories(std::iter::empty());
    let events: Vec<_> = (0..SUBJECTS).map(|number| one(&number.to_string(), "new")).collect();
    let mut facts = Vec::new();
    for round in 0..=SUBJECTS / 10 {
        let request = Request {
            events: &events,
            expected: &[],
            dedup: true,
            same_id: &|_, _| false,
            facts: &facts,
            confirmed: ledger.end(),
            sealed: None,
            now: 0,
        };
        match ledger.check(&request) {
            Ok(plan) => {
                assert_eq!(round, SUBJECTS / 10);
                let accepted = ledger.accept(&request, plan);
                assert!(accepted.versions.iter().all(|version| *version == Version(2_001)));
                return;
            }
            Err(Stop { obstacle: Obstacle::Load(_), seen }) => {
                Fact::learn(&mut facts, seen);
                ledger.evict_windows(usize::MAX, u64::MAX);
                assert_eq!(ledger.window_bytes(), 0);
                for number in round * 10..(round + 1) * 10 {
                    load_long_history(&mut ledger, number);
                }
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("it is not accepted");
}
