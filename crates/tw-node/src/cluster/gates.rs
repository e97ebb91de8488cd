//! Gates: writes to a partition pass while it is open here, and are counted, so that it can be shut behind the last one.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;
use tw_api::parts::{Held, Pass};
use tw_types::StreamPartition;

/// The gates of all partitions. A partition without one is shut.
#[derive(Default)]
pub(crate) struct Gates {
    gates: Mutex<HashMap<StreamPartition, Gate>>,
    /// Somebody has left a gate.
    left: Notify,
}

#[derive(Default)]
struct Gate {
    is_open: bool,
    under_way: usize,
}

/// The places of one write; dropping it gives them back.
struct Entered {
    gates: Arc<Gates>,
    at: Vec<StreamPartition>,
}

impl Gates {
    /// Lets a write to these partitions pass, if all of them are open.
    pub(crate) fn enter(gates: &Arc<Self>, at: &[StreamPartition]) -> Option<Pass> {
        let mut all = gates.gates.lock();
        if !at.iter().all(|at| all.get(at).is_some_and(|gate| gate.is_open)) {
            return None;
        }
        for at in at {
            all.entry(*at).or_default().under_way += 1;
        }
        drop(all);
        Some(Pass::new(Entered { gates: gates.clone(), at: at.to_vec() }))
    }

    /// Lets writes pass from now on.
    pub(crate) fn open(&self, at: StreamPartition) {
        self.gates.lock().entry(at).or_default().is_open = true;
    }

    /// Lets no more writes pass, and waits until those under way have left.
    pub(crate) async fn shut(&self, at: StreamPartition) {
        if let Some(gate) = self.gates.lock().get_mut(&at) {
            gate.is_open = false;
        }
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            // Registered before the look, so that nobody leaves unnoticed in between.
            left.as_mut().enable();
            {
                let mut gates = self.gates.lock();
                if gates.get(&at).is_none_or(|gate| gate.under_way == 0) {
                    gates.remove(&at);
                    return;
                }
            }
            left.await;
        }
    }
}

impl Held for Entered {}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut gates = self.gates.gates.lock();
        for at in &self.at {
            if let Some(gate) = gates.get_mut(at) {
                gate.under_way = gate.under_way.saturating_sub(1);
            }
        }
        drop(gates);
        self.gates.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use tw_types::{PartitionId, StreamId};

    #[test]
    fn a_gate_is_shut_behind_the_last_write() {
        let gates = Arc::new(Gates::default());
        let [a, b] = [0, 1].map(|number| StreamPartition::new(StreamId(7), PartitionId(number)));
        assert!(Gates::enter(&gates, &[a]).is_none(), "it was never opened");
        gates.open(a);
        let pass = Gates::enter(&gates, &[a]).unwrap();
        assert!(Gates::enter(&gates, &[a, b]).is_none(), "all or none");
        let mut shut = Box::pin(gates.shut(a));
        assert!(shut.as_mut().now_or_never().is_none());
        assert!(Gates::enter(&gates, &[a]).is_none(), "it is being shut");
        drop(pass);
        assert!(shut.now_or_never().is_some());
        gates.open(a);
        assert!(Gates::enter(&gates, &[a]).is_some());
    }
}
