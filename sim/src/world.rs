//! The world: simulated time, machines, messages on their way, and the invariants that watch.

mod faults;
mod observe;
mod probes;

use crate::Tally;
use crate::clock::Clock;
use crate::coordination::{Reply, Request, Server};
use crate::invariants::{Checked, Invariants, healed};
use crate::log::{Log, LogReply, LogRequest};
use crate::network::Network;
use crate::node::{Effect, Input, Moment, Process, Shared};
use crate::profile::{Fault, Profile};
use crate::random::Random;
use crate::trace::Trace;
use observe::Takeover;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use tw_types::NodeId;

/// What is about to happen.
#[derive(Debug)]
enum Event {
    /// Something reaches a process: a message, or its own timer.
    Input {
        node: usize,
        process: u64,
        input: Input,
    },
    /// A request reaches coordination.
    Request {
        node: usize,
        process: u64,
        id: u64,
        request: Request,
    },
    /// A request reaches the log.
    LogRequest {
        node: usize,
        process: u64,
        request: LogRequest,
    },
    /// A question for a sign of life reaches a machine.
    Probe {
        node: usize,
        by: u64,
        id: u64,
    },
    /// A lease may end.
    Expire,
    /// A machine starts a process, unless one runs.
    Boot(usize),
    Fault(Fault),
    /// A fault is over.
    Over(Over),
    Calm,
}

#[derive(Debug)]
enum Over {
    Pause(usize),
    Cut(usize),
    Alone(usize),
    Loss,
    Slow,
    SlowLog,
    LateStores,
    Twice,
    Outage,
}

/// A machine.
#[derive(Debug)]
struct Machine {
    node: NodeId,
    clock: Clock,
    process: Option<Process>,
    incarnation: Option<u64>,
    /// Whether it is gone as a whole.
    is_off: bool,
    /// Until when it stands still, and what has arrived meanwhile.
    paused_until_us: Option<u64>,
    backlog: Vec<Input>,
    /// The log gets its requests in order, and it gets the answers in order.
    log_busy_us: (u64, u64),
    /// Since when it has been in touch with coordination.
    in_touch_us: u64,
}

/// See the module's text.
pub(crate) struct World {
    now_us: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    /// What the numbers in `events` stand for.
    pending: BTreeMap<u64, Event>,
    sequence: u64,
    random: Random,
    shared: Shared,
    machines: Vec<Machine>,
    /// Which machine runs a process.
    processes: BTreeMap<u64, usize>,
    server: Server,
    expires_us: Option<u64>,
    log: Log,
    network: Network,
    invariants: Invariants,
    /// Whether a promise counts as broken only when a node says so, whatever is the case.
    nodes_judge: bool,
    is_calm: bool,
    calm_us: u64,
    healed_us: u64,
    pub(crate) tally: Tally,
    pub(crate) takeover: Takeover,
    pub(crate) trace: Trace,
}

impl World {
    pub(crate) fn new(profile: Profile, random: Random, trace: Trace) -> Self {
        let machine = |(node, clock): &(NodeId, Clock)| Machine {
            node: node.clone(),
            clock: *clock,
            process: None,
            incarnation: None,
            is_off: false,
            paused_until_us: None,
            backlog: Vec::new(),
            log_busy_us: (0, 0),
            in_touch_us: 0,
        };
        let machines: Vec<Machine> = profile.nodes.iter().map(machine).collect();
        let mut world = Self {
            now_us: 0,
            events: BinaryHeap::new(),
            pending: BTreeMap::new(),
            sequence: 0,
            random,
            shared: profile.shared,
            network: Network::new(machines.len()),
            machines,
            processes: BTreeMap::new(),
            server: Server::new(),
            expires_us: None,
            log: Log::default(),
            invariants: Invariants::default(),
            nodes_judge: profile.nodes_judge,
            is_calm: false,
            calm_us: profile.calm_us,
            healed_us: profile.healed_us,
            tally: Tally::default(),
            takeover: Takeover::default(),
            trace,
        };
        for (at_us, fault) in profile.faults {
            world.at(at_us, Event::Fault(fault));
        }
        for node in 0..world.machines.len() {
            let at_us = world.random.below(300_000);
            world.at(at_us, Event::Boot(node));
        }
        world.at(world.calm_us, Event::Calm);
        world
    }

