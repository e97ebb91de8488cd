//! Reads of single rows by their key, without planning.
//!
//! `SELECT a, b FROM revenue WHERE customer_id = $1` is recognised once; from then on its key is looked up at once. What is not
//! exactly of this form, or has a value that is not exactly of the key's type, goes the long way.

use super::prune;
use super::state::Part;
use crate::catalog::{Catalog, Table};
use crate::functions::cast::cast_array;
use crate::plan::ProjectionPlan;
use crate::sql::{Param, Statement, normal};
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Query, SelectItem, SetExpr, TableFactor, Value,
    WildcardAdditionalOptions,
};
use std::sync::Arc;

/// Where the value of a key column comes from.
#[derive(Debug, Clone)]
enum Source {
    Param(usize),
    Literal(Param),
}

/// A statement that reads by key.
#[derive(Debug, Clone)]
pub(crate) struct PointRead {
    pub(crate) table: Table,
    pub(crate) plan: Arc<ProjectionPlan>,
    conditions: Vec<(String, DataType, Source)>,
    columns: Vec<usize>,
    pub(crate) schema: SchemaRef,
    /// Whether more has to be read than the row itself: as many entries as its group has.
    pub(crate) is_long: bool,
}

impl PointRead {
    /// Recognises a statement; `plan_of` finds the plan of a table's view.
    pub(crate) fn recognise(
        statement: &Statement,
        catalog: &Catalog,
        plan_of: impl FnOnce(&Table) -> Option<Arc<ProjectionPlan>>,
    ) -> Option<Self> {
        let Statement::Query(query) = statement else { return None };
        let select = plain_select(query)?;
        let [from] = select.from.as_slice() else { return None };
        let TableFactor::Table {
            name, alias: None, args: None, with_hints, version: None, partitions, ..
        } = &from.relation
        else {
            return None;
        };
        if !from.joins.is_empty() || !with_hints.is_empty() || !partitions.is_empty() {
            return None;
        }
        let parts: Vec<String> =
            name.0.iter().map(|part| part.as_ident().map(normal)).collect::<Option<_>>()?;
        let (schema, name) = match parts.as_slice() {
            [name] => (None, name),
            [schema, name] => (Some(schema.as_str()), name),
            _ => return None,
        };
        let table = catalog.table(schema, name).ok()?;
        let plan = plan_of(&table)?;
        let mut conditions = Vec::new();
        collect(select.selection.as_ref()?, &plan, &mut conditions)?;
        let columns = columns(&select.projection, &plan)?;
        let schema = Arc::new(plan.output.project(&columns).ok()?);
        let is_long = plan.walks(&columns).ok()?;
        let read = Self { columns, schema, table, plan, conditions, is_long };
        read.is_by_key().then_some(read)
    }

    /// Whether the conditions are exactly those of a whole key.
    fn is_by_key(&self) -> bool {
        let names: Vec<&str> = self.conditions.iter().map(|(name, _, _)| name.as_str()).collect();
        self.plan
            .key_names()
            .is_some_and(|key| key.len() == names.len() && key.iter().all(|name| names.contains(name)))
    }

    /// The names of the columns by which it reads.
    pub(crate) fn key(&self) -> impl Iterator<Item = &str> {
        self.conditions.iter().map(|(name, _, _)| name.as_str())
    }

    /// The part of the state that is wanted; None if a value is not exactly of its column's type.
    pub(crate) fn part(&self, params: &[Param]) -> Option<Part> {
        let values = self
            .conditions
            .iter()
            .map(|(name, ty, source)| {
                let param = match source {
                    Source::Param(index) => params.get(*index)?,
                    Source::Literal(param) => param,
                };
                Some((name.as_str(), scalar(param, ty)?))
            })
            .collect::<Option<Vec<_>>>()?;
        let part = self
            .plan
            .part(|name| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()));
        (part != Part::All).then_some(part)
    }

    /// The columns that are given, in their order.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The columns whose values matter; None: all.
    pub(crate) fn wanted(&self) -> Option<&[usize]> {
        (self.columns.len() < self.plan.output.fields().len()).then_some(&self.columns)
    }

    /// The wanted columns of what was read.
    pub(crate) fn project(&self, batch: &RecordBatch) -> Option<RecordBatch> {
        batch.project(&self.columns).ok()
    }
}

