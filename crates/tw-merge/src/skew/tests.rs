//! Senders ahead, clocks that jump, and restarts.

use super::*;
use crate::testing::config;
use proptest::prelude::*;

const OTHER: RegionId = RegionId(2);
const THIRD: RegionId = RegionId(3);

fn at(millis: u64) -> Hlc {
    Hlc::new(millis, 0)
}

#[test]
fn a_sender_too_far_ahead_waits_and_the_others_go_on() {
    let options = Options::default();
    let (mut skew, mut clock) = (Skew::new(&options).unwrap(), HlcClock::new(Hlc::ZERO, 500));
    assert_eq!(skew.judge(OTHER, at(10_501), &mut clock, 10_000), Verdict::Wait { retry_at_ms: 10_001 });
    assert_eq!(clock.last(), Hlc::ZERO);
    assert_eq!(skew.judge(THIRD, at(10_400), &mut clock, 10_000), Verdict::Take);
    assert_eq!(clock.last(), at(10_400));
    // Its other blocks wait as well, however early they are.
    assert_eq!(skew.judge(OTHER, at(9_000), &mut clock, 10_000), Verdict::Wait { retry_at_ms: 10_001 });
    assert_eq!((skew.quarantined().count(), skew.count()), (1, 1));
    assert_eq!(skew.judge(OTHER, at(10_501), &mut clock, 10_001), Verdict::Take);
    assert_eq!((skew.quarantined().count(), skew.count()), (0, 1));
}

#[test]
fn a_quarantine_can_be_ended_when_the_sender_was_put_right() {
    let (mut skew, mut clock) = (Skew::new(&Options::default()).unwrap(), HlcClock::new(Hlc::ZERO, 500));
    skew.judge(OTHER, at(99_000_000), &mut clock, 10_000);
    assert!(matches!(skew.judge(OTHER, at(10_001), &mut clock, 10_001), Verdict::Wait { .. }));
    skew.release(OTHER);
    assert_eq!(skew.judge(OTHER, at(10_001), &mut clock, 10_001), Verdict::Take);
}

#[test]
fn a_local_clock_that_falls_behind_is_suspected() {
    let (mut skew, mut clock) = (Skew::new(&Options::default()).unwrap(), HlcClock::new(Hlc::ZERO, 500));
    assert_eq!(skew.judge(OTHER, at(3_600_000), &mut clock, 3_600_000), Verdict::Take);
    skew.judge(OTHER, at(3_600_001), &mut clock, 1_000);
    assert!(!skew.is_local_clock_suspect(2), "one of two may be wrong itself");
    skew.judge(THIRD, at(3_600_002), &mut clock, 1_000);
    assert!(skew.is_local_clock_suspect(2));
    // Time is put right: both go on at once.
    assert_eq!(skew.judge(OTHER, at(3_600_001), &mut clock, 3_600_003), Verdict::Take);
    assert_eq!(skew.judge(THIRD, at(3_600_002), &mut clock, 3_600_003), Verdict::Take);
}

#[test]
fn nothing_is_handed_out_beyond_the_stored_bound() {
    let options = Options { reserve_ms: 100, ..Options::default() };
    let mut bound = HlcBound::start(Hlc::ZERO, Hlc::ZERO, &options);
    assert_eq!(bound.take(1_000, 1), Err(NotReserved { bound: at(1_101) }));
    bound.stored(at(1_101));
    assert_eq!(bound.take(1_000, 1), Ok(at(1_000)));
    assert_eq!(bound.wanted(1_050), None);
    assert_eq!(bound.wanted(1_051), Some(at(1_151)));
    let crashed = HlcBound::start(at(1_101), at(1_000), &options).take(1_000, 1);
    assert_eq!(crashed, Err(NotReserved { bound: at(1_202) }), "the bound itself is the first that is free");
}

#[test]
fn a_restored_copy_starts_above_whatever_the_lost_one_can_have_handed_out() {
    let options = Options::default();
    assert_eq!(HlcBound::restored(10_000, at(9_000), &options).opens_at_ms(), 11_000);
    assert_eq!(HlcBound::restored(10_000, at(12_000), &options).opens_at_ms(), 12_000);
}

#[test]
fn options_outside_their_bounds_are_refused() {
    let error = Skew::new(&Options { skew_ms_max: 0, ..Options::default() }).unwrap_err();
    assert_eq!(error.to_string(), "option `skew_ms_max` is 0, outside 1 to 60000 ms");
    let wrong = Options { reserve_ms: 9, ..Options::default() };
    assert_eq!(wrong.check().unwrap_err().option, "reserve_ms");
}

#[derive(Debug, Clone)]
enum Step {
    /// The local clock shows this, however it got there.
    Clock(u64),
    Take(u64),
    Hear(u64),
    /// The process ends. Whether the log has what was handed out last or nothing at all.
    Crash(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_000u64..5_000).prop_map(Step::Clock),
        6 => (1u64..100_000).prop_map(Step::Take),
        2 => (1_000u64..5_500).prop_map(Step::Hear),
        1 => any::<bool>().prop_map(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn timestamps_rise_over_leaps_jumps_backwards_and_crashes(steps in proptest::collection::vec(step(), 1..60)) {
        let options = Options::default();
        let (mut disk, mut now_ms) = (Hlc::ZERO, 1_000);
        let (mut handed_out, mut heard) = (Hlc::ZERO, Hlc::ZERO);
        let mut bound = HlcBound::start(disk, Hlc::ZERO, &options);
        let mut skew = Skew::new(&options).unwrap();
        for step in steps {
            match step {
                Step::Clock(ms) => now_ms = ms,
                Step::Hear(ms) => {
                    if skew.judge(OTHER, at(ms), bound.clock(), now_ms) == Verdict::Take {
                        prop_assert!(ms <= now_ms + options.skew_ms_max);
                        heard = heard.max(at(ms));
                    } else {
                        prop_assert!(skew.quarantined().all(|(_, one)| one.retry_at_ms > now_ms));
                    }
                }
                Step::Crash(has_logged) => {
                    // What was only heard of is heard of again.
                    let logged = if has_logged { handed_out } else { Hlc::ZERO };
                    bound = HlcBound::start(disk, logged, &options);
                    skew = Skew::new(&options).unwrap();
                    heard = Hlc::ZERO;
                }
                Step::Take(count) => {
                    let before = bound.clock().last();
                    let taken = bound.take(now_ms, count).or_else(|refused| {
                        assert_eq!(bound.clock().last(), before, "a refusal takes nothing");
                        disk = refused.bound;
                        bound.stored(disk);
                        bound.take(now_ms, count)
                    });
                    let first = taken.unwrap();
                    prop_assert!(first > handed_out && first > heard, "{first} after {handed_out} and {heard}");
                    handed_out = first.plus(count - 1);
                    prop_assert!(handed_out < disk);
                }
            }
        }
    }
}
