//! The task that keeps a node's part: it follows, asks the core, carries out, and registers again.

use super::record::{About, Keys, decode_claim, decode_plan, decode_ready};
use super::{RETRY, Shared, carry, register};
use crate::mirror::Mirror;
use crate::{Change, Entry, MemberEvent, Result, Roster};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tw_plan::ownership::{Act, Outcome};
use tw_plan::placement::Unit;
use tw_types::NodeId;

/// See the module's text.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    keys: Arc<Keys>,
    roster: Roster,
    placement: Mirror,
    leaving: watch::Receiver<bool>,
    kept: BTreeSet<Unit>,
    /// What is to be carried out, when there is room.
    waiting: VecDeque<(Unit, Act)>,
}

/// What has happened.
enum News {
    Members(Result<MemberEvent>),
    Placement(Result<Vec<Change>>),
    Done(Unit, Outcome),
    LeaseLost,
    Registered(bool),
    Leaving,
    Time,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self> {
        let keys = Arc::new(Keys::new()?);
        let placement = Mirror::new(shared.coordination.clone(), keys.root.below());
        let roster = shared.members.watch();
        let leaving = shared.leaving.subscribe();
        let (kept, waiting) = (BTreeSet::new(), VecDeque::new());
        Ok(Self { shared, keys, roster, placement, leaving, kept, waiting })
    }

    pub(super) async fn run(mut self) {
        let time = self.shared.coordination.time();
        let mut acts = FuturesUnordered::new();
        let mut registering = FuturesUnordered::new();
        let mut is_registered = true;
        let mut is_leaving = false;
        loop {
            let wake = self.step();
            while acts.len() < self.shared.options.acts_max as usize
                && let Some((unit, act)) = self.waiting.pop_front()
            {
                acts.push(carry::carry_out(self.shared.clone(), self.keys.clone(), unit, act));
            }
            if is_leaving && acts.is_empty() && self.shared.known.read().core.is_idle() {
                self.shared.ended.send_replace(true);
                return;
            }
            let lease = self.shared.known.read().lease();
            let news = tokio::select! {
                biased;
                () = lease.lost(), if is_registered => News::LeaseLost,
                Some((unit, outcome)) = acts.next() => News::Done(unit, outcome),
                Some(again) = registering.next() => News::Registered(again),
                event = self.roster.next() => News::Members(event),
                changes = self.placement.next() => News::Placement(changes),
                _ = self.leaving.changed(), if !is_leaving => News::Leaving,
                () = time.sleep_until_any(wake) => News::Time,
            };
            match news {
                News::LeaseLost => {
                    tracing::warn!(node = %self.shared.node, "the lease is lost: nothing is written until the node is registered again");
                    is_registered = false;
                    self.shared.with(|known| known.core.lost());
                }
                News::Registered(again) => is_registered = again,
                News::Done(unit, outcome) => {
                    let now_ms = self.shared.now_ms();
                    self.shared.with(|known| known.core.done(&unit, outcome, now_ms));
                }
                News::Members(Ok(_)) => self.take_members(),
                News::Placement(Ok(changes)) => self.take(&changes),
                News::Members(Err(error)) | News::Placement(Err(error)) => {
                    tracing::warn!(%error, "the cluster cannot be followed");
                    time.sleep_until(time.now() + RETRY).await;
                }
                News::Leaving => {
                    is_leaving = true;
                    self.shared.with(|known| known.core.leave());
                }
                News::Time => {}
            }
            if !is_registered && !is_leaving && registering.is_empty() {
                // Beside everything else: what was held is shut meanwhile.
                registering.push(register_again(self.shared.clone()));
            }
        }
    }

