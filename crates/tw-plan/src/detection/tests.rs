//! Small stories, and what holds whatever the others say.

mod properties;

use super::*;

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn of(names: &[&str]) -> BTreeMap<NodeId, u64> {
    names.iter().map(|name| (node(name), 1)).collect()
}

/// Node `a` among these nodes; `a` leads.
fn leader(names: &[&str]) -> Detection {
    let mut detection = Detection::new(node("a"), Options::default()).unwrap();
    detection.members(of(names), 0);
    detection.leader(Some(node("a")));
    detection
}

/// Lets time pass in which every probe has the same outcome; what else is to be done, and when.
fn pass(
    detection: &mut Detection,
    from_ms: u64,
    to_ms: u64,
    probe: impl Fn(&NodeId) -> Probe,
) -> Vec<(u64, Action)> {
    let mut done = Vec::new();
    let mut answers: Vec<(u64, NodeId, Probe)> = Vec::new();
    for now_ms in from_ms..to_ms {
        let due: Vec<_> = answers.extract_if(.., |(at_ms, _, _)| *at_ms <= now_ms).collect();
        for (_, node, probe) in due {
            detection.probed(&node, probe, now_ms);
        }
        for action in detection.step(now_ms) {
            match action {
                Action::Probe { node, limit_ms } => {
                    let probe = probe(&node);
                    let after_ms = if probe == Probe::Silent { limit_ms } else { 2 };
                    answers.push((now_ms + after_ms, node, probe));
                }
                other => done.push((now_ms, other)),
            }
        }
    }
    for (_, node, probe) in answers {
        detection.probed(&node, probe, to_ms);
    }
    done
}

const ANSWERED: Probe = Probe::Answered { rtt_ms: 2 };

#[test]
fn a_node_whose_port_is_closed_is_suspected_after_three_probes_and_evicted_where_one_vote_suffices() {
    let mut a = leader(&["a", "b"]);
    assert_eq!(pass(&mut a, 0, 1_000, |_| ANSWERED), []);
    assert_eq!(a.rtt_ms(&node("b")), Some(2));
    let done = pass(&mut a, 1_000, 1_700, |_| Probe::Refused);
    assert_eq!(
        done,
        [(1_402, Action::Tell(of(&["b"]))), (1_602, Action::Evict { node: node("b"), incarnation: 1 }),]
    );
}

#[test]
fn a_node_that_stands_still_for_a_second_is_not_suspected_and_one_that_stays_silent_is() {
    let mut a = leader(&["a", "b"]);
    assert_eq!(pass(&mut a, 0, 1_000, |_| ANSWERED), []);
    assert_eq!(pass(&mut a, 1_000, 2_000, |_| Probe::Silent), []);
    assert_eq!(pass(&mut a, 2_000, 3_000, |_| ANSWERED), []);
    let done = pass(&mut a, 3_000, 5_000, |_| Probe::Silent);
    assert_eq!(done.first(), Some(&(4_402, Action::Tell(of(&["b"])))), "1.6 s after it was heard of last");
    // It lives after all.
    let done = pass(&mut a, 5_000, 6_000, |_| ANSWERED);
    assert_eq!(done.first().map(|(_, action)| action), Some(&Action::Tell(Suspects::new())));
}

#[test]
fn most_of_the_others_have_to_suspect_it() {
    let mut a = leader(&["a", "b", "c", "d"]);
    let is_b = |node: &NodeId| if node.as_str() == "b" { Probe::Refused } else { ANSWERED };
    assert_eq!(pass(&mut a, 0, 1_000, is_b).len(), 1, "told, and nothing else");
    a.voted(&node("d"), of(&["b"]));
    let done = pass(&mut a, 1_000, 1_500, is_b);
    assert_eq!(done, [(1_200, Action::Evict { node: node("b"), incarnation: 1 })]);
    // Votes of the suspect itself, of strangers and against an earlier incarnation do not count.
    let mut a = leader(&["a", "b", "c", "d"]);
    a.voted(&node("b"), of(&["b", "c"]));
    a.voted(&node("x"), of(&["b", "c"]));
    a.voted(&node("d"), [(node("b"), 0), (node("c"), 0)].into());
    assert_eq!(pass(&mut a, 0, 1_000, is_b).len(), 1);
}

