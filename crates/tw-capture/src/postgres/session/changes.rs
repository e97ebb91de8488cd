//! Transactions and their row changes: the hot path.

use super::{Scratch, Session, Transaction};
use crate::postgres::envelope::{BadRow, Moment, Op};
use crate::postgres::layout::Identity;
use crate::postgres::pgoutput::{self, Commit, Message, Old, Tuple, Values};
use crate::postgres::replication::POSTGRES_EPOCH_MICROS;
use crate::postgres::tables::{Flow, Table};
use crate::sink::Sink;
use crate::{Error, Lsn};
use std::fmt::Write;
use tw_types::{Data, EventRef, PartitionId, Timestamp};

impl Session {
    /// Handles one message of the stream.
    pub(super) async fn message(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), Error> {
        let (xid, message) = pgoutput::decode(bytes, self.block.is_some())
            .map_err(|malformed| Error::Protocol(format!("{malformed}, at {lsn}")))?;
        match self.block {
            Some(top) => self.in_block(top, xid, message, bytes),
            None => self.outside_block(lsn, message, bytes).await,
        }
    }

    async fn outside_block(&mut self, lsn: Lsn, message: Message<'_>, bytes: &[u8]) -> Result<(), Error> {
        match message {
            Message::Begin { commit_lsn, committed_micros, xid } => {
                self.begin(commit_lsn, committed_micros, xid);
                Ok(())
            }
            Message::Commit(commit) => {
                self.commit(&commit);
                Ok(())
            }
            Message::StreamStart { xid, .. } => {
                self.block = Some(xid);
                Ok(())
            }
            Message::StreamCommit { xid, commit } => self.replay(xid, &commit).await,
            Message::StreamAbort { xid, subxid } => self.spool.roll_back(xid, subxid),
            Message::Logical { prefix, content, transactional, lsn: at } => {
                let place = if transactional { None } else { Some(at.max(lsn)) };
                self.note(prefix, content, place).await
            }
            other => self.change(other, bytes, false).await,
        }
    }

    /// Handles a message that can stand in a transaction.
    pub(super) async fn change(
        &mut self,
        message: Message<'_>,
        bytes: &[u8],
        in_stream: bool,
    ) -> Result<(), Error> {
        match message {
            Message::Relation(relation) => {
                self.remember(&relation, bytes, in_stream);
                Ok(())
            }
            Message::Insert { relation, .. }
            | Message::Update { relation, .. }
            | Message::Delete { relation, .. } => {
                if self.sink.is_too_full_for(bytes.len()) {
                    self.submit().await?;
                }
                if self.is_next_new()? {
                    if self.is_for_now(relation, bytes, in_stream)? {
                        self.prepare(relation).await?;
                        self.row(relation, &message)?;
                    }
                    self.mark_handed();
                }
                Ok(())
            }
            Message::Truncate(relations) => {
                if self.is_next_new()? {
                    // What is prepared may be written by itself, so all of that comes before the first event.
                    let mut now = Vec::new();
                    for relation in relations.iter() {
                        if self.is_for_now(relation, bytes, in_stream)? {
                            self.prepare(relation).await?;
                            now.push(relation);
                        }
                    }
                    let mut part = 0;
                    for relation in now {
                        part = self.truncated(relation, part)?;
                    }
                    self.mark_handed();
                }
                Ok(())
            }
            Message::Logical { prefix, content, .. } => self.note(prefix, content, None).await,
            Message::Type { .. } | Message::Origin => Ok(()),
            _ => Err(Error::Protocol("a message stands where it must not".into())),
        }
    }

    /// Starts a committed transaction.
    pub(super) fn begin(&mut self, lsn: Lsn, committed_micros: i64, xid: u32) {
        let full = self.epochs.extend(xid);
        let skip = match lsn.cmp(&self.cursor.lsn) {
            std::cmp::Ordering::Less => u64::MAX,
            std::cmp::Ordering::Equal => self.cursor.ordinal,
            std::cmp::Ordering::Greater => 0,
        };
        self.moment.prepare(time(committed_micros), self.env.clock.now_ms(), Some(xid), lsn, "false");
        self.transaction =
            Some(Transaction { xid: full, lsn, committed_micros, ordinal: 0, handed: 0, skip });
        self.scratch.name_events(lsn, "");
    }

