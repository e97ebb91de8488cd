//! What arrives: each partition's blocks in order, the first of them to the gate, and what a region says of time to all of them.

use super::super::wire::{Epochs, Heartbeat, Passed};
use super::peer::{Held, Item, Slot};
use super::{Action, Context, Inbound, Offer, Parked};
use tw_merge::Span;
use tw_merge::delivery::{Error, Head};
use tw_merge::received::{Offered, Received};
use tw_merge::skew::Verdict;
use tw_types::{Epoch, Hlc, Origin, RegionId, Sequence, StreamPartition};

/// The most blocks and gaps of one partition that wait. A window of the smallest blocks has fewer.
const ITEMS_MAX: usize = 1 << 20;

impl Inbound {
    pub(super) fn block(&mut self, region: RegionId, offer: Offer, cx: &mut Context<'_>) {
        let drop = Action::Drop { block: offer.block };
        let Some(peer) = self.peers.get_mut(&region) else { return cx.actions.push(drop) };
        let Some(link) = &mut peer.link else { return cx.actions.push(drop) };
        let Some(at) = link.partition(offer.stream, offer.partition) else {
            cx.actions.push(drop);
            let (stream, part) = (offer.stream, offer.partition);
            let reason = format!(
                "region `{region}` sends partition {part} of its stream {stream}, which was not agreed on"
            );
            return self.close(region, reason, cx);
        };
        if link.credit_bytes <= 0 {
            cx.actions.push(drop);
            let reason =
                format!("region `{region}` sends a block although it has no credit: it must wait for some");
            return self.close(region, reason, cx);
        }
        link.credit_bytes -= i128::from(offer.bytes);
        if let Some(seen) = offer.seen {
            link.seen = seen;
        }
        let seen = link.seen.clone();
        let Some(slot) = peer.slots.get_mut(&at).filter(|slot| slot.parked.is_none()) else {
            return cx.actions.push(drop);
        };
        let span = match Span::new(offer.first, offer.count, offer.first_hlc) {
            Ok(span) if offer.first.region == region => span,
            wrong => {
                cx.actions.push(drop);
                let not_its_own = Parked::NotItsOwn { first: offer.first, peer: region };
                let parked = wrong.map_or_else(Parked::Span, |_| not_its_own);
                return self.park(region, at, parked, cx);
            }
        };
        let Offer { block, bytes, next_hlc, .. } = offer;
        slot.queue.push_back(Item::Block(Held { block, span, skip: 0, bytes, next_hlc, seen }));
        peer.held_bytes += bytes;
        self.advance(region, at, cx);
    }

    pub(super) fn passed(&mut self, region: RegionId, passed: &Passed, cx: &mut Context<'_>) {
        let Some(peer) = self.peers.get_mut(&region) else { return };
        let Some(link) = &peer.link else { return };
        let Some(at) = link.partition(passed.stream, passed.partition) else {
            let reason = format!("region `{region}` passes a partition that was not agreed on");
            return self.close(region, reason, cx);
        };
        let last = Origin { region: passed.region, epoch: passed.epoch, sequence: passed.last };
        if last.region != region {
            return self.park(region, at, Parked::NotItsOwn { first: last, peer: region }, cx);
        }
        let Some(slot) = peer.slots.get_mut(&at).filter(|slot| slot.parked.is_none()) else { return };
        let items = slot.queue.len();
        match slot.queue.back_mut() {
            Some(Item::Passed(_, before, hlc))
                if before.epoch == last.epoch && Some(before.sequence.0) == passed.first.0.checked_sub(1) =>
            {
                (*before, *hlc) = (last, passed.hlc);
            }
            _ if items >= ITEMS_MAX => {
                let reason =
                    format!("region `{region}` passes more than it sends: it must tell of it in one frame");
                return self.close(region, reason, cx);
            }
            _ => slot.queue.push_back(Item::Passed(passed.first, last, passed.hlc)),
        }
        self.advance(region, at, cx);
    }

