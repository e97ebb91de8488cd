//! Who was chosen for partitions, as long as that counts.

use super::fetch::Refusal;
use super::frames::Failure;
use super::peers::{Candidate, Heard, Peers};
use std::sync::Arc;
use tokio::time::Instant;

/// Partitions for which somebody was chosen. Whoever balances is told when it is dropped.
pub(crate) struct Choice {
    peers: Arc<dyn Peers>,
    asked: Candidate,
    partitions: usize,
    since: Instant,
    heard: Heard,
}

impl Choice {
    pub(crate) fn new(peers: Arc<dyn Peers>, asked: Candidate, partitions: usize) -> Self {
        Self { peers, asked, partitions, since: Instant::now(), heard: Heard::Dropped }
    }

    /// The answer has begun.
    pub(crate) fn answered(&mut self) {
        self.heard = Heard::Answered(self.since.elapsed());
    }

    /// Others have answered, who were asked because this one was silent.
    pub(crate) fn outrun(&mut self) {
        self.heard = Heard::Failed(self.since.elapsed());
    }

    /// There is no answer.
    pub(crate) fn refused(&mut self, refusal: &Refusal) {
        self.heard = match refusal {
            Refusal::Unreachable(_)
            | Refusal::Broken(_)
            | Refusal::Timeout
            | Refusal::Failed(_, Failure::Timeout) => Heard::Failed(self.since.elapsed()),
            // It has done what it could.
            Refusal::Memory => Heard::Answered(self.since.elapsed()),
            Refusal::Failed(..) | Refusal::Here(_) => Heard::Declined,
        };
    }
}

impl Drop for Choice {
    fn drop(&mut self) {
        self.peers.heard(&self.asked, self.partitions, self.heard);
    }
}
