//! Frames of the PostgreSQL protocol, cut from a large buffer in place.
//!
//! A frame is one byte that tells its type, four bytes of length (counting themselves, big-endian), and a body. Source:
//! PostgreSQL documentation, "Message Formats". Nothing here knows what a body means.

use crate::Error;
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much is asked of the socket at once.
const BUFFER_BYTES: usize = 1 << 20;
/// When less than this is free behind the unread bytes, they move to the front.
const ROOM_BYTES_MIN: usize = 128 << 10;
const HEADER_BYTES: usize = 5;

/// One message of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// What kind it is.
    pub(crate) tag: u8,
    /// What follows the length.
    pub(crate) body: &'a [u8],
}

/// Bytes from the server that are not used up yet.
#[derive(Debug)]
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    frame_bytes_max: usize,
}

impl Inbox {
    /// An empty inbox that refuses frames of more than `frame_bytes_max`.
    pub(crate) fn new(frame_bytes_max: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, end: 0, frame_bytes_max }
    }

    /// The type and the length, in bytes, of the next frame, if its header has arrived.
    fn header(&self) -> Result<Option<(u8, usize)>, Error> {
        let unread = self.buffer.get(self.start..self.end).unwrap_or_default();
        let Some((&tag, rest)) = unread.split_first() else { return Ok(None) };
        let Some(length) = rest.first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length < 4 {
            return Err(Error::Protocol(format!("a message of type {tag} has length {length}")));
        }
        if length >= self.frame_bytes_max {
            return Err(Error::FrameTooLarge { bytes: length + 1, bytes_max: self.frame_bytes_max });
        }
        Ok(Some((tag, length + 1)))
    }

    /// Whether a whole frame is there.
    pub(crate) fn is_ready(&self) -> Result<bool, Error> {
        Ok(self.peek_tag()?.is_some())
    }

    /// The type of the next frame, if a whole one is there.
    pub(crate) fn peek_tag(&self) -> Result<Option<u8>, Error> {
        let whole = self.header()?.filter(|(_, bytes)| self.end - self.start >= *bytes);
        Ok(whole.map(|(tag, _)| tag))
    }

    /// What has arrived of the next frame's body, be it whole or not.
    pub(crate) fn peek_body(&self) -> &[u8] {
        self.buffer.get(self.start + HEADER_BYTES..self.end).unwrap_or_default()
    }

    /// Takes the next frame, if a whole one is there.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'_>>, Error> {
        let Some((tag, bytes)) = self.header()? else { return Ok(None) };
        if self.end - self.start < bytes {
            return Ok(None);
        }
        let from = self.start + HEADER_BYTES;
        self.start += bytes;
        Ok(self.buffer.get(from..self.start).map(|body| Frame { tag, body }))
    }

    /// Waits for more bytes. Cancel-safe. 0 means that the server has closed the connection.
    pub(crate) async fn fill(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<usize, Error> {
        self.make_room()?;
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        let read = stream.read(free).await.map_err(Error::Lost)?;
        self.end += read;
        Ok(read)
    }

    /// Sees to it that the frame under way fits, and that a read is worth its while.
    fn make_room(&mut self) -> Result<(), Error> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        let wanted = self.header()?.map_or(0, |(_, bytes)| bytes);
        let capacity = BUFFER_BYTES.max(wanted.next_multiple_of(ROOM_BYTES_MIN));
        // A buffer that grew for one large frame goes back to its size once that is used up.
        if self.buffer.len() < capacity || (self.buffer.len() > 2 * BUFFER_BYTES && self.end == 0) {
            self.compact();
            self.buffer.resize(capacity.max(self.end), 0);
            self.buffer.shrink_to_fit();
        } else if self.start + wanted > self.buffer.len() || self.buffer.len() - self.end < ROOM_BYTES_MIN {
            self.compact();
        }
        Ok(())
    }

    fn compact(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
    }
}

/// Cuts bytes into messages as a connection does that gets them in pieces of `piece` bytes, shows each message, and
/// returns how many bytes of a message are left over. For the fuzzer.
///
/// # Errors
/// [`Error::Protocol`], [`Error::FrameTooLarge`]: a length that cannot be.
pub fn cut(
    bytes: &[u8],
    piece: usize,
    frame_bytes_max: usize,
    mut each: impl FnMut(u8, &[u8]),
) -> Result<usize, Error> {
    let mut inbox = Inbox::new(frame_bytes_max);
    for mut piece in bytes.chunks(piece.max(1)) {
        while !piece.is_empty() {
            // Bytes in memory are there at once.
            inbox.fill(&mut piece).now_or_never().unwrap_or(Ok(0))?;
            while let Some(frame) = inbox.next()? {
                each(frame.tag, frame.body);
            }
        }
    }
    Ok(inbox.end - inbox.start)
}

/// Reads fields from the front of a body. Every method answers None when the body is too short.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// A text that ends with a zero byte.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = std::str::from_utf8(self.take(end)?).ok()?;
        self.take(1)?;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(inbox: &mut Inbox) -> Vec<(u8, Vec<u8>)> {
        std::iter::from_fn(|| inbox.next().unwrap().map(|frame| (frame.tag, frame.body.to_vec()))).collect()
    }

    #[tokio::test]
    async fn frames_larger_than_the_buffer_pass_and_the_buffer_shrinks_again() {
        let mut wire = Vec::new();
        for length in [0usize, 3 << 20, 10, 1 << 20] {
            wire.push(b'd');
            wire.extend_from_slice(&(length as u32 + 4).to_be_bytes());
            wire.resize(wire.len() + length, length as u8);
        }
        let (mut inbox, mut wire) = (Inbox::new(4 << 20), wire.as_slice());
        let mut lengths = Vec::new();
        while inbox.fill(&mut wire).await.unwrap() > 0 {
            lengths.extend(drain(&mut inbox).into_iter().map(|(_, body)| body.len()));
        }
        assert_eq!(lengths, [0, 3 << 20, 10, 1 << 20]);
        assert!(inbox.buffer.len() <= 2 * BUFFER_BYTES);
    }

    #[tokio::test]
    async fn lengths_that_lie_are_errors() {
        for wire in [[b'd', 0, 0, 0, 3], [b'd', 255, 255, 255, 255]] {
            let mut inbox = Inbox::new(1 << 20);
            inbox.fill(&mut wire.as_slice()).await.unwrap();
            assert!(inbox.is_ready().is_err());
        }
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            frames in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..50),
            cuts in proptest::collection::vec(1usize..700, 1..40),
        ) {
            let mut wire = Vec::new();
            for (tag, body) in &frames {
                wire.push(*tag);
                wire.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
                wire.extend_from_slice(body);
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (mut inbox, mut rest, mut seen) = (Inbox::new(1 << 20), wire.as_slice(), Vec::new());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (mut piece, after) = rest.split_at((*cut).min(rest.len()));
                rest = after;
                while !piece.is_empty() {
                    runtime.block_on(inbox.fill(&mut piece)).unwrap();
                }
                seen.extend(drain(&mut inbox));
            }
            prop_assert_eq!(seen, frames);
        }
    }
}
