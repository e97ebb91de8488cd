//! What a projection answers and what is built anew of it, compared: one statement over both, at the same events.
//!
//! Rows are compared as a whole, by the columns that both have; a row that occurs several times counts as often. Where the result has
//! a key, two rows of the same key are one that differs.

use super::Engine;
use crate::plan::ProjectionPlan;
use crate::sql::{self, Statement};
use crate::view::view_name_of_projection;
use crate::{Catalog, Error};
use datafusion::arrow::datatypes::FieldRef;
use datafusion::sql::sqlparser::ast::SetExpr;
use std::fmt::Write as _;
use std::sync::Arc;
use tw_process::View as _;
use tw_types::StreamId;

/// How a comparison is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The statement. Every row of its answer begins with six columns that say what all come to: the rows that answer, the new rows, rows
    /// that are the same, keys whose rows differ, rows that only the old version has, rows that only the new one has. Then come, if there
    /// are rows that differ, how often the old and the new version have the row, and its columns, ordered by the key.
    pub sql: String,
    /// The SELECT of the version that answers.
    pub old: String,
    /// That of the new one.
    pub new: String,
    /// The columns that tell rows apart; none, where rows differ as a whole.
    pub keys: Vec<String>,
    /// The columns that are compared.
    pub columns: Vec<String>,
    /// Columns that only the version that answers has, or that have another type there.
    pub only_old_columns: Vec<String>,
    /// Columns that only the new version has, or that have another type there.
    pub only_new_columns: Vec<String>,
}

impl Engine {
    /// How a projection is compared with what is built anew of it: at most `rows_max` rows that differ are shown, of all rows that fit the
    /// condition `filter`.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::NotReadable`] when nothing is built anew; [`Error::Refused`] when both have no column in common;
    /// [`Error::Syntax`] of the condition.
    pub fn comparison(&self, name: &str, filter: Option<&str>, rows_max: u64) -> Result<Comparison, Error> {
        let catalog = self.catalog();
        let projection = catalog.projection(name)?;
        let view = view_name_of_projection(name);
        let stream = |id: StreamId| catalog.streams().by_id(id);
        let next = self.find_next(&view, stream(projection.def.stream)?)?;
        let read = self.find_view(&view, stream(projection.def.stream)?)?;
        let (old_plan, new_plan) = (read.plan(), next.plan());
        let same = |field: &&FieldRef| {
            let theirs = new_plan.output.field_with_name(field.name());
            theirs.is_ok_and(|theirs| theirs.data_type() == field.data_type())
        };
        let names = |plan: &ProjectionPlan| -> Vec<String> {
            plan.output.fields().iter().map(|field| field.name().clone()).collect()
        };
        let columns: Vec<String> =
            old_plan.output.fields().iter().filter(same).map(|field| field.name().clone()).collect();
        if columns.is_empty() {
            let detail = format!("projection `{name}` and its new version have no column in common");
            return Err(Error::Refused(detail));
        }
        let without = |names: Vec<String>| names.into_iter().filter(|name| !columns.contains(name)).collect();
        let keys = keys(old_plan, new_plan).filter(|keys| keys.iter().all(|key| columns.contains(key)));
        let keys = keys.unwrap_or_default();
        let defined = |definition: u64| {
            let mut all = std::iter::once(&projection.def).chain(&projection.earlier);
            all.find(|def| self.view_of(&catalog, def).is_ok_and(|view| view.definition() == definition))
        };
        let query = |definition: u64| defined(definition).map(|def| def.query.clone()).unwrap_or_default();
        check_filter(name, filter)?;
        Ok(Comparison {
            sql: statement(name, filter, &columns, &keys, rows_max),
            old: query(read.definition()),
            new: query(next.definition()),
            only_old_columns: without(names(old_plan)),
            only_new_columns: without(names(new_plan)),
            keys,
            columns,
        })
    }

