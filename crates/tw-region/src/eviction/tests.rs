//! What was said is read as it was written, counts from where it stands, and nobody forgets what somebody may still not know.

use super::world::{Fault, World};
use super::*;

fn region(number: u16) -> RegionId {
    RegionId(number)
}

fn at(time: u64) -> Hlc {
    Hlc::from_u64(time)
}

fn cut(of: &[(u16, u64)]) -> Seen {
    of.iter().map(|(number, time)| (region(*number), at(*time))).collect()
}

const EVICTED_3: Saying = Saying::Evicted { region: RegionId(3), epoch: Epoch(1) };

fn closed(has: u64) -> Saying {
    Saying::Closed { region: region(3), epoch: Epoch(1), has: at(has) }
}

#[test]
fn what_is_said_is_read_as_it_was_written() {
    let readmitted = Saying::Readmitted { region: region(3), epoch: Epoch(2) };
    let texts = [
        (EVICTED_3, "tradewind.region.evicted", r#"{"v":1,"region":3,"epoch":1}"#),
        (closed(7), "tradewind.region.closed", r#"{"v":1,"region":3,"epoch":1,"has":7}"#),
        (readmitted, "tradewind.region.readmitted", r#"{"v":1,"region":3,"epoch":2}"#),
    ];
    for (saying, ty, text) in texts {
        let event = saying.event("a".into());
        assert_eq!((event.ty.as_str(), event.data.bytes()), (ty, text.as_bytes()));
        assert_eq!(Saying::read(&event.as_ref()), Some(saying));
        let other = Event { ty: "other".into(), ..event };
        assert_eq!(Saying::read(&other.as_ref()), None);
    }
}

#[test]
fn nothing_more_comes_of_a_region_once_all_others_have_closed_it() {
    let members = [1, 2, 3].map(RegionId);
    let mut evictions = Evictions::default();
    evictions.learn(region(1), at(10), EVICTED_3);
    evictions.learn(region(1), at(11), closed(5));
    assert_eq!(evictions.ended(&members, None), BTreeMap::new(), "region 2 may still take something of it");
    evictions.learn(region(2), at(20), closed(8));
    assert_eq!(evictions.ended(&members, None), [(region(3), at(8))].into());
    // At a cut before that it is waited for.
    assert_eq!(evictions.ended(&members, Some(&cut(&[(1, 30), (2, 19)]))), BTreeMap::new());
    assert_eq!(evictions.ended(&members, Some(&cut(&[(1, 30), (2, 20)]))).len(), 1);
    evictions.learn(region(2), at(40), Saying::Readmitted { region: region(3), epoch: Epoch(2) });
    assert_eq!(evictions.ended(&members, None), BTreeMap::new());
    assert_eq!(evictions.ended(&members, Some(&cut(&[(1, 90), (2, 39)]))).len(), 1);
    assert_eq!(
        (evictions.evicted(), evictions.had(region(3), Epoch(1))),
        ([(region(3), Epoch(1))].into(), at(8))
    );
    assert!(evictions.out(None).is_empty());
    // It is evicted once more, in the epoch in which it came back.
    evictions.learn(region(1), at(50), Saying::Evicted { region: region(3), epoch: Epoch(2) });
    let out = evictions.out(None);
    assert_eq!((out[&region(3)].epoch, out[&region(3)].closed.len()), (Epoch(2), 0));
}

#[test]
fn two_that_evict_one_region_mean_the_same() {
    let mut evictions = Evictions::default();
    // That of region 1 came later here, and was said first.
    evictions.learn(region(2), at(12), EVICTED_3);
    evictions.learn(region(1), at(10), EVICTED_3);
    evictions.learn(region(1), at(11), closed(5));
    let out = evictions.out(None);
    assert_eq!((out[&region(3)].by, out[&region(3)].closed.len()), (region(1), 1));
}

#[test]
fn of_two_that_are_evicted_neither_is_asked_about_the_other_one() {
    let members = [1, 2, 3, 4].map(RegionId);
    let mut evictions = Evictions::default();
    evictions.learn(region(1), at(10), EVICTED_3);
    evictions.learn(region(1), at(11), Saying::Evicted { region: region(4), epoch: Epoch(1) });
    for (author, time) in [(1, 12), (2, 13)] {
        evictions.learn(region(author), at(time), closed(5));
    }
    assert_eq!(evictions.ended(&members, None), [(region(3), at(5))].into());
}

#[test]
fn reg_1_nobody_forgets_what_a_region_may_not_know_that_was_evicted_at_any_time_and_seeded() {
    let mut met = (0, 0);
    for seed in 0..u64::from(tw_testing::cases(40)) {
        let mut world = World::new(seed, Fault::None);
        world.run(3_000).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        met = (met.0 + world.met.0, met.1 + world.met.1);
    }
    assert!(met.0 > 20 && met.1 > 20, "too little has happened: {met:?}");
}

#[test]
fn the_world_finds_what_is_broken_in_it() {
    for fault in [Fault::NotClosed, Fault::NotReadmitted, Fault::AllOrNothing] {
        let finds = (0..400).any(|seed| World::new(seed, fault).run(3_000).is_err());
        assert!(finds, "{fault:?} breaks nothing");
    }
}
