//! The bytes of a segment file: its header, and the headers of its frames.
//!
//! ```text
//! byte  bytes  header of a segment (little-endian); it takes one page of 4,096 bytes, the rest is zero
//!    0      8  magic "TWSEG001"; the digits are the version of the format
//!    8      4  CRC32C of bytes 12 to 88
//!   12      4  kind: 0 written by appends, 1 written by the cleaner
//!   16      8  first segment number that it stands for
//!   24      8  last segment number that it stands for, inclusive
//!   32      4  generation: how often its content was rewritten
//!   36      4  zero
//!   40      8  salt: 64 random bits
//!   48      8  length of the file
//!   56     16  identity of the log: 128 random bits
//!   72     16  zero
//!
//! byte  bytes  header of a frame; every frame starts at a multiple of 8
//!    0      4  magic "TWF1"
//!    4      4  CRC32C of salt and position (8 bytes each), then of bytes 8 to 32
//!    8      4  length of the body
//!   12      4  length of the records at the start of the body
//!   16      4  number of blocks behind them
//!   20      4  CRC32C of the records, then of the 80-byte headers of all blocks
//!   24      4  opening: how often the log had been opened when it was written
//!   28      4  number of the frame in its segment, from 1
//! ```
//!
//! The checksum of a frame's header depends on salt and position, so bytes that merely look like a frame (those of an
//! earlier life of a recycled file, or of a payload that holds a copy of a segment) are none. A block's header
//! covers its body, and the frame's header covers the headers of its blocks: every bit is covered, and the body is
//! hashed only once, where it was encoded.

use super::codec::{Put, Take, part, set_u32};
use std::fmt;

/// What the header of a segment takes, and the unit in which the log writes.
pub(crate) const PAGE: u64 = 4096;
/// What the header of a frame takes.
pub(crate) const FRAME_HEADER: usize = 32;
/// Where frames may start.
pub(crate) const FRAME_ALIGN: u64 = 8;

const SEGMENT_MAGIC: [u8; 8] = *b"TWSEG001";
const SEGMENT_HEADER: usize = 88;
pub(crate) const FRAME_MAGIC: [u8; 4] = *b"TWF1";

/// Which segment: the numbers that it stands for, and how often their content was rewritten.
///
/// Appends fill segments of one number each. The cleaner replaces neighbours by one segment that stands for all of
/// their numbers, one generation on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentId {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) generation: u32,
}

impl SegmentId {
    /// The segment that appends fill as number `number`.
    pub(crate) const fn appended(number: u64) -> Self {
        Self { first: number, last: number, generation: 0 }
    }

    /// The name of its file without extension.
    pub(crate) fn stem(self) -> String {
        let Self { first, last, generation } = self;
        if generation == 0 { format!("{first:012}") } else { format!("{first:012}-{last:012}.{generation}") }
    }

    /// The segment whose file has the name `stem` without extension.
    pub(crate) fn from_stem(stem: &str) -> Option<Self> {
        let id = match stem.split_once('-') {
            None => Self::appended(stem.parse().ok()?),
            Some((first, rest)) => {
                let (last, generation) = rest.split_once('.')?;
                Self {
                    first: first.parse().ok()?,
                    last: last.parse().ok()?,
                    generation: generation.parse().ok()?,
                }
            }
        };
        (id.stem() == stem).then_some(id)
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stem())
    }
}

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) id: SegmentId,
    pub(crate) salt: u64,
    /// The length of the file.
    pub(crate) len: u64,
    /// The identity of the log.
    pub(crate) log: u128,
}

