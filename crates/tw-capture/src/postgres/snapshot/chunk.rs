//! Reads a table that has a key, chunk by chunk in the order of the key, while changes go on.

use super::rows::{Rows, portion};
use super::window::Visibility;
use crate::Error;
use crate::postgres::auth::Purpose;
use crate::postgres::beside::{self, Arrival, Context, Work};
use crate::postgres::connection::Connection;
use crate::postgres::layout::Described;
use crate::postgres::pgoutput::Value;
use postgres_protocol::escape::{escape_identifier, escape_literal};
use std::time::Duration;
use tokio::sync::oneshot;

/// How often it is looked whether old transactions have ended.
const LOOK: Duration = Duration::from_millis(100);

/// Rows of a table as one transaction saw them.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Names the watermark.
    pub(crate) nonce: String,
    pub(crate) table: u32,
    pub(crate) run: u64,
    /// The layout's generation when the reading began.
    pub(crate) generation: u64,
    /// What the table looked like in that transaction.
    pub(crate) described: Described,
    /// What that transaction saw.
    pub(crate) seen: Visibility,
    pub(crate) rows: Rows,
    /// The key of the last row; None when these were the last rows.
    pub(crate) next: Option<Vec<String>>,
    /// The keys by which rows were wanted, if it was by keys; those that were not there among them.
    pub(crate) keys: Vec<Vec<String>>,
    /// The number of the latest note of a row to be read once more when the reading began.
    pub(crate) noted: u64,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// What has become of a chunk. When there is no answer, the reading is over.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Its rows are events now.
    Used { generation: u64 },
    /// It has to be read again, once everything before this number has ended.
    Again { xmin: u64, generation: u64 },
}

/// Reads the rest of a table.
pub(crate) async fn run(context: Context, work: Work) {
    let (table, run) = (work.table, work.run);
    let outcome = read(&context, work).await;
    context.shared.update(|status| status.waits_for = None);
    let _over = context.tell(Arrival::Finished { table, run, outcome }).await;
}

async fn read(context: &Context, mut work: Work) -> Result<(), Error> {
    let mut connection = context.connect(Purpose::Sql).await?;
    // Whatever runs now may be in the stream already, or before it, without being visible yet. A snapshot would not do:
    // it does not list those that began after the last one that has ended. A number of our own is after all of them.
    let mut xmin: u64 = connection.query_one("SELECT pg_current_xact_id()").await?.parse(0)?;
    let mut known = beside::described(context, &mut connection, work.table, &work.label).await?;
    loop {
        wait_for(context, &mut connection, xmin).await?;
        let started = context.env.clock.monotonic();
        let (seen, described, rows, exhausted) = read_chunk(context, &mut connection, &work, &known).await?;
        known = described.clone();
        let by_keys = !work.keys.is_empty();
        let next = if exhausted || by_keys {
            None
        } else {
            rows.last().map(|row| key_of(&described, row)).transpose()?
        };
        let keys = if exhausted || !by_keys {
            work.keys.clone()
        } else {
            rows.iter().map(|row| key_of(&described, row)).collect::<Result<_, _>>()?
        };
        let nonce = context.nonce();
        let (count, last) = (rows.len(), next.is_none());
        let after = next.clone();
        let (answer, answered) = oneshot::channel();
        context
            .tell(Arrival::Chunk(Chunk {
                nonce: nonce.clone(),
                table: work.table,
                run: work.run,
                generation: work.generation,
                described,
                seen,
                rows,
                next,
                keys,
                noted: work.noted,
                answer,
            }))
            .await?;
        context.mark(&mut connection, &nonce).await?;
        match answered.await.map_err(|_| Error::Stopped)? {
            Answer::Again { xmin: least, generation } => {
                xmin = least;
                work.generation = generation;
                // What stood in the way is visible in a moment.
                tokio::time::sleep(LOOK).await;
            }
            Answer::Used { .. } if last => {
                connection.close().await;
                return Ok(());
            }
            Answer::Used { generation } => {
                work.after = after;
                work.generation = generation;
            }
        }
        pause(context, started, count).await;
    }
}

