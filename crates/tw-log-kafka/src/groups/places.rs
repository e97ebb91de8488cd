//! Which event a record of Kafka is, and where an event is in Kafka. Between the events of a topic of the log are the markers of
//! its transactions, and what was aborted, so that Kafka counts further than the platform. In topics of others the two are the
//! same.
//!
//! Most of it is known from what the log knows of its partitions; otherwise the record is read that a group would read next.

use super::aim::clamp;
use crate::client::Isolation;
use crate::partition::Partition;
use crate::probe::{Probe, Range};
use crate::shared::Shared;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tw_log::Result;
use tw_types::{Offset, StreamPartition};

/// How many places are remembered, of all partitions together. Each takes some 50 bytes.
const KNOWN_MAX: usize = 20_000;

/// Which events were found at records, or after them. It never changes: who commits less and less often asks for the same again.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<(StreamPartition, u64), Offset>);

impl Known {
    fn add(&mut self, at: StreamPartition, record: u64, offset: Offset) {
        if self.0.len() >= KNOWN_MAX {
            self.0.clear();
        }
        self.0.insert((at, record), offset);
    }
}

/// A client that looks for places.
pub(super) struct Places<'s> {
    shared: &'s Shared,
    known: &'s parking_lot::Mutex<Known>,
    probe: Probe,
}

impl<'s> Places<'s> {
    pub(super) fn new(shared: &'s Shared, known: &'s parking_lot::Mutex<Known>) -> Result<Self> {
        Ok(Self { shared, known, probe: Probe::new(&shared.options, Isolation::Committed)? })
    }

    /// The events at these records, or the first ones after them; within the bounds of their partitions, so that the end is what
    /// nothing comes after. Records of partitions that are gone are left out.
    pub(super) fn events(
        &self,
        records: impl Iterator<Item = (StreamPartition, u64)>,
    ) -> Result<HashMap<(StreamPartition, u64), Offset>> {
        let (mut found, mut open) = (HashMap::new(), BTreeMap::<StreamPartition, BTreeSet<u64>>::new());
        for (at, record) in records {
            let Ok(partition) = self.shared.partition(at) else { continue };
            match self.known(&partition, record) {
                Some(offset) => {
                    found.insert((at, record), clamp(offset, partition.bounds()));
                }
                None => {
                    open.entry(at).or_default().insert(record);
                }
            }
        }
        self.look(open, &mut found)?;
        Ok(found)
    }

    fn known(&self, partition: &Partition, record: u64) -> Option<Offset> {
        if partition.is_foreign {
            return Some(Offset(record));
        }
        let found = || self.known.lock().0.get(&(partition.at, record)).copied();
        partition.offset_of(record).map(Offset).or_else(found)
    }

    /// Reads the records that are open, of all partitions of a topic at once, one of each partition at a time.
    fn look(
        &self,
        mut open: BTreeMap<StreamPartition, BTreeSet<u64>>,
        found: &mut HashMap<(StreamPartition, u64), Offset>,
    ) -> Result<()> {
        let partitions: Vec<_> = open.keys().filter_map(|at| self.shared.partition(*at).ok()).collect();
        if partitions.is_empty() {
            return Ok(());
        }
        let (starts, ends) = (self.probe.starts(&partitions)?, self.probe.ends(&partitions)?);
        let mut topics: BTreeMap<Arc<str>, Vec<&Arc<Partition>>> = BTreeMap::new();
        for partition in &partitions {
            topics.entry(partition.topic.clone()).or_default().push(partition);
        }
        for (topic, partitions) in topics {
            loop {
                let mut wanted: Vec<(u64, (&Arc<Partition>, Range))> = Vec::new();
                for partition in &partitions {
                    let Some(record) = open.get_mut(&partition.at).and_then(BTreeSet::pop_first) else {
                        continue;
                    };
                    let key = (partition.topic.clone(), partition.number());
                    let start = starts.get(&key).copied().unwrap_or_default();
                    let end = ends.get(&key).copied().unwrap_or_default();
                    // What was removed is not looked for.
                    wanted.push((record, (partition, (record.max(start), end))));
                }
                if wanted.is_empty() {
                    break;
                }
                let ranges: Vec<_> = wanted.iter().map(|(_, range)| *range).collect();
                let first = self.probe.firsts(&topic, &ranges)?;
                for (record, (partition, _)) in wanted {
                    let bounds = partition.bounds();
                    let offset = match first.get(&partition.number()) {
                        None => bounds.end,
                        Some((_, place)) => {
                            self.known.lock().add(partition.at, record, place.offset);
                            clamp(place.offset, bounds)
                        }
                    };
                    found.insert((partition.at, record), offset);
                }
            }
        }
        Ok(())
    }

    /// Where in Kafka an event is, or the end: what a group commits that is to go on there.
    pub(super) fn record(&self, partition: &Arc<Partition>, offset: Offset) -> Result<u64> {
        let bounds = partition.bounds();
        if partition.is_foreign {
            return Ok(offset.0);
        }
        if offset < bounds.end {
            return pollster::block_on(self.shared.locate(partition, offset));
        }
        if bounds.start < bounds.end {
            // After the last event there is at least the marker of its transaction. Who begins with that one misses nothing,
            // and is never beyond the end that Kafka shows.
            let last = Offset(bounds.end.0.saturating_sub(1));
            return pollster::block_on(self.shared.locate(partition, last)).map(|record| record + 1);
        }
        let ends = self.probe.ends(std::slice::from_ref(partition))?;
        ends.get(&(partition.topic.clone(), partition.number()))
            .copied()
            .ok_or_else(|| self.probe.unsettled())
    }

    /// The first records of a time or later, in milliseconds since 1970; partitions without one are left out.
    pub(super) fn since(
        &self,
        partitions: &[Arc<Partition>],
        time_ms: i64,
    ) -> Result<HashMap<StreamPartition, u64>> {
        let told = self.probe.since(partitions, time_ms)?;
        let record = |partition: &Arc<Partition>| {
            let record = told.get(&(partition.topic.clone(), partition.number()))?;
            Some((partition.at, *record))
        };
        Ok(partitions.iter().filter_map(record).collect())
    }
}
