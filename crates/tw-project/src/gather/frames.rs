//! What a node answers another, version 1.
//!
//! ```text
//! answer  = head (groups | rows)* (end | failure)
//! frame   = length (4 bytes, little-endian: of what follows it) kind (1 byte) payload
//! kind    = 1 head: JSON, {"version":1,"held":…,"cut":"tw1;…","state":…}
//!         | 2 groups: partition, item*
//!         | 3 rows: a piece of an Arrow IPC stream
//!         | 4 end: nothing
//!         | 5 failure: JSON
//! item    = 01 (an entry of the next group) aggregate (1 byte) key value
//!         | 02 (a group) key value
//! ```
//!
//! Keys and values stand behind their lengths; lengths and the partition are LEB128 numbers. Items of a partition come in the order
//! of their keys. An answer without its end is none.

use crate::state::Malformed;
use crate::state::varint::{put, put_bytes};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tw_types::{PartitionId, Token};

const VERSION: u32 = 1;
/// About how many bytes a frame has at most, unless one value has more.
pub(super) const FRAME_BYTES: usize = 256 << 10;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Head = 1,
    Groups = 2,
    Rows = 3,
    End = 4,
    Failure = 5,
}

/// The start of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    version: u32,
    /// Under which number a snapshot is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held: Option<u64>,
    /// Up to where the state is that is read.
    pub(crate) cut: Token,
    /// The number of the held state ([`crate::answers::Fingerprint`]); None if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<u64>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Failure {
    /// It is not the node that keeps some of the partitions.
    #[error("the partitions are not here")]
    NotHere,
    /// It stands by for the partitions, and is too far behind.
    #[error("the standby is too far behind")]
    Behind,
    /// It reads another definition of a view.
    #[error("another definition of `{view}` is read here")]
    OtherDefinition { view: String, reads: u64 },
    /// The moment is not held any more.
    #[error("it is not held any more")]
    Gone,
    #[error("it cannot be read: {reason}")]
    NotReadable { reason: String },
    #[error("the token was not reached")]
    TokenTimeout,
    #[error("the time was over")]
    Timeout,
    #[error("{message}")]
    Other { message: String },
}

/// Appends a frame.
pub(super) fn put_frame(out: &mut BytesMut, kind: Kind, payload: &[u8]) {
    put_pieces(out, kind, &[payload]);
}

fn put_pieces(out: &mut BytesMut, kind: Kind, pieces: &[&[u8]]) {
    let len: usize = pieces.iter().map(|piece| piece.len()).sum();
    out.reserve(len + 5);
    out.put_u32_le(u32::try_from(len + 1).unwrap_or(u32::MAX));
    out.put_u8(kind as u8);
    pieces.iter().for_each(|piece| out.put_slice(piece));
}

fn json_frame(kind: Kind, value: &impl Serialize) -> Bytes {
    let mut out = BytesMut::new();
    // Texts and numbers always have a JSON form.
    put_frame(&mut out, kind, &serde_json::to_vec(value).unwrap_or_default());
    out.freeze()
}

/// The frame that an answer starts with.
pub(crate) fn head(held: Option<u64>, cut: Token, state: Option<u64>) -> Bytes {
    json_frame(Kind::Head, &Head { version: VERSION, held, cut, state })
}

/// The frame of a failure.
pub(crate) fn failure(failure: &Failure) -> Bytes {
    json_frame(Kind::Failure, failure)
}

/// The frame that an answer ends with.
pub(crate) fn end() -> Bytes {
    let mut out = BytesMut::new();
    put_frame(&mut out, Kind::End, &[]);
    out.freeze()
}

/// Collects a frame of groups of a partition.
pub(super) struct GroupsFrame(Vec<u8>, PartitionId);

impl GroupsFrame {
    pub(super) fn new(partition: PartitionId) -> Self {
        Self(Vec::new(), partition)
    }

    pub(super) fn entry(&mut self, aggregate: u8, key: &[u8], value: &[u8]) {
        self.0.extend([1, aggregate]);
        put_bytes(&mut self.0, key);
        put_bytes(&mut self.0, value);
    }

