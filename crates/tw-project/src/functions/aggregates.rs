//! The aggregates of queries: `sum` and `avg` are those of projections, so that both give the same.

use crate::operators::accumulator::{self, Rows};
use crate::operators::sums::{Wanted, avg_type, no_aggregate, sum_type, totals};
use crate::state::Malformed;
use crate::state::key::KeyColumn;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use std::collections::HashSet;
use std::sync::Arc;

/// The aggregates that queries can use: DataFusion's, with ours in their place where they differ from PostgreSQL's.
pub(crate) fn all() -> Vec<Arc<AggregateUDF>> {
    let mut all: Vec<Arc<AggregateUDF>> = SessionStateDefaults::default_aggregate_functions()
        .into_iter()
        .filter(|udaf| !matches!(udaf.name(), "sum" | "avg"))
        .map(|udaf| match udaf.name() {
            "first_value" => Arc::new(AggregateUDF::clone(&udaf).with_aliases(["first"])),
            "last_value" => Arc::new(AggregateUDF::clone(&udaf).with_aliases(["last"])),
            "bool_and" => Arc::new(AggregateUDF::clone(&udaf).with_aliases(["every"])),
            _ => udaf,
        })
        .collect();
    for wanted in [Wanted::Sum, Wanted::Average] {
        let signature = Signature::user_defined(Volatility::Immutable);
        all.push(Arc::new(AggregateUDF::new_from_impl(Total { wanted, signature })));
    }
    all
}

/// `sum` or `avg`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Total {
    wanted: Wanted,
    signature: Signature,
}

impl Total {
    fn make(&self, ty: &DataType) -> Result<Box<dyn accumulator::Accumulator>> {
        totals(ty, self.wanted).ok_or_else(|| no_aggregate(self.name(), ty))
    }

    fn input(args: &AccumulatorArgs<'_>) -> DataType {
        args.expr_fields.first().map_or(DataType::Null, |field| field.data_type().clone())
    }
}

impl AggregateUDFImpl for Total {
    fn name(&self) -> &str {
        if self.wanted == Wanted::Sum { "sum" } else { "avg" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [_] => self.return_type(types).map(|_| types.to_vec()),
            _ => Err(DataFusionError::Plan(format!("{}() takes one argument", self.name()))),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let ty = types.first().unwrap_or(&DataType::Null);
        let result = if self.wanted == Wanted::Sum { sum_type(ty) } else { avg_type(ty) };
        result.ok_or_else(|| no_aggregate(self.name(), ty))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if args.is_distinct {
            let ty = args.input_fields.first().map_or(DataType::Null, |field| field.data_type().clone());
            let item = Arc::new(Field::new("item", ty, true));
            return Ok(vec![Arc::new(Field::new(
                format_state_name(args.name, "values"),
                DataType::List(item),
                true,
            ))]);
        }
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "total"), DataType::Binary, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let input = Self::input(&args);
        let mut total = self.make(&input)?;
        total.resize(1);
        Ok(if args.is_distinct {
            Box::new(DistinctTotal { total, seen: HashSet::new(), values: Vec::new(), input })
        } else {
            Box::new(OneTotal { total })
        })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let input = Self::input(&args);
        Ok(Box::new(GroupTotals { total: self.make(&input)?, groups: 0, wanted: self.wanted, input }))
    }
}

fn damaged(error: Malformed) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn argument(values: &[ArrayRef]) -> Result<&ArrayRef> {
    values.first().ok_or_else(|| DataFusionError::Internal("an aggregate takes an argument".into()))
}

/// The total of one group, or of one window.
struct OneTotal {
    total: Box<dyn accumulator::Accumulator>,
}

impl std::fmt::Debug for OneTotal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OneTotal")
    }
}

impl OneTotal {
    fn take_in(&mut self, values: &[ArrayRef], taken_back: bool) -> Result<()> {
        let values = argument(values)?;
        let (slots, taken_back) = (vec![0; values.len()], taken_back.then(|| vec![true; values.len()]));
        self.total.update(&Rows {
            slots: &slots,
            values: Some(values),
            filter: None,
            taken_back: taken_back.as_deref(),
        });
        Ok(())
    }
}