/// Keeps to the bound on rows per second.
pub(super) async fn pause(context: &Context, started: Duration, rows: usize) {
    let rate = context.options.snapshot_rows_per_second_max;
    if rate > 0 {
        let due = Duration::from_secs_f64(rows as f64 / f64::from(rate));
        let spent = context.env.clock.monotonic().saturating_sub(started);
        tokio::time::sleep(due.saturating_sub(spent)).await;
    }
}

async fn visibility(connection: &mut Connection) -> Result<Visibility, Error> {
    let row = connection.query_one("SELECT pg_current_snapshot()").await?;
    let text = row.need(0)?;
    text.parse().map_err(|()| Error::Protocol(format!("a snapshot is `{text}`")))
}

/// Waits until everything before `xmin` has ended.
async fn wait_for(context: &Context, connection: &mut Connection, xmin: u64) -> Result<(), Error> {
    let mut told = false;
    loop {
        let seen = visibility(connection).await?;
        let oldest = seen.xmin;
        context.tell(Arrival::Settled(seen)).await?;
        if oldest >= xmin {
            if told {
                context.shared.update(|status| status.waits_for = None);
            }
            return Ok(());
        }
        let text = format!(
            "the snapshot waits until transaction {oldest}, which was open before it, ends (see pg_stat_activity, \
             backend_xid, and pg_prepared_xacts)"
        );
        context.shared.update(|status| status.waits_for = Some(text));
        told = true;
        tokio::time::sleep(LOOK).await;
    }
}

