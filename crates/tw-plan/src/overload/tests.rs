//! Overload protection by example and by property; the simulated server is in [`server`], the README's table in
//! [`comparison`].

mod commit;
mod comparison;
mod server;

use super::*;
use crate::sim::{Random, config};
use proptest::prelude::*;
use server::{Door, Scenario, Service};

const MS: u64 = 1_000;

fn limiter(options: Options) -> Limiter {
    Limiter::new(options, 0).unwrap()
}

fn admitted(limiter: &mut Limiter, priority: Priority, now_us: u64) -> bool {
    limiter.admit(priority, now_us) == Decision::Admit
}

#[test]
fn no_more_enter_than_the_limit_allows() {
    let mut limiter = limiter(Options { limit_start: 3, ..Options::default() });
    let entered: Vec<_> = (0..5).map(|_| admitted(&mut limiter, Priority::NORMAL, 0)).collect();
    assert_eq!(entered, [true, true, true, false, false]);
    limiter.done(Priority::NORMAL, MS, Outcome::Finished, MS);
    assert!(admitted(&mut limiter, Priority::NORMAL, MS));
    assert_eq!((limiter.in_flight(), limiter.refused()), (3, 2));
}

#[test]
fn room_is_kept_for_higher_priorities_that_are_expected() {
    let mut limiter = limiter(Options { limit_start: 20, limit_max: 20, ..Options::default() });
    let mut inside = Vec::new();
    // Every millisecond a request that takes 10 ms: ten at once, and they are half of what arrives.
    for ms in 0..2_000u64 {
        inside.retain(|(entered, priority)| {
            let stays = ms - entered < 10;
            if !stays {
                limiter.done(*priority, 10 * MS, Outcome::Finished, ms * MS);
            }
            stays
        });
        for priority in [Priority::BACKGROUND, Priority::BACKGROUND, Priority::HIGH] {
            if admitted(&mut limiter, priority, ms * MS) {
                inside.push((ms, priority));
            } else {
                // Who comes is known after a while.
                assert!(priority == Priority::BACKGROUND || ms < 500, "at {ms} ms");
            }
        }
    }
    assert!(!limiter.has_room(Priority::BACKGROUND) && limiter.has_room(Priority::HIGH));
}

#[test]
fn lower_priorities_may_use_what_nobody_else_wants() {
    let mut limiter = limiter(Options { limit_start: 10, ..Options::default() });
    assert!((0..10).all(|_| admitted(&mut limiter, Priority::BACKGROUND, 0)));
}

#[test]
fn failures_for_a_lack_of_something_lower_the_limit() {
    let mut limiter = limiter(Options { limit_start: 100, ..Options::default() });
    for request in 0..1_000u64 {
        assert!(admitted(&mut limiter, Priority::NORMAL, request * MS));
        limiter.done(Priority::NORMAL, MS, Outcome::Overloaded, request * MS);
    }
    assert!(limiter.limit() <= 10, "{}", limiter.limit());
    let before = limiter.limit();
    for request in 1_000..2_000u64 {
        limiter.admit(Priority::NORMAL, request * MS);
        limiter.done(Priority::NORMAL, 900 * MS, Outcome::Ignored, request * MS);
    }
    assert_eq!(limiter.limit(), before, "what was ignored says nothing");
}

#[test]
fn when_requests_become_slower_by_themselves_the_limit_comes_back() {
    let scenario =
        |ms| Scenario { mean_us: ms * MS as f64, load: 0.9, ..Scenario::new(16, Service::Exponential) };
    let mut limiter = limiter(Options::default());
    let quick = scenario(5.0).run(Door::Given(&mut limiter), 10.0);
    let slow = Scenario { start_us: 2e7, ..scenario(40.0) }.run(Door::Given(&mut limiter), 60.0);
    assert!(quick.refused_part() < 0.05, "{}", quick.refused_part());
    assert!(slow.refused_part() < 0.15, "{}", slow.refused_part());
}

