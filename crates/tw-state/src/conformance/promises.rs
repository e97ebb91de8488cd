//! Promises that hold while a store is open.

use super::{Place, all, pairs};
use crate::{Batch, Error, KEY_BYTES_MAX, Keyspace, NAME_BYTES_MAX, Range, Store};
use bytes::Bytes;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};

fn key(number: u32) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn put(store: &dyn Store, keyspace: Keyspace, key: impl Into<Bytes>, value: impl Into<Bytes>) {
    let mut batch = Batch::new();
    batch.put(keyspace, key, value);
    store.commit(batch).unwrap();
}

/// A snapshot shows all of a batch or nothing of it, while batches are committed.
pub fn a_batch_shows_in_all_keyspaces_at_once(place: &dyn Place) {
    let store = place.open().unwrap();
    let keyspaces: Vec<_> = ["a", "b", "c"].iter().map(|name| store.keyspace(name).unwrap()).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1u32..=2_000 {
                let mut batch = Batch::new();
                for keyspace in &keyspaces {
                    for number in 0..3 {
                        batch.put(*keyspace, key(number), key(round));
                    }
                }
                store.commit(batch).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        let mut last = None;
        while !done.load(Ordering::Acquire) {
            let snapshot = store.snapshot();
            let first = snapshot.get(keyspaces[0], &key(0)).unwrap();
            for keyspace in &keyspaces {
                for number in 0..3 {
                    assert_eq!(snapshot.get(*keyspace, &key(number)).unwrap(), first);
                }
            }
            assert!(first >= last, "commits are never taken back");
            last = first;
        }
    });
    assert_eq!(store.get(keyspaces[2], &key(2)).unwrap(), Some(key(2_000)));
}

/// Of several changes of one key in a batch, the last holds.
pub fn the_last_change_of_a_key_counts(place: &dyn Place) {
    let store = place.open().unwrap();
    let keyspace = store.keyspace("a").unwrap();
    let mut batch = Batch::new();
    batch.put(keyspace, "k", "1");
    batch.remove(keyspace, "k");
    batch.put(keyspace, "gone", "1");
    batch.put(keyspace, "k", "2");
    batch.remove(keyspace, "gone");
    store.commit(batch).unwrap();
    assert_eq!(store.get(keyspace, b"k").unwrap().as_deref(), Some(b"2".as_slice()));
    assert_eq!(store.get(keyspace, b"gone").unwrap(), None);
    assert_eq!(all(&*store.snapshot(), keyspace), [("k".into(), "2".into())]);
}

/// A batch that cannot be carried out in full is not carried out at all.
pub fn a_refused_batch_changes_nothing(place: &dyn Place) {
    let store = place.open().unwrap();
    let keyspace = store.keyspace("a").unwrap();
    let dropped = store.keyspace("b").unwrap();
    store.drop_keyspace("b").unwrap();
    let mut batch = Batch::new();
    batch.put(keyspace, "k", "1");
    batch.put(dropped, "k", "1");
    assert!(matches!(store.commit(batch), Err(Error::NoKeyspace)));
    let mut batch = Batch::new();
    batch.put(keyspace, "k", "1");
    batch.remove(keyspace, "");
    assert!(matches!(store.commit(batch), Err(Error::InvalidKey { .. })));
    assert_eq!(store.get(keyspace, b"k").unwrap(), None);
    store.commit(Batch::new()).unwrap();
}

