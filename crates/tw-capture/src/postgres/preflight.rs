//! What has to be so before a source can start, looked at all at once.

use super::address::Address;
use super::auth::Purpose;
use super::catalog;
use super::connection::Connection;
use super::layout::{Described, Identity};
use super::name::TableName;
use super::probe;
use crate::status::TableIdentity;
use crate::{Error, Options};
use postgres_protocol::escape::escape_literal;
use serde::Serialize;
use tw_types::Schema;

/// The versions that are supported.
const MAJOR_MIN: u32 = 14;
const MAJOR_MAX: u32 = 18;

/// What was found before a source starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Preflight {
    /// The server's major version, such as 15.
    pub server_version: u32,
    /// The tables that exist.
    pub tables: Vec<TablePlan>,
    /// What is in the way; none if the source can start.
    pub problems: Vec<Problem>,
    /// What should be known, but is not in the way.
    pub warnings: Vec<Problem>,
}

/// How a table will be captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TablePlan {
    /// `schema.table`
    pub table: String,
    /// The stream that its changes will go to.
    pub stream: String,
    /// Its columns, in their order, and its key; the version is given when the stream is defined.
    pub schema: Schema,
    /// What identifies a row.
    pub identity: TableIdentity,
    /// About how many rows there are; None if the server has not counted.
    pub rows_estimate: Option<u64>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }
}

/// See [`super::check`].
pub(crate) async fn check(options: &Options, address: &Address) -> Result<Preflight, Error> {
    let open = |purpose| Connection::open(address, &options.password, purpose, options.message_bytes_max);
    let mut connection = open(Purpose::Sql).await?;
    let mut found = Preflight { server_version: connection.major(), ..Preflight::default() };
    if let Err(error) = check_server(&mut connection).await {
        found.note(error)?;
    }
    // Whether the user may replicate shows when it tries.
    match open(Purpose::Replication).await {
        Ok(replication) => replication.close().await,
        Err(error) => found.note(may_not_replicate(error, address))?,
    }
    check_room(&mut connection, options, &mut found).await?;
    check_tables(&mut connection, options, &mut found).await?;
    check_publication(&mut connection, options, &mut found).await?;
    connection.close().await;
    Ok(found)
}

impl Preflight {
    /// Whether the source can start.
    pub fn is_ready(&self) -> bool {
        self.problems.is_empty()
    }

    /// Takes an error that is about the database as a problem; others end the check.
    fn note(&mut self, error: Error) -> Result<(), Error> {
        match error {
            Error::Refused { problem, remedy } => {
                self.problems.push(Problem { problem, remedy });
                Ok(())
            }
            other => Err(other),
        }
    }
}

/// An error of a replication connection that tells of a missing privilege, put so that it helps.
pub(crate) fn may_not_replicate(error: Error, address: &Address) -> Error {
    let user = postgres_protocol::escape::escape_identifier(&address.user);
    match error.sqlstate() {
        Some("42501" | "28000") => Error::refused(
            format!("user `{}` may not replicate ({error})", address.user),
            format!("ALTER ROLE {user} REPLICATION, and allow it to connect in pg_hba.conf"),
        ),
        Some("53300") => Error::refused(
            format!("all connections for replication are taken ({error})"),
            "raise `max_wal_senders` of the server and restart it",
        ),
        _ => error,
    }
}

/// Checks what has to be so on every start.
pub(crate) async fn check_server(connection: &mut Connection) -> Result<(), Error> {
    let major = connection.major();
    if major < MAJOR_MIN {
        return Err(Error::refused(
            format!("the server is PostgreSQL {major}"),
            format!("use PostgreSQL {MAJOR_MIN} to {MAJOR_MAX}"),
        ));
    }
    if major > MAJOR_MAX {
        tracing::warn!(major, "this version of PostgreSQL is newer than those that sources were tested with");
    }
    let row = connection.query_one("SELECT pg_is_in_recovery(), current_setting('wal_level')").await?;
    if row.is_true(0) {
        return Err(Error::refused(
            "the server is a standby, where a source cannot write its watermarks",
            "name the primary in the source's address",
        ));
    }
    match row.need(1)? {
        "logical" => Ok(()),
        level => Err(Error::refused(
            format!("the server's `wal_level` is `{level}`, which does not hold what changes are made of"),
            "ALTER SYSTEM SET wal_level = logical, then restart the server",
        )),
    }
}

/// Checks that there is room for a slot and a sender.
async fn check_room(
    connection: &mut Connection,
    options: &Options,
    found: &mut Preflight,
) -> Result<(), Error> {
    let row = connection
        .query_one(&format!(
            "SELECT current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots),
               current_setting('max_wal_senders')::int
                 - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'),
               EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = {}),
               has_function_privilege('pg_logical_emit_message(boolean, text, text' ||
                 CASE WHEN current_setting('server_version_num')::int >= 170000 THEN ', boolean)' ELSE ')' END, 'EXECUTE')",
            escape_literal(&options.slot())
        ))
        .await?;
    let (slots, senders): (i64, i64) = (row.parse(0)?, row.parse(1)?);
    if slots < 1 && !row.is_true(2) {
        found.problems.push(Problem::new(
            "all replication slots of the server are taken",
            "drop one that is not used, or raise `max_replication_slots` and restart the server",
        ));
    }
    if senders < 1 {
        found.problems.push(Problem::new(
            "all connections for replication are taken",
            "raise `max_wal_senders` of the server and restart it",
        ));
    }
    if !row.is_true(3) {
        found.problems.push(Problem::new(
            "the source's user may not write watermarks",
            "GRANT EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) to it",
        ));
    }
    Ok(())
}