#[test]
fn a_queue_that_is_short_in_time_is_tolerated() {
    let refused_part = |queue_us_max| {
        let scenario =
            Scenario { mean_us: 200.0, load: 0.95, start_us: 1e7, ..Scenario::new(2, Service::Exponential) };
        let mut limiter = limiter(Options { queue_us_max, ..Options::default() });
        Scenario { load: 0.3, start_us: 0.0, ..scenario }.run(Door::Given(&mut limiter), 2.0);
        scenario.run(Door::Given(&mut limiter), 20.0).refused_part()
    };
    let (never, up_to_5_ms) = (refused_part(0), refused_part(5_000));
    assert!(never > 0.02, "it is a queue: {never}");
    assert!(up_to_5_ms < never / 4.0, "{up_to_5_ms} against {never}");
}

#[test]
fn where_nobody_is_refused_the_limit_is_not_halved_to_measure() {
    let mut limiter = limiter(Options { baseline_ms: 1_000, limit_start: 20, ..Options::default() });
    // First one at a time, then fifteen at once for a minute; all of them take 10 ms.
    for ms in (0..62_000u64).step_by(10) {
        let count = if ms < 2_000 { 1 } else { 15 };
        for _ in 0..count {
            assert!(admitted(&mut limiter, Priority::NORMAL, ms * MS), "at {ms} ms");
        }
        for _ in 0..count {
            limiter.done(Priority::NORMAL, 10 * MS, Outcome::Finished, (ms + 10) * MS);
        }
    }
}

#[test]
fn other_options_hold_at_once_and_what_was_found_out_stays() {
    let mut limiter = limiter(Options { limit_start: 100, ..Options::default() });
    for _ in 0..10 {
        admitted(&mut limiter, Priority::NORMAL, 0);
    }
    let narrow = Options { limit_min: 2, limit_start: 4, limit_max: 8, ..Options::default() };
    limiter.reconfigure(narrow).unwrap();
    assert_eq!((limiter.limit(), limiter.in_flight()), (8, 10));
    assert!(!limiter.has_room(Priority::CRITICAL));
    assert!(limiter.reconfigure(Options { limit_min: 0, ..Options::default() }).is_err());
    assert_eq!(limiter.limit(), 8, "what is wrong changes nothing");
    limiter.reconfigure(Options { limit_min: 50, limit_start: 50, ..Options::default() }).unwrap();
    assert_eq!(limiter.limit(), 50);
    assert!(admitted(&mut limiter, Priority::NORMAL, 0));
}

#[test]
fn who_steps_out_makes_room_and_may_come_back_to_a_full_house() {
    let mut limiter = limiter(Options { limit_start: 1, limit_min: 1, limit_max: 1, ..Options::default() });
    assert!(admitted(&mut limiter, Priority::NORMAL, 0));
    limiter.step_out(Priority::NORMAL);
    assert!(admitted(&mut limiter, Priority::NORMAL, 0));
    limiter.come_back(Priority::NORMAL);
    assert_eq!(limiter.in_flight(), 2);
    limiter.done(Priority::NORMAL, MS, Outcome::Finished, MS);
    assert!(!admitted(&mut limiter, Priority::NORMAL, MS));
    limiter.done(Priority::NORMAL, MS, Outcome::Finished, MS);
    assert!(admitted(&mut limiter, Priority::NORMAL, MS));
}

#[test]
fn the_pause_grows_with_the_excess_and_is_spread() {
    let pauses = |arrivals: u64| -> Vec<u32> {
        let mut limiter = limiter(Options { limit_start: 2, limit_max: 2, ..Options::default() });
        let mut pauses = Vec::new();
        for ms in 0..3_000u64 {
            for _ in 0..arrivals {
                if let Decision::Refuse { retry_after_ms } = limiter.admit(Priority::NORMAL, ms * MS) {
                    pauses.push(retry_after_ms);
                }
            }
            while limiter.in_flight() > 0 {
                limiter.done(Priority::NORMAL, MS, Outcome::Finished, ms * MS);
            }
        }
        pauses.split_off(pauses.len() / 2)
    };
    let mean = |pauses: &[u32]| pauses.iter().sum::<u32>() / pauses.len() as u32;
    let (some, more) = (pauses(4), pauses(10));
    assert!(
        (2_200..2_800).contains(&mean(&some)),
        "twice 1 s, and a quarter more on average: {}",
        mean(&some)
    );
    assert!((5_500..7_000).contains(&mean(&more)), "{}", mean(&more));
    let distinct: std::collections::BTreeSet<_> = some.iter().collect();
    assert!(distinct.len() > 100, "{}", distinct.len());
}

