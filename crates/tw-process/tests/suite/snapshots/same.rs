//! State that was restored equals state that was replayed.

use super::*;
use crate::support::ledger::CLEAR;
use crate::support::world::{self, Sample};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tw_process::WORKER_KEY;
use tw_state::{Range, Store};

/// A piece of history.
#[derive(Debug, Clone)]
enum Step {
    /// Events of these subjects.
    Append(Vec<u8>),
    /// An event that clears all.
    Clear,
    Export,
    /// A bit of the object of this number flips.
    Damage(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(0u8..6, 1..12).prop_map(Step::Append),
        1 => Just(Step::Clear),
        2 => Just(Step::Export),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(object, bit)| Step::Damage(object, bit)),
    ]
}

fn damage(depot: &MemoryDepot, object: usize, bit: usize) {
    let names = depot.names("views/");
    if let Some(name) = names.get(object % names.len().max(1)) {
        depot.change(name, |bytes| {
            let at = bit / 8 % bytes.len();
            bytes[at] ^= 1 << (bit % 8);
        });
    }
}

/// Everything that the view has stored of the partition, and what is blocked.
fn state(node: &Node) -> (BTreeMap<Vec<u8>, Vec<u8>>, [u64; 3]) {
    let status = || node.handle().status_of("v").unwrap().partitions[0].clone();
    // Until nothing is tried again by itself.
    poll(|| status().blocked == status().parked);
    let keyspace = node.handle().reading("v").unwrap().keyspace;
    let rest = Range {
        start: std::ops::Bound::Included(vec![WORKER_KEY + 1].into()),
        end: std::ops::Bound::Unbounded,
    };
    let snapshot = node.store.snapshot();
    let entries = snapshot.range(keyspace, rest).map(|entry| {
        let (key, value) = entry.unwrap();
        (key.to_vec(), value.to_vec())
    });
    let status = status();
    (entries.collect(), [status.blocked, status.parked, status.waiting])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(tw_testing::cases(24)))]

    #[test]
    fn prj_1_pro_1_restored_state_equals_replayed_state(
        steps in prop::collection::vec(step(), 1..16),
        sick in prop::collection::btree_set(0u64..60, 0..4),
        behind in prop::option::of(0usize..8),
    ) {
        let (mut nodes, depot) = (Node::many(1, 3), Arc::new(MemoryDepot::default()));
        sick.iter().for_each(|offset| nodes[0].sick(0, *offset));
        keep(&nodes[0], &depot, by_hand());
        nodes[0].add("v");
        let near = Options { replay_events_max: 1, ..by_hand() };
        for (number, step) in steps.iter().enumerate() {
            match step {
                Step::Append(subjects) => {
                    let names: Vec<String> = subjects.iter().map(|subject| format!("s{subject}")).collect();
                    nodes[0].append(0, &names.iter().map(String::as_str).collect::<Vec<_>>());
                }
                Step::Clear => {
                    // One that cannot be processed would hold up everything behind it.
                    let end = nodes[0].log.bounds(nodes[0].at(0)).unwrap().end;
                    nodes[0].heal(0, end.0);
                    let clear = Sample { subject: None, ty: CLEAR };
                    world::append(nodes[0].log.as_ref(), &nodes[0].stream, 0, &[clear]);
                }
                Step::Export => {
                    nodes[0].wait("v").unwrap();
                    // Where nothing has happened, it may not even have begun.
                    poll(|| match nodes[0].handle().export("v", FIRST) {
                        Err(Error::NotBuilt { .. }) => false,
                        outcome => outcome.is_ok(),
                    });
                }
                Step::Damage(object, bit) => damage(&depot, *object, *bit),
            }
            if behind == Some(number) {
                // The second node has this, and is away then.
                nodes[1].add("v");
                nodes[1].wait("v").unwrap();
                nodes[1].assign(&[]);
            }
        }
        nodes[1].restart(true);
        keep(&nodes[1], &depot, near);
        nodes[1..].iter().for_each(|node| node.add("v"));
        nodes.iter().for_each(|node| node.wait("v").unwrap());
        let replayed = state(&nodes[2]);
        prop_assert_eq!(&state(&nodes[1]), &replayed);
        prop_assert_eq!(&state(&nodes[0]), &replayed);
        nodes[0].health.check();
    }
}
