//! Batches that tasks produce while they are read.

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;

/// So many batches are ready before whoever produces them waits.
const BATCHES_AHEAD: usize = 2;

/// What the tasks send that `start` spawns; its error, if it has one, instead.
pub(super) fn produce(
    schema: &SchemaRef,
    start: impl FnOnce(&mut RecordBatchReceiverStreamBuilder) -> Result<()>,
) -> SendableRecordBatchStream {
    let mut builder = RecordBatchReceiverStreamBuilder::new(schema.clone(), BATCHES_AHEAD);
    if let Err(error) = start(&mut builder) {
        builder.spawn(async { Err(error) });
    }
    builder.build()
}
