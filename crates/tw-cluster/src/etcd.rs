//! The engine on etcd, through its gRPC interface.
//!
//! [`protocol`] holds the messages, [`connection`] finds a server that answers, [`watch`] keeps a watch going. Keys are
//! stored as `NAMESPACE/KEY`, values as they are.

mod connection;
mod options;
mod protocol;
mod tls;
mod watch;

pub use options::{EtcdOptions, EtcdTls};

use crate::coordination::{Coordination, Entry, Grant, LeaseId, Revision, Snapshot, Watch};
use crate::{BoxFuture, Error, Guard, Key, Operation, Outcome, Range, Result, Time, Transaction};
use bytes::Bytes;
use connection::{Connection, Effect, Failure};
use protocol::{
    Answer, CompactionRequest, Compare, CompareValue, DeleteRangeRequest, KeyValue, LeaseGrantRequest,
    LeaseKeepAliveRequest, LeaseRevokeRequest, PutRequest, RangeRequest, Request, RequestOp, ResponseOp,
    TARGET_CREATE, TARGET_MOD, TxnRequest,
};
use std::sync::Arc;
use std::time::Duration;
use watch::EtcdWatch;

/// Coordination through etcd 3.4 or newer.
#[derive(Debug)]
pub struct EtcdCoordination {
    connection: Arc<Connection>,
}

impl EtcdCoordination {
    /// Prepares the engine; a connection is made when it is needed. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn new(time: Arc<dyn Time>, options: &EtcdOptions) -> Result<Self> {
        Ok(Self { connection: Arc::new(Connection::new(time, options)?) })
    }

    async fn read(&self, range: Range, at: Option<Revision>) -> Result<Snapshot> {
        loop {
            match self.pages(&range, at).await {
                // Compacted between two pages of what is there now: then it is there still, at a later revision.
                Err(Error::Compacted { .. }) if at.is_none() => {}
                read => return read,
            }
        }
    }

    async fn pages(&self, range: &Range, at: Option<Revision>) -> Result<Snapshot> {
        let (mut key, range_end) = bounds(&self.connection, range);
        let (mut revision, mut entries) = (at, Vec::new());
        loop {
            let request = RangeRequest {
                key,
                range_end: range_end.clone(),
                limit: i64::from(self.connection.options.page_entries),
                revision: revision.map_or(0, |revision| signed(revision.0)),
            };
            let answered = self.connection.call(request, Effect::Read, || format!("read `{range}`")).await;
            let (answer, _) = answered.map_err(|failure| match (failure, at.or(revision)) {
                (Failure::Compacted, wanted) => {
                    Error::Compacted { range: range.clone(), wanted: wanted.unwrap_or_default() }
                }
                (failure, wanted) => other(failure, wanted),
            })?;
            let revision = *revision.get_or_insert(Revision(at_revision(&answer)));
            key = answer.kvs.last().map(|kv| [&kv.key[..], b"\0"].concat().into()).unwrap_or_default();
            entries.extend(answer.kvs.into_iter().filter_map(|kv| entry(&self.connection, kv)));
            if !answer.more {
                return Ok(Snapshot { revision, entries });
            }
        }
    }

    async fn commit(&self, transaction: Transaction) -> Result<Outcome> {
        transaction.check()?;
        let leases = transaction.operations.iter().find_map(|operation| match operation {
            Operation::Put { lease, .. } => *lease,
            Operation::Delete(_) => None,
        });
        let request = TxnRequest {
            compare: transaction.guards.iter().map(|guard| self.compare(guard)).collect(),
            success: transaction.operations.iter().map(|operation| self.operation(operation)).collect(),
            failure: transaction.guards.iter().map(|guard| self.look(guard.key())).collect(),
        };
        let keys = || {
            let keys = transaction.operations.iter().map(Operation::key);
            keys.chain(transaction.guards.iter().map(Guard::key)).next().map_or("nothing", Key::as_str)
        };
        let answered = self.connection.call(request, Effect::Once, || format!("write `{}`", keys())).await;
        let (answer, _) = answered.map_err(|failure| match (failure, leases) {
            (Failure::NoLease, Some(lease)) => Error::NoLease(lease),
            (failure, _) => other(failure, None),
        })?;
        let revision = Revision(at_revision(&answer));
        if answer.succeeded {
            return Ok(Outcome::Done(revision));
        }
        let first = |response: ResponseOp| response.range.and_then(|range| range.kvs.into_iter().next());
        let found = answer.responses.into_iter().map(first);
        let found = found.map(|kv| kv.and_then(|kv| entry(&self.connection, kv))).collect();
        Ok(Outcome::Failed { revision, found })
    }

    fn compare(&self, guard: &Guard) -> Compare {
        let (target, value) = match guard {
            // A key that does not exist was created by revision 0.
            Guard::Absent(_) => (TARGET_CREATE, CompareValue::CreateRevision(0)),
            Guard::Created(_, revision) => (TARGET_CREATE, CompareValue::CreateRevision(signed(revision.0))),
            Guard::Unchanged(_, revision) => (TARGET_MOD, CompareValue::ModRevision(signed(revision.0))),
        };
        Compare { target, key: stored(&self.connection, guard.key().as_str()), value: Some(value) }
    }

    fn operation(&self, operation: &Operation) -> RequestOp {
        let key = stored(&self.connection, operation.key().as_str());
        RequestOp {
            request: Some(match operation {
                Operation::Put { value, lease, .. } => {
                    let lease = lease.map_or(0, |lease| signed(lease.0));
                    Request::Put(PutRequest { key, value: value.clone(), lease })
                }
                Operation::Delete(_) => Request::DeleteRange(DeleteRangeRequest { key }),
            }),
        }
    }

    fn look(&self, key: &Key) -> RequestOp {
        let key = stored(&self.connection, key.as_str());
        RequestOp { request: Some(Request::Range(RangeRequest { key, ..RangeRequest::default() })) }
    }

    async fn grant(&self, ttl: Duration) -> Result<Grant> {
        let seconds = i64::try_from(ttl.as_millis().div_ceil(1000)).unwrap_or(i64::MAX).max(1);
        // A lease that was made and not told of ends by itself: asking again is fine.
        let request = LeaseGrantRequest { ttl: seconds };
        let answered = self.connection.call(request, Effect::Repeatable, || "make a lease".into()).await;
        let (answer, sent) = answered.map_err(|failure| other(failure, None))?;
        Ok(granted(LeaseId(unsigned(answer.id)), answer.ttl, sent))
    }

    async fn renew(&self, lease: LeaseId) -> Result<Grant> {
        let request = LeaseKeepAliveRequest { id: signed(lease.0) };
        let action = || format!("renew lease {lease}");
        let answered = self.connection.call(request, Effect::Repeatable, action).await;
        let (answer, sent) = answered.map_err(|failure| of_lease(failure, lease))?;
        match answer.ttl > 0 {
            true => Ok(granted(lease, answer.ttl, sent)),
            false => Err(Error::NoLease(lease)),
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        let request = LeaseRevokeRequest { id: signed(lease.0) };
        let action = || format!("end lease {lease}");
        match self.connection.call(request, Effect::Repeatable, action).await {
            Ok(_) | Err(Failure::NoLease) => Ok(()),
            Err(failure) => Err(of_lease(failure, lease)),
        }
    }

    async fn compact(&self, before: Revision) -> Result<()> {
        let request = CompactionRequest { revision: signed(before.0) };
        let action = || format!("compact revision {before}");
        match self.connection.call(request, Effect::Repeatable, action).await {
            Ok(_) | Err(Failure::Compacted) => Ok(()),
            Err(failure) => Err(other(failure, Some(before))),
        }
    }
}

