//! A small world for tests: three regions that write one subject, and exchange what they wrote when it pleases them.
//!
//! What a change says that its region had seen is true, and at times older than the truth, as it is with cursors that are not stored
//! yet. A change is delivered after all that it had seen. A region counts a change as stable when every region has said so.

use crate::class::{Class, Fold, MergeExpr, ReserveOp};
use crate::subject::{Conflict, Limits, Subject};
use crate::{Change, Context, FieldOp, Kind, Seen, Stamp};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tw_types::{Epoch, Hlc, Origin, RegionId, Sequence};

/// How many regions there are; they are numbered from 0.
pub(crate) const REGIONS: u16 = 3;

/// How property tests run: with so many cases, or as many as the environment asks for.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases: tw_testing::cases(cases), failure_persistence: None, ..ProptestConfig::default() }
}

/// A runner that tries the same cases every time.
pub(crate) fn runner(cases: u32) -> TestRunner {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(config(cases), rng)
}

/// A change of epoch 1 of `region`.
pub(crate) fn context(region: u16, hlc: u64, seen: &[(u16, u64)]) -> Context {
    let origin = Origin { region: RegionId(region), epoch: Epoch(1), sequence: Sequence(hlc) };
    let seen = seen.iter().map(|&(region, until)| (RegionId(region), Hlc::from_u64(until))).collect();
    Context { stamp: Stamp { hlc: Hlc::from_u64(hlc), origin }, seen }
}

/// A function that depends on the order of everything: what was before is multiplied, and 0 takes the value away.
#[derive(Debug)]
pub(crate) struct Horner(MergeExpr);

impl Horner {
    pub(crate) fn new() -> Self {
        Self(MergeExpr::new("old * 7 + new").unwrap())
    }
}

impl Fold<i64> for Horner {
    fn expr(&self) -> &MergeExpr {
        &self.0
    }

    fn fold(&self, before: Option<&i64>, input: &i64, _: &Stamp) -> Option<i64> {
        let before = before.copied().unwrap_or(1);
        (*input != 0).then(|| before.wrapping_mul(7).wrapping_add(*input))
    }
}

/// One field of each class, in this order: lww, max, min, counter, set, reserve, unique, custom.
pub(crate) fn classes() -> Arc<[Class<i64>]> {
    let horner: Arc<dyn Fold<i64>> = Arc::new(Horner::new());
    Arc::new([
        Class::Lww,
        Class::Max,
        Class::Min,
        Class::Counter,
        Class::Set,
        Class::Reserve,
        Class::Unique,
        Class::Custom(horner),
    ])
}

/// What a region may do next.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Write these operations, numbers that [`World::ops`] makes fit, after its clock went on by so much.
    Put { at: u16, fields: Vec<(u8, i8)>, pass: u8 },
    /// Delete the subject.
    Delete { at: u16 },
    /// Take what `from` wrote next, up to so many.
    Take { at: u16, from: u16, count: u8 },
    /// Store its cursors: from now on its changes say all that it has seen.
    Store { at: u16 },
    /// Tell the others what it has seen.
    Beat { at: u16 },
    /// Forget what is stable.
    Forget { at: u16 },
    /// Begin another epoch; nothing is lost.
    Restart { at: u16 },
    /// Everything is exchanged, stored and told, and one region forgets it.
    Settle { at: u16 },
}

/// Histories in which these classes' fields, by their places, are written.
pub(crate) fn steps(fields: &'static [u8], most: usize) -> impl Strategy<Value = Vec<Step>> {
    let at = || 0..REGIONS;
    let ops = prop::collection::vec((prop::sample::select(fields), any::<i8>()), 0..3);
    let step = prop_oneof![
        10 => (at(), ops, 0u8..5).prop_map(|(at, fields, pass)| Step::Put { at, fields, pass }),
        2 => at().prop_map(|at| Step::Delete { at }),
        10 => (at(), at(), 1u8..6).prop_map(|(at, from, count)| Step::Take { at, from, count }),
        4 => at().prop_map(|at| Step::Store { at }),
        4 => at().prop_map(|at| Step::Beat { at }),
        4 => at().prop_map(|at| Step::Forget { at }),
        1 => at().prop_map(|at| Step::Restart { at }),
        1 => at().prop_map(|at| Step::Settle { at }),
    ];
    prop::collection::vec(step, 0..most)
}

