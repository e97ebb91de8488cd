//! Transactions that are streamed before they are committed: kept aside, and handled at their commit.

use super::Session;
use crate::Error;
use crate::postgres::pgoutput::{self, Commit, Message};

/// How many bytes are read back before other tasks get a turn.
const BYTES_PER_TURN: usize = 1 << 20;

impl Session {
    /// Handles a message between the start and the end of a block.
    pub(super) fn in_block(
        &mut self,
        top: u32,
        xid: Option<u32>,
        message: Message<'_>,
        bytes: &[u8],
    ) -> Result<(), Error> {
        match (message, xid) {
            (Message::StreamStop, _) => {
                self.block = None;
                Ok(())
            }
            (Message::Origin, _) => Ok(()),
            (_, Some(subxid)) => self.spool.push(top, subxid, bytes),
            (_, None) => Err(Error::Protocol("a message stands in a block of a running transaction".into())),
        }
    }

    /// A streamed transaction is committed: its changes come now.
    pub(super) async fn replay(&mut self, xid: u32, commit: &Commit) -> Result<(), Error> {
        self.begin(commit.lsn, commit.micros, xid);
        let mut replay = self.spool.take(xid)?;
        let mut turn = 0;
        while let Some(bytes) = replay.next()? {
            let (_, message) =
                pgoutput::decode(bytes, true).map_err(|malformed| Error::Protocol(malformed.to_string()))?;
            self.change(message, bytes, true).await?;
            if self.sink.is_full() {
                self.submit().await?;
            }
            turn += bytes.len();
            if turn > BYTES_PER_TURN {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
        replay.remove()?;
        self.counters.streamed_transactions += 1;
        self.commit(commit);
        Ok(())
    }
}