fn granted(id: LeaseId, seconds: i64, sent: Duration) -> Grant {
    let ttl = Duration::from_secs(unsigned(seconds));
    Grant { id, ttl, until: sent.saturating_add(ttl) }
}

/// The error of a failure that is not expected where it came up, except for a revision that is in the future.
fn other(failure: Failure, wanted: Option<Revision>) -> Error {
    let wanted = wanted.unwrap_or_default();
    match failure {
        Failure::Other(error) => error,
        Failure::NotYet | Failure::Compacted => Error::NotYet { wanted },
        Failure::NoLease => Error::NoLease(LeaseId(0)),
    }
}

fn of_lease(failure: Failure, lease: LeaseId) -> Error {
    match failure {
        Failure::NoLease => Error::NoLease(lease),
        failure => other(failure, None),
    }
}

fn at_revision(answer: &impl Answer) -> u64 {
    answer.header().map_or(0, |header| unsigned(header.revision))
}

/// etcd's numbers are signed, and never negative.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A key, or the bound of a range, as etcd stores it.
fn stored(connection: &Connection, key: &str) -> Bytes {
    format!("{}/{key}", connection.options.namespace).into()
}

fn bounds(connection: &Connection, range: &Range) -> (Bytes, Bytes) {
    let (start, end) = range.bounds();
    (stored(connection, &start), end.map(|end| stored(connection, &end)).unwrap_or_default())
}

/// The key that is stored so; nothing for one that somebody else has put into our namespace.
fn key(connection: &Connection, kv: &KeyValue) -> Option<Key> {
    let text = std::str::from_utf8(&kv.key).ok()?;
    let text = text.strip_prefix(connection.options.namespace.as_str())?.strip_prefix('/')?;
    Key::stored(text).inspect_err(|error| tracing::warn!("{error}: passed over")).ok()
}

fn entry(connection: &Connection, kv: KeyValue) -> Option<Entry> {
    Some(Entry {
        key: key(connection, &kv)?,
        value: kv.value,
        created: Revision(unsigned(kv.create_revision)),
        modified: Revision(unsigned(kv.mod_revision)),
        lease: (kv.lease > 0).then_some(LeaseId(unsigned(kv.lease))),
    })
}

impl Coordination for EtcdCoordination {
    fn read(&self, range: Range, at: Option<Revision>) -> BoxFuture<'_, Result<Snapshot>> {
        Box::pin(self.read(range, at))
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome>> {
        Box::pin(self.commit(transaction))
    }

    fn watch(&self, range: Range, from: Revision) -> Box<dyn Watch> {
        Box::new(EtcdWatch::new(self.connection.clone(), range, from))
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Grant>> {
        Box::pin(self.grant(ttl))
    }

    fn renew(&self, lease: LeaseId) -> BoxFuture<'_, Result<Grant>> {
        Box::pin(self.renew(lease))
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.revoke(lease))
    }

    fn compact(&self, before: Revision) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.compact(before))
    }

    fn time(&self) -> Arc<dyn Time> {
        self.connection.time.clone()
    }
}