    /// Ends the transaction.
    pub(super) fn commit(&mut self, commit: &Commit) {
        if let Some(transaction) = self.transaction.take() {
            self.counters.transactions += u64::from(transaction.ordinal > 0);
        }
        if commit.end > self.cursor.lsn {
            self.cursor.lsn = commit.end;
            self.cursor.ordinal = 0;
        }
    }

    /// Counts the next change; false if it is in the log already.
    fn is_next_new(&mut self) -> Result<bool, Error> {
        let transaction = self
            .transaction
            .as_mut()
            .ok_or_else(|| Error::Protocol("a change stands outside a transaction".into()))?;
        transaction.ordinal += 1;
        Ok(transaction.ordinal > transaction.skip)
    }

    /// The change that was counted last is in the sink: from here on, a cursor may cover it (CAP-1).
    fn mark_handed(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.handed = transaction.ordinal;
        }
    }

    /// Whether a change of this relation becomes events now, and not later or never.
    fn is_for_now(&mut self, relation: u32, bytes: &[u8], in_stream: bool) -> Result<bool, Error> {
        let Some(table) = self.tables.by_id(relation) else { return Ok(self.is_new_table(relation)) };
        match table.flow {
            Flow::Events => Ok(true),
            Flow::Ignore => Ok(false),
            Flow::Wait => self.wait_for_copy(relation, bytes, in_stream).map(|()| false),
        }
    }

    /// Turns a row change into events.
    pub(super) fn row(&mut self, relation: u32, message: &Message<'_>) -> Result<(), Error> {
        let Some(transaction) = &self.transaction else { return Ok(()) };
        let Some(table) = self.tables.by_id(relation) else { return Ok(()) };
        self.counters.changes += 1;
        let mut event = Emission {
            table,
            moment: &self.moment,
            scratch: &mut self.scratch,
            sink: &mut self.sink,
            ordinal: transaction.ordinal,
            part: 0,
        };
        let has_subject = event.row(message).map_err(|bad| table.refuse(transaction.lsn, &bad))?;
        let moved = !self.scratch.old_subject.is_empty();
        if has_subject && (moved || self.window.watches(relation)) {
            self.note_row(relation, message)
        } else {
            Ok(())
        }
    }

    /// Turns a truncation into one event for each partition of the table's stream. `part` counts the events that the
    /// truncation has made so far.
    pub(super) fn truncated(&mut self, relation: u32, part: u32) -> Result<u32, Error> {
        let Some(transaction) = &self.transaction else { return Ok(part) };
        let Some(table) = self.tables.by_id(relation) else { return Ok(part) };
        self.counters.changes += 1;
        if self.window.watches(relation) {
            self.window.changed(transaction.xid, relation, None);
        }
        let mut event = Emission {
            table,
            moment: &self.moment,
            scratch: &mut self.scratch,
            sink: &mut self.sink,
            ordinal: transaction.ordinal,
            part,
        };
        event.truncate(None).map_err(|bad| table.refuse(transaction.lsn, &bad))?;
        Ok(event.part)
    }
}

impl Scratch {
    /// From now on the ids of events start with this place.
    pub(super) fn name_events(&mut self, lsn: Lsn, prefix: &str) {
        self.id.clear();
        // Writing to a text does not fail.
        let _ = write!(self.id, "{lsn}/{prefix}");
    }
}

pub(super) fn time(micros: i64) -> Timestamp {
    Timestamp::from_nanos(micros.saturating_add(POSTGRES_EPOCH_MICROS).saturating_mul(1000))
}

/// Makes events of one table from one change.
pub(super) struct Emission<'a> {
    pub(super) table: &'a Table,
    pub(super) moment: &'a Moment,
    pub(super) scratch: &'a mut Scratch,
    pub(super) sink: &'a mut Sink,
    /// The change's number in its transaction.
    pub(super) ordinal: u64,
    /// How many events it has made.
    pub(super) part: u32,
}

