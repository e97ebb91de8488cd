//! The workers of `tw-process` as what the engine needs of them.

use super::views::{Held, nothing_built};
use super::{Committed, ViewReading, ViewStanding, Views};
use crate::Error;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tw_process::{Handle, Standing, committed};
use tw_state::Snapshot;
use tw_types::{Offset, PartitionId, Token};

impl Views for Handle {
    fn reading(&self, view: &str) -> Result<ViewReading, Error> {
        let reading = Handle::reading(self, view).map_err(|error| of_workers(view, error))?;
        Ok(ViewReading { view: reading.view.clone(), keyspace: reading.keyspace, held: Arc::new(reading) })
    }

    fn reading_next(&self, view: &str) -> Result<ViewReading, Error> {
        let reading = Handle::reading_next(self, view).map_err(|error| of_workers(view, error))?;
        Ok(ViewReading { view: reading.view.clone(), keyspace: reading.keyspace, held: Arc::new(reading) })
    }

    fn align<'a>(
        &'a self,
        view: &'a str,
        partitions: &'a [PartitionId],
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Held, Error>> {
        Box::pin(async move {
            let aligned = Handle::align(self, view, partitions, timeout).await;
            aligned.map(|held| -> Held { Box::new(held) }).map_err(|error| of_workers(view, error))
        })
    }

    fn is_here(&self, reading: &ViewReading, partition: PartitionId) -> Result<bool, Error> {
        let Some(held) = reading.held.downcast_ref::<tw_process::Reading>() else { return Ok(false) };
        match held.check(partition) {
            Ok(()) => Ok(true),
            Err(tw_process::Error::NotAssigned { .. } | tw_process::Error::NoPartition { .. }) => Ok(false),
            Err(error) => Err(of_workers(reading.view.name(), error)),
        }
    }

    fn wait_for<'a>(
        &'a self,
        view: &'a str,
        token: &'a Token,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            Handle::wait_for(self, view, token, timeout).await.map_err(|error| of_workers(view, error))
        })
    }

    fn committed(
        &self,
        snapshot: &dyn Snapshot,
        reading: &ViewReading,
        partition: PartitionId,
    ) -> Result<Committed, Error> {
        let found = committed(snapshot, reading.keyspace, partition)?;
        let held = reading.held.downcast_ref::<tw_process::Reading>().filter(|_| found.settled);
        let span = held.and_then(|held| held.span(partition));
        Ok(Committed { end: found.end.unwrap_or(Offset::ZERO), span })
    }

    fn standing(&self, view: &str) -> Option<ViewStanding> {
        let status = self.status_of(view).ok()?;
        let stopped = status.partitions.iter().find(|partition| partition.standing == Standing::Stopped);
        let not_built = match Handle::reading(self, view) {
            Err(tw_process::Error::NotBuilt { percent, .. }) => Some(percent),
            _ => None,
        };
        let state = match (&status.building, stopped, not_built) {
            (_, Some(_), _) => "stopped".to_owned(),
            _ if status.paused => "paused".to_owned(),
            (_, _, Some(percent)) => format!("building, {percent} %"),
            (Some(building), _, _) => format!("building, {:.0} %", building.progress * 100.0),
            _ => "running".to_owned(),
        };
        Some(ViewStanding {
            state,
            lag_events: status.partitions.iter().map(|partition| partition.lag_events).sum(),
            error: status.partitions.iter().find_map(|partition| partition.error.clone()),
        })
    }
}

/// The name of a view as statements know it.
pub(super) fn table_of(view: &str) -> &str {
    view.split_once('/').map_or(view, |(_, table)| table)
}

fn of_workers(view: &str, error: tw_process::Error) -> Error {
    let name = table_of(view).to_owned();
    match error {
        tw_process::Error::Timeout { timeout_ms, .. } => Error::TokenTimeout { table: name, timeout_ms },
        tw_process::Error::NoView(_) => {
            Error::NotReadable { name, reason: "it is not running yet: try again".into() }
        }
        tw_process::Error::NotBuilt { percent, .. } => {
            Error::NotReadable { name, reason: format!("it is being built, {percent} %: try again later") }
        }
        tw_process::Error::Stopped { reason, .. } => Error::NotReadable { name, reason },
        tw_process::Error::NotBuilding(_) => nothing_built(view),
        tw_process::Error::NotComparable { reason, .. } => Error::NotReadable {
            name,
            reason: format!("it cannot be compared with its new version: {reason}"),
        },
        tw_process::Error::NotAssigned { at, .. } => {
            let reason =
                format!("partition {} is not kept on this node at the moment: try again", at.partition);
            Error::NotReadable { name, reason }
        }
        other => Error::Process(other),
    }
}
