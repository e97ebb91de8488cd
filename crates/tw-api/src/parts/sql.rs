//! Statements and their answers.

use crate::{Code, Problem};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::sync::Arc;
use std::time::Duration;
use tw_types::{ClientToken, StreamDef, Token};

/// Whoever carries out statements: queries and definitions alike.
pub trait Sql: Send + Sync + 'static {
    /// Carries out one statement. Dropping the future, or the rows that it answers with, stops a query; a definition that
    /// has begun is carried out.
    fn execute(&self, statement: Statement) -> BoxFuture<'_, Result<Answer, Problem>>;

    /// How a projection is compared with what is built anew of it: the statement that does it, and what its rows are. At most `rows_max`
    /// rows that differ are shown, of those that fit the condition. By default there are no projections.
    ///
    /// # Errors
    /// `no_projection`; when nothing is built anew; when the condition is none.
    fn comparison(
        &self,
        projection: &str,
        condition: Option<&str>,
        rows_max: u64,
    ) -> Result<Comparison, Problem> {
        let _all = (condition, rows_max);
        Err(Problem::new(Code::NoProjection, format!("there is no projection `{projection}`")))
    }

    /// The streams that a statement reads; none of what is no query. By default none, for whoever has no streams.
    ///
    /// # Errors
    /// When the text is no statement.
    fn streams(&self, _sql: &str) -> Result<Vec<Arc<StreamDef>>, Problem> {
        Ok(Vec::new())
    }
}

/// A statement as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// The text.
    pub sql: String,
    /// The values of `$1`, `$2` and so on.
    pub params: Vec<Param>,
    /// The answer must see everything before this cut (PRJ-2).
    pub token: Option<Token>,
    /// How long it may take, waiting for the token included.
    pub timeout: Duration,
}

/// How two versions of a projection are compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// The statement. Each row of its answer begins with the totals: how many rows the version that answers has, how many the new one, how many
    /// are the same, how many keys have rows that differ, how many rows only the one that answers has, how many only the new one. Then
    /// come, if any rows differ, how often each version has the row, and its columns, in the order of the key.
    pub sql: String,
    /// The SELECT of the version that answers.
    pub old: String,
    /// That of the new one.
    pub new: String,
    /// The columns that tell rows apart.
    pub keys: Vec<String>,
    /// The columns that are compared.
    pub columns: Vec<String>,
    /// Columns of the version that answers that the new one does not have, or of another type.
    pub only_old_columns: Vec<String>,
    /// Columns of the new version that the one that answers does not have, or of another type.
    pub only_new_columns: Vec<String>,
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Param {
    /// NULL.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number, digit for digit as it was sent.
    Number(String),
    /// A text.
    Text(String),
    /// An array or an object, as JSON text.
    Json(String),
}

/// What a statement answers.
pub enum Answer {
    /// Rows of a query.
    Rows(Rows),
    /// A definition was changed.
    Done {
        /// What was done, for a person: `stream "orders" created`.
        message: String,
    },
}

/// The key of a field's metadata that names the type of a column which is kept as text and is not `text`: `json`, `uuid`,
/// `interval`, or what a captured database calls it.
pub const FIELD_TYPE: &str = "tradewind.type";

/// Rows that arrive as they are computed.
pub struct Rows {
    /// The columns; every batch has them. Their metadata can say more about their types: [`FIELD_TYPE`].
    pub schema: SchemaRef,
    /// What they reflect, for whoever must not see less elsewhere; None of rows that are not of streams.
    pub token: Option<ClientToken>,
    /// The rows.
    pub batches: BoxStream<'static, Result<RecordBatch, Problem>>,
}
