//! Blocks: batches that have their place.
//!
//! ```text
//! byte  bytes  content (little-endian)
//!    0      4  magic "TWB1"; the digit is the version of the format
//!    4      4  CRC32C of bytes 8 to 80
//!    8      4  CRC32C of the body, bytes 80 to length
//!   12      4  length of the block
//!   16      4  stream
//!   20      4  partition
//!   24      8  base offset
//!   32      4  count of records
//!   36      4  length of the payload as stored
//!   40      4  length of the payload as decompressed
//!   44      1  encoding of the payload: 0 none, 1 LZ4 block format
//!   45      1  flags: 1 versions follow the payload · 2 sparse: records name their offsets
//!   46      2  region of origin
//!   48      4  epoch of origin
//!   52      4  last offset − base offset
//!   56      8  sequence of origin of the base offset
//!   64      8  HLC of the base offset
//!   72      8  HLC of the last record
//!   80         payload, see `record`; then one LEB128 version per record
//! ```
//!
//! Two checksums, because the body is hashed where the batch is encoded and the header where it gets its place; the
//! header covers the body's checksum, so every bit is covered. A block has one origin: (region, epoch) are those of
//! all its records, and sequence and HLC advance with the offset.

use crate::batch::Batch;
use crate::record::{Records, origin_of};
use crate::{BatchBuilder, Error};
use bytes::{Bytes, BytesMut};
use tw_types::{Compression, Epoch, Hlc, Offset, PartitionId, RegionId, Sequence, StreamId, StreamPartition};

/// The length of a block's header.
pub const HEADER_BYTES: usize = 80;
/// The longest block, in bytes, compressed or not.
pub const BLOCK_BYTES_MAX: usize = 64 << 20;

const MAGIC: [u8; 4] = *b"TWB1";
/// Versions follow the payload.
pub(crate) const FLAG_VERSIONS: u8 = 1;
/// Records name their offsets.
pub(crate) const FLAG_SPARSE: u8 = 2;

/// How the payload is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    None,
    Lz4,
}

/// What follows the header, and what the header says of it.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) encoding: Encoding,
    pub(crate) sparse: bool,
    pub(crate) versioned: bool,
    pub(crate) count: u32,
    pub(crate) last_delta: u32,
    pub(crate) raw_len: u32,
    pub(crate) payload_crc: u32,
    pub(crate) payload: Bytes,
    pub(crate) versions: Bytes,
}

/// Where a batch goes: everything that is decided when it is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The partition.
    pub at: StreamPartition,
    /// The offset of the first event.
    pub base_offset: Offset,
    /// The timestamp of the first event; the following ones advance with the offset.
    pub first_hlc: Hlc,
    /// The region of origin.
    pub region: RegionId,
    /// That region's epoch.
    pub epoch: Epoch,
    /// The sequence of the first event; the following ones advance with the offset.
    pub base_sequence: Sequence,
}

/// The header of a block, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockHeader {
    /// The length of the whole block, in bytes.
    pub length: u32,
    /// The partition.
    pub at: StreamPartition,
    /// The offset from which the records count.
    pub base_offset: Offset,
    /// How many records there are.
    pub count: u32,
    /// Last offset − base offset.
    pub last_delta: u32,
    /// The HLC that belongs to the base offset.
    pub first_hlc: Hlc,
    /// The HLC of the last record.
    pub last_hlc: Hlc,
    /// The region of origin.
    pub region: RegionId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The sequence that belongs to the base offset.
    pub base_sequence: Sequence,
    pub(crate) payload_len: u32,
    pub(crate) raw_len: u32,
    pub(crate) encoding: u8,
    pub(crate) flags: u8,
    pub(crate) body_crc: u32,
}

impl BlockHeader {
    /// The offset of the last record, inclusive.
    pub fn last_offset(&self) -> Offset {
        self.base_offset.plus(u64::from(self.last_delta))
    }

    /// The offset after the last record.
    pub fn end_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// Whether its records have versions.
    pub fn is_versioned(&self) -> bool {
        self.flags & FLAG_VERSIONS != 0
    }

    /// Whether records were removed from it.
    pub fn is_sparse(&self) -> bool {
        self.flags & FLAG_SPARSE != 0
    }

