//! A simulated world: users around cities, ways that are longer than they look, regions that get slow, full or down.

use super::*;
use crate::sim::{Random, quantile};
use std::collections::BTreeMap;

const USERS: usize = 3_000;
const STEPS: usize = 20;
/// The step in which something happens.
const EVENT: usize = 5;
const LOAD_PER_S: f64 = 10_000.0;
/// What a request takes in a region that has nothing else to do, in milliseconds.
const SERVICE_MS: f64 = 10.0;
const SLOW_MS: f64 = 150.0;

/// Frankfurt, Virginia, Oregon, Singapore, São Paulo; latitude, longitude, requests/s that each can serve.
const REGIONS: [(f64, f64, u32); 5] = [
    (50.1, 8.7, 6_000),
    (38.9, -77.4, 5_000),
    (45.6, -121.2, 4_000),
    (1.4, 103.8, 4_500),
    (-23.5, -46.6, 2_500),
];

/// Where users are, and how many of a hundred.
const CITIES: [(f64, f64, usize); 12] = [
    (51.5, -0.1, 12),
    (52.5, 13.4, 10),
    (40.4, -3.7, 8),
    (40.7, -74.0, 12),
    (33.7, -84.4, 6),
    (34.1, -118.2, 10),
    (47.6, -122.3, 5),
    (19.4, -99.1, 5),
    (-34.6, -58.4, 8),
    (35.7, 139.7, 10),
    (19.1, 72.9, 9),
    (-33.9, 151.2, 5),
];

/// What happens in step [`EVENT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Nothing,
    /// Region 1 takes 150 ms longer.
    Slow,
    /// Region 1 is down.
    Down,
    /// Region 1 has a third of its capacity, and everybody knows.
    Small,
}

/// How users choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// The nearest region that is up.
    Nearest,
    /// The region that is up with the lowest latency, as measured last.
    Fastest,
    /// [`rank`] with [`admission`].
    Ours,
}

/// What came of it, from step [`EVENT`] on.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) latencies_ms: Vec<f64>,
    /// How often users changed their region, for a hundred users.
    pub(super) moves: f64,
    /// Requests beyond the capacity of their region, of a hundred.
    pub(super) beyond: f64,
}

impl Outcome {
    pub(super) fn quantile_ms(&mut self, permille: usize) -> f64 {
        quantile(&mut self.latencies_ms, permille)
    }
}

struct World {
    event: Event,
    plan: Plan,
    observed: Observed,
    users: Vec<User>,
    /// Round trips without waiting, by user and region.
    ways_ms: Vec<[f64; 5]>,
    /// What the regions take, as it was in the last step.
    serve_ms: [f64; 5],
    random: Random,
}

impl World {
    fn new(event: Event) -> Self {
        let mut random = Random::new(11);
        let at = |lat, lon| Place::new(lat, lon).unwrap();
        let regions = (1..)
            .zip(REGIONS)
            .map(|(id, (lat, lon, capacity))| Region { place: Some(at(lat, lon)), ..region(id, capacity) });
        let plan = plan(regions);
        let (mut users, mut ways_ms) = (Vec::new(), Vec::new());
        for (lat, lon, percent) in CITIES {
            for _ in 0..USERS * percent / 100 {
                let place = at(lat + random.fraction() * 6.0 - 3.0, lon + random.fraction() * 6.0 - 3.0);
                // A way is 0.6 to 1.6 times what the distance lets expect: some are straight, some go round.
                let mut way = |region: &Region| {
                    let expected = f64::from(region.place.unwrap().rtt_ms_to(&place));
                    2.0 + expected * (0.6 + random.fraction())
                };
                let ways: Vec<f64> = plan.regions().iter().map(&mut way).collect();
                ways_ms.push(ways.try_into().unwrap());
                users.push(User { key: format!("u{}", users.len()), place: Some(place), ..User::default() });
            }
        }
        let (observed, serve_ms) = (Observed::default(), [SERVICE_MS; 5]);
        Self { event, plan, observed, users, ways_ms, serve_ms, random }
    }

