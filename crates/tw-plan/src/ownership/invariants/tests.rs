//! What is found, and what is not, told step by step.

use super::*;
use crate::placement::{Load, Node, Options, plan};

fn unit() -> Unit {
    Unit::new("7/0").unwrap()
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn holder(name: &str, incarnation: u64) -> Holder {
    Holder { node: node(name), incarnation, writer: format!("{name}@{incarnation}") }
}

fn claim(holder: Option<Holder>, epoch: u64, fence: &[&str], revision: u64) -> Claim {
    Claim { holder, epoch, fence: fence.iter().map(|&writer| writer.to_owned()).collect(), revision }
}

fn members(alive: &[(&str, u64)]) -> BTreeMap<NodeId, u64> {
    alive.iter().map(|(name, incarnation)| (node(name), *incarnation)).collect()
}

/// A plan that has the unit.
fn planned() -> Plan {
    let one = Node { id: node("a"), capacity: 1, background_permille: Some(0), domain: None, drains: false };
    let loads = [Load { unit: unit(), weight: Some(1) }];
    plan(&[one], &loads, &Plan::default(), &Options::default(), 0).unwrap().plan
}

fn look(claim: Option<Claim>, alive: &[(&str, u64)]) -> Look {
    let claims = claim.map(|claim| (unit(), claim)).into_iter().collect();
    Look { claims, members: members(alive), members_at: 1_000 }
}

/// What node a is told of in a look, which takes the writes of the unit in this epoch, and tells these units.
fn looked(witness: &mut Witness, look: &Look, open: Option<u64>, tells: bool) -> Vec<&'static str> {
    let me = holder("a", 1);
    let open = open.map(|epoch| (unit(), epoch)).into_iter().collect();
    let unowned = tells.then(unit).into_iter().collect();
    let meddled = BTreeSet::new();
    let told = Told { me: &me, open: &open, meddled: &meddled, plan: &planned(), unowned: &unowned };
    witness.looked(look, told).iter().map(|broken| broken.invariant).collect()
}

#[test]
fn clu_1_an_epoch_that_does_not_rise_with_its_holder_is_found() {
    let mut witness = Witness::default();
    let a = claim(Some(holder("a", 1)), 3, &[], 10);
    assert_eq!(witness.claimed(&unit(), Some(&a)), Ok(()));
    let confirmed = Claim { revision: 11, ..a.clone() };
    assert_eq!(witness.claimed(&unit(), Some(&confirmed)), Ok(()));
    let given = claim(Some(holder("b", 1)), 4, &[], 12);
    assert_eq!(witness.claimed(&unit(), Some(&given)), Ok(()));
    assert_eq!(witness.claimed(&unit(), Some(&a)), Ok(()), "it was told late");
    let other = claim(Some(holder("c", 1)), 4, &[], 13);
    let broken = witness.claimed(&unit(), Some(&other)).unwrap_err();
    assert_eq!(broken.invariant, CLU_1);
    assert_eq!(
        broken.what,
        "its claim goes from node `b` (registration 1) in epoch 4 to node `c` (registration 1) in epoch 4"
    );
    let back = claim(None, 3, &[], 14);
    assert!(witness.claimed(&unit(), Some(&back)).is_err(), "it falls");
    assert_eq!(witness.claimed(&unit(), None), Ok(()), "the unit is gone");
    let anew = claim(Some(holder("a", 1)), 1, &[], 20);
    assert_eq!(witness.claimed(&unit(), Some(&anew)), Ok(()), "another one of its name");
}

#[test]
fn clu_3_what_is_taken_from_a_node_that_is_registered_is_found_and_nothing_else() {
    let a = claim(Some(holder("a", 1)), 1, &[], 10);
    let taken = claim(Some(holder("b", 1)), 2, &["a@1"], 20);
    let given = claim(Some(holder("b", 1)), 2, &[], 20);
    let again = claim(Some(holder("a", 15)), 2, &["a@1"], 20);
    let seen = |next: &Claim, looks: &[(u64, &[(&str, u64)])]| -> Vec<&'static str> {
        let mut witness = Witness::default();
        witness.claimed(&unit(), Some(&a)).unwrap();
        witness.claimed(&unit(), Some(next)).unwrap();
        let told = looks.iter().flat_map(|(at, alive)| witness.members(*at, &members(alive)));
        told.map(|broken| broken.invariant).collect()
    };
    let both: &[(&str, u64)] = &[("a", 1), ("b", 1)];
    assert_eq!(seen(&taken, &[(20, both)]), [CLU_3]);
    assert_eq!(seen(&taken, &[(19, both), (25, both)]), [CLU_3], "once, when it is certain");
    assert!(seen(&taken, &[(19, both), (25, &[("b", 1)])]).is_empty(), "it was registered before");
    assert!(seen(&taken, &[(20, &[("a", 15), ("b", 1)])]).is_empty(), "it has come back since");
    assert!(seen(&given, &[(20, both)]).is_empty(), "it was given away");
    assert!(seen(&again, &[(20, &[("a", 15)])]).is_empty(), "by the node itself");
}

