//! Frames over a connection: encoded, compressed as one stream each way, and read back.
//!
//! Between [`crate::link::wire`] and the encrypted connection. What was sent is flushed when there is no more to send now, so that nothing
//! waits for a full buffer. What comes is decompressed in pieces of bounded size, however well it was compressed.

use super::pace::Pace;
use crate::link::wire::{self, Decoder, Frame};
use bytes::BytesMut;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zstd::stream::raw::{self, Operation};

/// How much is read, and how much is decompressed at a time.
const PIECE_BYTES: usize = 64 << 10;
/// zstd's level 1: a link is to be fast; the blocks in it are compressed already, and similar to each other.
const LEVEL: i32 = 1;

/// Why a connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The other side has closed it, or has ended.
    #[error("the other side has ended the connection")]
    Ended,
    /// Not a byte has come for too long.
    #[error("the other side has said nothing for {0} ms")]
    Silent(u128),
    /// It failed.
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// What comes over it is no frame.
    #[error(transparent)]
    Frame(#[from] wire::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // TLS calls it so when there was no farewell, as of a process that was killed.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Self::Ended
            }
            _ => Self::Io(error),
        }
    }
}

/// The sending end.
pub(crate) struct FrameWriter<W> {
    to: W,
    zstd: raw::Encoder<'static>,
    plain: BytesMut,
    out: Vec<u8>,
    pace: Option<Arc<Pace>>,
    /// How many bytes were given to the connection.
    pub(crate) bytes: u64,
}

/// The receiving end.
pub(crate) struct FrameReader<R> {
    from: R,
    zstd: raw::Decoder<'static>,
    decoder: Decoder,
    input: Vec<u8>,
    /// What of `input` is not decompressed yet.
    unread: Range<usize>,
    plain: Vec<u8>,
    /// Whether there may be more of what was decompressed last.
    is_full: bool,
    frames: VecDeque<Frame>,
    /// How long not a byte may come: a frame may take longer than that on a slow line.
    silent_max: Duration,
    /// How many bytes came from the connection.
    pub(crate) bytes: u64,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(crate) fn new(to: W) -> io::Result<Self> {
        let zstd = raw::Encoder::new(LEVEL)?;
        Ok(Self { to, zstd, plain: BytesMut::new(), out: vec![0; PIECE_BYTES], pace: None, bytes: 0 })
    }

    /// Sends no faster than that from now on. What goes out before is of a handshake, which must not take long.
    pub(crate) fn limit(&mut self, pace: Option<Arc<Pace>>) {
        self.pace = pace;
    }

    /// Sends these frames, and returns when the connection has taken them.
    pub(crate) async fn send(&mut self, frames: &[Frame]) -> Result<(), Error> {
        for frame in frames {
            self.plain.clear();
            frame.encode(&mut self.plain)?;
            let plain = self.plain.split();
            let mut done = 0;
            while let Some(rest) = plain.get(done..).filter(|rest| !rest.is_empty()) {
                let step = self.zstd.run_on_buffers(rest, &mut self.out)?;
                done += step.bytes_read;
                self.put(step.bytes_written).await?;
            }
            self.plain = plain;
        }
        loop {
            let mut out = raw::OutBuffer::around(&mut self.out);
            let left = self.zstd.flush(&mut out)?;
            let written = out.pos();
            self.put(written).await?;
            if left == 0 {
                break;
            }
        }
        Ok(self.to.flush().await?)
    }

    /// Gives so many of the compressed bytes to the connection.
    async fn put(&mut self, count: usize) -> io::Result<()> {
        let mut rest = self.out.get(..count).unwrap_or_default();
        while let Some(pace) = self.pace.as_ref().filter(|pace| pace.is_limited() && !rest.is_empty()) {
            let may = pace.take(rest.len()).await;
            let (now, later) = rest.split_at(may.min(rest.len()));
            self.bytes += now.len() as u64;
            self.to.write_all(now).await?;
            // So that the other side hears something while the rest waits.
            self.to.flush().await?;
            rest = later;
        }
        self.bytes += rest.len() as u64;
        self.to.write_all(rest).await
    }
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(from: R, silent_max: Duration) -> io::Result<Self> {
        let zstd = raw::Decoder::new()?;
        let (input, plain) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
        let (unread, decoder, frames) = (0..0, Decoder::new(), VecDeque::new());
        Ok(Self { from, zstd, decoder, input, unread, plain, is_full: false, frames, silent_max, bytes: 0 })
    }