    fn happen(&mut self) {
        let id = RegionId(1);
        match self.event {
            Event::Nothing | Event::Slow => {}
            Event::Down => self.observed.tell(id, false, NOW_MS),
            Event::Small => {
                self.plan = self.plan.with(id, |region| region.capacity_per_s /= 3).unwrap();
            }
        }
    }

    /// Each user measures a round trip to each region, 8 % off or less.
    fn measure(&mut self) {
        for (user, ways_ms) in self.users.iter_mut().zip(&self.ways_ms) {
            for ((id, way_ms), serve_ms) in (1..).map(RegionId).zip(ways_ms).zip(self.serve_ms) {
                let noise = 0.92 + self.random.fraction() * 0.16;
                let rtt_ms = ((way_ms + serve_ms) * noise).round() as u32;
                user.measured.insert(id, Measured { rtt_ms, at_ms: NOW_MS });
            }
        }
    }

    fn admit(&mut self, options: &Options) {
        let rate_milli_per_s = (LOAD_PER_S * 1_000.0 / self.users.len() as f64) as u64;
        let sample: Vec<Sampled> =
            self.users.iter().map(|user| Sampled { user: user.clone(), rate_milli_per_s }).collect();
        let present = Present { observed: &self.observed, sample: &sample, options, now_ms: NOW_MS };
        self.observed.admission = admission(&self.plan, &present).unwrap().admission;
    }

    fn choose(&self, policy: Policy, user: &User, options: &Options) -> RegionId {
        let up = || self.plan.regions().iter().filter(|region| self.observed.is_up(region.id));
        let by = |cost: &dyn Fn(&Region) -> u32| up().min_by_key(|region| cost(region)).unwrap().id;
        match policy {
            Policy::Nearest => by(&|region| user.place.unwrap().km_to(&region.place.unwrap()) as u32),
            Policy::Fastest => by(&|region| user.measured[&region.id].rtt_ms),
            Policy::Ours => rank(&self.plan, &self.observed, user, options, NOW_MS).regions[0].region,
        }
    }
}

/// Lets users choose, step by step.
pub(super) fn run(event: Event, policy: Policy) -> Outcome {
    let options = Options::default();
    let mut world = World::new(event);
    let (mut outcome, mut requests, mut beyond) = (Outcome::default(), 0.0, 0.0);
    for step in 0..STEPS {
        if step == EVENT {
            world.happen();
        }
        world.measure();
        if policy == Policy::Ours {
            world.admit(&options);
        }
        let choices: Vec<_> = world.users.iter().map(|user| world.choose(policy, user, &options)).collect();
        let count = choices.len() as f64;
        let moved = world.users.iter().zip(&choices).filter(|(user, to)| user.current != Some(**to));
        let moves = 100.0 * moved.count() as f64 / count;
        world.users.iter_mut().zip(&choices).for_each(|(user, to)| user.current = Some(*to));
        let mut loads: BTreeMap<RegionId, f64> = BTreeMap::new();
        choices.iter().for_each(|to| *loads.entry(*to).or_default() += LOAD_PER_S / count);
        for (place, region) in world.plan.regions().iter().enumerate() {
            let (load, capacity) =
                (loads.get(&region.id).copied().unwrap_or_default(), f64::from(region.capacity_per_s));
            // Like one server with a queue; what is beyond the capacity is refused at once.
            world.serve_ms[place] = SERVICE_MS / (1.0 - (load / capacity).min(0.98));
            let is_slow = event == Event::Slow && region.id == RegionId(1) && step >= EVENT;
            world.serve_ms[place] += if is_slow { SLOW_MS } else { 0.0 };
            if step >= EVENT {
                requests += load;
                beyond += (load - capacity).max(0.0);
            }
        }
        if step >= EVENT {
            outcome.moves += moves;
            let latency = |(to, ways_ms): (&RegionId, &[f64; 5])| {
                let place = usize::from(to.0) - 1;
                ways_ms[place] + world.serve_ms[place]
            };
            outcome.latencies_ms.extend(choices.iter().zip(&world.ways_ms).map(latency));
        }
    }
    outcome.beyond = 100.0 * beyond / requests;
    outcome
}
