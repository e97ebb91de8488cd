//! Small stories, told step by step.

use super::*;
use crate::placement::{Load, Node, Options, plan};

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn unit() -> Unit {
    Unit::new("7/0").unwrap()
}

fn holder(name: &str, incarnation: u64) -> Holder {
    Holder { node: node(name), incarnation, writer: format!("{name}@{incarnation}") }
}

/// The plan that follows when these nodes are alive.
fn planned(alive: &[&str], current: &Plan) -> Arc<Plan> {
    let node = |name: &&str| Node {
        id: node(name),
        capacity: 1,
        background_permille: Some(0),
        domain: None,
        drains: false,
    };
    let nodes: Vec<Node> = alive.iter().map(node).collect();
    let loads = [Load { unit: unit(), weight: Some(1) }];
    Arc::new(plan(&nodes, &loads, current, &Options::default(), 0).unwrap().plan)
}

fn alive(members: &[(&str, u64)]) -> BTreeMap<NodeId, u64> {
    members.iter().map(|(name, incarnation)| (node(name), *incarnation)).collect()
}

fn only(acts: Vec<(Unit, Act)>) -> Option<Act> {
    assert!(acts.len() < 2, "{acts:?}");
    acts.into_iter().next().map(|(_, act)| act)
}

/// Stores what a node wants to store, as coordination does.
fn stored(node: &mut Ownership, claim: Claim, revision: u64) -> Claim {
    let claim = Claim { revision, ..claim };
    node.done(&unit(), Outcome::Stored(Some(claim.clone())), 0);
    claim
}

/// A node that has the unit open.
fn owner(name: &str, plan: &Arc<Plan>, members: &[(&str, u64)]) -> (Ownership, Claim) {
    let mut node = Ownership::new(holder(name, 1));
    node.members(alive(members));
    node.planned(plan.clone());
    let Some(Act::Claim { claim, found: None, gone: None }) = only(node.step(0)) else { panic!("no claim") };
    let claim = stored(&mut node, claim, 10);
    assert_eq!(only(node.step(0)), Some(Act::Open { epoch: 1, fence: Vec::new() }));
    node.done(&unit(), Outcome::Done, 0);
    assert_eq!((node.owner(&unit()), only(node.step(0))), (Owner::Here(1), None));
    (node, claim)
}

#[test]
fn clu_1_a_unit_goes_to_its_new_owner_only_when_that_is_warm_and_the_old_one_has_shut_it() {
    let first = planned(&["a"], &Plan::default());
    let members = [("a", 1), ("b", 1)];
    let (mut a, claim) = owner("a", &first, &members);
    let second = planned(&["b"], &first);
    let mut b = Ownership::new(holder("b", 1));
    for one in [&mut a, &mut b] {
        one.members(alive(&members));
        one.planned(second.clone());
    }
    b.claimed(&unit(), Some(claim.clone()));
    assert_eq!((only(a.step(0)), only(b.step(0))), (None, None), "b is not warm yet");
    assert!(b.kept().contains(&unit()));
    b.warm(&unit(), true);
    assert_eq!(only(b.step(0)), Some(Act::Announce));
    b.done(&unit(), Outcome::Done, 0);
    b.ready(&unit(), Some(node("b")));
    assert_eq!(only(b.step(0)), None);
    a.ready(&unit(), Some(node("b")));
    assert_eq!(only(a.step(0)), Some(Act::Shut));
    assert_eq!(a.owner(&unit()), Owner::Nobody);
    a.done(&unit(), Outcome::Done, 0);
    let Some(Act::Transfer { to, incarnation, .. }) = only(a.step(0)) else { panic!("no transfer") };
    assert_eq!((&to, incarnation), (&node("b"), 1));
    let given = Claim { holder: Some(holder("b", 1)), epoch: 2, fence: Vec::new(), revision: 11 };
    a.done(&unit(), Outcome::Stored(Some(given.clone())), 0);
    assert_eq!((only(a.step(0)), a.owner(&unit())), (None, Owner::Node(node("b"))));
    b.claimed(&unit(), Some(given));
    assert_eq!(
        only(b.step(0)),
        Some(Act::Open { epoch: 2, fence: Vec::new() }),
        "nobody is to be fenced off"
    );
}

