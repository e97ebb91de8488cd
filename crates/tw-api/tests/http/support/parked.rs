//! Parked events on a shelf.

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use tw_api::parts::{Parked, ParkedEvent, ParkedFilter, ParkedId};
use tw_api::{Code, Problem};
use tw_types::{Offset, PartitionId, StreamName};

#[derive(Default)]
pub(crate) struct Shelf(Mutex<BTreeMap<ParkedId, ParkedEvent>>);

impl Shelf {
    pub(crate) fn with(events: Vec<ParkedEvent>) -> Self {
        let id = |event: &ParkedEvent| ParkedId {
            view: event.view.clone(),
            stream: StreamName::new(&event.stream).unwrap(),
            partition: PartitionId(event.partition),
            offset: Offset(event.offset),
        };
        Self(Mutex::new(events.into_iter().map(|event| (id(&event), event)).collect()))
    }

    fn take(&self, id: &ParkedId, remove: bool) -> Result<ParkedEvent, Problem> {
        let mut shelf = self.0.lock();
        let found = if remove { shelf.remove(id) } else { shelf.get(id).cloned() };
        found.ok_or_else(|| Problem::new(Code::NoParkedEvent, format!("there is no parked event `{id}`")))
    }
}

impl Parked for Shelf {
    fn list(&self, filter: ParkedFilter) -> BoxFuture<'_, Result<Vec<ParkedEvent>, Problem>> {
        Box::pin(async move {
            let shelf = self.0.lock();
            let after = shelf.iter().filter(|(id, _)| filter.after.as_ref().is_none_or(|after| *id > after));
            let of_view = after.filter(|(id, _)| filter.view.as_ref().is_none_or(|view| id.view == *view));
            Ok(of_view.map(|(_, event)| event.clone()).take(filter.limit).collect())
        })
    }

    fn show<'a>(&'a self, id: &'a ParkedId) -> BoxFuture<'a, Result<ParkedEvent, Problem>> {
        Box::pin(async move { self.take(id, false) })
    }

    fn retry<'a>(&'a self, id: &'a ParkedId) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async move { self.take(id, true).map(drop) })
    }

    fn skip<'a>(&'a self, id: &'a ParkedId) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async move { self.take(id, true).map(drop) })
    }
}
