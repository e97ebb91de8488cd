//! Parts of groups, however often they are taken.

use super::*;
use datafusion::arrow::array::types::{Decimal128Type, Int64Type};
use datafusion::arrow::array::{Decimal128Array, StringViewArray};
use std::collections::BTreeMap;

fn aggregate(function: Function, argument: Option<usize>, input: DataType) -> Aggregate {
    let output = Aggregate::result_type(function, false, &input).unwrap();
    Aggregate { function, distinct: false, argument, filter: None, order: Vec::new(), input, output }
}

fn price() -> DataType {
    DataType::Decimal128(12, 2)
}

fn columns() -> Schema {
    Schema::new(vec![Field::new("k", DataType::Utf8View, true), Field::new("price", price(), true)])
}

/// `SELECT k, count(*), sum(price), max(price) GROUP BY k`
fn partials(query_bytes_max: usize) -> Partials {
    let aggregates = vec![
        (aggregate(Function::Count, None, DataType::Int64), None),
        (aggregate(Function::Sum, Some(1), price()), None),
        (aggregate(Function::Max, Some(1), price()), None),
    ];
    Partials::new(vec![0], aggregates, &columns(), query_bytes_max).unwrap()
}

/// Rows of 997 groups, two of which have no key and no price.
fn rows(from: usize, count: usize) -> RecordBatch {
    let key = |row: usize| (!row.is_multiple_of(997)).then(|| format!("a key of some length {}", row % 997));
    let keys: StringViewArray = (from..from + count).map(key).collect();
    let price_of = |row: usize| (row % 997 > 1).then_some(row as i128 * 25);
    let prices: Decimal128Array = (from..from + count).map(price_of).collect();
    let prices = prices.with_data_type(price());
    RecordBatch::try_new(Arc::new(columns()), vec![Arc::new(keys), Arc::new(prices)]).unwrap()
}

/// Count, sum and maximum of each group, of all parts.
fn merged(parts: &[RecordBatch]) -> BTreeMap<Option<String>, (i64, i128, Option<i128>)> {
    let mut all = BTreeMap::new();
    for part in parts {
        let (keys, counts) = (part.column(0).as_string_view(), part.column(1).as_primitive::<Int64Type>());
        let (totals, best) = (part.column(2).as_binary::<i32>(), part.column(3));
        let best = best.as_primitive::<Decimal128Type>();
        for row in 0..part.num_rows() {
            let mut total = aggregate(Function::Sum, Some(1), price()).accumulator();
            total.resize(1);
            total.merge(0, &mut totals.value(row)).unwrap();
            let total = total.results(1).unwrap();
            let total = total.as_primitive::<Decimal128Type>().iter().next().flatten().unwrap_or(0);
            let key = keys.is_valid(row).then(|| keys.value(row).to_owned());
            let known: &mut (i64, i128, Option<i128>) = all.entry(key).or_default();
            known.0 += counts.value(row);
            known.1 += total;
            known.2 = known.2.max(best.is_valid(row).then(|| best.value(row)));
        }
    }
    all
}

#[test]
fn prj_1_parts_that_are_taken_early_add_up_to_the_same() {
    let all = rows(0, 20_000);
    let mut at_once = partials(usize::MAX);
    at_once.add(&all).unwrap();
    let whole = at_once.take().unwrap().unwrap();
    assert_eq!(whole.num_rows(), 997);
    assert!(at_once.take().unwrap().is_none());
    let (mut early, mut parts) = (partials(100_000), Vec::new());
    for from in (0..20_000).step_by(100) {
        early.add(&rows(from, 100)).unwrap();
        // What comes with one batch is over the bound at most.
        assert!(early.bytes() < 25_000 + 20_000, "{}", early.bytes());
        if early.is_full() {
            parts.extend(early.take().unwrap());
            assert_eq!(early.bytes(), 0);
        }
    }
    parts.extend(early.take().unwrap());
    assert!(parts.len() > 10, "{}", parts.len());
    let (whole, parts) = (merged(&[whole]), merged(&parts));
    assert_eq!(whole, parts);
    assert_eq!(whole.values().map(|group| group.0).sum::<i64>(), 20_000);
    assert_eq!(whole[&None], (21, 0, None));
}

#[test]
fn without_keys_there_is_one_group_and_without_rows_none() {
    let count = || vec![(aggregate(Function::Count, Some(1), price()), None)];
    let mut all = Partials::new(vec![], count(), &columns(), usize::MAX).unwrap();
    all.add(&rows(0, 0)).unwrap();
    assert!(all.take().unwrap().is_none());
    all.add(&rows(0, 1_000)).unwrap();
    all.add(&rows(0, 1)).unwrap();
    let groups = all.take().unwrap().unwrap();
    assert_eq!(groups.column(0).as_primitive::<Int64Type>().values(), &[996]);
}

#[test]
fn what_cannot_be_put_together_of_parts_is_refused() {
    let of = |keys: Vec<usize>, aggregate: Aggregate| {
        Partials::new(keys, vec![(aggregate, None)], &columns(), usize::MAX)
            .err()
            .map(|error| error.to_string())
    };
    let sum = aggregate(Function::Sum, Some(1), price());
    assert!(of(vec![0, 1], sum.clone()).is_none());
    assert!(of(vec![2], sum.clone()).is_some());
    assert!(of(vec![0], Aggregate { argument: Some(7), ..sum.clone() }).is_some());
    assert!(of(vec![0], Aggregate { argument: Some(0), ..sum.clone() }).is_some());
    assert!(of(vec![0], Aggregate { distinct: true, ..sum }).is_some());
    assert!(of(vec![0], aggregate(Function::List, Some(1), price())).is_some());
    let mut partials = partials(usize::MAX);
    assert!(partials.add(&rows(0, 5).project(&[1, 0]).unwrap()).is_err());
}
