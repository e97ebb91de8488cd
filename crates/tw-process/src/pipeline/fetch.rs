//! Getting single events back from the log, for those that had to wait.

use super::Fault;
use std::sync::Arc;
use tw_log::Log;
use tw_types::{Offset, StoredRef, StreamPartition};
use tw_wire::Records;

/// Decompressed bytes that may be held at once.
const RAW_BYTES_MAX: usize = 8 << 20;

/// Reads the events at given offsets. It waits for the log, which is fine for what is rare.
pub(super) struct Fetcher {
    log: Arc<dyn Log>,
    at: StreamPartition,
    /// The block that was read last: subjects that were blocked at the same time share it.
    last: Option<Records>,
}

/// What was found.
pub(super) struct Fetched {
    /// The blocks that hold the events.
    pub(super) records: Vec<Records>,
    /// How many of the wanted offsets were looked for; the others did not fit.
    pub(super) looked_for: usize,
    /// Whether the first wanted event was removed from the log.
    pub(super) lost: bool,
}

impl Fetcher {
    pub(super) fn new(log: Arc<dyn Log>, at: StreamPartition) -> Self {
        Self { log, at, last: None }
    }

    /// The blocks that hold the events at `wanted`, in order: all of them, or as many as fit, but at least one.
    pub(super) fn fetch(&mut self, wanted: &[Offset]) -> Result<Fetched, Fault> {
        let mut fetched = Fetched { records: Vec::new(), looked_for: 0, lost: false };
        let mut bytes = 0;
        for offset in wanted {
            let here = |records: &Records| {
                records.header().base_offset <= *offset && *offset < records.header().end_offset()
            };
            if fetched.records.last().is_some_and(here) {
                fetched.looked_for += 1;
                continue;
            }
            let records = match self.last.take().filter(here) {
                Some(records) => records,
                None => match self.read(*offset) {
                    Ok(Some(records)) => records,
                    Ok(None) => {
                        fetched.looked_for += 1;
                        continue;
                    }
                    Err(tw_log::Error::Trimmed { .. }) if fetched.looked_for == 0 => {
                        fetched.lost = true;
                        break;
                    }
                    // Removed this moment: they are found lost when it is their turn.
                    Err(tw_log::Error::Trimmed { .. }) => break,
                    Err(error) => return Err(error.into()),
                },
            };
            bytes += records.bytes();
            if bytes > RAW_BYTES_MAX && fetched.looked_for > 0 {
                break;
            }
            fetched.records.push(records);
            fetched.looked_for += 1;
        }
        self.last = fetched.records.last().cloned();
        Ok(fetched)
    }

    /// The block that holds `offset`, if it is still there.
    fn read(&self, offset: Offset) -> tw_log::Result<Option<Records>> {
        let blocks = pollster::block_on(self.log.read(self.at, offset, 1))?;
        let block = blocks.first().filter(|block| block.header().base_offset <= offset);
        Ok(block.map(tw_wire::Block::records).transpose()?)
    }
}

impl Fetched {
    /// The events at `wanted`, in order; those that compaction has removed are missing.
    pub(super) fn events(&self, wanted: &[Offset]) -> Result<Vec<StoredRef<'_>>, Fault> {
        let mut events = Vec::with_capacity(wanted.len());
        for records in &self.records {
            let header = records.header();
            let first = wanted.partition_point(|at| *at < header.base_offset);
            let end = wanted.partition_point(|at| *at < header.end_offset());
            let wanted = wanted.get(first..end).unwrap_or_default();
            let mut iter = records.iter()?;
            if header.is_sparse() {
                for event in iter {
                    let event = event?;
                    if wanted.binary_search(&event.offset).is_ok() {
                        events.push(event);
                    }
                }
            } else {
                for offset in wanted {
                    iter.skip_before(*offset)?;
                    events.extend(iter.next().transpose()?);
                }
            }
        }
        Ok(events)
    }
}