    /// Asks the core what to do, and keeps warm what is to be; says when to look again.
    fn step(&mut self) -> Option<Duration> {
        let now_ms = self.shared.now_ms();
        let options = &self.shared.options;
        let (acts, kept, awaited, retry_at_ms) = {
            let mut known = self.shared.known.write();
            let awaited = known.core.awaited();
            for unit in awaited.iter().filter(|unit| self.shared.units.is_warm(unit)) {
                known.core.warm(unit, true);
            }
            let acts = known.core.step(now_ms);
            (acts, known.core.kept(), known.core.awaited(), known.core.retry_at_ms())
        };
        if !acts.is_empty() {
            self.shared.changed.send_modify(|changes| *changes += 1);
        }
        self.waiting.extend(acts);
        if kept != self.kept {
            self.shared.units.keep(&kept);
            self.kept = kept;
        }
        let poll = (!awaited.is_empty()).then(|| now_ms + options.warm_poll_ms);
        let at_ms = [poll, retry_at_ms.map(|at_ms| at_ms.max(now_ms + 1))].into_iter().flatten().min();
        at_ms.map(Duration::from_millis)
    }

    fn take_members(&self) {
        let members = self.roster.members().clone();
        let alive: BTreeMap<NodeId, u64> = members
            .iter()
            .filter_map(|(node, member)| Some((NodeId::new(node).ok()?, member.epoch.0)))
            .collect();
        let me = members.get(self.shared.node.as_str()).map(|me| me.standing);
        self.shared.with(|known| {
            known.members = members;
            known.standing = me.unwrap_or(known.standing);
            let broken = known.witness.members(self.roster.revision().0, &alive);
            known.note_broken(broken);
            known.core.members(alive);
        });
        // Others may have ended the registration: sooner told than found out at the next renewal.
        let known = self.shared.known.read();
        let incarnation = known.core.me().incarnation;
        let is_registered =
            known.members.get(self.shared.node.as_str()).is_some_and(|me| me.epoch.0 == incarnation);
        if !is_registered && self.roster.revision().0 >= incarnation {
            known.membership.lease().lose();
        }
    }

    fn take(&self, changes: &[Change]) {
        self.shared.with(|known| {
            for change in changes {
                let entry = match change {
                    Change::Put(entry) => Some(entry),
                    Change::Delete { .. } => None,
                };
                match self.keys.about(change.key()) {
                    Some(About::Plan) => {
                        if let Some(plan) = entry.and_then(|entry| read(entry, decode_plan)) {
                            known.core.planned(Arc::new(plan));
                        }
                    }
                    Some(About::Claim(unit)) => {
                        let claim = entry.and_then(|entry| read(entry, decode_claim));
                        let broken = known.witness.claimed(&unit, claim.as_ref()).err();
                        known.note_broken(broken);
                        known.core.claimed(&unit, claim);
                    }
                    Some(About::Ready(unit)) => {
                        known.core.ready(&unit, entry.and_then(|entry| read(entry, decode_ready)));
                    }
                    Some(About::Rebalance) => known.asked = entry.map(|entry| entry.modified),
                    None => {}
                }
            }
        });
    }
}

/// Tries to register again after the lease was lost.
async fn register_again(shared: Arc<Shared>) -> bool {
    let Shared { coordination, members, registration, options, .. } = &*shared;
    let limit = Duration::from_millis(options.lease.ttl_ms);
    let time = coordination.time();
    let standing = shared.known.read().standing;
    let again = tokio::select! {
        again = register(coordination, members, registration, standing, options) => again,
        () = time.sleep_until(time.now() + limit) => return false,
    };
    match again {
        Ok(membership) => {
            let incarnation = membership.epoch().0;
            tracing::info!(node = %shared.node, incarnation, "the node is registered again");
            shared.with(|known| {
                known.membership = membership;
                known.core.registered(incarnation, &registration.writer);
            });
            true
        }
        Err(error) => {
            tracing::warn!(%error, "the node cannot be registered again yet");
            time.sleep_until(time.now() + RETRY).await;
            false
        }
    }
}

/// What cannot be understood is passed over, and stays as it was known.
fn read<T>(entry: &Entry, decode: impl FnOnce(&Entry) -> Result<T>) -> Option<T> {
    decode(entry).inspect_err(|error| tracing::warn!("{error}: passed over")).ok()
}
