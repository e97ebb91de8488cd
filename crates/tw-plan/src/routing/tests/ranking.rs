//! Rankings by example.

use super::*;

fn at(id: u16, lat: f64, lon: f64) -> Region {
    Region { place: Some(Place::new(lat, lon).unwrap()), ..region(id, 1_000) }
}

/// Frankfurt, Virginia, Singapore.
fn three() -> Plan {
    plan([at(1, 50.11, 8.68), at(2, 38.95, -77.45), at(3, 1.35, 103.82)])
}

fn observed(down: &[u16]) -> Observed {
    let mut observed = Observed::default();
    down.iter().for_each(|id| observed.tell(RegionId(*id), false, NOW_MS));
    observed
}

fn ranked(plan: &Plan, observed: &Observed, user: &User) -> Ranking {
    rank(plan, observed, user, &Options::default(), NOW_MS)
}

fn out(ranking: &Ranking) -> Vec<(u16, Out)> {
    ranking.out.iter().map(|one| (one.region.0, one.out)).collect()
}

#[test]
fn the_nearest_region_is_first_until_a_measured_latency_says_otherwise() {
    let paris = Some(Place::new(48.86, 2.35).unwrap());
    let mut user = User { key: "u".into(), place: paris, ..User::default() };
    let ranking = ranked(&three(), &Observed::default(), &user);
    assert_eq!(ids(&ranking), [1, 2, 3]);
    let latency = ranking.regions[0].latency;
    assert_eq!(latency, Latency { rtt_ms: Some(10), basis: Basis::Distance });

    user.measured.insert(RegionId(1), Measured { rtt_ms: 300, at_ms: NOW_MS - 3_600_000 });
    let ranking = ranked(&three(), &Observed::default(), &user);
    assert_eq!(ids(&ranking), [2, 3, 1]);
    assert_eq!(ranking.regions[2].latency, Latency { rtt_ms: Some(300), basis: Basis::Measured });

    // One millisecond older is too old.
    user.measured.insert(RegionId(1), Measured { rtt_ms: 300, at_ms: NOW_MS - 3_600_001 });
    assert_eq!(ids(&ranked(&three(), &Observed::default(), &user)), [1, 2, 3]);
}

#[test]
fn users_of_whom_nothing_is_known_are_spread_by_capacity() {
    let plan = plan([region(1, 100), region(2, 200), region(3, 500)]);
    let counts = counts(&plan, &Observed::default(), &users(8_000, &[]));
    let even = counts.iter().zip([1_000usize, 2_000, 5_000]);
    assert!(even.clone().all(|(count, expected)| count.abs_diff(expected) < 150), "{counts:?}");
    let ranking = ranked(&plan, &Observed::default(), &user(1, &[]));
    assert_eq!(ranking.regions[0].latency, Latency { rtt_ms: None, basis: Basis::Hash });
    // A region of which something is known comes before those of which nothing is.
    let known = (0..50).map(|number| first(&plan, &Observed::default(), &user(number, &[400])));
    assert!(known.into_iter().all(|id| id == 1));
}

#[test]
fn a_user_stays_with_its_region_unless_another_one_is_better_by_more_than_the_bound() {
    let here = |id: u16, rtts_ms: &[u32]| {
        let user = User { current: Some(RegionId(id)), ..user(1, rtts_ms) };
        ids(&ranked(&three(), &Observed::default(), &user))
    };
    assert_eq!(here(2, &[30, 50, 200]), [2, 1, 3]);
    assert_eq!(here(2, &[30, 51, 200]), [1, 2, 3]);
    // Not first, but before what is no better by more than the bound.
    assert_eq!(here(3, &[10, 60, 80]), [1, 3, 2]);
    assert_eq!(here(9, &[30, 50, 200]), [1, 2, 3]);
}

#[test]
fn every_region_that_is_out_has_its_reason() {
    let plan = plan([
        Region { drained: true, ..region(1, 10) },
        region(2, 10),
        region(3, 10),
        region(4, 10),
        region(5, 10),
    ]);
    let lag_ms = [(1u16, 0), (2, 0), (3, 1_500), (5, 1_000)].map(|(id, lag_ms)| (RegionId(id), lag_ms));
    let user = User { lag_ms: lag_ms.into(), lag_ms_max: Some(1_000), ..user(1, &[10, 20, 30, 40, 50]) };
    let ranking = ranked(&plan, &observed(&[2]), &user);
    assert_eq!(ids(&ranking), [5]);
    assert_eq!((ranking.gave_up, ranking.fail_static, ranking.generation), (None, false, 1));
    assert_eq!(
        out(&ranking),
        [(3, Out::Stale { by_ms: 500 }), (4, Out::StaleUnknown), (2, Out::Down), (1, Out::Drained)]
    );
    assert_eq!(ranking.regions[0].lag_ms, Some(1_000));
}

