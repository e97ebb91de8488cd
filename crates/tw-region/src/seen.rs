//! What each region had of others, and when: the stream `$seen.2` of region 2, and so on.
//!
//! Whoever appends what other regions have accepted appends, in the same step, which event of each of them is the last one that is
//! here then. So what this region had seen when it accepted an event is what the last event of its stream before that says; a link
//! sends it along. The streams are in all regions, so that each of them finds the same for every event of every region.
//! Nothing here appends.
//!
//! ```json
//! {"type": "tradewind.region.seen", "data": {"v": 1, "latest": {"2": 111411200000000000}}}
//! ```
//!
//! `latest` names the timestamp of the last event of a region as the integer that `tw_types::Hlc` is stored as.

use crate::link::outbound::SeenHistory;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tw_log::Log;
use tw_merge::Seen;
use tw_types::{Data, Event, EventRef, Offset, PartitionId, RegionId, StreamPartition};
use tw_wire::Block;

/// How the names of the streams begin.
const SEEN_BY: &str = "$seen.";
const TYPE: &str = "tradewind.region.seen";
/// How many of its events are kept in memory; some 100 bytes each.
const ENTRIES_MAX: usize = 65_536;
/// How much is read at a time.
const READ_BYTES: usize = 1 << 20;

/// The name of the stream in which a region tells what it had seen. It has one partition, and nobody else writes it: a step can have what a region
/// has told and what this one tells then.
///
/// ```
/// assert_eq!(tw_region::seen_stream(tw_types::RegionId(2)), "$seen.2");
/// ```
pub fn seen_stream(region: RegionId) -> String {
    format!("{SEEN_BY}{region}")
}

/// Whether a stream is one of them.
pub(crate) fn is_seen_stream(name: &str) -> bool {
    name.starts_with(SEEN_BY)
}

/// The data of an event of such a stream.
#[derive(Debug, Serialize, Deserialize)]
struct Body {
    v: u32,
    latest: Seen,
}

/// The event that says what is here with the step that it is part of. `id` is unique in the stream.
pub(crate) fn event(latest: &Seen, id: String) -> Event {
    let body = Body { v: 1, latest: latest.clone() };
    Event {
        id,
        source: "tradewind:region".into(),
        ty: TYPE.into(),
        // Numbers and their texts always have a JSON form.
        data: Data::Json(serde_json::to_vec(&body).unwrap_or_default()),
        ..Event::default()
    }
}

/// What an event of such a stream says; None for what a later version has written.
pub(crate) fn read(event: &EventRef<'_>) -> Option<Seen> {
    let body = serde_json::from_slice::<Body>(event.data.bytes()).ok();
    let body = body.filter(|body| event.ty == TYPE && body.v == 1);
    if body.is_none() {
        tracing::warn!(id = event.id, "an event about what was seen is of a later version: passed over");
    }
    body.map(|body| body.latest)
}

/// What a region had seen at any time that is still asked for. Reads its stream as it grows.
pub(crate) struct History {
    log: Arc<dyn Log>,
    at: StreamPartition,
    known: Mutex<Known>,
}

struct Known {
    next: Offset,
    last: Seen,
    list: SeenHistory,
}

impl History {
    /// Of a region whose stream the log has.
    ///
    /// # Errors
    /// [`tw_log::Error::NoStream`] if it does not; whatever stops a read.
    pub(crate) async fn open(log: Arc<dyn Log>, region: RegionId) -> tw_log::Result<Self> {
        let stream = log.streams().get(&seen_stream(region))?.id;
        let at = StreamPartition::new(stream, PartitionId(0));
        // No more of it than will be kept.
        let bounds = log.bounds(at)?;
        let next = Offset(bounds.end.0.saturating_sub(ENTRIES_MAX as u64)).max(bounds.start);
        let list = SeenHistory::new(ENTRIES_MAX, next == Offset::ZERO);
        let history = Self { log, at, known: Mutex::new(Known { next, last: Seen::new(), list }) };
        history.follow().await?;
        Ok(history)
    }

    /// Learns what was appended since.
    ///
    /// # Errors
    /// Whatever stops a read.
    pub(crate) async fn follow(&self) -> tw_log::Result<()> {
        loop {
            let next = self.known.lock().next;
            if next >= self.log.bounds(self.at)?.end {
                return Ok(());
            }
            let blocks = match self.log.read(self.at, next, READ_BYTES).await {
                Err(tw_log::Error::Trimmed { start, .. }) => {
                    let mut known = self.known.lock();
                    known.next = known.next.max(start);
                    continue;
                }
                blocks => blocks?,
            };
            for block in &blocks {
                self.known.lock().learn(block)?;
            }
        }
    }

    /// Lets something look at what was seen, as far as it was followed.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&SeenHistory) -> T) -> T {
        look(&self.known.lock().list)
    }

    /// What the last event says.
    pub(crate) fn last(&self) -> Seen {
        self.known.lock().last.clone()
    }
}

impl Known {
    fn learn(&mut self, block: &Block) -> tw_log::Result<()> {
        let records = block.records()?;
        for record in records.iter()? {
            let record = record?;
            if record.offset < self.next {
                continue;
            }
            if let Some(latest) = read(&record.event) {
                self.list.push(record.hlc, latest.clone());
                self.last = latest;
            }
        }
        self.next = self.next.max(block.header().end_offset());
        Ok(())
    }
}
