//! The newest events first: a page that goes backwards from a place, with bounded work.
//!
//! A log is read forwards only. So each partition is read in windows that end where the one before began, and what of a window is wanted is kept
//! as it will be sent. Windows grow while they are cheap and shrink while they are not; a page that has read enough ends early, and says where to
//! go on.

use crate::Problem;
use crate::cursor::Filter;
use std::sync::Arc;
use tw_log::{Error as LogError, Log};
use tw_types::{Hlc, Offset, StreamPartition, Token};
use tw_wire::cloudevents::write_event;

/// How many offsets the first window of a partition has, and the largest.
const WINDOW: u64 = 64;
const WINDOW_MAX: u64 = 64 << 10;
/// How many bytes are read at once of all partitions together, and of one at least.
const READ_BYTES: usize = 4 << 20;
const READ_BYTES_MIN: usize = 64 << 10;
/// After how many bytes that were read a page ends.
const WORK_BYTES_MAX: usize = 16 << 20;

/// An event that is wanted, as it is sent.
struct Found {
    hlc: Hlc,
    offset: Offset,
    json: Vec<u8>,
}

/// A partition.
struct Lane {
    at: StreamPartition,
    /// The first offset that is still there.
    start: Offset,
    /// Nothing from this offset on is left to be read.
    upper: Offset,
    /// What was found above that and is not sent yet, the newest last.
    found: Vec<Found>,
    window: u64,
    /// Whether anything was read of it. That is done in any case: otherwise a page of very many partitions would never come further.
    is_begun: bool,
}

impl Lane {
    /// Where to go on: events before this offset are left.
    fn rest(&self) -> Offset {
        self.found.last().map_or(self.upper, |found| found.offset.next())
    }
}

/// A place in a stream from which events are read backwards.
pub(super) struct Backward {
    log: Arc<dyn Log>,
    filter: Filter,
    lanes: Vec<Lane>,
    /// How many bytes may still be read.
    work_bytes: usize,
}

impl Backward {
    /// Begins before these offsets.
    ///
    /// # Errors
    /// When the stream or a partition is gone.
    pub(super) fn new(
        log: Arc<dyn Log>,
        places: impl IntoIterator<Item = (StreamPartition, Offset)>,
        filter: Filter,
    ) -> Result<Self, Problem> {
        let mut lanes = Vec::new();
        for (at, upper) in places {
            let bounds = log.bounds(at)?;
            let upper = upper.clamp(bounds.start, bounds.end);
            lanes.push(Lane {
                at,
                start: bounds.start,
                upper,
                found: Vec::new(),
                window: WINDOW,
                is_begun: false,
            });
        }
        Ok(Self { log, filter, lanes, work_bytes: WORK_BYTES_MAX })
    }

    /// The cut before which everything is left.
    pub(super) fn cut(&self) -> Token {
        self.lanes.iter().map(|lane| (lane.at, lane.rest())).collect()
    }

    /// Whether nothing is left.
    pub(super) fn is_done(&self) -> bool {
        self.lanes.iter().all(|lane| lane.found.is_empty() && lane.upper <= lane.start)
    }

    /// The newest event that is left, as JSON. None when nothing is left, or when enough was read for now.
    ///
    /// # Errors
    /// Whatever reading the log gives.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Problem> {
        let read_bytes = (READ_BYTES / self.lanes.len().max(1)).max(READ_BYTES_MIN);
        for index in 0..self.lanes.len() {
            while let Some(lane) =
                self.lanes.get(index).filter(|lane| lane.found.is_empty() && lane.upper > lane.start)
            {
                if self.work_bytes == 0 && lane.is_begun {
                    return Ok(None);
                }
                let at = lane.at;
                match self.load(index, read_bytes).await {
                    // Retention was faster.
                    Err(LogError::Trimmed { start, .. }) => self.raise(at, start),
                    loaded => loaded?,
                }
            }
        }
        let newest =
            self.lanes.iter_mut().max_by_key(|lane| lane.found.last().map(|found| (found.hlc, found.offset)));
        let Some(lane) = newest else { return Ok(None) };
        let Some(found) = lane.found.pop() else { return Ok(None) };
        Ok(Some(found.json))
    }

    fn raise(&mut self, at: StreamPartition, start: Offset) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.at == at) {
            lane.start = start;
            lane.upper = lane.upper.max(start);
        }
    }

    /// Reads the window before what was read of a partition.
    async fn load(&mut self, index: usize, read_bytes: usize) -> Result<(), LogError> {
        let Some(lane) = self.lanes.get_mut(index) else { return Ok(()) };
        lane.is_begun = true;
        let upper = lane.upper;
        let mut low = Offset(upper.0.saturating_sub(lane.window)).max(lane.start);
        let (mut blocks, mut all_bytes) = (Vec::new(), 0);
        let mut from = low;
        while from < upper {
            let read = self.log.read(lane.at, from, read_bytes).await?;
            let Some(end) = read.last().map(|block| block.header().end_offset()) else { break };
            let bytes: usize = read.iter().map(|block| block.header().length as usize).sum();
            all_bytes += bytes;
            if end < upper && all_bytes >= read_bytes {
                // Too much for one window: of what was read last is begun, and what is before that comes later.
                (low, blocks) = (end, Vec::new());
            } else {
                blocks.extend(read);
            }
            from = end.max(from.next());
        }
        lane.window = match all_bytes {
            bytes if bytes > read_bytes => (lane.window / 2).max(1),
            bytes if bytes < read_bytes / 4 => (lane.window * 2).min(WINDOW_MAX),
            _ => lane.window,
        };
        for block in &blocks {
            for event in block.records()?.iter()? {
                let event = event?;
                if (low..upper).contains(&event.offset) && self.filter.takes(&event) {
                    let mut json = Vec::new();
                    write_event(&mut json, &event, lane.at.partition);
                    lane.found.push(Found { hlc: event.hlc, offset: event.offset, json });
                }
            }
        }
        lane.upper = low;
        self.work_bytes = self.work_bytes.saturating_sub(all_bytes.max(1));
        Ok(())
    }
}
