//! Records: how one event is laid out within a block's payload.
//!
//! ```text
//! payload    = dictionary record*
//! dictionary = count text*                          every text: length, UTF-8 bytes
//! record     = length flags [delta] source type [contenttype] [schema] [extensions] [subject] id [time] data
//! flags      = 1 subject · 2 time · 4 contenttype · 8 schema · 16 extensions · 32+64 kind of data
//! delta      = offset − base offset of the block; only in sparse blocks
//! source, type, contenttype, schema = number of a dictionary entry
//! extensions = count (name kind value)*             kind 0 false, 1 true, 2 integer (zigzag), 3 text
//! subject, id = length, UTF-8 bytes
//! time       = nanoseconds since 1970 UTC, 64 bits little-endian
//! data       = whatever remains of `length`
//! ```
//!
//! Numbers are LEB128 unless said otherwise; `length` counts the bytes after itself. In a dense block the n-th
//! record (from 0) has delta n. Offset, HLC and sequence of a record are those of the block plus delta. All
//! references into the dictionary come first, so that records move from one batch to another without being decoded.

use crate::block::{BlockHeader, FLAG_SPARSE, FLAG_VERSIONS};
use crate::dictionary::{self, Dictionary};
use crate::{Error, varint};
use bytes::Bytes;
use tw_types::{
    Data, Epoch, EventRef, Extension, ExtensionValue, Offset, Origin, RegionId, Sequence, StoredRef,
    Timestamp, Version,
};

const SUBJECT: u8 = 1;
const TIME: u8 = 2;
const CONTENT_TYPE: u8 = 4;
const SCHEMA: u8 = 8;
const EXTENSIONS: u8 = 16;
const DATA_SHIFT: u8 = 5;

/// Likely dictionary numbers: those of the record before.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Hints {
    source: u32,
    ty: u32,
    content_type: u32,
    schema: u32,
}

/// Appends the record of `event`, without its length, to `out`.
pub(crate) fn write(
    out: &mut Vec<u8>,
    texts: &mut Dictionary,
    hints: &mut Hints,
    event: &EventRef<'_>,
    delta: Option<u32>,
) {
    let (kind, data) = match event.data {
        Data::None => (0, [].as_slice()),
        Data::Json(bytes) => (1, bytes),
        Data::Text(bytes) => (2, bytes),
        Data::Binary(bytes) => (3, bytes),
    };
    let mut flags = (kind as u8) << DATA_SHIFT;
    for (present, flag) in [
        (event.subject.is_some(), SUBJECT),
        (event.time.is_some(), TIME),
        (event.datacontenttype.is_some(), CONTENT_TYPE),
        (event.dataschema.is_some(), SCHEMA),
        (!event.extensions.is_empty(), EXTENSIONS),
    ] {
        flags |= if present { flag } else { 0 };
    }
    out.push(flags);
    if let Some(delta) = delta {
        varint::put(out, u64::from(delta));
    }
    let mut reference = |out: &mut Vec<u8>, text: &str, hint: &mut u32| {
        *hint = texts.intern(text.as_bytes(), Some(*hint));
        varint::put(out, u64::from(*hint));
    };
    reference(out, event.source, &mut hints.source);
    reference(out, event.ty, &mut hints.ty);
    if let Some(text) = event.datacontenttype {
        reference(out, text, &mut hints.content_type);
    }
    if let Some(text) = event.dataschema {
        reference(out, text, &mut hints.schema);
    }
    if !event.extensions.is_empty() {
        write_extensions(out, texts, &event.extensions);
    }
    if let Some(subject) = event.subject {
        varint::put_bytes(out, subject.as_bytes());
    }
    varint::put_bytes(out, event.id.as_bytes());
    if let Some(time) = event.time {
        out.extend_from_slice(&time.nanos().to_le_bytes());
    }
    out.extend_from_slice(data);
}

fn write_extensions(out: &mut Vec<u8>, texts: &mut Dictionary, extensions: &[Extension<&str>]) {
    varint::put(out, extensions.len() as u64);
    for extension in extensions {
        varint::put(out, u64::from(texts.intern(extension.name.as_bytes(), None)));
        match extension.value {
            ExtensionValue::Bool(value) => out.push(u8::from(value)),
            ExtensionValue::Integer(value) => {
                out.push(2);
                varint::put(out, varint::zigzag(i64::from(value)));
            }
            ExtensionValue::Text(value) => {
                out.push(3);
                varint::put_bytes(out, value.as_bytes());
            }
        }
    }
}

