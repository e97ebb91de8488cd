//! One process of a node: a shell around its cores. `(state, input, its own clocks) -> effects`; it does nothing by itself.
//!
//! It does what the shell in `tw-cluster` does, with the same keys, guards and order, and what the documentation of
//! [`tw_plan::ownership::Act`] demands of whoever carries acts out.

mod carry;
mod detect;
mod follow;
mod lead;
mod register;
mod witness;
mod write;

use crate::coordination::{Reply, Request};
use crate::defect::Defect;
use crate::log::{LogReply, LogRequest};
use crate::random::Random;
use crate::stored::Keys;
use carry::Opening;
use detect::Detector;
use follow::Mirror;
use lead::Lead;
use register::{Held, Stage};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tw_cluster::{Key, LeaseId, Revision};
use tw_plan::ownership::invariants::Broken;
use tw_plan::ownership::{Claim, Ownership};
use tw_plan::placement::{self, Plan, Unit};
use tw_types::NodeId;
use witness::{Asked, Watching};
use write::Writing;

/// What the nodes of one cluster have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) keys: Keys,
    /// Every unit that there is, and its load.
    pub(crate) units: BTreeMap<Unit, u32>,
    pub(crate) ttl_ms: u64,
    /// Whether a node looks at its clock before it takes an append. What it does if not must be safe as well.
    pub(crate) looks_at_the_clock: bool,
    /// Whether a process writes under another name in each of its incarnations. If not, others may fence it off although it has
    /// come back: then it ends, and is started again.
    pub(crate) renews_writer: bool,
    /// Whether nodes probe each other and evict the dead.
    pub(crate) detects: bool,
    pub(crate) placement: placement::Options,
    pub(crate) defect: Option<Defect>,
}

/// What happens to a process.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    Start,
    Answer(u64, Reply),
    /// A request has not been answered: nobody knows what came of it.
    TimedOut(u64),
    Log(LogReply),
    Time(Timer),
    /// A process of another node asks for a sign of life.
    Probed {
        by: u64,
        id: u64,
    },
    /// What came of a question of this kind: an answer, or nobody listens.
    ProbeAnswered {
        id: u64,
        is_refused: bool,
    },
    /// The operator ends it.
    Leave,
}

/// What a process waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Look at the lease; the number of the look, of which only the last counts.
    Lease(u64),
    Register,
    /// Ask the core again, likewise.
    Wake(u64),
    Append,
    /// What was taken is sent.
    Send,
    Warm(Unit),
    Review,
    /// Look whether anybody is dead; of the numbers, only the last counts.
    Detect(u64),
    /// A question for a sign of life has not been answered.
    ProbeLimit(u64),
    /// See which units nobody has.
    Look,
    /// It has taken too long to give everything up.
    LeaveAnyway,
}

/// What a process does.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Asks coordination, and waits so long for the answer.
    Ask {
        id: u64,
        request: Request,
        limit_us: u64,
    },
    AskLog(LogRequest),
    /// Asks another node for a sign of life.
    Probe {
        id: u64,
        node: NodeId,
    },
    /// Gives one.
    AnswerProbe {
        to: u64,
        id: u64,
    },
    /// So long by its own clock.
    After(u64, Timer),
    /// It ends, and is started again or not.
    Exit {
        again: bool,
    },
    Saw(Saw),
}

/// What the invariants are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Saw {
    Registered {
        incarnation: u64,
    },
    LostLease,
    /// The unit takes writes from now on, after everything before `end`.
    Opened {
        unit: Unit,
        epoch: u64,
        end: u64,
    },
    /// The unit, which is open in this epoch, is about to be shut; whether the plan, as it is known here, has it elsewhere.
    Shutting {
        unit: Unit,
        epoch: u64,
        is_planned_here: bool,
    },
    Shut {
        unit: Unit,
    },
    /// The unit is about to be given away.
    Offers {
        unit: Unit,
    },
    Acknowledged {
        unit: Unit,
        offset: u64,
    },
    /// The units that nobody has, as far as is known here.
    Unowned(BTreeSet<Unit>),
    Planned {
        version: u64,
    },
    /// The node has found that promises are broken.
    Broken(Vec<Broken>),
    /// A node's registration is ended.
    Evicts {
        node: NodeId,
        incarnation: u64,
    },
}

/// The moment of an input, on the node's own clocks, and what all nodes know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub(crate) local_us: u64,
    pub(crate) wall_ms: u64,
    pub(crate) shared: &'a Shared,
}