    /// The next frame. Can be dropped and called again: nothing is lost.
    pub(crate) async fn next(&mut self) -> Result<Frame, Error> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Ok(frame);
            }
            if self.is_full || !self.unread.is_empty() {
                self.step()?;
                continue;
            }
            let read = tokio::time::timeout(self.silent_max, self.from.read(&mut self.input)).await;
            let count = read.map_err(|_| Error::Silent(self.silent_max.as_millis()))??;
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.bytes += count as u64;
            self.unread = 0..count;
        }
    }

    /// Decompresses one piece more.
    fn step(&mut self) -> Result<(), Error> {
        let input = self.input.get(self.unread.clone()).unwrap_or_default();
        let step = self.zstd.run_on_buffers(input, &mut self.plain)?;
        self.unread.start += step.bytes_read;
        // A full buffer may not have been enough for what is decompressed.
        self.is_full = step.bytes_written == self.plain.len();
        let mut plain = self.plain.get(..step.bytes_written).unwrap_or_default();
        while let Some(frame) = self.decoder.next(&mut plain)? {
            self.frames.push_back(frame);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::wire::{Block, Credit};
    use bytes::Bytes;
    use tw_types::{Hlc, PartitionId};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn block(bytes: Vec<u8>) -> Frame {
        let (stream, partition) = (1, PartitionId(2));
        Frame::Block(Block { stream, partition, next_hlc: Hlc::ZERO, seen: None, bytes: Bytes::from(bytes) })
    }

    #[tokio::test]
    async fn frames_arrive_as_they_were_sent_and_at_once() {
        let (one, other) = tokio::io::duplex(1 << 10);
        let mut writer = FrameWriter::new(one).unwrap();
        let mut reader = FrameReader::new(other, PATIENCE).unwrap();
        let noise = (0..300_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let groups = [
            vec![Frame::Credit(Credit { bytes: 7 })],
            vec![block(vec![0; 3 << 20]), block(noise), Frame::Credit(Credit { bytes: 8 })],
            vec![block(b"small".to_vec())],
        ];
        for group in &groups {
            let (sent, got) = tokio::join!(writer.send(group), async {
                let mut got = Vec::new();
                while got.len() < group.len() {
                    got.push(reader.next().await.unwrap());
                }
                got
            });
            sent.unwrap();
            assert_eq!(&got, group);
        }
        assert_eq!(reader.bytes, writer.bytes);
        assert!(writer.bytes < 700_000, "{} bytes for 3 MiB of nothing", writer.bytes);
    }

    #[tokio::test]
    async fn what_is_no_stream_of_frames_is_an_error() {
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b""] {
            let mut reader = FrameReader::new(bytes, PATIENCE).unwrap();
            reader.next().await.unwrap_err();
        }
    }

    /// However long a frame takes, as long as there are bytes of it.
    #[tokio::test]
    async fn a_slow_line_is_not_a_silent_one() {
        let (one, mut other) = tokio::io::duplex(1 << 20);
        let (there, mut bytes) = tokio::io::duplex(1 << 20);
        let mut writer = FrameWriter::new(there).unwrap();
        let noise: Vec<u8> = (0..20_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        writer.send(&[block(noise.clone())]).await.unwrap();
        drop(writer);
        let mut sent = Vec::new();
        bytes.read_to_end(&mut sent).await.unwrap();
        let mut reader = FrameReader::new(one, Duration::from_millis(1_500)).unwrap();
        let slowly = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            for piece in sent.chunks(sent.len() / 20) {
                ticks.tick().await;
                other.write_all(piece).await.unwrap();
            }
            other
        };
        let (frame, _kept_open) = tokio::join!(reader.next(), slowly);
        assert_eq!(frame.unwrap(), block(noise));
        assert!(matches!(reader.next().await, Err(Error::Silent(1_500))));
    }
}
