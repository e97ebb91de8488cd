//! Decoding of `pgoutput`, the output plugin of logical replication, protocol version 2, text format.
//!
//! Nothing is copied: a [`Message`] borrows from the bytes that it was read from. No input can make the decoder panic
//! or allocate. Source: PostgreSQL documentation, "Logical Replication Message Formats" and "Logical Streaming
//! Replication Protocol".
#![warn(clippy::indexing_slicing)]

use super::frame::Fields;
use crate::Lsn;

#[cfg(test)]
mod tests;

/// Bytes that are not a message of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a change message {0}")]
pub struct Malformed(&'static str);

/// One message of the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// The start of a committed transaction.
    Begin {
        /// Where its commit record is.
        commit_lsn: Lsn,
        /// When it was committed, in microseconds since 2000-01-01 UTC.
        committed_micros: i64,
        /// Its number.
        xid: u32,
    },
    /// The end of a committed transaction.
    Commit(Commit),
    /// The transaction was first committed elsewhere.
    Origin,
    /// What a relation looks like; comes before its first change, and again when it has changed.
    Relation(Relation<'a>),
    /// The name of a type that is not built in.
    Type {
        /// Its number.
        id: u32,
        /// Its schema.
        schema: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// A row was inserted.
    Insert {
        /// Into which relation.
        relation: u32,
        /// The row.
        new: Tuple<'a>,
    },
    /// A row was updated.
    Update {
        /// In which relation.
        relation: u32,
        /// The old row, as far as the replica identity tells.
        old: Option<Old<'a>>,
        /// The new row.
        new: Tuple<'a>,
    },
    /// A row was deleted.
    Delete {
        /// From which relation.
        relation: u32,
        /// The old row, as far as the replica identity tells.
        old: Old<'a>,
    },
    /// All rows were removed from some relations.
    Truncate(Relations<'a>),
    /// A message that somebody wrote with `pg_logical_emit_message`.
    Logical {
        /// Whether it belongs to the transaction, or stands for itself.
        transactional: bool,
        /// Where it is.
        lsn: Lsn,
        /// Its prefix, which tells whose it is.
        prefix: &'a [u8],
        /// Its content.
        content: &'a [u8],
    },
    /// A block of changes of a transaction that is still running.
    StreamStart {
        /// The transaction.
        xid: u32,
        /// Whether this is its first block.
        first: bool,
    },
    /// The end of such a block.
    StreamStop,
    /// A streamed transaction is committed.
    StreamCommit {
        /// The transaction.
        xid: u32,
        /// Its commit.
        commit: Commit,
    },
    /// A streamed transaction, or a subtransaction of it, is rolled back.
    StreamAbort {
        /// The transaction.
        xid: u32,
        /// What is rolled back: the transaction itself, or one subtransaction.
        subxid: u32,
    },
}

/// The commit of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// Where the commit record starts.
    pub lsn: Lsn,
    /// Where it ends: every later transaction commits there or after.
    pub end: Lsn,
    /// When, in microseconds since 2000-01-01 UTC.
    pub micros: i64,
}

/// The old row of an update or delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old<'a> {
    /// Only the columns of the replica identity are told; the others look like NULL.
    Key(Tuple<'a>),
    /// The whole row (replica identity full).
    Full(Tuple<'a>),
}

impl<'a> Old<'a> {
    /// The values, as far as they are told.
    pub fn tuple(&self) -> Tuple<'a> {
        match self {
            Self::Key(tuple) | Self::Full(tuple) => *tuple,
        }
    }

    /// The values, if all are told.
    pub fn full(&self) -> Option<Tuple<'a>> {
        match self {
            Self::Key(_) => None,
            Self::Full(tuple) => Some(*tuple),
        }
    }
}

/// What a relation looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation<'a> {
    /// Its number.
    pub id: u32,
    /// Its schema; empty for `pg_catalog`.
    pub schema: &'a str,
    /// Its name.
    pub name: &'a str,
    /// `d`efault, `n`othing, `f`ull or `i`ndex.
    pub identity: u8,
    columns: u16,
    bytes: &'a [u8],
}

