//! One small example of each rule.

use super::*;
use crate::DELTA_MAX;
use crate::testing::context;
use tw_types::RegionId;

fn put(context: Context, ops: &[(u16, FieldOp<i64>)]) -> Change<i64> {
    Change { context, kind: Kind::Put(ops.to_vec()) }
}

fn delete(context: Context) -> Change<i64> {
    Change { context, kind: Kind::Delete }
}

fn stamp(region: u16, hlc: u64) -> Stamp {
    context(region, hlc, &[]).stamp
}

/// The subject after these changes, and the conflicts that were told.
fn after(changes: &[Change<i64>]) -> (Subject<i64>, Vec<Conflict>) {
    let mut subject = Subject::new(classes());
    let conflicts = changes.iter().flat_map(|change| subject.apply(change.clone()).conflicts).collect();
    (subject, conflicts)
}

#[test]
fn of_two_concurrent_values_the_later_one_stays_and_the_other_one_is_told() {
    let (first, second) = (FieldOp::Set(1), FieldOp::Set(2));
    let changes = [put(context(1, 10, &[]), &[(0, first)]), put(context(2, 11, &[]), &[(0, second)])];
    let (subject, conflicts) = after(&changes);
    assert_eq!(subject.value(0), Value::One(&2));
    let (kind, winner, loser) = (ConflictKind::Overwritten, stamp(2, 11), stamp(1, 10));
    assert_eq!(conflicts, [Conflict { field: Some(0), kind, winner, loser }]);
}

#[test]
fn nothing_is_told_where_nothing_is_lost() {
    let ops = [(0, FieldOp::Set(7)), (1, FieldOp::Offer(7)), (3, FieldOp::Add(7)), (4, FieldOp::Insert(7))];
    let knowing = put(context(2, 12, &[(1, 10)]), &[(0, FieldOp::Set(8))]);
    let (_, conflicts) =
        after(&[put(context(1, 10, &[]), &ops), put(context(3, 11, &[]), &ops), knowing.clone()]);
    let stamps: Vec<_> = conflicts.iter().map(|conflict| conflict.loser).collect();
    assert_eq!(stamps, [stamp(3, 11)], "only the value that `{}` did not know", knowing.context.stamp);
}

#[test]
fn a_delete_takes_away_what_it_had_seen_and_the_rest_stays() {
    let add = |context, delta| put(context, &[(3, FieldOp::Add(delta))]);
    let taken = add(context(1, 10, &[]), 5);
    let kept = add(context(2, 11, &[]), 3);
    let takes = delete(context(1, 12, &[]));
    let (subject, conflicts) = after(&[taken.clone(), kept.clone(), takes.clone()]);
    assert_eq!((subject.exists(), subject.value(3)), (true, Value::Number(3)));
    let (winner, loser) = (stamp(2, 11), stamp(1, 12));
    assert_eq!(conflicts, [Conflict { field: None, kind: ConflictKind::Outlived, winner, loser }]);
    assert_eq!(after(&[takes, kept, taken]).0, subject);
}

#[test]
fn a_later_delete_that_knew_of_all_takes_the_base_away() {
    let mut subject = after(&[put(context(1, 10, &[]), &[(3, FieldOp::Add(5))])]).0;
    subject.forget_stable(&context(1, 1, &[(1, 10)]).seen);
    assert_eq!((subject.unstable(), subject.value(3)), (0, Value::Number(5)));
    let outcome = subject.apply(delete(context(2, 11, &[(1, 10)])));
    assert_eq!((outcome.existed, outcome.exists, outcome.changed), (true, false, vec![3]));
    assert!(!subject.is_spent());
    subject.forget_stable(&context(1, 1, &[(1, 10), (2, 11)]).seen);
    assert!(subject.is_spent());
    assert!(subject.apply(put(context(1, 10, &[]), &[])).duplicate);
}

#[test]
fn a_base_joins_with_a_delete_that_knew_of_all_of_it() {
    let counted = put(context(1, 10, &[]), &[(3, FieldOp::Add(5))]);
    let mut forgot = after(std::slice::from_ref(&counted)).0;
    forgot.forget_stable(&context(1, 1, &[(1, 10)]).seen);
    let (deleted, _) = after(&[counted, delete(context(2, 11, &[(1, 10)]))]);
    let (one, other) = (joined(&forgot, &deleted), joined(&deleted, &forgot));
    assert_eq!((one.exists(), one.value(3)), (false, Value::Number(0)));
    assert_eq!(one, other);
}

/// Without the rule, region 1 would learn of the second delete before it learns of the first one: its 5 are gone then, and what
/// region 2 did with them is not.
#[test]
fn a_delete_of_rights_waits_until_it_knows_of_another_delete() {
    let reserve = |context, op| put(context, &[(5, FieldOp::Reserve(op))]);
    let produces = reserve(context(1, 10, &[]), ReserveOp::Produce(5));
    let gives = reserve(context(1, 11, &[]), ReserveOp::Transfer { to: RegionId(2), amount: 5 });
    let uses = reserve(context(2, 12, &[(1, 11)]), ReserveOp::Consume(5));
    let first = delete(context(2, 13, &[(1, 11)]));
    let hasty = delete(context(3, 14, &[(1, 10)]));
    let (third, _) = after(&[produces.clone(), gives.clone(), uses.clone(), first]);
    let refused = third.admit(&hasty, &Limits::default());
    assert_eq!(refused, Err(Error::NotYetSeen { stamp: stamp(2, 13) }));
    assert_eq!(after(&[produces, gives, uses, hasty]).0.value(5), Value::Number(-5));
    let patient = delete(context(3, 14, &[(1, 11), (2, 13)]));
    assert_eq!(third.admit(&patient, &Limits::default()), Ok(()));
}

