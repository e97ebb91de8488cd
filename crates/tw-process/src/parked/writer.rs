//! Writing to `$parked`.

use crate::PARKED_STREAM;
use std::sync::Arc;
use tw_log::store::{EventStore, Result};
use tw_log::{Append, BoxFuture, Log};
use tw_types::{Compression, Event, PartitionId, StreamPartition};
use tw_wire::BatchBuilder;

/// Writes events to `$parked`, which exists: the event store does it in a node.
pub trait ParkedWriter: Send + Sync + 'static {
    /// Appends events in their order; durable when the future resolves. Events whose (subject, id) is there already may be
    /// left out: they say the same.
    ///
    /// # Errors
    /// Whatever stops an append; then the same events are written again.
    fn append(&self, events: Vec<Event>) -> BoxFuture<'_, Result<()>>;
}

impl ParkedWriter for EventStore {
    fn append(&self, events: Vec<Event>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let stream = self.log().streams().get(PARKED_STREAM)?.clone();
            let mut write = self.write();
            for event in &events {
                write.push(&stream, &event.as_ref())?;
            }
            Self::append(self, write).await.map(drop)
        })
    }
}

/// Writes to the log itself, for a log without an event store. Subjects get no versions.
pub struct LogWriter(Arc<dyn Log>);

impl LogWriter {
    /// A writer to this log.
    pub fn new(log: Arc<dyn Log>) -> Self {
        Self(log)
    }
}

impl ParkedWriter for LogWriter {
    fn append(&self, events: Vec<Event>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let stream = self.0.streams().get(PARKED_STREAM)?.id;
            let mut batch = BatchBuilder::new();
            for event in &events {
                batch.push(&event.as_ref());
            }
            let batch = batch.finish(Compression::Lz4)?;
            let permit = self.0.reserve(batch.bytes()).await?;
            let at = StreamPartition::new(stream, PartitionId(0));
            self.0.append(permit, vec![Append { at, batch, expected_end: None, foreign: None }]).await?;
            Ok(())
        })
    }
}