#[test]
fn without_a_fresh_region_the_least_stale_serves_and_the_answer_says_so() {
    let lag_ms = [(1u16, 9_000), (3, 5_000)].map(|(id, lag_ms)| (RegionId(id), lag_ms)).into();
    let user = User { lag_ms, lag_ms_max: Some(1_000), ..user(1, &[10, 20, 30]) };
    let ranking = ranked(&three(), &Observed::default(), &user);
    assert_eq!((ids(&ranking), ranking.gave_up), (vec![3, 1, 2], Some(GaveUp::Freshness)));
    assert_eq!(out(&ranking), []);
}

#[test]
fn when_all_look_down_the_plan_is_used_as_if_all_were_up() {
    let plan = plan([Region { drained: true, ..region(1, 10) }, region(2, 10), region(3, 10)]);
    let user = user(1, &[10, 20, 30]);
    let ranking = ranked(&plan, &observed(&[2]), &user);
    assert_eq!((ids(&ranking), ranking.fail_static), (vec![3], false));
    let ranking = ranked(&plan, &observed(&[2, 3]), &user);
    assert_eq!((ids(&ranking), ranking.fail_static), (vec![2, 3], true));
    assert_eq!(out(&ranking), [(1, Out::Drained)]);
    assert!(!ranking.regions[0].health.up);
}

#[test]
fn a_region_without_weight_serves_when_no_other_one_is_up() {
    let plan = plan([Region { weight: 0, ..region(1, 10) }, region(2, 10)]);
    let user = user(1, &[10, 20]);
    let ranking = ranked(&plan, &Observed::default(), &user);
    assert_eq!(ids(&ranking), [2, 1]);
    let reached: Vec<_> = ranking.regions.iter().map(|one| one.reached).collect();
    assert_eq!(reached, [Reached::Latency, Reached::Weight]);
    assert_eq!(ids(&ranked(&plan, &observed(&[2]), &user)), [1]);
}

#[test]
fn a_given_user_goes_where_it_was_given_even_while_the_giver_is_down() {
    let given = vec![Given { to: Some(RegionId(3)), permille: 1_000 }];
    let plan = plan([Region { weight: 0, given, ..region(1, 10) }, region(2, 10), region(3, 10)]);
    let user = user(1, &[10, 20, 300]);
    for down in [vec![], vec![1]] {
        let ranking = ranked(&plan, &observed(&down), &user);
        assert_eq!(ids(&ranking)[..2], [3, 2]);
        assert_eq!(ranking.regions[0].reached, Reached::Given { by: RegionId(1) });
    }
    assert_eq!(ids(&ranked(&plan, &observed(&[3]), &user)), [2, 1]);
    // It was served there before, and region 2 looks nearer than the giver for a moment.
    let user = User { current: Some(RegionId(3)), ..super::user(1, &[15, 10, 300]) };
    assert_eq!(ids(&ranked(&plan, &Observed::default(), &user)), [3, 2, 1]);
}

#[test]
fn when_no_region_has_room_the_first_choice_is_asked_and_the_answer_says_so() {
    let plan = plan([region(1, 1), region(2, 1)]);
    let users = users(200, &[10, 20]);
    let sample = sample(&users, 100);
    let mut observed = Observed::default();
    let options = Options::default();
    let present = Present { observed: &observed, sample: &sample, options: &options, now_ms: NOW_MS };
    let admitted = admission(&plan, &present).unwrap();
    assert_eq!(admitted.beyond_milli_per_s, 98_000);
    observed.admission = admitted.admission;
    let rankings: Vec<_> = users.iter().map(|user| ranked(&plan, &observed, user)).collect();
    let beyond: Vec<_> = rankings.iter().filter(|one| one.gave_up == Some(GaveUp::Room)).collect();
    assert_eq!(beyond.len(), 196);
    assert!(beyond.iter().all(|one| ids(one) == [1, 2] && one.out.is_empty()));
    let spilled = rankings.iter().filter(|one| out(one) == [(1, Out::Full)] && ids(one) == [2]);
    assert_eq!(spilled.count(), 2);
}