impl Moment<'_> {
    fn local_ms(&self) -> u64 {
        self.local_us / 1000
    }

    fn has(&self, defect: Defect) -> bool {
        self.shared.defect == Some(defect)
    }
}

/// A registered node, as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) incarnation: u64,
    pub(crate) writer: String,
    pub(crate) drains: bool,
    pub(crate) lease: Option<LeaseId>,
}

/// What a request was for.
#[derive(Debug, Clone)]
enum Purpose {
    Grant {
        sent_us: u64,
    },
    Join,
    Renew {
        sent_us: u64,
    },
    /// Ends the registration that a process of this node left behind.
    Evict,
    GiveUp,
    Tell,
    /// Gives everything up and ends.
    Leave,
    Watch(usize),
    Read(usize),
    /// What is stored about a unit, if it is a claim.
    Act {
        unit: Unit,
        claim: Option<Claim>,
    },
    Stand(Key),
    ReadPlan,
    StorePlan(Plan),
    /// Looks whether the promises are kept: at the claims, then at the members.
    LookAtClaims(Asked),
    LookAtMembers(Asked),
}

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its number, which no other process has.
    pub(crate) number: u64,
    pub(crate) node: NodeId,
    pub(crate) writer: String,
    /// How many names it has had as a writer.
    names: u64,
    random: Random,
    stage: Stage,
    lease: Option<Held>,
    lease_looks: u64,
    core: Ownership,
    incarnation: u64,
    is_leaving: bool,
    is_unregistering: bool,
    requests: u64,
    purposes: BTreeMap<u64, Purpose>,
    mirrors: Vec<Mirror>,
    members: BTreeMap<NodeId, Member>,
    places: BTreeMap<Key, (Revision, NodeId)>,
    detector: Detector,
    lead: Lead,
    kept: BTreeSet<Unit>,
    kept_is_old: bool,
    wakes: u64,
    wakes_at_ms: Option<u64>,
    opening: BTreeMap<Unit, Opening>,
    shutting: BTreeSet<Unit>,
    writing: BTreeMap<Unit, Writing>,
    outbox: VecDeque<crate::log::Append>,
    watching: Watching,
}

type Effects = Vec<Effect>;

impl Process {
    pub(crate) fn new(number: u64, node: NodeId, mut random: Random, keys: &Keys) -> Self {
        let writer = format!("{node}-{number}");
        let detector = Detector::new(node.clone());
        let core = Ownership::new(register::holder(&node, 0, &writer));
        Self {
            number,
            node,
            writer,
            names: 0,
            random: random.fork(),
            stage: Stage::Out,
            lease: None,
            lease_looks: 0,
            core,
            incarnation: 0,
            is_leaving: false,
            is_unregistering: false,
            requests: 0,
            purposes: BTreeMap::new(),
            mirrors: keys.ranges().into_iter().map(Mirror::new).collect(),
            members: BTreeMap::new(),
            places: BTreeMap::new(),
            detector,
            lead: Lead::default(),
            kept: BTreeSet::new(),
            kept_is_old: true,
            wakes: 0,
            wakes_at_ms: None,
            opening: BTreeMap::new(),
            shutting: BTreeSet::new(),
            writing: BTreeMap::new(),
            outbox: VecDeque::new(),
            watching: Watching::default(),
        }
    }

    pub(crate) fn core(&self) -> &Ownership {
        &self.core
    }

    pub(crate) fn leads(&self) -> bool {
        self.leader() == Some(&self.node)
    }

    pub(crate) fn is_registered(&self) -> bool {
        matches!(self.stage, Stage::In)
    }

    /// Whether nothing is under way here that has to end one day.
    pub(crate) fn is_quiet(&self) -> bool {
        let acts = |purpose: &Purpose| matches!(purpose, Purpose::Act { .. } | Purpose::StorePlan(_));
        self.opening.is_empty() && self.shutting.is_empty() && !self.purposes.values().any(acts)
    }

    /// Whether an input tells a reader of the trace something.
    pub(crate) fn is_telling(&self, input: &Input) -> bool {
        match input {
            // What it waited for in vain.
            Input::TimedOut(id) => {
                let waits = |purpose: &Purpose| !matches!(purpose, Purpose::Watch(_));
                self.purposes.get(id).is_some_and(waits)
            }
            Input::Start | Input::Leave => true,
            Input::Log(reply) => !matches!(reply, LogReply::Appended { .. }),
            Input::Answer(..) | Input::Time(_) | Input::Probed { .. } | Input::ProbeAnswered { .. } => false,
        }
    }

