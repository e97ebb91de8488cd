//! The event store of a node: the embedded log, and its index on the disk.

use std::path::Path;
use std::sync::Arc;
use tw_env::Env;
use tw_log::store::EventStore;
use tw_log::{EmbeddedLog, Log};
use tw_state::DiskStore;
use tw_types::{Offset, PartitionId, Stored, StreamPartition};

/// Opens the log in `folder`, with little memory and small files.
pub(crate) fn open_log(folder: &Path) -> EmbeddedLog {
    let options = tw_log::Options {
        segment_bytes: 8 << 20,
        spare_segments: 1,
        append_bytes_max: 4 << 20,
        group_bytes_max: 2 << 20,
        in_flight_bytes_max: 16 << 20,
        tail_bytes: 8 << 20,
        ..tw_log::Options::default()
    };
    std::fs::create_dir_all(folder).unwrap();
    EmbeddedLog::open(folder.join("log"), options, Env::real()).unwrap()
}

/// Opens the store in `folder`, of that log, with little memory.
pub(crate) fn open_store_on(folder: &Path, log: Arc<dyn Log>) -> EventStore {
    let state = tw_state::Options { cache_bytes: 8 << 20, ..tw_state::Options::default() };
    let state = DiskStore::open(&folder.join("state"), state).unwrap();
    let options = tw_log::store::Options { index_bytes_max: 16 << 20, ..Default::default() };
    EventStore::open(log, Arc::new(state), Env::real(), options).unwrap()
}

/// Shows all events of a stream, partition by partition.
pub(crate) async fn each_event(log: &dyn Log, stream: &str, mut each: impl FnMut(Stored)) {
    let def = log.streams().get(stream).unwrap().clone();
    for partition in (0..def.partitions).map(PartitionId) {
        let at = StreamPartition::new(def.id, partition);
        let (mut next, end) = (Offset::ZERO, log.bounds(at).unwrap().end);
        while next < end {
            for block in log.read(at, next, 1 << 20).await.unwrap() {
                for record in block.records().unwrap().iter().unwrap() {
                    each(record.unwrap().to_owned(partition));
                }
                next = block.header().end_offset();
            }
        }
    }
}
