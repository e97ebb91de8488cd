//! Random histories, compared with plain maps.

use super::{Place, all};
use crate::{Batch, Keyspace, Store};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;

/// Names that histories use.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// One step of a history; keyspaces by index, keys by number.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Commit(Vec<(usize, u8, Option<u16>)>),
    Ingest(usize, BTreeMap<u8, u16>),
    Drop(usize),
    Reopen,
}

pub(super) fn steps(reopen: bool) -> impl Strategy<Value = Vec<Step>> {
    let change = (0..NAMES.len(), any::<u8>(), proptest::option::weighted(0.8, any::<u16>()));
    let ingest = (0..NAMES.len(), proptest::collection::btree_map(any::<u8>(), any::<u16>(), 0..30));
    let step = prop_oneof![
        8 => proptest::collection::vec(change, 0..20).prop_map(Step::Commit),
        2 => ingest.prop_map(|(keyspace, entries)| Step::Ingest(keyspace, entries)),
        1 => (0..NAMES.len()).prop_map(Step::Drop),
        if reopen { 2 } else { 0 } => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 0..30)
}

/// What a store should hold.
type Model = [BTreeMap<Bytes, Bytes>; 3];

fn key(number: u8) -> Bytes {
    // Few bytes and shared prefixes, so that keys meet.
    Bytes::copy_from_slice(&[number >> 4, number & 3, number & 15])
}

fn value(number: u16) -> Bytes {
    Bytes::from(number.to_be_bytes().repeat(usize::from(number % 40)))
}

fn keyspace(store: &dyn Store, index: usize) -> Keyspace {
    store.keyspace(NAMES[index]).unwrap()
}

fn carry_out(store: &dyn Store, model: &mut Model, step: Step) {
    match step {
        Step::Commit(changes) => {
            let mut batch = Batch::new();
            for (index, number, change) in changes {
                match change {
                    Some(new) => {
                        batch.put(keyspace(store, index), key(number), value(new));
                        model[index].insert(key(number), value(new));
                    }
                    None => {
                        batch.remove(keyspace(store, index), key(number));
                        model[index].remove(&key(number));
                    }
                }
            }
            store.commit(batch).unwrap();
        }
        Step::Ingest(index, entries) => {
            let sorted: BTreeMap<_, _> =
                entries.into_iter().map(|(number, new)| (key(number), value(new))).collect();
            store.ingest(keyspace(store, index), &mut sorted.clone().into_iter()).unwrap();
            model[index].extend(sorted);
        }
        Step::Drop(index) => {
            store.drop_keyspace(NAMES[index]).unwrap();
            model[index].clear();
        }
        Step::Reopen => {}
    }
}

pub(super) fn check(store: &dyn Store, model: &Model) {
    let keyspaces: Vec<_> = (0..NAMES.len()).map(|index| keyspace(store, index)).collect();
    let snapshot = store.snapshot();
    for (keyspace, wanted) in keyspaces.into_iter().zip(model) {
        let wanted: Vec<_> = wanted.clone().into_iter().collect();
        assert_eq!(all(&*snapshot, keyspace), wanted);
        for number in 0..=u8::MAX {
            let there = wanted.iter().find(|(at, _)| *at == key(number)).map(|(_, value)| value.clone());
            assert_eq!(store.get(keyspace, &key(number)).unwrap(), there);
        }
    }
}

pub(super) fn run(cases: u32, reopen: bool, place: &dyn Place) {
    let cases = std::env::var("TRADEWIND_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(cases);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&steps(reopen), |steps| {
            let mut store = Some(place.open().unwrap());
            if let Some(store) = &store {
                // Cases share the place.
                for name in NAMES {
                    store.drop_keyspace(name).unwrap();
                }
            }
            let mut model = Model::default();
            for step in steps {
                if matches!(step, Step::Reopen) {
                    store = None;
                }
                let store = store.get_or_insert_with(|| place.open().unwrap());
                carry_out(&**store, &mut model, step);
            }
            if let Some(store) = store {
                check(&*store, &model);
            }
            Ok(())
        })
        .unwrap();
}

/// Random commits, ingests and drops leave what they would leave in a map.
pub fn random_histories_match_a_map(place: &dyn Place) {
    run(48, false, place);
}