    pub(super) fn heartbeat(&mut self, region: RegionId, heartbeat: Heartbeat, cx: &mut Context<'_>) {
        let Some(link) = self.peers.get_mut(&region).and_then(|peer| peer.link.as_mut()) else { return };
        link.sender_ms = heartbeat.now_ms;
        link.heard_at_ms = Some(cx.now_ms);
        link.told = heartbeat.seen;
        link.relayed = heartbeat.relayed;
        let promises = link.promises;
        for Epochs { stream, partition, epochs, sent } in heartbeat.epochs {
            let link = self.peers.get(&region).and_then(|peer| peer.link.as_ref());
            let Some(at) = link.and_then(|link| link.partition(stream, partition)) else {
                let reason = format!("region `{region}` tells of a partition that was not agreed on");
                return self.close(region, reason, cx);
            };
            // Of a stream that is no longer replicated nobody has to hear.
            let Some(received) = self.received.get_mut(&at) else { continue };
            if region == self.me
                && let Some((epoch, last)) = in_use(self.restoring, &epochs)
            {
                self.park(region, at, Parked::InUse { region, epoch, last }, cx);
                continue;
            }
            match received.announce(region, &epochs) {
                Ok(_) => {
                    if let Some(slot) = self.slot(region, at) {
                        slot.announced = epochs;
                        slot.sent = Some(sent);
                        slot.sent_at = promises;
                    }
                }
                Err(error) => self.park(region, at, Parked::Epochs(error), cx),
            }
        }
        let link = self.peers.get_mut(&region).and_then(|peer| peer.link.as_mut());
        if let Some(link) = link.filter(|_| heartbeat.until > Hlc::ZERO) {
            link.until = heartbeat.until;
            link.is_heard = false;
            link.promises += 1;
        }
        self.hear(region, cx);
    }

    /// Looks anew at what waits for the local clock.
    pub(super) fn wake(&mut self, cx: &mut Context<'_>) {
        let is_due = |at_ms: u64| at_ms <= cx.now_ms;
        let due = self.peers.iter().filter(|(_, peer)| peer.retry_at_ms.is_some_and(is_due));
        let due: Vec<RegionId> = due.map(|(region, _)| *region).collect();
        for region in due {
            self.look_again(region, cx);
        }
    }

    pub(super) fn look_again(&mut self, region: RegionId, cx: &mut Context<'_>) {
        let Some(peer) = self.peers.get_mut(&region) else { return };
        peer.retry_at_ms = None;
        let partitions: Vec<StreamPartition> = peer.slots.keys().copied().collect();
        for at in partitions {
            self.advance(region, at, cx);
        }
        self.hear(region, cx);
    }

    /// Whether the clock may learn of a region's timestamp now.
    fn is_believed(&mut self, region: RegionId, hlc: Hlc, cx: &mut Context<'_>) -> bool {
        match self.skew.judge(region, hlc, cx.clock, cx.now_ms) {
            Verdict::Take => true,
            Verdict::Wait { retry_at_ms } => {
                if let Some(peer) = self.peers.get_mut(&region) {
                    peer.retry_at_ms = Some(retry_at_ms);
                }
                false
            }
        }
    }

