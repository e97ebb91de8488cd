//! What Tab completes: keywords, and the names that the node knows.

use crate::client::{Client, Request};
use crate::commands::{list, text};
use crate::error::Result;
use crate::statements::identifier;
use reedline::{Completer, CompletionResult, Span, Suggestion};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// Words of statements that people type often.
pub(super) const KEYWORDS: &[&str] = &[
    "ALL",
    "ALTER",
    "AND",
    "AS",
    "ASC",
    "AVG",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COALESCE",
    "COLUMN",
    "COUNT",
    "CREATE",
    "DATE_TRUNC",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DROP",
    "ELSE",
    "END",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FILTER",
    "FROM",
    "GROUP",
    "HAVING",
    "IF",
    "IN",
    "INTERVAL",
    "IS",
    "JOIN",
    "KEY",
    "LEFT",
    "LIKE",
    "LIMIT",
    "MAX",
    "MIN",
    "NOT",
    "NOW",
    "NULL",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "PARTITIONS",
    "PAUSE",
    "POSTGRES",
    "PRIMARY",
    "PROJECTION",
    "PROJECTIONS",
    "REBUILD",
    "HOLD",
    "RELEASE",
    "RESUME",
    "SELECT",
    "SHOW",
    "SOURCE",
    "SOURCES",
    "STREAM",
    "STREAMS",
    "SUM",
    "TABLES",
    "THEN",
    "TRUE",
    "UNION",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WITH",
];
/// Of how many projections the columns are asked for.
const PROJECTIONS_MAX: usize = 50;

/// The names that the node knows. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(Arc<Mutex<BTreeSet<String>>>);

impl Names {
    /// Asks the node.
    ///
    /// # Errors
    /// Those of the client.
    pub(super) async fn learn(&self, client: &Client) -> Result<()> {
        let mut names = BTreeSet::new();
        for stream in list(client, "streams").await? {
            let name = table(text(&stream, "name"));
            names.insert(name);
            let columns = stream.get("columns").and_then(Value::as_array).into_iter().flatten();
            names.extend(columns.map(|column| identifier(text(column, "name"))));
        }
        for source in list(client, "sources").await? {
            names.insert(identifier(text(&source, "name")));
        }
        for projection in list(client, "projections").await?.iter().take(PROJECTIONS_MAX) {
            let name = table(text(projection, "name"));
            let body = json!({ "sql": format!("SELECT * FROM {name} LIMIT 0") });
            // One that has failed has no columns to show.
            if let Ok(answer) = client.send(Request::post("/v1/sql").json(&body)).await {
                let answer: Value = answer.json().await?;
                let columns = answer.get("columns").and_then(Value::as_array).into_iter().flatten();
                names.extend(columns.map(|column| identifier(text(column, "name"))));
            }
            names.insert(name);
        }
        if let Ok(mut known) = self.0.lock() {
            *known = names;
        }
        Ok(())
    }

    /// What could be meant by `word`, of which only the start is there.
    pub(super) fn complete(&self, word: &str) -> Vec<String> {
        if word.is_empty() {
            return Vec::new();
        }
        let lower = word.to_lowercase();
        let names: Vec<String> = match self.0.lock() {
            Ok(names) => {
                names.iter().filter(|name| name.to_lowercase().starts_with(&lower)).cloned().collect()
            }
            Err(_) => Vec::new(),
        };
        // Keywords in the case in which one types.
        let small = word.chars().all(|c| !c.is_uppercase());
        let keywords = KEYWORDS.iter().filter(|keyword| keyword.to_lowercase().starts_with(&lower));
        let keywords =
            keywords.map(|keyword| if small { keyword.to_lowercase() } else { (*keyword).to_owned() });
        names.into_iter().chain(keywords).collect()
    }
}

/// The name of a stream or a projection as a table: each part quoted where it must be.
fn table(name: &str) -> String {
    name.split('.').map(identifier).collect::<Vec<_>>().join(".")
}

impl Completer for Names {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let before = line.get(..pos).unwrap_or_default();
        let part_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '$' | '"');
        let start = before.rfind(|c| !part_of_name(c)).map_or(0, |at| {
            at + before.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
        });
        let word = before.get(start..).unwrap_or_default();
        let suggestions: Vec<Suggestion> = Self::complete(self, word)
            .into_iter()
            .map(|value| Suggestion {
                value,
                span: Span { start, end: pos },
                append_whitespace: true,
                ..Suggestion::default()
            })
            .collect();
        CompletionResult::fresh(suggestions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_before_keywords_and_keep_the_case_that_is_typed() {
        let mut names = Names::default();
        *names.0.lock().unwrap() = ["shop.orders", "selected", "\"Größe\""].map(str::to_owned).into();
        assert_eq!(names.complete("sel"), ["selected", "select"]);
        assert_eq!(names.complete("SEL"), ["selected", "SELECT"]);
        assert_eq!(names.complete("\"gr"), ["\"Größe\""]);
        let line = "SELECT é, shop.or";
        let found = Completer::complete(&mut names, line, line.len());
        let [found] = found.suggestions() else { panic!("one name fits") };
        assert_eq!(
            (found.value.as_str(), &line[found.span.start..found.span.end]),
            ("shop.orders", "shop.or")
        );
        assert!(Completer::complete(&mut names, "x é", 4).suggestions().is_empty());
    }
}