impl Accumulator for OneTotal {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.take_in(values, false)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.take_in(values, true)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&self.total.results(1)?, 0)
    }

    fn size(&self) -> usize {
        self.total.bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut stored = Vec::new();
        self.total.put(0, &mut stored);
        Ok(vec![ScalarValue::Binary(Some(stored))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for mut stored in argument(states)?.as_binary::<i32>().iter().flatten() {
            self.total.merge(0, &mut stored).map_err(damaged)?;
        }
        Ok(())
    }
}

/// The total of the different values of one group.
struct DistinctTotal {
    total: Box<dyn accumulator::Accumulator>,
    seen: HashSet<Vec<u8>>,
    values: Vec<ScalarValue>,
    input: DataType,
}

impl std::fmt::Debug for DistinctTotal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DistinctTotal")
    }
}

impl Accumulator for DistinctTotal {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = argument(values)?;
        let Some(column) = KeyColumn::new(values) else { return Ok(()) };
        let mut fresh = Vec::with_capacity(values.len());
        for row in 0..values.len() {
            let mut key = Vec::new();
            column.put(row, &mut key);
            let new = values.is_valid(row) && self.seen.insert(key);
            if new {
                self.values.push(ScalarValue::try_from_array(values, row)?);
            }
            fresh.push(new);
        }
        let slots = vec![0; values.len()];
        self.total.update(&Rows {
            slots: &slots,
            values: Some(values),
            filter: Some(&fresh.into()),
            taken_back: None,
        });
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&self.total.results(1)?, 0)
    }

    fn size(&self) -> usize {
        self.total.bytes() + self.seen.iter().map(|key| key.capacity() + 64).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&self.values, &self.input))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for values in argument(states)?.as_list::<i32>().iter().flatten() {
            self.update_batch(&[values])?;
        }
        Ok(())
    }
}

/// The totals of all groups.
struct GroupTotals {
    total: Box<dyn accumulator::Accumulator>,
    groups: usize,
    wanted: Wanted,
    input: DataType,
}

impl GroupTotals {
    fn fresh(&self) -> Result<Box<dyn accumulator::Accumulator>> {
        totals(&self.input, self.wanted).ok_or_else(|| no_aggregate("sum", &self.input))
    }

    fn stored(&self, count: usize) -> BinaryArray {
        let mut builder = BinaryBuilder::new();
        let mut bytes = Vec::new();
        for slot in 0..count {
            bytes.clear();
            self.total.put(slot, &mut bytes);
            builder.append_value(&bytes);
        }
        builder.finish()
    }

    /// Forgets the groups that were emitted; those after them move to the front.
    fn forget(&mut self, emitted: usize) -> Result<()> {
        let mut rest = self.fresh()?;
        let remaining = self.groups.saturating_sub(emitted);
        rest.resize(remaining);
        let mut bytes = Vec::new();
        for slot in 0..remaining {
            bytes.clear();
            self.total.put(emitted + slot, &mut bytes);
            rest.merge(slot, &mut bytes.as_slice()).map_err(damaged)?;
        }
        (self.total, self.groups) = (rest, remaining);
        Ok(())
    }

    fn count(&self, emit_to: EmitTo) -> usize {
        match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(count) => count.min(self.groups),
        }
    }

    fn make_room(&mut self, groups: usize) {
        if groups > self.groups {
            self.groups = groups;
            self.total.resize(groups);
        }
    }
}

impl GroupsAccumulator for GroupTotals {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.make_room(total_num_groups);
        let slots: Vec<u32> = group_indices.iter().map(|index| *index as u32).collect();
        self.total.update(&Rows { slots: &slots, values: Some(argument(values)?), filter, taken_back: None });
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let count = self.count(emit_to);
        let results = self.total.results(count)?;
        self.forget(count)?;
        Ok(results)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let count = self.count(emit_to);
        let stored = self.stored(count);
        self.forget(count)?;
        Ok(vec![Arc::new(stored)])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.make_room(total_num_groups);
        for (stored, slot) in argument(values)?.as_binary::<i32>().iter().zip(group_indices) {
            if let Some(mut stored) = stored {
                self.total.merge(*slot, &mut stored).map_err(damaged)?;
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = argument(values)?;
        let mut rows =
            Self { total: self.fresh()?, groups: 0, wanted: self.wanted, input: self.input.clone() };
        rows.make_room(values.len());
        let slots: Vec<u32> = (0..values.len() as u32).collect();
        rows.total.update(&Rows { slots: &slots, values: Some(values), filter, taken_back: None });
        Ok(vec![Arc::new(rows.stored(values.len()))])
    }

    fn size(&self) -> usize {
        self.total.bytes()
    }
}