async fn read_chunk(
    context: &Context,
    connection: &mut Connection,
    work: &Work,
    known: &Described,
) -> Result<(Visibility, Described, Rows, bool), Error> {
    connection.query("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
    let read = async {
        // The lock comes before the snapshot: a truncation or a rewrite in between would show an empty table.
        connection.query(&format!("LOCK TABLE {} IN ACCESS SHARE MODE", known.table_expression())).await?;
        let seen = visibility(connection).await?;
        let described = beside::described(context, connection, work.table, &work.label).await?;
        let rows_max = context.options.chunk_rows_max;
        let sql = select(&described, work.after.as_deref(), &work.keys, rows_max)?;
        let (rows, exhausted) = fetch(connection, &sql, rows_max, context.options.chunk_bytes_max).await?;
        Ok((seen, described, rows, exhausted))
    };
    let outcome = read.await;
    // Nothing was changed, so how it ends does not matter, but that it does.
    connection.query("ROLLBACK").await?;
    outcome
}

/// Reads rows up to the bounds, of bytes with one row more; the second result tells whether there are no more.
async fn fetch(
    connection: &mut Connection,
    sql: &str,
    rows_max: u32,
    bytes_max: usize,
) -> Result<(Rows, bool), Error> {
    connection.query(&format!("DECLARE tradewind NO SCROLL CURSOR FOR {sql}")).await?;
    let mut rows = Rows::default();
    loop {
        let left = bytes_max.saturating_sub(rows.bytes());
        let wanted = portion((rows.len(), rows.bytes()), left).min(rows_max - rows.len() as u32);
        let mut sent = 0;
        connection
            .each_row(&format!("FETCH FORWARD {wanted} FROM tradewind"), |body| {
                sent += 1;
                // What is left out is in the next chunk.
                if rows.bytes() < bytes_max {
                    rows.push(body);
                }
                Ok(())
            })
            .await?;
        if rows.len() >= rows_max as usize || rows.bytes() >= bytes_max {
            return Ok((rows, false));
        }
        if sent < wanted {
            return Ok((rows, true));
        }
    }
}

/// The query for the rows behind a key; or with certain keys, if there are any.
fn select(
    table: &Described,
    after: Option<&[String]>,
    keys: &[Vec<String>],
    rows_max: u32,
) -> Result<String, Error> {
    let key: Vec<_> = table.layout.key_columns().collect();
    if key.is_empty() {
        let problem = format!("table `{}` has no key any more", table.name);
        return Err(Error::refused(problem, "it is read as a whole from now on"));
    }
    let names: Vec<_> = key.iter().map(|column| escape_identifier(&column.name)).collect();
    let names = names.join(", ");
    let mut conditions = Vec::new();
    let values = |texts: &[String]| {
        let values = texts.iter().zip(&key);
        let values: Vec<_> =
            values.map(|(text, column)| format!("{}::{}", escape_literal(text), column.declared)).collect();
        values.join(", ")
    };
    if !keys.is_empty() {
        let keys: Vec<_> = keys.iter().map(|texts| format!("({})", values(texts))).collect();
        conditions.push(format!("({names}) IN ({})", keys.join(", ")));
    } else if let Some(after) = after.filter(|after| after.len() == key.len()) {
        conditions.push(format!("({names}) > ({})", values(after)));
    }
    if let Some(filter) = &table.row_filter {
        conditions.push(format!("({filter})"));
    }
    let condition =
        if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    Ok(format!(
        "SELECT {} FROM {}{condition} ORDER BY {names} LIMIT {rows_max}",
        table.select_list(),
        table.table_expression()
    ))
}

/// The texts of a row's key columns, in the order of the key.
pub(crate) fn key_of<'a>(
    table: &Described,
    row: impl Iterator<Item = Value<'a>> + Clone,
) -> Result<Vec<String>, Error> {
    let place = |name: &str| table.layout.columns.iter().position(|column| column.name == name);
    table
        .layout
        .key_columns()
        .map(|column| {
            let value = place(&column.name).and_then(|index| row.clone().nth(index));
            match value {
                Some(Value::Text(text)) => String::from_utf8(text.to_vec()).ok(),
                _ => None,
            }
            .ok_or_else(|| {
                let problem =
                    format!("key column `{}` of table `{}` holds NULL or no UTF-8", column.name, table.name);
                Error::refused(problem, "declare it NOT NULL and correct its values")
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::layout::{Identity, Layout, LayoutColumn};
    use crate::postgres::name::TableName;
    use crate::postgres::types::BaseType;
    use expect_test::expect;

    fn table(filter: Option<&str>) -> Described {
        let column = |name: &str, declared: &str| LayoutColumn {
            name: name.into(),
            type_id: 23,
            type_modifier: -1,
            base: BaseType { id: 23, modifier: -1, name: declared.into() },
            nullable: false,
            declared: declared.into(),
            identity: true,
        };
        Described {
            id: 1,
            name: TableName::new("public", "Orders"),
            layout: Layout {
                columns: vec![column("id", "integer"), column("place", "character varying(3)")],
                identity: Identity::Key(vec![1, 0]),
            },
            storage: String::new(),
            columns: crate::cursor::Columns::default(),
            attributes: Vec::new(),
            partitioned: false,
            replica_identity: 'd',
            rows_estimate: None,
            row_filter: filter.map(str::to_owned),
            obstacle: None,
        }
    }

    #[test]
    fn a_chunk_starts_behind_the_last_key() {
        expect![[r#"SELECT "id", "place" FROM ONLY "public"."Orders" ORDER BY "place", "id" LIMIT 10"#]]
            .assert_eq(&select(&table(None), None, &[], 10).unwrap());
        expect![[r#"SELECT "id", "place" FROM ONLY "public"."Orders" WHERE ("place", "id") > ('it''s'::character varying(3), '7'::integer) AND (id > 3) ORDER BY "place", "id" LIMIT 10"#]]
            .assert_eq(&select(&table(Some("id > 3")), Some(&["it's".into(), "7".into()]), &[], 10).unwrap());
    }

    #[test]
    fn rows_are_read_by_their_keys() {
        let keys = [vec!["a".into(), "1".into()], vec!["b".into(), "2".into()]];
        expect![[r#"SELECT "id", "place" FROM ONLY "public"."Orders" WHERE ("place", "id") IN (('a'::character varying(3), '1'::integer), ('b'::character varying(3), '2'::integer)) ORDER BY "place", "id" LIMIT 10"#]]
            .assert_eq(&select(&table(None), None, &keys, 10).unwrap());
    }

    #[test]
    fn the_key_of_a_row_is_in_the_order_of_the_key() {
        let row = [Value::Text(b"7"), Value::Text(b"x")];
        assert_eq!(key_of(&table(None), row.into_iter()).unwrap(), ["x", "7"]);
        assert!(key_of(&table(None), [Value::Null, Value::Text(b"x")].into_iter()).is_err());
    }
}
