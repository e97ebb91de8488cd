//! Shifts, drains and weights by example.

use super::*;

/// Users in two parts of the world, 1,000 requests/s each: 1 is next to half of them, 2 to the other half, 3 is the second
/// choice of all.
struct Scene {
    plan: Plan,
    users: Vec<User>,
    sample: Vec<Sampled>,
    observed: Observed,
    options: Options,
}

impl Scene {
    fn new(capacities_per_s: [u32; 3]) -> Self {
        let regions = (1..).zip(capacities_per_s).map(|(id, capacity)| region(id, capacity));
        let rtts_ms = |number: usize| if number.is_multiple_of(2) { [10, 90, 50] } else { [90, 10, 50] };
        let users: Vec<User> = (0..4_000).map(|number| user(number, &rtts_ms(number))).collect();
        let sample = sample(&users, 2_000);
        let options = Options::default();
        Self { plan: plan(regions), users, sample, observed: Observed::default(), options }
    }

    fn present(&self) -> Present<'_> {
        let Self { observed, sample, options, .. } = self;
        Present { observed, sample, options, now_ms: NOW_MS }
    }

    fn counts(&self, plan: &Plan) -> Vec<usize> {
        counts(plan, &self.observed, &self.users)
    }

    fn shift(&self, from: u16, to: u16, permille: u32) -> Result<Plan, Error> {
        shift(&self.plan, RegionId(from), RegionId(to), permille, &self.present())
    }
}

#[test]
fn a_shift_of_a_tenth_moves_a_tenth_to_its_target_and_nobody_else() {
    let scene = Scene::new([5_000; 3]);
    let next = scene.shift(1, 2, 100).unwrap();
    assert_eq!((next.generation(), next.parent()), (2, 1));
    let moved: Vec<_> = scene
        .users
        .iter()
        .map(|user| (first(&scene.plan, &scene.observed, user), first(&next, &scene.observed, user)))
        .filter(|(before, after)| before != after)
        .collect();
    // Region 2 is the last choice of those who move: without the shift they would have gone on to region 3.
    assert!(moved.iter().all(|one| *one == (1, 2)));
    assert!(moved.len().abs_diff(200) < 40, "{}", moved.len());
}

#[test]
fn steps_add_up_and_come_back_in_reverse() {
    let mut scene = Scene::new([5_000; 3]);
    let homes = |plan: &Plan| -> Vec<u16> {
        scene.users.iter().map(|user| first(plan, &scene.observed, user)).collect()
    };
    let start = homes(&scene.plan);
    let to_2 = scene.shift(1, 2, 300).unwrap();
    let at_2 = homes(&to_2);
    let present = scene.present();
    let to_3 = shift(&to_2, RegionId(1), RegionId(3), 300, &present).unwrap();
    let back = weigh(&to_3, RegionId(1), 700, &present).unwrap();
    assert_eq!((homes(&back), back.regions()), (at_2.clone(), to_2.regions()));
    assert_eq!(homes(&weigh(&back, RegionId(1), 1_000, &present).unwrap()), start);
    let moved = at_2.iter().zip(homes(&to_3)).filter(|(before, after)| **before != *after);
    assert!(moved.clone().all(|(before, after)| (*before, after) == (1, 3)));
    assert!(moved.count().abs_diff(600) < 60);
    // Users that are where they were are moved by a weight all the same.
    scene.users.iter_mut().for_each(|user| user.current = Some(RegionId(1)));
    assert!(scene.counts(&to_3)[0].abs_diff(800) < 80);
}

#[test]
fn a_shift_after_a_drain_moves_users_that_were_kept_and_none_that_went_on() {
    let scene = Scene::new([5_000; 3]);
    let present = scene.present();
    let drained = drain(&scene.plan, RegionId(1), 300, &present).unwrap();
    let next = shift(&drained, RegionId(1), RegionId(2), 100, &present).unwrap();
    let moved = |before: &Plan, after: &Plan| {
        let homes = scene
            .users
            .iter()
            .map(|user| (first(before, &scene.observed, user), first(after, &scene.observed, user)));
        homes.filter(|(before, after)| before != after).collect::<Vec<_>>()
    };
    let shifted = moved(&drained, &next);
    assert!(shifted.iter().all(|one| *one == (1, 2)) && shifted.len().abs_diff(200) < 40);
    // Half a part comes back: of the last one.
    let back = weigh(&next, RegionId(1), 650, &present).unwrap();
    let part = |to, permille| Given { to, permille };
    let given = &back.region(RegionId(1)).unwrap().given;
    assert_eq!(*given, [part(None, 300), part(Some(RegionId(2)), 50)]);
    let came = moved(&next, &back);
    assert!(came.iter().all(|one| *one == (2, 1)) && came.len().abs_diff(100) < 30);
    let start = weigh(&back, RegionId(1), 1_000, &present).unwrap();
    assert_eq!(start.regions(), scene.plan.regions());
}

