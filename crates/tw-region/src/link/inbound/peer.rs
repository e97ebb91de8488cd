//! What is known of another region: its connection, and per partition what of it waits here.

use super::super::handshake::Agreed;
use super::super::wire::{ENTRIES_MAX, Pulled, Relayed};
use super::{Action, BlockId, Context, Inbound, Parked};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tw_merge::{Seen, Span};
use tw_types::{Epoch, Hlc, Origin, RegionId, Sequence, StreamId, StreamPartition};

/// Another region. What is in its slots without a connection is being appended.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) link: Option<Link>,
    pub(super) slots: BTreeMap<StreamPartition, Slot>,
    pub(super) held_bytes: u64,
    /// Something of it waits for the local clock, until then.
    pub(super) retry_at_ms: Option<u64>,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) agreed: Agreed,
    /// What was granted less what has arrived.
    pub(super) credit_bytes: i128,
    /// What the sender had seen, as it said last.
    pub(super) seen: Seen,
    /// The last promise, and whether the gate knows of it.
    pub(super) until: Hlc,
    pub(super) is_heard: bool,
    /// How many there were.
    pub(super) promises: u64,
    /// What its last heartbeat said of others and of its wall clock, and when it came.
    pub(super) told: Seen,
    /// If it is relayed: how the relay's link with it was then.
    pub(super) relayed: Option<Relayed>,
    pub(super) sender_ms: u64,
    pub(super) heard_at_ms: Option<u64>,
}

/// One partition of a region.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// What the gate holds.
    pub(super) head: Option<Held>,
    /// What came after it, in the order of its coming.
    pub(super) queue: VecDeque<Item>,
    /// The head is being appended.
    pub(super) is_appending: bool,
    /// When it is appended, the rest of it is dropped: its connection is gone, or nothing more is taken.
    pub(super) is_closing: bool,
    /// The epochs, as the sender said last on this connection.
    pub(super) announced: Vec<(Epoch, Sequence)>,
    /// What had been sent by then, and how many promises had been made: only later ones speak of what comes after that.
    pub(super) sent: Option<(Epoch, Sequence)>,
    pub(super) sent_at: u64,
    /// What does not fit is left out until something does: asked for anew at this time.
    pub(super) pulled_at_ms: Option<u64>,
    pub(super) parked: Option<Parked>,
}

/// A block that waits.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) block: BlockId,
    /// Its events; without those that are appended if it is the head.
    pub(super) span: Span,
    /// How many sequences of it come before the span.
    pub(super) skip: u64,
    pub(super) bytes: u64,
    pub(super) next_hlc: Hlc,
    pub(super) seen: Seen,
}

#[derive(Debug, Clone)]
pub(super) enum Item {
    Block(Held),
    /// From the first to the last sequence, inclusive, and the last one's timestamp.
    Passed(Sequence, Origin, Hlc),
}

impl Link {
    /// The partition that the sender means, if it is one of those that were agreed on.
    pub(super) fn partition(&self, stream: u32, partition: tw_types::PartitionId) -> Option<StreamPartition> {
        let one = self.agreed.streams.get(&stream).filter(|one| partition.0 < one.partitions)?;
        Some(StreamPartition::new(one.id, partition))
    }

    fn name(&self, stream: StreamId) -> Option<&str> {
        self.agreed.streams.values().find(|one| one.id == stream).map(|one| one.name.as_str())
    }
}

impl Inbound {
    pub(super) fn connect(&mut self, agreed: Agreed, cx: &mut Context<'_>) {
        let region = agreed.peer;
        if !agreed.stands_in && self.is_outdated(region, agreed.epoch, cx) {
            return self.disconnect(region, cx);
        }
        if region == self.me && self.restoring.is_none() {
            let reason = format!("region `{region}` is this one: correct the address");
            return cx.actions.push(Action::Close { peer: region, reason });
        }
        self.disconnect(region, cx);
        let common: BTreeSet<StreamPartition> = agreed
            .streams
            .values()
            .flat_map(|one| {
                (0..one.partitions).map(|part| StreamPartition::new(one.id, tw_types::PartitionId(part)))
            })
            .filter(|at| self.received.contains_key(at))
            .collect();
        for at in self.received.keys().filter(|at| !common.contains(at)) {
            self.delivery.remove(region, *at);
        }
        for at in &common {
            let last = self.received.get(at).map_or(Hlc::ZERO, |one| one.last_hlc(region));
            if self.delivery.known(region, *at).is_none()
                && let Err(error) = self.delivery.reopen(region, *at, last)
            {
                let reason = format!("region `{region}` has too much: {error}");
                return cx.actions.push(Action::Close { peer: region, reason });
            }
        }
        let peer = self.peers.entry(region).or_default();
        peer.slots.retain(|at, slot| slot.is_appending || common.contains(at));
        for at in &common {
            let slot = peer.slots.entry(*at).or_default();
            if slot.parked.take().is_some() {
                cx.actions.push(Action::Unpark { peer: region, at: *at });
            }
        }
        peer.link = Some(Link {
            agreed,
            credit_bytes: 0,
            seen: Seen::new(),
            until: Hlc::ZERO,
            is_heard: false,
            promises: 0,
            told: Seen::new(),
            relayed: None,
            sender_ms: 0,
            heard_at_ms: None,
        });
        let common: Vec<StreamPartition> = common.into_iter().collect();
        self.pull(region, &common, cx);
    }

    pub(super) fn disconnect(&mut self, region: RegionId, cx: &mut Context<'_>) {
        let Some(peer) = self.peers.get_mut(&region) else { return };
        peer.link = None;
        peer.retry_at_ms = None;
        let partitions: Vec<StreamPartition> = peer.slots.keys().copied().collect();
        for at in partitions {
            self.empty(region, at, cx);
            if let Some(slot) = self.slot(region, at) {
                slot.announced.clear();
                slot.sent = None;
                slot.pulled_at_ms = None;
            }
        }
    }

