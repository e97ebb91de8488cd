//! Groups with long arrays.

use super::*;
use crate::operators::aggregator::{Aggregator, Input, RowPlace};
use crate::operators::part::StoredPart;
use datafusion::arrow::array::{AsArray, Int32Array, types::Int32Type};
use datafusion::arrow::datatypes::Field;
use tw_state::{Batch, MemoryStore, Store};
use tw_types::{Hlc, Origin, PartitionId};

/// `SELECT g, array_agg(x) GROUP BY g`
fn lists() -> Grouping {
    let output = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
    let list = Aggregate {
        function: Function::List,
        distinct: false,
        argument: Some(1),
        filter: None,
        order: Vec::new(),
        input: DataType::Int32,
        output,
    };
    Grouping { keys: 1, aggregates: vec![list] }
}

/// Reads groups with so many values each; gives how many groups each batch has.
fn read(lengths: &[usize], values_max: usize, wanted: Option<&BTreeSet<usize>>) -> Result<Vec<usize>> {
    read_within(lengths, values_max, usize::MAX, wanted)
}

fn read_within(
    lengths: &[usize],
    values_max: usize,
    list_bytes_max: usize,
    wanted: Option<&BTreeSet<usize>>,
) -> Result<Vec<usize>> {
    let store = MemoryStore::new();
    let keyspace = store.keyspace("lists").unwrap();
    let grouping = Arc::new(lists());
    let mut aggregator =
        Aggregator::open(grouping.clone(), PartitionId(0), keyspace, 0, true, &store, 1 << 20).unwrap();
    let groups: Vec<i32> =
        (0..).zip(lengths).flat_map(|(group, length)| std::iter::repeat_n(group, *length)).collect();
    let rows = groups.len();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(groups)), Arc::new(Int32Array::from_iter_values(0..rows as i32))];
    let places: Vec<RowPlace> =
        (0..rows as u64).map(|row| RowPlace { hlc: Hlc::from_u64(row), origin: Origin::default() }).collect();
    let input = Input { columns: &columns, rows, taken_back: None, places: &places };
    aggregator.take_in(&input, &store).unwrap();
    let mut batch = Batch::new();
    aggregator.flush(&mut batch, &store, 1 << 20).unwrap();
    store.commit(batch).unwrap();
    let snapshot = store.snapshot();
    let part = StoredPart { snapshot: snapshot.as_ref(), keyspace, partition: PartitionId(0), era: 0 };
    let reader = GroupReader {
        grouping: &grouping,
        key_types: &[DataType::Int32],
        parts: &[&part],
        wanted,
        values_max,
        list_bytes_max,
    };
    let (mut batches, mut seen) = (Vec::new(), Vec::new());
    reader.read(&[], |columns, rows| {
        batches.push(rows);
        let all = columns[1].as_list::<i32>();
        seen.extend((0..rows).map(|row| if all.is_null(row) { 0 } else { all.value(row).len() }));
        assert_eq!(columns[0].as_primitive::<Int32Type>().len(), rows);
        Ok(true)
    })?;
    assert_eq!(seen, if wanted.is_some() { vec![0; lengths.len()] } else { lengths.to_vec() });
    Ok(batches)
}

#[test]
fn a_batch_ends_when_its_groups_have_many_values() {
    assert_eq!(read(&[4, 4, 4, 10, 1, 1], 10, None).unwrap(), [3, 1, 2]);
    assert_eq!(read(&[1; 5], 10, None).unwrap(), [5]);
}

#[test]
fn an_array_that_is_too_long_is_an_error_unless_it_is_not_wanted() {
    let error = read(&[1, 11], 10, None).unwrap_err().to_string();
    assert!(error.contains("an array of more than 10 values cannot be read"), "{error}");
    assert_eq!(read(&[1, 11], 10, Some(&BTreeSet::from([0]))).unwrap(), [2]);
}

#[test]
fn arrays_take_no_more_memory_than_a_query_may() {
    let error = read_within(&[5, 5], 1_000, 100, None).unwrap_err();
    assert!(matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)), "{error}");
    assert_eq!(read_within(&[5, 5], 5, 100, None).unwrap(), [1, 1]);
}
