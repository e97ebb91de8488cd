//! The dictionary of a batch: texts that repeat from event to event, stored once.

use crate::{Error, varint};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// How many different sources, types, content types, schemas and names of extensions one batch may have.
pub const TEXTS_MAX: usize = 1 << 20;

/// Collects texts while a batch is built.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    /// The entries as they will be stored, each behind its length.
    encoded: Vec<u8>,
    /// Where each entry's text is in `encoded`.
    spans: Vec<(u32, u32)>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Dictionary {
    /// The number of `text`, which is added if it is new. `hint` is a number that is likely.
    pub(crate) fn intern(&mut self, text: &[u8], hint: Option<u32>) -> u32 {
        if let Some(hint) = hint
            && self.get(hint) == Some(text)
        {
            return hint;
        }
        let hash = self.hasher.hash_one(text);
        let (encoded, spans) = (&self.encoded, &self.spans);
        if let Some(&number) = self.index.find(hash, |&number| lookup(encoded, spans, number) == Some(text)) {
            return number;
        }
        let number = self.spans.len() as u32;
        varint::put(&mut self.encoded, text.len() as u64);
        let start = self.encoded.len() as u32;
        self.encoded.extend_from_slice(text);
        self.spans.push((start, text.len() as u32));
        let (encoded, spans, hasher) = (&self.encoded, &self.spans, &self.hasher);
        self.index.insert_unique(hash, number, |&number| {
            hasher.hash_one(lookup(encoded, spans, number).unwrap_or_default())
        });
        number
    }

    fn get(&self, number: u32) -> Option<&[u8]> {
        lookup(&self.encoded, &self.spans, number)
    }

    /// How many texts it has.
    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// The bytes that [`Dictionary::write`] will add, about.
    pub(crate) fn bytes(&self) -> usize {
        self.encoded.len() + 5
    }

    /// Appends the stored form: the number of entries, then each behind its length.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        varint::put(out, self.spans.len() as u64);
        out.extend_from_slice(&self.encoded);
    }

    /// What follows the dictionary at the front of `stored`, if its texts have the same numbers here.
    pub(crate) fn strip<'a>(&self, stored: &'a [u8]) -> Option<&'a [u8]> {
        let mut input = stored;
        let count = varint::take_usize(&mut input).ok()?;
        let texts = input;
        for _ in 0..count {
            varint::take_bytes(&mut input).ok()?;
        }
        let len = texts.len() - input.len();
        (self.encoded.get(..len) == texts.get(..len)).then_some(input)
    }

    pub(crate) fn clear(&mut self) {
        self.encoded.clear();
        self.spans.clear();
        self.index.clear();
    }
}

fn lookup<'a>(encoded: &'a [u8], spans: &[(u32, u32)], number: u32) -> Option<&'a [u8]> {
    let &(start, len) = spans.get(number as usize)?;
    encoded.get(start as usize..(start + len) as usize)
}

/// Reads a stored dictionary from the front of `input`: the span of each entry, relative to the start of `input`.
/// Every entry is checked to be UTF-8.
pub(crate) fn read(input: &mut &[u8]) -> Result<Vec<(u32, u32)>, Error> {
    let whole = input.len();
    let count = varint::take_usize(input)?;
    // An entry takes at least one byte, so a count beyond the input is a lie that must not allocate.
    if count > TEXTS_MAX || count > input.len() {
        return Err(Error::Malformed("the dictionary has too many entries"));
    }
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        let text = varint::take_str(input)?;
        spans.push(((whole - input.len() - text.len()) as u32, text.len() as u32));
    }
    Ok(spans)
}
