//! Balancing by example and by property; the simulated nodes are in [`nodes`], the README's table in [`comparison`].

mod comparison;
mod nodes;

use super::*;
use crate::sim::{Random, config};
use proptest::prelude::*;

const MS: u64 = 1_000;

fn id(number: usize) -> NodeId {
    NodeId::new(&format!("n{number}")).unwrap()
}

fn targets(capacities: &[u32]) -> Vec<Target> {
    (0..).zip(capacities).map(|(number, capacity)| Target { node: id(number), capacity: *capacity }).collect()
}

fn balancer(policy: Policy, capacities: &[u32]) -> Balancer {
    let mut balancer = Balancer::new(Options { policy, ..Options::default() }).unwrap();
    balancer.set_nodes(&targets(capacities)).unwrap();
    balancer
}

const POLICIES: [Policy; 5] =
    [Policy::RoundRobin, Policy::LeastLoaded, Policy::TwoChoices, Policy::Adaptive, Policy::Sticky];

/// Sends requests that all stay in flight; says how many each node got.
fn counts(balancer: &mut Balancer, nodes: usize, requests: usize) -> Vec<u32> {
    let mut random = Random::new(1);
    for _ in 0..requests {
        balancer.choose(Request::default(), random.next(), 0).unwrap();
    }
    (0..nodes).map(|number| balancer.in_flight(&id(number))).collect()
}

#[test]
fn capacities_decide_about_parts() {
    assert_eq!(counts(&mut balancer(Policy::RoundRobin, &[1, 2, 5]), 3, 800), [100, 200, 500]);
    assert_eq!(counts(&mut balancer(Policy::LeastLoaded, &[1, 2, 5]), 3, 800), [100, 200, 500]);
    for policy in [Policy::TwoChoices, Policy::Adaptive, Policy::Sticky] {
        let counts = counts(&mut balancer(policy, &[1, 2, 5]), 3, 800);
        assert!(
            counts.iter().zip([100u32, 200, 500]).all(|(a, b)| a.abs_diff(b) <= 40),
            "{policy:?} {counts:?}"
        );
    }
    let options = Options { policy: Policy::RoundRobin, capacity_aware: false, ..Options::default() };
    let mut equal = Balancer::new(options).unwrap();
    equal.set_nodes(&targets(&[1, 2, 5])).unwrap();
    assert_eq!(super::tests::counts(&mut equal, 3, 900), [300, 300, 300]);
}

#[test]
fn round_robin_gives_nobody_two_in_a_row_without_need() {
    let mut balancer = balancer(Policy::RoundRobin, &[2, 1, 1]);
    let order: Vec<_> =
        (0..8).map(|_| balancer.choose(Request::default(), 0, 0).unwrap().to_string()).collect();
    assert_eq!(order, ["n0", "n1", "n2", "n0", "n0", "n1", "n2", "n0"]);
}

#[test]
fn a_subject_stays_with_its_node_until_that_has_too_much() {
    let mut balancer = balancer(Policy::Sticky, &[1; 10]);
    let request = Request { subject: Some("order-7"), tried: &[], among: None };
    let mut random = Random::new(3);
    let home = balancer.choose(request, random.next(), 0).unwrap();
    balancer.done(&home, MS, Outcome::Answered, 0);
    for _ in 0..100 {
        let node = balancer.choose(request, random.next(), 0).unwrap();
        assert_eq!(node, home);
        balancer.done(&node, MS, Outcome::Answered, 0);
    }
    // Without an end, no node gets more than its part and a quarter.
    for _ in 0..400 {
        balancer.choose(request, random.next(), 0).unwrap();
    }
    assert!((0..10).all(|number| balancer.in_flight(&id(number)) <= 50));
    assert_eq!(balancer.in_flight(&home), 50);
}

#[test]
fn when_a_node_leaves_only_its_subjects_go_elsewhere() {
    let mut balancer = balancer(Policy::Sticky, &[1; 10]);
    let home = |balancer: &mut Balancer, subject: &str| {
        let node =
            balancer.choose(Request { subject: Some(subject), tried: &[], among: None }, 0, 0).unwrap();
        balancer.done(&node, MS, Outcome::Answered, 0);
        node
    };
    let subjects: Vec<_> = (0..500).map(|number| format!("s{number}")).collect();
    let before: Vec<_> = subjects.iter().map(|subject| home(&mut balancer, subject)).collect();
    balancer.set_nodes(&targets(&[1; 9])).unwrap();
    for (subject, before) in subjects.iter().zip(before) {
        let now = home(&mut balancer, subject);
        assert!(now == before || before == id(9), "{subject}: {before}, then {now}");
    }
}

