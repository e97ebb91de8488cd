//! A range, followed: what is there, then what changes, whatever happens in between.

use crate::{BoxFuture, Change, Coordination, Entry, Error, Key, Range, Result, Revision, Snapshot, Watch};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A copy of a range that is kept up to date. Where the history is compacted, it is read anew, and what differs is told.
pub(crate) struct Mirror {
    coordination: Arc<dyn Coordination>,
    range: Range,
    entries: BTreeMap<Key, Entry>,
    revision: Revision,
    /// Nothing while the range has to be read (again).
    watch: Option<Box<dyn Watch>>,
    /// The reading that is under way, whoever has stopped waiting for it.
    reading: Option<BoxFuture<'static, Result<Snapshot>>>,
}

impl Mirror {
    /// A copy that is empty until [`Mirror::next`] is called.
    pub(crate) fn new(coordination: Arc<dyn Coordination>, range: Range) -> Self {
        Self {
            coordination,
            range,
            entries: BTreeMap::new(),
            revision: Revision(0),
            watch: None,
            reading: None,
        }
    }

    /// The entries, by key, as of the last [`Mirror::next`].
    pub(crate) fn entries(&self) -> &BTreeMap<Key, Entry> {
        &self.entries
    }

    /// What the copy shows: every change up to and including this one.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Brings the copy up to date and returns what changed, at first everything that is there, which may be nothing;
    /// later waits until there is something. Cancel-safe.
    ///
    /// # Errors
    /// Those of [`Coordination::read`] and [`Watch::next`], except that compaction is dealt with here. It can be called
    /// again.
    pub(crate) async fn next(&mut self) -> Result<Vec<Change>> {
        loop {
            let Some(watch) = &mut self.watch else {
                let is_first = self.revision == Revision(0);
                let changes = self.read().await?;
                if is_first || !changes.is_empty() {
                    return Ok(changes);
                }
                continue;
            };
            match watch.next().await {
                Ok(told) => {
                    self.revision = told.through;
                    told.changes.iter().for_each(|change| self.apply(change));
                    return Ok(told.changes);
                }
                Err(Error::Compacted { .. }) => self.watch = None,
                Err(error) => {
                    self.watch = None;
                    return Err(error);
                }
            }
        }
    }

    async fn read(&mut self) -> Result<Vec<Change>> {
        let reading = self.reading.get_or_insert_with(|| {
            let (coordination, range) = (self.coordination.clone(), self.range.clone());
            Box::pin(async move { coordination.read(range, None).await })
        });
        let read = reading.await;
        self.reading = None;
        let read = read?;
        let is_known = |entry: &Entry| {
            self.entries.get(&entry.key).is_some_and(|known| known.modified == entry.modified)
        };
        let there: BTreeMap<&Key, &Entry> = read.entries.iter().map(|entry| (&entry.key, entry)).collect();
        let gone = self.entries.keys().filter(|key| !there.contains_key(key));
        let gone = gone.map(|key| Change::Delete { key: key.clone(), revision: read.revision });
        let new = read.entries.iter().filter(|entry| !is_known(entry)).cloned().map(Change::Put);
        let changes: Vec<Change> = gone.chain(new).collect();
        changes.iter().for_each(|change| self.apply(change));
        self.revision = read.revision;
        self.watch = Some(self.coordination.watch(self.range.clone(), read.revision.next()));
        Ok(changes)
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(entry) => drop(self.entries.insert(entry.key.clone(), entry.clone())),
            Change::Delete { key, .. } => drop(self.entries.remove(key)),
        }
    }
}
