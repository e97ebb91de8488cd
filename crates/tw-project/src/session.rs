//! The DataFusion session that plans and runs statements.

use crate::dialect::{Dialect, PostgresRule};
use crate::functions::aggregates;
use crate::query::partials::AggregateThere;
use datafusion::execution::context::SessionConfig;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder, SessionStateDefaults};
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer};
use std::sync::Arc;

/// How many rows a batch of a query has.
pub(crate) const BATCH_ROWS: usize = 8192;

/// A session for one statement, or for the plan of a projection.
pub(crate) fn state(dialect: Dialect, runtime: Option<Arc<RuntimeEnv>>, threads: usize) -> SessionState {
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![Arc::new(PostgresRule(dialect))];
    rules.extend(Analyzer::new().rules);
    // It would sum sums, whose type is another one than that of the sum.
    let optimizers = Optimizer::new()
        .rules
        .into_iter()
        .filter(|rule| rule.name() != "single_distinct_aggregation_to_group_by");
    let mut config = SessionConfig::new().with_target_partitions(threads.max(1)).with_batch_size(BATCH_ROWS);
    // It compares what the optimizer and the operators say about whether a common part of the aggregates' arguments can be
    // NULL, and fails where the optimizer knows it better: that `x IS NOT DISTINCT FROM true` cannot.
    config.options_mut().execution.skip_physical_aggregate_schema_check = true;
    let runtime = runtime.unwrap_or_else(|| RuntimeEnvBuilder::new().build_arc().unwrap_or_default());
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_analyzer_rules(rules)
        .with_optimizer_rules(optimizers.collect())
        .with_physical_optimizer_rule(Arc::new(AggregateThere))
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(SessionStateDefaults::default_scalar_functions())
        .with_aggregate_functions(aggregates::all())
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .build()
}