#[test]
fn a_node_that_fails_is_left_alone_for_longer_and_longer() {
    let mut balancer = balancer(Policy::LeastLoaded, &[1, 1]);
    let bad = id(0);
    let fail = |balancer: &mut Balancer, now_us| {
        let request = Request { subject: None, tried: &[id(1)], among: None };
        balancer.choose(request, 0, now_us);
        balancer.done(&bad, 10, Outcome::Failed, now_us);
    };
    let chosen = |balancer: &mut Balancer, now_us| {
        (0..10u64).any(|number| {
            let node = balancer.choose(Request::default(), number << 60, now_us).unwrap();
            balancer.done(&node, MS, Outcome::Refused { retry_after_ms: 0 }, now_us);
            node == bad
        })
    };
    (0..2).for_each(|_| fail(&mut balancer, 0));
    assert!(chosen(&mut balancer, 0), "two failures are no pattern");
    fail(&mut balancer, 0);
    assert!(!chosen(&mut balancer, 499 * MS) && chosen(&mut balancer, 501 * MS));
    fail(&mut balancer, 501 * MS);
    assert!(!chosen(&mut balancer, 1_500 * MS) && chosen(&mut balancer, 1_502 * MS));
}

#[test]
fn a_node_that_refuses_is_left_alone_as_long_as_it_says() {
    let mut balancer = balancer(Policy::RoundRobin, &[1, 1]);
    let node = balancer.choose(Request::default(), 0, 0).unwrap();
    balancer.done(&node, MS, Outcome::Refused { retry_after_ms: 700 }, 0);
    let others = (0..10).all(|_| balancer.choose(Request::default(), 0, 600 * MS).unwrap() != node);
    let again = (0..10).any(|_| balancer.choose(Request::default(), 0, 701 * MS).unwrap() == node);
    assert!(others && again);
}

#[test]
fn a_retry_goes_to_another_node_if_there_is_one() {
    for policy in POLICIES {
        let mut balancer = balancer(policy, &[1, 1, 1]);
        let request = Request { subject: Some("s"), tried: &[id(0), id(2)], among: None };
        assert_eq!(balancer.choose(request, 5, 0), Some(id(1)), "{policy:?}");
        let all = [id(0), id(1), id(2)];
        assert!(
            balancer.choose(Request { subject: None, tried: &all, among: None }, 5, 0).is_some(),
            "{policy:?}"
        );
    }
}

#[test]
fn only_nodes_that_can_take_a_request_are_chosen() {
    for policy in POLICIES {
        let mut balancer = balancer(policy, &[1; 5]);
        let among = [id(1), id(4), id(9)];
        let request = Request { subject: Some("s"), tried: &[], among: Some(&among) };
        let mut random = Random::new(2);
        for _ in 0..40 {
            balancer.choose(request, random.next(), 0).unwrap();
        }
        let counts = [0, 1, 2, 3, 4].map(|number| balancer.in_flight(&id(number)));
        assert_eq!(counts[1] + counts[4], 40, "{policy:?} {counts:?}");
        assert!(counts[1] > 0 && counts[4] > 0, "{policy:?} {counts:?}");
        let tried = Request { tried: &[id(4)], ..request };
        assert_eq!(balancer.choose(tried, 0, 0), Some(id(1)), "{policy:?}");
        let nobody = Request { among: Some(&among[2..]), ..request };
        assert_eq!(balancer.choose(nobody, 0, 0), None, "{policy:?}");
    }
}

#[test]
fn options_change_while_requests_are_under_way() {
    let mut balancer = balancer(Policy::Sticky, &[1, 1]);
    let request = Request { subject: Some("s"), ..Request::default() };
    let home = balancer.choose(request, 0, 0).unwrap();
    let wrong = Options { avoid_ms: 0, ..Options::default() };
    assert!(balancer.set_options(wrong).is_err());
    balancer.set_options(Options { policy: Policy::LeastLoaded, ..Options::default() }).unwrap();
    assert_eq!(balancer.in_flight(&home), 1);
    assert_ne!(balancer.choose(request, 0, 0), Some(home.clone()), "that one has a request already");
    balancer.done(&home, 0, Outcome::Dropped, 0);
    assert_eq!(balancer.in_flight(&home), 0);
}

