//! Laws of all classes, over histories of regions that write and exchange at random.

mod examples;
mod reserve;
mod shows;

use super::*;
use crate::class::{Fold, Merge, ReserveOp};
use crate::testing::{
    Broken, Horner, Region, Step, World, classes, config, conflicts, context, runner, steps,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use std::collections::{BTreeMap, BTreeSet};

/// Every field, by its place in [`classes`].
const ALL: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7];

/// What a field is, as a value of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    One(Option<i64>),
    Number(i128),
    Elements(Vec<i64>),
}

fn shown(subject: &Subject<i64>) -> (bool, Vec<Shown>) {
    let field = |field| match subject.value(field) {
        Value::Absent => Shown::One(None),
        Value::One(value) => Shown::One(Some(*value)),
        Value::Number(number) => Shown::Number(number),
        Value::Elements(elements) => Shown::Elements(elements.into_iter().copied().collect()),
    };
    (subject.exists(), (0..8).map(field).collect())
}

/// A put and what it does.
type Put<'a> = (&'a Context, &'a [(u16, FieldOp<i64>)]);

/// What the definitions say that the fields are after these changes, written down anew: nothing is folded, kept or forgotten.
fn expected(changes: &[Change<i64>]) -> (bool, Vec<Shown>) {
    let deletes: Vec<_> = changes.iter().filter(|change| change.kind == Kind::Delete).collect();
    let mut alive: Vec<Put<'_>> = Vec::new();
    for change in changes {
        if let Kind::Put(ops) = &change.kind
            && !deletes.iter().any(|delete| delete.context.knew(&change.context.stamp))
        {
            alive.push((&change.context, ops));
        }
    }
    alive.sort_by_key(|(context, _)| context.stamp);
    let of = |field: u16| {
        let ops = alive.iter().flat_map(|(context, ops)| ops.iter().map(move |op| (*context, op)));
        ops.filter(move |(_, op)| op.0 == field).map(|(context, op)| (context, &op.1))
    };
    let value = |op: &FieldOp<i64>| match op {
        FieldOp::Set(v) | FieldOp::Offer(v) | FieldOp::Insert(v) | FieldOp::Remove(v) | FieldOp::Input(v) => {
            *v
        }
        FieldOp::Add(_) | FieldOp::Reserve(_) => unreachable!("fields of numbers are summed below"),
    };
    let mut elements = BTreeSet::new();
    for (put, op) in of(4).filter(|(_, op)| matches!(op, FieldOp::Insert(_))) {
        let out = |(take, other): (&Context, &FieldOp<i64>)| {
            *other == FieldOp::Remove(value(op)) && take.knew(&put.stamp)
        };
        if !of(4).any(out) {
            elements.insert(value(op));
        }
    }
    let sum = of(3).map(|(_, op)| if let FieldOp::Add(delta) = op { *delta } else { 0 }).sum();
    let stock = of(5).map(|(_, op)| match op {
        FieldOp::Reserve(ReserveOp::Produce(amount)) => i128::from(*amount),
        FieldOp::Reserve(ReserveOp::Consume(amount)) => -i128::from(*amount),
        _ => 0,
    });
    let horner = |before: Option<i64>, (context, op): (&Context, &FieldOp<i64>)| {
        Horner::new().fold(before.as_ref(), &value(op), &context.stamp)
    };
    let fields = vec![
        Shown::One(of(0).next_back().map(|(_, op)| value(op))),
        Shown::One(of(1).map(|(_, op)| value(op)).max()),
        Shown::One(of(2).map(|(_, op)| value(op)).min()),
        Shown::Number(sum),
        Shown::Elements(elements.into_iter().collect()),
        Shown::Number(stock.sum()),
        Shown::One(of(6).next_back().map(|(_, op)| value(op))),
        Shown::One(of(7).fold(None, horner)),
    ];
    (!alive.is_empty(), fields)
}

