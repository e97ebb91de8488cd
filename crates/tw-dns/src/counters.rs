//! What the responder has done so far, counted.

use crate::answer::{Answer, Code};
use std::sync::atomic::{AtomicU64, Ordering};

/// What the responder has done since it started. What was asked for is in none of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Answers without an error, also those that say that a name has nothing of a type.
    pub noerror: u64,
    /// Answers that a name does not exist.
    pub nxdomain: u64,
    /// Answers to what could not be read.
    pub formerr: u64,
    /// Answers that there is no plan of the regions, or none of those that can be answered with.
    pub servfail: u64,
    /// Answers to what is no query.
    pub notimp: u64,
    /// Answers to queries for other zones and classes, and for transfers.
    pub refused: u64,
    /// Answers to queries of a later version of EDNS.
    pub badvers: u64,
    /// Answers over UDP that were too long, and cut.
    pub truncated: u64,
    /// Answers that were cut because the client's network got too many; they are not counted above.
    pub limited_truncated: u64,
    /// Queries that got no answer because of that.
    pub limited_dropped: u64,
    /// Messages that get no answer whatever happens: no query, or too short for one.
    pub ignored: u64,
    /// Answers that the network did not take.
    pub unsent: u64,
    /// Connections over TCP so far, without those that were closed at once.
    pub connections: u64,
    /// Connections that were closed at once because their network had too many.
    pub connections_refused: u64,
}

/// The counters while they count.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    codes: [AtomicU64; Code::ALL.len()],
    pub(crate) truncated: AtomicU64,
    pub(crate) limited_truncated: AtomicU64,
    pub(crate) limited_dropped: AtomicU64,
    pub(crate) ignored: AtomicU64,
    pub(crate) unsent: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counts {
    /// Counts an answer.
    pub(crate) fn answered(&self, answer: &Answer) {
        if let Some(counter) = self.codes.get(answer.code as usize) {
            count(counter);
        }
        if answer.is_truncated {
            count(&self.truncated);
        }
    }

    pub(crate) fn get(&self) -> Counters {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let code = |code: Code| self.codes.get(code as usize).map_or(0, of);
        Counters {
            noerror: code(Code::NoError),
            nxdomain: code(Code::NxDomain),
            formerr: code(Code::FormErr),
            servfail: code(Code::ServFail),
            notimp: code(Code::NotImp),
            refused: code(Code::Refused),
            badvers: code(Code::BadVers),
            truncated: of(&self.truncated),
            limited_truncated: of(&self.limited_truncated),
            limited_dropped: of(&self.limited_dropped),
            ignored: of(&self.ignored),
            unsent: of(&self.unsent),
            connections: of(&self.connections),
            connections_refused: of(&self.connections_refused),
        }
    }
}
