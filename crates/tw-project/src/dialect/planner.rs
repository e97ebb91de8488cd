//! What DataFusion's SQL planner asks: what operators and types mean.

use super::Dialect;
use super::named::Named;
use super::operators::binary;
use super::rewrite::rewrite;
use crate::functions::function::type_error;
use crate::types;
use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, TypePlanner};
use datafusion::sql::sqlparser::ast::DataType as SqlType;
use std::sync::Arc;
use tw_types::ColumnType;

impl ExprPlanner for Dialect {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = expr;
        // The operands must have their final types before an operator is chosen by them.
        let left = rewrite(self, left, schema)?;
        let right = rewrite(self, right, schema)?;
        Ok(match binary(&op, left.clone(), right.clone(), schema)? {
            Some(expr) => PlannerResult::Planned(expr),
            None => PlannerResult::Original(RawBinaryExpr { op, left, right }),
        })
    }

    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(Named::udf("extract").call(args)))
    }

    fn plan_position(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(Named::udf("strpos").call(args)))
    }

    fn plan_substring(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(Named::udf("substring").call(args)))
    }

    fn plan_overlay(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(Named::udf("overlay").call(args)))
    }
}

impl TypePlanner for Dialect {
    fn plan_type_field(&self, ty: &SqlType) -> Result<Option<FieldRef>> {
        if let SqlType::Array(_) = ty {
            return Ok(None);
        }
        if let SqlType::Interval { .. } = ty {
            let field = datafusion::arrow::datatypes::Field::new("", types::INTERVAL, true);
            return Ok(Some(Arc::new(field)));
        }
        let text = ty.to_string();
        let column: ColumnType =
            text.parse().map_err(|unknown: tw_types::UnknownType| type_error(unknown.to_string()))?;
        if column == ColumnType::Text && text.contains('(') {
            return Err(type_error(format!(
                "not supported: a cast to {}: use left(x, n)",
                text.to_lowercase()
            )));
        }
        if let ColumnType::Numeric(Some(bounds)) = column
            && types::bounded(bounds).is_none()
        {
            return Err(type_error(format!("numeric({},{}) has more than 76 digits", bounds.0, bounds.1)));
        }
        Ok(Some(Arc::new(types::field("", &column, true))))
    }
}