#[test]
fn adaptive_takes_the_fastest_node_that_is_not_full() {
    let options = Options { policy: Policy::Adaptive, adaptive_choices: 4, ..Options::default() };
    let mut balancer = Balancer::new(options).unwrap();
    balancer.set_nodes(&targets(&[1; 4])).unwrap();
    for (number, (in_flight, latency_us)) in
        [(3, 9_000), (5, 2_000), (90, 1_000), (1, 8_000)].into_iter().enumerate()
    {
        balancer.report(&id(number), Report { in_flight, latency_us }, 0);
    }
    assert_eq!(balancer.choose(Request::default(), 7, 0), Some(id(1)), "the fastest one is full");
    // Too old to count: what this sender has in flight itself decides.
    let later = balancer.choose(Request::default(), 7, 2_000 * MS);
    assert!(later.is_some_and(|node| node != id(1)));
}

#[test]
fn probes_go_round_and_not_too_often() {
    let mut balancer = balancer(Policy::Adaptive, &[1, 1]);
    let probed: Vec<_> = (0..6u64).filter_map(|step| balancer.to_probe(step * 20 * MS)).collect();
    assert_eq!(probed, [id(0), id(1), id(0), id(1)]);
}

#[test]
fn without_nodes_there_is_no_choice_and_a_node_twice_is_refused() {
    let mut balancer = balancer(Policy::TwoChoices, &[]);
    assert_eq!(balancer.choose(Request::default(), 0, 0), None);
    let twice = [targets(&[1]), targets(&[2])].concat();
    assert_eq!(balancer.set_nodes(&twice).unwrap_err(), Error::Twice { name: "n0".into() });
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn whatever_happens_a_known_node_is_chosen_and_requests_are_counted(
        policy in prop::sample::select(POLICIES.to_vec()),
        seed in any::<u64>(),
        steps in 1usize..300,
    ) {
        let mut random = Random::new(seed);
        let mut balancer = balancer(policy, &[1, 2, 0]);
        let mut names: Vec<NodeId> = (0..3).map(id).collect();
        let mut flying: Vec<NodeId> = Vec::new();
        for _ in 0..steps {
            let now_us = random.next() % 10_000_000;
            match random.below(10) {
                0 => {
                    let capacities: Vec<u32> = (0..1 + random.below(6)).map(|_| random.below(9) as u32).collect();
                    balancer.set_nodes(&targets(&capacities)).unwrap();
                    names = (0..capacities.len()).map(id).collect();
                    flying.retain(|node| names.contains(node));
                }
                1..5 => {
                    let subject = format!("s{}", random.below(20));
                    let tried = [id(random.below(6))];
                    let request = Request { subject: (random.below(2) == 0).then_some(&subject), tried: &tried, among: None };
                    let node = balancer.choose(request, random.next(), now_us).unwrap();
                    prop_assert!(names.contains(&node));
                    prop_assert!(node != tried[0] || names.len() == 1);
                    flying.push(node);
                }
                5..8 if !flying.is_empty() => {
                    let node = flying.swap_remove(random.below(flying.len()));
                    let retry_after_ms = random.below(5_000) as u32;
                    let outcome =
                        [Outcome::Answered, Outcome::Failed, Outcome::Refused { retry_after_ms }, Outcome::Dropped];
                    balancer.done(&node, random.next(), outcome[random.below(4)], now_us);
                }
                8 => {
                    let report = Report { in_flight: random.next() as u32, latency_us: random.next() };
                    balancer.report(&id(random.below(6)), report, now_us);
                }
                _ => {
                    let probed = balancer.to_probe(now_us);
                    prop_assert!(probed.is_none_or(|node| names.contains(&node)));
                }
            }
            for name in &names {
                let count = flying.iter().filter(|node| *node == name).count();
                prop_assert_eq!(balancer.in_flight(name) as usize, count);
            }
        }
    }
}