    pub(super) fn group(&mut self, key: &[u8], value: &[u8]) {
        self.0.push(2);
        put_bytes(&mut self.0, key);
        put_bytes(&mut self.0, value);
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= FRAME_BYTES
    }

    /// The frame; nothing if it holds no item.
    pub(super) fn finish(&self) -> Bytes {
        let mut out = BytesMut::new();
        if !self.0.is_empty() {
            let mut partition = Vec::new();
            put(&mut partition, u64::from(self.1.0));
            put_pieces(&mut out, Kind::Groups, &[&partition, &self.0]);
        }
        out.freeze()
    }
}

/// What a frame of groups consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Entry { aggregate: u8, key: Bytes, value: Bytes },
    Group { key: Bytes, value: Bytes },
}

/// Takes the partition from the front of a frame of groups.
pub(crate) fn take_partition(input: &mut Bytes) -> Result<PartitionId, Malformed> {
    let partition = take_number(input)?;
    u32::try_from(partition).map(PartitionId).map_err(|_| Malformed("a partition is out of range"))
}

/// Takes an item from the front of a frame of groups.
pub(super) fn take_item(input: &mut Bytes) -> Result<Item, Malformed> {
    Ok(match take_byte(input)? {
        1 => {
            let aggregate = take_byte(input)?;
            Item::Entry { aggregate, key: take_bytes(input)?, value: take_bytes(input)? }
        }
        2 => Item::Group { key: take_bytes(input)?, value: take_bytes(input)? },
        _ => return Err(Malformed("an item of groups has an unknown kind")),
    })
}

fn take_byte(input: &mut Bytes) -> Result<u8, Malformed> {
    if input.is_empty() { Err(Malformed("a frame is cut off")) } else { Ok(input.get_u8()) }
}

fn take_number(input: &mut Bytes) -> Result<u64, Malformed> {
    let mut rest: &[u8] = input;
    let number = crate::state::varint::take(&mut rest)?;
    let taken = input.len() - rest.len();
    input.advance(taken);
    Ok(number)
}

fn take_bytes(input: &mut Bytes) -> Result<Bytes, Malformed> {
    let len = usize::try_from(take_number(input)?).map_err(|_| Malformed("a length is out of range"))?;
    if len > input.len() { Err(Malformed("a frame is cut off")) } else { Ok(input.split_to(len)) }
}

impl Head {
    fn read(payload: &[u8]) -> Result<Self, Malformed> {
        let head: Self =
            serde_json::from_slice(payload).map_err(|_| Malformed("the head of an answer does not read"))?;
        if head.version == VERSION { Ok(head) } else { Err(Malformed("the answer is of another version")) }
    }
}

/// A frame as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    Head(Head),
    Groups(Bytes),
    Rows(Bytes),
    End,
    Failure(Failure),
}

/// Takes frames from bytes that come cut anywhere.
pub(super) struct Frames {
    buffer: BytesMut,
    /// The longest frame that is taken.
    bytes_max: usize,
}

impl Frames {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), bytes_max }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, once it is there as a whole.
    ///
    /// # Errors
    /// It is too long, or is none.
    pub(super) fn take(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(len) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_le_bytes(*len) as usize;
        if len > self.bytes_max {
            return Err(FrameError::TooLong);
        }
        if self.buffer.len() < 4 + len {
            return Ok(None);
        }
        self.buffer.advance(4);
        let mut frame = self.buffer.split_to(len).freeze();
        let kind = take_byte(&mut frame)?;
        Ok(Some(match kind {
            1 => Frame::Head(Head::read(&frame)?),
            2 => Frame::Groups(frame),
            3 => Frame::Rows(frame),
            4 => Frame::End,
            5 => Frame::Failure(
                serde_json::from_slice(&frame).map_err(|_| Malformed("a failure does not read"))?,
            ),
            _ => return Err(Malformed("a frame has an unknown kind").into()),
        }))
    }
}

/// Bytes that are no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a part of the answer is too long")]
    TooLong,
    #[error("{}", .0.0)]
    Malformed(#[from] Malformed),
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "these are tests")]
mod tests;
