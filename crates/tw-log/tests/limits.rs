//! Writes at the limits of what can be stored: what is accepted reads back.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use tw_env::Env;
use tw_log::store::{Error, EventStore, Filter, Options};
use tw_log::{Log, MemoryLog, NewStream};
use tw_state::MemoryStore;
use tw_types::{EventRef, Extension, ExtensionValue, Offset, PartitionId, StreamName, StreamPartition};

/// Each event of a write brings names of extensions that no other has. Names are stored once per block, and so many can
/// be read: a write that had more would be acknowledged, and its partition could never be read again.
#[tokio::test]
async fn a_write_with_too_many_names_of_extensions_is_refused_and_one_with_the_most_reads_back() {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new(Env::real()));
    let store =
        EventStore::open(log.clone(), Arc::new(MemoryStore::new()), Env::real(), Options::default()).unwrap();
    let def = log.create_stream(NewStream::plain(StreamName::new("names").unwrap(), 1)).await.unwrap();
    for key in [None, Some("key")] {
        let mut write = store.write();
        let refused = loop {
            let names: Vec<_> = (0..64).map(|n| format!("{:x}", write.len() * 64 + n)).collect();
            let value = ExtensionValue::Bool(true);
            let extensions = names.iter().map(|name| Extension { name: name.as_str(), value }).collect();
            let id = write.len().to_string();
            let event = EventRef { id: &id, source: "/test", ty: "t", extensions, ..EventRef::default() };
            if let Err(error) = write.push(&def, &event) {
                break error;
            }
        };
        assert!(matches!(&refused, Error::InvalidWrite(reason) if reason.contains("1048576")), "{refused}");
        let count = write.len();
        assert!((16_000..=16_384).contains(&count), "{count} events were accepted");
        if let Some(key) = key {
            write.idempotency_key(key);
        }
        let first = store.append(write).await.unwrap().events[0].position.offset;
        let at = StreamPartition::new(def.id, PartitionId(0));
        let mut next = first;
        while next < first.plus(count as u64) {
            let page = store.read(at, next, &Filter::default(), 1_000, 16 << 20).await.unwrap();
            assert!(page.events.iter().all(|stored| stored.event.extensions.len() == 64));
            assert!(page.next > next);
            next = page.next;
        }
        assert_eq!(next, Offset(first.0 + count as u64));
    }
}