    /// Tells the gate up to when a region has said everything.
    fn hear(&mut self, region: RegionId, cx: &mut Context<'_>) {
        let Some(link) = self.peers.get(&region).and_then(|peer| peer.link.as_ref()) else { return };
        let (until, is_heard, promises) = (link.until, link.is_heard, link.promises);
        if promises == 0 || !is_heard && !self.is_believed(region, until, cx) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&region) else { return };
        if let Some(link) = &mut peer.link {
            link.is_heard = true;
        }
        let slots = peer.slots.iter();
        let heard = slots.filter(|(at, slot)| slot.hears(promises, region, self.received.get(at)));
        self.delivery.heartbeats(region, until, heard.map(|(at, slot)| (*at, slot.sent.as_slice())));
    }

    /// What the partition's region has said already counts for it as soon as it has what was announced.
    fn hear_slot(&mut self, region: RegionId, at: StreamPartition) {
        let Some(peer) = self.peers.get(&region) else { return };
        let (Some(link), Some(slot)) = (&peer.link, peer.slots.get(&at)) else { return };
        if link.is_heard && slot.hears(link.promises, region, self.received.get(&at)) {
            self.delivery.heartbeats(region, link.until, [(at, slot.sent.as_slice())]);
        }
    }

    /// Takes what waits in a partition until the gate holds its next block.
    pub(super) fn advance(&mut self, region: RegionId, at: StreamPartition, cx: &mut Context<'_>) {
        loop {
            let Some(slot) = self.slot(region, at) else { return };
            if let Some(head) = &slot.head {
                if let Some(hlc) = slot.queue.front().and_then(|next| slot.follows(head, next)) {
                    self.delivery.followed(region, at, hlc);
                }
                break;
            }
            let goes_on = match slot.queue.pop_front() {
                None => false,
                Some(Item::Block(held)) => self.take_block(region, at, held, cx),
                Some(Item::Passed(first, last, hlc)) => self.take_passed(at, first, last, hlc, cx),
            };
            if !goes_on {
                break;
            }
        }
        self.hear_slot(region, at);
    }

    /// Returns whether there is more to do in this partition.
    fn take_block(
        &mut self,
        region: RegionId,
        at: StreamPartition,
        held: Held,
        cx: &mut Context<'_>,
    ) -> bool {
        if !self.is_believed(region, held.span.last_hlc(), cx) {
            if let Some(slot) = self.slot(region, at) {
                slot.queue.push_front(Item::Block(held));
            }
            return false;
        }
        let offered = self.offered(at, &held.span);
        let parked = match offered {
            Offered::New { skip } => return self.hold(region, at, held, skip, cx),
            Offered::Duplicate => {
                self.release(region, &held, cx);
                return true;
            }
            Offered::Gap { .. } | Offered::Early { .. } | Offered::Unannounced => {
                self.release(region, &held, cx);
                return self.begin_anew(region, at, cx);
            }
            Offered::Fork { at: sequence, known, told } => {
                Parked::Fork { at: Origin { sequence, ..held.span.first() }, known, told }
            }
            Offered::Closed { end } => {
                Parked::Closed { last: Origin { sequence: held.span.last(), ..held.span.first() }, end }
            }
        };
        self.release(region, &held, cx);
        self.park(region, at, parked, cx);
        false
    }

    fn offered(&mut self, at: StreamPartition, span: &Span) -> Offered {
        let Some(received) = self.received.get_mut(&at) else { return Offered::Duplicate };
        #[cfg(test)]
        if let (Offered::Gap { to, .. }, true) = (received.offer(span), self.broken.takes_gaps) {
            let before = Hlc::from_u64(span.first_hlc().as_u64() - 1);
            let _ = received.pass(Origin { sequence: to, ..span.first() }, before);
        }
        received.offer(span)
    }

    /// Gives a block to the gate, without what is known of it.
    fn hold(
        &mut self,
        region: RegionId,
        at: StreamPartition,
        held: Held,
        skip: u64,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(span) = held.span.without_front(skip) else {
            self.release(region, &held, cx);
            return true;
        };
        let head = || Head { span, seen: held.seen.clone() };
        let mut placed = self.delivery.offer(at, head());
        if let Err(Error::Late { hlc, seen, .. }) = placed {
            cx.actions.push(Action::Late { region, at, hlc, seen });
            let last = self.received.get(&at).map_or(Hlc::ZERO, |one| one.last_hlc(region));
            placed = self.delivery.reopen(region, at, last).and_then(|()| self.delivery.offer(at, head()));
        }
        if let Err(error) = placed {
            self.release(region, &held, cx);
            self.park(region, at, Parked::Time(error), cx);
            return false;
        }
        if held.next_hlc > span.last_hlc() {
            self.delivery.followed(region, at, held.next_hlc);
        }
        if let Some(slot) = self.slot(region, at) {
            slot.pulled_at_ms = None;
            slot.head = Some(Held { span, skip, ..held });
        }
        true
    }

    fn take_passed(
        &mut self,
        at: StreamPartition,
        first: Sequence,
        last: Origin,
        hlc: Hlc,
        cx: &mut Context<'_>,
    ) -> bool {
        let region = last.region;
        let Some(received) = self.received.get_mut(&at) else { return false };
        let reached = received.reached(region, last.epoch).map(|mark| mark.sequence);
        // What lies before the first one was sent, and then left out here.
        if reached.is_none_or(|reached| first.0.saturating_sub(1) > reached.0) {
            return self.begin_anew(region, at, cx);
        }
        // Its timestamp is not the event's own if that is gone, and says nothing about what is here.
        if reached >= Some(last.sequence) {
            return true;
        }
        let parked = match received.pass(last, hlc) {
            Ok(Offered::New { .. }) => {
                if let Some(slot) = self.slot(region, at) {
                    slot.pulled_at_ms = None;
                }
                return true;
            }
            Ok(Offered::Duplicate) => return true,
            Ok(Offered::Gap { .. } | Offered::Early { .. } | Offered::Unannounced) => {
                return self.begin_anew(region, at, cx);
            }
            Ok(Offered::Fork { at: sequence, known, told }) => {
                Parked::Fork { at: Origin { sequence, ..last }, known, told }
            }
            Ok(Offered::Closed { end }) => Parked::Closed { last, end },
            Err(error) => Parked::Span(error),
        };
        self.park(region, at, parked, cx);
        false
    }

    /// Asks anew for a partition of which something does not fit. What is under way since before that does not fit either, and is left
    /// out without asking again; unless it takes too long.
    fn begin_anew(&mut self, region: RegionId, at: StreamPartition, cx: &mut Context<'_>) -> bool {
        let retry_ms = self.options.retry_ms;
        let Some(slot) = self.slot(region, at) else { return false };
        if slot.pulled_at_ms.is_some_and(|pulled| cx.now_ms < pulled.saturating_add(retry_ms)) {
            return true;
        }
        slot.pulled_at_ms = Some(cx.now_ms);
        self.empty(region, at, cx);
        self.pull(region, &[at], cx);
        false
    }
}

