//! Waiting in line: places under one key, in the order in which they were taken. Locks and elections are lines.
//!
//! A place is a key under its holder's lease. The place with the lowest creation revision has its turn, and that revision is
//! its fencing token: it is higher than that of everybody who had the turn before. Each waits for the place before its own,
//! so that one release wakes one.

use crate::{
    Change, Coordination, Entry, Error, Guard, Key, Lease, LeaseId, Outcome, Result, Revision, Transaction,
    record,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The pause before a request that was not answered is made again.
const RETRY: Duration = Duration::from_millis(100);

/// What is stored under a place, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PlaceV1 {
    v: u32,
    /// Who waits, or the candidate's announcement.
    who: String,
    /// When its lock session was opened, if it is of one: the lower, the older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
    /// Nobody waits here any more; the key stays because a request whose outcome is unknown might make it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    left: bool,
}

/// Somebody in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// Who it is, in its own words.
    pub who: String,
    /// Its place, and its fencing token once it has the turn.
    pub token: Revision,
    /// The lease under which it is there.
    pub lease: Option<LeaseId>,
    /// The revision at which its lock session was opened, if it is of one: the lower, the older.
    pub age: Option<Revision>,
}

/// The line below a key.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    coordination: Arc<dyn Coordination>,
    parent: Key,
}

impl Line {
    pub(crate) fn new(coordination: Arc<dyn Coordination>, parent: Key) -> Self {
        Self { coordination, parent }
    }

    pub(crate) fn parent(&self) -> &Key {
        &self.parent
    }

    /// Everybody in the line, whose turn it is first.
    pub(crate) async fn waiters(&self) -> Result<Vec<Waiter>> {
        let read = self.coordination.read(self.parent.below(), None).await?;
        Ok(waiting(&read.entries).into_iter().map(|(_, waiter)| waiter).collect())
    }

    /// Takes the last place.
    ///
    /// # Errors
    /// [`Error::NoLease`], [`Error::Unavailable`], and [`Error::Unknown`], after which the place is given up by itself.
    pub(crate) async fn enter(&self, lease: &Lease, who: &str) -> Result<Place> {
        self.enter_as(lease, who, None).await
    }

    /// The same for a lock session of this age.
    ///
    /// # Errors
    /// Those of [`Line::enter`].
    pub(crate) async fn enter_as(&self, lease: &Lease, who: &str, age: Option<Revision>) -> Result<Place> {
        // One name is used once: the lease belongs to this process, and the number is counted here.
        static PLACES: AtomicU64 = AtomicU64::new(0);
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        let key = self.parent.child(&format!("{}-{number}", lease.id()))?;
        let place = Place(Arc::new(Taken {
            line: self.clone(),
            lease: lease.clone(),
            key,
            created: AtomicU64::new(0),
            may_come_again: AtomicBool::new(true),
            is_left: AtomicBool::new(false),
        }));
        let claim = Transaction::new().when(Guard::Absent(place.0.key.clone()));
        let claim = claim.put_under(lease.id(), &place.0.key, encode(&place.0.key, who, age, false)?);
        // Dropped here, after an error or while it waits, the place is left.
        let outcome = self.coordination.commit(claim).await?;
        place.0.may_come_again.store(false, Ordering::Relaxed);
        match outcome {
            Outcome::Done(revision) => place.0.created.store(revision.0, Ordering::Relaxed),
            // Impossible, because the name is used once; if it is not ours, it must not be taken for ours.
            Outcome::Failed { .. } => return Err(Error::NoLease(lease.id())),
        }
        Ok(place)
    }
}

/// Those who have not left, whose turn it is first.
pub(crate) fn waiting<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Vec<(&'e Entry, Waiter)> {
    let waiter = |entry: &'e Entry| {
        let PlaceV1 { v: _, who, age, left } = decode(entry);
        let waiter = Waiter { who, token: entry.created, lease: entry.lease, age: age.map(Revision) };
        (!left).then_some((entry, waiter))
    };
    let mut all: Vec<(&Entry, Waiter)> = entries.into_iter().filter_map(waiter).collect();
    all.sort_by_key(|(entry, _)| entry.created);
    all
}

/// Who has the turn among these entries, if anybody.
pub(crate) fn first<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Option<Waiter> {
    waiting(entries).into_iter().next().map(|(_, waiter)| waiter)
}

fn encode(key: &Key, who: &str, age: Option<Revision>, left: bool) -> Result<Vec<u8>> {
    record::encode(key, &PlaceV1 { v: 1, who: who.to_owned(), age: age.map(|age| age.0), left })
}

/// A place. What cannot be understood waits like everybody else: it may be the one that has the turn, and its lease removes it.
fn decode(entry: &Entry) -> PlaceV1 {
    record::decode(entry).unwrap_or_else(|error| {
        tracing::warn!("{error}: taken for somebody who waits");
        PlaceV1 { v: 1, who: "?".to_owned(), age: None, left: false }
    })
}

/// A place in a line; clones are the same place. It is left when the last of them is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Place(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    line: Line,
    lease: Lease,
    key: Key,
    /// The revision that made it; 0 while that is not known.
    created: AtomicU64,
    /// A request that makes the key may still be under way somewhere.
    may_come_again: AtomicBool,
    is_left: AtomicBool,
}

impl Place {
    /// The fencing token.
    pub(crate) fn token(&self) -> Revision {
        Revision(self.0.created.load(Ordering::Relaxed))
    }

    /// What a transaction demands that only the holder of this place may carry out.
    pub(crate) fn guard(&self) -> Guard {
        Guard::Created(self.0.key.clone(), self.token())
    }