    /// The definition by which a projection answers while another one is built, if it is this query: to go back to it nothing has to be built.
    pub(super) fn read_before(
        &self,
        catalog: &Catalog,
        name: &str,
        query: &str,
    ) -> Option<Arc<crate::ProjectionDef>> {
        let projection = catalog.projection(name).ok()?;
        let read = self.reading(&view_name_of_projection(name)).ok()?.view.definition();
        let is_read = |def: &&Arc<crate::ProjectionDef>| {
            def.query == query && self.view_of(catalog, def).is_ok_and(|view| view.definition() == read)
        };
        projection.earlier.iter().find(is_read).cloned()
    }
}

/// The key that both have.
fn keys(old: &ProjectionPlan, new: &ProjectionPlan) -> Option<Vec<String>> {
    let (old, new) = (old.key_names()?, new.key_names()?);
    let is_same = old.len() == new.len() && old.iter().all(|key| new.contains(key));
    is_same.then(|| new.into_iter().map(str::to_owned).collect())
}

/// Whether a condition is one, and nothing else.
fn check_filter(name: &str, filter: Option<&str>) -> Result<(), Error> {
    let Some(filter) = filter else { return Ok(()) };
    let start = format!("SELECT 1 FROM {} WHERE ", sql::quoted(name));
    if let Statement::Query(query) = sql::parse(&format!("{start}{filter}"))?
        && let SetExpr::Select(select) = query.body.as_ref()
        && let Some(condition) = &select.selection
        && query.to_string() == format!("{start}{condition}")
    {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "`{filter}` is not a condition alone: write what stands behind WHERE, such as `total > 10`"
    )))
}

/// The statement over both; see [`Comparison::sql`].
fn statement(name: &str, filter: Option<&str>, columns: &[String], keys: &[String], rows_max: u64) -> String {
    let name = sql::quoted(name);
    let list = |prefix: &str| {
        let all: Vec<String> = (0..columns.len()).map(|number| format!("{prefix}c{number}")).collect();
        all.join(", ")
    };
    let named: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(number, column)| format!("{} AS c{number}", sql::quoted(column)))
        .collect();
    let filter = filter.map(|filter| format!(" WHERE ({filter}\n)")).unwrap_or_default();
    let key: Vec<String> = keys
        .iter()
        .filter_map(|key| columns.iter().position(|column| column == key))
        .map(|number| format!("c{number}"))
        .collect();
    let (all, named) = (list(""), named.join(", "));
    let by_key = if key.is_empty() { all.clone() } else { key.join(", ") };
    let order = if key.is_empty() { all.clone() } else { format!("{}, n", key.join(", ")) };
    let mut text = String::new();
    let _infallible = write!(
        text,
        "WITH both_sides AS (\
         SELECT {named}, 1 AS o, 0 AS n FROM {name}{filter} UNION ALL \
         SELECT {named}, 0 AS o, 1 AS n FROM next.{name}{filter}), \
         counted AS (SELECT {all}, sum(o) AS o, sum(n) AS n FROM both_sides GROUP BY {all}), \
         differing AS (SELECT {all}, o, n FROM counted WHERE o <> n), \
         by_key AS (SELECT max(CASE WHEN o > n THEN 1 ELSE 0 END) AS has_old, \
         max(CASE WHEN n > o THEN 1 ELSE 0 END) AS has_new, \
         sum(CASE WHEN o > n THEN o - n ELSE 0 END) AS more_old, sum(CASE WHEN n > o THEN n - o ELSE 0 END) AS more_new \
         FROM differing GROUP BY {by_key}), \
         rows_of AS (SELECT sum(o) AS t0, sum(n) AS t1, sum(CASE WHEN o < n THEN o ELSE n END) AS t2 FROM counted), \
         keys_of AS (SELECT sum(CASE WHEN has_old + has_new = 2 THEN 1 ELSE 0 END) AS t3, \
         sum(CASE WHEN has_new = 0 THEN more_old ELSE 0 END) AS t4, \
         sum(CASE WHEN has_old = 0 THEN more_new ELSE 0 END) AS t5 FROM by_key), \
         shown AS (SELECT o, n, {all} FROM differing ORDER BY {order} LIMIT {}) \
         SELECT t0, t1, t2, t3, t4, t5, o, n, {all} FROM rows_of CROSS JOIN keys_of LEFT JOIN shown ON true ORDER BY {order}",
        rows_max.saturating_mul(2)
    );
    text
}
