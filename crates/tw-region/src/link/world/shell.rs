//! What the shell of a region does: it carries inputs and actions between the cores, the log and the connections.

use super::region::{Line, Region};
use super::{Broken, Met, Random, Truth};
use crate::link::inbound::{self, BlockId, Offer};
use crate::link::outbound::{self, Outbound, SeenHistory};
use crate::link::wire::{Block, Credit, Frame, Have, Hello, Pull};
use bytes::Bytes;
use tw_types::RegionId;

impl Region {
    pub(super) fn greet(&mut self, hello: &Hello, of: RegionId, now_ms: u64) {
        let local_ms = self.local_ms(now_ms);
        let agreed = self.local().agree(hello, hello.region, local_ms, 10_000).unwrap();
        let is_own = hello.region == of;
        let agreed = if is_own { agreed } else { agreed.relays(of, Some(hello.epoch)).unwrap() };
        self.step(inbound::Input::Connected(agreed), now_ms).unwrap();
    }

    pub(super) fn accept(&mut self, hello: &Hello, of: RegionId, now_ms: u64) {
        let (local, local_ms) = (self.local(), self.local_ms(now_ms));
        let agreed = local.agree(hello, hello.region, local_ms, 10_000).unwrap();
        let parts = self.marks.keys().filter(|(region, _)| *region == self.id);
        let ends = parts.map(|(_, part)| (self.at(*part), self.ends(*part))).collect();
        let line = (hello.region, of);
        let outbound = if of == self.id {
            Outbound::start(self.id, local.epoch, &local.streams, &agreed, ends)
        } else {
            let ends = self.inbound.relay(of, local_ms).ends;
            self.told.insert(line, ends.clone());
            Outbound::start(of, local.epoch, &local.streams, &agreed, ends).relays()
        };
        self.looks.retain(|(to, ..)| *to != line);
        self.out_of_outbound.remove(&line);
        self.outbounds.insert(line, outbound);
    }

    pub(super) fn disconnected(&mut self, peer: RegionId, now_ms: u64) {
        self.step(inbound::Input::Disconnected { peer }, now_ms).unwrap();
        self.out_of_inbound.remove(&peer);
    }

    /// Everything that takes time: appends, looks into the log, heartbeats.
    pub(super) fn work(
        &mut self,
        truth: &mut Truth,
        random: &mut Random,
        now_ms: u64,
        is_calm: bool,
        met: &mut Met,
    ) -> Result<(), Broken> {
        if random.one_in(2)
            && let Some(append) = self.append.take()
        {
            let batch = append.batch;
            if !is_calm && random.one_in(30) {
                *met.entry("append failed").or_default() += 1;
                self.step(inbound::Input::AppendFailed { batch, refused: None }, now_ms)?;
            } else {
                self.commit(&append, truth, now_ms, met)?;
                self.step(inbound::Input::Appended { batch }, now_ms)?;
            }
        }
        while !random.one_in(10)
            && let Some((line, at, look, after)) = self.looks.pop_front()
        {
            let (found, named_hlc) = self.find(truth, line, at, after);
            self.step_outbound(line, outbound::Input::Found { at, look, found, named_hlc }, truth);
        }
        for line in self.outbounds.keys().copied().collect::<Vec<_>>() {
            if random.one_in(4) && line.1 != self.id {
                self.beat_relayed(line, now_ms, truth);
            } else if random.one_in(4) && line.1 == self.id {
                let until = self.clock.take(self.local_ms(now_ms), 1);
                let (now_ms, seen) = (self.local_ms(now_ms), self.inbound.seen());
                self.step_outbound(line, outbound::Input::Beat { now_ms, until, seen }, truth);
            }
        }
        if self.inbound.wake_at_ms(self.local_ms(now_ms)).is_some_and(|at| at <= self.local_ms(now_ms)) {
            self.step(inbound::Input::Tick, now_ms)?;
        }
        if self.inbound.status(self.local_ms(now_ms)).peers.iter().any(|peer| peer.quarantine.is_some()) {
            *met.entry("quarantine").or_default() += 1;
        }
        Ok(())
    }

    /// What whoever relays a region has to say of it.
    fn beat_relayed(&mut self, line: Line, now_ms: u64, truth: &Truth) {
        let local_ms = self.local_ms(now_ms);
        let relay = self.inbound.relay(line.1, local_ms);
        let announced = relay.announced.into_iter().collect();
        self.step_outbound(line, outbound::Input::Upstream { relayed: relay.relayed, announced }, truth);
        for (at, ends) in relay.ends {
            let told = self.told.entry(line).or_default();
            if told.get(&at) != Some(&ends) {
                told.insert(at, ends.clone());
                self.step_outbound(line, outbound::Input::Grew { at, ends, block: None }, truth);
            }
        }
        let now_ms = local_ms.saturating_add_signed(relay.ahead_ms);
        let until = if self.rules.promises_too_much { self.clock.take(local_ms, 1) } else { relay.until };
        self.step_outbound(line, outbound::Input::Beat { now_ms, until, seen: relay.told }, truth);
    }