#[test]
fn a_network_that_is_down_is_not_many_dead_nodes() {
    let names = ["a", "b", "c", "d", "e"];
    let mut a = leader(&names);
    assert_eq!(pass(&mut a, 0, 1_000, |_| ANSWERED), []);
    for voter in ["b", "c", "d", "e"] {
        let others: Vec<&str> = names.into_iter().filter(|name| *name != voter).collect();
        a.voted(&node(voter), of(&others));
    }
    let done = pass(&mut a, 1_000, 10_000, |_| Probe::Silent);
    assert!(done.iter().all(|(_, action)| matches!(action, Action::Tell(_))), "{done:?}");
}

#[test]
fn a_minority_is_evicted_within_the_window_and_no_more() {
    let names = ["a", "b", "c", "d", "e"];
    let mut a = leader(&names);
    let dead = |dead: &'static [&str]| {
        move |node: &NodeId| if dead.contains(&node.as_str()) { Probe::Refused } else { ANSWERED }
    };
    for voter in ["d", "e"] {
        a.voted(&node(voter), of(&["b", "c"]));
    }
    let done = pass(&mut a, 0, 1_000, dead(&["b", "c"]));
    assert_eq!(done.iter().filter(|(_, action)| matches!(action, Action::Evict { .. })).count(), 2);
    a.members(of(&["a", "d", "e"]), 1_000);
    a.voted(&node("e"), of(&["d"]));
    let done = pass(&mut a, 1_000, 30_000, dead(&["d"]));
    assert_eq!(done.len(), 2, "told, and nothing else: {done:?}");
    let done = pass(&mut a, 30_000, 32_000, dead(&["d"]));
    assert!(matches!(done.first(), Some((_, Action::Evict { .. }))), "the window is over: {done:?}");
}

#[test]
fn a_node_that_stood_still_itself_holds_nothing_against_the_others() {
    let mut a = leader(&["a", "b"]);
    assert_eq!(pass(&mut a, 0, 1_000, |_| ANSWERED), []);
    a.probed(&node("b"), Probe::Silent, 9_000);
    a.probed(&node("b"), Probe::Silent, 9_001);
    assert!(matches!(&a.step(9_002)[..], [Action::Probe { .. }]));
    assert_eq!(pass(&mut a, 9_003, 10_000, |_| ANSWERED), []);
}

#[test]
fn a_dead_leader_is_evicted_by_who_is_registered_longest() {
    let mut heir = Detection::new(node("b"), Options::default()).unwrap();
    let mut other = Detection::new(node("c"), Options::default()).unwrap();
    let members: BTreeMap<NodeId, u64> = [(node("a"), 1), (node("b"), 5), (node("c"), 9)].into();
    for (one, voter) in [(&mut heir, "c"), (&mut other, "b")] {
        one.members(members.clone(), 0);
        one.leader(Some(node("a")));
        one.voted(&node(voter), of(&["a"]));
    }
    let is_a = |node: &NodeId| if node.as_str() == "a" { Probe::Refused } else { ANSWERED };
    let evicts =
        |done: &[(u64, Action)]| done.iter().any(|(_, action)| matches!(action, Action::Evict { .. }));
    assert!(evicts(&pass(&mut heir, 0, 1_000, is_a)));
    assert!(!evicts(&pass(&mut other, 0, 1_000, is_a)));
}

#[test]
fn options_out_of_bounds_are_refused_with_the_bound() {
    let wrong = Options { silent_ms_max: 700, ..Options::default() };
    let error = Detection::new(node("a"), wrong).unwrap_err().to_string();
    assert_eq!(error, "option `silent_ms_max` is 700, outside 2 * probe_ms + probe_ms_max to 600000 ms");
}
