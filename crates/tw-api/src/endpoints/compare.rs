//! GET /v1/projections/{projection}/compare: what a projection answers beside what is built anew of it, at the same events.

use super::{Outcome, json};
use crate::headers;
use crate::options::ms;
use crate::parts::{Answer, Comparison, Rows, Statement};
use crate::query::Query;
use crate::rows::{Encoder, Format};
use crate::service::Call;
use crate::{Code, Problem};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

/// How many rows that differ are shown, where nothing else is said.
const LIMIT: u64 = 20;
const LIMIT_MAX: u64 = 1_000;

/// With how many columns each row of the statement begins that say what all come to.
const TOTALS: usize = 6;

/// A row, value by value as it is written.
type Row = BTreeMap<String, Box<RawValue>>;

/// What a projection answers, and what is built anew of it, compared.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ComparisonView {
    /// The projection.
    #[schema(example = "revenue")]
    projection: String,
    /// The version that answers.
    old: VersionView,
    /// What is built anew.
    new: VersionView,
    /// The columns that tell rows apart; empty where there are none: then rows are compared as a whole.
    keys: Vec<String>,
    /// The columns that are compared: those that both have, of the same type.
    columns: Vec<String>,
    /// Columns that only the version that answers has, or that have another type there.
    only_old_columns: Vec<String>,
    /// Columns that only the new version has, or that have another type there.
    only_new_columns: Vec<String>,
    /// How many rows are the same.
    #[schema(example = 100)]
    same: u64,
    /// How many keys have another row in the new version.
    #[schema(example = 2)]
    different: u64,
    /// How many rows only the version that answers has.
    #[schema(example = 0)]
    only_old: u64,
    /// How many rows only the new version has.
    #[schema(example = 1)]
    only_new: u64,
    /// The first rows that differ, in the order of their keys.
    rows: Vec<RowView>,
}

/// One of two versions of a projection.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionView {
    /// Its SELECT.
    #[schema(example = "SELECT customer_id, sum(total) FROM shop.orders GROUP BY customer_id")]
    sql: String,
    /// How many rows it has, of those that were compared.
    #[schema(example = 102)]
    rows: u64,
}

/// A row that is not the same in both.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RowView {
    /// `different`, `only_old` or `only_new`.
    #[schema(example = "different")]
    kind: &'static str,
    /// The row of the version that answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    old: Option<Row>,
    /// The row of the new version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    new: Option<Row>,
    /// How many more of this row that version has, where that is not one.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

/// Compares.
pub(crate) async fn compare(call: &Call) -> Outcome {
    let query = Query::read(call.uri.query(), &["limit", "where", "timeout_ms"])?;
    let limit = query.number("limit", 0..=LIMIT_MAX)?.unwrap_or(LIMIT);
    let timeout_ms = query.number("timeout_ms", 1..=call.options.sql_timeout_ms.into())?;
    let timeout = timeout_ms.map_or(ms(call.options.sql_timeout_ms), Duration::from_millis);
    let projection = call.capture(0)?.into_owned();
    let sql = &call.api.parts.sql;
    let comparison = sql.comparison(&projection, query.text("where"), limit)?;
    let statement = Statement { sql: comparison.sql.clone(), params: Vec::new(), token: None, timeout };
    let Answer::Rows(rows) = sql.execute(statement).await? else {
        return Err(Problem::new(Code::Internal, "a comparison did not answer with rows"));
    };
    let token = rows.token.clone();
    let answer = Compared::read(rows).await?.view(projection, comparison, limit as usize);
    let mut response = json(&answer)?;
    if let Some(token) = token.and_then(|token| headers::token_value(&token.to_string())) {
        response.headers_mut().insert(headers::TOKEN, token);
    }
    Ok(response)
}

/// The answer of the statement.
#[derive(Default, Deserialize)]
struct Compared {
    rows: Vec<Vec<Box<RawValue>>>,
}

/// A number of the statement: sums may come as texts, and of nothing as null.
fn count(value: Option<&RawValue>) -> u64 {
    value.and_then(|value| value.get().trim_matches('"').parse().ok()).unwrap_or_default()
}

impl Compared {
    async fn read(rows: Rows) -> Result<Self, Problem> {
        let Rows { schema, mut batches, .. } = rows;
        let (mut encoder, mut out) = (Encoder::new(Format::Json, &schema)?, Vec::new());
        encoder.begin(&mut out);
        while let Some(batch) = batches.next().await.transpose()? {
            encoder.batch(&batch, &mut out)?;
        }
        encoder.end(&mut out)?;
        serde_json::from_slice(&out).map_err(|error| Problem::new(Code::Internal, error.to_string()))
    }

