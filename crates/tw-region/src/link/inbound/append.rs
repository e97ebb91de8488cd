//! What goes into the log, one atomic step at a time.

use super::peer::Held;
use super::{Action, Append, Context, Inbound, Parked, Portion};
use tw_merge::delivery;
use tw_types::{Hlc, RegionId, StreamPartition};

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
        // Whoever has seen something of this region got it from its log; unless that is a copy that has lost it.
        if self.restoring.is_none() {
            self.delivery.local(cx.clock.last());
        }
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

    /// What is ready, as much as the bound allows, and at least what belongs together: events of one region that overlap in time. It begins
    /// after the region that was the last before.
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
            let mut of: Vec<(Portion, u64)> = of.filter_map(|portion| self.portion(portion)).collect();
            of.sort_by_key(|(portion, _)| portion.span.first_hlc());
            for group in closed_in_time(&of) {
                let more = group.iter().fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
                if !portions.is_empty() && bytes.saturating_add(more) > self.options.append_bytes_max {
                    return portions;
                }
                bytes = bytes.saturating_add(more);
                portions.extend(group.iter().map(|(portion, _)| *portion));
                self.turn = region;
            }
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

/// Cuts portions of one region, which are in the order of their first timestamps, where everything before is earlier than everything
/// after: so what is taken of them is never without something earlier.
fn closed_in_time(portions: &[(Portion, u64)]) -> Vec<&[(Portion, u64)]> {
    let (mut groups, mut rest, mut taken, mut last) = (Vec::new(), portions, 0, Hlc::ZERO);
    for (portion, _) in portions {
        if taken > 0 && portion.span.first_hlc() > last {
            let (group, after) = rest.split_at(taken);
            groups.push(group);
            (rest, taken) = (after, 0);
        }
        last = last.max(portion.span.last_hlc());
        taken += 1;
    }
    if !rest.is_empty() {
        groups.push(rest);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::inbound::BlockId;
    use tw_merge::Span;
    use tw_types::{Epoch, Origin, PartitionId, Sequence, StreamId};

    fn portion(partition: u32, first_hlc: u64, count: u64) -> (Portion, u64) {
        let at = StreamPartition::new(StreamId(1), PartitionId(partition));
        let first = Origin { region: RegionId(2), epoch: Epoch(1), sequence: Sequence(1) };
        let span = Span::new(first, count, Hlc::from_u64(first_hlc)).unwrap();
        (Portion { at, span, block: BlockId(1), skip: 0, is_rest: true }, 10)
    }

    #[test]
    fn what_overlaps_in_time_stays_together_and_the_rest_is_apart() {
        let portions =
            [portion(0, 10, 5), portion(1, 12, 9), portion(2, 20, 1), portion(3, 21, 3), portion(4, 30, 1)];
        let groups: Vec<usize> = closed_in_time(&portions).iter().map(|group| group.len()).collect();
        assert_eq!(groups, [3, 1, 1], "10 to 14 and 12 to 20 and 20; 21 to 23; 30");
        assert!(closed_in_time(&[]).is_empty());
    }
}
