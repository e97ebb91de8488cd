//! Reading a segment from the front: frame by frame, every checksum checked.

use super::layout::{FRAME_ALIGN, FRAME_HEADER, FRAME_MAGIC, FrameHeader, PAGE};
use super::record::Record;
use bytes::{Bytes, BytesMut};
use std::io;
use tw_env::File;
use tw_wire::{Block, HEADER_BYTES};

/// How much is read at once when later frames are searched for.
const SEARCH_BYTES: usize = 1 << 20;

/// A frame that is whole.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) position: u64,
    pub(crate) header: FrameHeader,
    pub(crate) records: Vec<Record>,
    /// The blocks, each with its position in the file.
    pub(crate) blocks: Vec<(u64, Block)>,
}

/// Why reading does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// The byte in question.
    pub(crate) position: u64,
    /// What is wrong there.
    pub(crate) cause: String,
    /// The frame, if at least its header is whole.
    pub(crate) header: Option<FrameHeader>,
    /// Its checksums match, yet it cannot be read: it was written by a later version, never torn.
    pub(crate) foreign: bool,
}

/// What comes next in a segment.
#[derive(Debug)]
pub(crate) enum Next {
    Frame(Frame),
    /// No whole frame starts here. At the tail of a log that is as it should be.
    Broken(Broken),
    /// The given end is reached.
    End,
}

/// Reads the frames of a segment in order.
pub(crate) struct FrameReader<'a> {
    file: &'a dyn File,
    salt: u64,
    position: u64,
    end: u64,
    /// The number and the opening of the frame before.
    number: u32,
    opening: u32,
}

impl<'a> FrameReader<'a> {
    /// Reads the frames before byte `end` of `file`.
    pub(crate) fn new(file: &'a dyn File, salt: u64, end: u64) -> Self {
        Self { file, salt, position: PAGE, end, number: 0, opening: 0 }
    }

    /// Where the next frame starts.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The number of the frame before.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Reads the next frame.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Next> {
        if self.position >= self.end {
            return Ok(Next::End);
        }
        let position = self.position;
        let broken =
            |cause: &str, header| Broken { position, cause: cause.to_owned(), header, foreign: false };
        let Some(header) = self.header()? else {
            return Ok(Next::Broken(broken("no frame starts here", None)));
        };
        if header.number != self.number + 1 || header.opening < self.opening {
            return Ok(Next::Broken(broken("the frame is not the one that follows", Some(header))));
        }
        if position + header.frame_len() > self.end {
            return Ok(Next::Broken(broken("the frame reaches beyond the end", Some(header))));
        }
        let mut body = BytesMut::zeroed(header.body_len as usize);
        self.file.read_exact_at(&mut body, position + FRAME_HEADER as u64)?;
        match read_body(header, position, body.freeze()) {
            Ok(frame) => {
                self.skip(&header);
                Ok(Next::Frame(frame))
            }
            Err(broken) => Ok(Next::Broken(broken)),
        }
    }

    /// Goes on behind a frame whose header is whole, whatever is in its body.
    pub(crate) fn skip(&mut self, header: &FrameHeader) {
        (self.number, self.opening) = (header.number, header.opening);
        self.position = header.next_position(self.position);
    }

    /// Goes on behind what is broken, at the next place where the header of a later frame stands; None when there is
    /// none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn skip_broken(&mut self) -> io::Result<Option<u64>> {
        let Some((later, header)) = self.find_later(self.position + FRAME_ALIGN, self.number + 1)? else {
            return Ok(None);
        };
        (self.position, self.number, self.opening) = (later, header.number - 1, 0);
        Ok(Some(later))
    }

    fn header(&self) -> io::Result<Option<FrameHeader>> {
        let mut bytes = [0; FRAME_HEADER];
        if self.position + FRAME_HEADER as u64 > self.end {
            return Ok(None);
        }
        self.file.read_exact_at(&mut bytes, self.position)?;
        Ok(FrameHeader::decode(&bytes, self.salt, self.position))
    }

    /// The first place from `position` on where the header of a frame after number `number` stands.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn find_later(&self, position: u64, number: u32) -> io::Result<Option<(u64, FrameHeader)>> {
        let mut start = super::codec::round_up(position, FRAME_ALIGN);
        let mut buffer = vec![0; SEARCH_BYTES + FRAME_HEADER];
        while start + FRAME_HEADER as u64 <= self.end {
            let len = (self.end - start).min(buffer.len() as u64) as usize;
            let chunk = buffer.get_mut(..len).unwrap_or_default();
            self.file.read_exact_at(chunk, start)?;
            for at in (0..len.saturating_sub(FRAME_HEADER - 1)).step_by(FRAME_ALIGN as usize) {
                let candidate = chunk.get(at..).unwrap_or_default();
                if candidate.starts_with(&FRAME_MAGIC)
                    && let Some(header) = FrameHeader::decode(candidate, self.salt, start + at as u64)
                    && header.number > number
                {
                    return Ok(Some((start + at as u64, header)));
                }
            }
            start += SEARCH_BYTES as u64;
        }
        Ok(None)
    }
}

/// Reads records and blocks of a frame's body.
fn read_body(header: FrameHeader, position: u64, body: Bytes) -> Result<Frame, Broken> {
    let broken = |at: usize, cause: &dyn ToString, foreign: bool| Broken {
        position: position + (FRAME_HEADER + at) as u64,
        cause: cause.to_string(),
        header: Some(header),
        foreign,
    };
    let records_len = header.records_len as usize;
    let records_bytes = body.get(..records_len).unwrap_or_default();
    let mut crc = crc32c::crc32c(records_bytes);
    let mut at = records_len;
    let mut blocks = Vec::new();
    for _ in 0..header.blocks {
        let bytes = body.slice(at.min(body.len())..);
        let block = Block::read(&bytes)
            .map_err(|error| broken(at, &error, matches!(error, tw_wire::Error::Malformed(_))))?;
        crc = crc32c::crc32c_append(crc, bytes.get(..HEADER_BYTES).unwrap_or_default());
        let length = block.header().length as usize;
        blocks.push((position + (FRAME_HEADER + at) as u64, block));
        at += length;
    }
    if at != body.len() {
        return Err(broken(at, &"the frame holds more than its blocks", false));
    }
    if crc != header.content_crc {
        return Err(broken(0, &"the checksum of the frame's content does not match", false));
    }
    let records = Record::decode_all(records_bytes)
        .ok_or_else(|| broken(0, &"its records are of a later version: use that version", true))?;
    Ok(Frame { position, header, records, blocks })
}
