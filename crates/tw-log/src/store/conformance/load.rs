//! Large writes.

use super::faults::faulty;
use super::{event, versions};
use crate::Log;
use crate::store::{EventStore, Write};
use std::sync::Arc;
use tw_types::StreamDef;

/// How many events the large write has.
const LARGE: u64 = 3_000;

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
        match stage {
            "stored" => world.store().flush().unwrap(),
            "restarted" => world.restart(),
            "index lost" => world.lose_index(),
            _ => {}
        }
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
