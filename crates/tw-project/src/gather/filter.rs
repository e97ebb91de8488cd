//! Conditions of a query as they cross to other nodes: comparisons of columns with values, and what is made of those.
//!
//! None of it can fail for a row, and here and there it is computed by the same expressions. What has another form is checked by
//! whoever runs the query, of all rows that come.

mod physical;

use super::request::Hex;
use crate::query::prune;
use crate::rows::builder::ColumnBuilder;
use crate::rows::slot::Slot;
use crate::state::{key, value};
use datafusion::arrow::array::{Array, AsArray, RecordBatch, StringViewArray};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::{Column, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr as Binary, Column as PhysicalColumn, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The deepest condition: the JSON of one nests no deeper than is read.
const DEPTH_MAX: usize = 40;
/// The longest list of values.
const LIST_MAX: usize = 1_000;

/// A condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    /// A column of truth values.
    True(usize),
    Null(usize),
    NotNull(usize),
    Eq(usize, Hex),
    Ne(usize, Hex),
    Lt(usize, Hex),
    Le(usize, Hex),
    Gt(usize, Hex),
    Ge(usize, Hex),
}

impl Filter {
    /// An expression over columns of a table as a condition; None if it has another form.
    pub(crate) fn of(expr: &Expr, schema: &Schema) -> Option<Self> {
        Self::within(expr, schema, DEPTH_MAX)
    }

    /// All of some conditions; None if there are none.
    pub(crate) fn all(mut filters: Vec<Self>) -> Option<Self> {
        if filters.len() > 1 { Some(Self::All(filters)) } else { filters.pop() }
    }

    fn within(expr: &Expr, schema: &Schema, depth: usize) -> Option<Self> {
        let inner = |expr: &Expr| Self::within(expr, schema, depth.checked_sub(1)?);
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                Some(Self::All(vec![inner(left)?, inner(right)?]))
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                Some(Self::Any(vec![inner(left)?, inner(right)?]))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
                (Expr::Column(column), Expr::Literal(value, _)) => Self::compare(column, *op, value, schema),
                (Expr::Literal(value, _), Expr::Column(column)) => {
                    Self::compare(column, op.swap()?, value, schema)
                }
                _ => None,
            },
            Expr::Not(expr) => Some(Self::Not(Box::new(inner(expr)?))),
            Expr::IsNull(expr) => Some(Self::Null(column_of(expr, schema)?)),
            Expr::IsNotNull(expr) => Some(Self::NotNull(column_of(expr, schema)?)),
            Expr::InList(InList { expr, list, negated }) => {
                let Expr::Column(column) = expr.as_ref() else { return None };
                if list.len() > LIST_MAX {
                    return None;
                }
                let equal = |value: &Expr| match value {
                    Expr::Literal(value, _) => Self::compare(column, Operator::Eq, value, schema),
                    _ => None,
                };
                let any = Self::Any(list.iter().map(equal).collect::<Option<_>>()?);
                Some(if *negated { Self::Not(Box::new(any)) } else { any })
            }
            Expr::Column(column) => Self::is_true(schema.index_of(&column.name).ok()?, schema),
            _ => None,
        }
    }

    fn compare(column: &Column, op: Operator, value: &ScalarValue, schema: &Schema) -> Option<Self> {
        Self::compare_at(schema.index_of(&column.name).ok()?, op, value, schema)
    }

    fn is_true(index: usize, schema: &Schema) -> Option<Self> {
        (*schema.fields().get(index)?.data_type() == DataType::Boolean).then_some(Self::True(index))
    }

    fn compare_at(index: usize, op: Operator, value: &ScalarValue, schema: &Schema) -> Option<Self> {
        let field = schema.fields().get(index)?;
        let ty = field.data_type();
        // Floating point numbers have an order of their own, and a column that means something else than its type has one, too.
        let plain = key::is_key_type(ty) && !ty.is_floating() && field.metadata().is_empty();
        let same = value.data_type().equals_datatype(ty)
            || (prune::text(value).is_some() && *ty == DataType::Utf8View);
        if !plain || !same || value.is_null() {
            return None;
        }
        let mut bytes = Vec::new();
        value::put_slot(&prune::slot(value)?, &mut bytes);
        let value = Hex(bytes);
        Some(match op {
            Operator::Eq => Self::Eq(index, value),
            Operator::NotEq => Self::Ne(index, value),
            Operator::Lt => Self::Lt(index, value),
            Operator::LtEq => Self::Le(index, value),
            Operator::Gt => Self::Gt(index, value),
            Operator::GtEq => Self::Ge(index, value),
            _ => return None,
        })
    }

    /// The condition as an expression over batches of a schema.
    ///
    /// # Errors
    /// It is of another table.
    pub(crate) fn expression(&self, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
        let column = |index: usize| -> Result<Arc<dyn PhysicalExpr>> {
            let field = schema.fields().get(index).ok_or_else(malformed)?;
            Ok(Arc::new(PhysicalColumn::new(field.name(), index)))
        };
        let compare = |index: usize, op: Operator, value: &Hex| -> Result<Arc<dyn PhysicalExpr>> {
            let ty = schema.fields().get(index).ok_or_else(malformed)?.data_type();
            let literal = Arc::new(Literal::new(literal(&value.0, ty)?));
            Ok(Arc::new(Binary::new(column(index)?, op, literal)))
        };
        Ok(match self {
            Self::All(filters) => joined(filters, Operator::And, schema)?,
            Self::Any(filters) => joined(filters, Operator::Or, schema)?,
            Self::Not(filter) => Arc::new(NotExpr::new(filter.expression(schema)?)),
            Self::True(index) => column(*index)?,
            Self::Null(index) => Arc::new(IsNullExpr::new(column(*index)?)),
            Self::NotNull(index) => Arc::new(IsNotNullExpr::new(column(*index)?)),
            Self::Eq(index, value) => compare(*index, Operator::Eq, value)?,
            Self::Ne(index, value) => compare(*index, Operator::NotEq, value)?,
            Self::Lt(index, value) => compare(*index, Operator::Lt, value)?,
            Self::Le(index, value) => compare(*index, Operator::LtEq, value)?,
            Self::Gt(index, value) => compare(*index, Operator::Gt, value)?,
            Self::Ge(index, value) => compare(*index, Operator::GtEq, value)?,
        })
    }
}

