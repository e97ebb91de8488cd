//! Samples that are made of what regions serve.

use super::*;
use crate::routing::sample as sample_of;
use crate::sim::config;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Frankfurt, Virginia and Singapore.
fn world(capacities: [u32; 3]) -> Plan {
    let places = [(50.1, 8.7), (38.9, -77.4), (1.3, 103.8)];
    let of = |((id, capacity), (lat, lon)): ((u16, u32), (f64, f64))| Region {
        place: Place::new(lat, lon).ok(),
        ..region(id, capacity)
    };
    plan((1..).zip(capacities).zip(places).map(of))
}

fn loads(per_s: [u64; 3]) -> BTreeMap<RegionId, u64> {
    (1..).map(RegionId).zip(per_s.map(|load| load * 1_000)).collect()
}

/// The sample of loads, by what is known now.
fn made(plan: &Plan, observed: &Observed, per_s: [u64; 3]) -> Vec<Sampled> {
    sample_of(plan, observed, &loads(per_s), &Options::default(), NOW_MS)
}

fn present<'a>(observed: &'a Observed, sample: &'a [Sampled], options: &'a Options) -> Present<'a> {
    Present { observed, sample, options, now_ms: NOW_MS }
}

/// What comes to each region when users go where they are sent, in whole requests a second.
fn come(plan: &Plan, observed: &Observed, sample: &[Sampled]) -> [u64; 3] {
    let mut come = [0; 3];
    for one in sample {
        come[usize::from(first(plan, observed, &one.user)) - 1] += one.rate_milli_per_s;
    }
    come.map(|milli| (milli + 500) / 1_000)
}

#[test]
fn a_step_is_refused_by_what_regions_serve_and_says_what_fits() {
    let (plan, observed, options) = (world([1_000, 500, 500]), Observed::default(), Options::default());
    let sample = made(&plan, &observed, [800, 300, 100]);
    let present = present(&observed, &sample, &options);
    let half = shift(&plan, RegionId(1), RegionId(2), 500, &present).unwrap_err();
    let Error::RouteFull { region: RegionId(2), wanted_per_s, limit_per_s: 400, fits_permille } = half else {
        panic!("{half:?}")
    };
    assert!(wanted_per_s.abs_diff(700) < 40 && fits_permille.abs_diff(125) < 30, "{half:?}");
    let next = shift(&plan, RegionId(1), RegionId(2), fits_permille, &present).unwrap();
    // Once the users have moved, the same load is found at its new places, and means the same users.
    let moved = come(&next, &observed, &sample);
    let again = made(&next, &observed, moved);
    assert_eq!(come(&next, &observed, &again), moved);
    let back = come(&plan, &observed, &again);
    assert!(back.iter().zip([800, 300, 100]).all(|(one, other)| one.abs_diff(other) < 25), "{back:?}");
}

#[test]
fn users_of_a_drained_region_are_found_where_they_went() {
    let (plan, observed, options) = (world([1_000, 900, 900]), Observed::default(), Options::default());
    let sample = made(&plan, &observed, [400, 300, 100]);
    let drained = drain(&plan, RegionId(1), 1_000, &present(&observed, &sample, &options)).unwrap();
    // Virginia is next to Frankfurt.
    let moved = come(&drained, &observed, &sample);
    assert_eq!(moved, [0, 700, 100]);
    let after = made(&drained, &observed, moved);
    assert_eq!(come(&drained, &observed, &after), moved);
    let back = weigh(&drained, RegionId(1), 1_000, &present(&observed, &after, &options)).unwrap();
    assert!(come(&back, &observed, &after)[0] > 100, "some of what Virginia serves comes back");
}

#[test]
fn what_is_served_where_nobody_is_sent_stands_for_users_there() {
    let (plan, observed, options) = (world([1_000, 500, 900]), Observed::default(), Options::default());
    let drained =
        drain(&plan, RegionId(1), 1_000, &present(&observed, &[], &options)).expect("nothing is served");
    let sample = made(&drained, &observed, [390, 0, 0]);
    assert_eq!(come(&drained, &observed, &sample), [0, 390, 0], "they are on their way");
    assert!(made(&drained, &observed, [0, 0, 0]).is_empty());
}

proptest! {
    #![proptest_config(config(32))]

    #[test]
    fn a_sample_comes_to_what_the_regions_serve(
        per_s in [0..5_000u64, 0..5_000u64, 0..5_000u64], weight in 0..=1_000u32, place in any::<bool>(), down in any::<bool>(),
    ) {
        let mut regions = world([900, 800, 700]).regions().to_vec();
        regions[1].weight = weight;
        if !place {
            regions[2].place = None;
        }
        let plan = plan(regions);
        let mut observed = Observed::default();
        observed.tell(RegionId(3), !down, NOW_MS);
        let sample = made(&plan, &observed, per_s);
        prop_assert!(sample.len() <= SAMPLE_MAX);
        let total: u64 = sample.iter().map(|one| one.rate_milli_per_s).sum();
        let (wanted, got) = (per_s, come(&plan, &observed, &sample));
        prop_assert!(total.abs_diff(per_s.iter().sum::<u64>() * 1_000) <= sample.len() as u64, "{got:?} for {wanted:?}");
        // Where some users go, it is what is served there, and what comes from where nobody is sent.
        for (got, wanted) in got.iter().zip(wanted) {
            prop_assert!(*got == 0 || *got + 2 >= wanted, "{got:?} for {wanted:?}");
        }
    }
}
