//! Appends what was measured to `$metrics`, and follows what is in it: at the start what the last day has, then what other nodes say.
//!
//! A log that takes nothing is not tried; what could not be appended is told once in the log of the process, and then not before it went well.

use super::event::{from_event, to_event};
use super::history::Report;
use crate::core::Core;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tw_log::store::Filter;
use tw_log::{Error as LogError, NewStream};
use tw_types::{
    Offset, PartitionId, StreamDef, StreamName, StreamOptions, StreamPartition, Timestamp, chain,
};

/// Where it is kept.
const STREAM: &str = "$metrics";
/// For how long, in milliseconds: an hour longer than it is told.
const RETENTION_MS: u64 = 25 * 60 * 60 * 1_000;
/// What of it is read at the start, in milliseconds before now.
const BACK_MS: u64 = 24 * 60 * 60 * 1_000;
/// How many reports may wait while the log is slow.
pub(super) const REPORTS_MAX: usize = 60;
/// At most so many events, and bytes of them, are read at once.
const EVENTS: usize = 500;
const READ_BYTES: usize = 1 << 20;
/// How long an append may take.
const APPEND_MAX: Duration = Duration::from_secs(10);
/// How many events must have expired before they are removed: that is an event of the log, too.
const EXPIRED_MIN: u64 = 360;
/// After how many steps it is looked whether something has expired, and whether series are of something that is gone.
const TIDY_STEPS: u32 = 6;

/// Keeps what comes, until nothing comes any more.
pub(super) async fn run(core: Arc<Core>, mut reports: mpsc::Receiver<Report>) {
    let mut keeper = Keeper { core, next: None, is_silent: false, steps: 0 };
    if keeper.core.options.holds().metrics.enabled {
        keeper.catch_up().await;
        keeper.tidy().await;
    }
    while let Some(report) = reports.recv().await {
        keeper.append(&report).await;
        keeper.core.meters.history.lock().fold(&report);
        if keeper.core.cluster_options.enabled {
            keeper.catch_up().await;
        }
        keeper.steps += 1;
        if keeper.steps.is_multiple_of(TIDY_STEPS) {
            keeper.tidy().await;
        }
    }
}

struct Keeper {
    core: Arc<Core>,
    /// Where reading goes on; None before the first time.
    next: Option<Offset>,
    /// Whether it was told that nothing can be appended.
    is_silent: bool,
    steps: u32,
}

impl Keeper {
    fn stream(&self) -> Option<Arc<StreamDef>> {
        self.core.log.streams().get(STREAM).cloned().ok()
    }

    /// The stream, which is made when it is needed first.
    async fn made(&self) -> Result<Arc<StreamDef>, String> {
        if let Some(stream) = self.stream() {
            return Ok(stream);
        }
        let name = StreamName::new(STREAM).map_err(|error| error.to_string())?;
        let options = StreamOptions { retention_ms: Some(RETENTION_MS), ..StreamOptions::default() };
        match self.core.log.create_stream(NewStream { options, ..NewStream::plain(name, 1) }).await {
            Ok(stream) => Ok(stream),
            // Another node was faster.
            Err(LogError::StreamExists(_)) => self.stream().ok_or_else(|| "it is not there yet".to_owned()),
            Err(error) => Err(chain(&error)),
        }
    }

    /// Whether the log takes what this node writes.
    fn may_write(&self) -> bool {
        let has_lease = self.core.cluster.owners().is_none_or(|owners| owners.lease().is_held());
        has_lease && !self.core.is_closing() && self.core.log_failure().is_none()
    }

    async fn append(&mut self, report: &Report) {
        if !self.may_write() {
            return;
        }
        let core = self.core.clone();
        let work = async {
            let stream = self.made().await?;
            let mut write = core.events.write();
            write.push(&stream, &to_event(report).as_ref()).map_err(|error| error.to_string())?;
            core.events.append(write).await.map(drop).map_err(|error| chain(&error))
        };
        let outcome = tokio::time::timeout(APPEND_MAX, work).await;
        match outcome.unwrap_or_else(|_| Err("the log is slow".to_owned())) {
            Ok(()) => self.is_silent = false,
            Err(error) if self.is_silent => tracing::debug!(error, "what was measured is not kept"),
            Err(error) => {
                self.is_silent = true;
                tracing::warn!(error, "what was measured is told until the node ends, but not kept");
            }
        }
    }

    /// Reads what is new, or at first what the last day has. What cannot be read is left out.
    async fn catch_up(&mut self) {
        let Some(stream) = self.stream() else { return };
        let at = StreamPartition::new(stream.id, PartitionId(0));
        if let Err(error) = self.read(at).await {
            tracing::debug!(error, "the history of numbers is read later");
            // What was removed meanwhile is passed over.
            self.next = None;
        }
    }

    async fn read(&mut self, at: StreamPartition) -> Result<(), String> {
        self.core.log.refresh(&[at]).await.map_err(|error| chain(&error))?;
        let mut next = match self.next {
            Some(next) => next,
            None => {
                let since = self.core.env.clock.now_ms().saturating_sub(BACK_MS);
                self.offset_at(at, since).await?
            }
        };
        loop {
            let read = self.core.events.read(at, next, &Filter::default(), EVENTS, READ_BYTES).await;
            let read = read.map_err(|error| chain(&error))?;
            let reports = read.events.iter();
            let reports =
                reports.filter_map(|stored| from_event(&stored.event.ty, stored.event.data.bytes()));
            let reports: Vec<Report> = reports.collect();
            {
                let mut history = self.core.meters.history.lock();
                reports.iter().for_each(|report| history.fold(report));
            }
            if read.next == next {
                self.next = Some(next);
                return Ok(());
            }
            next = read.next;
        }
    }

    async fn offset_at(&self, at: StreamPartition, ms: u64) -> Result<Offset, String> {
        let time = Timestamp::from_millis(i64::try_from(ms).unwrap_or(i64::MAX / 1_000_000));
        self.core.events.offset_at(at, time).await.map_err(|error| chain(&error))
    }

    /// Removes what has expired, which the log does not do by itself with a stream of the platform's own, and lets go of series
    /// of what is gone.
    async fn tidy(&mut self) {
        let (streams, catalog) = (self.core.log.streams(), self.core.engine.catalog());
        self.core.meters.history.lock().retain(|name| match name.split_once('/') {
            Some(("stream_events_per_second", stream)) => streams.get(stream).is_ok(),
            Some((_, projection)) => catalog.projections().any(|one| one.def.name == projection),
            None => true,
        });
        let Some(stream) = self.stream() else { return };
        let at = StreamPartition::new(stream.id, PartitionId(0));
        // Kafka's brokers remove it.
        if self.core.cluster_options.enabled || !self.may_write() {
            return;
        }
        let before = self.core.env.clock.now_ms().saturating_sub(RETENTION_MS);
        let Ok(before) = self.offset_at(at, before).await else { return };
        let expired = self.core.log.bounds(at).is_ok_and(|bounds| bounds.start.0 + EXPIRED_MIN <= before.0);
        if expired && let Err(error) = self.core.log.trim(at, before).await {
            tracing::debug!(
                error = chain(&error),
                "what has expired of the history of numbers is removed later"
            );
        }
    }
}
