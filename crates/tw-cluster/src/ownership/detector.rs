//! Failure detection, carried out: the shell around [`tw_plan::detection`]. It probes, tells whom this node suspects under the
//! node's lease, and ends the registrations that are to be ended.

use super::planner::ELECTION;
use super::{RETRY, Shared};
use crate::mirror::Mirror;
use crate::{
    BoxFuture, Change, Election, Key, LeaseId, Observer, Registration, Result, Transaction, Waiter, record,
};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tw_plan::detection::{Action, Detection, Probe, Suspects};
use tw_types::NodeId;

/// How a node asks others for a sign of life.
pub trait Prober: Send + Sync + 'static {
    /// Asks whoever is where a node is registered. Dropped when the answer takes too long.
    fn probe<'a>(&'a self, registration: &'a Registration) -> BoxFuture<'a, Sign>;
}

/// What came of asking a node for a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// An answer, whatever it says.
    Alive,
    /// The machine is there, and nobody listens: the connection was refused or reset.
    Refused,
    /// Nothing that says either.
    Silent,
}

/// See the module's text.
pub(super) struct Detector {
    shared: Arc<Shared>,
    prober: Arc<dyn Prober>,
    core: Detection,
    suspects: Key,
    votes: Mirror,
    leaders: Observer,
    /// Coordination is not asked again before.
    follow_at: Duration,
    /// The lease under which something was told.
    lease: LeaseId,
    is_telling: bool,
    /// What is to be told when what is being told has been.
    to_tell: Option<Suspects>,
    under_way: FuturesUnordered<BoxFuture<'static, News>>,
}

/// What has happened.
enum News {
    Votes(Result<Vec<Change>>),
    Leader(Result<Option<Waiter>>),
    Probed(NodeId, u64, Probe),
    Told(bool),
    Changed,
    Nothing,
}

impl Detector {
    pub(super) fn new(shared: Arc<Shared>, prober: Arc<dyn Prober>) -> Result<Self> {
        let core = Detection::new(shared.node.clone(), shared.options.detection.clone())?;
        let suspects = Key::new(["suspects"])?;
        let votes = Mirror::new(shared.coordination.clone(), suspects.below());
        let leaders = Election::new(shared.coordination.clone(), ELECTION)?.observe();
        let lease = shared.known.read().lease().id();
        let (follow_at, is_telling, to_tell) = (Duration::ZERO, false, None);
        let under_way = FuturesUnordered::new();
        Ok(Self {
            shared,
            prober,
            core,
            suspects,
            votes,
            leaders,
            follow_at,
            lease,
            is_telling,
            to_tell,
            under_way,
        })
    }

    pub(super) async fn run(mut self) {
        let time = self.shared.coordination.time();
        let mut changes = self.shared.changed.subscribe();
        self.take_members();
        loop {
            let wake = self.step();
            let follows = time.now() >= self.follow_at;
            let news = tokio::select! {
                Some(news) = self.under_way.next() => news,
                votes = self.votes.next(), if follows => News::Votes(votes),
                leader = self.leaders.next(), if follows => News::Leader(leader),
                _changed = changes.changed() => News::Changed,
                () = time.sleep_until(wake) => News::Nothing,
            };
            self.take(news);
        }
    }

    fn take(&mut self, news: News) {
        match news {
            News::Votes(Ok(changes)) => changes.iter().for_each(|change| self.take_vote(change)),
            News::Leader(Ok(leader)) => {
                self.core.leader(leader.and_then(|leader| NodeId::new(&leader.who).ok()));
            }
            News::Votes(Err(error)) | News::Leader(Err(error)) => {
                tracing::debug!(%error, "whom others suspect cannot be followed");
                self.follow_at = self.shared.coordination.time().now() + RETRY;
            }
            News::Probed(node, incarnation, probe) => self.probed(&node, incarnation, probe),
            News::Told(was_told) => {
                self.is_telling = false;
                match self.to_tell.take() {
                    Some(suspects) => self.tell(suspects),
                    None if was_told => {}
                    None => self.core.not_told(),
                }
            }
            News::Changed => self.take_members(),
            News::Nothing => {}
        }
    }

    fn probed(&mut self, node: &NodeId, incarnation: u64, probe: Probe) {
        self.core.probed(node, probe, self.shared.now_ms());
        if matches!(probe, Probe::Answered { .. }) {
            let known = {
                let mut reached = self.shared.reached.write();
                reached.evicted.remove(node.as_str());
                reached.answered.insert(node.to_string(), incarnation)
            };
            if known != Some(incarnation) {
                self.shared.changed.send_modify(|changes| *changes += 1);
            }
        }
    }