    /// Lets everything happen, and looks whether it has healed.
    pub(crate) fn run(&mut self) -> Checked {
        while let Some(Reverse((at_us, sequence))) = self.events.pop() {
            if at_us > self.healed_us {
                break;
            }
            let Some(event) = self.pending.remove(&sequence) else { continue };
            self.now_us = at_us;
            self.tally.steps += 1;
            self.happens(event)?;
        }
        self.now_us = self.healed_us;
        let running = self.machines.iter().filter_map(|machine| {
            let process = machine.process.as_ref()?;
            Some((machine.node.clone(), (process, self.moment(machine))))
        });
        self.judged(healed::check(self.invariants.truth(), &running.collect(), &self.shared.units))
    }

    /// What is known here and to no node, unless the nodes are to find it.
    fn judged(&self, checked: Checked) -> Checked {
        if self.nodes_judge { Ok(()) } else { checked }
    }

    fn at(&mut self, at_us: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at_us, self.sequence)));
        self.pending.insert(self.sequence, event);
    }

    fn moment(&self, machine: &Machine) -> Moment<'_> {
        Moment {
            local_us: machine.clock.monotonic_us(self.now_us),
            wall_ms: machine.clock.wall_ms(self.now_us),
            shared: &self.shared,
        }
    }

    fn happens(&mut self, event: Event) -> Checked {
        match event {
            Event::Input { node, process, input } => self.input(node, process, input),
            Event::Request { node, process, id, request } => self.request(node, process, id, request),
            Event::LogRequest { node, process, request } => self.log_request(node, process, request),
            Event::Probe { node, by, id } => self.probed(node, by, id),
            Event::Expire => {
                self.expires_us = None;
                self.server.expire(self.now_us);
                self.changed(None)
            }
            Event::Boot(node) => self.boot(node),
            Event::Fault(fault) if !self.is_calm => self.fault(fault),
            Event::Fault(_) => Ok(()),
            Event::Over(over) => self.over(over),
            Event::Calm => self.calm(),
        }
    }

    fn boot(&mut self, node: usize) -> Checked {
        let machine = &mut self.machines[node];
        if machine.process.is_some() {
            return Ok(());
        }
        self.tally.processes += 1;
        let number = self.tally.processes;
        let process = Process::new(number, machine.node.clone(), self.random.fork(), &self.shared.keys);
        self.trace.say(self.now_us, || format!("{}-{number} starts", machine.node));
        machine.process = Some(process);
        machine.is_off = false;
        machine.log_busy_us = (self.now_us, self.now_us);
        machine.in_touch_us = self.now_us;
        self.processes.insert(number, node);
        self.input(node, number, Input::Start)
    }

    /// A process ends; what it has sent is on its way nevertheless.
    fn end(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        if let Some(process) = machine.process.take() {
            self.trace.say(self.now_us, || format!("{}-{} ends", machine.node, process.number));
            self.processes.remove(&process.number);
        }
        machine.incarnation = None;
        machine.paused_until_us = None;
        machine.backlog.clear();
    }

    fn input(&mut self, node: usize, number: u64, input: Input) -> Checked {
        let machine = &mut self.machines[node];
        if machine.process.as_ref().is_none_or(|process| process.number != number) {
            return Ok(());
        }
        if machine.paused_until_us.is_some() {
            machine.backlog.push(input);
            return Ok(());
        }
        let Some(mut process) = machine.process.take() else { return Ok(()) };
        if process.is_telling(&input) {
            self.trace.say(self.now_us, || format!("{}-{number} <- {input:?}", process.node));
        }
        let mut effects = Vec::new();
        process.handle(input, self.moment(&self.machines[node]), &mut effects);
        self.machines[node].process = Some(process);
        effects.into_iter().try_for_each(|effect| self.effect(node, number, effect))
    }

    fn effect(&mut self, node: usize, process: u64, effect: Effect) -> Checked {
        // It may have ended meanwhile.
        if !self.processes.contains_key(&process) {
            return Ok(());
        }
        match effect {
            Effect::Ask { id, request, limit_us } => {
                let input = Input::TimedOut(id);
                let limit_us = self.machines[node].clock.real_us(limit_us);
                self.at(self.now_us + limit_us, Event::Input { node, process, input });
                self.send(node, process, id, request);
            }
            Effect::AskLog(request) => {
                let delay_us = self.network.log_delay_us(&mut self.random);
                let at_us = (self.now_us + delay_us).max(self.machines[node].log_busy_us.0 + 1);
                self.machines[node].log_busy_us.0 = at_us;
                self.at(at_us, Event::LogRequest { node, process, request });
            }
            Effect::After(local_us, timer) => {
                let at_us = self.now_us + self.machines[node].clock.real_us(local_us);
                self.at(at_us, Event::Input { node, process, input: Input::Time(timer) });
            }
            Effect::Exit { again } => {
                self.end(node);
                if again || self.is_calm {
                    let at_us = self.now_us + self.random.within(100_000, 1_000_000);
                    self.at(at_us, Event::Boot(node));
                }
            }
            Effect::Probe { id, node: other } => self.probe(node, process, id, &other),
            Effect::AnswerProbe { to, id } => self.answer_probe(node, to, id, false),
            Effect::Saw(saw) => return self.saw(node, process, saw),
        }
        Ok(())
    }

    fn send(&mut self, node: usize, process: u64, id: u64, request: Request) {
        if let Request::Commit(transaction) = &request {
            self.trace.say(self.now_us, || {
                format!("{}-{process} asks {id}: {transaction:?}", self.machines[node].node)
            });
        }
        let copies = match request {
            Request::Commit(_) if self.network.is_twice && self.random.chance(200) => 2,
            _ => 1,
        };
        let late_us = match request {
            Request::Commit(_) => self.network.late_us(&mut self.random),
            _ => 0,
        };
        for _ in 0..copies {
            if !self.network.loses_request(node, &mut self.random) {
                let at_us = self.now_us + late_us + self.network.delay_us(&mut self.random);
                self.at(at_us, Event::Request { node, process, id, request: request.clone() });
            }
        }
    }

    fn request(&mut self, node: usize, process: u64, id: u64, request: Request) -> Checked {
        if self.server.is_away() {
            return Ok(());
        }
        let reply = self.server.answer(process, id, request, self.now_us);
        if let Some(reply) = reply {
            if !matches!(reply, Reply::Lease(_)) {
                self.trace.say(self.now_us, || format!("coordination to {process}: {id} {reply:?}"));
            }
            self.reply(process, id, reply);
        }
        self.changed(Some((node, process)))
    }

    fn reply(&mut self, process: u64, id: u64, reply: Reply) {
        let Some(node) = self.processes.get(&process).copied() else { return };
        if !self.network.loses_reply(node, &mut self.random) {
            let at_us = self.now_us + self.network.delay_us(&mut self.random);
            self.at(at_us, Event::Input { node, process, input: Input::Answer(id, reply) });
        }
    }

    fn log_request(&mut self, node: usize, process: u64, request: LogRequest) -> Checked {
        if let LogRequest::Append(append) = &request
            && !self.log.is_fenced(&append.writer)
        {
            self.judged(self.invariants.appends(append, &self.log))?;
        }
        let epoch = match &request {
            LogRequest::Append(append) => append.epoch,
            _ => 0,
        };
        let reply = self.log.answer(request);
        if let LogReply::Refused { unit, writer } = &reply {
            self.refused(node, process, unit, writer, epoch)?;
        }
        // The answers of a process that has ended reach nobody.
        if self.processes.get(&process) == Some(&node) {
            let delay_us = self.network.log_delay_us(&mut self.random);
            let at_us = (self.now_us + delay_us).max(self.machines[node].log_busy_us.1 + 1);
            self.machines[node].log_busy_us.1 = at_us;
            self.at(at_us, Event::Input { node, process, input: Input::Log(reply) });
        }
        Ok(())
    }
}
