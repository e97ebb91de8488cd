//! Rows as change events: the Debezium envelope, and the subject that tells which row it is.
//!
//! Whatever is the same for all events of a table or of a transaction is prepared once; per event, texts are appended
//! to buffers that are used again.

use super::json::{self, Form, Refusal};
use super::layout::{Identity, Layout};
use super::name::TableName;
use super::pgoutput::{Old, Tuple, Value};
use crate::Lsn;
use std::borrow::Cow;
use tw_types::Timestamp;
use xxhash_rust::xxh3::xxh3_128;

/// What stands for a large value that an update did not touch.
pub(crate) const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// A column whose value cannot be written, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRow {
    pub(crate) column: Option<String>,
    pub(crate) reason: Cow<'static, str>,
}

impl From<tw_log::store::Error> for BadRow {
    fn from(error: tw_log::store::Error) -> Self {
        Self { column: None, reason: error.to_string().into() }
    }
}

impl std::fmt::Display for BadRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.column {
            Some(column) => write!(f, "column `{column}`: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

const WRONG_COUNT: Refusal = "a row has not as many values as the table has columns";
const KEY_MISSING: Refusal =
    "the value of a key column is not told: set REPLICA IDENTITY DEFAULT or FULL on the table";

/// What happened to a row, as the envelope says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Create,
    Update,
    Delete,
    Read,
}

impl Op {
    /// The type of the event.
    pub(crate) fn event_type(self) -> &'static str {
        match self {
            Self::Create => "row.insert",
            Self::Update => "row.update",
            Self::Delete => "row.delete",
            Self::Read => "row.read",
        }
    }

    fn letter(self) -> &'static [u8] {
        match self {
            Self::Create => b"{\"op\":\"c\",\"before\":",
            Self::Update => b"{\"op\":\"u\",\"before\":",
            Self::Delete => b"{\"op\":\"d\",\"before\":",
            Self::Read => b"{\"op\":\"r\",\"before\":",
        }
    }
}

/// The part of the envelope that tells of a transaction, or of a chunk of a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Moment {
    /// When it was committed, or read.
    pub(crate) time: Option<Timestamp>,
    tail: Vec<u8>,
}

impl Moment {
    /// Prepares the tail of the envelopes. `snapshot` is what `source.snapshot` says.
    pub(crate) fn new(time: Timestamp, now_ms: u64, xid: Option<u32>, lsn: Lsn, snapshot: &str) -> Self {
        let mut moment = Self { time: Some(time), tail: Vec::new() };
        moment.prepare(time, now_ms, xid, lsn, snapshot);
        moment
    }

    /// The same, into the same buffer.
    pub(crate) fn prepare(
        &mut self,
        time: Timestamp,
        now_ms: u64,
        xid: Option<u32>,
        lsn: Lsn,
        snapshot: &str,
    ) {
        let mut digits = itoa::Buffer::new();
        let tail = &mut self.tail;
        tail.clear();
        tail.extend_from_slice(b",\"snapshot\":\"");
        tail.extend_from_slice(snapshot.as_bytes());
        tail.extend_from_slice(b"\",\"ts_ms\":");
        tail.extend_from_slice(digits.format(time.millis()).as_bytes());
        tail.extend_from_slice(b",\"txId\":");
        match xid {
            Some(xid) => tail.extend_from_slice(digits.format(xid).as_bytes()),
            None => tail.extend_from_slice(b"null"),
        }
        tail.extend_from_slice(b",\"lsn\":");
        tail.extend_from_slice(digits.format(lsn.0).as_bytes());
        tail.extend_from_slice(b"},\"ts_ms\":");
        tail.extend_from_slice(digits.format(now_ms).as_bytes());
        tail.push(b'}');
        self.time = Some(time);
    }
}

/// Writes the events of one table under one layout.
#[derive(Debug)]
pub(crate) struct Encoder {
    columns: Vec<ColumnPlan>,
    identity: Identity,
    /// `,"source":{…` up to where the moment goes on.
    source: Vec<u8>,
}

#[derive(Debug)]
struct ColumnPlan {
    name: String,
    form: Form,
    /// `"name":`
    label: Vec<u8>,
    identity: bool,
}

impl Encoder {
    pub(crate) fn new(source: &str, database: &str, table: &TableName, layout: &Layout) -> Self {
        let columns = layout.columns.iter().map(|column| {
            let mut label = Vec::new();
            json::put_str(&mut label, &column.name);
            label.push(b':');
            ColumnPlan {
                name: column.name.clone(),
                form: column.base.form(),
                label,
                identity: column.identity,
            }
        });
        let mut head = Vec::from(b",\"source\":{\"version\":" as &[u8]);
        json::put_str(&mut head, env!("CARGO_PKG_VERSION"));
        head.extend_from_slice(b",\"connector\":\"postgresql\"");
        let names = [("name", source), ("db", database), ("schema", &table.schema), ("table", &table.table)];
        for (label, text) in names {
            head.extend_from_slice(format!(",\"{label}\":").as_bytes());
            json::put_str(&mut head, text);
        }
        Self { columns: columns.collect(), identity: layout.identity.clone(), source: head }
    }

    fn bad(&self, column: usize, reason: Refusal) -> BadRow {
        BadRow { column: self.columns.get(column).map(|plan| plan.name.clone()), reason: reason.into() }
    }