    pub(super) fn take_down(
        &mut self,
        from: RegionId,
        frame: Frame,
        truth: &Truth,
        now_ms: u64,
    ) -> Result<(), Broken> {
        match frame {
            Frame::Block(block) => {
                let event = u64::from_le_bytes(block.bytes[..8].try_into().unwrap()) as usize;
                let span = truth.events[event].span;
                self.blocks += 1;
                let number = BlockId(self.blocks);
                self.held.insert(number, event);
                let offer = Offer {
                    block: number,
                    stream: block.stream,
                    partition: block.partition,
                    first: span.first(),
                    count: span.count(),
                    first_hlc: span.first_hlc(),
                    bytes: block.bytes.len() as u64,
                    next_hlc: block.next_hlc,
                    seen: block.seen,
                };
                self.step(inbound::Input::Block { peer: from, offer }, now_ms)?;
                let held: u64 = self.held.values().map(|event| truth.events[*event].bytes).sum();
                let peers = self.inbound.status(now_ms).peers;
                let told: u64 = peers.iter().map(|peer| peer.held_bytes).sum();
                let is_within = peers.iter().all(|peer| peer.held_bytes < (64 << 10) + 150_000);
                if held != told || !is_within {
                    return Err(format!("window: {held} bytes are held, and {told} said"));
                }
                Ok(())
            }
            Frame::Passed(passed) => self.step(inbound::Input::Passed { peer: from, passed }, now_ms),
            Frame::Heartbeat(heartbeat) => {
                self.step(inbound::Input::Heartbeat { peer: from, heartbeat }, now_ms)?;
                let have = Have { now_ms, latest: self.inbound.latest() };
                self.out_of_inbound.entry(from).or_default().push(Frame::Have(have));
                Ok(())
            }
            other => Err(format!("protocol: {other:?} comes down")),
        }
    }

    pub(super) fn take_up(&mut self, line: Line, frame: Frame, truth: &Truth) -> Result<(), Broken> {
        let input = match frame {
            Frame::Pull(pull) => outbound::Input::Pull(pull),
            Frame::Credit(credit) => outbound::Input::Credit(credit.bytes),
            Frame::Have(have) => outbound::Input::Have(have),
            other => return Err(format!("protocol: {other:?} comes up")),
        };
        self.step_outbound(line, input, truth);
        Ok(())
    }

    fn step(&mut self, input: inbound::Input, now_ms: u64) -> Result<(), Broken> {
        let (mut actions, local_ms) = (Vec::new(), self.local_ms(now_ms));
        self.inbound.step(input, &mut self.clock, local_ms, &mut actions);
        for action in actions {
            match action {
                inbound::Action::Pull { peer, entries } => {
                    self.out_of_inbound.entry(peer).or_default().push(Frame::Pull(Pull { entries }));
                }
                inbound::Action::Credit { peer, bytes } => {
                    self.out_of_inbound.entry(peer).or_default().push(Frame::Credit(Credit { bytes }));
                }
                inbound::Action::Append(append) if self.append.is_none() => self.append = Some(append),
                inbound::Action::Drop { block } => {
                    self.held.remove(&block).ok_or("drops: a block is dropped twice")?;
                }
                inbound::Action::Quarantined { .. } | inbound::Action::Released { .. } => {}
                other => return Err(format!("trouble: region {} does {other:?}", self.id)),
            }
        }
        Ok(())
    }

    pub(super) fn step_outbound(&mut self, line: Line, input: outbound::Input, truth: &Truth) {
        let mut actions = Vec::new();
        let Some(outbound) = self.outbounds.get_mut(&line) else { return };
        let none = SeenHistory::new(1, true);
        let is_own = line.1 == self.id || self.rules.tells_of_itself;
        let history = if is_own { &self.history } else { truth.seen.get(&line.1).unwrap_or(&none) };
        outbound.step(input, history, &mut actions);
        let frames = self.out_of_outbound.entry(line).or_default();
        for action in actions {
            frames.push(match action {
                outbound::Action::Look { at, look, after, .. } => {
                    self.looks.push_back((line, at, look, after));
                    continue;
                }
                outbound::Action::Send { at, stream, found, next_hlc, seen } => {
                    let mut bytes = found.token.to_le_bytes().to_vec();
                    bytes.resize(found.bytes as usize, 0);
                    let bytes = Bytes::from(bytes);
                    Frame::Block(Block { stream, partition: at.partition, next_hlc, seen, bytes })
                }
                outbound::Action::Passed(passed) => Frame::Passed(passed),
                outbound::Action::Heartbeat(heartbeat) => Frame::Heartbeat(heartbeat),
                outbound::Action::Refuse(refuse) => Frame::Refuse(refuse),
            });
        }
    }
}
