//! What a partition worker drives: views, and their processors.

use std::any::Any;
use std::sync::Arc;
use tw_state::{Batch, Keyspace, Store};
use tw_types::{PartitionId, StoredRef, StreamId};

/// Keys that start with this byte belong to the worker: input offset, blocked subjects. All partitions of a view share one
/// keyspace, so a processor's keys start with a higher byte of its choice and the partition's number (4 bytes,
/// big-endian): that is how the worker finds everything of a partition.
pub const WORKER_KEY: u8 = 0;

/// Something derived from one stream, partition by partition: a projection, a table of latest rows.
pub trait View: Any + Send + Sync + 'static {
    /// Its name, unique among the views of a node.
    fn name(&self) -> &str;

    /// The stream that it reads.
    fn stream(&self) -> StreamId;

    /// A number that is another one for another definition, stable over restarts: state that another definition has
    /// built is not used.
    fn definition(&self) -> u64 {
        0
    }

    /// The processor of one partition. Whatever it has flushed before is in `keyspace` of `store`.
    ///
    /// # Errors
    /// [`tw_state::Error`].
    fn open(
        &self,
        partition: PartitionId,
        keyspace: Keyspace,
        store: &Arc<dyn Store>,
    ) -> Result<Box<dyn Processor>, tw_state::Error>;
}

/// The derivation of one partition. Deterministic: the same events in the same order give the same state.
///
/// It keeps what has changed in memory until [`Processor::flush`]; the worker commits that together with the input
/// offset (PRO-2). After a crash or an error of the store it is opened again from what was committed.
pub trait Processor: Send {
    /// Applies all of `events`, which are in offset order, or none of them. Events of one subject come in the order of
    /// their offsets, unless [`Processor::keeps_order`] says no; those that had to wait come after later events of other
    /// subjects.
    ///
    /// # Errors
    /// [`ApplyError::Rejected`] when at least one event cannot be processed; then nothing has changed. The worker finds
    /// out which one it is by applying parts.
    fn apply(&mut self, events: &[StoredRef<'_>]) -> Result<(), ApplyError>;

    /// Whether `event` makes every earlier event of the partition irrelevant, as TRUNCATE does: subjects that are
    /// blocked by earlier events are then free again.
    fn clears_all(&self, event: &StoredRef<'_>) -> bool {
        let _ = event;
        false
    }

    /// Whether the state depends on the order in which events of one subject are applied. Where it does not, an event that
    /// cannot be processed keeps none behind it waiting; where regions have the same events in different orders, the state
    /// would otherwise depend on which of them came behind it. Always the same answer.
    fn keeps_order(&self) -> bool {
        true
    }

    /// Adds all changes since the last call to `batch`, which the worker then commits.
    ///
    /// # Errors
    /// [`tw_state::Error`]; the processor is then not used any more.
    fn flush(&mut self, batch: &mut Batch) -> Result<(), tw_state::Error>;

    /// About how many bytes of memory it holds for changes that are not flushed; the worker commits early when this
    /// grows.
    fn pending_bytes(&self) -> usize;
}

/// Why events were not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// An event cannot be processed; the text says why, for the person who will look at it.
    #[error("{0}")]
    Rejected(String),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] tw_state::Error),
}