/// A snapshot shows neither later commits nor later ingests, and still shows a keyspace that was dropped since.
pub fn snapshots_do_not_see_what_comes_later(place: &dyn Place) {
    let store = place.open().unwrap();
    let keyspace = store.keyspace("a").unwrap();
    let dropped = store.keyspace("b").unwrap();
    put(&*store, keyspace, "k1", "1");
    put(&*store, keyspace, "k2", "1");
    put(&*store, dropped, "k", "1");
    let before = store.snapshot();
    let mut batch = Batch::new();
    batch.put(keyspace, "k1", "2");
    batch.remove(keyspace, "k2");
    batch.put(keyspace, "k3", "2");
    store.commit(batch).unwrap();
    store.ingest(keyspace, &mut [("k0".into(), "3".into()), ("k1".into(), "3".into())].into_iter()).unwrap();
    store.drop_keyspace("b").unwrap();
    let later = store.keyspace("later").unwrap();
    assert_eq!(all(&*before, keyspace), [("k1".into(), "1".into()), ("k2".into(), "1".into())]);
    assert_eq!(before.get(keyspace, b"k3").unwrap(), None);
    assert_eq!(all(&*before, dropped), [("k".into(), "1".into())]);
    assert!(matches!(before.get(later, b"k"), Err(Error::NoKeyspace)));
    assert!(matches!(before.range(later, Range::all()).next(), Some(Err(Error::NoKeyspace))));
    let after = store.snapshot();
    let now = [("k0".into(), "3".into()), ("k1".into(), "3".into()), ("k3".into(), "2".into())];
    assert_eq!(all(&*after, keyspace), now);
    assert!(matches!(after.get(dropped, b"k"), Err(Error::NoKeyspace)));
}

/// Every kind of bound, in both directions.
pub fn ranges_respect_their_bounds_both_ways(place: &dyn Place) {
    let store = place.open().unwrap();
    let keyspace = store.keyspace("a").unwrap();
    let mut batch = Batch::new();
    for number in 0..10 {
        batch.put(keyspace, key(number), key(number));
    }
    batch.put(keyspace, [0xff; 31].as_slice(), "last");
    store.commit(batch).unwrap();
    let snapshot = store.snapshot();
    let bounds = |number| [Bound::Included(key(number)), Bound::Excluded(key(number)), Bound::Unbounded];
    for start in bounds(3).into_iter().chain(bounds(7)) {
        for end in bounds(7).into_iter().chain(bounds(3)) {
            let inside = |number: &u32| {
                let at = key(*number);
                (match &start {
                    Bound::Included(start) => at >= *start,
                    Bound::Excluded(start) => at > *start,
                    Bound::Unbounded => true,
                }) && match &end {
                    Bound::Included(end) => at <= *end,
                    Bound::Excluded(end) => at < *end,
                    Bound::Unbounded => true,
                }
            };
            let mut wanted: Vec<_> = (0..10).filter(inside).map(|n| (key(n), key(n))).collect();
            if end == Bound::Unbounded {
                wanted.push((Bytes::from_static(&[0xff; 31]), "last".into()));
            }
            let range = Range { start: start.clone(), end: end.clone() };
            assert_eq!(pairs(snapshot.range(keyspace, range.clone())), wanted, "{range:?}");
            wanted.reverse();
            assert_eq!(pairs(snapshot.range_rev(keyspace, range.clone())), wanted, "{range:?}, reversed");
        }
    }
    assert_eq!(snapshot.range(keyspace, Range::prefix(&[0, 0, 0])).count(), 10);
    assert_eq!(snapshot.range(keyspace, Range::prefix(&[0xff])).count(), 1);
    let rest = pairs(snapshot.range(keyspace, Range::prefix(&[0, 0, 0]).after(&key(8))));
    assert_eq!(rest, [(key(9), key(9))]);
}

/// Ingested entries win over older commits, and later commits win over them.
pub fn ingested_entries_replace_and_are_replaced(place: &dyn Place) {
    let store = place.open().unwrap();
    let keyspace = store.keyspace("a").unwrap();
    for round in 0..3u32 {
        let mut batch = Batch::new();
        for number in 0..100 {
            batch.put(keyspace, key(number), "committed");
        }
        store.commit(batch).unwrap();
        store.ingest(keyspace, &mut (50..150).map(|number| (key(number), key(round)))).unwrap();
        let mut batch = Batch::new();
        for number in 100..120 {
            batch.remove(keyspace, key(number));
        }
        store.commit(batch).unwrap();
        let now = all(&*store.snapshot(), keyspace);
        assert_eq!(now.len(), 130);
        for (at, value) in now {
            let number = u32::from_be_bytes(at.as_ref().try_into().unwrap());
            assert_eq!(value, if number < 50 { "committed".into() } else { key(round) });
            assert_eq!(store.get(keyspace, &at).unwrap(), Some(value));
        }
    }
    store.ingest(keyspace, &mut std::iter::empty()).unwrap();
}

