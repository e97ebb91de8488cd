//! What comes over a link between regions: any bytes in any pieces become frames or are refused, and what was a frame can be
//! sent on.
//!
//! The first byte says how long the pieces are. The others are taken as they are, and also as a list of bodies with their
//! lengths set right, because no mutation would ever guess those: kind (1 byte), length (2 bytes), body.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use tw_region::link::wire::{Decoder, Frame, HEAD_BYTES};

/// The kinds of frames, and one that does not exist.
const KINDS: [u8; 9] = [1, 2, 3, 4, 5, 16, 17, 18, 99];

fuzz_target!(|input: &[u8]| {
    let Some((piece, bytes)) = input.split_first() else { return };
    check(bytes, usize::from(*piece) + 1);
    check(&framed(bytes), usize::from(*piece) + 1);
});

/// Frames with these bodies.
fn framed(mut bodies: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(([kind, low, high], rest)) = bodies.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (body, rest) = rest.split_at(length);
        bytes.push(KINDS[usize::from(*kind) % KINDS.len()]);
        bytes.extend_from_slice(&(length as u32).to_le_bytes());
        bytes.extend_from_slice(body);
        bodies = rest;
    }
    bytes
}

fn check(bytes: &[u8], piece: usize) {
    let (frames, is_whole) = decode(bytes, bytes.len().max(1));
    assert_eq!(decode(bytes, piece), (frames.clone(), is_whole), "it depends on the pieces");
    let mut again = BytesMut::new();
    for frame in &frames {
        let start = again.len();
        frame.encode(&mut again).expect("what was read can be written");
        let body = Bytes::copy_from_slice(&again[start + HEAD_BYTES..]);
        if let Frame::Block(block) = frame {
            assert!(body.ends_with(&block.bytes));
            if block.seen.is_none() {
                let is_there = |window: &[u8]| window == &again[start..];
                assert!(bytes.windows(again.len() - start).any(is_there), "a block was altered");
            }
        }
    }
    let (read, is_whole) = decode(&again, piece);
    assert!(is_whole && read == frames, "what was written is read as something else");
    let mut once_more = BytesMut::new();
    read.iter().for_each(|frame| frame.encode(&mut once_more).expect("it was written before"));
    assert_eq!(once_more, again);
}

/// The frames of a stream of bytes that comes in pieces, up to the first that is none, and whether it ends where a frame does.
fn decode(bytes: &[u8], piece: usize) -> (Vec<Frame>, bool) {
    let (mut decoder, mut frames) = (Decoder::new(), Vec::new());
    for mut input in bytes.chunks(piece) {
        loop {
            match decoder.next(&mut input) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break assert!(input.is_empty(), "it neither takes bytes nor gives a frame"),
                Err(_) => {
                    assert_eq!(decoder.buffered_bytes(), 0, "it is of no use, and keeps memory");
                    assert!(decoder.next(&mut input).is_err(), "it goes on after an error");
                    return (frames, false);
                }
            }
        }
        assert!(decoder.buffered_bytes() <= bytes.len());
    }
    (frames, !decoder.is_within_frame())
}
