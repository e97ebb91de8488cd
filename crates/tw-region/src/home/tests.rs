//! Claims as text, what decides between them, and worlds of regions that make them.

use super::world::{Broken, Met, run};
use super::{Claim, Course, Marks, Saying};
use proptest::prelude::*;
use tw_types::{Epoch, Hlc, Origin, PartitionId, RegionId, Sequence};

const A: RegionId = RegionId(1);
const B: RegionId = RegionId(2);

fn origin(region: RegionId, sequence: u64) -> Origin {
    Origin { region, epoch: Epoch(1), sequence: Sequence(sequence) }
}

fn claim(term: u64, home: RegionId, is_planned: bool) -> Claim {
    let mut has = Marks::default();
    has.note(PartitionId(0), origin(A, 57));
    Claim { stream: "orders".into(), term, home, from: A, has, is_planned }
}

fn read_back(saying: &Saying, me: RegionId) -> Option<Saying> {
    let event = saying.event(me, "1".into());
    Saying::read(&event.as_ref(), me)
}

#[test]
fn golden_text_of_version_1() {
    let event = Saying::Claim(claim(3, B, true)).event(A, "1".into());
    assert_eq!(event.ty, "tradewind.home.moved");
    let text = r#"{"v":1,"stream":"orders","term":3,"home":2,"from":1,"has":[[0,1,1,57]]}"#;
    assert_eq!(String::from_utf8_lossy(event.data.bytes()), text);
    let opened = Saying::Opened { stream: "orders".into(), term: 3 }.event(B, "1".into());
    let text = r#"{"v":1,"stream":"orders","term":3,"home":2,"from":0}"#;
    assert_eq!(String::from_utf8_lossy(opened.data.bytes()), text);
}

#[test]
fn nobody_takes_or_opens_in_the_name_of_another_region() {
    let taken = Saying::Claim(claim(3, B, false));
    assert_eq!(read_back(&taken, B), Some(taken.clone()));
    assert_eq!(read_back(&taken, A), None);
    let event = Saying::Opened { stream: "orders".into(), term: 3 }.event(B, "1".into());
    assert_eq!(Saying::read(&event.as_ref(), A), None);
    assert_eq!(Saying::read(&event.as_ref(), B), Some(Saying::Opened { stream: "orders".into(), term: 3 }));
}

#[test]
fn of_two_claims_of_one_term_the_later_one_counts_in_whatever_order_they_come() {
    let (ours, theirs) = (Saying::Claim(claim(1, A, false)), Saying::Claim(claim(1, B, false)));
    let (mut one, mut other) = (Course::default(), Course::default());
    one.learn(A, Hlc::new(5, 0), ours.clone());
    one.learn(B, Hlc::new(6, 0), theirs.clone());
    other.learn(B, Hlc::new(6, 0), theirs);
    other.learn(A, Hlc::new(5, 0), ours);
    assert_eq!(one.claim().map(|claim| claim.home), Some(B));
    assert_eq!(other.claim().map(|claim| claim.home), Some(B));
    assert_eq!(one.tails(A, 0).len(), 1, "A wrote in between");
    assert_eq!(other.tails(B, 0), [], "B never was anything but the home");
}

#[test]
fn what_was_accepted_after_a_return_is_not_at_risk_by_what_was_before() {
    let mut course = Course::default();
    course.learn(B, Hlc::new(5, 0), Saying::Claim(claim(1, B, false)));
    course.learn(B, Hlc::new(8, 0), Saying::Claim(claim(2, A, true)));
    assert!(!course.is_opened(A));
    course.learn(A, Hlc::new(9, 0), Saying::Opened { stream: "orders".into(), term: 2 });
    assert!(course.is_opened(A));
    let tails = course.tails(A, 0);
    assert_eq!(tails.len(), 1);
    assert_eq!(tails[0].until, Some(Hlc::new(9, 0)));
}

proptest! {
    #[test]
    fn every_claim_reads_back(
        term in any::<u64>(), home in 1u16.., from in any::<u16>(), planned in any::<bool>(),
        marks in proptest::collection::vec((0u32..1024, 1u16.., 1u32..9, any::<u64>()), 0..9),
    ) {
        let mut has = Marks::default();
        for (partition, region, epoch, sequence) in marks {
            let origin = Origin { region: RegionId(region), epoch: Epoch(epoch), sequence: Sequence(sequence) };
            has.note(PartitionId(partition), origin);
        }
        let (home, from) = (RegionId(home), RegionId(from));
        let said = Saying::Claim(Claim { stream: "s".into(), term, home, from, has, is_planned: planned });
        prop_assert_eq!(read_back(&said, home), Some(said));
    }

    #[test]
    fn no_bytes_make_it_panic(ty in 0usize..4, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let ty = [super::MOVED, super::TAKEN, super::OPENED, "other"][ty];
        let event = tw_types::Event { ty: ty.into(), data: tw_types::Data::Json(bytes), ..Default::default() };
        let _known_or_not = Saying::read(&event.as_ref(), A);
    }
}

fn seeds() -> u64 {
    std::env::var("TRADEWIND_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000)
}

fn worlds(may_take: bool) -> Met {
    let mut all = Met::default();
    for seed in 0..seeds() {
        match run(seed, may_take, Broken::Nothing) {
            Ok(met) => {
                all.writes += met.writes;
                all.moves += met.moves;
                all.taken += met.taken;
                all.at_risk += met.at_risk;
                all.restarts += met.restarts;
            }
            Err(broken) => panic!("seed {seed}: {broken}"),
        }
    }
    all
}

#[test]
fn planned_moves_put_nothing_at_risk_and_every_write_knows_of_all_before() {
    let met = worlds(false);
    assert!(met.writes > 0 && met.moves > 0 && met.restarts > 0 && met.at_risk == 0, "{met:?}");
}

#[test]
fn what_a_new_home_did_not_know_is_told_to_be_at_risk() {
    let met = worlds(true);
    assert!(met.taken > 0 && met.at_risk > 0, "{met:?}");
}

/// The worlds find what is wrong.
#[test]
fn a_world_in_which_nothing_is_told_is_found_out() {
    assert!((0..200).any(|seed| run(seed, true, Broken::TellsNothing).is_err()));
}

#[test]
fn a_world_in_which_two_regions_write_is_found_out() {
    assert!((0..200).any(|seed| run(seed, false, Broken::WritesOn).is_err()));
}

#[test]
fn what_was_known_of_a_region_ends_in_the_last_epoch_of_which_something_was() {
    let mut marks = Marks::default();
    let at = PartitionId(3);
    let last = |marks: &Marks| {
        let (epoch, sequence) = marks.latest(at, RegionId(1), Epoch(4));
        (epoch.0, sequence.0)
    };
    assert_eq!(last(&marks), (1, 0), "everything from the first event on is new");
    for (region, epoch, sequence) in [(1, 1, 57), (2, 2, 9), (1, 3, 4), (1, 5, 1)] {
        let (region, epoch, sequence) = (RegionId(region), Epoch(epoch), Sequence(sequence));
        marks.note(at, Origin { region, epoch, sequence });
    }
    assert_eq!(last(&marks), (3, 4), "what was accepted in an earlier epoch was known, too");
}