#[test]
fn clu_1_a_node_that_takes_writes_without_a_claim_finds_itself() {
    let mine = claim(Some(holder("a", 1)), 2, &[], 10);
    let both = [("a", 1), ("b", 1)];
    let found =
        |claim: Option<Claim>, open| looked(&mut Witness::default(), &look(claim, &both), open, false);
    assert!(found(Some(mine.clone()), Some(2)).is_empty());
    assert!(found(Some(claim(Some(holder("b", 1)), 3, &[], 11)), None).is_empty());
    assert_eq!(found(Some(mine), Some(1)), [CLU_1], "of another epoch");
    assert_eq!(found(Some(claim(Some(holder("b", 1)), 3, &[], 11)), Some(2)), [CLU_1], "of another node");
    assert_eq!(
        found(Some(claim(Some(holder("a", 9)), 2, &[], 11)), Some(2)),
        [CLU_1],
        "of a registration since"
    );
    assert_eq!(found(None, Some(2)), [CLU_1], "of nobody");
    let evicted = look(Some(claim(Some(holder("b", 1)), 3, &["a@1"], 11)), &[("b", 1)]);
    assert!(looked(&mut Witness::default(), &evicted, Some(2), false).is_empty(), "it is fenced off");
}

#[test]
fn clu_1_events_of_somebody_else_are_found_where_a_node_has_the_claim() {
    let (me, plan, unowned) = (holder("a", 1), planned(), BTreeSet::new());
    let found = |look: &Look, epoch| {
        let (open, meddled) = (BTreeMap::from([(unit(), epoch)]), BTreeSet::from([unit()]));
        let told = Told { me: &me, open: &open, meddled: &meddled, plan: &plan, unowned: &unowned };
        Witness::default().looked(look, told)
    };
    let mine = claim(Some(holder("a", 1)), 2, &[], 10);
    let told = found(&look(Some(mine.clone()), &[("a", 1)]), 2);
    assert_eq!(told[0].invariant, CLU_1);
    assert_eq!(
        told[0].what,
        "node `a` (registration 1) has it in epoch 2, and its log has events since that somebody else has written"
    );
    assert!(found(&look(Some(mine), &[("b", 1)]), 2).is_empty(), "others may have it by now");
}

#[test]
fn clu_2_what_nobody_has_is_to_be_told_by_whoever_knows_and_in_time_by_everybody() {
    let seen = |witness: &mut Witness, look: &Look, tells: &[bool]| -> Vec<bool> {
        tells.iter().map(|tells| looked(witness, look, None, *tells) == [CLU_2]).collect()
    };
    let of_b = claim(Some(holder("b", 1)), 2, &[], 10);
    let dead = look(Some(of_b.clone()), &[("a", 1)]);
    let mut knows = Witness::default();
    knows.claimed(&unit(), Some(&of_b)).unwrap();
    knows.members(20, &members(&[("a", 1)]));
    assert_eq!(seen(&mut knows, &dead, &[false, true, false]), [false; 3], "it may be a moment ago");
    assert_eq!(seen(&mut knows, &dead, &[false, false, false]), [true, false, false], "said once");
    let given_up = claim(None, 2, &[], 30);
    assert_eq!(
        seen(&mut knows, &look(Some(given_up), &[("a", 1)]), &[false; 9]),
        [false; 9],
        "not told of yet"
    );
    let mut is_behind = Witness::default();
    is_behind.claimed(&unit(), Some(&of_b)).unwrap();
    is_behind.members(20, &members(&[("a", 1), ("b", 1)]));
    let found = seen(&mut is_behind, &dead, &[false; 12]);
    assert_eq!(found.iter().position(|found| *found), Some(9), "it never learns of it");
    let never = look(None, &[("a", 1)]);
    assert_eq!(seen(&mut Witness::default(), &never, &[false, false]), [false, true], "it was never claimed");
}