    /// The name of its payload's encoding.
    pub fn encoding(&self) -> &'static str {
        if self.encoding == 0 { "none" } else { "lz4" }
    }

    /// The size of its payload when it is decompressed, in bytes.
    pub fn raw_bytes(&self) -> usize {
        self.raw_len as usize
    }

    /// Reads a header and checks its checksum and its bounds; the body is not touched.
    ///
    /// # Errors
    /// [`Error::NoBlock`] when none starts here, [`Error::CutOff`] below [`HEADER_BYTES`] bytes,
    /// [`Error::Checksum`] or [`Error::Malformed`] for a damaged or contradictory header.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() >= 4 && !bytes.starts_with(&MAGIC) {
            return Err(Error::NoBlock);
        }
        let header: &[u8; HEADER_BYTES] =
            bytes.first_chunk().ok_or(Error::CutOff { have: bytes.len(), need: HEADER_BYTES })?;
        let stored = u32_at(header, 4);
        let computed = crc32c::crc32c(header.get(8..).unwrap_or_default());
        if stored != computed {
            return Err(Error::Checksum { part: "header", stored, computed });
        }
        let at = StreamPartition::new(StreamId(u32_at(header, 16)), PartitionId(u32_at(header, 20)));
        let (region, epoch) = origin_of(u32_at(header, 44).wrapping_shr(16) as u16, u32_at(header, 48));
        let header = Self {
            length: u32_at(header, 12),
            at,
            base_offset: Offset(u64_at(header, 24)),
            count: u32_at(header, 32),
            last_delta: u32_at(header, 52),
            first_hlc: Hlc::from_u64(u64_at(header, 64)),
            last_hlc: Hlc::from_u64(u64_at(header, 72)),
            region,
            epoch,
            base_sequence: Sequence(u64_at(header, 56)),
            payload_len: u32_at(header, 36),
            raw_len: u32_at(header, 40),
            encoding: (u32_at(header, 44) & 0xff) as u8,
            flags: (u32_at(header, 44) >> 8 & 0xff) as u8,
            body_crc: u32_at(header, 8),
        };
        header.check()
    }

    fn check(self) -> Result<Self, Error> {
        let body = (self.length as usize).checked_sub(HEADER_BYTES);
        let versions = body.and_then(|body| body.checked_sub(self.payload_len as usize));
        let wrong = if self.length as usize > BLOCK_BYTES_MAX || self.raw_len as usize > BLOCK_BYTES_MAX {
            Some("a length is over the block limit")
        } else if self.encoding > 1 || self.flags & !(FLAG_VERSIONS | FLAG_SPARSE) != 0 {
            Some("an encoding or a flag is of a later version")
        } else if self.encoding == 0 && self.raw_len != self.payload_len {
            Some("the lengths of the payload differ")
        } else if versions.is_none_or(|versions| self.is_versioned() != (versions > 0)) {
            Some("the length of the versions is wrong")
        } else if self.count == 0
            || (self.count - 1 > self.last_delta)
            || (!self.is_sparse() && self.count - 1 != self.last_delta)
        {
            Some("the count of records is wrong")
        } else if self.base_offset.0.checked_add(u64::from(self.last_delta) + 1).is_none()
            || self.last_hlc.as_u64().checked_sub(self.first_hlc.as_u64()) != Some(u64::from(self.last_delta))
            || self.base_sequence.0.checked_add(u64::from(self.last_delta) + 1).is_none()
        {
            Some("offset, sequence or time is out of range")
        } else {
            None
        };
        wrong.map_or(Ok(self), |what| Err(Error::Malformed(what)))
    }
}

