//! Transactions: guards, operations and what comes of them.

use crate::coordination::VALUE_BYTES_MAX;
use crate::{Entry, Error, Key, LeaseId, Result, Revision};
use bytes::Bytes;
use std::collections::BTreeSet;

/// The most guards, and the most operations, of one transaction. etcd's default limit (`--max-txn-ops`).
const OPERATIONS_MAX: usize = 128;

/// A condition on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// The key does not exist.
    Absent(Key),
    /// The key exists, and was made by this revision: the holder of this fencing token is still the one.
    Created(Key, Revision),
    /// The key exists, and was written last by this revision.
    Unchanged(Key, Revision),
}

impl Guard {
    /// Its key.
    pub fn key(&self) -> &Key {
        match self {
            Self::Absent(key) | Self::Created(key, _) | Self::Unchanged(key, _) => key,
        }
    }

    /// Whether it holds for what is stored under its key.
    pub(crate) fn holds(&self, found: Option<&Entry>) -> bool {
        match self {
            Self::Absent(_) => found.is_none(),
            Self::Created(_, created) => found.is_some_and(|entry| entry.created == *created),
            Self::Unchanged(_, modified) => found.is_some_and(|entry| entry.modified == *modified),
        }
    }
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Writes it.
    Put {
        /// The key.
        key: Key,
        /// At most 1 MiB.
        value: Bytes,
        /// The lease whose end removes it; without one, it stays until it is deleted.
        lease: Option<LeaseId>,
    },
    /// Deletes it, if it is there.
    Delete(Key),
}

impl Operation {
    /// Its key.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete(key) => key,
        }
    }
}

/// Operations that happen together, if all guards hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// At most 128.
    pub guards: Vec<Guard>,
    /// At most 128, each of another key.
    pub operations: Vec<Operation>,
}

impl Transaction {
    /// A transaction that does nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, guard: Guard) -> Self {
        self.guards.push(guard);
        self
    }

    /// Adds a write.
    #[must_use]
    pub fn put(mut self, key: &Key, value: impl Into<Bytes>) -> Self {
        self.operations.push(Operation::Put { key: key.clone(), value: value.into(), lease: None });
        self
    }

    /// Adds a write that the end of a lease undoes.
    #[must_use]
    pub fn put_under(mut self, lease: LeaseId, key: &Key, value: impl Into<Bytes>) -> Self {
        self.operations.push(Operation::Put { key: key.clone(), value: value.into(), lease: Some(lease) });
        self
    }

    /// Adds a deletion.
    #[must_use]
    pub fn delete(mut self, key: &Key) -> Self {
        self.operations.push(Operation::Delete(key.clone()));
        self
    }

    /// Checks the limits, which are the same for every engine.
    pub(crate) fn check(&self) -> Result<()> {
        let count = self.guards.len().max(self.operations.len());
        if count > OPERATIONS_MAX {
            return Err(Error::TooManyOperations { count, count_max: OPERATIONS_MAX });
        }
        let mut written = BTreeSet::new();
        let mut bytes = 0;
        for operation in &self.operations {
            if !written.insert(operation.key()) {
                return Err(Error::WrittenTwice(operation.key().clone()));
            }
            if let Operation::Put { value, .. } = operation {
                bytes += value.len();
            }
            if bytes > VALUE_BYTES_MAX {
                let key = operation.key().clone();
                return Err(Error::TooLarge { key, bytes, bytes_max: VALUE_BYTES_MAX });
            }
        }
        Ok(())
    }
}

/// What came of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It happened, as this revision. A transaction that changed nothing has the revision that was there.
    Done(Revision),
    /// A guard did not hold, and nothing happened.
    Failed {
        /// The revision at which it was decided.
        revision: Revision,
        /// What was found under the key of each guard, in their order.
        found: Vec<Option<Entry>>,
    },
}

impl Outcome {
    /// The revision, if it happened.
    pub fn done(&self) -> Option<Revision> {
        match self {
            Self::Done(revision) => Some(*revision),
            Self::Failed { .. } => None,
        }
    }
}