/// Entries that are not in strictly ascending order are refused, and none of them is added.
pub fn ingesting_out_of_order_is_refused(place: &dyn Place) {
    let store = place.open().unwrap();
    let keyspace = store.keyspace("a").unwrap();
    for numbers in [[1, 3, 2], [1, 2, 2]] {
        let refused = store.ingest(keyspace, &mut numbers.into_iter().map(|number| (key(number), key(0))));
        assert!(matches!(refused, Err(Error::OutOfOrder)));
    }
    let refused = store.ingest(
        keyspace,
        &mut [(key(1), key(0)), (Bytes::from(vec![1; KEY_BYTES_MAX + 1]), key(0))].into_iter(),
    );
    assert!(matches!(refused, Err(Error::InvalidKey { .. })));
    assert_eq!(all(&*store.snapshot(), keyspace), []);
    store.ingest(keyspace, &mut [(key(1), key(1))].into_iter()).unwrap();
    assert_eq!(all(&*store.snapshot(), keyspace), [(key(1), key(1))]);
}

/// Dropping takes everything away; the same name then starts empty, with another number.
pub fn a_dropped_keyspace_is_gone(place: &dyn Place) {
    let store = place.open().unwrap();
    let keyspace = store.keyspace("a").unwrap();
    let other = store.keyspace("b").unwrap();
    assert_eq!(store.keyspace("a").unwrap(), keyspace);
    put(&*store, keyspace, "k", "1");
    put(&*store, other, "k", "1");
    store.drop_keyspace("a").unwrap();
    store.drop_keyspace("a").unwrap();
    store.drop_keyspace("never there").unwrap();
    assert!(matches!(store.get(keyspace, b"k"), Err(Error::NoKeyspace)));
    assert!(matches!(store.ingest(keyspace, &mut std::iter::empty()), Err(Error::NoKeyspace)));
    assert_eq!(store.keyspaces().unwrap(), ["b"]);
    let again = store.keyspace("a").unwrap();
    assert_ne!(again, keyspace);
    assert_eq!(store.get(again, b"k").unwrap(), None);
    assert_eq!(store.get(other, b"k").unwrap(), Some("1".into()));
    assert_eq!(store.keyspaces().unwrap(), ["a", "b"]);
    assert_eq!(store.disk_bytes(keyspace), 0);
}

/// The bounds of names, keys and values.
pub fn names_and_keys_outside_their_bounds_are_refused(place: &dyn Place) {
    let store = place.open().unwrap();
    for name in ["", ".commits", &"x".repeat(NAME_BYTES_MAX + 1)] {
        assert!(matches!(store.keyspace(name), Err(Error::InvalidName(_))), "{name:?}");
    }
    let keyspace = store.keyspace(&"größe/1".repeat(20)).unwrap();
    let long = Bytes::from(vec![0xfe; KEY_BYTES_MAX]);
    put(&*store, keyspace, long.clone(), "");
    assert_eq!(store.get(keyspace, &long).unwrap(), Some(Bytes::new()));
    for refused in [vec![], vec![1; KEY_BYTES_MAX + 1], vec![0xff; 32], vec![0xff; 40]] {
        let mut batch = Batch::new();
        batch.put(keyspace, refused.clone(), "1");
        assert!(matches!(store.commit(batch), Err(Error::InvalidKey { .. })));
        assert_eq!(store.get(keyspace, &refused).unwrap(), None);
    }
    assert_eq!(store.snapshot().range_rev(keyspace, Range::all()).count(), 1);
}