#[test]
fn a_target_without_room_is_refused_with_the_step_that_fits() {
    let scene = Scene::new([5_000, 1_500, 5_000]);
    let refused = scene.shift(1, 2, 500).unwrap_err();
    let Error::RouteFull { region, wanted_per_s, limit_per_s: 1_200, fits_permille } = refused else {
        panic!("{refused}");
    };
    assert!(region == RegionId(2) && wanted_per_s.abs_diff(1_500) < 40, "{refused}");
    assert!(fits_permille.abs_diff(200) < 30, "{refused}");
    let text = format!(
        "region `2` would get {wanted_per_s} requests/s and may get 1200: move {fits_permille} thousandths at most, or raise its capacity"
    );
    assert_eq!(refused.to_string(), text);
    let next = scene.shift(1, 2, fits_permille).unwrap();
    assert!(scene.counts(&next)[1] <= 2_400);
    assert!(scene.shift(1, 2, fits_permille + 1).is_err());
}

#[test]
fn a_target_that_can_take_nothing_is_refused() {
    let mut scene = Scene::new([5_000; 3]);
    scene.observed.tell(RegionId(2), false, NOW_MS);
    let text = "region `2` can take no load, it looks down: choose another one";
    assert_eq!(scene.shift(1, 2, 10).unwrap_err().to_string(), text);
    let present = scene.present();
    scene.plan = drain(&scene.plan, RegionId(3), 1_000, &present).unwrap();
    let text = "region `3` can take no load, it is drained: choose another one";
    assert_eq!(scene.shift(1, 3, 10).unwrap_err().to_string(), text);
    assert_eq!(scene.shift(1, 7, 10), Err(Error::RouteUnknown { region: RegionId(7) }));
    assert_eq!(scene.shift(7, 1, 10), Err(Error::RouteUnknown { region: RegionId(7) }));
    assert!(matches!(scene.shift(2, 2, 10), Err(Error::RouteTarget { .. })));
    assert!(matches!(scene.shift(1, 1, 10), Err(Error::RouteRegion { .. })));
    let text =
        "a step of `1001` thousandths is outside 1 to 1000, the weight that can be moved: ask for less";
    assert_eq!(scene.shift(2, 1, 1_001).unwrap_err().to_string(), text);
    assert_eq!(scene.shift(2, 1, 0), Err(Error::RouteStep { permille: 0, max: 1_000 }));
}

#[test]
fn a_drain_spreads_over_several_and_is_refused_when_they_have_no_room() {
    // Region 3 is next for all users of 1, and takes 600 of them; the others go on to 2.
    let mut scene = Scene::new([5_000, 2_000, 750]);
    let next = drain(&scene.plan, RegionId(1), 1_000, &scene.present()).unwrap();
    assert!(next.region(RegionId(1)).unwrap().drained);
    let admitted = admission(&next, &scene.present()).unwrap();
    scene.observed.admission = admitted.admission;
    let counts = scene.counts(&next);
    assert!(counts[0] == 0 && counts[2] <= 1_350 && counts[1] <= 3_600, "{counts:?}");

    let scene = Scene::new([5_000, 1_500, 500]);
    let refused = drain(&scene.plan, RegionId(1), 1_000, &scene.present()).unwrap_err();
    let Error::RouteBeyond { beyond_per_s, fits_permille } = refused else { panic!("{refused}") };
    // 2 and 3 may get 1,600 together, of which 1,000 are region 2's already.
    assert!(beyond_per_s.abs_diff(400) <= 2 && fits_permille.abs_diff(600) < 40, "{refused}");
    let half = drain(&scene.plan, RegionId(1), fits_permille, &scene.present()).unwrap();
    assert!(!half.region(RegionId(1)).unwrap().drained);
    let last = plan([region(1, 10)]);
    assert_eq!(drain(&last, RegionId(1), 1_000, &scene.present()), Err(Error::RouteEmpty));
}