/// A column of a [`Relation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelationColumn<'a> {
    /// Whether it is part of the replica identity.
    pub key: bool,
    /// Its name.
    pub name: &'a str,
    /// The number of its type.
    pub type_id: u32,
    /// The modifier of its type, −1 for none.
    pub type_modifier: i32,
}

impl<'a> Relation<'a> {
    /// The columns in order.
    pub fn columns(&self) -> impl Iterator<Item = RelationColumn<'a>> + use<'a> {
        let mut fields = Fields(self.bytes);
        (0..self.columns).map_while(move |_| relation_column(&mut fields))
    }
}

fn relation_column<'a>(fields: &mut Fields<'a>) -> Option<RelationColumn<'a>> {
    let key = fields.u8()? & 1 != 0;
    Some(RelationColumn { key, name: fields.text()?, type_id: fields.u32()?, type_modifier: fields.i32()? })
}

/// The relations of a truncation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relations<'a>(&'a [u8]);

impl<'a> Relations<'a> {
    /// Their numbers.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'a> {
        let mut fields = Fields(self.0);
        std::iter::from_fn(move || fields.u32())
    }
}

/// The values of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple<'a> {
    columns: u16,
    bytes: &'a [u8],
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// A large value that the update did not touch, and that therefore was not sent.
    Unchanged,
    /// The text that the type's output function makes.
    Text(&'a [u8]),
}

impl<'a> Tuple<'a> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        usize::from(self.columns)
    }

    /// Whether there are none: a relation may have no columns.
    pub fn is_empty(&self) -> bool {
        self.columns == 0
    }

    /// The values in the order of the relation's columns.
    pub fn values(&self) -> Values<'a> {
        Values { left: self.columns, fields: Fields(self.bytes) }
    }
}

/// The values of a [`Tuple`], one after the other.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    left: u16,
    fields: Fields<'a>,
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.left = self.left.checked_sub(1)?;
        // The tuple was walked once when it was decoded, so this succeeds as often as it has columns.
        value(&mut self.fields).ok()
    }
}

fn value<'a>(fields: &mut Fields<'a>) -> Result<Value<'a>, Malformed> {
    match fields.u8() {
        Some(b't') => {
            let length = fields.u32().ok_or(SHORT)?;
            fields.take(length as usize).map(Value::Text).ok_or(SHORT)
        }
        Some(b'n') => Ok(Value::Null),
        Some(b'u') => Ok(Value::Unchanged),
        Some(b'b') => Err(Malformed("has a binary value, which was not asked for")),
        Some(_) => Err(Malformed("has a value of an unknown kind")),
        None => Err(SHORT),
    }
}

const SHORT: Malformed = Malformed("ends too early");

/// Reads one message. `in_stream` tells whether it stands between StreamStart and StreamStop: changes then name the
/// (sub)transaction that they belong to, which comes first in the result.
///
/// # Errors
/// [`Malformed`].
pub fn decode(bytes: &[u8], in_stream: bool) -> Result<(Option<u32>, Message<'_>), Malformed> {
    let mut fields = Fields(bytes);
    let tag = fields.u8().ok_or(SHORT)?;
    let named = in_stream && matches!(tag, b'R' | b'Y' | b'I' | b'U' | b'D' | b'T' | b'M');
    let xid = if named { Some(fields.u32().ok_or(SHORT)?) } else { None };
    let message = match tag {
        b'I' | b'U' | b'D' | b'T' => row_change(tag, &mut fields)?,
        b'R' => Message::Relation(relation(&mut fields)?),
        _ => other(tag, &mut fields).ok_or(SHORT)??,
    };
    if fields.0.is_empty() { Ok((xid, message)) } else { Err(Malformed("has bytes after its end")) }
}

