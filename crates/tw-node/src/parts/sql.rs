//! Statements behind the interface.

use super::problem::of_project;
use crate::core::Core;
use crate::definitions::Outcome;
use crate::status;
use crate::tokens;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use tw_api::Problem;
use tw_api::parts::{Answer, Comparison, Param, Rows, Sql, Statement};
use tw_project::Request;
use tw_types::{ClientToken, StreamDef, Timestamp};

/// Whoever carries out statements in a node.
pub(crate) struct NodeSql(pub(crate) Arc<Core>);

impl Sql for NodeSql {
    fn streams(&self, sql: &str) -> Result<Vec<Arc<StreamDef>>, Problem> {
        self.0.engine.streams(sql).map_err(of_project)
    }

    fn comparison(
        &self,
        projection: &str,
        condition: Option<&str>,
        rows_max: u64,
    ) -> Result<Comparison, Problem> {
        let made = self.0.engine.comparison(projection, condition, rows_max).map_err(of_project)?;
        Ok(Comparison {
            sql: made.sql,
            old: made.old,
            new: made.new,
            keys: made.keys,
            columns: made.columns,
            only_old_columns: made.only_old_columns,
            only_new_columns: made.only_new_columns,
        })
    }

    fn execute(&self, statement: Statement) -> BoxFuture<'_, Result<Answer, Problem>> {
        Box::pin(async move {
            let core = &self.0;
            let request = request(&statement, core.env.clock.now_ms());
            if is_query(&statement.sql) {
                let answer = core.engine.run(&statement.sql, request).await.map_err(of_project)?;
                return Ok(self.answer(answer).await);
            }
            let parsed = tw_project::parse(&statement.sql).map_err(|error| of_project(error.into()))?;
            if let tw_project::Statement::Drop { kind: tw_project::Kind::Source, name, .. } = &parsed
                && let Some(remote) = core.cluster.remote_source(name)
            {
                return remote.remove().await.map(|message| Answer::Done { message });
            }
            match core.definitions.carry_out(&parsed).await? {
                Outcome::Query => {
                    let answer = core.engine.query(&parsed, request).await.map_err(of_project)?;
                    Ok(self.answer(answer).await)
                }
                Outcome::Rows(answer) => Ok(rows(answer, None)),
                Outcome::Sources => Ok(rows(core.engine.show_sources(&status::standings(core).await), None)),
                Outcome::Projections => {
                    let standings = status::standings_of_projections(core).await;
                    Ok(rows(core.engine.show_projections(&standings), None))
                }
                Outcome::Done(message) => Ok(Answer::Done { message }),
            }
        })
    }
}

fn request(statement: &Statement, now_ms: u64) -> Request {
    Request {
        params: statement.params.iter().map(param).collect(),
        token: statement.token.clone(),
        timeout_ms: Some(u64::try_from(statement.timeout.as_millis()).unwrap_or(u64::MAX)),
        rows_max: None,
        now: Timestamp::from_millis(i64::try_from(now_ms).unwrap_or(i64::MAX)),
    }
}

impl NodeSql {
    /// The rows of a query, with the token of what they reflect.
    async fn answer(&self, answer: tw_project::Answer) -> Answer {
        let reflects = Some(answer.reflects.clone()).filter(|cut| !cut.is_empty());
        let token = match reflects {
            Some(cut) => Some(tokens::of_read(&self.0, cut).await),
            None => None,
        };
        rows(answer, token)
    }
}

fn param(param: &Param) -> tw_project::Param {
    match param {
        Param::Null => tw_project::Param::Null,
        Param::Bool(value) => tw_project::Param::Bool(*value),
        Param::Number(digits) => tw_project::Param::Number(digits.clone()),
        Param::Text(text) | Param::Json(text) => tw_project::Param::Text(text.clone()),
    }
}

fn rows(answer: tw_project::Answer, token: Option<ClientToken>) -> Answer {
    let batches = answer.batches.map(|batch| batch.map_err(of_project)).boxed();
    Answer::Rows(Rows { schema: answer.schema, token, batches })
}

/// Whether a statement begins as queries do; those go the short way, on which their plans are kept.
fn is_query(sql: &str) -> bool {
    let word: String = sql.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
    ["select", "with", "values"].iter().any(|query| word.eq_ignore_ascii_case(query))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_told_by_their_first_word() {
        for sql in ["SELECT 1", "  with a AS (SELECT 1) SELECT * FROM a", "values (1)", "select(1)"] {
            assert!(is_query(sql), "{sql}");
        }
        for sql in ["CREATE STREAM a", "selection", "-- c\nSELECT 1", ""] {
            assert!(!is_query(sql), "{sql}");
        }
    }
}
