//! A sample of users, made of how much each region serves.
//!
//! Nobody keeps lists of users, but each region knows how many requests it serves. What a region serves is what prefers it and what came to it
//! from others; a plan changes what becomes of those who prefer a region. So it is to be found out who prefers what: of users around each
//! region the ranking says where they go now, and the numbers of users that explain best what the regions serve are found by
//! the iteration of Richardson (1972) and Lucy (1974), which keeps them positive and their sum what it is.

use super::{Observed, Options, Place, Plan, SAMPLE_MAX, Sampled, User, rank};
use std::collections::BTreeMap;
use tw_types::RegionId;

/// How many users stand for those around one region.
const USERS_MAX: usize = 400;
/// How often the estimate is made better. It is close long before.
const ROUNDS: usize = 100;

/// The users around one place, and where they go.
struct Crowd {
    users: Vec<(User, RegionId)>,
    /// The part of them that goes to each region; 1 together.
    parts: BTreeMap<RegionId, f64>,
}

/// Users that stand for what the regions serve: by the plan in force they come to the same load in each region.
///
/// `loads` is in thousandths of a request a second. What a region serves although nobody is sent there stands for users around
/// it, who are going to follow the plan. A region that is missing serves nothing.
pub fn sample(
    plan: &Plan,
    observed: &Observed,
    loads: &BTreeMap<RegionId, u64>,
    options: &Options,
    now_ms: u64,
) -> Vec<Sampled> {
    let places = places(plan);
    let count = USERS_MAX.min(SAMPLE_MAX / places.len().max(1));
    let crowd = |(number, place): (usize, &Option<Place>)| {
        let users = (0..count).map(|user| {
            let user = User { key: format!("load/{number}/{user}"), place: *place, ..User::default() };
            let first = rank(plan, observed, &user, options, now_ms).regions.first().map(|one| one.region);
            (user, first.unwrap_or_default())
        });
        Crowd::new(users.collect())
    };
    let crowds: Vec<Crowd> = places.iter().enumerate().map(crowd).collect();
    let mut sizes = explain(&crowds, loads);
    let come = coming(&crowds, &sizes);
    // By how much the estimate is off in a region, which is corrected for those who go there.
    let corrected: BTreeMap<RegionId, f64> = come
        .iter()
        .filter(|(_, comes)| **comes > 0.0)
        .map(|(region, comes)| (*region, load(loads, *region) / comes))
        .collect();
    let mut rates: Vec<Vec<f64>> = Vec::with_capacity(crowds.len());
    for (crowd, size) in crowds.iter().zip(&sizes) {
        let each = size / crowd.users.len().max(1) as f64;
        let rate = |(_, region): &(User, RegionId)| each * corrected.get(region).copied().unwrap_or_default();
        rates.push(crowd.users.iter().map(rate).collect());
    }
    sizes.fill(0.0);
    for region in plan.regions().iter().filter(|region| !corrected.contains_key(&region.id)) {
        let near = places.iter().position(|place| *place == region.place);
        if let Some(size) = near.and_then(|near| sizes.get_mut(near)) {
            *size += load(loads, region.id);
        }
    }
    let crowds = crowds.into_iter().zip(rates).zip(sizes);
    let sampled = crowds.flat_map(|((crowd, rates), unsent)| {
        let unsent = unsent / crowd.users.len().max(1) as f64;
        crowd
            .users
            .into_iter()
            .zip(rates)
            .map(move |((user, _), rate)| Sampled { user, rate_milli_per_s: (rate + unsent).round() as u64 })
    });
    sampled.filter(|one| one.rate_milli_per_s > 0).collect()
}

/// Where users are: around each region of which that is known, and anywhere, if it is not known of one.
fn places(plan: &Plan) -> Vec<Option<Place>> {
    let mut places: Vec<Option<Place>> = Vec::new();
    for region in plan.regions() {
        if !places.contains(&region.place) {
            places.push(region.place);
        }
    }
    places
}

fn load(loads: &BTreeMap<RegionId, u64>, region: RegionId) -> f64 {
    loads.get(&region).copied().unwrap_or_default() as f64
}

/// How much each crowd asks for.
fn explain(crowds: &[Crowd], loads: &BTreeMap<RegionId, u64>) -> Vec<f64> {
    let reached = coming(crowds, &vec![1.0; crowds.len()]);
    let total: f64 = reached.keys().map(|region| load(loads, *region)).sum();
    let mut sizes = vec![total / crowds.len().max(1) as f64; crowds.len()];
    for _ in 0..ROUNDS {
        let come = coming(crowds, &sizes);
        let more = |region: &RegionId| match come.get(region).copied().unwrap_or_default() {
            comes if comes > 0.0 => load(loads, *region) / comes,
            _ => 0.0,
        };
        for (crowd, size) in crowds.iter().zip(&mut sizes) {
            *size *= crowd.parts.iter().map(|(region, part)| part * more(region)).sum::<f64>();
        }
    }
    sizes
}

/// What comes to each region.
fn coming(crowds: &[Crowd], sizes: &[f64]) -> BTreeMap<RegionId, f64> {
    let mut come = BTreeMap::new();
    for (crowd, size) in crowds.iter().zip(sizes) {
        for (region, part) in &crowd.parts {
            *come.entry(*region).or_default() += size * part;
        }
    }
    come
}

impl Crowd {
    fn new(users: Vec<(User, RegionId)>) -> Self {
        let mut parts: BTreeMap<RegionId, f64> = BTreeMap::new();
        for (_, region) in &users {
            *parts.entry(*region).or_default() += 1.0 / users.len() as f64;
        }
        Self { users, parts }
    }
}
