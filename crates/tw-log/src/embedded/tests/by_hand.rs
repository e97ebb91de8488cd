//! The simulated log behind the trait: for tests of what stands on it.

use super::super::options::Options;
use super::super::queue::{Reply, Request};
use super::super::shared::Shared;
use super::rig::Rig;
use crate::{Ack, Append, Bounds, BoxFuture, Definition, Log, NewStream, Permit, Result, Signal, Streams};
use parking_lot::Mutex;
use std::sync::Arc;
use tw_env::sim::Sim;
use tw_types::{Offset, RegionId, StreamDef, StreamName, StreamPartition};
use tw_wire::Block;

/// A log without threads: what was appended becomes durable when [`ByHand::commit`] says so.
pub(super) struct ByHand {
    shared: Arc<Shared>,
    rig: Mutex<Rig>,
}

impl ByHand {
    pub(super) fn open(sim: &Sim, options: &Options) -> Result<Self> {
        let rig = Rig::open(sim, options)?;
        Ok(Self { shared: rig.shared.clone(), rig: Mutex::new(rig) })
    }

    /// Commits everything that waits, or fails it once the power is off.
    pub(super) fn commit(&self) {
        let mut rig = self.rig.lock();
        if !self.has_stopped() {
            rig.prepare();
        }
        rig.commit();
    }

    /// Whether it accepts nothing more.
    pub(super) fn has_stopped(&self) -> bool {
        self.shared.stopped().is_some()
    }

    fn define(&self, change: Definition) -> BoxFuture<'_, Result<Arc<StreamDef>>> {
        let outcome = self.rig.lock().define(change);
        self.commit();
        Box::pin(outcome.get())
    }
}

impl Log for ByHand {
    fn region(&self) -> RegionId {
        RegionId(0)
    }

    fn streams(&self) -> Arc<Streams> {
        self.shared.streams.read().clone()
    }

    fn definitions(&self) -> Arc<Signal> {
        self.shared.definitions.clone()
    }

    fn create_stream(&self, stream: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>>> {
        self.define(Definition::Create(stream))
    }

    fn alter_stream(&self, changed: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>>> {
        self.define(Definition::Alter(changed))
    }

    fn drop_stream<'a>(&'a self, name: &'a StreamName) -> BoxFuture<'a, Result<()>> {
        let dropped = self.define(Definition::Drop(name.clone()));
        Box::pin(async { dropped.await.map(drop) })
    }

    fn reserve(&self, bytes: usize) -> BoxFuture<'_, Result<Permit>> {
        Box::pin(self.shared.permits.reserve(bytes))
    }

    fn try_reserve(&self, bytes: usize) -> Result<Permit> {
        self.shared.permits.try_reserve(bytes)
    }

    fn append(&self, permit: Permit, parts: Vec<Append>) -> Ack {
        self.shared.append(permit, parts)
    }

    fn refusal(&self) -> Option<crate::Error> {
        self.shared.refusal()
    }

    fn read(&self, at: StreamPartition, from: Offset, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Block>>> {
        Box::pin(async move { self.shared.read_blocking(at, from, bytes_max) })
    }

    fn bounds(&self, at: StreamPartition) -> Result<Bounds> {
        Ok(self.shared.partition(at)?.bounds())
    }

    fn end_signal(&self, at: StreamPartition) -> Result<Arc<Signal>> {
        Ok(self.shared.partition(at)?.end.clone())
    }

    fn commits(&self) -> Arc<Signal> {
        self.shared.commits.clone()
    }

    fn trim(&self, at: StreamPartition, before: Offset) -> BoxFuture<'_, Result<()>> {
        let (reply, outcome) = Reply::channel();
        self.shared.queue.push(Request::Trim { at, before, reply });
        self.commit();
        Box::pin(outcome.get())
    }
}
