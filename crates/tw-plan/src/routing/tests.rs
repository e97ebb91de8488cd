//! Routing by example; what holds for all inputs is in the modules below.

mod capacity;
mod comparison;
mod load;
mod properties;
mod ranking;
mod steps;
mod world;

use super::*;
use crate::Error;
use tw_types::RegionId;

const NOW_MS: u64 = 10_000_000;

/// A region that keeps all its users and is nowhere.
fn region(id: u16, capacity_per_s: u32) -> Region {
    Region {
        id: RegionId(id),
        weight: WEIGHT_MAX,
        drained: false,
        capacity_per_s,
        place: None,
        addresses: vec![format!("r{id}.example.com")],
        given: Vec::new(),
    }
}

fn plan(regions: impl IntoIterator<Item = Region>) -> Plan {
    Plan::first(regions.into_iter().collect()).unwrap()
}

/// A user with round trips to regions 1, 2, … as measured just now.
fn user(number: usize, rtts_ms: &[u32]) -> User {
    let measured = |rtt_ms: &u32| Measured { rtt_ms: *rtt_ms, at_ms: NOW_MS };
    let measured = (1u16..).map(RegionId).zip(rtts_ms.iter().map(measured)).collect();
    User { key: format!("user-{number}"), measured, ..User::default() }
}

fn users(count: usize, rtts_ms: &[u32]) -> Vec<User> {
    (0..count).map(|number| user(number, rtts_ms)).collect()
}

/// The regions of a ranking, in order.
fn ids(ranking: &Ranking) -> Vec<u16> {
    ranking.regions.iter().map(|one| one.region.0).collect()
}

fn first(plan: &Plan, observed: &Observed, user: &User) -> u16 {
    ids(&rank(plan, observed, user, &Options::default(), NOW_MS))[0]
}

/// Users that stand for so much load in all.
fn sample(users: &[User], load_per_s: u64) -> Vec<Sampled> {
    let rate_milli_per_s = load_per_s * 1_000 / users.len() as u64;
    users.iter().map(|user| Sampled { user: user.clone(), rate_milli_per_s }).collect()
}

/// How many users go to regions 1, 2, ….
fn counts(plan: &Plan, observed: &Observed, users: &[User]) -> Vec<usize> {
    let mut counts = vec![0; plan.regions().len()];
    users.iter().for_each(|user| counts[usize::from(first(plan, observed, user)) - 1] += 1);
    counts
}

#[test]
fn a_region_that_breaks_a_rule_is_refused_with_the_remedy() {
    let refused = |change: fn(&mut Region)| {
        let mut one = region(1, 10);
        change(&mut one);
        Plan::first(vec![one, region(2, 10)]).unwrap_err().to_string()
    };
    let text = "region `1` cannot be in a routing plan as it is: ";
    for (change, rule) in [
        ((|one| one.weight = 1_001) as fn(&mut Region), "say a weight of 0 to 1000"),
        (|one| one.capacity_per_s = 0, "say a capacity of 1 request/s or more, or drain it"),
        (|one| one.addresses.clear(), "name an address where it is reached, or drain it"),
        (
            |one| one.given.push(Given { to: Some(RegionId(2)), permille: 1 }),
            "what it keeps and what it gives are 1000 thousandths at most",
        ),
        (
            |one| {
                one.weight = 0;
                one.given.push(Given { to: Some(RegionId(1)), permille: 1 });
            },
            "it gives a part of its users, of 1 thousandth or more, to another region",
        ),
        (|one| one.id = RegionId(2), "list it once"),
    ] {
        let text = if rule == "list it once" { text.replace('1', "2") } else { text.to_owned() };
        assert_eq!(refused(change), text + rule);
    }
    for wrong in ["", "http://a/", "a b", "a\n", "é.example.com"] {
        let wrong = Region { addresses: vec![wrong.to_owned()], ..region(1, 10) };
        assert!(Plan::first(vec![wrong]).unwrap_err().to_string().contains("an address is a host name"));
    }
    for right in ["a.example.com", "192.0.2.1:8443", "[2001:db8::1]:443", "2001:db8::1"] {
        plan([Region { addresses: vec![right.to_owned()], ..region(1, 10) }]);
    }
    let stranger = vec![Given { to: Some(RegionId(9)), permille: 10 }];
    let unknown = Plan::first(vec![Region { weight: 900, given: stranger, ..region(1, 10) }]);
    let text = "the routing plan has no region `9`: name one of its regions";
    assert_eq!(unknown.unwrap_err().to_string(), text);
    let many = (1..=65).map(|id| region(id, 10)).collect();
    let text = "65 regions are more than the 64 that routing takes: leave some out";
    assert_eq!(Plan::first(many).unwrap_err().to_string(), text);
}