/// What a region sends, in this order.
#[derive(Debug, Clone)]
enum Message {
    Change(Change<i64>),
    /// Everything that the region has seen, itself included.
    Beat(Seen),
}

#[derive(Debug)]
pub(crate) struct Region {
    id: RegionId,
    epoch: Epoch,
    sequence: u64,
    clock: u64,
    /// The time of its last change, and that of its last one of an earlier epoch.
    last: Hlc,
    last_before_epoch: Hlc,
    /// What it has of others.
    has: Seen,
    /// What of that it has stored, and says.
    says: Seen,
    /// What others said, themselves included.
    heard: BTreeMap<RegionId, Seen>,
    sent: Vec<Message>,
    taken: BTreeMap<u16, usize>,
    /// What it received and wrote, in this order.
    pub(crate) changes: Vec<Change<i64>>,
    pub(crate) subject: Subject<i64>,
    pub(crate) conflicts: Vec<Conflict>,
}

impl Region {
    fn new(id: RegionId) -> Self {
        Self {
            id,
            epoch: Epoch(1),
            sequence: 0,
            clock: 0,
            last: Hlc::ZERO,
            last_before_epoch: Hlc::ZERO,
            has: Seen::new(),
            says: Seen::new(),
            heard: BTreeMap::new(),
            sent: Vec::new(),
            taken: BTreeMap::new(),
            changes: Vec::new(),
            subject: Subject::new(classes()),
            conflicts: Vec::new(),
        }
    }

    /// What a change says that it writes now.
    pub(crate) fn context(&self) -> Context {
        let origin = Origin { region: self.id, epoch: self.epoch, sequence: Sequence(self.sequence + 1) };
        let mut seen = self.says.clone();
        seen.raise(self.id, self.last_before_epoch);
        Context { stamp: Stamp { hlc: Hlc::from_u64(self.clock + 1), origin }, seen }
    }

    /// What it says with a heartbeat.
    fn says_all(&self) -> Seen {
        let mut seen = self.says.clone();
        seen.raise(self.id, self.last);
        seen
    }

    /// What is stable as far as it knows.
    fn stable(&self) -> Seen {
        let mut stable = self.says_all();
        for region in (0..REGIONS).map(RegionId).filter(|region| *region != self.id) {
            stable.meet(self.heard.get(&region).unwrap_or(&Seen::new()));
        }
        stable
    }

    fn apply(&mut self, change: Change<i64>) {
        let outcome = self.subject.apply(change.clone());
        assert!(!outcome.duplicate && outcome.ill_fitting.is_empty());
        self.conflicts.extend(outcome.conflicts);
        self.changes.push(change);
    }

    fn write(&mut self, kind: Kind<i64>) {
        let change = Change { context: self.context(), kind };
        self.clock += 1;
        self.sequence += 1;
        self.last = change.context.stamp.hlc;
        self.sent.push(Message::Change(change.clone()));
        self.apply(change);
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) regions: Vec<Region>,
    /// A broken rule, for controls.
    pub(crate) broken: Option<Broken>,
}