/// Conditions joined by AND or OR, by halves: long lists make no deep expressions.
fn joined(filters: &[Filter], op: Operator, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    match filters {
        [] => Ok(Arc::new(Literal::new(ScalarValue::Boolean(Some(op == Operator::And))))),
        [one] => one.expression(schema),
        several => {
            let (left, right) = several.split_at(several.len() / 2);
            Ok(Arc::new(Binary::new(joined(left, op, schema)?, op, joined(right, op, schema)?)))
        }
    }
}

fn malformed() -> DataFusionError {
    DataFusionError::Plan("this condition is not about this table".into())
}

fn column_of(expr: &Expr, schema: &Schema) -> Option<usize> {
    if let Expr::Column(column) = expr { schema.index_of(&column.name).ok() } else { None }
}

/// A stored value as a literal of a column's type.
fn literal(mut stored: &[u8], ty: &DataType) -> Result<ScalarValue> {
    let slot = value::take_slot(&mut stored).map_err(|_| malformed())?;
    let slot = key::typed(slot, ty);
    if slot == Slot::Null || !stored.is_empty() || !key::is_key_type(ty) {
        return Err(malformed());
    }
    let mut column = ColumnBuilder::new(ty);
    column.push(&slot);
    let value = ScalarValue::try_from_array(&column.finish(), 0)?;
    if value.is_null() { Err(malformed()) } else { Ok(value) }
}

/// The rows for which a condition is true.
///
/// # Errors
/// It is no condition of this table.
pub(crate) fn keep(condition: &Arc<dyn PhysicalExpr>, batch: RecordBatch) -> Result<RecordBatch> {
    let mask = condition.evaluate(&batch)?.into_array(batch.num_rows())?;
    let mask = mask.as_boolean_opt().ok_or_else(malformed)?;
    if mask.null_count() == 0 && mask.true_count() == mask.len() {
        return Ok(batch);
    }
    Ok(filter_record_batch(&batch, mask)?)
}

/// The same rows without the texts of others, which a batch keeps that was filtered or cut.
pub(crate) fn compact(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns =
        batch.columns().iter().map(|column| match column.as_any().downcast_ref::<StringViewArray>() {
            Some(texts) => Arc::new(texts.gc()),
            None => column.clone(),
        });
    crate::plan::steps::batch(batch.schema(), columns.collect(), batch.num_rows())
}

#[cfg(test)]
mod tests;
