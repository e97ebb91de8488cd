//! What a source remembers of itself: events of the compacted system stream `$sources`, written together with the
//! changes that they cover.
//!
//! - `source.cursor`, subject `shop`: how far the source has come.
//! - `source.table`, subject `shop/public.orders`: how far one table's snapshot has come.
//! - `source.gap`, without a subject so that compaction keeps it: changes between two positions are not in the log.

use crate::{Error, Lsn};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tw_log::{Log, NewStream};
use tw_types::{Cleanup, Data, Event, PartitionId, StreamDef, StreamName, StreamPartition, Timestamp};

/// The stream in which sources remember.
pub const SOURCES_STREAM: &str = "$sources";
/// The type of the event that tells how far a source has come.
pub const CURSOR_TYPE: &str = "source.cursor";
/// The type of the event that tells how far a table has come.
pub const TABLE_TYPE: &str = "source.table";
/// The type of the event that tells that changes are missing (CAP-3).
pub const GAP_TYPE: &str = "source.gap";

/// How much is read of the stream at once.
const READ_BYTES: usize = 4 << 20;

/// How far a source has come. Everything that was committed before `lsn` is in the log, and of the transaction that
/// was committed at `lsn` the first `ordinal` changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cursor {
    /// The version of this form: 1.
    pub v: u32,
    /// The number of the database cluster that all this is about.
    pub system_id: String,
    /// The timeline of `lsn`.
    pub timeline: u32,
    /// See above. Zero: nothing has been streamed since the source began, or began anew after a gap.
    pub lsn: Lsn,
    /// See above.
    pub ordinal: u64,
    /// The number of the latest transaction, with its epoch.
    pub xid: u64,
}

/// How far a table's snapshot has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableCursor {
    /// The version of this form: 1.
    pub v: u32,
    /// The number of the table in its database.
    pub id: u32,
    /// What its rows were stored in when they were read: tells a rewrite.
    pub storage: String,
    /// A hash of the names and types of its columns.
    pub shape: String,
    /// Its columns when they were last looked at; none if that was by an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
    /// Names of columns that have been dropped since the rows were read: the log still holds values under them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dropped: BTreeSet<String>,
    /// What identifies a row: `key`, `row` (all of it) or `none`.
    pub identity: String,
    /// How far the snapshot is.
    pub phase: Phase,
    /// How many rows the snapshot has read.
    pub rows: u64,
    /// Keys of rows that are to be read once more, because a change left values out that the log may not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<Vec<String>>,
    /// Whether there are more of these than can be named: then all rows are, once those have been read that are being
    /// read now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all_again: bool,
    /// How many updates and deletes the server had counted when an append-only table had been read: those are not
    /// captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_over: Option<u64>,
}

/// What tells that rows may hold other values although the columns look the same: `ALTER … TYPE text USING lower(c)`, or
/// a column that was dropped and added again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Columns {
    /// The highest number of a column: what is added later has a higher one.
    pub last: i16,
    /// A hash of the numbers of the columns and of the transactions that defined them.
    pub defined: String,
}

/// How far a snapshot is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum Phase {
    /// It has not begun.
    Pending,
    /// Rows up to this key have been read; keys are in the order of the key's columns, as text.
    Running {
        /// The last key.
        after: Vec<String>,
    },
    /// All rows have been read.
    Done,
}

/// Everything that the log knows about a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) cursor: Option<Cursor>,
    /// By `schema.table`.
    pub(crate) tables: BTreeMap<String, TableCursor>,
}

/// The stream of cursors; made when it is not there yet.
pub(crate) async fn sources_stream(log: &dyn Log) -> Result<Arc<StreamDef>, Error> {
    if let Ok(def) = log.streams().get(SOURCES_STREAM) {
        return Ok(def.clone());
    }
    let name = StreamName::new(SOURCES_STREAM)
        .map_err(|invalid| Error::Cursor { name: SOURCES_STREAM.into(), reason: invalid.to_string() })?;
    let mut stream = NewStream::plain(name, 1);
    stream.options.cleanup = Cleanup::Compact;
    match log.create_stream(stream).await {
        // Another source was faster.
        Err(tw_log::Error::StreamExists(_)) => Ok(log.streams().get(SOURCES_STREAM)?.clone()),
        outcome => Ok(outcome?),
    }
}

/// Reads what the log knows about the source `name`.
pub(crate) async fn remembered(log: &dyn Log, sources: &StreamDef, name: &str) -> Result<Remembered, Error> {
    let at = StreamPartition::new(sources.id, PartitionId(0));
    let bounds = log.bounds(at)?;
    let mut found = Remembered::default();
    let mut next = bounds.start;
    while next < bounds.end {
        for block in log.read(at, next, READ_BYTES).await? {
            let records = block.records().map_err(tw_log::Error::from)?;
            for record in records.iter().map_err(tw_log::Error::from)? {
                let record = record.map_err(tw_log::Error::from)?;
                fold(&mut found, name, record.event.ty, record.event.subject, record.event.data.bytes())?;
            }
            next = block.header().end_offset();
        }
    }
    Ok(found)
}