/// What was accepted in the epoch in which this region is about to begin, or a later one.
fn in_use(restoring: Option<Epoch>, epochs: &[(Epoch, Sequence)]) -> Option<(Epoch, Sequence)> {
    let begins = restoring?;
    epochs.iter().copied().find(|(epoch, last)| *epoch >= begins && *last > Sequence(0))
}

impl Slot {
    /// Whether the last of so many promises counts for it: all that had been sent is here, or ends with the head.
    fn hears(&self, promises: u64, region: RegionId, received: Option<&Received>) -> bool {
        let (Some(received), Some(sent)) = (received, self.sent) else { return false };
        if self.parked.is_some() || promises <= self.sent_at {
            return false;
        }
        let is_here = |(epoch, last): &(Epoch, Sequence)| {
            let reached = received.reached(region, *epoch).unwrap_or_default();
            reached.sequence >= *last
        };
        let mut earlier = self.announced.iter().filter(|(epoch, _)| *epoch < sent.0);
        self.head.is_some() || (earlier.all(is_here) && is_here(&sent))
    }

    /// When what comes right after the head begins, if the item is that. Nothing is between the two then.
    fn follows(&self, head: &Held, item: &Item) -> Option<Hlc> {
        let (end, next) = (head.span.last(), Sequence(head.span.last().0 + 1));
        let hlc = match item {
            Item::Passed(first, last, hlc) => {
                let is_next = last.epoch == head.span.epoch() && *first <= next && last.sequence >= next;
                is_next.then(|| hlc.plus(1))
            }
            Item::Block(held) if held.span.epoch() == head.span.epoch() => held.span.hlc_at(next),
            Item::Block(held) => {
                let has_ended = self.announced.contains(&(head.span.epoch(), end));
                let is_between = |(epoch, last): &(Epoch, Sequence)| {
                    head.span.epoch() < *epoch && *epoch < held.span.epoch() && *last > Sequence(0)
                };
                let is_next = has_ended
                    && held.span.epoch() > head.span.epoch()
                    && held.span.first().sequence == Sequence(1)
                    && !self.announced.iter().any(is_between);
                is_next.then(|| held.span.first_hlc())
            }
        };
        hlc.filter(|hlc| *hlc > head.span.last_hlc())
    }
}