/// A state of these changes in this order; each outcome says what changed.
fn state(changes: &[Change<i64>]) -> Result<Subject<i64>, TestCaseError> {
    let mut subject = Subject::new(classes());
    for change in changes {
        let before = shown(&subject);
        let outcome = subject.apply(change.clone());
        let after = shown(&subject);
        let differ: Vec<u16> =
            (0u16..8).filter(|field| before.1[usize::from(*field)] != after.1[usize::from(*field)]).collect();
        prop_assert_eq!(outcome.changed, differ);
        prop_assert_eq!((outcome.existed, outcome.exists), (before.0, after.0));
    }
    Ok(subject)
}

/// The changes in an order that the numbers say.
fn shuffled(mut changes: Vec<Change<i64>>, by: &[u8]) -> Vec<Change<i64>> {
    for (at, number) in (0..changes.len()).zip(by.iter().cycle()) {
        let other = (at + usize::from(*number)) % changes.len();
        changes.swap(at, other);
    }
    changes
}

/// The same after it was stored.
fn stored(subject: &Subject<i64>) -> Subject<i64> {
    let bytes = postcard::to_stdvec(&subject.save()).unwrap();
    Subject::restore(classes(), postcard::from_bytes(&bytes).unwrap()).unwrap()
}

#[test]
fn what_was_stored_under_other_classes_is_refused() {
    let swapped: Arc<[Class<i64>]> = [Class::Max, Class::Max].into();
    let saved = Subject::new([Class::Max, Class::Min].into()).save();
    assert_eq!(Subject::restore(swapped, saved).unwrap_err(), Misfit { field: 1, class: Merge::Max });
}

/// After each step each region shows what its changes say, whatever it has forgotten.
fn shows_what_it_received(steps: &[Step], broken: Option<Broken>) -> TestCaseResult {
    let mut world = World::new();
    world.broken = broken;
    for step in steps {
        world.step(step);
        for region in &world.regions {
            prop_assert_eq!(shown(&region.subject), expected(&region.changes));
            prop_assert_eq!(&stored(&region.subject), &region.subject);
        }
    }
    world.exchange();
    let all = world.all();
    for region in &world.regions {
        prop_assert_eq!(shown(&region.subject), expected(&all));
    }
    Ok(())
}

/// One state of a set of changes, whatever order they come in, and however often.
fn order_does_not_matter(steps: &[Step], by: &[u8]) -> TestCaseResult {
    let all = World::played(steps).all();
    let in_order = state(&all)?;
    prop_assert_eq!(shown(&in_order), expected(&all));
    let mut twice = all.clone();
    twice.extend(all.iter().rev().step_by(2).cloned());
    let out_of_order = state(&shuffled(twice, by))?;
    prop_assert_eq!(&out_of_order, &in_order);
    let mut again = out_of_order;
    for change in all {
        let outcome = again.apply(change);
        prop_assert!(outcome.duplicate && outcome.changed.is_empty() && outcome.conflicts.is_empty());
    }
    prop_assert_eq!(again, in_order);
    Ok(())
}

fn joined(a: &Subject<i64>, b: &Subject<i64>) -> Subject<i64> {
    let mut joined = a.clone();
    joined.merge(b);
    joined
}

/// Joining is commutative, associative and idempotent, and joins the changes: for the states of three regions at any moment, which have forgotten
/// different changes.
fn joins_form_a_lattice(steps: &[Step]) -> TestCaseResult {
    let world = World::played(steps);
    let [a, b, c] = [0, 1, 2].map(|region: usize| &world.regions[region].subject);
    prop_assert_eq!(joined(a, b), joined(b, a));
    prop_assert_eq!(joined(&joined(a, b), c), joined(a, &joined(b, c)));
    prop_assert_eq!(&joined(a, a), a);
    prop_assert_eq!(joined(&joined(a, b), b), joined(a, b));
    let two = World::changes_of(&world.regions[..2]);
    prop_assert_eq!(shown(&joined(a, b)), expected(&two));
    prop_assert_eq!(shown(&joined(&joined(a, b), c)), expected(&world.all()));
    let mut merged = a.clone();
    let outcome = merged.merge(b);
    let (before, after) = (shown(a), shown(&merged));
    let differ = (0u16..8).filter(|field| before.1[usize::from(*field)] != after.1[usize::from(*field)]);
    prop_assert_eq!(outcome.changed, differ.collect::<Vec<_>>());
    let [first, second] = [0, 1].map(|region: usize| told(&world.regions[region]));
    let joins = outcome.conflicts.iter().map(|conflict| (conflict.field, conflict.winner, conflict.loser));
    let joins: BTreeSet<_> = joins.collect();
    prop_assert!(joins.is_disjoint(&first), "what was told is not told again");
    let together: BTreeSet<_> = first.union(&second).chain(&joins).copied().collect();
    prop_assert_eq!(together, conflicts(&two));
    Ok(())
}

