//! The bytes of snapshots, version 1.
//!
//! ```text
//! manifest = "TWSM" 01 checksum JSON
//! chunk    = "TWSC" 01 checksum length zstd(entries)
//! entry    = key length (4), key, value length (4), value
//! ```
//!
//! The checksum (4 bytes) is the CRC32C of everything after it; the length (4) is that of the entries before they were
//! compressed. Numbers are big-endian. Entries are in strictly ascending order of their keys, also from one chunk to the
//! next.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::io::Read;
use tw_state::{Entry, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use tw_types::{Offset, PartitionId, StreamId};

const MANIFEST: &[u8; 4] = b"TWSM";
const CHUNK: &[u8; 4] = b"TWSC";
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 9;

/// How many bytes of entries a chunk has, about: the last entry may go over it.
pub const CHUNK_BYTES: usize = 4 << 20;
/// The most that a chunk can hold.
const ENTRIES_BYTES_MAX: usize = CHUNK_BYTES + KEY_BYTES_MAX + VALUE_BYTES_MAX + 8;
/// The largest stored chunk, in bytes: what cannot be compressed grows by less than this.
const CHUNK_STORED_BYTES_MAX: usize = ENTRIES_BYTES_MAX + (1 << 20);
/// The largest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 8 << 20;
/// The most chunks of a snapshot: state of about 400 GB.
pub const CHUNKS_MAX: usize = 100_000;
/// Little is won by more, and it takes its time.
const LEVEL: i32 = 3;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// What a snapshot is of, and what it consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The name of the view.
    pub view: String,
    /// The number of its definition.
    pub definition: u64,
    /// Where the episodes of its parked events started when the view was created: another number for a later view of this
    /// name.
    pub life: u32,
    /// The stream that it reads.
    pub stream: StreamId,
    /// The partition.
    pub partition: PartitionId,
    /// The first offset that is not in it.
    pub position: Offset,
    /// What it is called, and the folder of its chunks.
    pub run: String,
    /// The worker's cursor, as it is stored, in hexadecimal.
    pub cursor: String,
    /// The chunks, in their order.
    pub chunks: Vec<ChunkRecord>,
}

/// A chunk, as the manifest knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkRecord {
    /// Its bytes.
    pub bytes: u64,
    /// The CRC32C of all of them.
    pub crc32c: u32,
}

impl ChunkRecord {
    /// What the manifest says of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, crc32c: crc32c::crc32c(bytes) }
    }
}

fn seal(magic: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES + body.len());
    out.extend_from_slice(magic);
    out.push(VERSION);
    out.extend_from_slice(&crc32c::crc32c(body).to_be_bytes());
    out.extend_from_slice(body);
    out
}

fn unseal<'a>(magic: &[u8; 4], bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
    let rest = bytes.strip_prefix(magic).ok_or(Malformed("it is not part of a snapshot"))?;
    let (version, rest) = rest.split_first().ok_or(Malformed("it is cut off"))?;
    if *version != VERSION {
        return Err(Malformed("it is of an unknown version"));
    }
    let (sum, body) = rest.split_first_chunk().ok_or(Malformed("it is cut off"))?;
    if crc32c::crc32c(body) != u32::from_be_bytes(*sum) {
        return Err(Malformed("its checksum is wrong"));
    }
    Ok(body)
}

impl Manifest {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        // Texts and numbers always have a JSON form.
        seal(MANIFEST, &serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(Malformed("it is too large"));
        }
        let body = unseal(MANIFEST, bytes)?;
        let manifest: Self =
            serde_json::from_slice(body).map_err(|_| Malformed("it does not say what a manifest says"))?;
        let is_too_large = |chunk: &ChunkRecord| chunk.bytes > CHUNK_STORED_BYTES_MAX as u64;
        if manifest.chunks.len() > CHUNKS_MAX || manifest.chunks.iter().any(is_too_large) {
            return Err(Malformed("it is too large"));
        }
        Ok(manifest)
    }
}

/// Collects entries for a chunk.
#[derive(Default)]
pub(super) struct ChunkBuilder {
    entries: Vec<u8>,
}

impl ChunkBuilder {
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) {
        for part in [key, value] {
            // Both are bounded far below 4 GiB by the store.
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            self.entries.extend_from_slice(&length.to_be_bytes());
            self.entries.extend_from_slice(part);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= CHUNK_BYTES
    }

    /// The chunk; the builder is empty then.
    pub(super) fn finish(&mut self) -> std::io::Result<Vec<u8>> {
        let length = u32::try_from(self.entries.len()).map_err(std::io::Error::other)?;
        let mut body = length.to_be_bytes().to_vec();
        zstd::stream::copy_encode(self.entries.as_slice(), &mut body, LEVEL)?;
        self.entries.clear();
        Ok(seal(CHUNK, &body))
    }
}

/// Reads the entries of a chunk. Memory is bounded by what the chunk says, and by what an entry may have.
///
/// # Errors
/// [`Malformed`].
pub fn read_chunk(bytes: &[u8]) -> Result<Vec<Entry>, Malformed> {
    let body = unseal(CHUNK, bytes)?;
    let (length, packed) = body.split_first_chunk().ok_or(Malformed("it is cut off"))?;
    let length = u32::from_be_bytes(*length) as usize;
    if length > ENTRIES_BYTES_MAX {
        return Err(Malformed("it is too large"));
    }
    let broken = |_| Malformed("its entries cannot be decompressed");
    let mut entries = Vec::new();
    let decoder = zstd::stream::Decoder::with_buffer(packed).map_err(broken)?;
    // One byte more than there may be shows that there are more.
    decoder.take(length as u64 + 1).read_to_end(&mut entries).map_err(broken)?;
    if entries.len() != length {
        return Err(Malformed("its entries have another length"));
    }
    split(Bytes::from(entries))
}

fn split(mut rest: Bytes) -> Result<Vec<Entry>, Malformed> {
    let mut entries: Vec<Entry> = Vec::new();
    while !rest.is_empty() {
        let key = take(&mut rest, KEY_BYTES_MAX)?;
        let value = take(&mut rest, VALUE_BYTES_MAX)?;
        if key.is_empty() || entries.last().is_some_and(|(last, _)| *last >= key) {
            return Err(Malformed("its keys are not in ascending order"));
        }
        entries.push((key, value));
    }
    Ok(entries)
}

/// Takes a key or a value off the front.
fn take(rest: &mut Bytes, max: usize) -> Result<Bytes, Malformed> {
    let head = rest.first_chunk().copied().map(u32::from_be_bytes).ok_or(Malformed("an entry is cut off"))?;
    let length = head as usize;
    if length > max || rest.len() - 4 < length {
        return Err(Malformed("an entry is cut off"));
    }
    let mut part = rest.split_to(4 + length);
    Ok(part.split_off(4))
}

#[cfg(test)]
mod tests;
