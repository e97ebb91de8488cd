//! What may come back, and what never does.

use super::*;

/// The field of the class `unique`.
const FIELD: u16 = 6;
/// The region that says what may come back.
const HOME: usize = 0;

/// How a world says that a value does not come back.
type Rule = fn(&Subject<i64>, i64) -> bool;

fn sets(change: &Change<i64>, value: i64) -> bool {
    matches!(&change.kind, Kind::Put(ops) if ops.contains(&(FIELD, FieldOp::Set(value))))
}

/// How many changes there are that say this value, and how many of them the home has.
fn said(world: &World, value: i64) -> (usize, usize) {
    let has = world.regions[HOME].changes.iter().filter(|change| sets(change, value)).count();
    (world.all().iter().filter(|change| sets(change, value)).count(), has)
}

/// Plays steps. Once the home has all changes that say a value, and the rule says that it does not come back, the home and all regions in the end do
/// not show it, unless another change says it.
fn gone_is_gone(steps: &[Step], rule: Rule) -> TestCaseResult {
    let mut world = World::new();
    // Values that are gone, with the number of changes that had said them then.
    let mut gone: BTreeMap<i64, usize> = BTreeMap::new();
    for step in steps {
        world.step(step);
        for value in -7..8i64 {
            let (all, here) = said(&world, value);
            gone.retain(|other, count| *other != value || *count == all);
            let home = &world.regions[HOME].subject;
            if all > 0 && all == here && !rule(home, value) {
                gone.insert(value, all);
            }
            prop_assert!(!gone.contains_key(&value) || home.value(FIELD) != Value::One(&value));
        }
    }
    world.settle();
    for region in &world.regions {
        for value in gone.keys() {
            prop_assert_ne!(region.subject.value(FIELD), Value::One(value));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn reg_1_a_value_that_may_not_show_does_not_come_back(steps in steps(&[FIELD as u8], 120)) {
        gone_is_gone(&steps, |subject, value| subject.may_show(FIELD, &value))?;
    }

    #[test]
    fn what_is_shown_may_show(steps in steps(&[FIELD as u8], 120)) {
        for region in &World::played(&steps).regions {
            if let Value::One(value) = region.subject.value(FIELD) {
                prop_assert!(region.subject.may_show(FIELD, value));
            }
        }
    }
}

#[test]
fn to_look_only_at_what_is_shown_is_noticed() {
    let shown: Rule = |subject, value| subject.value(FIELD) == Value::One(&value);
    let found = runner(2_000).run(&steps(&[FIELD as u8], 120), |steps| gone_is_gone(&steps, shown));
    assert!(found.is_err(), "the test above would not notice");
}

#[test]
fn a_value_is_free_as_soon_as_a_change_that_had_seen_it_says_another_one() {
    let put = |context, value| Change { context, kind: Kind::Put(vec![(FIELD, FieldOp::Set(value))]) };
    let mut subject = Subject::new(classes());
    assert!(!subject.may_show(FIELD, &1));
    subject.apply(put(context(1, 10, &[]), 1));
    // Region 2 had not seen it: a delete that had seen only this change would bring it back.
    subject.apply(put(context(2, 20, &[]), 2));
    assert!(subject.may_show(FIELD, &1) && subject.may_show(FIELD, &2));
    subject.apply(put(context(0, 30, &[(1, 10)]), 3));
    assert!(!subject.may_show(FIELD, &1), "it was seen, and there is another one");
    assert!(subject.may_show(FIELD, &2), "it was not seen");
    subject.apply(Change { context: context(0, 40, &[(1, 10), (2, 20)]), kind: Kind::Delete });
    assert!([1, 2, 3].iter().all(|value| !subject.may_show(FIELD, value)));
}
