//! Keeping an answer while somebody takes it.

use super::{Answered, Answers, ENTRY_BYTES, Question, Room, Source, State};
use crate::Error;
use datafusion::arrow::array::{Array as _, RecordBatch, UInt32Array};
use datafusion::arrow::compute::take_record_batch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tw_types::PartitionId;

/// An answer of which a part was taken.
pub(crate) struct Collecting {
    question: Question,
    answer: Answered,
    room: Room,
    /// How long it has been worked on.
    work: Duration,
    /// What is less work is not worth to be kept.
    work_min: Duration,
    /// Whether what was read is still there.
    is_there: Box<dyn Fn(&State) -> bool + Send>,
}

/// How an answer is made that may be kept.
pub(crate) struct Making {
    pub(crate) sources: Vec<Source>,
    pub(crate) needs: Vec<Vec<PartitionId>>,
    pub(crate) state: State,
    pub(crate) schema: SchemaRef,
    /// How long it has been worked on before the first row.
    pub(crate) work: Duration,
    /// What is less work is not worth to be kept.
    pub(crate) work_min: Duration,
    /// Whether what was read is still there once all rows were.
    pub(crate) is_there: Box<dyn Fn(&State) -> bool + Send>,
}

impl Collecting {
    /// None when there is no room for another one.
    pub(crate) fn new(answers: &Arc<Answers>, question: Question, making: Making) -> Option<Self> {
        let Making { sources, needs, state, schema, work, work_min, is_there } = making;
        let mut room = Room { answers: answers.clone(), bytes: 0 };
        let parts: usize =
            needs.iter().map(Vec::len).sum::<usize>() + state.nodes.len() + state.histories.len();
        let bytes = ENTRY_BYTES + question.bytes() as u64 + 16 * parts as u64;
        let is_room = room.take(bytes);
        let answer = Answered { sources, needs, state, schema, batches: Vec::new(), rows: 0, bytes: 0 };
        is_room.then_some(Self { question, answer, room, work, work_min, is_there })
    }

    /// The next batch, which took so long; None when the answer is too large to be kept.
    fn take(mut self, batch: &RecordBatch, spent: Duration) -> Option<Self> {
        let bytes = bytes_of(batch)?;
        if !self.room.take(bytes) {
            return None;
        }
        let copy = compact(batch).ok()?;
        // What was not foreseen is alignment.
        let more = (copy.get_array_memory_size() as u64).saturating_sub(bytes);
        if !self.room.take(more) {
            return None;
        }
        self.answer.rows += copy.num_rows() as u64;
        self.answer.batches.push(copy);
        self.work += spent;
        Some(self)
    }

    /// That was all.
    fn keep(mut self, spent: Duration) {
        if self.work + spent < self.work_min || !(self.is_there)(&self.answer.state) {
            return;
        }
        self.answer.bytes = self.room.bytes - self.question.bytes() as u64;
        let answers = self.room.answers.clone();
        drop(self.room);
        answers.keep(self.question, self.answer);
    }
}

/// The memory that a copy of a batch takes, about; None if that cannot be told.
fn bytes_of(batch: &RecordBatch) -> Option<u64> {
    let column = |column: &datafusion::arrow::array::ArrayRef| column.to_data().get_slice_memory_size().ok();
    batch.columns().iter().map(column).sum::<Option<usize>>().map(|bytes| bytes as u64)
}

/// A batch that has its memory alone: one that was cut out of others, or came from a node, holds more than itself.
fn compact(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    if batch.num_columns() == 0 {
        return Ok(batch.clone());
    }
    let rows =
        u32::try_from(batch.num_rows()).map_err(|error| ArrowError::ComputeError(error.to_string()))?;
    take_record_batch(batch, &UInt32Array::from_iter_values(0..rows))
}

/// Gives the batches on, and keeps them when the last one was taken.
pub(crate) fn collected(
    batches: BoxStream<'static, Result<RecordBatch, Error>>,
    collecting: Option<Collecting>,
) -> BoxStream<'static, Result<RecordBatch, Error>> {
    let Some(collecting) = collecting else { return batches };
    let next = |(mut batches, collecting): (BoxStream<'static, _>, Option<Collecting>)| async move {
        let since = Instant::now();
        let next = batches.next().await;
        let collecting = match (&next, collecting) {
            (Some(Ok(batch)), Some(collecting)) => collecting.take(batch, since.elapsed()),
            (None, Some(collecting)) => {
                collecting.keep(since.elapsed());
                None
            }
            (Some(Err(_)), _) | (_, None) => None,
        };
        next.map(|next| (next, (batches, collecting)))
    };
    stream::unfold((batches, Some(collecting)), next).boxed()
}
