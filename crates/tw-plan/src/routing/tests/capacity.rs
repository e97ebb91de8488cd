//! Capacities, for all loads: what is admitted, what is shifted, and that the market computes what users then do.

use super::*;
use crate::sim::config;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Capacities of regions, and users with their latencies, where some ask for fresh data.
#[derive(Debug, Clone)]
struct Load {
    plan: Plan,
    sample: Vec<Sampled>,
    down: Option<u16>,
}

fn load() -> impl Strategy<Value = Load> {
    let regions = prop::collection::vec((50..1_000u32, 0..=1_000u32, any::<bool>()), 2..6);
    let down = prop::option::weighted(0.3, 1..6u16);
    let kinds = prop::collection::vec((prop::collection::vec(0..200u32, 5), any::<bool>()), 1..5);
    (regions, kinds, 300..600usize, 1..3_000u64, down).prop_map(
        |(regions, kinds, count, load_per_s, down)| {
            let make = |(id, (capacity, weight, full)): (u16, (u32, u32, bool))| {
                let weight = if full || id == 1 { 1_000 } else { weight };
                let given = Given { to: Some(RegionId(1)), permille: (1_000 - weight) / 2 };
                let given = (given.permille > 0).then_some(given).into_iter().collect();
                Region { weight, given, ..region(id, capacity) }
            };
            let users = (0..count).map(|number| {
                let (rtts_ms, fresh) = &kinds[number % kinds.len()];
                let lag_ms = (1u16..=5).map(|id| (RegionId(id), u32::from(id) * 100)).collect();
                User { lag_ms, lag_ms_max: fresh.then_some(250), ..user(number, rtts_ms) }
            });
            let users: Vec<User> = users.collect();
            let plan = plan((1..).zip(regions).map(make));
            Load { plan, sample: sample(&users, load_per_s), down }
        },
    )
}

impl Load {
    fn observed(&self) -> Observed {
        let mut observed = Observed::default();
        self.down.iter().for_each(|id| observed.tell(RegionId(*id), false, NOW_MS));
        observed
    }

    /// What the regions get when every sampled user goes where its ranking says; and the part of it that gave up room.
    fn live(&self, plan: &Plan, observed: &Observed) -> (BTreeMap<RegionId, u64>, u64) {
        let (mut got, mut beyond) = (BTreeMap::new(), 0);
        for one in &self.sample {
            let ranking = rank(plan, observed, &one.user, &Options::default(), NOW_MS);
            if matches!(ranking.gave_up, Some(GaveUp::Room | GaveUp::Both)) {
                beyond += one.rate_milli_per_s;
            } else {
                *got.entry(ranking.regions[0].region).or_default() += one.rate_milli_per_s;
            }
        }
        (got, beyond)
    }

    /// What the regions that are up may get, less what each may leave free.
    fn room(&self, permille: u32) -> u64 {
        let up = self.plan.regions().iter().filter(|region| Some(region.id.0) != self.down);
        let limit = |region: &Region| u64::from(region.capacity_per_s) * u64::from(permille);
        up.map(|region| limit(region).saturating_sub(self.sample[0].rate_milli_per_s)).sum()
    }

