//! Heartbeats: they move an idle slot on, measure the lag, and notice what changed in the catalogue without any row
//! changing.

use super::auth::Purpose;
use super::beside::{Arrival, Context};
use super::catalog;
use super::connection::Connection;
use super::layout::Described;
use super::name::TableName;
use crate::status::SlotStatus;
use crate::{Error, Lsn};
use postgres_protocol::escape::escape_literal;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;

/// What the server says at one moment; used where its watermark arrives in the stream.
#[derive(Debug)]
pub(crate) struct Probe {
    /// Names the watermark.
    pub(crate) nonce: String,
    /// How often layouts had changed before the catalogue was asked.
    pub(crate) layouts: u64,
    pub(crate) described: Vec<Described>,
    /// Numbers of the tables that are published.
    pub(crate) published: Vec<u32>,
    /// How many updates and deletes the server has counted, by table.
    pub(crate) written_over: BTreeMap<u32, u64>,
    /// Told when the watermark has arrived.
    pub(crate) arrived: oneshot::Sender<()>,
}

/// Probes again and again until the session is over.
pub(crate) async fn run(context: Context, names: Vec<TableName>, ids: Vec<u32>) {
    let every = Duration::from_millis(context.options.heartbeat_ms);
    loop {
        match beat(&context, &names, &ids, every).await {
            Err(Error::Stopped) => return,
            // The stream has a connection of its own, which tells whether the server is there.
            Err(error) => tracing::warn!(source = context.options.name, %error, "a heartbeat failed"),
            Ok(()) => {}
        }
        tokio::time::sleep(every).await;
    }
}

async fn beat(context: &Context, names: &[TableName], ids: &[u32], every: Duration) -> Result<(), Error> {
    let mut connection = context.connect(Purpose::Sql).await?;
    loop {
        health(context, &mut connection).await?;
        let nonce = context.nonce();
        let layouts = context.layouts.load(Ordering::SeqCst);
        let described = catalog::describe(&mut connection, names, ids, &context.publications).await?;
        let published = published(&mut connection, &context.publications).await?;
        let written_over = written_over(&mut connection, ids).await?;
        let (arrived, mut arrival) = oneshot::channel();
        let probe = Probe { nonce: nonce.clone(), layouts, described, published, written_over, arrived };
        context.tell(Arrival::Probe(probe)).await?;
        let sent = context.env.clock.monotonic();
        context.mark(&mut connection, &nonce).await?;
        let mut here = false;
        let mut next = tokio::time::interval(every);
        next.tick().await;
        // A stream that is far behind is not given more heartbeats than it can take.
        while !here {
            tokio::select! {
                _ = &mut arrival => here = true,
                _ = next.tick() => health(context, &mut connection).await?,
            }
            let lag = context.env.clock.monotonic().saturating_sub(sent);
            context.shared.update(|status| {
                status.lag_ms = lag.as_millis() as u64;
                status.heartbeats += 1;
            });
        }
        next.tick().await;
    }
}

/// Looks at the slot and at the end of the write-ahead log.
async fn health(context: &Context, connection: &mut Connection) -> Result<(), Error> {
    let slot = escape_literal(&context.options.slot());
    let row = connection
        .query_one(&format!(
            "SELECT pg_current_wal_lsn(), s.active, s.wal_status, s.safe_wal_size,
               greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn), 0)::int8
             FROM (SELECT 1) one LEFT JOIN pg_replication_slots s ON s.slot_name = {slot}"
        ))
        .await?;
    let server_end: Lsn = row.parse(0)?;
    let slot = row.text(1).map(|_| SlotStatus {
        name: context.options.slot(),
        active: row.is_true(1),
        wal_status: row.text(2).unwrap_or_default().to_owned(),
        retained_bytes: row.text(4).and_then(|bytes| bytes.parse().ok()).unwrap_or_default(),
        safe_bytes: row.text(3).and_then(|bytes| bytes.parse().ok()),
    });
    context.shared.update(|status| {
        status.server_end = server_end;
        status.slot = slot;
        status.lag_bytes = server_end.0.saturating_sub(status.confirmed.0);
    });
    Ok(())
}

/// The numbers of the tables that these publications publish.
pub(crate) async fn published(
    connection: &mut Connection,
    publications: &[String],
) -> Result<Vec<u32>, Error> {
    let names: Vec<_> = publications.iter().map(|name| escape_literal(name)).collect();
    let sql = format!(
        "SELECT DISTINCT c.oid FROM pg_publication_tables p
         JOIN pg_namespace n ON n.nspname = p.schemaname
         JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
         WHERE p.pubname IN ({})",
        names.join(",")
    );
    connection.query(&sql).await?.iter().map(|row| row.parse(0)).collect()
}

async fn written_over(connection: &mut Connection, ids: &[u32]) -> Result<BTreeMap<u32, u64>, Error> {
    let ids: Vec<_> = ids.iter().map(u32::to_string).collect();
    let sql = format!(
        "SELECT relid, n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relid IN ({})",
        ids.join(",")
    );
    connection.query(&sql).await?.iter().map(|row| Ok((row.parse(0)?, row.parse(1)?))).collect()
}
