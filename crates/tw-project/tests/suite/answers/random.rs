//! Whatever is asked and appended, in whatever order: who keeps answers answers as who keeps none.

use super::{QUERIES, append, check, small, wait_until_built};
use crate::support::Node;
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tw_types::{PartitionId, StreamPartition};

#[derive(Debug, Clone)]
enum Step {
    /// An event of this subject, with this number.
    Append(u32, u32),
    /// A member asks.
    Query(usize, usize),
    /// Of the views, the first one is defined anew.
    Define(bool),
    Rebuild,
    /// A partition goes to another member.
    Move(u32, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..11u32, 1..9u32).prop_map(|(subject, x)| Step::Append(subject, x)),
        // Few queries, so that they are asked again.
        20 => (0..3usize, 0..QUERIES.len()).prop_map(|(member, query)| Step::Query(member, query)),
        1 => any::<bool>().prop_map(Step::Define),
        1 => Just(Step::Rebuild),
        1 => (0..4u32, 0..3usize).prop_map(|(partition, to)| Step::Move(partition, to)),
    ];
    proptest::collection::vec(step, 20..80)
}

/// Hands a partition over, as nodes do: the new one is warm before it is said to be there, and the old one lets go after that.
fn hand_over(node: &Node, partition: u32, to: usize) {
    let stream = tw_log::Log::streams(node.log.as_ref()).get("things").unwrap().id;
    let at = StreamPartition::new(stream, PartitionId(partition));
    let from = node.network.keeper(at).unwrap();
    node.members[to].assign(&[at]);
    let moved = node.members[to].handle.moved();
    while !node.members[to].handle.warmth(at).is_within(0) {
        moved.wait_over(moved.get(), Duration::from_millis(100));
    }
    node.network.moved.lock().insert(at, Some(to));
    node.members[from].assign(&[]);
}

fn take(node: &mut Node, step: &Step, hits: &AtomicU64) {
    match step {
        Step::Append(subject, x) => append(node, *subject, *x),
        Step::Query(member, query) => {
            let (hit, _) = check(node, *member, QUERIES[*query]);
            hits.fetch_add(hit, Ordering::Relaxed);
        }
        Step::Define(all) => {
            let condition = if *all { "" } else { "WHERE x > 2" };
            node.run(&format!("CREATE OR REPLACE PROJECTION totals AS SELECT kind, count(*) AS n, sum(x) AS total FROM things {condition} GROUP BY kind"));
            wait_until_built(node, "projection/totals");
        }
        Step::Rebuild => {
            node.run("REBUILD PROJECTION plain");
            wait_until_built(node, "projection/plain");
        }
        Step::Move(partition, to) => hand_over(node, *partition, *to),
    }
}

#[test]
fn prj_1_prj_2_kept_answers_are_those_that_would_be_computed() {
    let hits = AtomicU64::new(0);
    let cases = tw_testing::cases(12);
    proptest!(ProptestConfig { max_shrink_iters: 20, ..ProptestConfig::with_cases(cases) }, |(steps in steps())| {
        let mut node = small();
        steps.iter().for_each(|step| take(&mut node, step, &hits));
    });
    assert!(hits.into_inner() > u64::from(cases), "nothing was kept");
}
