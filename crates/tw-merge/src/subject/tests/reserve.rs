//! The quantity of a `reserve` is never negative, in the view of any region, at any moment.

use super::*;
use proptest::test_runner::TestError;

/// Produce, consume and transfer, with deletes, restarts and cursors that are stored late: after each step nobody sees a negative
/// quantity, nor negative rights of anybody. Each region does only what it may by what it sees.
fn stays_above_zero(steps: &[Step], broken: Option<Broken>) -> TestCaseResult {
    let mut world = World::new();
    world.broken = broken;
    for step in steps {
        world.step(step);
        check(&world)?;
    }
    world.exchange();
    check(&world)
}

fn check(world: &World) -> TestCaseResult {
    for region in &world.regions {
        let reserve = region.subject.reserve(5).expect("the field is a reserve");
        prop_assert!(reserve.value() >= 0 && reserve.iter().all(|(_, rights)| rights > 0), "{reserve:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(3_000))]

    #[test]
    fn a_reserve_is_never_negative_in_any_region(steps in steps(&[5], 120)) {
        stays_above_zero(&steps, None)?;
    }
}

/// A broken rule is found within so many cases.
fn noticed(broken: Broken) {
    let found = runner(3_000).run(&steps(&[5], 120), |steps| stays_above_zero(&steps, Some(broken)));
    assert!(matches!(found, Err(TestError::Fail(..))), "the test above would not notice {broken:?}");
}

#[test]
fn a_region_that_spends_what_it_gave_away_makes_a_reserve_negative() {
    noticed(Broken::SpendsTransfers);
}

#[test]
fn a_region_that_spends_what_it_does_not_say_it_has_seen_makes_a_reserve_negative() {
    noticed(Broken::SpendsUnseen);
}

#[test]
fn a_delete_of_rights_that_others_have_makes_a_reserve_negative() {
    noticed(Broken::DeletesRights);
}
