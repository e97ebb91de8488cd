//! The coordination of the simulated cluster: the key space of `tw-cluster`, behind requests and answers.

use std::collections::BTreeMap;
use std::time::Duration;
use tw_cluster::{
    Change, Changes, Error, Grant, KeySpace, LeaseId, Outcome, Range, Revision, Snapshot, Transaction,
};

/// What a node asks.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Grant {
        ttl_ms: u64,
    },
    Renew(LeaseId),
    Revoke(LeaseId),
    Commit(Transaction),
    Read(Range),
    /// Is answered when there is something to tell. A node has one of each number.
    Watch {
        number: usize,
        range: Range,
        from: Revision,
    },
}

/// What it is told.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Lease(Grant),
    Revoked,
    NoLease,
    Committed(Outcome),
    Read(Snapshot),
    Changed(Changes),
    Compacted,
}

/// A watch that waits.
#[derive(Debug)]
struct Waiting {
    request: u64,
    range: Range,
    from: Revision,
}

/// The server.
#[derive(Debug)]
pub(crate) struct Server {
    space: KeySpace,
    /// Since when it is away, and how long it has been so altogether: leases do not end meanwhile.
    away_since_us: Option<u64>,
    away_us: u64,
    waiting: BTreeMap<(u64, usize), Waiting>,
    /// What the watches have been woken for.
    told: Revision,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self {
            space: KeySpace::new(1_000_000),
            away_since_us: None,
            away_us: 0,
            waiting: BTreeMap::new(),
            told: Revision(1),
        }
    }

    pub(crate) fn is_away(&self) -> bool {
        self.away_since_us.is_some()
    }

    pub(crate) fn go_away(&mut self, now_us: u64) {
        self.away_since_us.get_or_insert(now_us);
        // Connections end with it.
        self.waiting.clear();
    }

    pub(crate) fn come_back(&mut self, now_us: u64) {
        if let Some(since_us) = self.away_since_us.take() {
            self.away_us += now_us - since_us;
        }
    }

    fn time(&self, now_us: u64) -> Duration {
        Duration::from_micros(self.away_since_us.unwrap_or(now_us) - self.away_us)
    }

    /// When the next lease ends, if it is not renewed; none does while this is away.
    pub(crate) fn next_expiry_us(&self) -> Option<u64> {
        if self.is_away() {
            return None;
        }
        Some(self.space.next_expiry()?.as_micros() as u64 + self.away_us)
    }

    pub(crate) fn expire(&mut self, now_us: u64) {
        if !self.is_away() {
            self.space.expire(self.time(now_us));
        }
    }

    /// Answers a request of a process; nothing for a watch that has to wait.
    pub(crate) fn answer(
        &mut self,
        process: u64,
        request: u64,
        asked: Request,
        now_us: u64,
    ) -> Option<Reply> {
        let now = self.time(now_us);
        self.space.expire(now);
        Some(match asked {
            Request::Grant { ttl_ms } => Reply::Lease(self.space.grant(Duration::from_millis(ttl_ms), now)),
            Request::Renew(lease) => self.space.renew(lease, now).map_or(Reply::NoLease, Reply::Lease),
            Request::Revoke(lease) => {
                self.space.revoke(lease);
                Reply::Revoked
            }
            Request::Commit(transaction) => {
                self.space.commit(transaction).map_or(Reply::NoLease, Reply::Committed)
            }
            Request::Read(range) => Reply::Read(self.read(&range)),
            Request::Watch { number, range, from } => {
                let told = self.changes(&range, from);
                if told.is_none() {
                    self.waiting.insert((process, number), Waiting { request, range, from });
                }
                return told;
            }
        })
    }

    pub(crate) fn read(&self, range: &Range) -> Snapshot {
        self.space.read(range, None).unwrap_or_else(|error| unreachable!("{error}"))
    }

    fn changes(&self, range: &Range, from: Revision) -> Option<Reply> {
        match self.space.changes(range, from) {
            Ok(changes) if changes.is_empty() => None,
            Ok(changes) => Some(Reply::Changed(Changes { through: self.space.revision(), changes })),
            Err(Error::Compacted { .. }) => Some(Reply::Compacted),
            Err(error) => unreachable!("{error}"),
        }
    }

    /// What has changed in a range since this was last asked, and the watches that are to be answered: process, request,
    /// answer.
    pub(crate) fn progress(&mut self, ranges: &[Range]) -> (Vec<Change>, Vec<(u64, u64, Reply)>) {
        if self.told == self.space.revision() {
            return (Vec::new(), Vec::new());
        }
        let from = self.told.next();
        self.told = self.space.revision();
        let changes = ranges.iter().flat_map(|range| self.space.changes(range, from).unwrap_or_default());
        let changes: Vec<Change> = changes.collect();
        let answers: Vec<((u64, usize), Reply)> = self
            .waiting
            .iter()
            .filter_map(|(whose, waiting)| Some((*whose, self.changes(&waiting.range, waiting.from)?)))
            .collect();
        let answer = |(whose, reply): ((u64, usize), Reply)| {
            Some((whose.0, self.waiting.remove(&whose)?.request, reply))
        };
        (changes, answers.into_iter().filter_map(answer).collect())
    }

    /// Somebody else does something.
    pub(crate) fn commit(&mut self, transaction: Transaction) {
        // Whether it happens does not matter to whoever does not wait for it.
        let _happened = self.space.commit(transaction);
    }

    pub(crate) fn revoke(&mut self, lease: LeaseId) {
        self.space.revoke(lease);
    }

    /// Forgets how it was before now.
    pub(crate) fn compact(&mut self) {
        self.space.compact(self.space.revision()).unwrap_or_else(|error| unreachable!("{error}"));
    }
}