    /// Takes an input.
    pub(crate) fn handle(&mut self, input: Input, at: Moment<'_>, out: &mut Effects) {
        match input {
            Input::Start => self.start(at, out),
            Input::Answer(id, reply) => {
                if let Some(purpose) = self.purposes.remove(&id) {
                    self.answered(purpose, Some(reply), at, out);
                }
            }
            Input::TimedOut(id) => {
                if let Some(purpose) = self.purposes.remove(&id) {
                    self.answered(purpose, None, at, out);
                }
            }
            Input::Log(reply) => self.log_answered(reply, at, out),
            Input::Time(timer) => self.time(timer, at, out),
            Input::Probed { by, id } => out.push(Effect::AnswerProbe { to: by, id }),
            Input::ProbeAnswered { id, is_refused } => self.probe_answered(id, is_refused, at, out),
            Input::Leave => self.leave(out),
        }
        self.step(at, out);
    }

    fn start(&mut self, at: Moment<'_>, out: &mut Effects) {
        self.register(at, out);
        out.push(Effect::After(self.random.within(1_000, 100_000), Timer::Review));
        out.push(Effect::After(self.random.within(1_000, 50_000), Timer::Append));
        out.push(Effect::After(500_000, Timer::Look));
    }

    fn time(&mut self, timer: Timer, at: Moment<'_>, out: &mut Effects) {
        match timer {
            Timer::Lease(look) if look == self.lease_looks => self.look_at_lease(at, out),
            Timer::Wake(wake) if wake == self.wakes => self.wakes_at_ms = None,
            Timer::Lease(_) | Timer::Wake(_) => {}
            Timer::Register => self.register(at, out),
            Timer::Append => self.take_appends(at, out),
            Timer::Send => {
                let append = self.outbox.pop_front();
                out.extend(append.map(|append| Effect::AskLog(LogRequest::Append(append))));
            }
            Timer::Warm(unit) => {
                if self.kept.contains(&unit) {
                    self.core.warm(&unit, true);
                }
            }
            Timer::Review => self.review(at, out),
            Timer::Detect(number) => self.detect_at(number, at, out),
            Timer::ProbeLimit(id) => self.probe_silent(id, at, out),
            Timer::Look => {
                out.push(Effect::Saw(Saw::Unowned(self.told_unowned(at))));
                self.watch_promises(at, out);
                out.push(Effect::After(500_000, Timer::Look));
            }
            Timer::LeaveAnyway => self.unregister(out),
        }
    }

    /// The units that this node says nobody has.
    fn told_unowned(&mut self, at: Moment<'_>) -> BTreeSet<Unit> {
        match at.has(Defect::TellsNoUnownedUnits) {
            true => BTreeSet::new(),
            false => self.core.unowned(at.local_ms()).into_keys().collect(),
        }
    }

    /// Nothing, for a request that was not answered.
    fn answered(&mut self, purpose: Purpose, reply: Option<Reply>, at: Moment<'_>, out: &mut Effects) {
        match purpose {
            Purpose::Grant { sent_us } => self.granted(sent_us, reply, at, out),
            Purpose::Join => self.joined(reply, at, out),
            Purpose::Renew { sent_us } => self.renewed(sent_us, reply, at, out),
            Purpose::Evict => self.join(at, out),
            Purpose::GiveUp => {}
            Purpose::Tell => self.suspects_told(reply.as_ref()),
            Purpose::Leave => out.push(Effect::Exit { again: false }),
            Purpose::Watch(number) => self.watched(number, reply, at, out),
            Purpose::Read(number) => self.read(number, reply, at, out),
            Purpose::Act { unit, claim } => self.acted(&unit, claim, reply, at),
            Purpose::Stand(key) => self.stood(key, reply),
            Purpose::ReadPlan => self.plan_read(reply),
            Purpose::StorePlan(plan) => self.plan_stored(plan, reply, out),
            Purpose::LookAtClaims(asked) => self.claims_seen(asked, reply, at, out),
            Purpose::LookAtMembers(asked) => self.members_seen(asked, reply, at),
        }
    }

    fn ask(&mut self, purpose: Purpose, request: Request, limit_us: u64, out: &mut Effects) {
        self.requests += 1;
        self.purposes.insert(self.requests, purpose);
        out.push(Effect::Ask { id: self.requests, request, limit_us });
    }

    /// Asks, and takes it for lost after one to two seconds.
    fn ask_for(&mut self, purpose: Purpose, request: Request, out: &mut Effects) {
        let limit_us = self.random.within(1_000_000, 2_000_000);
        self.ask(purpose, request, limit_us, out);
    }

    fn lease_id(&self) -> Option<LeaseId> {
        self.lease.as_ref().map(|held| held.id)
    }
}