impl Emission<'_> {
    /// Writes the events of a row change; whether rows have a subject. The subjects stay in the scratch buffers, the old
    /// one empty unless it differs.
    fn row(&mut self, message: &Message<'_>) -> Result<bool, BadRow> {
        let encoder = &self.table.encoder;
        self.scratch.old_subject.clear();
        match *message {
            Message::Insert { new, .. } => {
                let has_subject = encoder.subject(&mut self.scratch.subject, new.values(), None)?;
                self.put(Op::Create, None, Some(new.values()), None, has_subject)?;
                Ok(has_subject)
            }
            Message::Delete { old, .. } => {
                let has_subject = encoder.subject(&mut self.scratch.subject, old.tuple().values(), None)?;
                self.need_identity(has_subject)?;
                self.put(Op::Delete, Some(old), None::<Values<'_>>, None, has_subject)?;
                Ok(has_subject)
            }
            Message::Update { old, new, .. } => self.update(old, new),
            _ => Ok(false),
        }
    }

    fn update(&mut self, old: Option<Old<'_>>, new: Tuple<'_>) -> Result<bool, BadRow> {
        let encoder = &self.table.encoder;
        let before = old.map(|old| old.tuple());
        let full = old.and_then(|old| old.full());
        let has_subject = encoder.subject(&mut self.scratch.subject, new.values(), before)?;
        self.need_identity(has_subject)?;
        if let Some((old, before)) = old.zip(before) {
            encoder.subject(&mut self.scratch.old_subject, before.values(), None)?;
            if self.scratch.old_subject != self.scratch.subject {
                // Another key is another row: the old one ends, the new one begins.
                std::mem::swap(&mut self.scratch.subject, &mut self.scratch.old_subject);
                self.put(Op::Delete, Some(old), None::<Values<'_>>, None, true)?;
                std::mem::swap(&mut self.scratch.subject, &mut self.scratch.old_subject);
                self.put(Op::Create, None, Some(new.values()), full, true)?;
                return Ok(true);
            }
            self.scratch.old_subject.clear();
        }
        let told = old.filter(|old| old.full().is_some());
        self.put(Op::Update, told, Some(new.values()), full, true)?;
        Ok(true)
    }

    fn need_identity(&self, has_subject: bool) -> Result<(), BadRow> {
        if has_subject {
            return Ok(());
        }
        debug_assert!(matches!(self.table.layout.identity, Identity::Nothing));
        let reason =
            "an update or delete does not say of which row: add a primary key, or set REPLICA IDENTITY FULL";
        Err(BadRow { column: None, reason: reason.into() })
    }

    pub(super) fn put<'v>(
        &mut self,
        op: Op,
        before: Option<Old<'v>>,
        after: Option<impl Iterator<Item = pgoutput::Value<'v>>>,
        old: Option<Tuple<'v>>,
        has_subject: bool,
    ) -> Result<(), BadRow> {
        self.table.encoder.data(&mut self.scratch.data, op, before, after, old, self.moment)?;
        self.send(op.event_type(), None, has_subject)
    }

    /// Writes one event without subject for each partition.
    pub(super) fn truncate(&mut self, reset: Option<&str>) -> Result<(), BadRow> {
        for partition in 0..self.table.def.partitions {
            self.table.encoder.truncate(&mut self.scratch.data, reset, self.moment);
            self.send("table.truncate", Some(PartitionId(partition)), false)?;
        }
        Ok(())
    }

    fn send(&mut self, ty: &str, partition: Option<PartitionId>, has_subject: bool) -> Result<(), BadRow> {
        let Scratch { id, subject, data, .. } = &mut *self.scratch;
        let place = id.len();
        let mut digits = itoa::Buffer::new();
        id.push_str(digits.format(self.ordinal));
        if self.part > 0 {
            id.push('.');
            id.push_str(digits.format(self.part));
        }
        self.part += 1;
        // Subjects were checked to be UTF-8 when they were written.
        let subject = if has_subject { std::str::from_utf8(subject).ok() } else { None };
        let event = EventRef {
            id,
            source: &self.table.source,
            ty,
            subject,
            time: self.moment.time,
            datacontenttype: None,
            dataschema: Some(&self.table.dataschema),
            extensions: Vec::new(),
            data: Data::Json(data),
        };
        let outcome = self.sink.push(&self.table.def, partition, &event);
        id.truncate(place);
        Ok(outcome?)
    }
}