/// A rule that a world does not keep, to show that tests notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A region forgets what it has seen itself.
    ForgetsEarly,
    /// A region uses what it gave away until it knows that it has arrived.
    SpendsTransfers,
    /// A region uses rights that it does not say it has seen.
    SpendsUnseen,
    /// A region deletes where others have rights.
    DeletesRights,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { regions: (0..REGIONS).map(|id| Region::new(RegionId(id))).collect(), broken: None }
    }

    pub(crate) fn played(steps: &[Step]) -> Self {
        let mut world = Self::new();
        steps.iter().for_each(|step| world.step(step));
        world
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match step {
            Step::Put { at, fields, pass } => {
                let ops = self.ops(*at, fields);
                let region = &mut self.regions[usize::from(*at)];
                region.clock += u64::from(*pass);
                let change = Change { context: region.context(), kind: Kind::Put(ops.clone()) };
                if self.broken.is_none() {
                    region.subject.admit(&change, &Limits::default()).unwrap();
                }
                region.write(Kind::Put(ops));
            }
            Step::Delete { at } => {
                let region = &mut self.regions[usize::from(*at)];
                let change = Change { context: region.context(), kind: Kind::Delete };
                let admitted = region.subject.admit(&change, &Limits::default()).is_ok();
                if admitted || self.broken == Some(Broken::DeletesRights) {
                    region.write(Kind::Delete);
                }
            }
            Step::Take { at, from, count } => {
                for _ in 0..*count {
                    self.take(*at, *from);
                }
            }
            Step::Store { at } => {
                let region = &mut self.regions[usize::from(*at)];
                region.says = region.has.clone();
            }
            Step::Beat { at } => {
                let region = &mut self.regions[usize::from(*at)];
                region.sent.push(Message::Beat(region.says_all()));
            }
            Step::Forget { at } => {
                let region = &mut self.regions[usize::from(*at)];
                let mut stable = region.stable();
                if self.broken == Some(Broken::ForgetsEarly) {
                    stable.join(&region.has);
                    stable.raise(region.id, region.last);
                }
                region.subject.forget_stable(&stable);
            }
            Step::Restart { at } => {
                let region = &mut self.regions[usize::from(*at)];
                region.epoch = Epoch(region.epoch.0 + 1);
                region.sequence = 0;
                region.last_before_epoch = region.last;
            }
            Step::Settle { at } => {
                self.settle();
                self.step(&Step::Forget { at: *at });
            }
        }
    }

    /// Operations that fit the fields, and that this region is allowed.
    fn ops(&self, at: u16, fields: &[(u8, i8)]) -> Vec<(u16, FieldOp<i64>)> {
        let mut ops = BTreeMap::new();
        for &(field, number) in fields {
            let value = i64::from(number);
            let op = match field {
                0 | 6 => FieldOp::Set(value % 8),
                1 | 2 => FieldOp::Offer(value),
                3 => FieldOp::Add(value.into()),
                4 if number % 2 == 0 => FieldOp::Insert(value / 2 % 4),
                4 => FieldOp::Remove(value / 2 % 4),
                5 => match self.reserve_op(at, number) {
                    Some(op) => FieldOp::Reserve(op),
                    None => continue,
                },
                _ => FieldOp::Input(value % 4),
            };
            ops.insert(u16::from(field), op);
        }
        ops.into_iter().collect()
    }

    /// What the number asks for, if the rights are there.
    fn reserve_op(&self, at: u16, number: i8) -> Option<ReserveOp> {
        let region = &self.regions[usize::from(at)];
        let amount = u64::from(number.unsigned_abs() / 4 % 6) + 1;
        let to = (at + 1 + u16::from(number.unsigned_abs() % 2)) % REGIONS;
        let op = match number.rem_euclid(4) {
            0 => return Some(ReserveOp::Produce(amount)),
            1 | 2 => ReserveOp::Consume(amount),
            _ => ReserveOp::Transfer { to: RegionId(to), amount },
        };
        let rights = match self.broken {
            Some(Broken::SpendsTransfers) => {
                let rights = region.subject.reserve_as_seen(5, &region.context())?;
                rights.available(region.id) + u128::from(self.given(region))
            }
            Some(Broken::SpendsUnseen) => region.subject.reserve(5)?.available(region.id),
            _ => {
                let kind = Kind::Put(vec![(5, FieldOp::Reserve(op))]);
                let change = Change { context: region.context(), kind };
                return region.subject.admit(&change, &Limits::default()).is_ok().then_some(op);
            }
        };
        (rights >= u128::from(amount)).then_some(op)
    }

    /// What a region gave to others, and they have not said that they have it.
    fn given(&self, region: &Region) -> u64 {
        let own = region.changes.iter().filter(|change| change.context.stamp.region() == region.id);
        let mut given = 0;
        for change in own {
            let Kind::Put(ops) = &change.kind else { continue };
            for (_, op) in ops {
                if let FieldOp::Reserve(ReserveOp::Transfer { to, amount }) = op
                    && !region.heard.get(to).is_some_and(|heard| heard.holds(&change.context.stamp))
                {
                    given += amount;
                }
            }
        }
        given
    }

    /// Delivers what `from` sent next, unless something that it had seen is missing.
    fn take(&mut self, at: u16, from: u16) -> bool {
        if at == from {
            return false;
        }
        let next = self.regions[usize::from(at)].taken.get(&from).copied().unwrap_or_default();
        let sender = &self.regions[usize::from(from)];
        let Some(message) = sender.sent.get(next).cloned() else { return false };
        let from_id = sender.id;
        let region = &mut self.regions[usize::from(at)];
        match message {
            Message::Beat(seen) => {
                region.has.raise(from_id, seen.of(from_id));
                drop(region.heard.insert(from_id, seen));
            }
            Message::Change(change) => {
                let mut has = region.has.clone();
                has.raise(region.id, region.last);
                if !has.covers(&change.context.seen) {
                    return false;
                }
                let hlc = change.context.stamp.hlc;
                region.has.raise(from_id, hlc);
                region.clock = region.clock.max(hlc.as_u64());
                region.apply(change);
            }
        }
        region.taken.insert(from, next + 1);
        true
    }

    /// Every region gets everything.
    pub(crate) fn exchange(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for at in 0..REGIONS {
                for from in 0..REGIONS {
                    while self.take(at, from) {
                        moved = true;
                    }
                }
            }
        }
    }

    /// Every region gets everything, and hears from all that they have.
    pub(crate) fn settle(&mut self) {
        self.exchange();
        for at in 0..REGIONS {
            self.step(&Step::Store { at });
            self.step(&Step::Beat { at });
        }
        self.exchange();
    }

    /// All changes there are, in the order of their stamps.
    pub(crate) fn all(&self) -> Vec<Change<i64>> {
        Self::changes_of(&self.regions)
    }

    /// The changes that one of these regions has, in the order of their stamps.
    pub(crate) fn changes_of(regions: &[Region]) -> Vec<Change<i64>> {
        let all = regions.iter().flat_map(|region| &region.changes);
        let all: BTreeMap<Stamp, _> = all.map(|change| (change.context.stamp, change.clone())).collect();
        all.into_values().collect()
    }
}

/// The conflicts among changes, written down anew: every pair of which neither knew the other.
pub(crate) fn conflicts(changes: &[Change<i64>]) -> BTreeSet<(Option<u16>, Stamp, Stamp)> {
    let mut found = BTreeSet::new();
    for a in changes {
        for b in changes.iter().filter(|b| b.context.is_concurrent_with(&a.context)) {
            let (winner, loser) = (a.context.stamp, b.context.stamp);
            match (&a.kind, &b.kind) {
                (Kind::Put(_), Kind::Delete) => drop(found.insert((None, winner, loser))),
                (Kind::Put(won), Kind::Put(lost)) if winner > loser => {
                    let both = won.iter().flat_map(|won| lost.iter().map(move |lost| (won, lost)));
                    for (won, lost) in both.filter(|(won, lost)| won.0 == lost.0) {
                        let told = matches!(won.0, 0 | 6) && won.1 != lost.1 || won.0 == 7;
                        if told {
                            found.insert((Some(won.0), winner, loser));
                        }
                    }
                }
                _ => {}
            }
        }
    }
    found
}