    fn total(&self) -> u64 {
        self.sample.iter().map(|one| one.rate_milli_per_s).sum()
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn no_region_gets_more_than_it_may_while_capacities_suffice_and_users_do_what_was_computed(load in load()) {
        let options = Options::default();
        let mut observed = load.observed();
        let present = Present { observed: &observed, sample: &load.sample, options: &options, now_ms: NOW_MS };
        let admitted = admission(&load.plan, &present).unwrap();
        if load.total() <= load.room(1_000) {
            prop_assert_eq!(admitted.beyond_milli_per_s, 0);
        }
        let permille = if load.total() <= load.room(900) { 900 } else { 1_000 };
        observed.admission = admitted.admission.clone();
        let (got, beyond) = load.live(&load.plan, &observed);
        prop_assert_eq!(beyond, admitted.beyond_milli_per_s);
        for fill in &admitted.fills {
            let got = got.get(&fill.region).copied().unwrap_or_default();
            prop_assert_eq!(got, fill.held_milli_per_s, "region {}", fill.region);
            let capacity = load.plan.region(fill.region).unwrap().capacity_per_s;
            prop_assert!(got <= u64::from(capacity) * permille, "region {}", fill.region);
        }
        // The control: with everybody admitted, whoever is wanted by more than it may get gets all that.
        let (got, _) = load.live(&load.plan, &load.observed());
        for fill in &admitted.fills {
            prop_assert_eq!(got.get(&fill.region).copied().unwrap_or_default(), fill.wanted_milli_per_s);
        }
    }

    /// The cutoffs of an unchanged load are the same, and those of one that falls a little leave nobody without a place.
    #[test]
    fn an_admission_in_force_is_kept_while_it_is_nearly_right(load in load(), less in 0..40u64) {
        let options = Options::default();
        let mut observed = load.observed();
        let admit = |observed: &Observed, sample: &[Sampled]| {
            let present = Present { observed, sample, options: &options, now_ms: NOW_MS };
            admission(&load.plan, &present).unwrap()
        };
        let first = admit(&observed, &load.sample);
        observed.admission = first.admission.clone();
        prop_assert_eq!(&admit(&observed, &load.sample), &first);
        let mut lighter = load.sample.clone();
        lighter.iter_mut().for_each(|one| one.rate_milli_per_s -= one.rate_milli_per_s * less / 1_000);
        let second = admit(&observed, &lighter);
        prop_assert_eq!(second.beyond_milli_per_s.min(first.beyond_milli_per_s), second.beyond_milli_per_s);
        // Whatever is kept, nobody is without a place who would have one.
        let anew = admit(&load.observed(), &lighter);
        prop_assert_eq!(second.beyond_milli_per_s, anew.beyond_milli_per_s);
    }

}

proptest! {
    #![proptest_config(config(800))]

    #[test]
    fn a_step_that_is_made_leaves_every_region_below_its_limit(
        load in load(), from in 1..6u16, to in 1..6u16, permille in 1..=1_000u32, drains in any::<bool>(),
    ) {
        let (options, observed) = (Options::default(), load.observed());
        let present = Present { observed: &observed, sample: &load.sample, options: &options, now_ms: NOW_MS };
        let step = |permille| match drains {
            true => drain(&load.plan, RegionId(from), permille, &present),
            false => shift(&load.plan, RegionId(from), RegionId(to), permille, &present),
        };
        // What the regions get once what does not fit went on, if none may get more than the headroom leaves.
        let tight = Options { full_permille: 800, hold_permille: 0, ..Options::default() };
        let settled = |plan: &Plan| {
            let open = Present { options: &tight, ..present };
            let admission = admission(plan, &open).unwrap().admission;
            let mut observed = observed.clone();
            observed.admission = admission;
            load.live(plan, &observed)
        };
        let is_over = |plan: &Plan, (got, beyond): &(BTreeMap<RegionId, u64>, u64)| {
            let limit = |id: &RegionId| u64::from(plan.region(*id).unwrap().capacity_per_s) * 800;
            *beyond > 0 || got.iter().any(|(id, got)| *got > limit(id))
        };
        let wanted = |plan: &Plan| load.live(plan, &observed).0;
        match step(permille) {
            Ok(next) => {
                let limit = |id: u16| u64::from(next.region(RegionId(id)).unwrap().capacity_per_s) * 800;
                let (was, is) = (wanted(&load.plan), wanted(&next));
                let of = |got: &BTreeMap<_, u64>, id: u16| got.get(&RegionId(id)).copied().unwrap_or_default();
                prop_assert!(drains || of(&is, to) <= limit(to));
                if !is_over(&load.plan, &settled(&load.plan)) {
                    prop_assert!(!is_over(&next, &settled(&next)));
                }
                // Who is moved by a shift goes from the one to the other, unless that is out for the user.
                let away = load.down.is_some_and(|down| [from, to].contains(&down))
                    || load.sample.iter().any(|one| one.user.lag_ms_max.is_some());
                for region in load.plan.regions().iter().filter(|region| !drains && ![from, to].contains(&region.id.0)) {
                    let moved = of(&was, region.id.0).abs_diff(of(&is, region.id.0));
                    prop_assert!(moved == 0 || away, "{}", region.id);
                }
            }
            Err(Error::RouteFull { fits_permille, .. } | Error::RouteBeyond { fits_permille, .. }) => {
                prop_assert!(fits_permille < permille);
                prop_assert!(fits_permille == 0 || step(fits_permille).is_ok());
            }
            Err(Error::RouteTarget { region, .. }) => prop_assert_eq!(Some(region.0), load.down),
            Err(Error::RouteUnknown { region }) => prop_assert!(load.plan.region(region).is_none()),
            Err(Error::RouteRegion { .. }) => prop_assert_eq!(from, to),
            Err(Error::RouteStep { max, .. }) => prop_assert!(permille > max),
            Err(Error::RouteAllDown { up }) => prop_assert_eq!(up.0, from),
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }
}

#[test]
fn a_sample_that_is_too_large_is_refused() {
    let (plan, observed, options) = (plan([region(1, 10)]), Observed::default(), Options::default());
    let sample = sample(&users(SAMPLE_MAX + 1, &[]), 100_000);
    let present = Present { observed: &observed, sample: &sample, options: &options, now_ms: NOW_MS };
    let text = "20001 users of a sample are more than the 20000 that routing takes: leave some out";
    assert_eq!(admission(&plan, &present).unwrap_err().to_string(), text);
    assert_eq!(headroom(&plan, &present).unwrap_err().to_string(), text);
    let wrong = Options { hold_permille: 501, ..Options::default() };
    let present = Present { sample: &sample[..1], options: &wrong, ..present };
    assert!(matches!(drain(&plan, RegionId(1), 1, &present), Err(Error::Option { .. })));
}

/// Region 1 has room for half of the users; then the load falls by a hundredth, and by a tenth.
#[test]
fn cutoffs_that_turn_away_a_little_too_many_are_kept_until_the_region_is_no_longer_nearly_full() {
    let plan = plan([region(1, 1_000), region(2, 5_000)]);
    let users = users(2_000, &[10, 50]);
    let options = Options::default();
    let mut observed = Observed::default();
    let admit = |observed: &Observed, load_per_s: u64| {
        let sample = sample(&users, load_per_s);
        let present = Present { observed, sample: &sample, options: &options, now_ms: NOW_MS };
        admission(&plan, &present).unwrap().admission
    };
    observed.admission = admit(&observed, 1_800);
    let half = observed.admission.clone();
    assert!(half.permille(RegionId(1)).abs_diff(500) < 30 && half.permille(RegionId(2)) == 1_000);
    assert_eq!(admit(&observed, 1_782), half, "9 requests/s less are no reason to take users back");
    assert_ne!(admit(&Observed::default(), 1_782), half);
    let more = admit(&observed, 1_620);
    assert!(more.permille(RegionId(1)) > half.permille(RegionId(1)) + 40);
    // A load that rises is never kept waiting.
    assert!(admit(&observed, 2_000).permille(RegionId(1)) < half.permille(RegionId(1)));
    // A region that turns a few away is nearly full with 880 of the 900 that it may get, and no longer with 800.
    observed.admission = admit(&Observed::default(), 920);
    assert!((950..1_000).contains(&observed.admission.permille(RegionId(1))));
    assert_eq!(admit(&observed, 880), observed.admission);
    assert_eq!(admit(&observed, 800).permille(RegionId(1)), 1_000);
}