/// The SELECT of a query that has nothing else.
fn plain_select(query: &Query) -> Option<&datafusion::sql::sqlparser::ast::Select> {
    let bare = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty()
        && query.for_clause.is_none()
        && query.pipe_operators.is_empty();
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let plain = select.distinct.is_none()
        && select.top.is_none()
        && select.into.is_none()
        && select.having.is_none()
        && select.qualify.is_none()
        && select.exclude.is_none()
        && select.prewhere.is_none()
        && select.named_window.is_empty()
        && matches!(&select.group_by, GroupByExpr::Expressions(exprs, modifiers) if exprs.is_empty() && modifiers.is_empty());
    (bare && plain).then_some(select)
}

/// The columns of a list of names, or all.
fn columns(items: &[SelectItem], plan: &ProjectionPlan) -> Option<Vec<usize>> {
    if let [SelectItem::Wildcard(options)] = items
        && *options == WildcardAdditionalOptions::default()
    {
        return Some((0..plan.output.fields().len()).collect());
    }
    let mut columns = Vec::with_capacity(items.len());
    for item in items {
        let SelectItem::UnnamedExpr(Expr::Identifier(ident)) = item else { return None };
        let index = plan.output.index_of(&normal(ident)).ok()?;
        if columns.contains(&index) {
            return None;
        }
        columns.push(index);
    }
    Some(columns)
}

/// `a = 1 AND b = $2 AND …`
fn collect(
    condition: &Expr,
    plan: &ProjectionPlan,
    conditions: &mut Vec<(String, DataType, Source)>,
) -> Option<()> {
    match condition {
        Expr::Nested(inner) => collect(inner, plan, conditions),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            collect(left, plan, conditions)?;
            collect(right, plan, conditions)
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            let (Expr::Identifier(column), Expr::Value(value)) = (left.as_ref(), right.as_ref()) else {
                return None;
            };
            let name = normal(column);
            let field = plan.output.field_with_name(&name).ok()?;
            if !field.metadata().is_empty() || conditions.iter().any(|(known, _, _)| *known == name) {
                return None;
            }
            let source = match &value.value {
                Value::Placeholder(number) => {
                    Source::Param(number.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)?)
                }
                Value::Number(number, _) => Source::Literal(Param::Number(number.clone())),
                Value::SingleQuotedString(text) => Source::Literal(Param::Text(text.clone())),
                _ => return None,
            };
            conditions.push((name, field.data_type().clone(), source));
            Some(())
        }
        _ => None,
    }
}

/// A value as one of a type; None unless it is exactly that.
fn scalar(param: &Param, ty: &DataType) -> Option<ScalarValue> {
    let text = match (param, ty) {
        // A number is compared as a number, which a text is not.
        (Param::Number(_), DataType::Utf8View) => return None,
        (Param::Number(number), DataType::Int16 | DataType::Int32 | DataType::Int64)
            if number.parse::<i64>().is_ok() =>
        {
            number
        }
        (Param::Text(text), DataType::Utf8View) => return Some(ScalarValue::Utf8View(Some(text.clone()))),
        (
            Param::Text(text),
            DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Timestamp(..),
        ) => text,
        (Param::Bool(value), DataType::Boolean) => return Some(ScalarValue::Boolean(Some(*value))),
        _ => return None,
    };
    let array: ArrayRef = Arc::new(StringViewArray::from(vec![text.as_str()]));
    let array = cast_array(&array, ty).ok()?;
    let value = ScalarValue::try_from_array(&array, 0).ok()?;
    prune::slot(&value).map(|_| value)
}
