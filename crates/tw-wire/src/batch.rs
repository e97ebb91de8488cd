//! Batches: events that are encoded, but have no place yet.

use crate::block::{Body, Encoding};
use crate::dictionary::{self, Dictionary};
use crate::record::{self, Hints};
use crate::{BLOCK_BYTES_MAX, Block, Error, HEADER_BYTES, Placement, Records, TEXTS_MAX, kafka, varint};
use bytes::Bytes;
use tw_types::{
    Compression, Epoch, EventRef, Hlc, Offset, PartitionId, RegionId, Sequence, StreamId, StreamPartition,
    Version,
};

/// Payloads below this many bytes are stored as they are: compressing them costs more than it saves.
const COMPRESS_BYTES_MIN: usize = 1024;

/// Collects events into one [`Batch`].
///
/// ```
/// use tw_types::{Compression, Data, EventRef};
/// use tw_wire::BatchBuilder;
/// let mut builder = BatchBuilder::new();
/// builder.push(&EventRef { id: "1", source: "/shop", ty: "order.placed", subject: Some("order-7"),
///                          data: Data::Json(br#"{"total":12}"#), ..EventRef::default() });
/// let batch = builder.finish(Compression::Lz4).unwrap();
/// assert_eq!(batch.count(), 1);
/// ```
#[derive(Debug, Default)]
pub struct BatchBuilder {
    texts: Dictionary,
    hints: Hints,
    records: Vec<u8>,
    scratch: Vec<u8>,
    versions: Vec<u8>,
    versioned: bool,
    sparse: bool,
    unfit_for_kafka: bool,
    count: u32,
    last_delta: u32,
}

impl BatchBuilder {
    /// An empty batch whose events will have consecutive offsets.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch whose events name their offsets: what compaction leaves of a block.
    pub fn sparse() -> Self {
        Self { sparse: true, ..Self::default() }
    }

    /// Adds an event, at the next offset.
    pub fn push(&mut self, event: &EventRef<'_>) {
        let delta = self.count;
        self.push_at(event, delta);
    }

    /// Adds an event of a known version; either all events of a batch have one or none.
    pub fn push_versioned(&mut self, event: &EventRef<'_>, version: Version) {
        self.push_version(version);
        self.push(event);
    }

    /// Adds the version of the next event (or of the last ones, when events were pushed before their versions).
    pub fn push_version(&mut self, version: Version) {
        self.versioned = true;
        varint::put(&mut self.versions, version.0);
    }

    /// Adds an event `delta` offsets after the block's base; deltas must increase. Only for [`BatchBuilder::sparse`].
    pub fn push_at(&mut self, event: &EventRef<'_>, delta: u32) {
        self.scratch.clear();
        let stored_delta = self.sparse.then_some(delta);
        record::write(&mut self.scratch, &mut self.texts, &mut self.hints, event, stored_delta);
        varint::put_bytes(&mut self.records, &self.scratch);
        self.unfit_for_kafka |= !kafka::is_writable(event);
        self.count += 1;
        self.last_delta = delta;
    }

