//! Gives every expression of a plan PostgreSQL's meaning, before DataFusion would give it its own.
//!
//! Whatever is brought to another type here is brought there by a function of ours; DataFusion's own coercion, which
//! runs later, finds nothing left to do.

use super::fallible::can_fail;
use super::functions::{self, condition};
use super::guard;
use super::operand::Operand;
use super::operators::{self, comparands, compare};
use super::rule::bind;
use super::{Dialect, Named};
use crate::functions::cast::Cast;
use crate::functions::function::{Function, type_error};
use crate::types::{self, Kind};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion, TreeNodeRewriter};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{InList, InSubquery, Like, SetComparison};
use datafusion::logical_expr::{
    Between, BinaryExpr, Case, Expr, LogicalPlanBuilder, Operator, ScalarUDFImpl, Subquery,
};
use datafusion::sql::sqlparser::ast::BinaryOperator as Sql;
use std::sync::Arc;

/// Rewrites `expr`, whose columns are those of `schema`, while a statement is being planned.
///
/// # Errors
/// There is no operator or function for the types.
pub(super) fn rewrite(dialect: &Dialect, expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(expr.rewrite(&mut Rewriter { dialect, schema, is_planning: true })?.data)
}

pub(super) struct Rewriter<'a> {
    pub(super) dialect: &'a Dialect,
    pub(super) schema: &'a DFSchema,
    /// Whether subqueries have not been rewritten. They are once: again at each level would take time that doubles with it.
    pub(super) is_planning: bool,
}

/// Whether an expression has been made by the binder, so that everything in it has its meaning already.
fn is_bound(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(binary) => {
            !matches!(binary.op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom)
        }
        Expr::ScalarFunction(function) => {
            let implementation = function.func.inner();
            implementation.is::<Function>() || implementation.is::<Cast>()
        }
        Expr::Case(case) => guard::is_guarded(case),
        _ => false,
    }
}

impl TreeNodeRewriter for Rewriter<'_> {
    type Node = Expr;

    fn f_down(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        let recursion = if is_bound(&expr) { TreeNodeRecursion::Jump } else { TreeNodeRecursion::Continue };
        Ok(Transformed::new(expr, false, recursion))
    }

    fn f_up(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        if is_bound(&expr) {
            return Ok(Transformed::no(expr));
        }
        self.node(expr)
    }
}

