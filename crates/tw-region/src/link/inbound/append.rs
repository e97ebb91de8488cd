//! What goes into the log, one atomic step at a time.

use super::peer::Held;
use super::{Action, Append, Context, Inbound, Parked, Portion};
use tw_merge::delivery;
use tw_types::{RegionId, StreamPartition};

/// What is being appended.
#[derive(Debug)]
pub(super) struct Batch {
    number: u64,
    portions: Vec<Portion>,
}

impl Inbound {
    /// Asks for the next step, if there is something to append and none is under way.
    pub(super) fn append(&mut self, cx: &mut Context<'_>) {
        if self.batch.is_some() || cx.now_ms < self.append_at_ms {
            return;
        }
        // Whoever has seen something of this region got it from its log. That a copy has lost it is found out by its epoch.
        self.delivery.local(cx.clock.last());
        let portions = self.next_portions();
        if portions.is_empty() {
            return;
        }
        let mut latest = self.delivery.latest();
        for portion in &portions {
            latest.raise(portion.span.region(), portion.span.last_hlc());
            if let Some(slot) = self.slot(portion.span.region(), portion.at) {
                slot.is_appending = true;
            }
        }
        self.batches += 1;
        let number = self.batches;
        self.batch = Some(Batch { number, portions: portions.clone() });
        cx.actions.push(Action::Append(Append { batch: number, portions, latest }));
    }

    /// What is ready. All of a region belongs together; there are as many regions as the bound allows, and at least one, beginning after
    /// the one that was the last before.
    fn next_portions(&mut self) -> Vec<Portion> {
        let ready = self.ready();
        let mut regions: Vec<RegionId> = ready.iter().map(|portion| portion.span.region()).collect();
        regions.dedup();
        let first = regions.partition_point(|region| *region <= self.turn);
        let after = regions.split_off(first);
        let regions = after.into_iter().chain(regions);
        let (mut portions, mut bytes) = (Vec::new(), 0u64);
        for region in regions {
            let of = ready.iter().filter(|portion| portion.span.region() == region);
            let of: Vec<(Portion, u64)> = of.filter_map(|portion| self.portion(portion)).collect();
            bytes = of.iter().fold(bytes, |sum, (_, bytes)| sum.saturating_add(*bytes));
            if !portions.is_empty() && bytes > self.options.append_bytes_max {
                break;
            }
            portions.extend(of.into_iter().map(|(portion, _)| portion));
            self.turn = region;
        }
        portions
    }

    fn ready(&self) -> Vec<delivery::Portion> {
        #[cfg(test)]
        if self.broken.has_no_gate {
            let slots = self.peers.values().flat_map(|peer| &peer.slots);
            let heads = slots.filter_map(|(at, slot)| Some((*at, slot.head.as_ref()?)));
            return heads.map(|(at, head)| delivery::Portion { at, span: head.span }).collect();
        }
        self.delivery.ready()
    }

    /// A portion with the block in which it is, and that block's bytes.
    fn portion(&self, ready: &delivery::Portion) -> Option<(Portion, u64)> {
        let slot = self.peers.get(&ready.span.region())?.slots.get(&ready.at)?;
        let head = slot.head.as_ref().filter(|head| head.span.first() == ready.span.first())?;
        let is_rest = head.span.count() == ready.span.count();
        let portion = Portion { at: ready.at, span: ready.span, block: head.block, skip: head.skip, is_rest };
        Some((portion, head.bytes))
    }

    pub(super) fn appended(&mut self, number: u64, cx: &mut Context<'_>) {
        let Some(batch) = self.batch.take_if(|batch| batch.number == number) else { return };
        for portion in &batch.portions {
            let (region, at) = (portion.span.region(), portion.at);
            if let Some(received) = self.received.get_mut(&at) {
                received.receive(&portion.span);
            }
            self.delivery.appended(region, at, portion.span.last_hlc());
            let Some(slot) = self.slot(region, at) else { continue };
            let Some(head) = slot.head.take() else { continue };
            match head.span.without_front(portion.span.count()) {
                Some(span) => {
                    slot.head = Some(Held { span, skip: head.skip + portion.span.count(), ..head });
                }
                None => self.release(region, &head, cx),
            }
        }
        self.answered(&batch, cx);
    }

    pub(super) fn append_failed(
        &mut self,
        number: u64,
        refused: Option<(RegionId, StreamPartition, String)>,
        cx: &mut Context<'_>,
    ) {
        let Some(batch) = self.batch.take_if(|batch| batch.number == number) else { return };
        self.append_at_ms = cx.now_ms.saturating_add(self.options.retry_ms);
        self.answered(&batch, cx);
        if let Some((region, at, reason)) = refused {
            self.park(region, at, Parked::Refused { reason }, cx);
        }
    }

    /// Nothing is being appended any more: what was to be dropped meanwhile is, and the others go on.
    fn answered(&mut self, batch: &Batch, cx: &mut Context<'_>) {
        for portion in &batch.portions {
            let (region, at) = (portion.span.region(), portion.at);
            let Some(slot) = self.slot(region, at) else { continue };
            slot.is_appending = false;
            if std::mem::take(&mut slot.is_closing)
                && let Some(head) = slot.head.take()
            {
                self.delivery.withdraw(region, at);
                self.release(region, &head, cx);
            }
            if self.received.contains_key(&at) {
                self.advance(region, at, cx);
            } else {
                self.forget(region, at);
            }
        }
    }
}
