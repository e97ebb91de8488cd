//! Streams, and events for them.

use std::sync::Arc;
use tw_log::{Append, Log, NewStream};
use tw_types::{Compression, Data, EventRef, PartitionId, StreamDef, StreamName, StreamPartition};
use tw_wire::BatchBuilder;

pub fn create(log: &dyn Log, name: &str, partitions: u32) -> Arc<StreamDef> {
    let name = StreamName::new(name).unwrap();
    pollster::block_on(log.create_stream(NewStream::plain(name, partitions))).unwrap()
}

/// What is worth saying of an event.
#[derive(Debug, Clone)]
pub struct Sample {
    pub subject: Option<String>,
    pub ty: &'static str,
}

impl Sample {
    pub fn of(subject: &str) -> Self {
        Self { subject: Some(subject.to_owned()), ty: "step" }
    }
}

/// Appends events as one batch; returns the offset of the first.
pub fn append(log: &dyn Log, stream: &StreamDef, partition: u32, samples: &[Sample]) -> u64 {
    let mut batch = BatchBuilder::new();
    for (index, sample) in samples.iter().enumerate() {
        batch.push(&EventRef {
            id: &index.to_string(),
            source: "/test",
            ty: sample.ty,
            subject: sample.subject.as_deref(),
            data: Data::Json(b"{}"),
            ..EventRef::default()
        });
    }
    let at = StreamPartition::new(stream.id, PartitionId(partition));
    let batch = batch.finish(Compression::Lz4).unwrap();
    let permit = pollster::block_on(log.reserve(batch.bytes())).unwrap();
    let append = log.append(permit, vec![Append { at, batch, expected_end: None, foreign: None }]);
    let placed = pollster::block_on(append).unwrap();
    placed[0].base_offset.0
}
