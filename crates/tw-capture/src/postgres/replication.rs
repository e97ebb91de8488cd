//! A connection in streaming mode: changes come in, confirmations go out.
//!
//! Source: PostgreSQL documentation, "Streaming Replication Protocol" (XLogData, Primary keepalive message, Standby
//! status update). The two directions are used by different tasks, so that a slow reader still confirms in time.

use super::connection::server_error;
use super::frame::{Fields, Inbox};
use super::stream::Stream;
use crate::{Error, Lsn};
use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};

/// Microseconds from 1970 to 2000, where PostgreSQL's clock starts.
pub(crate) const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

pub(crate) fn split(stream: Stream, inbox: Inbox) -> (Reader, Writer) {
    let (read, write) = tokio::io::split(stream);
    (Reader { stream: read, inbox }, Writer { stream: write, outbox: BytesMut::new() })
}

/// What the server sends in streaming mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inbound<'a> {
    /// A piece of the change stream: a message of the output plugin.
    Data {
        /// Where in the WAL it is from.
        lsn: Lsn,
        /// The message.
        message: &'a [u8],
    },
    /// A sign of life.
    Keepalive {
        /// Everything that was committed before here has been sent.
        sent: Lsn,
        /// Whether the server wants a status update at once.
        reply: bool,
    },
    /// The server ends the stream, in order.
    Done,
}

/// The incoming direction.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: ReadHalf<Stream>,
    inbox: Inbox,
}

impl Reader {
    /// Waits for more bytes. Cancel-safe.
    pub(crate) async fn fill(&mut self) -> Result<(), Error> {
        match self.inbox.fill(&mut self.stream).await? {
            0 => Err(Error::closed()),
            _ => Ok(()),
        }
    }

    /// Waits until the server has ended the stream and let go of the slot, after the client has asked for it.
    pub(crate) async fn finish(&mut self) -> Result<(), Error> {
        loop {
            while let Some(frame) = self.inbox.next()? {
                if matches!(frame.tag, b'C' | b'E' | b'Z') {
                    return Ok(());
                }
            }
            self.fill().await?;
        }
    }

    /// Which relation the message is about whose start has arrived: a row change behind the header of a piece of data.
    pub(crate) fn relation_ahead(&self, in_stream: bool) -> Option<u32> {
        let mut fields = Fields(self.inbox.peek_body());
        fields.take(25)?;
        let row = matches!(fields.u8()?, b'I' | b'U' | b'D');
        let _xid = if in_stream { Some(fields.u32()?) } else { None };
        fields.u32().filter(|_| row)
    }

    /// The next message that has arrived as a whole.
    pub(crate) fn next(&mut self) -> Result<Option<Inbound<'_>>, Error> {
        // Frames that say nothing are passed over without giving them out: a loop here would borrow twice.
        while self.inbox.peek_tag()?.is_some_and(|tag| matches!(tag, b'N' | b'S')) {
            self.inbox.next()?;
        }
        let Some(frame) = self.inbox.next()? else { return Ok(None) };
        match frame.tag {
            b'd' => inbound(frame.body).map(Some),
            b'c' | b'C' | b'Z' => Ok(Some(Inbound::Done)),
            b'E' => Err(server_error(frame.body)),
            tag => Err(Error::Protocol(format!("a message of type {tag} in a stream"))),
        }
    }
}

fn inbound(body: &[u8]) -> Result<Inbound<'_>, Error> {
    let mut fields = Fields(body);
    let parsed = match fields.u8() {
        Some(b'w') => {
            let lsn = fields.u64();
            let _end_and_clock = fields.take(16);
            lsn.zip(_end_and_clock).map(|(lsn, _)| Inbound::Data { lsn: Lsn(lsn), message: fields.0 })
        }
        Some(b'k') => {
            let sent = fields.u64();
            let _clock = fields.u64();
            let reply = fields.u8();
            sent.zip(reply).map(|(sent, reply)| Inbound::Keepalive { sent: Lsn(sent), reply: reply != 0 })
        }
        _ => None,
    };
    parsed.ok_or_else(|| Error::Protocol("a piece of the stream is neither data nor a keepalive".into()))
}

/// The outgoing direction.
#[derive(Debug)]
pub(crate) struct Writer {
    stream: WriteHalf<Stream>,
    outbox: BytesMut,
}

impl Writer {
    /// Tells the server what it may forget: everything before `durable` (CAP-1).
    pub(crate) async fn confirm(&mut self, durable: Lsn, now_ms: u64, reply: bool) -> Result<(), Error> {
        let mut status = [0u8; 34];
        let mut rest = status.as_mut_slice();
        rest.put_u8(b'r');
        // Written, flushed and applied are one: nothing counts before it is on stable storage.
        for _ in 0..3 {
            rest.put_u64(durable.0);
        }
        rest.put_i64(i64::try_from(now_ms).unwrap_or(i64::MAX).saturating_mul(1000) - POSTGRES_EPOCH_MICROS);
        rest.put_u8(u8::from(reply));
        self.outbox.clear();
        self.outbox.put_u8(b'd');
        self.outbox.put_u32(4 + status.len() as u32);
        self.outbox.put_slice(&status);
        self.send().await
    }

    /// Ends the stream in order.
    pub(crate) async fn finish(&mut self) -> Result<(), Error> {
        self.outbox.clear();
        postgres_protocol::message::frontend::copy_done(&mut self.outbox);
        self.send().await
    }

    async fn send(&mut self) -> Result<(), Error> {
        self.stream.write_all(&self.outbox).await.map_err(Error::Lost)?;
        self.stream.flush().await.map_err(Error::Lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn data_and_keepalives_are_told_apart() {
        let mut data = vec![b'w'];
        data.extend_from_slice(&7u64.to_be_bytes());
        data.extend_from_slice(&[0; 16]);
        data.extend_from_slice(b"B...");
        assert_eq!(inbound(&data).unwrap(), Inbound::Data { lsn: Lsn(7), message: b"B..." });
        let mut keepalive = vec![b'k'];
        keepalive.extend_from_slice(&9u64.to_be_bytes());
        keepalive.extend_from_slice(&[0; 8]);
        keepalive.push(1);
        assert_eq!(inbound(&keepalive).unwrap(), Inbound::Keepalive { sent: Lsn(9), reply: true });
    }

    proptest! {
        #[test]
        fn no_piece_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _sense_or_not = inbound(&bytes);
        }
    }
}
