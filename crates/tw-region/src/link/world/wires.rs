//! The two directions of a connection: bytes in any pieces, in order, some time later; a cut loses what is under way.

use super::Random;
use crate::link::wire::{Decoder, Frame};
use bytes::BytesMut;
use std::collections::VecDeque;
use tw_merge::Seen;

#[derive(Debug, Default)]
struct Way {
    pieces: VecDeque<(u64, Vec<u8>)>,
    decoder: Decoder,
    /// What the blocks that were left out last said of others.
    unsaid: Option<Seen>,
}

/// From the receiver up to the sender, and down again.
#[derive(Debug)]
pub(super) struct Wires {
    up: Way,
    down: Way,
    delay_ms: u64,
    pub(super) is_up: bool,
}

impl Wires {
    pub(super) fn new(delay_ms: u64) -> Self {
        Self { up: Way::default(), down: Way::default(), delay_ms, is_up: false }
    }

    pub(super) fn clear(&mut self) {
        (self.up, self.down) = (Way::default(), Way::default());
    }

    pub(super) fn send_up(&mut self, frames: &[Frame], random: &mut Random, now_ms: u64) {
        if self.is_up {
            self.up.send(frames, self.delay_ms, random, now_ms);
        }
    }

    pub(super) fn send_down(&mut self, frames: &[Frame], random: &mut Random, now_ms: u64) {
        if self.is_up {
            self.down.send(frames, self.delay_ms, random, now_ms);
        }
    }

    pub(super) fn arrived_up(&mut self, random: &mut Random, now_ms: u64) -> Vec<Frame> {
        self.up.arrived(random, now_ms, 0)
    }

    pub(super) fn arrived_down(&mut self, random: &mut Random, now_ms: u64, lose_one_in: u64) -> Vec<Frame> {
        self.down.arrived(random, now_ms, lose_one_in)
    }
}

impl Way {
    fn send(&mut self, frames: &[Frame], delay_ms: u64, random: &mut Random, now_ms: u64) {
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes).unwrap());
        while !bytes.is_empty() {
            let piece = bytes.split_to((1 + random.below(50_000) as usize).min(bytes.len()));
            let at_ms = now_ms + delay_ms + random.below(20);
            let at_ms = self.pieces.back().map_or(at_ms, |(last_ms, _)| at_ms.max(*last_ms));
            self.pieces.push_back((at_ms, piece.to_vec()));
        }
    }

    fn arrived(&mut self, random: &mut Random, now_ms: u64, lose_one_in: u64) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some((_, piece)) = self.pieces.pop_front_if(|(at_ms, _)| *at_ms <= now_ms) {
            let mut piece = &piece[..];
            while let Some(frame) = self.decoder.next(&mut piece).unwrap() {
                frames.extend(self.leave_out(frame, random, lose_one_in));
            }
        }
        frames
    }

    /// A block is left out now and then, as by a sender that skips it. What it said of others is said with the next one then, because what a
    /// connection carries is never lost while it stands.
    fn leave_out(&mut self, frame: Frame, random: &mut Random, one_in: u64) -> Option<Frame> {
        let Frame::Block(mut block) = frame else { return Some(frame) };
        if random.one_in(one_in) {
            self.unsaid = block.seen.or_else(|| self.unsaid.take());
            return None;
        }
        let unsaid = self.unsaid.take();
        block.seen = block.seen.or(unsaid);
        Some(Frame::Block(block))
    }
}
