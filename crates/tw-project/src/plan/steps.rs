//! Filters and maps over batches of rows.

use crate::operators::aggregator::RowPlace;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::filter;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::lit;
use datafusion::physical_expr::utils::collect_columns;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Rows with what belongs to them.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    pub(crate) batch: RecordBatch,
    /// True for rows that are taken back; None if all are added.
    pub(crate) taken_back: Option<Vec<bool>>,
    /// Where each row came from; empty if that does not matter.
    pub(crate) places: Vec<RowPlace>,
    /// The number that each row had before rows were left out; empty if that does not matter.
    pub(crate) numbers: Vec<u32>,
}

impl Rows {
    /// Rows that are all added, of which it does not matter where they came from.
    pub(crate) fn plain(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<Self> {
        Ok(Self {
            batch: batch(schema, columns, rows)?,
            taken_back: None,
            places: Vec::new(),
            numbers: Vec::new(),
        })
    }
}

/// A batch, which may have no columns.
pub(crate) fn batch(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// One step of a chain.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Keeps the rows for which the condition is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// Computes new columns.
    Map(Vec<Arc<dyn PhysicalExpr>>, SchemaRef),
}

/// Runs a chain.
///
/// # Errors
/// An expression has no value for a row.
pub(crate) fn run(steps: &[Step], mut rows: Rows) -> Result<Rows> {
    for step in steps {
        match step {
            Step::Filter(condition) => keep(condition, &mut rows)?,
            Step::Map(exprs, schema) => {
                let count = rows.batch.num_rows();
                let columns = exprs
                    .iter()
                    .map(|expr| expr.evaluate(&rows.batch)?.into_array(count))
                    .collect::<Result<Vec<_>>>()?;
                rows.batch = batch(schema.clone(), columns, count)?;
            }
        }
    }
    Ok(rows)
}

/// The steps that compute only some columns of their result (the others are NULL), and the columns that they need for it.
///
/// # Errors
/// A type that cannot be NULL.
pub(crate) fn only(steps: &[Step], wanted: BTreeSet<usize>) -> Result<(Vec<Step>, BTreeSet<usize>)> {
    let used = |expr: &Arc<dyn PhysicalExpr>| collect_columns(expr).into_iter().map(|column| column.index());
    let mut needed = wanted;
    let mut fewer = Vec::with_capacity(steps.len());
    for step in steps.iter().rev() {
        match step {
            Step::Filter(condition) => {
                needed.extend(used(condition));
                fewer.push(step.clone());
            }
            Step::Map(exprs, schema) => {
                let mut before = BTreeSet::new();
                let mut kept = Vec::with_capacity(exprs.len());
                for (index, (expr, field)) in exprs.iter().zip(schema.fields()).enumerate() {
                    if needed.contains(&index) {
                        before.extend(used(expr));
                        kept.push(expr.clone());
                    } else {
                        kept.push(lit(ScalarValue::try_from(field.data_type())?));
                    }
                }
                fewer.push(Step::Map(kept, schema.clone()));
                needed = before;
            }
        }
    }
    fewer.reverse();
    Ok((fewer, needed))
}

fn keep(condition: &Arc<dyn PhysicalExpr>, rows: &mut Rows) -> Result<()> {
    let count = rows.batch.num_rows();
    let mask = condition.evaluate(&rows.batch)?.into_array(count)?;
    let mask = mask
        .as_boolean_opt()
        .ok_or_else(|| DataFusionError::Internal("a condition is not boolean".into()))?;
    if mask.null_count() == 0 && mask.true_count() == count {
        return Ok(());
    }
    let mask = &truth(mask);
    let columns =
        rows.batch.columns().iter().map(|column| filter(column, mask)).collect::<Result<Vec<_>, _>>()?;
    rows.batch = batch(rows.batch.schema(), columns, mask.true_count())?;
    if let Some(taken_back) = &mut rows.taken_back {
        retain(taken_back, mask);
    }
    retain(&mut rows.places, mask);
    retain(&mut rows.numbers, mask);
    Ok(())
}

/// NULL is not true.
fn truth(mask: &BooleanArray) -> BooleanArray {
    match mask.nulls() {
        Some(nulls) => BooleanArray::new(mask.values() & nulls.inner(), None),
        None => mask.clone(),
    }
}

fn retain<T: Copy>(items: &mut Vec<T>, mask: &BooleanArray) {
    if !items.is_empty() {
        let kept = items.iter().zip(mask.values()).filter(|(_, keep)| *keep).map(|(item, _)| *item).collect();
        *items = kept;
    }
}
