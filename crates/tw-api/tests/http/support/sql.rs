//! Statements of a very small language, enough to see how what they answer is sent:
//!
//! - `CREATE STREAM name`, `DROP STREAM name`: go to the log.
//! - `ROWS a b`: the numbers from a to b, in batches of 8,192, with a text beside the even ones.
//! - `ROWS a b FAIL`: the same, and an error instead of an end.
//! - `SELECT …`: one row of many types, whatever it says. `PARAMS`: the parameters, one a row, as they arrived.

use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use std::sync::Arc;
use tw_api::parts::{Answer, Control, Rows, Sql, Statement};
use tw_api::{Code, Problem};
use tw_log::{Log, NewStream};
use tw_types::StreamName;

/// How many rows a batch has.
const BATCH_ROWS: i64 = 8_192;

pub(crate) struct Queries {
    log: Arc<dyn Log>,
    control: Arc<dyn Control>,
}

impl Queries {
    pub(crate) fn new(log: Arc<dyn Log>, control: Arc<dyn Control>) -> Self {
        Self { log, control }
    }

    async fn run(&self, statement: Statement) -> Result<Answer, Problem> {
        for (at, end) in statement.token.iter().flat_map(tw_types::Token::iter) {
            if let Some(before) = end.0.checked_sub(1) {
                self.log.end_signal(at)?.over(before).await;
            }
        }
        let words: Vec<&str> = statement.sql.split_whitespace().collect();
        match words.as_slice() {
            ["CREATE", "STREAM", name] => {
                self.control.create_stream(NewStream::plain(StreamName::new(name)?, 1)).await?;
                Ok(Answer::Done { message: format!("stream `{name}` created") })
            }
            ["DROP", "STREAM", name] => {
                self.control.drop_stream(&StreamName::new(name)?).await?;
                Ok(Answer::Done { message: format!("stream `{name}` dropped") })
            }
            ["ROWS", from, to] => Ok(numbers(number(from)?, number(to)?, false)),
            ["ROWS", from, to, "FAIL"] => Ok(numbers(number(from)?, number(to)?, true)),
            ["SELECT", ..] => Ok(one(values())),
            ["PARAMS"] => {
                let params: StringArray =
                    statement.params.iter().map(|param| Some(format!("{param:?}"))).collect();
                Ok(one(RecordBatch::try_from_iter([("param", Arc::new(params) as ArrayRef)]).unwrap()))
            }
            _ => Err(refused(&format!("`{}` is not understood", statement.sql))),
        }
    }
}

fn number(word: &str) -> Result<i64, Problem> {
    word.parse().map_err(|_| refused(&format!("`{word}` is not a number")))
}

fn refused(detail: &str) -> Problem {
    Problem::new(Code::InvalidStatement, detail)
}

pub(super) fn one(batch: RecordBatch) -> Answer {
    Answer::Rows(Rows { schema: batch.schema(), token: None, batches: stream::iter([Ok(batch)]).boxed() })
}

pub(super) fn values() -> RecordBatch {
    let price = Decimal128Array::from(vec![150]).with_precision_and_scale(10, 2).unwrap();
    let columns: [(&str, ArrayRef); 5] = [
        ("n", Arc::new(Int64Array::from(vec![1]))),
        ("t", Arc::new(StringArray::from(vec!["a\"b"]))),
        ("z", Arc::new(Int32Array::from(vec![None]))),
        ("d", Arc::new(price)),
        ("b", Arc::new(BooleanArray::from(vec![true]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Rows that are made while they are taken; none of them if `to` is before `from`.
fn numbers(from: i64, to: i64, fail: bool) -> Answer {
    let fields = [Field::new("n", DataType::Int64, false), Field::new("t", DataType::Utf8, true)];
    let schema: SchemaRef = Arc::new(Schema::new(fields.to_vec()));
    let of = schema.clone();
    let batches = stream::unfold((from, fail), move |(from, fail)| {
        let schema = of.clone();
        async move {
            if from > to {
                return fail.then(|| (Err(refused("the last row cannot be computed")), (from, false)));
            }
            let last = to.min(from + BATCH_ROWS - 1);
            let numbers: Int64Array = (from..=last).map(Some).collect();
            let texts: StringArray = (from..=last).map(|n| (n % 2 == 0).then_some("even, \"so\"")).collect();
            let batch = RecordBatch::try_new(schema, vec![Arc::new(numbers), Arc::new(texts)]).unwrap();
            Some((Ok(batch), (last + 1, fail)))
        }
    });
    Answer::Rows(Rows { schema, token: None, batches: batches.boxed() })
}

impl Sql for Queries {
    fn execute(&self, statement: Statement) -> BoxFuture<'_, Result<Answer, Problem>> {
        Box::pin(async move {
            let timeout = statement.timeout;
            tokio::time::timeout(timeout, self.run(statement)).await.unwrap_or_else(|_| {
                let detail = format!("the statement took longer than {} ms", timeout.as_millis());
                Err(Problem::new(Code::Timeout, detail))
            })
        })
    }
}
