//! The rule that rewrites a whole plan.

use super::Dialect;
use super::checks::{check_joined, check_plan};
use super::fallible::can_fail;
use super::functions::condition;
use super::guard;
use super::operand::Operand;
use super::operators::comparands;
use super::rewrite::Rewriter;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;

/// Gives every expression of a plan PostgreSQL's meaning. It must run before DataFusion's type coercion.
#[derive(Debug)]
pub(crate) struct PostgresRule(pub(crate) Dialect);

/// Gives every expression of a plan PostgreSQL's meaning; one that has it already keeps it.
pub(super) fn bind(dialect: Dialect, plan: LogicalPlan) -> Result<LogicalPlan> {
    let rule = PostgresRule(dialect);
    Ok(plan.transform_up_with_subqueries(|plan| rule.node(plan))?.data)
}

impl AnalyzerRule for PostgresRule {
    fn name(&self) -> &str {
        "postgresql"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        bind(self.0, plan)
    }
}

impl PostgresRule {
    fn node(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let mut schema = merge_schema(&plan.inputs());
        if let LogicalPlan::TableScan(scan) = &plan {
            schema
                .merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
        }
        if matches!(plan, LogicalPlan::Limit(_)) {
            // Its numbers are counts, which stay as they are.
            return Ok(Transformed::no(plan));
        }
        let names = NamePreserver::new(&plan);
        let mut rewriter = Rewriter { dialect: &self.0, schema: &schema, is_planning: false };
        let plan = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.rewrite(&mut rewriter)?.update_data(|expr| name.restore(expr)))
        })?;
        let mut plan = plan.data;
        let with_demands = |condition| guard::with_demands(condition, |expr| !can_fail(expr, &schema));
        match &mut plan {
            LogicalPlan::Filter(filter) => {
                filter.predicate = with_demands(condition(filter.predicate.clone(), "WHERE", &schema)?);
            }
            LogicalPlan::Join(join) => {
                join.filter = join.filter.take().map(with_demands);
                // Those of a join with USING; what ON compares is compared by the filter.
                for (left, right) in &mut join.on {
                    let sides = (
                        Operand::new(left.clone(), join.left.schema())?,
                        Operand::new(right.clone(), join.right.schema())?,
                    );
                    check_joined(&sides.0, &sides.1)?;
                    (*left, *right) = comparands(&Operator::Eq, sides.0, sides.1)?;
                }
            }
            _ => {}
        }
        check_plan(&plan)?;
        Ok(Transformed::yes(plan.recompute_schema()?))
    }
}
