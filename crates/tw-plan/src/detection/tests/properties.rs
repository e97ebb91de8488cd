//! What holds whatever is said, by whomever, in whatever order.

use super::*;
use crate::sim::config;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Debug, Clone)]
enum Step {
    Members(Vec<(u8, u64)>),
    Leader(Option<u8>),
    Probed(u8, Probe),
    Voted(u8, Vec<(u8, u64)>),
    NotTold,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let some = || prop::collection::vec((0u8..7, 1u64..3), 0..7);
    let probe = prop_oneof![
        1 => Just(Probe::Answered { rtt_ms: 1 }),
        3 => Just(Probe::Refused),
        3 => Just(Probe::Silent),
    ];
    prop_oneof![
        1 => some().prop_map(Step::Members),
        1 => prop::option::weighted(0.9, 0u8..7).prop_map(Step::Leader),
        8 => (0u8..7, probe).prop_map(|(node, probe)| Step::Probed(node, probe)),
        4 => (0u8..7, some()).prop_map(|(node, some)| Step::Voted(node, some)),
        1 => Just(Step::NotTold),
        8 => (1u64..450).prop_map(Step::Pass),
    ]
}

fn name(number: u8) -> NodeId {
    node(&format!("n{number}"))
}

fn named(some: Vec<(u8, u64)>) -> BTreeMap<NodeId, u64> {
    some.into_iter().map(|(number, incarnation)| (name(number), incarnation)).collect()
}

/// What a reader of the README expects, written down anew.
#[derive(Default)]
struct Expected {
    members: BTreeMap<NodeId, u64>,
    votes: BTreeMap<NodeId, Suspects>,
    counts: Vec<(u64, usize)>,
    evicted: Vec<(u64, NodeId, u64)>,
}

impl Expected {
    fn check(
        &mut self,
        me: &NodeId,
        told: &Suspects,
        evicted: Vec<(NodeId, u64)>,
        now_ms: u64,
        window_ms: u64,
    ) {
        if evicted.is_empty() {
            // Those of before were a minority of the nodes that counted then.
            return;
        }
        for (node, incarnation) in evicted {
            assert_ne!(node, *me);
            assert_eq!(self.members.get(&node), Some(&incarnation), "only who is registered");
            let others = self.votes.iter().filter(|(voter, _)| **voter != node).map(|(_, votes)| votes);
            let against = others.chain([told]).filter(|votes| votes.get(&node) == Some(&incarnation)).count();
            assert!(2 * against > self.members.len() - 1, "{node} had {against} of {}", self.members.len());
            self.evicted.push((now_ms, node, incarnation));
        }
        let recent = self.evicted.iter().filter(|(at_ms, _, _)| at_ms + window_ms >= now_ms);
        let recent: BTreeSet<_> = recent.map(|(_, node, incarnation)| (node, incarnation)).collect();
        // The count that held when the window began counts too.
        let start = self.counts.iter().rposition(|(at_ms, _)| at_ms + window_ms < now_ms).unwrap_or(0);
        let most = self.counts[start..].iter().map(|(_, count)| *count).max().unwrap_or(0);
        assert!(recent.len() <= (most.saturating_sub(1) / 2).max(1), "{recent:?} of {most}");
    }
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn only_a_majority_evicts_and_only_a_minority_is_evicted(steps in prop::collection::vec(step(), 0..200)) {
        let me = name(0);
        let options = Options { window_ms: 2_000, ..Options::default() };
        let mut detection = Detection::new(me.clone(), options.clone()).unwrap();
        let mut expected = Expected::default();
        let mut now_ms = 0;
        for step in steps {
            match step {
                Step::Members(some) => {
                    let mut members = named(some);
                    members.insert(me.clone(), 1);
                    expected.votes.retain(|node, _| members.contains_key(node));
                    expected.counts.push((now_ms, members.len()));
                    expected.members = members.clone();
                    detection.members(members, now_ms);
                }
                Step::Leader(leader) => detection.leader(leader.map(name)),
                Step::Probed(node, probe) => detection.probed(&name(node), probe, now_ms),
                Step::Voted(voter, votes) => {
                    if voter != 0 && expected.members.contains_key(&name(voter)) {
                        expected.votes.insert(name(voter), named(votes.clone()));
                    }
                    detection.voted(&name(voter), named(votes));
                }
                Step::NotTold => detection.not_told(),
                Step::Pass(ms) => now_ms += ms,
            }
            let actions = detection.step(now_ms);
            prop_assert!(detection.wake_at_ms(now_ms) > now_ms);
            let suspects = detection.suspects(now_ms);
            let evicted = actions.into_iter().filter_map(|action| match action {
                Action::Evict { node, incarnation } => Some((node, incarnation)),
                _ => None,
            });
            expected.check(&me, &suspects, evicted.collect(), now_ms, options.window_ms);
        }
    }
}

proptest! {
    #![proptest_config(config(50))]

    #[test]
    fn who_answers_within_a_second_is_never_suspected(pauses in prop::collection::vec((0u64..3_000, 0u64..1_000), 1..8)) {
        let mut a = leader(&["a", "b"]);
        let mut now_ms = 0;
        for (lives_ms, pauses_ms) in pauses {
            // A pause is followed by life: it has to answer at least once.
            let until_ms = now_ms + lives_ms.max(300);
            prop_assert_eq!(pass(&mut a, now_ms, until_ms, |_| ANSWERED), []);
            prop_assert_eq!(pass(&mut a, until_ms, until_ms + pauses_ms, |_| Probe::Silent), []);
            now_ms = until_ms + pauses_ms;
        }
    }
}
