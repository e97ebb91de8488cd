//! What a source needs in the database: publications and a replication slot. Made, checked, altered, removed.

use super::connection::Connection;
use super::continuity::{Server, Slot, parse_history};
use super::layout::{Described, Identity};
use crate::{Error, Lsn, Options};
use postgres_protocol::escape::{escape_identifier, escape_literal};
use tw_log::Log;
use tw_types::{PartitionId, StreamDef, StreamPartition};

/// The publications of a source, as they are after they have been seen to.
#[derive(Debug)]
pub(crate) struct Publications {
    pub(crate) names: Vec<String>,
    /// Whether they are the source's own, which it may alter and drop.
    pub(crate) own: bool,
    /// Numbers of the tables that were not published until now.
    pub(crate) added: Vec<u32>,
}

/// How a publication of ours is marked.
fn mark(options: &Options) -> String {
    format!("made by Tradewind for source {}", options.name)
}

/// Which publication a table belongs to.
fn publication_of(options: &Options, identity: &Identity) -> String {
    match identity {
        // Published updates without an identity would make the application's updates fail.
        Identity::Nothing => options.append_publication(),
        Identity::Key(_) | Identity::WholeRow => options.publication(),
    }
}

/// A publication as the catalogue knows it.
struct Found {
    own: bool,
    complete: bool,
    via_root: bool,
}

async fn find(connection: &mut Connection, options: &Options, name: &str) -> Result<Option<Found>, Error> {
    let sql = format!(
        "SELECT obj_description(oid, 'pg_publication') = {}, pubinsert AND pubupdate AND pubdelete AND pubtruncate, pubviaroot
         FROM pg_publication WHERE pubname = {}",
        escape_literal(&mark(options)),
        escape_literal(name)
    );
    let rows = connection.query(&sql).await?;
    Ok(rows.first().map(|row| Found {
        own: row.is_true(0),
        complete: row.is_true(1),
        via_root: row.is_true(2),
    }))
}

/// Sees to it that all of `tables` are published.
pub(crate) async fn publish(
    connection: &mut Connection,
    options: &Options,
    tables: &[Described],
) -> Result<Publications, Error> {
    let (main, append) = (options.publication(), options.append_publication());
    match find(connection, options, &main).await? {
        Some(found) if !found.own => return check_foreign(connection, options, &found, tables).await,
        Some(_) => {}
        None => make(connection, options, &main, "insert, update, delete, truncate").await?,
    }
    // Both are made at once: a stream that is behind cannot name a publication that was made later.
    if find(connection, options, &append).await?.is_none() {
        make(connection, options, &append, "insert, truncate").await?;
    }
    let mut added = Vec::new();
    for name in [&main, &append] {
        let wanted: Vec<&Described> =
            tables.iter().filter(|table| publication_of(options, &table.layout.identity) == *name).collect();
        added.extend(set_members(connection, name, &wanted).await?);
    }
    Ok(Publications { names: vec![main, append], own: true, added })
}

async fn make(
    connection: &mut Connection,
    options: &Options,
    name: &str,
    publish: &str,
) -> Result<(), Error> {
    let quoted = escape_identifier(name);
    let generated = if connection.major() >= 18 { ", publish_generated_columns = stored" } else { "" };
    let create = format!(
        "CREATE PUBLICATION {quoted} WITH (publish = '{publish}', publish_via_partition_root = true{generated})"
    );
    let comment = format!("COMMENT ON PUBLICATION {quoted} IS {}", escape_literal(&mark(options)));
    let outcome = connection.query(&format!("{create}; {comment}")).await;
    outcome.map(drop).map_err(|error| match error.sqlstate() {
        Some("42501") => Error::refused(
            format!("the source's user may not make the publication `{name}` ({error})"),
            "GRANT CREATE ON DATABASE to the user and make it the owner of the tables, or let their owner make a \
             publication for all of them, and name that one to the source",
        ),
        _ => error,
    })
}

/// Lets a publication of ours have exactly these members; returns the numbers of those that were added.
async fn set_members(
    connection: &mut Connection,
    publication: &str,
    wanted: &[&Described],
) -> Result<Vec<u32>, Error> {
    let sql = format!(
        "SELECT r.prrelid, quote_ident(n.nspname) || '.' || quote_ident(c.relname)
         FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
         JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE p.pubname = {}",
        escape_literal(publication)
    );
    let members = connection.query(&sql).await?;
    let mut changes = Vec::new();
    let mut known = Vec::new();
    for member in &members {
        let id: u32 = member.parse(0)?;
        known.push(id);
        if !wanted.iter().any(|table| table.id == id) {
            changes.push(format!("DROP TABLE {}", member.need(1)?));
        }
    }
    let mut added = Vec::new();
    for table in wanted.iter().filter(|table| !known.contains(&table.id)) {
        added.push(table.id);
        changes.push(format!("ADD TABLE {}", table.table_expression()));
    }
    for change in changes {
        let sql = format!("ALTER PUBLICATION {} {change}", escape_identifier(publication));
        connection.query(&sql).await.map_err(|error| match error.sqlstate() {
            Some("42501") => Error::refused(
                format!("the source's user may not alter the publication `{publication}` ({error})"),
                "make the user the owner of the publication and of the tables",
            ),
            _ => error,
        })?;
    }
    Ok(added)
}