impl Rewriter<'_> {
    fn operand(&self, expr: Expr) -> Result<Operand> {
        Operand::new(expr, self.schema)
    }

    fn node(&self, expr: Expr) -> Result<Transformed<Expr>> {
        Ok(Transformed::yes(match expr {
            Expr::Cast(cast) => self.cast(*cast.expr, &cast.field)?,
            Expr::TryCast(_) => {
                return Err(type_error("not supported: TRY_CAST: use CASE to keep what cannot be cast"));
            }
            Expr::Negative(inner) => functions::negative(self.operand(*inner)?)?,
            Expr::Not(inner) => Expr::Not(Box::new(condition(*inner, "NOT", self.schema)?)),
            Expr::IsTrue(inner) => Expr::IsTrue(Box::new(condition(*inner, "IS TRUE", self.schema)?)),
            Expr::IsFalse(inner) => Expr::IsFalse(Box::new(condition(*inner, "IS FALSE", self.schema)?)),
            Expr::IsNotTrue(inner) => {
                Expr::IsNotTrue(Box::new(condition(*inner, "IS NOT TRUE", self.schema)?))
            }
            Expr::IsNotFalse(inner) => {
                Expr::IsNotFalse(Box::new(condition(*inner, "IS NOT FALSE", self.schema)?))
            }
            Expr::IsUnknown(inner) => {
                Expr::IsUnknown(Box::new(condition(*inner, "IS UNKNOWN", self.schema)?))
            }
            Expr::IsNotUnknown(inner) => {
                Expr::IsNotUnknown(Box::new(condition(*inner, "IS NOT UNKNOWN", self.schema)?))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                compare(op, self.operand(*left)?, self.operand(*right)?)?
            }
            Expr::Between(between) => self.between(between)?,
            Expr::InList(list) => self.in_list(list)?,
            Expr::InSubquery(within) => {
                let (expr, subquery) = self.compared(Operator::Eq, *within.expr, within.subquery)?;
                Expr::InSubquery(InSubquery::new(Box::new(expr), subquery, within.negated))
            }
            Expr::SetComparison(set) => {
                let (expr, subquery) = self.compared(set.op, *set.expr, set.subquery)?;
                Expr::SetComparison(SetComparison::new(Box::new(expr), subquery, set.op, set.quantifier))
            }
            Expr::Like(like) => Expr::Like(self.like(like)?),
            Expr::SimilarTo(_) => {
                return Err(type_error("not supported: SIMILAR TO: use LIKE or the operator ~"));
            }
            Expr::Case(case) => self.case(case)?,
            Expr::AggregateFunction(mut aggregate) => {
                let params = &mut aggregate.params;
                let sorts = params.order_by.iter_mut().map(|sort| &mut sort.expr);
                self.guard_arguments(&mut params.filter, params.args.iter_mut().chain(sorts))?;
                Expr::AggregateFunction(aggregate)
            }
            Expr::WindowFunction(mut window) => {
                let params = &mut window.params;
                self.guard_arguments(&mut params.filter, params.args.iter_mut())?;
                Expr::WindowFunction(window)
            }
            Expr::ScalarFunction(function) => match function.func.inner().downcast_ref::<Named>() {
                Some(named) => {
                    functions::plan(self.dialect, ScalarUDFImpl::name(named), function.args, self.schema)?
                }
                None => return Ok(Transformed::no(Expr::ScalarFunction(function))),
            },
            other => return Ok(Transformed::no(other)),
        }))
    }

    fn cast(&self, expr: Expr, field: &datafusion::arrow::datatypes::Field) -> Result<Expr> {
        let operand = self.operand(expr)?;
        let to = field.data_type();
        match Kind::of_field(field) {
            Kind::Uuid => match (operand.open_text(), operand.kind) {
                (_, Kind::Uuid) => Ok(operand.expr),
                (Some(text), _) => {
                    let uuid = crate::values::scan::normal_uuid(text)
                        .ok_or_else(|| type_error(format!("invalid input syntax for type uuid: `{text}`")))?;
                    Ok(Expr::Literal(datafusion::common::ScalarValue::Utf8View(Some(uuid)), None))
                }
                _ => Err(type_error(format!("not supported: a cast of {} to uuid", operand.type_name()))),
            },
            Kind::Json => match operand.kind {
                Kind::Json => Ok(operand.expr),
                Kind::Text => {
                    Ok(crate::functions::json::as_json().call(vec![operand.cast(&DataType::Utf8View)?]))
                }
                _ => Err(type_error(format!("not supported: a cast of {} to json", operand.type_name()))),
            },
            Kind::Text => operand.into_text(),
            _ => match operand.kind {
                Kind::SpanText | Kind::Interval | Kind::Text | Kind::Unknown => operand.cast(to),
                Kind::Uuid | Kind::Json | Kind::Opaque | Kind::Ambiguous => Err(type_error(format!(
                    "cannot cast type {} to {}: cast to text first",
                    operand.type_name(),
                    types::name(to)
                ))),
                _ => operand.cast(to),
            },
        }
    }

    fn binary(&self, op: &Sql, left: Expr, right: Expr) -> Result<Expr> {
        operators::binary(op, left, right, self.schema)?
            .ok_or_else(|| type_error(format!("operator {op} does not exist")))
    }

    fn between(&self, between: Between) -> Result<Expr> {
        let low = self.binary(&Sql::GtEq, guard::copy(&between.expr)?, *between.low)?;
        let high = self.binary(&Sql::LtEq, *between.expr, *between.high)?;
        let both = self.binary(&Sql::And, low, high)?;
        Ok(if between.negated { Expr::Not(Box::new(both)) } else { both })
    }

    fn in_list(&self, list: InList) -> Result<Expr> {
        let first = self.operand(*list.expr)?.comparable()?;
        if first.kind == Kind::Interval {
            return Err(type_error("not supported: IN for intervals: compare with = and OR"));
        }
        // Each item is compared as by =; all must come to the same type.
        let mut ty: Option<DataType> = None;
        let operands = list.list.into_iter().map(|item| self.operand(item)).collect::<Result<Vec<_>>>()?;
        for item in &operands {
            let (left, _) = comparands(&Operator::Eq, first.clone(), item.clone())?;
            let wanted = Operand::new(left, self.schema)?.ty().clone();
            ty = Some(match ty {
                None => wanted,
                Some(ty) => types::operand_type(&ty, &wanted)
                    .ok_or_else(|| type_error("the values of IN have types that cannot be matched"))?,
            });
        }
        let ty = ty.unwrap_or_else(|| first.ty().clone());
        let items = operands
            .into_iter()
            .map(|item| {
                let item = if item.is_open() { item.adopt(&first)? } else { item.expr };
                self.operand(item)?.cast(&ty)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Expr::InList(InList::new(Box::new(first.cast(&ty)?), items, list.negated)))
    }

    /// A value and the column of a subquery that it is compared with, brought to one type.
    fn compared(&self, op: Operator, expr: Expr, subquery: Subquery) -> Result<(Expr, Subquery)> {
        let mut plan = Arc::unwrap_or_clone(subquery.subquery);
        if self.is_planning {
            plan = bind(*self.dialect, plan)?;
        }
        let [column] = plan
            .schema()
            .columns()
            .try_into()
            .map_err(|_| type_error("a subquery that a value is compared with must have one column"))?;
        let column = Expr::Column(column);
        let operand = Operand::new(column.clone(), plan.schema())?;
        let (expr, of_subquery) = comparands(&op, self.operand(expr)?, operand)?;
        let plan = if of_subquery == column {
            plan
        } else {
            LogicalPlanBuilder::from(plan).project([of_subquery])?.build()?
        };
        Ok((expr, Subquery { subquery: Arc::new(plan), ..subquery }))
    }

    fn like(&self, like: Like) -> Result<Like> {
        let (expr, pattern) = (self.operand(*like.expr)?, self.operand(*like.pattern)?);
        for operand in [&expr, &pattern] {
            if !matches!(operand.kind, Kind::Text | Kind::Unknown) {
                return Err(type_error(format!(
                    "operator does not exist: {} LIKE {}: cast to text",
                    expr.type_name(),
                    pattern.type_name()
                )));
            }
        }
        let text = |operand: Operand| operand.cast(&DataType::Utf8View).map(Box::new);
        Ok(Like::new(like.negated, text(expr)?, text(pattern)?, like.escape_char, like.case_insensitive))
    }

    fn case(&self, case: Case) -> Result<Expr> {
        let operand = case.expr.map(|expr| *expr);
        if let Some(operand) = &operand {
            guard::copies(operand, case.when_then_expr.len().saturating_sub(1))?;
        }
        let mut conditions = Vec::with_capacity(case.when_then_expr.len());
        let mut results = Vec::with_capacity(case.when_then_expr.len() + 1);
        for (when, then) in case.when_then_expr {
            conditions.push(match &operand {
                Some(operand) => compare(Operator::Eq, self.operand(operand.clone())?, self.operand(*when)?)?,
                None => condition(*when, "CASE", self.schema)?,
            });
            results.push(self.operand(*then)?);
        }
        let has_else = case.else_expr.is_some();
        if let Some(result) = case.else_expr {
            results.push(self.operand(*result)?);
        }
        let mut results = unify("CASE", results)?.into_iter();
        let when_then =
            conditions.into_iter().zip(results.by_ref()).map(|(when, then)| (Box::new(when), Box::new(then)));
        let when_then = when_then.collect();
        let otherwise = if has_else { results.next().map(Box::new) } else { None };
        Ok(guard::case(when_then, otherwise, self.schema))
    }

    /// What is not counted by an aggregate is not computed for it either.
    fn guard_arguments<'e>(
        &self,
        filter: &mut Option<Box<Expr>>,
        arguments: impl Iterator<Item = &'e mut Expr>,
    ) -> Result<()> {
        let Some(condition_of) = filter.take() else { return Ok(()) };
        let known = condition(*condition_of, "FILTER", self.schema)?;
        for argument in arguments {
            if !can_fail(argument, self.schema) || guard::is_only_where(&known, argument) {
                continue;
            }
            let operand = self.operand(argument.clone())?;
            if operand.kind.is_textual() {
                return Err(type_error(format!(
                    "not supported: FILTER with a value of type {} that cannot be computed for every row: cast to text",
                    operand.type_name()
                )));
            }
            *argument = guard::only_where(guard::copy(&known)?, operand.expr);
        }
        *filter = Some(Box::new(known));
        Ok(())
    }
}

/// Brings results to one type.
fn unify(of: &str, operands: Vec<Operand>) -> Result<Vec<Expr>> {
    let mut common = DataType::Null;
    for operand in &operands {
        if operand.kind.is_textual() {
            return Err(type_error(format!(
                "not supported: {of} with results of type {}: cast to text",
                operand.type_name()
            )));
        }
        if !operand.is_open() {
            common = types::common_type(&common, operand.ty()).ok_or_else(|| {
                let (a, b) = (types::name(&common), operand.type_name());
                type_error(format!("{of} types {a} and {b} cannot be matched: add a cast"))
            })?;
        }
    }
    let common = if common == DataType::Null { DataType::Utf8View } else { common };
    operands.into_iter().map(|operand| operand.cast(&common)).collect()
}
