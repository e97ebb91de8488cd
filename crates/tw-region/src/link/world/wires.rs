//! The two directions of a connection: bytes in any pieces, in order, some time later; a cut loses what is under way.

use super::Random;
use crate::link::wire::{Decoder, Frame};
use bytes::BytesMut;
use std::collections::VecDeque;

#[derive(Debug, Default)]
struct Way {
    pieces: VecDeque<(u64, Vec<u8>)>,
    decoder: Decoder,
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
                if !(matches!(frame, Frame::Block(_)) && random.one_in(lose_one_in)) {
                    frames.push(frame);
                }
            }
        }
        frames
    }
}