async fn check_tables(
    connection: &mut Connection,
    options: &Options,
    found: &mut Preflight,
) -> Result<(), Error> {
    let names: Vec<TableName> = options.tables.iter().map(|table| table.parse()).collect::<Result<_, _>>()?;
    let described = catalog::describe(connection, &names, &[], &[options.publication()]).await?;
    check_partitions(connection, &described, found).await?;
    let mut copies = false;
    for name in &names {
        let Some(table) = described.iter().find(|table| table.name == *name) else {
            found.problems.push(Problem::new(
                format!("table `{name}` does not exist, or the source's user may not see its schema"),
                "check its name, GRANT USAGE ON SCHEMA, or leave it out of the source",
            ));
            continue;
        };
        if let Some((problem, remedy)) = &table.obstacle {
            found.problems.push(Problem::new(problem, remedy));
        }
        check_privilege(connection, table, found).await?;
        let identity = match table.layout.identity {
            Identity::Key(_) => TableIdentity::Key,
            Identity::WholeRow => TableIdentity::WholeRow,
            Identity::Nothing => TableIdentity::AppendOnly,
        };
        copies |= identity != TableIdentity::Key;
        if identity == TableIdentity::AppendOnly {
            found.warnings.push(Problem::new(
                format!("table `{name}` has no key: only inserts and truncations will be captured"),
                format!("add a primary key, or ALTER TABLE {} REPLICA IDENTITY FULL", name.quoted()),
            ));
        }
        let stream = name.stream(&options.name)?.to_string();
        found.tables.push(TablePlan {
            table: name.to_string(),
            stream,
            schema: table.layout.schema(),
            identity,
            rows_estimate: table.rows_estimate,
        });
    }
    if copies {
        found.warnings.push(Problem::new(
            "tables without a key are read through a second replication slot",
            "leave one slot free on the server while the source starts",
        ));
    }
    Ok(())
}

/// Changes of a partition are told as those of the table that it is part of, so only one of them can be captured.
async fn check_partitions(
    connection: &mut Connection,
    tables: &[Described],
    found: &mut Preflight,
) -> Result<(), Error> {
    let ids: Vec<_> = tables.iter().map(|table| table.id.to_string()).collect();
    let sql = format!(
        "SELECT part, of::oid FROM unnest('{{{ids}}}'::oid[]) part, pg_partition_ancestors(part) of
         WHERE of <> part AND of = ANY('{{{ids}}}'::oid[])",
        ids = ids.join(",")
    );
    for row in connection.query(&sql).await? {
        let (part, of): (u32, u32) = (row.parse(0)?, row.parse(1)?);
        let name = |id| tables.iter().find(|table| table.id == id).map(|table| &table.name);
        if let (Some(part), Some(of)) = (name(part), name(of)) {
            found.problems.push(Problem::new(
                format!("table `{part}` is a partition of `{of}`, which is named too: its changes are told as those of `{of}` only"),
                format!("leave `{part}` out of the source"),
            ));
        }
    }
    Ok(())
}

async fn check_privilege(
    connection: &mut Connection,
    table: &Described,
    found: &mut Preflight,
) -> Result<(), Error> {
    let columns =
        table.layout.columns.iter().map(|column| escape_literal(&column.name)).collect::<Vec<_>>().join(",");
    let sql = format!(
        "SELECT coalesce(bool_and(has_column_privilege({}::oid, name, 'SELECT')), true)
         FROM unnest(ARRAY[{columns}]::text[]) name",
        table.id
    );
    if !connection.query_one(&sql).await?.is_true(0) {
        found.problems.push(Problem::new(
            format!("the source's user may not read table `{}`", table.name),
            format!("GRANT SELECT ON {} to it", table.name.quoted()),
        ));
    }
    Ok(())
}

/// Checks a publication that exists, and whether one can be made otherwise.
async fn check_publication(
    connection: &mut Connection,
    options: &Options,
    found: &mut Preflight,
) -> Result<(), Error> {
    let name = options.publication();
    let quoted = escape_literal(&name);
    let exists = connection
        .query_one(&format!(
            "SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = {quoted}),
               has_database_privilege(current_database(), 'CREATE')"
        ))
        .await?;
    if exists.is_true(0) {
        let published = probe::published(connection, std::slice::from_ref(&name)).await?;
        if options.publication.is_some() {
            let names: Vec<TableName> =
                options.tables.iter().map(|table| table.parse()).collect::<Result<_, _>>()?;
            for table in catalog::describe(connection, &names, &[], &[]).await? {
                if !published.contains(&table.id) {
                    found.problems.push(Problem::new(
                        format!("publication `{name}` does not cover table `{}`", table.name),
                        format!(
                            "ALTER PUBLICATION {} ADD TABLE {}",
                            postgres_protocol::escape::escape_identifier(&name),
                            table.table_expression()
                        ),
                    ));
                }
            }
        }
    } else if !exists.is_true(1) {
        found.problems.push(Problem::new(
            format!("the source's user may not make the publication `{name}`"),
            "GRANT CREATE ON DATABASE to it and make it the owner of the tables, or let their owner make a publication \
             for all of them, and name that one to the source",
        ));
    }
    Ok(())
}
