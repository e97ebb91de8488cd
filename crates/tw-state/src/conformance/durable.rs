//! Promises of a store that outlives its process.

use super::{Place, all, histories};
use crate::{Batch, Error};
use bytes::Bytes;

/// What was committed and ingested is there after reopening, without anything else having been asked for.
pub fn reopening_shows_every_commit(place: &dyn Place) {
    for round in 0..5u32 {
        let store = place.open().unwrap();
        let (a, b) = (store.keyspace("a").unwrap(), store.keyspace("b").unwrap());
        assert_eq!(all(&*store.snapshot(), a).len(), round as usize * 100);
        assert_eq!(all(&*store.snapshot(), b).len(), round as usize * 50);
        for number in 0..100u32 {
            let at = Bytes::copy_from_slice(&(round * 100 + number).to_be_bytes());
            let mut batch = Batch::new();
            batch.put(a, at.clone(), "overwritten");
            batch.put(a, at, "1");
            store.commit(batch).unwrap();
        }
        let added = (0..50u32).map(|number| (round * 50 + number).to_be_bytes());
        let mut added = added.map(|at| (Bytes::copy_from_slice(&at), Bytes::from_static(b"2")));
        store.ingest(b, &mut added).unwrap();
    }
    let store = place.open().unwrap();
    assert_eq!(store.keyspaces().unwrap(), ["a", "b"]);
    let snapshot = store.snapshot();
    assert!(all(&*snapshot, store.keyspace("a").unwrap()).iter().all(|(_, value)| value == "1"));
    assert!(all(&*snapshot, store.keyspace("b").unwrap()).iter().all(|(_, value)| value == "2"));
}

/// A keyspace that was dropped does not come back, and one of the same name starts empty.
pub fn dropped_keyspaces_stay_dropped(place: &dyn Place) {
    for _ in 0..3 {
        let store = place.open().unwrap();
        assert_eq!(store.keyspaces().unwrap(), Vec::<String>::new());
        let keyspace = store.keyspace("a").unwrap();
        assert_eq!(all(&*store.snapshot(), keyspace), []);
        let mut batch = Batch::new();
        batch.put(keyspace, "k", "1");
        store.commit(batch).unwrap();
        store.drop_keyspace("a").unwrap();
        drop(store);
        let store = place.open().unwrap();
        let keyspace = store.keyspace("a").unwrap();
        assert_eq!(all(&*store.snapshot(), keyspace), []);
        store.drop_keyspace("a").unwrap();
    }
}

/// Only one store can have the place; once it is closed, another can.
pub fn a_store_that_is_open_is_locked(place: &dyn Place) {
    let store = place.open().unwrap();
    assert!(matches!(place.open().err(), Some(Error::Locked(_))));
    drop(store);
    place.open().unwrap();
}

/// Random commits, ingests, drops and reopenings leave what they would leave in a map.
pub fn random_histories_survive_reopening(place: &dyn Place) {
    histories::run(24, true, place);
}