#[test]
fn clu_1_who_takes_a_unit_over_from_the_dead_fences_their_writers_off_first() {
    let first = planned(&["a"], &Plan::default());
    let (_, claim) = owner("a", &first, &[("a", 1), ("b", 1)]);
    let mut b = Ownership::new(holder("b", 1));
    b.planned(planned(&["b"], &first));
    b.claimed(&unit(), Some(claim));
    b.members(alive(&[("b", 1)]));
    let Some(Act::Claim { claim, found: Some(10), gone }) = only(b.step(0)) else { panic!("no claim") };
    assert_eq!((gone, claim.epoch, &claim.fence), (Some((node("a"), 1)), 2, &vec!["a@1".to_owned()]));
    let claim = stored(&mut b, claim, 20);
    assert_eq!(only(b.step(0)), Some(Act::Open { epoch: 2, fence: vec!["a@1".to_owned()] }));
    b.done(&unit(), Outcome::Failed, 5);
    assert_eq!((only(b.step(10)), b.retry_at_ms()), (None, Some(5 + RETRY_MS)));
    assert!(matches!(only(b.step(5 + RETRY_MS)), Some(Act::Open { .. })));
    b.done(&unit(), Outcome::Done, 300);
    let Some(Act::Confirm(confirmed)) = only(b.step(300)) else { panic!("not confirmed") };
    assert_eq!((confirmed.epoch, &confirmed.fence, confirmed.revision), (2, &Vec::new(), claim.revision));
}

#[test]
fn who_dies_before_fencing_leaves_it_to_the_next() {
    let claim = Claim { holder: Some(holder("b", 1)), epoch: 2, fence: vec!["a@1".into()], revision: 9 };
    let mut c = Ownership::new(holder("c", 1));
    c.members(alive(&[("c", 1)]));
    c.planned(planned(&["c"], &Plan::default()));
    c.claimed(&unit(), Some(claim));
    let Some(Act::Claim { claim, .. }) = only(c.step(0)) else { panic!("no claim") };
    assert_eq!(claim.fence, ["a@1", "b@1"]);
}

#[test]
fn a_node_whose_lease_is_lost_shuts_everything_and_comes_back_in_a_new_epoch() {
    let plan = planned(&["a"], &Plan::default());
    let (mut a, claim) = owner("a", &plan, &[("a", 1)]);
    a.lost();
    assert_eq!((a.owner(&unit()), only(a.step(0))), (Owner::Nobody, Some(Act::Shut)));
    a.done(&unit(), Outcome::Done, 0);
    assert_eq!(only(a.step(0)), None, "without a lease there is nothing to claim with");
    a.members(alive(&[("a", 2)]));
    a.registered(2, "a@2");
    let Some(Act::Claim { claim: again, found, gone }) = only(a.step(0)) else { panic!("no claim") };
    assert_eq!((again.epoch, found, gone), (claim.epoch + 1, Some(claim.revision), None));
    assert_eq!(again.fence, ["a@1"], "what it wrote before is over");
}

#[test]
fn clu_2_a_unit_without_an_owner_is_told_with_the_time_since_when() {
    let mut a = Ownership::new(holder("a", 1));
    a.planned(planned(&["a"], &Plan::default()));
    assert_eq!(a.unowned(7), [(unit(), 7)].into());
    assert_eq!(a.unowned(9), [(unit(), 7)].into());
    let (mut a, _) = owner("a", &planned(&["a"], &Plan::default()), &[("a", 1)]);
    assert_eq!(a.unowned(9), [].into());
}

#[test]
fn a_node_that_leaves_gives_everything_up_and_nobody_has_to_fence_it_off() {
    let plan = planned(&["a"], &Plan::default());
    let (mut a, claim) = owner("a", &plan, &[("a", 1), ("b", 1)]);
    a.leave();
    assert_eq!(only(a.step(0)), Some(Act::Shut));
    a.done(&unit(), Outcome::Done, 0);
    assert_eq!(only(a.step(0)), Some(Act::Release(claim.clone())));
    let free = Claim { holder: None, revision: 11, ..claim };
    a.done(&unit(), Outcome::Stored(Some(free.clone())), 0);
    assert_eq!(only(a.step(0)), None);
    assert!(a.is_idle());
    let mut b = Ownership::new(holder("b", 1));
    b.planned(planned(&["b"], &plan));
    b.claimed(&unit(), Some(free));
    let Some(Act::Claim { claim, gone: None, .. }) = only(b.step(0)) else { panic!("no claim") };
    assert_eq!((claim.epoch, claim.fence.len()), (2, 0));
}

#[test]
fn clu_1_a_unit_that_may_have_been_given_away_is_claimed_anew_before_it_opens_again() {
    let first = planned(&["a"], &Plan::default());
    let (mut a, claim) = owner("a", &first, &[("a", 1), ("b", 1)]);
    a.ready(&unit(), Some(node("b")));
    let second = planned(&["b"], &first);
    a.planned(second.clone());
    assert_eq!(only(a.step(0)), Some(Act::Shut));
    a.done(&unit(), Outcome::Done, 0);
    assert!(matches!(only(a.step(0)), Some(Act::Transfer { .. })));
    // The answer is lost, and the plan has the unit here again. The transaction may be on its way still.
    a.done(&unit(), Outcome::Failed, 0);
    a.planned(planned(&["a"], &second));
    let Some(Act::Claim { claim: again, found, gone: None }) = only(a.step(RETRY_MS)) else {
        panic!("not claimed anew")
    };
    assert_eq!((again.epoch, found, &again.holder), (2, Some(claim.revision), &claim.holder));
    stored(&mut a, again, 30);
    assert_eq!(only(a.step(RETRY_MS)), Some(Act::Open { epoch: 2, fence: Vec::new() }));
}