    /// Writes the subject of a row into `out`; false if rows of this table have none.
    ///
    /// `old` is the row before the change: a key value that was not sent with the new row is the same as there.
    pub(crate) fn subject<'a>(
        &self,
        out: &mut Vec<u8>,
        row: impl Iterator<Item = Value<'a>> + Clone,
        old: Option<Tuple<'a>>,
    ) -> Result<bool, BadRow> {
        out.clear();
        let value = |index: usize| {
            let mut value = row.clone().nth(index);
            if let (Some(Value::Unchanged), Some(old)) = (value, old) {
                value = old.values().nth(index);
            }
            match value {
                Some(Value::Text(text)) => Ok(text),
                _ => Err(self.bad(index, KEY_MISSING)),
            }
        };
        match &self.identity {
            Identity::Nothing => return Ok(false),
            Identity::WholeRow => self.whole_row(out, row, old)?,
            Identity::Key(key) => match key.as_slice() {
                [index] => {
                    let text = value(*index)?;
                    // A list of one where the plain text could be taken for a list, or for nothing.
                    if text.is_empty() || text.first() == Some(&b'[') {
                        self.list(out, std::iter::once(Ok((*index, text))))?;
                    } else {
                        std::str::from_utf8(text).map_err(|_| self.bad(*index, "its value is not UTF-8"))?;
                        out.extend_from_slice(text);
                    }
                }
                key => self.list(out, key.iter().map(|index| Ok((*index, value(*index)?))))?,
            },
        }
        Ok(true)
    }

    /// `["a","b"]`
    fn list<'a>(
        &self,
        out: &mut Vec<u8>,
        texts: impl Iterator<Item = Result<(usize, &'a [u8]), BadRow>>,
    ) -> Result<(), BadRow> {
        out.push(b'[');
        for text in texts {
            let (index, text) = text?;
            if out.len() > 1 {
                out.push(b',');
            }
            json::put_text(out, text).map_err(|reason| self.bad(index, reason))?;
        }
        out.push(b']');
        Ok(())
    }

    /// The hash of all values, as 32 hexadecimal digits.
    fn whole_row<'a>(
        &self,
        out: &mut Vec<u8>,
        row: impl Iterator<Item = Value<'a>>,
        old: Option<Tuple<'a>>,
    ) -> Result<(), BadRow> {
        let mut before = old.map(|old| old.values());
        for (index, value) in row.enumerate() {
            let before = before.as_mut().and_then(Iterator::next);
            match (value, before) {
                (Value::Text(text), _) | (Value::Unchanged, Some(Value::Text(text))) => {
                    json::put_text(out, text).map_err(|reason| self.bad(index, reason))?;
                }
                (Value::Null, _) => out.extend_from_slice(b"null"),
                (Value::Unchanged, _) => return Err(self.bad(index, KEY_MISSING)),
            }
            out.push(b',');
        }
        let hash = xxh3_128(out);
        out.clear();
        out.extend_from_slice(format!("{hash:032x}").as_bytes());
        Ok(())
    }

    /// Writes the data of an event into `out`. `old` is the whole row before the change, if it was sent: a value that
    /// was not sent with `after` is the same as there.
    pub(crate) fn data<'a>(
        &self,
        out: &mut Vec<u8>,
        op: Op,
        before: Option<Old<'a>>,
        after: Option<impl Iterator<Item = Value<'a>>>,
        old: Option<Tuple<'a>>,
        moment: &Moment,
    ) -> Result<(), BadRow> {
        out.clear();
        out.extend_from_slice(op.letter());
        match before {
            None => out.extend_from_slice(b"null"),
            Some(Old::Key(tuple)) => self.row(out, tuple.values(), None, true)?,
            Some(Old::Full(tuple)) => self.row(out, tuple.values(), None, false)?,
        }
        out.extend_from_slice(b",\"after\":");
        match after {
            None => out.extend_from_slice(b"null"),
            Some(row) => self.row(out, row, old, false)?,
        }
        self.tail(out, moment);
        Ok(())
    }

    /// Writes the data of an event that tells that all rows are gone. `reset` says why, if it was not a TRUNCATE.
    pub(crate) fn truncate(&self, out: &mut Vec<u8>, reset: Option<&str>, moment: &Moment) {
        out.clear();
        out.extend_from_slice(b"{\"op\":\"t\",\"before\":null,\"after\":null");
        if let Some(reset) = reset {
            out.extend_from_slice(b",\"reset\":");
            json::put_str(out, reset);
        }
        self.tail(out, moment);
    }

    fn tail(&self, out: &mut Vec<u8>, moment: &Moment) {
        out.extend_from_slice(&self.source);
        out.extend_from_slice(&moment.tail);
    }

    /// Appends a row as an object. `old` holds the values that were not sent because they have not changed.
    fn row<'a>(
        &self,
        out: &mut Vec<u8>,
        row: impl Iterator<Item = Value<'a>>,
        old: Option<Tuple<'a>>,
        identity_only: bool,
    ) -> Result<(), BadRow> {
        out.push(b'{');
        let mut count = 0;
        let mut before = old.map(|old| old.values());
        for (index, value) in row.enumerate() {
            count += 1;
            let Some(plan) = self.columns.get(index) else { break };
            let known = before.as_mut().and_then(Iterator::next);
            if identity_only && !plan.identity {
                continue;
            }
            if out.last() != Some(&b'{') {
                out.push(b',');
            }
            out.extend_from_slice(&plan.label);
            match (value, known) {
                (Value::Text(text), _) | (Value::Unchanged, Some(Value::Text(text))) => {
                    json::put(out, plan.form, text).map_err(|reason| self.bad(index, reason))?;
                }
                (Value::Null, _) | (Value::Unchanged, Some(Value::Null)) => out.extend_from_slice(b"null"),
                (Value::Unchanged, _) => json::put_str(out, UNAVAILABLE),
            }
        }
        if count != self.columns.len() {
            return Err(BadRow { column: None, reason: WRONG_COUNT.into() });
        }
        out.push(b'}');
        Ok(())
    }
}
