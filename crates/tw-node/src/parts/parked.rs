//! Parked events behind the interface.

use super::problem::of_process;
use crate::status::{LATEST, PROJECTION};
use futures_util::future::BoxFuture;
use tw_api::parts::{Parked, ParkedEvent, ParkedFilter, ParkedId};
use tw_api::{Code, Problem};
use tw_process as process;
use tw_types::Timestamp;

/// The parked events of a node.
pub(crate) struct NodeParked(pub(crate) process::Parked);

impl Parked for NodeParked {
    fn list(&self, filter: ParkedFilter) -> BoxFuture<'_, Result<Vec<ParkedEvent>, Problem>> {
        Box::pin(async move {
            let parked = self.0.clone();
            let ParkedFilter { view, after, limit } = filter;
            let page = move || {
                let view = view.as_deref().map(view_of);
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
            let detail = self.0.show(&id(parked)).await.map_err(of_process)?;
            // It waits since it came, give or take its retries.
            let time = detail.event.as_ref().map(|event| {
                let ms = i64::try_from(event.hlc.millis()).unwrap_or(i64::MAX / 1_000_000);
                Timestamp::from_millis(ms).to_string()
            });
            let waiting = Some(detail.waiting.len() as u64);
            Ok(ParkedEvent { waiting, time: time.unwrap_or_default(), ..listed(detail.parked) })
        })
    }

    fn retry<'a>(&'a self, parked: &'a ParkedId) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async move { self.0.retry(&id(parked)).await.map_err(of_process) })
    }

    fn skip<'a>(&'a self, parked: &'a ParkedId) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async move { self.0.drop_event(&id(parked)).await.map_err(of_process) })
    }
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
        time: String::new(),
        event_type: Some(event.event_type).filter(|ty| !ty.is_empty()),
        event_subject: event.subject,
        event_id: Some(event.event_id).filter(|id| !id.is_empty()),
        waiting: None,
    }
}
