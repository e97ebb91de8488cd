//! Large writes, and an index that is full.

use super::faults::faulty;
use super::{event, versions, write};
use crate::Log;
use crate::faulty::{Fault, FaultyLog};
use crate::store::{Appended, EventStore, Result, Write};
use std::sync::Arc;
use std::time::Duration;
use tw_types::StreamDef;

/// How many events the large write has.
const LARGE: u64 = 3_000;
/// The events of the writes that fill the index.
const FILLING: usize = 2_000;
/// After so long nothing will happen any more.
const PATIENCE: Duration = Duration::from_secs(60);

fn large_write(store: &EventStore, stream: &Arc<StreamDef>) -> Write {
    let mut write = store.write();
    for n in 0..LARGE {
        // Each subject has two.
        let event = event(&format!("subject-{}", n % (LARGE / 2)), &format!("id-{n}"));
        write.push(stream, &event.as_ref()).unwrap();
    }
    write
}

/// A large write that is sent again is compared with the log block by block, not event by event.
pub async fn a_large_write_that_is_sent_again_reads_each_block_once(log: Arc<dyn Log>) {
    let (mut world, log) = faulty(log);
    let stream = world.stream("s", 1).await;
    let first = world.store().append(large_write(&world.store(), &stream)).await.unwrap();
    for stage in ["in memory", "stored", "restarted", "index lost"] {
        world.enter(stage);
        let store = world.store();
        store.warm().await.unwrap();
        let before = log.reads();
        let again = store.append(large_write(&store, &stream)).await.unwrap();
        assert_eq!(versions(&again), versions(&first), "{stage}");
        for (again, first) in again.events.iter().zip(&first.events) {
            assert_eq!((again.position, again.duplicate), (first.position, true), "{stage}");
        }
        let reads = log.reads() - before;
        assert!(reads < 10, "{stage}: {reads} reads to compare {LARGE} events");
    }
}

/// Appends, or gives up after a long time.
async fn in_time(store: &EventStore, write: Write) -> Option<Result<Appended>> {
    tokio::time::timeout(PATIENCE, store.append(write)).await.ok()
}

/// Fills the index with events under way, and lets all of them fail.
async fn fill_and_fail(store: &EventStore, log: &FaultyLog, stream: &Arc<StreamDef>) {
    log.hold(true);
    let mut pending = Vec::new();
    while !store.core.usage.is_full() {
        let mut write = store.write();
        for n in 0..FILLING {
            let number = pending.len() * FILLING + n;
            write.push(stream, &event(&format!("subject-{number}"), "1").as_ref()).unwrap();
        }
        pending.push(store.submit(write).await.unwrap());
    }
    while log.release(Fault::Refused).await {}
    log.hold(false);
    for pending in pending {
        pending.await.unwrap_err();
    }
}

/// Appends under way that fill the index and then fail leave its memory, whoever appends next.
pub async fn a_full_index_has_room_again_after_failed_appends(log: Arc<dyn Log>) {
    let (mut world, log) = faulty(log);
    world.options.index_bytes_max = 4 << 20;
    let stream = world.stream("s", 1).await;
    let other = world.stream("other", 1).await;
    let store = world.store();
    for (round, next) in [&stream, &other].into_iter().enumerate() {
        fill_and_fail(&store, &log, &stream).await;
        let write = write(&store, next, &[("a", &format!("{round}"))]);
        let appended = in_time(&store, write).await;
        let appended = appended.unwrap_or_else(|| panic!("an append to {} waits for ever", next.name));
        assert_eq!(versions(&appended.unwrap()), [1]);
    }
}
