//! Changes of a table that has no key, while a consistent copy of it is being read: they wait, and follow the copy.

use super::changes::time;
use super::{Session, Transaction};
use crate::postgres::frame::Fields;
use crate::postgres::pgoutput::{self, Message};
use crate::postgres::tables::Flow;
use crate::{Error, Lsn};

/// What is kept of a change beside the message: commit, time, transaction, number in it, mode, relation.
const HEADER_BYTES: usize = 8 + 8 + 8 + 8 + 1;

impl Session {
    /// Keeps a change of `relation` for later.
    pub(super) fn wait_for_copy(
        &mut self,
        relation: u32,
        bytes: &[u8],
        in_stream: bool,
    ) -> Result<(), Error> {
        let Some(transaction) = &self.transaction else { return Ok(()) };
        let header = |in_stream: bool| {
            let mut header = Vec::with_capacity(HEADER_BYTES + bytes.len());
            header.extend_from_slice(&transaction.lsn.0.to_be_bytes());
            header.extend_from_slice(&transaction.committed_micros.to_be_bytes());
            header.extend_from_slice(&transaction.xid.to_be_bytes());
            header.extend_from_slice(&transaction.ordinal.to_be_bytes());
            header.push(u8::from(in_stream));
            header
        };
        if let Some(known) = self.relations.get_mut(&relation).filter(|known| !known.waits) {
            known.waits = true;
            let mut entry = header(false);
            entry.extend_from_slice(&known.bytes);
            self.copies.push(relation, relation, &entry)?;
        }
        let mut entry = header(in_stream);
        entry.extend_from_slice(bytes);
        self.copies.push(relation, relation, &entry)
    }

    /// The copy of `relation` as of `from` is complete: what waited and came after it becomes events, and from here on
    /// changes do at once.
    pub(super) async fn release(&mut self, relation: u32, from: Lsn) -> Result<(), Error> {
        // The cursor of what has been handed over so far, before other places are visited.
        self.submit().await?;
        let (under_way, moment) = (self.transaction.take(), std::mem::take(&mut self.moment));
        if let Some(table) = self.tables.by_id_mut(relation) {
            table.flow = Flow::Events;
        }
        let mut replay = self.copies.take(relation)?;
        while let Some(entry) = replay.next()? {
            self.release_one(relation, from, entry).await?;
            if self.sink.is_full() {
                self.submit().await?;
                tokio::task::yield_now().await;
            }
        }
        replay.remove()?;
        self.transaction = under_way;
        self.moment = moment;
        if let Some(transaction) = &self.transaction {
            self.scratch.name_events(transaction.lsn, "");
        }
        Ok(())
    }

    async fn release_one(&mut self, relation: u32, from: Lsn, entry: &[u8]) -> Result<(), Error> {
        let mut fields = Fields(entry);
        let parsed = (|| Some((fields.u64()?, fields.i64()?, fields.u64()?, fields.u64()?, fields.u8()?)))();
        let (lsn, micros, xid, ordinal, in_stream) =
            parsed.ok_or_else(|| Error::Protocol("a change that waited does not read".into()))?;
        let lsn = Lsn(lsn);
        let (_, message) = pgoutput::decode(fields.0, in_stream != 0)
            .map_err(|malformed| Error::Protocol(malformed.to_string()))?;
        if self.transaction.as_ref().is_none_or(|transaction| transaction.lsn != lsn) {
            self.moment.prepare(time(micros), self.env.clock.now_ms(), Some(xid as u32), lsn, "false");
            self.scratch.name_events(lsn, "");
        }
        // Nothing of it counts for the cursor, which is further on.
        self.transaction =
            Some(Transaction { xid, lsn, committed_micros: micros, ordinal, handed: 0, skip: u64::MAX });
        match message {
            Message::Relation(told) => {
                self.remember(&told, fields.0, in_stream != 0);
                Ok(())
            }
            _ if lsn < from => Ok(()),
            Message::Truncate(_) => {
                self.prepare(relation).await?;
                self.truncated(relation, 0).map(drop)
            }
            row => {
                if self.sink.is_too_full_for(entry.len()) {
                    self.submit().await?;
                }
                self.prepare(relation).await?;
                self.row(relation, &row)
            }
        }
    }
}
