//! A depot in memory that can be damaged, and fails when it is told to.

use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::task::Poll;
use tw_depot::{Depot, Error, Result};
use tw_log::BoxFuture;

#[derive(Default)]
pub struct MemoryDepot {
    pub objects: Mutex<BTreeMap<String, Bytes>>,
    /// How many times nothing can be had.
    pub failures: AtomicU64,
    /// How often a list or an object was asked for.
    pub asked: AtomicU64,
    /// Objects that may still be stored before storing fails.
    pub room: Mutex<Option<u64>>,
    /// Whoever stores a manifest waits here for the others.
    pub meeting: Mutex<Option<Arc<Barrier>>>,
}

impl MemoryDepot {
    /// The names of the objects that have this in them.
    pub fn names(&self, part: &str) -> Vec<String> {
        self.objects.lock().keys().filter(|name| name.contains(part)).cloned().collect()
    }

    /// The names of the manifests, the oldest first.
    pub fn manifests(&self) -> Vec<String> {
        self.names("/manifests/")
    }

    pub fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut objects = self.objects.lock();
        let mut bytes = objects[name].to_vec();
        change(&mut bytes);
        objects.insert(name.to_owned(), bytes.into());
    }

    fn fails(&self) -> bool {
        self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    /// What is there, or why not, and not at once, as from afar.
    fn answer<T: Send + 'static>(&self, found: T) -> BoxFuture<'static, Result<T>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (fails, mut waited) = (self.fails(), false);
        Box::pin(async move {
            std::future::poll_fn(|cx| {
                cx.waker().wake_by_ref();
                if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            if fails { Err(down()) } else { Ok(found) }
        })
    }
}

fn down() -> Error {
    Error::Timeout { place: "memory".to_owned(), request_ms_max: 1 }
}

impl Depot for MemoryDepot {
    fn put<'a>(&'a self, name: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<()>> {
        tw_depot::check_name(name).unwrap();
        let meeting = self.meeting.lock().clone().filter(|_| name.contains("/manifests/"));
        if let Some(meeting) = meeting {
            meeting.wait();
        }
        let mut room = self.room.lock();
        if *room == Some(0) {
            return Box::pin(async { Err(down()) });
        }
        *room = room.map(|room| room - 1);
        self.objects.lock().insert(name.to_owned(), bytes);
        Box::pin(async { Ok(()) })
    }

    fn get<'a>(&'a self, name: &'a str, bytes_max: u64) -> BoxFuture<'a, Result<Option<Bytes>>> {
        let found = self.objects.lock().get(name).cloned();
        if let Some(bytes) = found.as_ref().map(|bytes| bytes.len() as u64).filter(|bytes| *bytes > bytes_max)
        {
            let name = name.to_owned();
            return Box::pin(async move { Err(Error::TooLarge { name, bytes, bytes_max }) });
        }
        self.answer(found)
    }

    fn list<'a>(&'a self, folder: &'a str, _names_max: usize) -> BoxFuture<'a, Result<Vec<String>>> {
        let folder = format!("{folder}/");
        self.answer(self.objects.lock().keys().filter(|name| name.starts_with(&folder)).cloned().collect())
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        self.objects.lock().remove(name);
        Box::pin(async { Ok(()) })
    }
}