    /// Adds the events of `batch`, which must be neither compressed nor sparse; see [`Batch::is_mergeable`].
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is, or when its bytes contradict themselves.
    pub fn push_batch(&mut self, batch: &Batch) -> Result<(), Error> {
        if !batch.is_mergeable() || (self.count > 0 && self.versioned != batch.body.versioned) {
            return Err(Error::Malformed("these batches cannot be merged"));
        }
        let payload: &[u8] = &batch.body.payload;
        self.versioned = batch.body.versioned;
        self.unfit_for_kafka |= !batch.fits_kafka;
        self.versions.extend_from_slice(&batch.body.versions);
        if let Some(records) = self.texts.strip(payload) {
            // The common case: the same kind of events. Their records fit as they are.
            self.records.extend_from_slice(records);
            self.count += batch.body.count;
            self.last_delta = self.count - 1;
            return Ok(());
        }
        let mut input = payload;
        let old = dictionary::read(&mut input)?
            .into_iter()
            .map(|(start, len)| {
                payload
                    .get(start as usize..(start + len) as usize)
                    .and_then(|bytes| std::str::from_utf8(bytes).ok())
                    .ok_or(Error::Malformed("a text is not in the dictionary"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut numbers = vec![None; old.len()];
        while !input.is_empty() {
            let record = varint::take_bytes(&mut input)?;
            self.scratch.clear();
            record::transfer(&mut self.scratch, &mut self.texts, &old, &mut numbers, record)?;
            varint::put_bytes(&mut self.records, &self.scratch);
            self.last_delta = self.count;
            self.count += 1;
        }
        Ok(())
    }

    /// How many events it has.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many bytes its block will have at most, before compression.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.texts.bytes() + self.records.len() + self.versions.len()
    }

    /// How many different texts its dictionary has: sources, types, content types, schemas, names of extensions. At
    /// most [`TEXTS_MAX`] may be in one batch.
    pub fn texts(&self) -> usize {
        self.texts.len()
    }

    /// Ends the batch and compresses it where that makes it smaller; the builder is then empty and can be used again.
    ///
    /// # Errors
    /// [`Error::TooLarge`] over [`BLOCK_BYTES_MAX`]; [`Error::TooManyTexts`] over [`TEXTS_MAX`]; [`Error::Malformed`] for
    /// a batch without events.
    pub fn finish(&mut self, compression: Compression) -> Result<Batch, Error> {
        let bytes = self.bytes();
        if bytes > BLOCK_BYTES_MAX {
            self.clear();
            return Err(Error::TooLarge { bytes, bytes_max: BLOCK_BYTES_MAX });
        }
        let texts = self.texts();
        if texts > TEXTS_MAX {
            self.clear();
            return Err(Error::TooManyTexts { texts, texts_max: TEXTS_MAX });
        }
        if self.count == 0 {
            return Err(Error::Malformed("a batch has no events"));
        }
        let mut payload = Vec::with_capacity(self.texts.bytes() + self.records.len());
        self.texts.write(&mut payload);
        payload.extend_from_slice(&self.records);
        let raw_len = payload.len();
        let mut encoding = Encoding::None;
        if compression == Compression::Lz4 && raw_len >= COMPRESS_BYTES_MIN {
            let packed = lz4_flex::block::compress(&payload);
            if packed.len() < raw_len {
                (payload, encoding) = (packed, Encoding::Lz4);
            }
        }
        let body = Body {
            encoding,
            sparse: self.sparse,
            versioned: self.versioned,
            count: self.count,
            last_delta: self.last_delta,
            raw_len: raw_len as u32,
            payload_crc: crc32c::crc32c(&payload),
            payload: Bytes::from(payload),
            versions: Bytes::from(std::mem::take(&mut self.versions)),
        };
        let fits_kafka = !self.unfit_for_kafka;
        self.clear();
        Ok(Batch { body, fits_kafka })
    }

    fn clear(&mut self) {
        self.texts.clear();
        self.records.clear();
        self.versions.clear();
        (self.versioned, self.unfit_for_kafka) = (false, false);
        (self.hints, self.count, self.last_delta) = (Hints::default(), 0, 0);
    }
}

impl Block {
    /// Its events without their place and their versions, encoded as they are; not of a sparse block.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is sparse, or when a record contradicts itself.
    pub(crate) fn batch(&self) -> Result<Batch, Error> {
        let header = self.header();
        if header.is_sparse() {
            return Err(Error::Malformed("records were removed from this block"));
        }
        let mut fits_kafka = true;
        for record in self.records()?.iter()? {
            fits_kafka &= kafka::is_writable(&record?.event);
        }
        let [_, payload, _] = self.pieces();
        let body = Body {
            encoding: if header.encoding() == "none" { Encoding::None } else { Encoding::Lz4 },
            sparse: false,
            versioned: false,
            count: header.count,
            last_delta: header.last_delta,
            raw_len: header.raw_len,
            payload_crc: crc32c::crc32c(payload),
            payload: payload.clone(),
            versions: Bytes::new(),
        };
        Ok(Batch { body, fits_kafka })
    }
}

/// Encoded events of one partition, on their way to a place.
#[derive(Debug, Clone)]
pub struct Batch {
    pub(crate) body: Body,
    fits_kafka: bool,
}

impl Batch {
    /// How many events it has; at least one.
    pub fn count(&self) -> u32 {
        self.body.count
    }

    /// How many bytes its block will have.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.body.payload.len() + self.body.versions.len()
    }

    /// Whether it can be merged with others into one block.
    pub fn is_mergeable(&self) -> bool {
        self.body.encoding == Encoding::None && !self.body.sparse
    }

    /// Whether its events have versions.
    pub fn is_versioned(&self) -> bool {
        self.body.versioned
    }

    /// Whether Kafka can hold its events: the names of extensions become those of headers, which end at a NUL.
    pub fn fits_kafka(&self) -> bool {
        self.fits_kafka
    }

    /// Its events, from offset 0 of no partition in particular: for what they say, before they have a place.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the payload does not decompress.
    pub fn records(&self) -> Result<Records, Error> {
        let place = Placement {
            at: StreamPartition::new(StreamId(0), PartitionId(0)),
            base_offset: Offset::ZERO,
            first_hlc: Hlc::ZERO,
            region: RegionId(0),
            epoch: Epoch(0),
            base_sequence: Sequence(1),
        };
        Block::new(self, &place).records()
    }

    /// Gives its events their versions, in order: what the event store does once it knows them.
    ///
    /// # Errors
    /// [`Error::Malformed`] when there are not as many versions as events, or when it has versions already.
    pub fn with_versions(mut self, versions: impl IntoIterator<Item = Version>) -> Result<Self, Error> {
        let mut encoded = Vec::with_capacity(self.body.count as usize * 2);
        let mut count = 0u32;
        for version in versions {
            varint::put(&mut encoded, version.0);
            count += 1;
        }
        if self.body.versioned || count != self.body.count {
            return Err(Error::Malformed("versions do not match the events"));
        }
        self.body.versioned = true;
        self.body.versions = Bytes::from(encoded);
        Ok(self)
    }
}
