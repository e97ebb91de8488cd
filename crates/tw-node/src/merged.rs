//! Rows that are merged: what views have to know of other regions, and the stream `$conflicts`.
//!
//! A view puts conflicts aside in the step that brings the change; one task here writes them to `$conflicts` and then lets them go. If it is cut off in
//! between, they are written again, and are there once all the same, because each has its subject for itself.

use crate::Error;
use crate::core::Core;
use std::sync::Arc;
use std::time::Duration;
use tw_log::{Log, NewStream};
use tw_merge::{Context, Seen, Stamp};
use tw_project::{CONFLICTS_STREAM, Knowledge};
use tw_region::Contexts;
use tw_types::{Offset, RegionId, StreamName, StreamPartition};

/// How many conflicts are written at once.
const CONFLICTS_MAX: usize = 500;
/// How often it is looked for them: views do not say when they have some.
const LOOK: Duration = Duration::from_millis(250);
/// How long to wait before what failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// What the streams of regions tell.
#[derive(Debug)]
struct OfRegions(Contexts);

/// What views have to know in a region with these peers.
pub(crate) fn knowledge(log: Arc<dyn Log>, peers: impl IntoIterator<Item = RegionId>) -> Arc<dyn Knowledge> {
    Arc::new(OfRegions(Contexts::new(log, peers)))
}

impl Knowledge for OfRegions {
    fn context(&self, stamp: Stamp) -> tw_log::Result<Context> {
        self.0.of(stamp)
    }

    fn here(&self, at: StreamPartition) -> tw_log::Result<(Seen, Offset)> {
        self.0.here(at)
    }

    fn stable(&self, applied: &Seen) -> tw_log::Result<Seen> {
        self.0.stable(applied)
    }
}

/// Writes conflicts to `$conflicts` as views find them. It does not end by itself.
pub(crate) async fn tell(core: Arc<Core>) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if !core.log.streams().iter().any(|stream| stream.merges()) {
            continue;
        }
        if let Err(error) = tell_all(&core).await {
            tracing::error!(error = %tw_types::chain(&error), "conflicts are not told: trying again");
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Writes all that there are.
async fn tell_all(core: &Arc<Core>) -> Result<(), Error> {
    loop {
        let engine = core.engine.clone();
        let found = tokio::task::spawn_blocking(move || engine.waiting_conflicts(CONFLICTS_MAX)).await;
        let found = found.map_err(|_| Error::Interrupted)??;
        if found.is_empty() {
            return Ok(());
        }
        define(core.log.as_ref()).await?;
        let streams = core.log.streams();
        let stream = streams.get(CONFLICTS_STREAM)?;
        let mut write = core.events.write();
        for conflict in &found {
            write.push(stream, &conflict.told.event().as_ref())?;
        }
        core.events.append(write).await?;
        let engine = core.engine.clone();
        let told = tokio::task::spawn_blocking(move || engine.conflicts_told(found)).await;
        told.map_err(|_| Error::Interrupted)??;
    }
}

/// Creates `$conflicts` where it is not there yet.
async fn define(log: &dyn Log) -> Result<(), tw_log::Error> {
    if log.streams().get(CONFLICTS_STREAM).is_err()
        && let Ok(name) = StreamName::new(CONFLICTS_STREAM)
    {
        log.create_stream(NewStream::plain(name, 1)).await?;
    }
    Ok(())
}