fn u32_at(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    header.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(header: &[u8; HEADER_BYTES], at: usize) -> u64 {
    header.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// A block: header and body as they are stored. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Block {
    header: BlockHeader,
    /// The 80 header bytes.
    head: Bytes,
    payload: Bytes,
    versions: Bytes,
}

impl Block {
    /// Gives `batch` its place.
    pub fn new(batch: &Batch, place: &Placement) -> Self {
        let body = &batch.body;
        let flags =
            if body.versioned { FLAG_VERSIONS } else { 0 } | if body.sparse { FLAG_SPARSE } else { 0 };
        let header = BlockHeader {
            length: batch.bytes() as u32,
            at: place.at,
            base_offset: place.base_offset,
            count: body.count,
            last_delta: body.last_delta,
            first_hlc: place.first_hlc,
            last_hlc: place.first_hlc.plus(u64::from(body.last_delta)),
            region: place.region,
            epoch: place.epoch,
            base_sequence: place.base_sequence,
            payload_len: body.payload.len() as u32,
            raw_len: body.raw_len,
            encoding: u8::from(body.encoding == Encoding::Lz4),
            flags,
            body_crc: crc32c::crc32c_append(body.payload_crc, &body.versions),
        };
        let head = encode_header(&header);
        Self { header, head, payload: body.payload.clone(), versions: body.versions.clone() }
    }

    /// Reads the block at the start of `bytes`, which may go on behind it, and checks both checksums.
    ///
    /// # Errors
    /// Those of [`BlockHeader::read`], and [`Error::CutOff`] or [`Error::Checksum`] for the body.
    pub fn read(bytes: &Bytes) -> Result<Self, Error> {
        let header = BlockHeader::read(bytes)?;
        let length = header.length as usize;
        if bytes.len() < length {
            return Err(Error::CutOff { have: bytes.len(), need: length });
        }
        let body = bytes.slice(HEADER_BYTES..length);
        let computed = crc32c::crc32c(&body);
        if computed != header.body_crc {
            return Err(Error::Checksum { part: "body", stored: header.body_crc, computed });
        }
        let payload = body.slice(..header.payload_len as usize);
        let versions = body.slice(header.payload_len as usize..);
        Ok(Self { head: bytes.slice(..HEADER_BYTES), header, payload, versions })
    }

    /// The header.
    pub fn header(&self) -> &BlockHeader {
        &self.header
    }

    /// The stored form in the pieces in which it is held: written one after the other they are the block.
    pub fn pieces(&self) -> [&Bytes; 3] {
        [&self.head, &self.payload, &self.versions]
    }

    /// The stored form in one piece.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.header.length as usize);
        for piece in self.pieces() {
            bytes.extend_from_slice(piece);
        }
        bytes.freeze()
    }

    /// The same block at another place of another log: origin and timestamps stay, stream and offset change.
    pub fn placed_at(&self, at: StreamPartition, base_offset: Offset) -> Self {
        let header = BlockHeader { at, base_offset, ..self.header.clone() };
        Self { head: encode_header(&header), header, ..self.clone() }
    }

    /// Decompresses the records.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the payload does not decompress to the length that the header says.
    pub fn records(&self) -> Result<Records, Error> {
        let payload = if self.header.encoding == 0 {
            self.payload.clone()
        } else {
            let raw_len = self.header.raw_len as usize;
            let raw = lz4_flex::block::decompress(&self.payload, raw_len)
                .map_err(|_| Error::Malformed("the payload does not decompress"))?;
            if raw.len() != raw_len {
                return Err(Error::Malformed("the payload decompresses to another length"));
            }
            Bytes::from(raw)
        };
        Ok(Records { header: self.header.clone(), payload, versions: self.versions.clone() })
    }

    /// Keeps of the block the records for which `keep` holds, at their offsets; None when nothing remains.
    ///
    /// # Errors
    /// [`Error::Malformed`] when a record contradicts itself.
    pub fn retain(
        &self,
        compression: Compression,
        mut keep: impl FnMut(&tw_types::StoredRef<'_>) -> bool,
    ) -> Result<Option<Self>, Error> {
        let records = self.records()?;
        let mut builder = BatchBuilder::sparse();
        for record in records.iter()? {
            let record = record?;
            if keep(&record) {
                if self.header.is_versioned() {
                    builder.push_version(record.version);
                }
                builder.push_at(&record.event, (record.offset.0 - self.header.base_offset.0) as u32);
            }
        }
        if builder.count() == 0 {
            return Ok(None);
        }
        let place = Placement {
            at: self.header.at,
            base_offset: self.header.base_offset,
            first_hlc: self.header.first_hlc,
            region: self.header.region,
            epoch: self.header.epoch,
            base_sequence: self.header.base_sequence,
        };
        Ok(Some(Self::new(&builder.finish(compression)?, &place)))
    }
}

fn encode_header(header: &BlockHeader) -> Bytes {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 4]);
    for value in [header.body_crc, header.length, header.at.stream.0, header.at.partition.0] {
        out.extend_from_slice(&value.to_le_bytes());
    }
    out.extend_from_slice(&header.base_offset.0.to_le_bytes());
    for value in [header.count, header.payload_len, header.raw_len] {
        out.extend_from_slice(&value.to_le_bytes());
    }
    out.extend_from_slice(&[header.encoding, header.flags]);
    out.extend_from_slice(&header.region.0.to_le_bytes());
    out.extend_from_slice(&header.epoch.0.to_le_bytes());
    out.extend_from_slice(&header.last_delta.to_le_bytes());
    for value in [header.base_sequence.0, header.first_hlc.as_u64(), header.last_hlc.as_u64()] {
        out.extend_from_slice(&value.to_le_bytes());
    }
    let crc = crc32c::crc32c(out.get(8..).unwrap_or_default());
    if let Some(slot) = out.get_mut(4..8) {
        slot.copy_from_slice(&crc.to_le_bytes());
    }
    Bytes::from(out)
}
