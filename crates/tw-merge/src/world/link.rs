//! A link of the world: per partition in order, slow, cut now and then; it begins anew where it likes.

use super::region::Region;
use super::{Event, Random, partition};
use crate::Span;
use crate::stability::Said;
use std::collections::{BTreeMap, VecDeque};
use tw_types::{Epoch, Hlc, RegionId, Sequence};

/// How many messages are under way in a partition.
const WINDOW: usize = 24;

#[derive(Debug, Clone)]
pub(super) enum Message {
    Block(Event),
    /// What a region's epochs are in the partition, and up to when there is nothing more; [`Hlc::ZERO`] in a greeting.
    Beat {
        region: RegionId,
        epochs: Vec<(Epoch, Sequence)>,
        until: Hlc,
    },
    Said {
        region: RegionId,
        epoch: Epoch,
        said: Said,
    },
}

#[derive(Debug, Default)]
struct Part {
    /// How much of the sender's log was sent.
    cursor: usize,
    queue: VecDeque<(u64, Message)>,
    has_greeted: bool,
}

/// The partition of a region of origin.
pub(super) type Key = (RegionId, u32);

/// From one region to another one. A relay sends on what came from elsewhere, each region's for itself: what comes from one must
/// not wait behind what comes from another one and waits for the first.
#[derive(Debug)]
pub(super) struct Link {
    parts: BTreeMap<Key, Part>,
    delay_ms: u64,
    is_relay: bool,
    pub(super) is_up: bool,
}

impl Link {
    pub(super) fn new(keys: impl Iterator<Item = Key>, delay_ms: u64, is_relay: bool) -> Self {
        let parts = keys.map(|key| (key, Part::default())).collect();
        Self { parts, delay_ms, is_relay, is_up: true }
    }

    pub(super) fn restart(&mut self) {
        self.parts.values_mut().for_each(|part| *part = Part::default());
    }

    pub(super) fn begin_anew(&mut self, key: Key) {
        self.parts.insert(key, Part::default());
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.parts.keys().copied().collect()
    }

    /// What is under way is lost. The sender goes on after it as if it had arrived, or with something that had.
    pub(super) fn cut(&mut self, random: &mut Random) {
        for part in self.parts.values_mut() {
            part.queue.clear();
            part.has_greeted = false;
            if random.one_in(2) {
                part.cursor = random.below(part.cursor as u64 + 1) as usize;
            }
        }
    }

    pub(super) fn send(&mut self, sender: &mut Region, receiver: &Region, random: &mut Random, now_ms: u64) {
        for ((region, number), one) in &mut self.parts {
            let is_fetched_back = receiver.is_restoring() && *region == receiver.id;
            if !self.is_relay && *region != sender.id && !is_fetched_back {
                continue;
            }
            let (part, mut messages) = (*number as usize, Vec::new());
            if !one.has_greeted {
                one.has_greeted = true;
                let epochs = sender.received[part].epochs(*region);
                if !epochs.is_empty() {
                    messages.push(Message::Beat { region: *region, epochs, until: Hlc::ZERO });
                }
            }
            while one.queue.len() + messages.len() < WINDOW {
                let Some(event) = sender.log[part].get(one.cursor) else { break };
                one.cursor += 1;
                if event.span.region() == *region {
                    messages.push(Message::Block(event.clone()));
                }
            }
            if one.cursor == sender.log[part].len() && !sender.is_restoring() && random.one_in(4) {
                messages.extend(beat(sender, *region, part, now_ms));
                if part == 0 && *region == sender.id {
                    let epoch = sender.epoch;
                    messages.extend(sender.say(now_ms).map(|said| Message::Said {
                        region: *region,
                        epoch,
                        said,
                    }));
                }
            }
            for message in messages {
                // Partitions overtake each other; within one everything stays in order.
                let at_ms = now_ms + self.delay_ms + random.below(60);
                let at_ms = one.queue.back().map_or(at_ms, |(last_ms, _)| at_ms.max(*last_ms));
                one.queue.push_back((at_ms, message));
            }
        }
    }

    /// The next message of a partition, if it has arrived.
    pub(super) fn arrived(&self, key: Key, now_ms: u64) -> Option<Message> {
        let (at_ms, message) = self.parts.get(&key)?.queue.front()?;
        (*at_ms <= now_ms).then(|| message.clone())
    }

    pub(super) fn taken(&mut self, key: Key) {
        self.parts.entry(key).and_modify(|part| drop(part.queue.pop_front()));
    }

    /// What has arrived behind the block at the front: heartbeats, which do not wait there, and the next block, which does.
    pub(super) fn ahead(&mut self, key: Key, now_ms: u64) -> Option<(Span, Vec<Message>)> {
        let queue = &mut self.parts.get_mut(&key)?.queue;
        let Some((_, Message::Block(first))) = queue.front() else { return None };
        let (first, mut ahead) = (first.span, Vec::new());
        while let Some((_, message)) = queue.get(1).filter(|(at_ms, _)| *at_ms <= now_ms) {
            ahead.push(message.clone());
            if matches!(message, Message::Block(_)) {
                break;
            }
            queue.remove(1);
        }
        Some((first, ahead))
    }
}

/// What a sender says of a partition of its own, or as a relay of one of another region.
fn beat(sender: &mut Region, region: RegionId, part: usize, now_ms: u64) -> Option<Message> {
    let until = if region == sender.id {
        sender.promise(part, now_ms)
    } else {
        sender.delivery.known(region, partition(part as u32))?
    };
    let epochs = sender.received[part].epochs(region);
    (!epochs.is_empty()).then_some(Message::Beat { region, epochs, until })
}