    pub(crate) fn key(&self) -> &Key {
        &self.0.key
    }

    /// Leaves it to somebody else to give the place up: it stays until its lease ends, or its key is removed.
    pub(crate) fn hand_over(&self) {
        self.0.is_left.store(true, Ordering::Relaxed);
    }

    pub(crate) fn lease(&self) -> &Lease {
        &self.0.lease
    }

    /// Whether everybody before has left.
    ///
    /// # Errors
    /// [`Error::NoLease`] when the place is gone, and those of [`Coordination::read`].
    pub(crate) async fn has_turn(&self) -> Result<bool> {
        let read = self.0.line.coordination.read(self.0.line.parent.below(), None).await?;
        let line = waiting(&read.entries);
        let ahead = line.iter().position(|(entry, _)| entry.key == self.0.key).ok_or_else(|| self.gone())?;
        Ok(ahead == 0 && self.0.lease.is_held())
    }

    /// Waits until everybody before has left. Cancel-safe: the place is kept.
    ///
    /// # Errors
    /// [`Error::NoLease`] when the place is gone, with or without its lease; [`Error::Refused`] and the like. Where nobody
    /// answers, it waits.
    pub(crate) async fn turn(&self) -> Result<()> {
        tokio::select! {
            () = self.0.lease.lost() => Err(self.gone()),
            turn = self.first_in_line() => turn,
        }
    }

    async fn first_in_line(&self) -> Result<()> {
        let coordination = &self.0.line.coordination;
        loop {
            let read = match coordination.read(self.0.line.parent.below(), None).await {
                Ok(read) => read,
                Err(error) => {
                    self.pause_after(error).await?;
                    continue;
                }
            };
            let line = waiting(&read.entries);
            let Some(ahead) = line.iter().position(|(entry, _)| entry.key == self.0.key) else {
                return Err(self.gone());
            };
            let Some((before, _)) = ahead.checked_sub(1).and_then(|index| line.get(index)) else {
                return self.0.lease.check();
            };
            let mut watch = coordination.watch(before.key.alone(), read.revision.next());
            // Whatever happens to it, and even if that is forgotten already: look again.
            match watch.next().await {
                Ok(_) | Err(Error::Compacted { .. }) => {}
                Err(error) => self.pause_after(error).await?,
            }
        }
    }

    /// Waits until the place is gone: its lease is lost, or somebody has removed the key. Cancel-safe.
    pub(crate) async fn lost(&self) {
        tokio::select! {
            () = self.0.lease.lost() => {}
            () = self.removed() => {}
        }
    }

    async fn removed(&self) {
        let coordination = &self.0.line.coordination;
        loop {
            if let Ok(read) = coordination.read(self.0.key.alone(), None).await {
                let is_there = read.entries.first().is_some_and(|entry| entry.created == self.token());
                if !is_there {
                    return;
                }
                let mut watch = coordination.watch(self.0.key.alone(), read.revision.next());
                if let Ok(told) = watch.next().await
                    && told.changes.iter().any(|change| matches!(change, Change::Delete { .. }))
                {
                    return;
                }
            }
            let time = coordination.time();
            time.sleep_until(time.now() + RETRY).await;
        }
    }

    /// Lets the next one have the turn.
    ///
    /// # Errors
    /// Those of [`Coordination::commit`]; then it is tried again in the background for as long as the lease is held.
    pub(crate) async fn leave(&self) -> Result<()> {
        self.0.leave().await?;
        self.0.is_left.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn gone(&self) -> Error {
        Error::NoLease(self.0.lease.id())
    }

    async fn pause_after(&self, error: Error) -> Result<()> {
        pause_after(&self.0.line.coordination, error).await
    }
}

/// Waits a little after an error that passes.
///
/// # Errors
/// Every other error.
pub(crate) async fn pause_after(coordination: &Arc<dyn Coordination>, error: Error) -> Result<()> {
    match error {
        Error::Unavailable(_) | Error::Unknown(_) => {
            let time = coordination.time();
            time.sleep_until(time.now() + RETRY).await;
            Ok(())
        }
        error => Err(error),
    }
}

impl Taken {
    fn leave(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        leave(
            self.line.coordination.clone(),
            self.lease.id(),
            self.key.clone(),
            self.may_come_again.load(Ordering::Relaxed),
        )
    }
}

/// Removes a place; one that may be made again by a request under way is marked instead, until its lease ends.
async fn leave(
    coordination: Arc<dyn Coordination>,
    lease: LeaseId,
    key: Key,
    may_come_again: bool,
) -> Result<()> {
    let transaction = match may_come_again {
        true => Transaction::new().put_under(lease, &key, encode(&key, "", None, true)?),
        false => Transaction::new().delete(&key),
    };
    match coordination.commit(transaction).await {
        Ok(_) | Err(Error::NoLease(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.is_left.load(Ordering::Relaxed) || !self.lease.is_held() {
            return;
        }
        // Without a runtime there is nobody to carry it out: it goes with its lease then.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (lease, coordination) = (self.lease.clone(), self.line.coordination.clone());
        let (key, may_come_again) = (self.key.clone(), self.may_come_again.load(Ordering::Relaxed));
        runtime.spawn(async move {
            let time = coordination.time();
            while lease.is_held() {
                let left = leave(coordination.clone(), lease.id(), key.clone(), may_come_again).await;
                let Err(error) = left else { return };
                tracing::warn!("a place in line is not left yet: {error}");
                time.sleep_until(time.now() + RETRY).await;
            }
        });
    }
}
