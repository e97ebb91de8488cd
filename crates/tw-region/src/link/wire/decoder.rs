//! From bytes in any pieces to frames, one at a time.

use super::{Error, Frame, HEAD_BYTES, bytes_max};
use bytes::{Buf, BytesMut};

/// What was read of the frame that is not complete yet; never more than one frame.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    is_broken: Option<u8>,
}

impl Decoder {
    /// At the beginning of a stream of frames.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes from the front of `input` what the next frame lacks, and returns the frame when it is complete. To be called until
    /// `input` is empty and it returns None. After an error it only returns errors: where the next frame begins is unknown.
    ///
    /// # Errors
    /// Any of [`Error`].
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, Error> {
        if let Some(kind) = self.is_broken {
            return Err(Error::Kind { kind });
        }
        let result = self.advance(input);
        if result.is_err() {
            self.is_broken = Some(self.buffer.first().copied().unwrap_or_default());
            self.buffer = BytesMut::new();
        }
        result
    }

    /// Whether a frame has begun that is not complete: the end of the stream of bytes would cut it off.
    pub fn is_within_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// How many bytes are kept, at most one frame with its head.
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, Error> {
        if !self.fill(HEAD_BYTES, input) {
            return Ok(None);
        }
        let mut head = &self.buffer[..HEAD_BYTES];
        let (kind, length) = (head.get_u8(), head.get_u32_le() as usize);
        let bytes_max = bytes_max(kind)?;
        if length > bytes_max {
            return Err(Error::TooLong { kind, bytes: length, bytes_max });
        }
        if !self.fill(HEAD_BYTES + length, input) {
            return Ok(None);
        }
        // The memory goes with the frame: a block is not copied again.
        let mut frame = std::mem::take(&mut self.buffer).freeze();
        frame.advance(HEAD_BYTES);
        let frame = Frame::decode(kind, frame);
        if frame.is_err() {
            self.buffer.extend_from_slice(&[kind]);
        }
        frame.map(Some)
    }

    /// Takes bytes until so many are there; returns whether they are.
    fn fill(&mut self, bytes: usize, input: &mut &[u8]) -> bool {
        let lacking = bytes.saturating_sub(self.buffer.len());
        let (taken, rest) = input.split_at(lacking.min(input.len()));
        self.buffer.extend_from_slice(taken);
        *input = rest;
        self.buffer.len() >= bytes
    }
}
