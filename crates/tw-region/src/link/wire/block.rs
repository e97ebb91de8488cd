//! The frame of a block: a small binary head, then the block as it is stored.

use super::Error;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tw_merge::Seen;
use tw_merge::received::REGIONS_MAX;
use tw_types::{Hlc, PartitionId, RegionId};

const HEAD_BYTES: usize = 17;
const COUNT_BYTES: usize = 2;
const ENTRY_BYTES: usize = 10;
const FLAG_SEEN: u8 = 1;

/// A block on its way. The stream and the offsets that the block itself names are those of P's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The stream, as the index in P's [`super::Hello::streams`].
    pub stream: u32,
    /// The partition.
    pub partition: PartitionId,
    /// The timestamp of the first event that P accepted in this partition after those of the block, as far as P's log still has
    /// it. [`Hlc::ZERO`]: none is known.
    pub next_hlc: Hlc,
    /// What P had seen of others when it accepted the block's events; every entry is before the first of them. None: the same as
    /// of the block before, of whatever partition, on this connection; before the first one nothing.
    pub seen: Option<Seen>,
    /// The block as it is stored.
    pub bytes: Bytes,
}

impl Block {
    /// The length of the frame's body.
    pub(super) fn length(&self) -> usize {
        let entries = |seen: &Seen| COUNT_BYTES + seen.iter().count() * ENTRY_BYTES;
        HEAD_BYTES + self.seen.as_ref().map_or(0, entries) + self.bytes.len()
    }

    pub(super) fn put(&self, out: &mut BytesMut) -> Result<(), Error> {
        out.put_u32_le(self.stream);
        out.put_u32_le(self.partition.0);
        out.put_u64_le(self.next_hlc.as_u64());
        out.put_u8(if self.seen.is_some() { FLAG_SEEN } else { 0 });
        if let Some(seen) = &self.seen {
            let count = u16::try_from(seen.iter().count()).ok().filter(|count| fits(*count));
            out.put_u16_le(count.ok_or(Error::Head { what: "it names too many regions" })?);
            for (region, until) in seen.iter() {
                out.put_u16_le(region.0);
                out.put_u64_le(until.as_u64());
            }
        }
        out.put_slice(&self.bytes);
        Ok(())
    }

    pub(super) fn read(mut body: Bytes) -> Result<Self, Error> {
        need(&body, HEAD_BYTES)?;
        let (stream, partition) = (body.get_u32_le(), PartitionId(body.get_u32_le()));
        let next_hlc = Hlc::from_u64(body.get_u64_le());
        let seen = match body.get_u8() {
            0 => None,
            FLAG_SEEN => Some(read_seen(&mut body)?),
            _ => return Err(Error::Head { what: "a flag that is not known" }),
        };
        Ok(Self { stream, partition, next_hlc, seen, bytes: body })
    }
}

fn read_seen(body: &mut Bytes) -> Result<Seen, Error> {
    need(body, COUNT_BYTES)?;
    let count = body.get_u16_le();
    if !fits(count) {
        return Err(Error::Head { what: "it names too many regions" });
    }
    need(body, usize::from(count) * ENTRY_BYTES)?;
    Ok((0..count).map(|_| (RegionId(body.get_u16_le()), Hlc::from_u64(body.get_u64_le()))).collect())
}

fn fits(count: u16) -> bool {
    usize::from(count) <= REGIONS_MAX
}

fn need(body: &Bytes, bytes: usize) -> Result<(), Error> {
    if body.remaining() < bytes { Err(Error::Head { what: "it ends too early" }) } else { Ok(()) }
}
