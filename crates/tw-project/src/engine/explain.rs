//! EXPLAIN: what is done for a projection or a query, step by step.

use super::listing::Listing;
use crate::operators::aggregate::{Aggregate, Keeps};
use crate::plan::ProjectionPlan;
use crate::plan::steps::Step;
use crate::query::Answer;
use crate::query::point::PointRead;
use crate::rows::columns::Reading;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::fmt_sql;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use std::sync::Arc;

/// Lines as the answer of EXPLAIN.
fn lines(lines: impl IntoIterator<Item = String>) -> Answer {
    Listing::default().text("plan", lines).answer()
}

/// How a query is carried out, and from where it gathers what it reads.
pub(super) fn query(plan: &dyn ExecutionPlan, gathers: Vec<String>) -> Answer {
    let text = displayable(plan).indent(false).to_string();
    lines(text.lines().map(str::to_owned).chain(gathers))
}

/// How a query is carried out that reads by key.
pub(super) fn point(read: &PointRead, gathers: Vec<String>) -> Answer {
    let columns: Vec<&str> = read.schema.fields().iter().map(|field| field.name().as_str()).collect();
    let told = [
        format!("look up the row with this key: {}", read.key().collect::<Vec<_>>().join(", ")),
        format!("columns: {}", columns.join(", ")),
    ];
    lines(told.into_iter().chain(gathers))
}

/// How a projection is kept up to date.
pub(super) fn projection(plan: &ProjectionPlan) -> Answer {
    let mut out = Vec::new();
    let names: Vec<&str> = plan.input.fields().iter().map(|field| field.name().as_str()).collect();
    let what = if plan.columns.reading == Reading::Events { "events" } else { "changes" };
    out.push(format!("read the {what} of {}: {}", plan.stream.name, names.join(", ")));
    let mut schema = plan.input.clone();
    steps(&plan.before, &mut schema, &mut out);
    match &plan.grouping {
        None => out.push("keep each row".to_owned()),
        Some((grouping, _)) => {
            let only_added = plan.columns.reading == Reading::Events;
            out.push(match grouping.keys {
                0 => "one group".to_owned(),
                keys => {
                    let keys: Vec<&str> =
                        schema.fields().iter().take(keys).map(|field| field.name().as_str()).collect();
                    format!("group by {}", keys.join(", "))
                }
            });
            out.extend(
                grouping.aggregates.iter().map(|one| format!("  {}", aggregate(one, &schema, only_added))),
            );
            schema = plan.grouped.clone();
        }
    }
    if !plan.after.is_empty() {
        out.push("when it is read".to_owned());
        let start = out.len();
        steps(&plan.after, &mut schema, &mut out);
        out.iter_mut().skip(start).for_each(|line| line.insert_str(0, "  "));
    }
    let names: Vec<&str> = plan.output.fields().iter().map(|field| field.name().as_str()).collect();
    out.push(format!("columns: {}", names.join(", ")));
    lines(out)
}

fn shown(expr: &Arc<dyn PhysicalExpr>) -> String {
    fmt_sql(expr.as_ref()).to_string().replace("count(Int64(1))", "count(*)")
}

fn steps(steps: &[Step], schema: &mut SchemaRef, out: &mut Vec<String>) {
    for step in steps {
        match step {
            Step::Filter(condition) => out.push(format!("filter {}", shown(condition))),
            Step::Map(exprs, after) => {
                let exprs: Vec<String> = exprs.iter().map(shown).collect();
                out.push(format!("compute {}", exprs.join(", ")));
                *schema = after.clone();
            }
        }
    }
}

fn aggregate(aggregate: &Aggregate, schema: &SchemaRef, only_added: bool) -> String {
    let name = |column: usize| schema.fields().get(column).map_or("", |field| field.name().as_str());
    let distinct = if aggregate.distinct { "DISTINCT " } else { "" };
    let argument = aggregate.argument.map_or("*", name);
    let filter = aggregate.filter.map(|column| format!(" FILTER ({})", name(column))).unwrap_or_default();
    let keeps = match aggregate.keeps(only_added) {
        Keeps::Nothing => "",
        Keeps::Values => ": keeps each different value",
        Keeps::Rows => ": keeps the value of each row",
    };
    format!("{}({distinct}{argument}){filter}{keeps}", aggregate.function.name())
}
