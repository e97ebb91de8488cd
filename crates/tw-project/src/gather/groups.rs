//! Groups of a partition that another node has, as they come.
//!
//! They come in the order of their keys, each behind the entries of its aggregates. Of those only so much is kept as the reader can still
//! ask for: it puts groups together batch by batch, and looks at the entries of a batch before it goes on.

use super::frames::{Item, take_item, take_partition};
use crate::operators::part::{Entries, Part};
use crate::state::Malformed;
use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc::Receiver;
use tw_types::PartitionId;

/// About how much an entry takes beside its key and its value.
const ENTRY_BYTES: usize = 80;

/// Where frames come from.
pub(crate) enum Feed {
    /// From a task that fetches them. An empty one is the end; a channel that ends before has broken off.
    Channel(Receiver<Result<Bytes>>),
    /// All are there.
    Ready(VecDeque<Bytes>),
}

/// How many bytes of entries a query may keep, of all partitions.
pub(crate) struct Budget {
    used: AtomicUsize,
    bytes_max: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), bytes_max })
    }

    fn take(&self, bytes: usize) -> Result<()> {
        if self.used.fetch_add(bytes, Ordering::Relaxed) + bytes > self.bytes_max {
            let what = format!("entries of groups of other nodes of more than {} bytes", self.bytes_max);
            return Err(DataFusionError::ResourcesExhausted(what));
        }
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// See the module's text.
pub(crate) struct FetchedGroups {
    partition: PartitionId,
    budget: Arc<Budget>,
    inner: Mutex<Inner>,
}

struct Inner {
    feed: Feed,
    /// What is left of the frame that is being read.
    frame: Bytes,
    ended: bool,
    /// The key of the last group that was given.
    last: Option<Bytes>,
    /// The groups that were given, whose entries can still be asked for, in the order of their keys; those without entries are left out.
    given: VecDeque<Given>,
    /// The entries of the group that comes next.
    next: Vec<Held>,
}

struct Given {
    key: Bytes,
    entries: Vec<Held>,
}

/// An entry of an aggregate.
struct Held {
    aggregate: u8,
    key: Bytes,
    value: Bytes,
}

impl Held {
    fn bytes(&self) -> usize {
        self.key.len() + self.value.len() + ENTRY_BYTES
    }
}

impl FetchedGroups {
    pub(crate) fn new(partition: PartitionId, feed: Feed, budget: Arc<Budget>) -> Self {
        let inner = Inner {
            feed,
            frame: Bytes::new(),
            ended: false,
            last: None,
            given: VecDeque::new(),
            next: Vec::new(),
        };
        Self { partition, budget, inner: Mutex::new(inner) }
    }

    fn next_group(&self) -> Option<Result<(Bytes, Bytes)>> {
        let mut inner = self.inner.lock();
        if inner.ended {
            return None;
        }
        let next = inner.next_group(self.partition, &self.budget).transpose();
        inner.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

fn malformed(error: Malformed) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl Inner {
    fn next_group(&mut self, partition: PartitionId, budget: &Budget) -> Result<Option<(Bytes, Bytes)>> {
        loop {
            if self.frame.is_empty() {
                match self.next_frame()? {
                    Some(frame) => self.frame = frame,
                    None if self.next.is_empty() => return Ok(None),
                    None => return Err(malformed(Malformed("there are entries without their group"))),
                }
                if take_partition(&mut self.frame).map_err(malformed)? != partition {
                    return Err(malformed(Malformed("groups of another partition came")));
                }
                continue;
            }
            match take_item(&mut self.frame).map_err(malformed)? {
                Item::Entry { aggregate, key, value } => {
                    let entry = Held { aggregate, key, value };
                    budget.take(entry.bytes())?;
                    self.next.push(entry);
                }
                Item::Group { key, value } => {
                    if self.last.as_ref().is_some_and(|last| *last >= key) {
                        return Err(malformed(Malformed("groups are not in the order of their keys")));
                    }
                    self.last = Some(key.clone());
                    let entries = std::mem::take(&mut self.next);
                    if !entries.is_empty() {
                        self.given.push_back(Given { key: key.clone(), entries });
                    }
                    return Ok(Some((key, value)));
                }
            }
        }
    }

    fn next_frame(&mut self) -> Result<Option<Bytes>> {
        match &mut self.feed {
            Feed::Ready(frames) => Ok(frames.pop_front()),
            Feed::Channel(frames) => match frames.blocking_recv() {
                Some(Ok(frame)) if frame.is_empty() => Ok(None),
                Some(frame) => frame.map(Some),
                None => Err(malformed(Malformed("the groups of another node broke off"))),
            },
        }
    }
}

impl Part for FetchedGroups {
    fn groups(&self, start: &[u8]) -> Entries<'_> {
        let start = Bytes::copy_from_slice(start);
        let groups = std::iter::from_fn(move || {
            // Only what was asked for comes.
            self.next_group().map(|group| match group {
                Ok((key, _)) if !key.starts_with(&start) => {
                    Err(malformed(Malformed("a group came that was not asked for")))
                }
                group => group,
            })
        });
        Entries::Fetched(Box::new(groups))
    }

    fn group(&self, key: &[u8]) -> Result<Option<Bytes>> {
        match self.next_group().transpose()? {
            Some((group, value)) if group == key => Ok(Some(value)),
            Some(_) => Err(malformed(Malformed("a group came that was not asked for"))),
            None => Ok(None),
        }
    }

    fn entries(&self, owner: &[u8]) -> Entries<'_> {
        let inner = self.inner.lock();
        let mut entries = Vec::new();
        if let Some((aggregate, group)) = owner.split_last()
            && let Ok(found) = inner.given.binary_search_by(|given| given.key.as_ref().cmp(group))
            && let Some(given) = inner.given.get(found)
        {
            let of = given.entries.iter().filter(|entry| entry.aggregate == *aggregate);
            entries.extend(of.map(|entry| Ok((entry.key.clone(), entry.value.clone()))));
        }
        Entries::Fetched(Box::new(entries.into_iter()))
    }

    fn forget(&self) {
        let mut inner = self.inner.lock();
        // The last one belongs to what is put together next.
        while inner.given.len() > 1 {
            let entries = inner.given.pop_front().map(|given| given.entries).unwrap_or_default();
            self.budget.give_back(entries.iter().map(Held::bytes).sum());
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "these are tests")]
mod tests;