fn row_change<'a>(tag: u8, fields: &mut Fields<'a>) -> Result<Message<'a>, Malformed> {
    if tag == b'T' {
        return truncate(fields);
    }
    let relation = fields.u32().ok_or(SHORT)?;
    let mut old = None;
    loop {
        match (fields.u8().ok_or(SHORT)?, tag) {
            (b'N', b'I') => return Ok(Message::Insert { relation, new: tuple(fields)? }),
            (b'N', b'U') => return Ok(Message::Update { relation, old, new: tuple(fields)? }),
            (b'K', b'U' | b'D') if old.is_none() => old = Some(Old::Key(tuple(fields)?)),
            (b'O', b'U' | b'D') if old.is_none() => old = Some(Old::Full(tuple(fields)?)),
            _ => return Err(Malformed("has a row of an unknown kind")),
        }
        if let (b'D', Some(old)) = (tag, old) {
            return Ok(Message::Delete { relation, old });
        }
    }
}

fn truncate<'a>(fields: &mut Fields<'a>) -> Result<Message<'a>, Malformed> {
    let count = fields.u32().ok_or(SHORT)?;
    let _cascade_and_restart = fields.u8().ok_or(SHORT)?;
    let bytes = (count as usize).checked_mul(4).ok_or(SHORT)?;
    Ok(Message::Truncate(Relations(fields.take(bytes).ok_or(SHORT)?)))
}

/// Walks over a tuple: the result's values are all there.
fn tuple<'a>(fields: &mut Fields<'a>) -> Result<Tuple<'a>, Malformed> {
    let columns = fields.u16().ok_or(SHORT)?;
    let bytes = fields.0;
    for _ in 0..columns {
        value(fields)?;
    }
    let used = bytes.len() - fields.0.len();
    Ok(Tuple { columns, bytes: bytes.get(..used).ok_or(SHORT)? })
}

fn relation<'a>(fields: &mut Fields<'a>) -> Result<Relation<'a>, Malformed> {
    let head = |fields: &mut Fields<'a>| {
        Some((fields.u32()?, fields.text()?, fields.text()?, fields.u8()?, fields.u16()?))
    };
    let (id, schema, name, identity, columns) =
        head(fields).ok_or(Malformed("has a name that is not UTF-8, or ends too early"))?;
    let bytes = fields.0;
    for _ in 0..columns {
        relation_column(fields).ok_or(Malformed("has a name that is not UTF-8, or ends too early"))?;
    }
    let used = bytes.len() - fields.0.len();
    Ok(Relation { id, schema, name, identity, columns, bytes: bytes.get(..used).ok_or(SHORT)? })
}

/// The messages of fixed form. None when one ends too early.
fn other<'a>(tag: u8, fields: &mut Fields<'a>) -> Option<Result<Message<'a>, Malformed>> {
    Some(Ok(match tag {
        b'B' => Message::Begin {
            commit_lsn: Lsn(fields.u64()?),
            committed_micros: fields.i64()?,
            xid: fields.u32()?,
        },
        b'C' => Message::Commit(commit(fields)?),
        b'O' => {
            fields.u64()?;
            fields.text()?;
            Message::Origin
        }
        b'Y' => Message::Type { id: fields.u32()?, schema: fields.text()?, name: fields.text()? },
        b'M' => {
            let transactional = fields.u8()? & 1 != 0;
            let lsn = Lsn(fields.u64()?);
            let end = fields.0.iter().position(|byte| *byte == 0)?;
            let prefix = fields.take(end)?;
            fields.take(1)?;
            let length = fields.u32()?;
            Message::Logical { transactional, lsn, prefix, content: fields.take(length as usize)? }
        }
        b'S' => Message::StreamStart { xid: fields.u32()?, first: fields.u8()? != 0 },
        b'E' => Message::StreamStop,
        b'c' => Message::StreamCommit { xid: fields.u32()?, commit: commit(fields)? },
        b'A' => Message::StreamAbort { xid: fields.u32()?, subxid: fields.u32()? },
        _ => return Some(Err(Malformed("is of an unknown kind"))),
    }))
}

fn commit(fields: &mut Fields<'_>) -> Option<Commit> {
    let _flags = fields.u8()?;
    Some(Commit { lsn: Lsn(fields.u64()?), end: Lsn(fields.u64()?), micros: fields.i64()? })
}
