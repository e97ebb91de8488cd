//! Reads a table that has no key, as a whole, as of one place in the write-ahead log.
//!
//! A temporary replication slot finds that place and exports a snapshot that shows exactly what was committed before
//! it; see PostgreSQL's documentation, "CREATE_REPLICATION_SLOT". Changes that come later wait until the copy is
//! complete. Interrupted, the table is copied again from the start.

use super::chunk::pause;
use super::rows::{Rows, portion};
use crate::postgres::auth::Purpose;
use crate::postgres::beside::{self, Arrival, Context, Work};
use crate::postgres::connection::Connection;
use crate::postgres::layout::Described;
use crate::{Error, Lsn};
use postgres_protocol::escape::{escape_identifier, escape_literal};
use std::ops::ControlFlow;
use tokio::sync::oneshot;

/// A copy begins: the answer says that the session is prepared for its rows.
#[derive(Debug)]
pub(crate) struct CopyBegun {
    pub(crate) table: u32,
    pub(crate) run: u64,
    /// Everything that was committed before is in the copy, everything else is not.
    pub(crate) from: Lsn,
    /// What the table looks like there.
    pub(crate) described: Described,
    pub(crate) answer: oneshot::Sender<()>,
}

/// All rows of a copy have been sent. The stream may be behind the place that the copy shows: what it still has to tell
/// from before is in the copy, so the copy counts from where the watermark arrives.
#[derive(Debug)]
pub(crate) struct Copied {
    /// Names the watermark.
    pub(crate) nonce: String,
    pub(crate) table: u32,
    pub(crate) run: u64,
    /// Told when the watermark has arrived.
    pub(crate) arrived: oneshot::Sender<()>,
}

/// Copies a table.
pub(crate) async fn run(context: Context, work: Work) {
    let (table, run) = (work.table, work.run);
    let outcome = copy(&context, &work).await;
    context.shared.update(|status| status.waits_for = None);
    let _over = context.tell(Arrival::Finished { table, run, outcome }).await;
}

async fn copy(context: &Context, work: &Work) -> Result<(), Error> {
    let text = format!("the copy of `{}` waits until all transactions that are open now end", work.label);
    context.shared.update(|status| status.waits_for = Some(text));
    let mut replication = context.connect(Purpose::Replication).await?;
    let name = escape_identifier(&format!("tradewind_copy_{}", context.nonce()));
    let slot = replication
        .query_one(&format!("CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT"))
        .await?;
    context.shared.update(|status| status.waits_for = None);
    let from: Lsn = slot.parse(1)?;
    let mut connection = context.connect(Purpose::Sql).await?;
    connection.query("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
    connection.query(&format!("SET TRANSACTION SNAPSHOT {}", escape_literal(slot.need(2)?))).await?;
    // The snapshot is ours now, the slot has done its work.
    replication.close().await;
    let described = beside::described(context, &mut connection, work.table, &work.label).await?;
    connection.query(&format!("LOCK TABLE {} IN ACCESS SHARE MODE", described.table_expression())).await?;
    let filter = described.row_filter.as_ref().map_or(String::new(), |filter| format!(" WHERE ({filter})"));
    let sql = format!("SELECT {} FROM {}{filter}", described.select_list(), described.table_expression());
    let (answer, prepared) = oneshot::channel();
    let begun = CopyBegun { table: work.table, run: work.run, from, described, answer };
    context.tell(Arrival::CopyBegun(begun)).await?;
    prepared.await.map_err(|_| Error::Stopped)?;
    send_rows(context, &mut connection, work, &sql).await?;
    connection.query("ROLLBACK").await?;
    let nonce = context.nonce();
    let (arrived, arrival) = oneshot::channel();
    let copied = Copied { nonce: nonce.clone(), table: work.table, run: work.run, arrived };
    context.tell(Arrival::Copied(copied)).await?;
    context.mark(&mut connection, &nonce).await?;
    arrival.await.map_err(|_| Error::Stopped)?;
    connection.close().await;
    Ok(())
}

async fn send_rows(
    context: &Context,
    connection: &mut Connection,
    work: &Work,
    sql: &str,
) -> Result<(), Error> {
    connection.query(&format!("DECLARE tradewind NO SCROLL CURSOR FOR {sql}")).await?;
    let bytes_max = context.options.chunk_bytes_max;
    let mut before = (0, 0);
    loop {
        let wanted = portion(before, bytes_max);
        connection.ask(&format!("FETCH FORWARD {wanted} FROM tradewind")).await?;
        before = (0, 0);
        let mut complete = false;
        // What is fetched goes by rows before: those that come may be much larger, so they are sent on in between.
        while !complete {
            let started = context.env.clock.monotonic();
            let mut rows = Rows::default();
            let take = |body: &[u8]| {
                rows.push(body);
                if rows.bytes() < bytes_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            complete = connection.some_rows(take).await?;
            let count = rows.len();
            before = (before.0 + count, before.1 + rows.bytes());
            if count > 0 {
                context.tell(Arrival::CopyRows { table: work.table, run: work.run, rows }).await?;
                pause(context, started, count).await;
            }
        }
        if before.0 == 0 {
            return Ok(());
        }
    }
}