    fn view(self, projection: String, comparison: Comparison, limit: usize) -> ComparisonView {
        let Comparison { old, new, keys, columns, only_old_columns, only_new_columns, .. } = comparison;
        let first = self.rows.first();
        let total = |number: usize| count(first.and_then(|row| row.get(number)).map(AsRef::as_ref));
        let [old_rows, new_rows, same, different, only_old, only_new] = [0, 1, 2, 3, 4, 5].map(total);
        let mut rows = Vec::new();
        for row in self.rows {
            let mut values = row.into_iter().skip(TOTALS);
            let (o, n) = (values.next(), values.next());
            let [o, n] = [o, n].map(|value| count(value.as_deref()));
            // Without any that differ, the totals stand alone.
            if o == n {
                continue;
            }
            let more = o.abs_diff(n);
            let row: Row = columns.iter().cloned().zip(values).collect();
            add(&mut rows, &keys, row, o > n, (more > 1).then_some(more));
        }
        rows.truncate(limit);
        ComparisonView {
            projection,
            old: VersionView { sql: old, rows: old_rows },
            new: VersionView { sql: new, rows: new_rows },
            keys,
            columns,
            only_old_columns,
            only_new_columns,
            same,
            different,
            only_old,
            only_new,
            rows,
        }
    }
}

/// Adds a row that one version has more of; one with the key of the row before it is the other half of that.
fn add(rows: &mut Vec<RowView>, keys: &[String], row: Row, is_old: bool, count: Option<u64>) {
    let is_of = |other: Option<&Row>| {
        let of = |row: &Row, key: &String| row.get(key).map(|value| value.get().to_owned());
        other.is_some_and(|other| !keys.is_empty() && keys.iter().all(|key| of(other, key) == of(&row, key)))
    };
    if let Some(last) = rows.last_mut() {
        let (mine, theirs) = if is_old { (&mut last.old, &last.new) } else { (&mut last.new, &last.old) };
        if mine.is_none() && is_of(theirs.as_ref()) {
            (last.kind, *mine) = ("different", Some(row));
            return;
        }
    }
    let (kind, old, new) = if is_old { ("only_old", Some(row), None) } else { ("only_new", None, Some(row)) };
    rows.push(RowView { kind, old, new, count });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn view(rows: &str, keys: &[&str], limit: usize) -> serde_json::Value {
        let compared: Compared = serde_json::from_str(rows).unwrap();
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let comparison =
            Comparison { keys: owned(keys), columns: owned(&["id", "total"]), ..Comparison::default() };
        let view = serde_json::to_value(compared.view("p".to_owned(), comparison, limit)).unwrap();
        json!([
            [view["old"]["rows"], view["new"]["rows"], view["same"]],
            [view["different"], view["only_old"], view["only_new"]],
            view["rows"]
        ])
    }

    #[test]
    fn two_rows_of_a_key_are_one_that_differs() {
        let rows = r#"{"columns":[],"rows":[
            ["3",3,"1",1,1,"1",1,0,"a",1.10],["3",3,"1",1,1,"1",0,1,"a",1.2],
            ["3",3,"1",1,1,"1",1,0,"b",7],["3",3,"1",1,1,"1",0,1,"c",8]]}"#;
        let expected = json!([
            [3, 3, 1],
            [1, 1, 1],
            [
                {"kind": "different", "old": {"id": "a", "total": 1.10}, "new": {"id": "a", "total": 1.2}},
                {"kind": "only_old", "old": {"id": "b", "total": 7}},
                {"kind": "only_new", "new": {"id": "c", "total": 8}},
            ]
        ]);
        assert_eq!(view(rows, &["id"], 20), expected);
        assert_eq!(view(rows, &["id"], 1)[2].as_array().unwrap().len(), 1);
        assert_eq!(
            view(rows, &[], 20)[2].as_array().unwrap().len(),
            4,
            "rows without a key differ as a whole"
        );
    }

    #[test]
    fn nothing_differs_where_the_totals_stand_alone() {
        let rows = r#"{"columns":[],"rows":[[2,2,2,null,null,null,null,null,null,null]]}"#;
        assert_eq!(view(rows, &["id"], 20), json!([[2, 2, 2], [0, 0, 0], []]));
        let empty = r#"{"columns":[],"rows":[[null,null,null,0,0,0,null,null,null,null]]}"#;
        assert_eq!(view(empty, &["id"], 20), json!([[0, 0, 0], [0, 0, 0], []]));
    }
}
