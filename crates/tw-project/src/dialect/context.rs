//! The step from SQL to a logical plan.

use super::named::Named;
use super::{Dialect, functions};
use crate::functions::function::type_error;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, TableReference};
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{ExprPlanner, TypePlanner};
use datafusion::logical_expr::{
    AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::sql::planner::{ContextProvider, NullOrdering, ParserOptions, SqlToRel};
use datafusion::sql::sqlparser::ast::{Query, Statement};
use std::sync::Arc;

/// The tables that a statement can name.
pub(crate) trait Tables {
    /// The table of a name as it is written: `orders`, `shop.orders`, `events."shop.orders"`.
    ///
    /// # Errors
    /// There is none, with a suggestion.
    fn table(&self, name: &TableReference) -> Result<Arc<dyn TableSource>>;
}

/// Plans a lowered SELECT. The plan is neither analysed nor optimised.
///
/// # Errors
/// A name that does not exist, or an expression without meaning.
pub(crate) fn plan_query(
    dialect: Dialect,
    tables: &dyn Tables,
    state: &SessionState,
    query: Query,
) -> Result<LogicalPlan> {
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(dialect)];
    planners.extend(state.expr_planners().iter().cloned());
    let context = Context { dialect, tables, state, planners };
    let options = ParserOptions::new()
        .with_parse_float_as_decimal(true)
        .with_enable_ident_normalization(true)
        .with_default_null_ordering(NullOrdering::NullsMax);
    let planner = SqlToRel::new_with_options(&context, options);
    planner.sql_statement_to_plan(Statement::Query(Box::new(query)))
}

struct Context<'a> {
    dialect: Dialect,
    tables: &'a dyn Tables,
    state: &'a SessionState,
    planners: Vec<Arc<dyn ExprPlanner>>,
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        self.tables.table(&name)
    }

    fn get_table_function_source(
        &self,
        name: &str,
        _: Vec<datafusion::logical_expr::Expr>,
    ) -> Result<Arc<dyn TableSource>> {
        Err(type_error(format!("not supported: {name}() as a table")))
    }

    fn create_cte_work_table(
        &self,
        name: &str,
        schema: datafusion::arrow::datatypes::SchemaRef,
    ) -> Result<Arc<dyn TableSource>> {
        let table = datafusion::datasource::cte_worktable::CteWorkTable::new(name, schema);
        Ok(datafusion::datasource::provider_as_source(Arc::new(table)))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(self.dialect))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        functions::exists(name).then(|| Named::udf(name))
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        functions::names().map(str::to_owned).collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