macro_rules! laws {
    ($($class:ident: $fields:expr;)+) => {$(
        mod $class {
            use super::*;

            proptest! {
                #![proptest_config(config(300))]

                #[test]
                fn changes_in_any_order_and_twice_give_one_state(
                    steps in steps($fields, 60), by in prop::collection::vec(any::<u8>(), 1..40),
                ) {
                    order_does_not_matter(&steps, &by)?;
                }

                #[test]
                fn forgetting_what_is_stable_changes_no_value_now_or_later(steps in steps($fields, 120)) {
                    shows_what_it_received(&steps, None)?;
                }

                #[test]
                fn states_join_commutatively_associatively_and_idempotently(steps in steps($fields, 100)) {
                    joins_form_a_lattice(&steps)?;
                }
            }
        }
    )+};
}

laws! {
    lww: &[0];
    max: &[1];
    min: &[2];
    counter: &[3];
    set: &[4];
    reserves: &[5];
    unique: &[6];
    custom: &[7];
}

/// What a region told, in the form of the definition; nothing is told twice.
fn told(region: &Region) -> BTreeSet<(Option<u16>, Stamp, Stamp)> {
    let told: BTreeSet<_> =
        region.conflicts.iter().map(|conflict| (conflict.field, conflict.winner, conflict.loser)).collect();
    assert_eq!(told.len(), region.conflicts.len());
    told
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn reg_1_regions_with_the_same_changes_hold_the_same_state(steps in steps(ALL, 150)) {
        shows_what_it_received(&steps, None)?;
        let mut world = World::played(&steps);
        // Once everything is stable, and forgotten up to the same change, the states are equal in every part.
        world.settle();
        (0..crate::testing::REGIONS).for_each(|at| world.step(&Step::Forget { at }));
        let [a, b, c] = [0, 1, 2].map(|region: usize| &world.regions[region].subject);
        prop_assert_eq!(a, b);
        prop_assert_eq!(a, c);
        prop_assert_eq!(a.unstable(), 0);
        prop_assert_eq!(a.is_spent(), !a.exists());
    }

    #[test]
    fn reg_1_every_region_tells_the_same_conflicts_once(steps in steps(ALL, 150)) {
        let mut world = World::played(&steps);
        world.exchange();
        let expected = conflicts(&world.all());
        for region in &world.regions {
            prop_assert_eq!(told(region), expected.clone());
        }
    }

    #[test]
    fn conflicts_do_not_depend_on_the_order_of_arrival(
        steps in steps(ALL, 80), by in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let all = World::played(&steps).all();
        let mut subject = Subject::new(classes());
        let mut found = BTreeSet::new();
        for change in shuffled(all.clone(), &by) {
            for conflict in subject.apply(change).conflicts {
                prop_assert!(found.insert((conflict.field, conflict.winner, conflict.loser)));
            }
        }
        prop_assert_eq!(found, conflicts(&all));
    }
}

#[test]
fn forgetting_what_others_may_not_have_seen_is_noticed() {
    let found = runner(1_000)
        .run(&steps(ALL, 150), |steps| shows_what_it_received(&steps, Some(Broken::ForgetsEarly)));
    assert!(found.is_err(), "the tests above would not notice");
}

#[test]
fn classes_have_the_names_that_declarations_use() {
    let names: Vec<String> = classes().iter().map(|class| class.name().to_string()).collect();
    assert_eq!(names.join(" "), "lww max min counter set reserve unique custom(old * 7 + new)");
    assert_eq!(names[7].parse::<Merge>().unwrap(), classes()[7].name());
}