/// Somebody else's publication has to publish everything already.
async fn check_foreign(
    connection: &mut Connection,
    options: &Options,
    found: &Found,
    tables: &[Described],
) -> Result<Publications, Error> {
    let name = options.publication();
    let quoted = escape_identifier(&name);
    if !found.complete {
        return Err(Error::refused(
            format!("publication `{name}` leaves out inserts, updates, deletes or truncations"),
            format!("ALTER PUBLICATION {quoted} SET (publish = 'insert, update, delete, truncate')"),
        ));
    }
    let published = super::probe::published(connection, std::slice::from_ref(&name)).await?;
    if let Some(table) = tables.iter().find(|table| !published.contains(&table.id)) {
        if table.partitioned && !found.via_root {
            return Err(Error::refused(
                format!("publication `{name}` publishes the partitions of `{}`, not the table", table.name),
                format!("ALTER PUBLICATION {quoted} SET (publish_via_partition_root = true)"),
            ));
        }
        return Err(Error::refused(
            format!("publication `{name}` does not cover table `{}`", table.name),
            format!("ALTER PUBLICATION {quoted} ADD TABLE {}", table.table_expression()),
        ));
    }
    Ok(Publications { names: vec![name], own: false, added: Vec::new() })
}

/// What the server says of itself, over a replication connection; earlier timelines only if the log knows another one.
pub(crate) async fn identify(
    replication: &mut Connection,
    known_timeline: Option<u32>,
) -> Result<Server, Error> {
    let row = replication.query_one("IDENTIFY_SYSTEM").await?;
    let timeline: u32 = row.parse(1)?;
    let mut history = Vec::new();
    if known_timeline.is_some_and(|known| known != timeline) && timeline > 1 {
        let file = replication.query_one(&format!("TIMELINE_HISTORY {timeline}")).await?;
        history = parse_history(file.need(1)?);
    }
    Ok(Server { system_id: row.need(0)?.to_owned(), timeline, history, end: row.parse(2)? })
}

/// What the server says of the slot; None if there is none of this name.
pub(crate) async fn slot(
    connection: &mut Connection,
    address_database: &str,
    name: &str,
) -> Result<Option<Slot>, Error> {
    let reason = match connection.major() {
        ..16 => "NULL",
        16 => "CASE WHEN conflicting THEN 'it conflicts with recovery' END",
        17.. => "invalidation_reason",
    };
    let sql = format!(
        "SELECT plugin, database, confirmed_flush_lsn, wal_status, {reason}
         FROM pg_replication_slots WHERE slot_name = {}",
        escape_literal(name)
    );
    let rows = connection.query(&sql).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    if row.text(0) != Some("pgoutput") || row.text(1) != Some(address_database) {
        return Err(Error::refused(
            format!("replication slot `{name}` belongs to something else (another plugin or database)"),
            "give the source another `slot`",
        ));
    }
    let lost = match (row.text(4), row.text(3)) {
        (Some(reason), _) => Some(reason.to_owned()),
        (None, Some("lost")) => Some("the server has removed write-ahead log that it needs".to_owned()),
        _ => None,
    };
    Ok(Some(Slot { confirmed: row.text(2).and_then(|lsn| lsn.parse().ok()), lost }))
}

/// Makes the slot and tells where it starts. Waits until every transaction that is open now has ended.
pub(crate) async fn make_slot(replication: &mut Connection, name: &str) -> Result<Lsn, Error> {
    let name = escape_identifier(name);
    let sql = format!("CREATE_REPLICATION_SLOT {name} LOGICAL pgoutput NOEXPORT_SNAPSHOT");
    replication.query_one(&sql).await?.parse(1)
}

/// Drops the slot; one that is not there is fine.
pub(crate) async fn drop_slot(connection: &mut Connection, name: &str) -> Result<(), Error> {
    let name = escape_literal(name);
    let sql = format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = {name}"
    );
    connection.query(&sql).await.map(drop)
}

/// Drops the publications if they are the source's own.
pub(crate) async fn drop_publications(connection: &mut Connection, options: &Options) -> Result<(), Error> {
    for name in [options.publication(), options.append_publication()] {
        if find(connection, options, &name).await?.is_some_and(|found| found.own) {
            connection.query(&format!("DROP PUBLICATION {}", escape_identifier(&name))).await?;
        }
    }
    Ok(())
}

/// Whether a stream holds anything.
pub(crate) fn has_events(log: &dyn Log, def: &StreamDef) -> Result<bool, Error> {
    for partition in 0..def.partitions {
        let bounds = log.bounds(StreamPartition::new(def.id, PartitionId(partition)))?;
        if bounds.end > bounds.start {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The command that starts the stream.
pub(crate) fn start_command(slot: &str, publications: &[String], from: Lsn) -> String {
    let names: Vec<_> = publications.iter().map(|name| escape_identifier(name)).collect();
    format!(
        "START_REPLICATION SLOT {} LOGICAL {from} (proto_version '2', streaming 'on', messages 'true', publication_names {})",
        escape_identifier(slot),
        escape_literal(&names.join(","))
    )
}