#[test]
fn steps_within_a_priority_depend_on_the_client_and_the_period() {
    let step = |client, period| Priority::HIGH.within(client, period);
    assert!((8..12).contains(&u8::from(step("ann", 1))));
    assert_eq!(step("ann", 1), step("ann", 1));
    assert!((2..50).any(|period| step("ann", period) != step("ann", 1)));
    assert_eq!(Priority::try_from(16).unwrap_err().to_string(), "option `priority` is 16, outside 0 to 15");
}

#[test]
fn under_three_times_the_load_what_is_accepted_keeps_its_latency() {
    for workers in [4, 16, 64] {
        for (seed, service) in (0..).zip([Service::Fixed, Service::Exponential, Service::Zipf].repeat(3)) {
            let scenario = Scenario { seed, ..Scenario::new(workers, service) };
            let unloaded = Scenario { load: 0.3, ..scenario }.run(Door::Open, 30.0).p99_us();
            let mut limiter = limiter(Options::default());
            Scenario { load: 0.5, ..scenario }.run(Door::Given(&mut limiter), 10.0);
            let overload = Scenario { load: 3.0, start_us: 2e7, ..scenario };
            let mut report = overload.run(Door::Given(&mut limiter), 60.0);
            let (p99, work) = (report.p99_us(), report.work());
            let case = format!("{workers} workers, {service:?}, seed {seed}");
            assert!(p99 <= 2.0 * unloaded, "{case}: {p99} us against {unloaded} us");
            assert!(work >= 0.75, "{case}: {work} of the capacity is used");
        }
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn the_limit_stays_in_its_bounds_and_priorities_are_kept_whatever_happens(
        limit_min in 1u32..20,
        more in 0u32..50,
        seed in any::<u64>(),
        steps in 1usize..2_000,
        slowness in 1u64..1_000_000,
    ) {
        let options = Options {
            limit_min,
            limit_start: limit_min + more / 2,
            limit_max: limit_min + more,
            window_requests: 10,
            ..Options::default()
        };
        let mut limiter = limiter(options.clone());
        let mut random = Random::new(seed);
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        let mut now_us = 0u64;
        for _ in 0..steps {
            now_us = (now_us + random.below(20_000) as u64).saturating_sub(random.below(1_000) as u64);
            if random.below(2) == 0 {
                let entered = Priority::all().map(|priority| admitted(&mut limiter.clone(), priority, now_us));
                prop_assert!(entered.is_sorted(), "a higher priority is refused while a lower one may enter");
                let priority = Priority::try_from(random.below(16) as u8).unwrap();
                match limiter.admit(priority, now_us) {
                    Decision::Admit => inside.push(priority),
                    Decision::Refuse { retry_after_ms } => {
                        prop_assert!((options.retry_ms_min..=options.retry_ms_max).contains(&retry_after_ms));
                    }
                }
            } else if !inside.is_empty() && random.below(8) == 0 {
                let priority = inside.swap_remove(random.below(inside.len()));
                limiter.step_out(priority);
                outside.push(priority);
            } else if !outside.is_empty() && random.below(8) == 0 {
                let priority = outside.swap_remove(random.below(outside.len()));
                limiter.come_back(priority);
                inside.push(priority);
            } else if random.below(200) == 0 {
                // Bounds within the ones that hold, so that the property is the same.
                let limit_max = limit_min + random.below(more as usize + 1) as u32;
                let narrower = Options { limit_start: limit_min, limit_max, ..options.clone() };
                limiter.reconfigure(narrower).unwrap();
                prop_assert!((limit_min..=limit_max).contains(&limiter.limit()));
            } else if !inside.is_empty() {
                let priority = inside.swap_remove(random.below(inside.len()));
                let outcome = [Outcome::Finished, Outcome::Finished, Outcome::Overloaded, Outcome::Ignored];
                let latency_us = random.next() % (slowness * (1 + inside.len() as u64));
                limiter.done(priority, latency_us, outcome[random.below(4)], now_us);
            }
            prop_assert_eq!(limiter.in_flight() as usize, inside.len());
            prop_assert!((options.limit_min..=options.limit_max).contains(&limiter.limit()));
        }
    }
}