#[test]
fn who_puts_in_wins_over_who_takes_out_without_having_seen_it() {
    let insert = put(context(1, 10, &[]), &[(4, FieldOp::Insert(7))]);
    let again = put(context(2, 11, &[]), &[(4, FieldOp::Insert(7))]);
    let remove = put(context(1, 12, &[]), &[(4, FieldOp::Remove(7))]);
    let (subject, conflicts) = after(&[insert.clone(), remove.clone()]);
    assert_eq!((subject.value(4), subject.exists()), (Value::Elements(vec![]), true));
    assert_eq!(after(&[insert, again, remove]).0.value(4), Value::Elements(vec![&7]));
    assert_eq!(conflicts, []);
}

#[test]
fn an_input_that_comes_late_is_folded_where_it_belongs() {
    let input = |context, value| put(context, &[(7, FieldOp::Input(value))]);
    let (a, b, c) =
        (input(context(1, 10, &[]), 1), input(context(2, 11, &[]), 2), input(context(1, 12, &[]), 3));
    let (subject, conflicts) = after(&[a, c, b]);
    // ((1 · 7 + 1) · 7 + 2) · 7 + 3
    assert_eq!(subject.value(7), Value::One(&409));
    let pairs: Vec<_> = conflicts.iter().map(|told| (told.winner, told.loser, told.kind)).collect();
    let kind = ConflictKind::FoldedBefore;
    assert_eq!(pairs, [(stamp(2, 11), stamp(1, 10), kind), (stamp(1, 12), stamp(2, 11), kind)]);
}

#[test]
fn an_operation_that_does_not_fit_does_nothing_and_is_named() {
    let change =
        put(context(1, 10, &[]), &[(0, FieldOp::Add(1)), (9, FieldOp::Set(1)), (3, FieldOp::Add(1))]);
    let outcome = Subject::new(classes()).apply(change);
    assert_eq!((outcome.ill_fitting, outcome.changed, outcome.exists), (vec![0, 9], vec![3], true));
}

#[test]
fn what_breaks_a_limit_is_not_accepted_and_what_was_received_is_taken() {
    let (mut subject, _) = after(&[put(context(1, 10, &[]), &[(4, FieldOp::Insert(1))])]);
    let limits = Limits { changes_max: 2, elements_max: 1 };
    let refused = |subject: &Subject<i64>, change: &Change<i64>| subject.admit(change, &limits).unwrap_err();
    let next = || context(1, 11, &[]);
    let produce = |amount| (5, FieldOp::Reserve(ReserveOp::Produce(amount)));
    let too_far = put(next(), &[(3, FieldOp::Add(DELTA_MAX + 1))]);
    let second = put(next(), &[(4, FieldOp::Insert(2))]);
    for (change, text) in [
        (
            put(context(1, 10, &[]), &[]),
            "change `1.1.10@0.10` does not come after `1.1.10@0.10`, which is here: take the stamp after reading the subject",
        ),
        (
            put(next(), &[(0, FieldOp::Add(1))]),
            "field 0 does not take this operation: use the one of its class, or declare the field",
        ),
        (
            put(next(), &[(0, FieldOp::Set(1)), (0, FieldOp::Set(2))]),
            "field 0 is changed twice in one change: name a field, or an element of a set, once",
        ),
        (
            put(next(), &[(4, FieldOp::Insert(1)), (4, FieldOp::Remove(1))]),
            "field 4 is changed twice in one change: name a field, or an element of a set, once",
        ),
        (
            too_far,
            "the number for field 3 is outside -9223372036854775807 to 9223372036854775807: split the change",
        ),
        (
            put(next(), &[produce(0)]),
            "the number for field 5 is outside 1 to 9223372036854775807: split the change",
        ),
        (
            put(next(), &[(5, FieldOp::Reserve(ReserveOp::Consume(1)))]),
            "region `1` has rights to 0 in field 5, not to 1: ask other regions for a transfer",
        ),
        (
            put(next(), &vec![(3, FieldOp::Add(1)); 1_025]),
            "1025 operations in one change are more than 1024: split it",
        ),
        (
            second.clone(),
            "the set in field 4 would have more than 1 elements: remove some, or use a subject for each",
        ),
    ] {
        assert_eq!(refused(&subject, &change).to_string(), text);
    }
    assert_eq!(subject.admit(&put(next(), &[(4, FieldOp::Insert(1)), produce(1)]), &limits), Ok(()));
    subject.apply(second);
    assert_eq!(subject.value(4), Value::Elements(vec![&1, &2]));
    let third = put(context(1, 12, &[]), &[]);
    assert_eq!(refused(&subject, &third), Error::TooManyChanges { changes_max: 2 });
    assert!(subject.apply(third).exists);
}
