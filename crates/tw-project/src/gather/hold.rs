//! Moments that are held for queries of other nodes.

use super::frames::Failure;
use crate::StateView;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::any::Any;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use tw_state::{Keyspace, Snapshot};
use tw_types::PartitionId;

/// Parts of views at one moment.
pub(crate) struct Moment {
    pub(crate) snapshot: Arc<dyn Snapshot>,
    pub(crate) views: Vec<HeldView>,
}

/// Some partitions of a view, whose state stays as long as this does.
#[derive(Clone)]
pub(crate) struct HeldView {
    pub(crate) view: Arc<StateView>,
    pub(crate) keyspace: Keyspace,
    pub(crate) partitions: Vec<PartitionId>,
    pub(crate) _held: Arc<dyn Any + Send + Sync>,
}

/// The moments that are held, by their numbers.
pub(crate) struct Holds {
    moments: Mutex<Moments>,
    max: usize,
}

struct Moments {
    next: u64,
    held: HashMap<u64, Arc<Moment>>,
}

/// Keeps a moment until it is dropped.
pub(crate) struct Hold {
    holds: Arc<Holds>,
    pub(crate) number: u64,
}

impl Holds {
    /// None yet, and no more than `max` at once.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        // A number of this process is none of the one before it, which another node may still have.
        let next = RandomState::new().hash_one("holds");
        Arc::new(Self { moments: Mutex::new(Moments { next, held: HashMap::new() }), max })
    }

    /// Holds a moment.
    pub(crate) fn hold(self: &Arc<Self>, moment: Arc<Moment>) -> Result<Hold, Failure> {
        let mut moments = self.moments.lock();
        if moments.held.len() >= self.max {
            let reason = format!("{} queries of other nodes are under way: try again", self.max);
            return Err(Failure::NotReadable { reason });
        }
        let number = moments.next;
        moments.next = number.wrapping_add(1);
        moments.held.insert(number, moment);
        Ok(Hold { holds: self.clone(), number })
    }

    /// A moment that is held.
    pub(crate) fn get(&self, number: u64) -> Option<Arc<Moment>> {
        self.moments.lock().held.get(&number).cloned()
    }

    /// How many are held.
    pub(crate) fn len(&self) -> usize {
        self.moments.lock().held.len()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // What it held is dropped after the lock.
        let _moment = self.holds.moments.lock().held.remove(&self.number);
    }
}
