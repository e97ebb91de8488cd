//! Parked events behind the interface.

use super::problem::of_process;
use crate::core::Core;
use crate::status::{LATEST, PROJECTION};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use tw_api::parts::{Parked, ParkedEvent, ParkedFilter, ParkedId};
use tw_api::{Code, Problem};
use tw_process as process;
use tw_types::Timestamp;

/// The parked events of a node.
pub(crate) struct NodeParked(pub(crate) Arc<Core>);

impl NodeParked {
    fn parked(&self) -> process::Parked {
        self.0.workers.parked()
    }
}

impl Parked for NodeParked {
    fn list(&self, filter: ParkedFilter) -> BoxFuture<'_, Result<Vec<ParkedEvent>, Problem>> {
        Box::pin(async move {
            let parked = self.parked();
            let ParkedFilter { view, after, limit } = filter;
            let view = view.as_deref().map(view_of);
            if let Some(view) = &view {
                self.0.workers.status_of(view).map_err(|_| no_view(view))?;
            }
            let page = move || {
                let filter = process::ParkedFilter { view, ..process::ParkedFilter::default() };
                parked.ls(&filter, after.as_ref().map(id).as_ref(), limit)
            };
            let page = tokio::task::spawn_blocking(page).await;
            let page = page.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
            Ok(page.map_err(of_process)?.events.into_iter().map(listed).collect())
        })
    }

    fn show<'a>(&'a self, parked: &'a ParkedId) -> BoxFuture<'a, Result<ParkedEvent, Problem>> {
        Box::pin(async move {
            let detail = self.parked().show(&id(parked)).await.map_err(|error| refused(error, parked))?;
            let time = detail.event.as_ref().map(|event| {
                let ms = i64::try_from(event.hlc.millis()).unwrap_or(i64::MAX / 1_000_000);
                Timestamp::from_millis(ms).to_string()
            });
            let waiting = Some(detail.waiting.len() as u64);
            Ok(ParkedEvent { waiting, time, ..listed(detail.parked) })
        })
    }

    fn retry<'a>(&'a self, parked: &'a ParkedId) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(
            async move { self.parked().retry(&id(parked)).await.map_err(|error| refused(error, parked)) },
        )
    }

    fn skip<'a>(&'a self, parked: &'a ParkedId) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async move {
            self.parked().drop_event(&id(parked)).await.map_err(|error| refused(error, parked))
        })
    }
}

/// An error about one event, by the name that the person has used.
fn refused(error: process::Error, parked: &ParkedId) -> Problem {
    match error {
        process::Error::NotParked(_) => Problem::new(
            Code::NoParkedEvent,
            format!("no parked event is at `{parked}`: `tradewind parked ls` lists those that are"),
        ),
        error => of_process(error),
    }
}

fn no_view(view: &str) -> Problem {
    let name = name_of(view);
    Problem::new(Code::NoProjection, format!("there is no projection `{name}` that could have parked events"))
}

/// People know a projection by its name; the views of latest rows have names of their own.
fn view_of(name: &str) -> String {
    if name.starts_with(LATEST) { name.to_owned() } else { format!("{PROJECTION}{name}") }
}

fn name_of(view: &str) -> String {
    view.strip_prefix(PROJECTION).unwrap_or(view).to_owned()
}

fn id(parked: &ParkedId) -> process::ParkedId {
    let ParkedId { view, stream, partition, offset } = parked.clone();
    process::ParkedId { view: view_of(&view), stream, partition, offset }
}

fn listed(event: process::ParkedEvent) -> ParkedEvent {
    ParkedEvent {
        view: name_of(&event.id.view),
        stream: event.id.stream.to_string(),
        partition: event.id.partition.0,
        offset: event.id.offset.0,
        attempts: event.attempts,
        why: event.why,
        state: if event.retrying { "retrying" } else { "parked" }.to_owned(),
        time: None,
        event_type: Some(event.event_type).filter(|ty| !ty.is_empty()),
        event_subject: event.subject,
        event_id: Some(event.event_id).filter(|id| !id.is_empty()),
        waiting: None,
    }
}
