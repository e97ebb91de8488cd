//! What pipelines have to say in `$parked`, until it is written.

use crate::parked::{Fact, How, What};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use tw_log::Signal;
use tw_state::Keyspace;
use tw_types::StreamPartition;

/// Which partitions have events for `$parked` that are still to be written.
#[derive(Default)]
pub(crate) struct Outboxes {
    waiting: Mutex<BTreeSet<(Keyspace, StreamPartition)>>,
    /// Those of generations that are being built.
    building: Mutex<BTreeSet<Keyspace>>,
    raised: Arc<Signal>,
}

impl Outboxes {
    pub(crate) fn add(&self, keyspace: Keyspace, at: StreamPartition) {
        self.waiting.lock().insert((keyspace, at));
        self.raised.increment();
    }

    /// Gives back what was taken and not written. Nobody is woken: whoever took it tries again by itself.
    pub(crate) fn give_back(&self, taken: BTreeSet<(Keyspace, StreamPartition)>) {
        self.waiting.lock().extend(taken);
    }

    pub(crate) fn take(&self) -> BTreeSet<(Keyspace, StreamPartition)> {
        std::mem::take(&mut self.waiting.lock())
    }

    /// A generation is built that is not read: to be called before it is started.
    pub(crate) fn build(&self, keyspace: Keyspace) {
        self.building.lock().insert(keyspace);
    }

    /// It is read from now on: what it could not say is to be written.
    pub(crate) fn take_over(&self, keyspace: Keyspace, all: impl Iterator<Item = StreamPartition>) {
        self.building.lock().remove(&keyspace);
        self.waiting.lock().extend(all.map(|at| (keyspace, at)));
        self.raised.increment();
    }

    /// It will never be read.
    pub(crate) fn abandon(&self, keyspace: Keyspace) {
        self.building.lock().remove(&keyspace);
    }

    pub(crate) fn is_built(&self, keyspace: Keyspace) -> bool {
        self.building.lock().contains(&keyspace)
    }

    /// Rises whenever there is something to do.
    pub(crate) fn raised(&self) -> Arc<Signal> {
        self.raised.clone()
    }
}

/// An event for `$parked`, as it is kept until it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) what: What,
    #[serde(flatten)]
    pub(crate) fact: Fact,
}

impl Letter {
    /// Whether it is true of a generation that is read only. Before that an event has been applied where nobody sees it, and
    /// may be dropped where it is seen.
    pub(crate) fn is_of_what_is_read(&self) -> bool {
        self.what == What::Released && self.fact.how == Some(How::Applied)
    }
}
