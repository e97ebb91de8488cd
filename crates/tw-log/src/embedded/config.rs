//! Definitions of streams as events of `$config`.

use super::queue::Definition;
use crate::streams::protected;
use crate::{ConfigChange, Result, Streams};
use tw_types::{Compression, PartitionId, StreamPartition};
use tw_wire::{Batch, BatchBuilder, Block};

/// Where definitions are.
pub(crate) const CONFIG: StreamPartition = StreamPartition::new(crate::CONFIG_STREAM, PartitionId(0));

/// The change that is asked for, if it is allowed.
pub(crate) fn change(streams: &Streams, wanted: &Definition) -> Result<ConfigChange> {
    match wanted {
        Definition::Create(stream) => streams.create(stream.clone()),
        Definition::Alter(stream) => streams.alter(stream.clone()),
        Definition::Drop(name) => streams.drop_stream(name),
    }
}

/// The event that tells of a change, as a batch.
pub(crate) fn batch(streams: &Streams, change: &ConfigChange, id: u64) -> Result<Batch> {
    let mut builder = BatchBuilder::new();
    let event = change.to_event(format!("{id:016x}"));
    builder.push_versioned(&event.as_ref(), streams.next_version(&change.definition().name));
    Ok(builder.finish(Compression::None)?)
}

/// Carries out the changes that a block of `$config` tells of.
pub(crate) fn fold(streams: &mut Streams, block: &Block) -> Result<()> {
    for record in block.records()?.iter()? {
        let event = record?.event;
        let data = event.data.bytes();
        match ConfigChange::from_event(event.ty, data) {
            Ok(Some(change)) => streams.apply(change),
            Ok(None) => {}
            Err(error) => {
                protected(format!(
                    "event `{}` was written by a later version, use that version: {error}",
                    event.id
                ))?;
            }
        }
    }
    Ok(())
}
