//! What a query answers: a schema, and batches that are computed as they are taken.

use crate::Error;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use std::sync::Arc;
use tokio::time::Instant;
use tw_types::Token;

/// The answer to a query.
pub struct Answer {
    /// The columns. Texts are `Utf8`; a column that holds JSON, a UUID or an interval says so in its metadata, `tradewind.type`.
    pub schema: SchemaRef,
    /// The rows. They are computed as they are taken; whoever does not want more drops the stream.
    pub batches: BoxStream<'static, Result<RecordBatch, Error>>,
    /// What the answer reflects: of each stream that was read, up to where.
    pub reflects: Token,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("schema", &self.schema)
            .field("reflects", &self.reflects)
            .finish_non_exhaustive()
    }
}

impl Answer {
    /// The answer that consists of one batch, of no stream.
    pub(crate) fn of(batch: RecordBatch) -> Self {
        Self::from_batches(batch.schema(), vec![batch], Token::new())
    }

    /// The answer whose batches are all there.
    pub(crate) fn from_batches(schema: SchemaRef, batches: Vec<RecordBatch>, reflects: Token) -> Self {
        Self { schema, batches: futures_util::stream::iter(batches.into_iter().map(Ok)).boxed(), reflects }
    }

    /// All rows at once.
    ///
    /// # Errors
    /// Whatever stopped the query.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>, Error> {
        let mut all = Vec::new();
        while let Some(batch) = self.batches.next().await {
            all.push(batch?);
        }
        Ok(all)
    }
}

/// The bounds of one query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) deadline: Instant,
    pub(crate) timeout_ms: u64,
    pub(crate) rows_max: u64,
    pub(crate) memory_bytes_max: usize,
}

/// The schema that clients see: the right names, and texts of the usual form.
pub(crate) fn client_schema(schema: &Schema, names: Option<&[String]>) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| {
            let name = names.and_then(|names| names.get(index)).unwrap_or(field.name());
            Field::new(name, client_type(field.data_type()), true).with_metadata(field.metadata().clone())
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn client_type(ty: &DataType) -> DataType {
    match ty {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::List(item) => {
            DataType::List(Arc::new(Field::new("item", client_type(item.data_type()), true)))
        }
        other => other.clone(),
    }
}

/// A batch with the schema that clients see.
pub(crate) fn client_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(column.clone())
            } else {
                cast(column, field.data_type())
            }
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::from(DataFusionError::from(error)))?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(|error| Error::from(DataFusionError::from(error)))
}

/// The stream of a query as its client sees it, within its bounds.
pub(crate) fn bounded(
    stream: SendableRecordBatchStream,
    schema: SchemaRef,
    bounds: Bounds,
) -> BoxStream<'static, Result<RecordBatch, Error>> {
    struct State {
        stream: SendableRecordBatchStream,
        schema: SchemaRef,
        bounds: Bounds,
        rows: u64,
        ended: bool,
    }
    let state = State { stream, schema, bounds, rows: 0, ended: false };
    let next = |mut state: State| async move {
        if state.ended {
            return None;
        }
        let bounds = state.bounds;
        let result = match tokio::time::timeout_at(bounds.deadline, state.stream.next()).await {
            Err(_) => Err(Error::Timeout { timeout_ms: bounds.timeout_ms }),
            Ok(None) => return None,
            Ok(Some(Err(error))) => Err(query_error(error, bounds)),
            Ok(Some(Ok(batch))) => {
                state.rows += batch.num_rows() as u64;
                if state.rows > bounds.rows_max {
                    Err(Error::Rows { rows_max: bounds.rows_max })
                } else {
                    client_batch(&batch, &state.schema)
                }
            }
        };
        state.ended = result.is_err();
        Some((result, state))
    };
    futures_util::stream::unfold(state, next).boxed()
}

/// The error of a query that is under way.
pub(crate) fn query_error(error: DataFusionError, bounds: Bounds) -> Error {
    if let DataFusionError::ResourcesExhausted(_) = error.find_root() {
        return Error::Memory { bytes_max: bounds.memory_bytes_max };
    }
    Error::from(error)
}