#[test]
fn a_region_without_weight_is_not_drained_while_others_need_it() {
    let mut scene = Scene::new([1_000, 2_000, 500]);
    scene.plan = plan([region(1, 1_000), Region { weight: 0, ..region(2, 2_000) }, region(3, 500)]);
    // 1 and 3 may get 1,200 of the 2,000; the others fall back to 2.
    let refused = drain(&scene.plan, RegionId(2), 1, &scene.present()).unwrap_err();
    assert_eq!(refused, Error::RouteBeyond { beyond_per_s: 800, fits_permille: 0 });
    scene.sample = sample(&scene.users, 1_000);
    drain(&scene.plan, RegionId(2), 1, &scene.present()).unwrap();
}

#[test]
fn a_weight_is_raised_only_as_far_as_the_region_has_room() {
    let mut scene = Scene::new([5_000, 5_000, 5_000]);
    let new = Region { weight: 0, ..region(3, 500) };
    scene.plan = plan([region(1, 5_000), region(2, 5_000), new]);
    scene.users.iter_mut().for_each(|user| {
        user.measured.insert(RegionId(3), Measured { rtt_ms: 1, at_ms: NOW_MS });
    });
    scene.sample = sample(&scene.users, 2_000);
    let raised = weigh(&scene.plan, RegionId(3), 100, &scene.present()).unwrap();
    assert!(scene.counts(&raised)[2].abs_diff(400) < 60);
    let refused = weigh(&raised, RegionId(3), 1_000, &scene.present()).unwrap_err();
    let Error::RouteFull { limit_per_s: 400, fits_permille, .. } = refused else { panic!("{refused}") };
    assert!(fits_permille.abs_diff(100) < 20, "{refused}");
    assert!(weigh(&raised, RegionId(3), 100, &scene.present()).is_err(), "that is no step");
    let mut down = scene.observed.clone();
    down.tell(RegionId(3), false, NOW_MS);
    let present = Present { observed: &down, ..scene.present() };
    let text = "region `3` can take no load, it looks down: choose another one";
    assert_eq!(weigh(&raised, RegionId(3), 101, &present).unwrap_err().to_string(), text);
    assert_eq!(weigh(&raised, RegionId(3), 50, &present).unwrap().region(RegionId(3)).unwrap().weight, 50);
    let drained = drain(&raised, RegionId(3), 1_000, &scene.present()).unwrap();
    let again = weigh(&drained, RegionId(3), 100, &scene.present()).unwrap();
    assert_eq!(again.regions(), raised.regions());
}

#[test]
fn the_headroom_report_says_which_region_may_be_lost() {
    let mut scene = Scene::new([2_000, 1_500, 800]);
    let losses = headroom(&scene.plan, &scene.present()).unwrap();
    let beyond: Vec<_> = losses.iter().map(|loss| (loss.lost.0, loss.beyond_milli_per_s)).collect();
    // 2,070 are left without region 1, 2,520 without 2, 3,150 without 3; each sampled user is half a request a second.
    assert_eq!(beyond, [(1, 0), (2, 0), (3, 0)]);
    let of_1 = &losses[0].fills;
    assert!(of_1.iter().all(|fill| fill.held_milli_per_s <= fill.limit_milli_per_s));
    assert_eq!(of_1.iter().map(|fill| fill.held_milli_per_s).sum::<u64>(), 2_000_000);

    scene.observed.tell(RegionId(3), false, NOW_MS);
    let losses = headroom(&scene.plan, &scene.present()).unwrap();
    let beyond: Vec<_> = losses.iter().map(|loss| loss.beyond_milli_per_s).collect();
    assert_eq!(beyond, [650_000, 200_000, 0]);
    scene.observed.tell(RegionId(2), false, NOW_MS);
    let losses = headroom(&scene.plan, &scene.present()).unwrap();
    assert_eq!((losses[0].beyond_milli_per_s, losses[0].fills.len()), (2_000_000, 0));
}
