//! A watch that goes on wherever etcd can be reached.

use super::connection::{Backoff, Connection, Effect, Failure};
use super::protocol::{EVENT_DELETE, Event, RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use super::{bounds, entry, key, signed, unsigned};
use crate::coordination::{Change, Changes, Revision, Watch};
use crate::{BoxFuture, Error, Outage, Range, Result};
use std::sync::Arc;
use tokio::time::sleep;
use tonic::{Status, Streaming};

/// One watch on one stream.
#[derive(Debug)]
pub(super) struct EtcdWatch {
    connection: Arc<Connection>,
    range: Range,
    /// The first revision that was not told yet.
    next: Revision,
    stream: Option<Streaming<WatchResponse>>,
    /// The number of the server that was asked last.
    server: usize,
    /// The pause before the next try, while there is an outage.
    outage: Option<Backoff>,
    failed: Option<Error>,
}

impl EtcdWatch {
    pub(super) fn new(connection: Arc<Connection>, range: Range, from: Revision) -> Self {
        // Revision 1 is the empty key space.
        let next = from.max(Revision(2));
        Self { connection, range, next, stream: None, server: 0, outage: None, failed: None }
    }

    fn request(&self) -> WatchRequest {
        let (key, range_end) = bounds(&self.connection, &self.range);
        // One revision before the wanted one: a deletion at the very revision that etcd was compacted to is gone
        // (etcd-io/etcd#18089), and starting there would not tell.
        let start_revision = signed(self.next.0 - 1);
        WatchRequest {
            create: Some(WatchCreateRequest { key, range_end, start_revision, progress_notify: true }),
        }
    }

    /// The next answer with changes, or nothing if the stream has to be opened anew.
    async fn advance(&mut self) -> Result<Option<Changes>, Status> {
        if self.stream.is_none() {
            if let Err(error) = self.reassure().await {
                self.failed = Some(error);
                return Ok(None);
            }
            let (server, opened) = self.connection.open(self.request()).await;
            self.server = server;
            self.stream = Some(opened?);
        }
        let Some(stream) = &mut self.stream else { return Ok(None) };
        let Some(answer) = stream.message().await? else {
            return Err(Status::unavailable("the server has closed the watch"));
        };
        if let Err(error) = self.connection.note(self.server, answer.header.as_ref()) {
            self.failed = Some(error);
            return Ok(None);
        }
        self.outage_is_over();
        if answer.compact_revision > 0 {
            self.failed = Some(self.compacted());
            return Ok(None);
        }
        if answer.canceled {
            return Err(Status::unavailable(answer.cancel_reason));
        }
        Ok(self.take(answer))
    }

    /// Sees that the server still has the history that is to be gone on with: a watch from a revision that has not come
    /// about is silent.
    async fn reassure(&self) -> Result<()> {
        let (key, _) = bounds(&self.connection, &self.range);
        let request = RangeRequest { key, limit: 1, ..RangeRequest::default() };
        match self.connection.call(request, Effect::Read, || format!("watch `{}`", self.range)).await {
            Err(Failure::Other(error @ (Error::WentBack { .. } | Error::OtherCluster { .. }))) => Err(error),
            // Whatever else is the matter, opening the watch finds it as well.
            _ => Ok(()),
        }
    }

    fn take(&mut self, answer: WatchResponse) -> Option<Changes> {
        let modified = |event: &Event| event.kv.as_ref().map_or(0, |kv| unsigned(kv.mod_revision));
        let Some(through) = answer.events.last().map(modified).map(Revision) else {
            // A note of progress: all before it has been told. What opens the watch is not one.
            if let Some(header) = answer.header.filter(|_| !answer.created) {
                self.next = self.next.max(Revision(unsigned(header.revision)).next());
            }
            return None;
        };
        let new = answer.events.into_iter().filter(|event| modified(event) >= self.next.0);
        let changes: Vec<Change> = new.filter_map(|event| change(&self.connection, event)).collect();
        self.next = self.next.max(through.next());
        (!changes.is_empty()).then_some(Changes { through, changes })
    }

    fn compacted(&self) -> Error {
        Error::Compacted { range: self.range.clone(), wanted: self.next }
    }

    /// Waits before the next try, or remembers that there is no use in one.
    async fn recover(&mut self, status: Status) {
        self.stream = None;
        let action = format!("watch `{}`", self.range);
        match self.connection.failed(self.server, &status, action) {
            Err(Failure::Other(error)) => self.failed = Some(error),
            Err(_) => self.failed = Some(self.compacted()),
            Ok(Outage { action, endpoint, cause, .. }) => {
                if self.outage.is_none() {
                    tracing::warn!(endpoint, cause, "cannot {action}: trying again");
                }
                let connection = &self.connection;
                let pause = self.outage.get_or_insert_with(|| connection.backoff()).next();
                sleep(pause).await;
            }
        }
    }

    fn outage_is_over(&mut self) {
        if self.outage.take().is_some() {
            tracing::info!("watching `{}` again, from revision {} on", self.range, self.next);
        }
    }
}

fn change(connection: &Connection, event: Event) -> Option<Change> {
    let kv = event.kv?;
    if event.kind == EVENT_DELETE {
        return Some(Change::Delete {
            key: key(connection, &kv)?,
            revision: Revision(unsigned(kv.mod_revision)),
        });
    }
    entry(connection, kv).map(Change::Put)
}

impl Watch for EtcdWatch {
    fn next(&mut self) -> BoxFuture<'_, Result<Changes>> {
        Box::pin(async move {
            loop {
                if let Some(error) = &self.failed {
                    return Err(error.clone());
                }
                match self.advance().await {
                    Ok(Some(changes)) => return Ok(changes),
                    Ok(None) => {}
                    Err(status) => self.recover(status).await,
                }
            }
        })
    }
}
