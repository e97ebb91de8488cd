//! Conditions of which a part is only computed where another part asks for it.
//!
//! DataFusion's optimizer turns a CASE of booleans into ANDs and ORs, copies its conditions for that, and may compute both sides of
//! an AND for all rows: a division behind `x <> 0 AND` would fail. It leaves a CASE alone that compares a value. So there is
//! always one here: `CASE guard(left) WHEN false THEN false …`, where `guard(x)` is `x`. To the binder a guard says that
//! everything below it has its meaning already.

use super::fallible::can_fail;
use crate::functions::function::{Function, type_error};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    BinaryExpr, Case, Expr, ExprSchemable, Operator, ScalarUDF, ScalarUDFImpl, lit,
};
use std::sync::{Arc, LazyLock};

/// The most parts that a part of an expression may have if it is computed in two places.
const COPIED_MAX: usize = 10_000;

const NAME: &str = "guard";

static GUARD: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Function::of(
        NAME,
        |types, _| Ok(types.first().cloned().unwrap_or(DataType::Boolean)),
        |args, _, _| {
            let value = args.first().cloned();
            value.ok_or_else(|| DataFusionError::Internal("a guard without a value".into()))
        },
    )
});

/// A copy of an expression, for a second place.
///
/// # Errors
/// It is too large for that: copies within copies would exhaust the memory. Or the copy would have another value.
pub(super) fn copy(expr: &Expr) -> Result<Expr> {
    copies(expr, 1)?;
    Ok(expr.clone())
}

/// Checks that an expression may stand in so many more places.
pub(super) fn copies(expr: &Expr, count: usize) -> Result<()> {
    if count > 0 && expr.is_volatile() {
        return Err(type_error(
            "not supported: a function that gives another value each time, such as random(), where its value is needed twice: compute it in a subquery in FROM",
        ));
    }
    if size(expr).saturating_mul(count) > COPIED_MAX {
        return Err(type_error(format!(
            "the statement is too large: conditions within one another that are computed twice have more than {COPIED_MAX} parts: make it a subquery"
        )));
    }
    Ok(())
}

/// How many parts an expression has; no more are counted than matter.
fn size(expr: &Expr) -> usize {
    let mut parts = 0;
    let walked = expr.apply(|_| {
        parts += 1;
        Ok(if parts > COPIED_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    if walked.is_ok() { parts } else { usize::MAX }
}

/// `CASE WHEN … THEN … ELSE … END`, of which no branch is computed for the rows of another one.
pub(super) fn case(
    when_then: Vec<(Box<Expr>, Box<Expr>)>,
    otherwise: Option<Box<Expr>>,
    schema: &DFSchema,
) -> Expr {
    let results = when_then.iter().map(|(_, then)| then).chain(&otherwise);
    let of_booleans =
        results.into_iter().any(|result| result.get_type(schema).is_ok_and(|ty| ty == DataType::Boolean));
    // Those of booleans are turned into something else; so are others that are compared, into one of booleans.
    let fails = |part: &Expr| can_fail(part, schema);
    let guarded = of_booleans
        || when_then.iter().any(|(when, then)| fails(when) || fails(then))
        || otherwise.as_deref().is_some_and(fails);
    let base = guarded.then(|| Box::new(GUARD.call(vec![lit(true)])));
    Expr::Case(Case::new(base, when_then, otherwise))
}

/// `value` where `condition` is true, and NULL elsewhere.
pub(super) fn only_where(condition: Expr, value: Expr) -> Expr {
    let when_then = vec![(Box::new(lit(true)), Box::new(value))];
    Expr::Case(Case::new(Some(Box::new(GUARD.call(vec![condition]))), when_then, None))
}

/// AND or OR. The right side is only computed where the left one does not decide. One side has to stand there twice: the smaller one.
///
/// # Errors
/// Both are too large.
pub(super) fn logical(op: Operator, left: Expr, right: Expr) -> Result<Expr> {
    let decisive = op != Operator::And;
    let combined = |left: Expr, right: Expr| {
        Box::new(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
    };
    let when = |is: bool, then: Expr| (Box::new(lit(is)), Box::new(then));
    let left_is_copied = match (left.is_volatile(), right.is_volatile()) {
        (false, true) => true,
        (true, false) => false,
        _ => size(&left) <= size(&right),
    };
    let (base, when_then, otherwise) = if left_is_copied {
        let known = Box::new(copy(&left)?);
        let known = if decisive { Expr::IsTrue(known) } else { Expr::IsFalse(known) };
        (known, vec![when(true, lit(decisive))], combined(left, right))
    } else {
        let unknown = combined(Expr::Literal(ScalarValue::Boolean(None), None), copy(&right)?);
        (left, vec![when(decisive, lit(decisive)), when(!decisive, right)], unknown)
    };
    Ok(Expr::Case(Case::new(Some(Box::new(GUARD.call(vec![base]))), when_then, Some(otherwise))))
}

/// What the guard of a CASE compares; None if it has no guard.
fn guarded(case: &Case) -> Option<&Expr> {
    let Some(Expr::ScalarFunction(function)) = case.expr.as_deref() else { return None };
    let ours = function.func.inner().downcast_ref::<Function>()?;
    function.args.first().filter(|_| ScalarUDFImpl::name(ours) == NAME)
}

/// Whether a CASE was made here.
pub(super) fn is_guarded(case: &Case) -> bool {
    guarded(case).is_some()
}

/// Whether `value` is what [`only_where`] made for `condition`.
pub(super) fn is_only_where(condition: &Expr, value: &Expr) -> bool {
    matches!(value, Expr::Case(case) if guarded(case) == Some(condition))
}

/// The two sides of what [`logical`] made of an AND.
fn sides(case: &Case) -> Option<(&Expr, &Expr)> {
    let base = guarded(case)?;
    let both = match case.else_expr.as_deref() {
        Some(Expr::BinaryExpr(both)) if both.op == Operator::And => both,
        _ => return None,
    };
    match (case.when_then_expr.as_slice(), both.left.as_ref()) {
        ([_], left) => {
            matches!(base, Expr::IsFalse(known) if **known == *left).then_some((left, &*both.right))
        }
        ([_, (_, right)], Expr::Literal(ScalarValue::Boolean(None), _)) => {
            (**right == *both.right).then_some((base, &**right))
        }
        _ => None,
    }
}

/// A condition for whole rows with the comparisons in front of it that it demands, and that cannot fail: tables and joins
/// narrow down by them what they read, and do not look behind guards.
pub(super) fn with_demands(condition: Expr, cannot_fail: impl Fn(&Expr) -> bool) -> Expr {
    let mut found = Vec::new();
    let mut open = vec![(&condition, false)];
    while let Some((expr, behind_guard)) = open.pop() {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                open.extend([(&**right, behind_guard), (&**left, behind_guard)]);
            }
            Expr::BinaryExpr(_) if behind_guard && cannot_fail(expr) && !found.contains(expr) => {
                found.push(expr.clone());
            }
            Expr::Case(case) => {
                if let Some((left, right)) = sides(case) {
                    open.extend([(right, true), (left, true)]);
                }
            }
            _ => {}
        }
    }
    found.into_iter().rev().fold(condition, |condition, demand| demand.and(condition))
}