impl SegmentHeader {
    /// The stored form, without the zeros behind it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEADER);
        out.extend_from_slice(&SEGMENT_MAGIC);
        out.put_u32(0);
        out.put_u32(u32::from(self.id.generation > 0));
        out.put_u64(self.id.first);
        out.put_u64(self.id.last);
        out.put_u32(self.id.generation);
        out.put_u32(0);
        out.put_u64(self.salt);
        out.put_u64(self.len);
        out.extend_from_slice(&self.log.to_le_bytes());
        out.resize(SEGMENT_HEADER, 0);
        let crc = crc32c::crc32c(part(&out, 12..SEGMENT_HEADER));
        set_u32(&mut out, 8, crc);
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let bytes = bytes.get(..SEGMENT_HEADER).ok_or("the file is too short for a header")?;
        if !bytes.starts_with(b"TWSEG") {
            return Err("this is not a segment: its first bytes are not `TWSEG`");
        }
        if !bytes.starts_with(&SEGMENT_MAGIC) {
            return Err("the segment was written by a later version: use that version");
        }
        let mut take = Take(part(bytes, 8..SEGMENT_HEADER));
        if take.u32() != Some(crc32c::crc32c(part(bytes, 12..SEGMENT_HEADER))) {
            return Err("the checksum of the segment's header does not match");
        }
        read_header(take).ok_or("the segment's header contradicts itself")
    }
}

fn read_header(mut take: Take<'_>) -> Option<SegmentHeader> {
    let kind = take.u32()?;
    let id = SegmentId { first: take.u64()?, last: take.u64()?, generation: take.u32()? };
    take.u32()?;
    let (salt, len) = (take.u64()?, take.u64()?);
    let log = u128::from_le_bytes(take.bytes(16)?.try_into().ok()?);
    let consistent = id.first <= id.last && (kind == 1) == (id.generation > 0) && kind <= 1;
    (consistent && (id.generation > 0 || id.first == id.last)).then_some(SegmentHeader { id, salt, len, log })
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) body_len: u32,
    pub(crate) records_len: u32,
    pub(crate) blocks: u32,
    pub(crate) content_crc: u32,
    pub(crate) opening: u32,
    pub(crate) number: u32,
}

impl FrameHeader {
    pub(crate) fn encode(&self, salt: u64, position: u64) -> [u8; FRAME_HEADER] {
        let mut out = [0; FRAME_HEADER];
        let Self { body_len, records_len, blocks, content_crc, opening, number } = *self;
        let fields = [body_len, records_len, blocks, content_crc, opening, number];
        for (slot, field) in out.chunks_exact_mut(4).skip(2).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        let crc = keyed_crc(salt, position, part(&out, 8..FRAME_HEADER));
        for (slot, word) in out.chunks_exact_mut(4).zip([FRAME_MAGIC, crc.to_le_bytes()]) {
            slot.copy_from_slice(&word);
        }
        out
    }

    /// The header at the start of `bytes`, which lies at `position` of a segment with `salt`; None when none is there.
    pub(crate) fn decode(bytes: &[u8], salt: u64, position: u64) -> Option<Self> {
        let bytes = bytes.get(..FRAME_HEADER)?;
        let mut take = Take(bytes.strip_prefix(&FRAME_MAGIC)?);
        if take.u32()? != keyed_crc(salt, position, part(bytes, 8..FRAME_HEADER)) {
            return None;
        }
        let header = Self {
            body_len: take.u32()?,
            records_len: take.u32()?,
            blocks: take.u32()?,
            content_crc: take.u32()?,
            opening: take.u32()?,
            number: take.u32()?,
        };
        (header.records_len <= header.body_len).then_some(header)
    }

    /// Where the next frame starts if this one starts at `position`.
    pub(crate) fn next_position(&self, position: u64) -> u64 {
        super::codec::round_up(position + self.frame_len(), FRAME_ALIGN)
    }

    /// The length of header and body.
    pub(crate) fn frame_len(&self) -> u64 {
        FRAME_HEADER as u64 + u64::from(self.body_len)
    }
}

fn keyed_crc(salt: u64, position: u64, bytes: &[u8]) -> u32 {
    let mut key = [0; 16];
    for (slot, word) in key.chunks_exact_mut(8).zip([salt, position]) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    crc32c::crc32c_append(crc32c::crc32c(&key), bytes)
}