/// Copies the record `record` (without its length) to `out`, its texts interned anew in `texts`.
/// `old` are the texts of the dictionary that the record refers to.
pub(crate) fn transfer(
    out: &mut Vec<u8>,
    texts: &mut Dictionary,
    old: &[&str],
    numbers: &mut [Option<u32>],
    mut record: &[u8],
) -> Result<(), Error> {
    let input = &mut record;
    let flags = take_flags(input)?;
    out.push(flags);
    let mut reference = |out: &mut Vec<u8>, input: &mut &[u8]| -> Result<(), Error> {
        let number = varint::take_usize(input)?;
        let (text, known) = old
            .get(number)
            .zip(numbers.get_mut(number))
            .ok_or(Error::Malformed("a text is not in the dictionary"))?;
        let new = *known.get_or_insert_with(|| texts.intern(text.as_bytes(), None));
        varint::put(out, u64::from(new));
        Ok(())
    };
    reference(out, input)?;
    reference(out, input)?;
    for flag in [CONTENT_TYPE, SCHEMA] {
        if flags & flag != 0 {
            reference(out, input)?;
        }
    }
    if flags & EXTENSIONS != 0 {
        let count = varint::take(input)?;
        varint::put(out, count);
        for _ in 0..count {
            reference(out, input)?;
            let kind = varint::take_exact(input, 1)?;
            out.extend_from_slice(kind);
            match kind {
                [0 | 1] => {}
                [2] => varint::put(out, varint::take(input)?),
                _ => varint::put_bytes(out, varint::take_bytes(input)?),
            }
        }
    }
    out.extend_from_slice(input);
    Ok(())
}

fn take_flags(input: &mut &[u8]) -> Result<u8, Error> {
    let (&flags, rest) = input.split_first().ok_or(Error::Malformed("a record is empty"))?;
    *input = rest;
    if flags & 0x80 != 0 {
        return Err(Error::Malformed("a record has flags of a later version"));
    }
    Ok(flags)
}

/// The decompressed records of one block.
#[derive(Debug, Clone)]
pub struct Records {
    pub(crate) header: BlockHeader,
    /// Dictionary and records.
    pub(crate) payload: Bytes,
    /// The versions, if the block has them.
    pub(crate) versions: Bytes,
}

impl Records {
    /// The header of the block.
    pub fn header(&self) -> &BlockHeader {
        &self.header
    }