#[test]
fn a_plan_by_which_nobody_serves_is_refused() {
    let text = "nobody may serve by this routing plan: leave one region at least that is not drained and has a weight above 0";
    let drained = Region { drained: true, ..region(1, 10) };
    let weightless = Region { weight: 0, ..region(2, 10) };
    for regions in [vec![], vec![drained.clone()], vec![drained, weightless]] {
        assert_eq!(Plan::first(regions.clone()).unwrap_err().to_string(), text);
        let current = plan([region(1, 10)]);
        let proposed = Proposal { parent: 1, regions };
        assert_eq!(succeed(&current, proposed, &Observed::default()), Err(Error::RouteEmpty));
    }
}

#[test]
fn a_plan_that_leaves_only_regions_that_look_down_is_refused_while_one_is_up() {
    let current = plan([region(1, 10), region(2, 10)]);
    let only_1 = || Proposal { parent: 1, regions: vec![region(1, 10)] };
    let mut observed = Observed::default();
    observed.tell(RegionId(1), false, NOW_MS);
    assert_eq!(
        succeed(&current, only_1(), &observed).unwrap_err().to_string(),
        "every region that may serve by this routing plan looks down: keep region `2`, which is up, not drained and with a weight above 0"
    );
    // When all look down, the change may be what helps.
    observed.tell(RegionId(2), false, NOW_MS);
    succeed(&current, only_1(), &observed).unwrap();
}

#[test]
fn of_two_plans_made_from_the_same_generation_the_second_is_refused() {
    let observed = Observed::default();
    let first = plan([region(1, 10), region(2, 10)]);
    assert_eq!((first.generation(), first.parent()), (1, 0));
    let weak =
        |weight| Proposal { parent: 1, regions: vec![region(1, 10), Region { weight, ..region(2, 10) }] };
    let second = succeed(&first, weak(500), &observed).unwrap();
    assert_eq!((second.generation(), second.parent()), (2, 1));
    assert_eq!(
        succeed(&second, weak(400), &observed).unwrap_err().to_string(),
        "this routing plan follows generation `1`, generation 2 is in force: read that one and propose again"
    );
    let back = roll_back(&second, &first, &observed).unwrap();
    assert_eq!((back.generation(), back.parent(), back.regions()), (3, 2, first.regions()));
}

#[test]
fn a_plan_as_data_is_what_it_was_and_is_checked_when_it_is_read() {
    let text = concat!(
        r#"{"generation":7,"regions":[{"id":1,"weight":900,"drained":false,"capacity_per_s":5000,"#,
        r#""place":{"lat":50.11,"lon":8.68},"addresses":["eu.example.com"],"given":[{"to":null,"permille":40},{"to":2,"permille":60}]},"#,
        r#"{"id":2,"weight":1000,"drained":false,"capacity_per_s":10,"place":null,"addresses":["us.example.com"],"given":[]}]}"#
    );
    let plan: Plan = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&plan).unwrap(), text);
    assert_eq!(plan.region(RegionId(1)).unwrap().place.unwrap().lat(), 50.11);
    let short: Plan = serde_json::from_str(
        r#"{"generation":1,"regions":[{"id":2,"weight":1000,"capacity_per_s":10,"addresses":["us.example.com"]}]}"#,
    )
    .unwrap();
    assert_eq!(short.regions(), &plan.regions()[1..]);
    for (from, to) in [
        (r#""generation":7"#, r#""generation":0"#),
        (r#""generation":7"#, r#""generation":9007199254740993"#),
        (r#""weight":900"#, r#""weight":901"#),
        (r#""to":2"#, r#""to":3"#),
        (r#""drained":false"#, r#""drained":true"#),
        (r#""lat":50.11"#, r#""lat":150.11"#),
        (r#""generation""#, r#""format":1,"generation""#),
    ] {
        let damaged = text.replace(from, to);
        assert!(serde_json::from_str::<Plan>(&damaged).is_err(), "{damaged}");
    }
}

#[test]
fn an_older_observation_changes_nothing_and_the_last_one_is_held() {
    let options = Options::default();
    let mut observed = Observed::default();
    let health = |observed: &Observed, now_ms| observed.health(RegionId(1), &options, now_ms);
    assert_eq!(health(&observed, 5), Health { up: true, age_ms: None, held: true });
    observed.tell(RegionId(1), false, 1_000);
    observed.tell(RegionId(1), true, 999);
    assert_eq!(health(&observed, 11_000), Health { up: false, age_ms: Some(10_000), held: false });
    assert_eq!(health(&observed, 11_001), Health { up: false, age_ms: Some(10_001), held: true });
    observed.tell(RegionId(1), true, 1_000);
    assert!(observed.is_up(RegionId(1)));
    observed.tell(RegionId(1), false, 1_001);
    observed.retain(|region| region != RegionId(1));
    assert_eq!(health(&observed, 11_001).age_ms, None);
}