fn fold(
    found: &mut Remembered,
    name: &str,
    ty: &str,
    subject: Option<&str>,
    data: &[u8],
) -> Result<(), Error> {
    let Some(subject) = subject else { return Ok(()) };
    let wrong = |error: serde_json::Error| Error::Cursor { name: name.to_owned(), reason: error.to_string() };
    if subject == name && ty == CURSOR_TYPE {
        found.cursor = Some(serde_json::from_slice(data).map_err(wrong)?);
    } else if let Some(table) = subject.strip_prefix(name).and_then(|rest| rest.strip_prefix('/'))
        && ty == TABLE_TYPE
    {
        found.tables.insert(table.to_owned(), serde_json::from_slice(data).map_err(wrong)?);
    }
    Ok(())
}

/// The event that carries a cursor.
pub(crate) fn cursor_event(name: &str, cursor: &Cursor, id: String, now_ms: u64) -> Event {
    event(name, CURSOR_TYPE, Some(name.to_owned()), cursor, id, now_ms)
}

/// The event that carries a table's cursor.
pub(crate) fn table_event(name: &str, table: &str, cursor: &TableCursor, id: String, now_ms: u64) -> Event {
    event(name, TABLE_TYPE, Some(format!("{name}/{table}")), cursor, id, now_ms)
}

/// What is known of missing changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// The source.
    pub source: String,
    /// Why the changes cannot be had.
    pub reason: String,
    /// Up to where the log has all changes.
    pub known_until: Lsn,
    /// The cluster that `known_until` is about.
    pub system_id: String,
    /// Where the server's write-ahead log is now; changes in between may be missing.
    pub found_at: Lsn,
    /// The cluster that `found_at` is about.
    pub found_system_id: String,
    /// The tables concerned.
    pub tables: Vec<String>,
}

/// The event that tells of a gap.
pub(crate) fn gap_event(name: &str, gap: &Gap, id: String, now_ms: u64) -> Event {
    event(name, GAP_TYPE, None, gap, id, now_ms)
}

fn event(
    name: &str,
    ty: &str,
    subject: Option<String>,
    data: &impl Serialize,
    id: String,
    now_ms: u64,
) -> Event {
    Event {
        id,
        source: source_uri(name),
        ty: ty.to_owned(),
        subject,
        time: Some(Timestamp::from_millis(i64::try_from(now_ms).unwrap_or(i64::MAX))),
        // These values consist of texts and numbers, which always have a JSON form.
        data: Data::Json(serde_json::to_vec(data).unwrap_or_default()),
        ..Event::default()
    }
}

/// The `source` attribute of a source's events.
pub(crate) fn source_uri(name: &str) -> String {
    format!("/sources/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn cursors_have_a_fixed_form() {
        let cursor = Cursor {
            v: 1,
            system_id: "7301234567890123456".into(),
            timeline: 1,
            lsn: Lsn(0x16_b374_d848),
            ordinal: 3,
            xid: 4_294_967_300,
        };
        let event = cursor_event("shop", &cursor, "1".into(), 1_700_000_000_000);
        expect![[r#"{"v":1,"systemId":"7301234567890123456","timeline":1,"lsn":"16/B374D848","ordinal":3,"xid":4294967300}"#]]
            .assert_eq(std::str::from_utf8(event.data.bytes()).unwrap());
        let table = TableCursor {
            v: 1,
            id: 16_384,
            storage: "00".into(),
            shape: "11".into(),
            columns: Some(Columns { last: 3, defined: "22".into() }),
            dropped: BTreeSet::new(),
            identity: "key".into(),
            phase: Phase::Running { after: vec!["7".into()] },
            rows: 7,
            again: Vec::new(),
            all_again: false,
            written_over: None,
        };
        let event = table_event("shop", "public.orders", &table, "2".into(), 0);
        expect![[r#"{"v":1,"id":16384,"storage":"00","shape":"11","columns":{"last":3,"defined":"22"},"identity":"key","phase":{"is":"running","after":["7"]},"rows":7}"#]]
            .assert_eq(std::str::from_utf8(event.data.bytes()).unwrap());
    }

    #[test]
    fn the_latest_event_of_each_subject_counts_and_other_sources_do_not() {
        let mut found = Remembered::default();
        let table = |rows| {
            format!(
                r#"{{"v":1,"id":1,"storage":"","shape":"","identity":"key","phase":{{"is":"done"}},"rows":{rows}}}"#
            )
        };
        for (subject, rows) in [("shop/public.a", 1), ("shop2/public.a", 2), ("shop/public.a", 3)] {
            fold(&mut found, "shop", TABLE_TYPE, Some(subject), table(rows).as_bytes()).unwrap();
        }
        fold(&mut found, "shop", CURSOR_TYPE, Some("shop2"), b"not read").unwrap();
        fold(&mut found, "shop", GAP_TYPE, None, b"not read").unwrap();
        assert_eq!(found.cursor, None);
        assert_eq!(found.tables.keys().collect::<Vec<_>>(), ["public.a"]);
        assert_eq!(found.tables["public.a"].rows, 3);
        assert!(fold(&mut found, "shop", CURSOR_TYPE, Some("shop"), b"{}").is_err());
    }
}