    /// How much memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.payload.len() + self.versions.len()
    }

    /// The events in offset order.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the dictionary contradicts itself; each item can say the same of its record.
    pub fn iter(&self) -> Result<RecordsIter<'_>, Error> {
        let payload: &[u8] = &self.payload;
        let mut input = payload;
        let spans = dictionary::read(&mut input)?;
        let texts = spans
            .into_iter()
            .map(|(start, len)| {
                payload
                    .get(start as usize..(start + len) as usize)
                    .and_then(|bytes| std::str::from_utf8(bytes).ok())
                    .ok_or(Error::Malformed("a text is not in the dictionary"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(RecordsIter {
            header: &self.header,
            texts,
            input,
            versions: &self.versions,
            index: 0,
            last_delta: None,
        })
    }
}

/// The events of a block, decoded one after the other without copying.
#[derive(Debug)]
pub struct RecordsIter<'a> {
    header: &'a BlockHeader,
    texts: Vec<&'a str>,
    input: &'a [u8],
    versions: &'a [u8],
    index: u32,
    last_delta: Option<u32>,
}

impl<'a> RecordsIter<'a> {
    /// The raw bytes of the next record, and its version.
    #[inline]
    fn next_raw(&mut self) -> Result<(&'a [u8], Version), Error> {
        let record = varint::take_bytes(&mut self.input)?;
        let version = if self.header.flags & FLAG_VERSIONS != 0 {
            Version(varint::take(&mut self.versions)?)
        } else {
            Version::NONE
        };
        Ok((record, version))
    }

    #[inline]
    fn decode(&mut self) -> Result<StoredRef<'a>, Error> {
        let (mut record, version) = self.next_raw()?;
        let input = &mut record;
        let flags = take_flags(input)?;
        let delta = self.delta(input)?;
        let source = self.text(input)?;
        let ty = self.text(input)?;
        let datacontenttype = if flags & CONTENT_TYPE != 0 { Some(self.text(input)?) } else { None };
        let dataschema = if flags & SCHEMA != 0 { Some(self.text(input)?) } else { None };
        let extensions = if flags & EXTENSIONS != 0 { self.extensions(input)? } else { Vec::new() };
        let subject = if flags & SUBJECT != 0 { Some(varint::take_str(input)?) } else { None };
        let id = varint::take_str(input)?;
        let time = if flags & TIME != 0 {
            let bytes = varint::take_exact(input, 8)?;
            bytes.try_into().ok().map(|bytes| Timestamp::from_nanos(i64::from_le_bytes(bytes)))
        } else {
            None
        };
        let data = match flags >> DATA_SHIFT & 3 {
            0 => Data::None,
            1 => Data::Json(*input),
            2 => Data::Text(*input),
            _ => Data::Binary(*input),
        };
        let event = EventRef { id, source, ty, subject, time, datacontenttype, dataschema, extensions, data };
        Ok(StoredRef {
            event,
            offset: self.header.base_offset.plus(u64::from(delta)),
            version,
            hlc: self.header.first_hlc.plus(u64::from(delta)),
            origin: Origin {
                region: self.header.region,
                epoch: self.header.epoch,
                sequence: Sequence(self.header.base_sequence.0.saturating_add(u64::from(delta))),
            },
        })
    }

    #[inline]
    fn delta(&mut self, input: &mut &[u8]) -> Result<u32, Error> {
        if self.index >= self.header.count {
            return Err(Error::Malformed("there are more records than the header says"));
        }
        let delta = if self.header.flags & FLAG_SPARSE != 0 {
            u32::try_from(varint::take(input)?)
                .map_err(|_| Error::Malformed("an offset is outside the block"))?
        } else {
            self.index
        };
        if delta > self.header.last_delta || self.last_delta.is_some_and(|last| delta <= last) {
            return Err(Error::Malformed("an offset is outside the block or out of order"));
        }
        self.index += 1;
        self.last_delta = Some(delta);
        Ok(delta)
    }

    #[inline]
    fn text(&self, input: &mut &[u8]) -> Result<&'a str, Error> {
        let number = varint::take_usize(input)?;
        self.texts.get(number).copied().ok_or(Error::Malformed("a text is not in the dictionary"))
    }

    fn extensions(&self, input: &mut &'a [u8]) -> Result<Vec<Extension<&'a str>>, Error> {
        let count = varint::take_usize(input)?;
        if count > input.len() {
            return Err(Error::Malformed("a record has too many extensions"));
        }
        let mut extensions = Vec::with_capacity(count);
        for _ in 0..count {
            let name = self.text(input)?;
            let value = match varint::take_exact(input, 1)? {
                [0] => ExtensionValue::Bool(false),
                [1] => ExtensionValue::Bool(true),
                [2] => i32::try_from(varint::unzigzag(varint::take(input)?))
                    .map(ExtensionValue::Integer)
                    .map_err(|_| Error::Malformed("an extension is over 32 bits"))?,
                [3] => ExtensionValue::Text(varint::take_str(input)?),
                _ => return Err(Error::Malformed("an extension is of an unknown kind")),
            };
            extensions.push(Extension { name, value });
        }
        Ok(extensions)
    }

    /// Skips records that lie before `offset` without decoding them. Works on dense blocks; on a sparse block it
    /// does nothing, so callers still compare offsets.
    ///
    /// # Errors
    /// [`Error::Malformed`] when a record is cut off.
    pub fn skip_before(&mut self, offset: Offset) -> Result<(), Error> {
        if self.header.flags & FLAG_SPARSE != 0 {
            return Ok(());
        }
        let skip = offset.0.saturating_sub(self.header.base_offset.0 + u64::from(self.index));
        for _ in 0..skip.min(u64::from(self.header.count.saturating_sub(self.index))) {
            self.next_raw()?;
            self.last_delta = Some(self.index);
            self.index += 1;
        }
        Ok(())
    }
}

impl<'a> Iterator for RecordsIter<'a> {
    type Item = Result<StoredRef<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.input.is_empty() {
            let missing = self.header.count.saturating_sub(self.index);
            self.index += missing;
            return (missing > 0).then_some(Err(Error::Malformed("records are missing")));
        }
        let item = self.decode();
        if item.is_err() {
            (self.input, self.index) = (&[], self.header.count);
        }
        Some(item)
    }
}

/// The region and epoch of a block, as they come from its header.
pub(crate) fn origin_of(region: u16, epoch: u32) -> (RegionId, Epoch) {
    (RegionId(region), Epoch(epoch))
}
