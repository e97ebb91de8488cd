//! What is stored of a lock session.

use crate::record;
use crate::{Coordination, Entry, Error, Guard, Key, Lease, LeaseId, Outcome, Result, Revision, Transaction};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A lock session as it is stored: JSON, version 1. Fields that a newer node adds are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionV1 {
    v: u32,
    /// Who it is, in its own words.
    pub(super) owner: String,
    /// When it was opened, in milliseconds since 1970, by the clock of the node that did.
    opened_ms: u64,
    /// What it has taken, with fencing tokens. It may have lost some of it since: their lines tell.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) locks: BTreeMap<String, u64>,
    /// The locks that older sessions wanted from it, and whether it was told so. They may have given up since.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) wounds: BTreeMap<String, bool>,
}

impl SessionV1 {
    /// Forgets what there was about these locks.
    pub(super) fn forget<'n>(&mut self, names: impl IntoIterator<Item = &'n str>) {
        for name in names {
            self.locks.remove(name);
            self.wounds.remove(name);
        }
    }
}

/// The records of all sessions.
#[derive(Debug, Clone)]
pub(super) struct Book {
    coordination: Arc<dyn Coordination>,
    parent: Key,
}

impl Book {
    pub(super) fn new(coordination: Arc<dyn Coordination>) -> Result<Self> {
        Ok(Self { coordination, parent: Key::new(["lock-sessions"])? })
    }

    pub(super) fn key(&self, id: LeaseId) -> Result<Key> {
        self.parent.child(&id.to_string())
    }

    /// Opens a session, and returns its age.
    pub(super) async fn open(&self, lease: &Lease, owner: &str) -> Result<Revision> {
        let key = self.key(lease.id())?;
        let opened_ms = self.coordination.time().clock().now_ms();
        let (locks, wounds) = (BTreeMap::new(), BTreeMap::new());
        let record = SessionV1 { v: 1, owner: owner.to_owned(), opened_ms, locks, wounds };
        let open = Transaction::new().put_under(lease.id(), &key, record::encode(&key, &record)?);
        // Without a guard it always happens.
        self.coordination.commit(open).await?.done().ok_or(Error::NoLease(lease.id()))
    }

    /// The age of a session, and what is stored of it.
    ///
    /// # Errors
    /// [`Error::NoSession`], and those of [`Coordination::read`].
    pub(super) async fn get(&self, id: LeaseId) -> Result<(Revision, SessionV1)> {
        let entry = self.entry(id).await?;
        Ok((entry.created, record::decode(&entry)?))
    }

    async fn entry(&self, id: LeaseId) -> Result<Entry> {
        let read = self.coordination.read(self.key(id)?.alone(), None).await?;
        // A key that is not under its lease is not a session's.
        let entry = read.entries.into_iter().next().filter(|entry| entry.lease == Some(id));
        entry.ok_or_else(|| Error::NoSession(id.to_string()))
    }

    /// Changes what is stored of a session if these guards hold, and returns what it is then; nothing if one does not.
    ///
    /// # Errors
    /// [`Error::NoSession`], and those of [`Coordination::commit`].
    pub(super) async fn change(
        &self,
        id: LeaseId,
        guards: &[Guard],
        change: impl Fn(&mut SessionV1),
    ) -> Result<Option<SessionV1>> {
        loop {
            let entry = self.entry(id).await?;
            let before: SessionV1 = record::decode(&entry)?;
            let mut record = before.clone();
            change(&mut record);
            if record == before && guards.is_empty() {
                return Ok(Some(record));
            }
            let mut write = Transaction::new().when(Guard::Unchanged(entry.key.clone(), entry.modified));
            write.guards.extend(guards.iter().cloned());
            let write = write.put_under(id, &entry.key, record::encode(&entry.key, &record)?);
            match self.coordination.commit(write).await {
                Ok(Outcome::Done(_)) => return Ok(Some(record)),
                Ok(Outcome::Failed { found, .. }) => {
                    let mut guarded = guards.iter().zip(found.iter().skip(1));
                    if guarded.any(|(guard, found)| !guard.holds(found.as_ref())) {
                        return Ok(None);
                    }
                }
                Err(Error::NoLease(_)) => return Err(Error::NoSession(id.to_string())),
                Err(error) => return Err(error),
            }
        }
    }
}