    fn take_members(&mut self) {
        let (members, lease): (BTreeMap<NodeId, u64>, LeaseId) = {
            let known = self.shared.known.read();
            let of =
                |(node, member): (&String, &crate::Member)| Some((NodeId::new(node).ok()?, member.epoch.0));
            (known.members.iter().filter_map(of).collect(), known.lease().id())
        };
        self.shared
            .reached
            .write()
            .answered
            .retain(|node, _| members.keys().any(|member| member.as_str() == node));
        self.core.members(members, self.shared.now_ms());
        if std::mem::replace(&mut self.lease, lease) != lease {
            // What was told went with the lease.
            self.core.not_told();
        }
    }

    fn take_vote(&mut self, change: &Change) {
        let Ok(voter) = NodeId::new(&change.key().name()) else { return };
        let suspects = match change {
            Change::Put(entry) => record::decode(entry).unwrap_or_else(|error| {
                tracing::warn!("{error}: passed over");
                Suspects::new()
            }),
            Change::Delete { .. } => Suspects::new(),
        };
        self.core.voted(&voter, suspects);
    }

    /// Asks the core what to do; says when to ask again.
    fn step(&mut self) -> Duration {
        let time = self.shared.coordination.time();
        // Who is not registered has no say.
        if !self.shared.known.read().membership.lease().is_held() {
            return time.now() + RETRY;
        }
        let now_ms = self.shared.now_ms();
        for action in self.core.step(now_ms) {
            match action {
                Action::Probe { node, limit_ms } => self.probe(node, Duration::from_millis(limit_ms)),
                Action::Tell(suspects) if self.is_telling => self.to_tell = Some(suspects),
                Action::Tell(suspects) => self.tell(suspects),
                Action::Evict { node, incarnation } => self.evict(&node, incarnation),
            }
        }
        Duration::from_millis(self.core.wake_at_ms(now_ms))
    }

    fn probe(&self, node: NodeId, limit: Duration) {
        let asked = {
            let known = self.shared.known.read();
            known.members.get(node.as_str()).map(|member| (member.epoch.0, member.registration.clone()))
        };
        let Some((incarnation, registration)) = asked else { return };
        let (prober, time) = (self.prober.clone(), self.shared.coordination.time());
        self.under_way.push(Box::pin(async move {
            let asked = time.now();
            let probe = tokio::select! {
                sign = prober.probe(&registration) => match sign {
                    Sign::Alive => {
                        let rtt_ms = u32::try_from((time.now() - asked).as_millis()).unwrap_or(u32::MAX);
                        Probe::Answered { rtt_ms }
                    }
                    Sign::Refused => Probe::Refused,
                    Sign::Silent => Probe::Silent,
                },
                () = time.sleep_until(asked + limit) => Probe::Silent,
            };
            News::Probed(node, incarnation, probe)
        }));
    }

    fn tell(&mut self, suspects: Suspects) {
        self.is_telling = true;
        let (shared, key) = (self.shared.clone(), self.suspects.clone());
        self.under_way.push(Box::pin(async move {
            let told = tell(&shared, &key, &suspects).await;
            if let Err(error) = &told {
                tracing::debug!(%error, "whom this node suspects was not told");
                let time = shared.coordination.time();
                time.sleep_until(time.now() + RETRY).await;
            }
            News::Told(told.is_ok())
        }));
    }

    fn evict(&self, node: &NodeId, incarnation: u64) {
        let lease = {
            let known = self.shared.known.read();
            let member = known.members.get(node.as_str());
            member.filter(|member| member.epoch.0 == incarnation).and_then(|member| member.lease)
        };
        let Some(lease) = lease else { return };
        self.shared.reached.write().evicted.insert(node.to_string());
        tracing::warn!(%node, incarnation, "most nodes get no answer from it: its registration is ended");
        let coordination = self.shared.coordination.clone();
        self.under_way.push(Box::pin(async move {
            if let Err(error) = coordination.revoke(lease).await {
                tracing::warn!(%error, "its registration was not ended");
            }
            News::Nothing
        }));
    }
}

/// Stores whom this node suspects, if it is registered still.
async fn tell(shared: &Shared, parent: &Key, suspects: &Suspects) -> Result<()> {
    let membership = shared.known.read().membership.clone();
    let key = parent.child(shared.node.as_str())?;
    let tell = Transaction::new().put_under(membership.lease().id(), &key, record::encode(&key, suspects)?);
    membership.commit(tell).await
}