#[test]
fn a_writer_that_stays_the_same_does_not_fence_itself_off() {
    let plan = planned(&["a"], &Plan::default());
    let (mut a, _) = owner("a", &plan, &[("a", 1)]);
    a.lost();
    a.step(0);
    a.done(&unit(), Outcome::Done, 0);
    a.registered(2, "a@1");
    let Some(Act::Claim { claim, .. }) = only(a.step(0)) else { panic!("no claim") };
    assert!(claim.fence.is_empty());
    // Somebody who has never opened it gives it back.
    let holder = Holder { writer: "a@1".into(), ..holder("a", 2) };
    let fence = vec!["a@1".into(), "b@1".into()];
    let given = Claim { holder: Some(holder), epoch: 7, fence, revision: 40 };
    a.done(&unit(), Outcome::Stored(Some(given)), 0);
    assert_eq!(only(a.step(0)), Some(Act::Open { epoch: 7, fence: vec!["b@1".into()] }));
}

#[test]
fn an_announcement_that_was_used_up_before_its_answer_came_is_not_taken_for_standing() {
    let first = planned(&["a"], &Plan::default());
    let (_, claim) = owner("a", &first, &[("a", 1), ("b", 1)]);
    let mut b = Ownership::new(holder("b", 1));
    b.members(alive(&[("a", 1), ("b", 1)]));
    b.planned(planned(&["b"], &first));
    b.claimed(&unit(), Some(claim));
    b.warm(&unit(), true);
    assert_eq!(only(b.step(0)), Some(Act::Announce));
    // Announced, given, given back: all of that is told before the answer comes.
    b.ready(&unit(), Some(node("b")));
    b.ready(&unit(), None);
    b.claimed(
        &unit(),
        Some(Claim { holder: Some(holder("a", 1)), epoch: 3, fence: Vec::new(), revision: 30 }),
    );
    b.done(&unit(), Outcome::Done, 0);
    assert_eq!(only(b.step(RETRY_MS)), Some(Act::Announce));
}

#[test]
fn what_was_warm_and_is_not_kept_any_more_is_not_announced() {
    let first = planned(&["a"], &Plan::default());
    let second = planned(&["b"], &first);
    let (_, claim) = owner("a", &first, &[("a", 1), ("b", 1)]);
    let mut b = Ownership::new(holder("b", 1));
    b.members(alive(&[("a", 1), ("b", 1)]));
    b.planned(second.clone());
    b.claimed(&unit(), Some(claim));
    b.warm(&unit(), true);
    let third = planned(&["a"], &second);
    b.planned(third.clone());
    assert_eq!((only(b.step(0)), b.kept().len()), (None, 0));
    b.planned(planned(&["b"], &third));
    assert_eq!(only(b.step(0)), None, "it is cold");
    b.warm(&unit(), true);
    assert_eq!(only(b.step(0)), Some(Act::Announce));
    // As long as others are told so, it is true.
    b.ready(&unit(), Some(node("b")));
    b.done(&unit(), Outcome::Done, 0);
    b.planned(planned(&["a"], &planned(&["b"], &third)));
    assert_eq!((only(b.step(0)), b.kept().len()), (None, 1));
}

#[test]
fn whoever_the_plan_names_and_is_registered_stands_by_for_who_takes_the_writes() {
    let first = planned(&["a"], &Plan::default());
    let members = [("a", 1), ("b", 1)];
    let (mut a, claim) = owner("a", &first, &members);
    assert_eq!(a.standbys(&unit()), [], "nobody else is in the plan");
    let mut second = planned(&["a", "b"], &first);
    let assignment = second.get(&unit()).unwrap();
    if assignment.owner != node("b") {
        assert_eq!(assignment.standbys, [node("b")]);
    }
    let mut b = Ownership::new(holder("b", 1));
    for one in [&mut a, &mut b] {
        one.members(alive(&members));
        one.planned(second.clone());
        one.claimed(&unit(), Some(claim.clone()));
        assert_eq!(one.standbys(&unit()), [node("b")]);
    }
    // As long as it is not handed over, the one that is to have it stands by.
    second = planned(&["b"], &second);
    b.planned(second);
    assert_eq!(b.standbys(&unit()), [node("b")]);
    // Who is gone does not, and who takes over from it does until it has.
    b.members(alive(&[("b", 1)]));
    assert_eq!((b.owner(&unit()), b.standbys(&unit())), (Owner::Nobody, vec![node("b")]));
    a.members(alive(&[("a", 1)]));
    assert_eq!(a.standbys(&unit()), []);
}