    pub(super) fn close(&mut self, region: RegionId, reason: String, cx: &mut Context<'_>) {
        cx.actions.push(Action::Close { peer: region, reason });
        self.disconnect(region, cx);
    }

    /// Nothing of the partition waits any more, but for what is being appended.
    pub(super) fn empty(&mut self, region: RegionId, at: StreamPartition, cx: &mut Context<'_>) {
        let Some(slot) = self.slot(region, at) else { return };
        let mut blocks: Vec<Held> = Vec::new();
        blocks.extend(slot.queue.drain(..).filter_map(|item| match item {
            Item::Block(held) => Some(held),
            Item::Passed(..) => None,
        }));
        if slot.is_appending {
            slot.is_closing = true;
        } else if let Some(head) = slot.head.take() {
            blocks.push(head);
            self.delivery.withdraw(region, at);
        }
        for held in &blocks {
            self.release(region, held, cx);
        }
    }

    /// The block is needed no more.
    pub(super) fn release(&mut self, region: RegionId, held: &Held, cx: &mut Context<'_>) {
        if let Some(peer) = self.peers.get_mut(&region) {
            peer.held_bytes = peer.held_bytes.saturating_sub(held.bytes);
        }
        cx.actions.push(Action::Drop { block: held.block });
    }

    /// Asks for what comes after what is here.
    pub(super) fn pull(&mut self, region: RegionId, partitions: &[StreamPartition], cx: &mut Context<'_>) {
        let mut entries = Vec::new();
        for at in partitions {
            let of = self.entries(region, *at);
            if entries.len() + of.len() > ENTRIES_MAX {
                cx.actions.push(Action::Pull { peer: region, entries: std::mem::take(&mut entries) });
            }
            entries.extend(of);
        }
        if !entries.is_empty() {
            cx.actions.push(Action::Pull { peer: region, entries });
        }
    }

    fn entries(&self, region: RegionId, at: StreamPartition) -> Vec<Pulled> {
        let Some(link) = self.peers.get(&region).and_then(|peer| peer.link.as_ref()) else {
            return Vec::new();
        };
        let (Some(received), Some(name)) = (self.received.get(&at), link.name(at.stream)) else {
            return Vec::new();
        };
        let entry = |epoch, after, after_hlc| Pulled {
            stream: name.to_owned(),
            partition: at.partition,
            region,
            epoch,
            after,
            after_hlc,
        };
        let epochs = received.epochs(region).into_iter();
        let marks = epochs.filter_map(|(epoch, _)| Some((epoch, received.reached(region, epoch)?)));
        let marks = marks.filter(|(_, mark)| mark.sequence > Sequence(0));
        let entries: Vec<Pulled> = marks.map(|(epoch, mark)| entry(epoch, mark.sequence, mark.hlc)).collect();
        if entries.is_empty() { vec![entry(link.agreed.epoch, Sequence(0), Hlc::ZERO)] } else { entries }
    }

    /// Nothing more is taken of the partition.
    pub(super) fn park(
        &mut self,
        region: RegionId,
        at: StreamPartition,
        parked: Parked,
        cx: &mut Context<'_>,
    ) {
        self.empty(region, at, cx);
        if let Some(slot) = self.slot(region, at) {
            slot.parked = Some(parked.clone());
            slot.pulled_at_ms = None;
            cx.actions.push(Action::Park { peer: region, at, parked });
        }
    }

    pub(super) fn retry(&mut self, region: RegionId, at: StreamPartition, cx: &mut Context<'_>) {
        let is_linked = self.peers.get(&region).is_some_and(|peer| peer.link.is_some());
        let now_ms = cx.now_ms;
        let Some(slot) = self.slot(region, at) else { return };
        if slot.parked.take().is_some() {
            cx.actions.push(Action::Unpark { peer: region, at });
            if is_linked {
                slot.pulled_at_ms = Some(now_ms);
                self.pull(region, &[at], cx);
            }
        }
    }

    pub(super) fn drop_stream(&mut self, stream: StreamId, cx: &mut Context<'_>) {
        let regions: Vec<RegionId> = self.peers.keys().copied().collect();
        let partitions: Vec<StreamPartition> =
            self.received.keys().filter(|at| at.stream == stream).copied().collect();
        for at in &partitions {
            self.received.remove(at);
            for region in &regions {
                self.empty(*region, *at, cx);
                let is_appending = self.slot(*region, *at).is_some_and(|slot| slot.is_appending);
                if !is_appending {
                    self.forget(*region, *at);
                }
            }
        }
    }

    /// The partition is replicated no more.
    pub(super) fn forget(&mut self, region: RegionId, at: StreamPartition) {
        self.delivery.remove(region, at);
        if let Some(peer) = self.peers.get_mut(&region) {
            peer.slots.remove(&at);
        }
    }

    /// Grants what the window has room for, in pieces that are worth a frame.
    pub(super) fn grant(&mut self, cx: &mut Context<'_>) {
        let window = i128::from(self.options.window_bytes_max);
        for (region, peer) in &mut self.peers {
            let Some(link) = &mut peer.link else { continue };
            let room = window - i128::from(peer.held_bytes) - link.credit_bytes;
            if room >= window / 8 || (room > 0 && link.credit_bytes <= 0) {
                link.credit_bytes += room;
                let bytes = u64::try_from(room).unwrap_or(0);
                cx.actions.push(Action::Credit { peer: *region, bytes });
            }
        }
    }
}
