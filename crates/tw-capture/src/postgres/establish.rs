//! From nothing to a session: connect, check, decide whether the stream can go on, begin or begin anew.

use super::address::Address;
use super::auth::Purpose;
use super::beside::{Arrival, Beside, Context};
use super::catalog;
use super::connection::Connection;
use super::continuity::{Decision, Server, decide};
use super::define::table_stream;
use super::envelope::Moment;
use super::layout::Described;
use super::name::TableName;
use super::preflight;
use super::provision::{self, Publications};
use super::replication::{Reader, Writer};
use super::session::{Scratch, Session};
use super::snapshot::window::{Epochs, Window};
use super::spool::Spool;
use super::tables::{Naming, Table, Tables};
use crate::cursor::{self, Cursor, Phase, Remembered, TableCursor};
use crate::sink::Sink;
use crate::status::{Counters, Shared, SnapshotPhase, TableIdentity, TableStatus};
use crate::{Error, Lsn, Options, Place, SnapshotMode};
use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::{mpsc, watch};
use tw_types::StreamDef;

/// The version of the forms in [`cursor`].
const CURSOR_VERSION: u32 = 1;
/// How many arrivals may wait for the session; each can hold a chunk.
const ARRIVALS_MAX: usize = 2;

/// A configured table that exists.
struct Found {
    /// What it was called when it was configured.
    name: TableName,
    described: Described,
    /// What the log knows of it; None if it is new to the source.
    remembered: Option<TableCursor>,
    /// Whether the log knows another table of this name.
    replaced: bool,
}

/// What an attempt to start needs.
pub(crate) struct Start<'a> {
    pub(crate) options: &'a Arc<Options>,
    pub(crate) place: &'a Place,
    pub(crate) shared: &'a Shared,
    pub(crate) counters: Counters,
}

impl Start<'_> {
    /// Connects and makes everything ready to stream.
    pub(crate) async fn establish(&self) -> Result<(Session, Reader, Writer), Error> {
        let (options, log) = (self.options, self.place.store.log().as_ref());
        let address: Address = options.url.parse()?;
        let connect =
            |purpose| Connection::open(&address, &options.password, purpose, options.message_bytes_max);
        let mut catalog = connect(Purpose::Sql).await?;
        preflight::check_server(&mut catalog).await?;
        let sources = cursor::sources_stream(log).await?;
        let remembered = cursor::remembered(log, &sources, &options.name).await?;
        if let Some(cursor) = remembered.cursor.as_ref().filter(|cursor| cursor.v != CURSOR_VERSION) {
            let reason = format!("its cursor has version {}", cursor.v);
            return Err(Error::Cursor { name: options.name.clone(), reason });
        }
        let mut replication = connect(Purpose::Replication)
            .await
            .map_err(|error| preflight::may_not_replicate(error, &address))?;
        let known_timeline = remembered.cursor.as_ref().map(|cursor| cursor.timeline);
        let server = provision::identify(&mut replication, known_timeline).await?;
        let (mut found, missing) = look_up(&mut catalog, options, &remembered).await?;
        let tables = found.iter().map(|found| &found.described);
        let tables: Vec<_> = tables.filter(|table| table.obstacle.is_none()).cloned().collect();
        let publications = provision::publish(&mut catalog, options, &tables).await?;
        look_again(&mut catalog, &mut found, &publications).await?;
        let slot = provision::slot(&mut catalog, &address.database, &options.slot()).await?;
        let decision = decide(remembered.cursor.as_ref(), &server, slot.as_ref());
        let mut session =
            self.build(&address, catalog, sources, &remembered, &found, &publications, missing).await?;
        match decision {
            Decision::Resume => session.resume(&server, &found, &publications.added).await?,
            Decision::Begin { replace_slot } => {
                session.begin_stream(&mut replication, &server, replace_slot, self.shared).await?;
                session.take_in_fresh(&found).await?;
            }
            Decision::Gap { reason } => {
                session.gap_of_everything(reason, &server).await?;
                session.begin_stream(&mut replication, &server, slot.is_some(), self.shared).await?;
                session.take_in_fresh(&found).await?;
            }
        }
        session.submit_and_settle().await?;
        let command = provision::start_command(&options.slot(), &session.publications, session.cursor.lsn);
        let (reader, writer) = replication.stream(&command).await?;
        session.start_probing();
        session.tell_tables();
        Ok((session, reader, writer))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a session come from everywhere")]
    async fn build(
        &self,
        address: &Address,
        catalog: Connection,
        sources: Arc<StreamDef>,
        remembered: &Remembered,
        found: &[Found],
        publications: &Publications,
        missing: Vec<(TableName, TableStatus)>,
    ) -> Result<Session, Error> {
        let (options, place) = (self.options, self.place);
        let mut tables = Tables::default();
        let mut window = Window::new(options.window_bytes_max);
        for found in found {
            let table = self.open(address, found).await?;
            if table.is_keyed() && !table.is_read() {
                window.watch(table.id);
            }
            tables.add(table);
        }
        let cursor = remembered.cursor.clone().unwrap_or_else(|| Cursor {
            v: CURSOR_VERSION,
            system_id: String::new(),
            timeline: 0,
            lsn: Lsn(0),
            ordinal: 0,
            xid: 0,
        });
        let (arrivals, arrived) = mpsc::channel(ARRIVALS_MAX);
        let context = self.context(address, publications, arrivals);
        let (name, durable) = (options.name.as_str(), cursor.lsn);
        let limits = (options.write_bytes_max, options.writes_in_flight_max);
        let (store, env) = (place.store.clone(), place.env.clone());
        Ok(Session {
            options: options.clone(),
            env: env.clone(),
            log: store.log().clone(),
            database: address.database.clone(),
            publications: publications.names.clone(),
            own_publications: publications.own,
            missing,
            catalog,
            tables,
            relations: HashMap::new(),
            sink: Sink::new((store, place.gate.clone()), env, name, sources, limits, durable),
            epochs: Epochs { last: cursor.xid },
            cursor,
            cursor_due: false,
            transaction: None,
            moment: Moment::default(),
            block: None,
            spool: self.spool("streamed")?,
            copies: self.spool("copies")?,
            copying: None,
            window,
            beside: Beside::new(context),
            arrivals: arrived,
            scratch: Scratch::default(),
            shared: self.shared.clone(),
            counters: self.counters,
            begin_anew: false,
            untold: false,
            reply: watch::Sender::new(0),
        })
    }

    fn spool(&self, kind: &str) -> Result<Spool, Error> {
        let (options, place) = (self.options, self.place);
        let folder = place.scratch.join(&options.name).join(kind);
        Spool::open(place.env.disk.clone(), &folder, options.spool_bytes_max, options.scratch_bytes_max)
    }

    fn context(
        &self,
        address: &Address,
        publications: &Publications,
        arrivals: mpsc::Sender<Arrival>,
    ) -> Context {
        Context {
            options: self.options.clone(),
            address: address.clone(),
            env: self.place.env.clone(),
            shared: self.shared.clone(),
            publications: publications.names.clone(),
            arrivals,
            layouts: Arc::new(AtomicU64::new(0)),
        }
    }

    /// The table with its stream, which is made when it is not there.
    async fn open(&self, address: &Address, found: &Found) -> Result<Table, Error> {
        let (options, described, log) = (self.options, &found.described, self.place.store.log().as_ref());
        let name = found.name.stream(&options.name)?;
        let def = table_stream(log, name, options, described.layout.schema()).await?;
        let fresh = || TableCursor {
            v: CURSOR_VERSION,
            id: described.id,
            storage: described.storage.clone(),
            shape: described.layout.shape(),
            columns: Some(described.columns.clone()),
            dropped: BTreeSet::new(),
            identity: described.layout.identity.label().to_owned(),
            phase: first_phase(options),
            rows: 0,
            again: Vec::new(),
            all_again: false,
            written_over: None,
        };
        let naming = Naming { source: &options.name, database: &address.database };
        let cursor = found.remembered.clone().unwrap_or_else(fresh);
        let mut table = Table::new(&naming, &found.name, described, def, cursor);
        table.cursor_changed = found.remembered.is_none();
        table.problem = described.obstacle.as_ref().map(|(problem, remedy)| format!("{problem}: {remedy}"));
        Ok(table)
    }
}

fn first_phase(options: &Options) -> Phase {
    match options.snapshot {
        SnapshotMode::Initial => Phase::Pending,
        SnapshotMode::Never => Phase::Done,
    }
}

/// Finds the configured tables. Those that the source had and that are gone are not in the way of the others.
async fn look_up(
    catalog: &mut Connection,
    options: &Options,
    remembered: &Remembered,
) -> Result<(Vec<Found>, Vec<(TableName, TableStatus)>), Error> {
    let names: Vec<TableName> = options.tables.iter().map(|table| table.parse()).collect::<Result<_, _>>()?;
    let known = |name: &TableName| remembered.tables.get(&name.to_string());
    let ids: Vec<u32> = names.iter().filter_map(|name| Some(known(name)?.id)).collect();
    let described = catalog::describe(catalog, &names, &ids, &[options.publication()]).await?;
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        let before = known(&name);
        let by_id = described.iter().find(|table| before.is_some_and(|before| before.id == table.id));
        let by_name = described.iter().find(|table| table.name == name);
        // What has taken the name of a table and cannot be captured, such as a view, takes nothing else of it.
        let may_follow = |table: &&Described| {
            table.obstacle.is_none() || before.is_none_or(|before| before.id == table.id)
        };
        match (by_name.filter(may_follow).or(by_id), before) {
            (Some(table), before) => {
                if let (None, Some((problem, remedy))) = (before, &table.obstacle) {
                    return Err(Error::refused(problem.clone(), remedy.clone()));
                }
                let same = before.filter(|before| before.id == table.id).cloned();
                let replaced = before.is_some() && same.is_none();
                found.push(Found { name, described: table.clone(), remembered: same, replaced });
            }
            (None, Some(before)) => missing.push((name.clone(), gone(&name, options, before, by_name)?)),
            (None, None) => {
                return Err(Error::refused(
                    format!("table `{name}` does not exist, or the source's user may not see its schema"),
                    "check its name, GRANT USAGE ON SCHEMA, or leave it out of the source",
                ));
            }
        }
    }
    Ok((found, missing))
}

/// The state of a table that is not there; `instead` has its name.
fn gone(
    name: &TableName,
    options: &Options,
    before: &TableCursor,
    instead: Option<&Described>,
) -> Result<TableStatus, Error> {
    let problem = match instead.and_then(|table| table.obstacle.as_ref()) {
        Some((problem, remedy)) => format!("{problem}: {remedy}"),
        None => format!("table `{name}` does not exist any more: make the source anew without it"),
    };
    Ok(TableStatus {
        table: name.to_string(),
        stream: name.stream(&options.name)?.to_string(),
        identity: match before.identity.as_str() {
            "key" => TableIdentity::Key,
            "row" => TableIdentity::WholeRow,
            _ => TableIdentity::AppendOnly,
        },
        snapshot: SnapshotPhase::Done,
        snapshot_rows: before.rows,
        rows_estimate: None,
        problem: Some(problem),
    })
}

/// Column lists, row filters and generated columns depend on the publications, which are there only now.
async fn look_again(
    catalog: &mut Connection,
    found: &mut [Found],
    publications: &Publications,
) -> Result<(), Error> {
    let ids: Vec<u32> = found.iter().map(|found| found.described.id).collect();
    if ids.is_empty() {
        return Err(Error::refused("none of the source's tables exists any more", "DROP SOURCE"));
    }
    for described in catalog::describe(catalog, &[], &ids, &publications.names).await? {
        if let Some(found) = found.iter_mut().find(|found| found.described.id == described.id) {
            found.described = described;
        }
    }
    Ok(())
}

impl Session {
    /// Goes on where the log ends.
    async fn resume(&mut self, server: &Server, found: &[Found], published_now: &[u32]) -> Result<(), Error> {
        self.cursor.timeline = server.timeline;
        self.take_in_fresh(found).await?;
        let known = found.iter().filter(|found| found.remembered.is_some());
        let missed: Vec<u32> =
            known.map(|found| found.described.id).filter(|id| published_now.contains(id)).collect();
        if !missed.is_empty() {
            let reason = "tables had been taken out of the publication".to_owned();
            self.gap(reason, (server.system_id.clone(), server.end), &missed, false).await?;
        }
        Ok(())
    }

    /// Makes the slot, unless there is one that will do, and starts from there.
    async fn begin_stream(
        &mut self,
        replication: &mut Connection,
        server: &Server,
        replace_slot: bool,
        shared: &Shared,
    ) -> Result<(), Error> {
        let name = self.options.slot();
        if replace_slot {
            provision::drop_slot(&mut self.catalog, &name).await?;
        }
        let slot = provision::slot(&mut self.catalog, &self.database, &name).await?;
        let at = match slot.and_then(|slot| slot.confirmed) {
            Some(confirmed) => confirmed,
            None => {
                let wait = "the replication slot is being made; that waits until all transactions that are open now end";
                shared.update(|status| status.waits_for = Some(wait.into()));
                provision::make_slot(replication, &name).await?
            }
        };
        shared.update(|status| status.waits_for = None);
        let now = self.catalog.query_one("SELECT pg_snapshot_xmax(pg_current_snapshot())").await?;
        self.epochs = Epochs { last: now.parse(0)? };
        self.cursor.system_id.clone_from(&server.system_id);
        self.cursor.timeline = server.timeline;
        (self.cursor.lsn, self.cursor.ordinal) = (at, 0);
        self.sink.start_at(at);
        tracing::info!(source = self.options.name, %at, "capturing begins");
        Ok(())
    }

    /// Gives tables that are new to the source their first schema; whatever their streams hold from before is void.
    async fn take_in_fresh(&mut self, found: &[Found]) -> Result<(), Error> {
        for found in found {
            let id = found.described.id;
            let settled = self.tables.by_id(id).is_none_or(|table| table.is_settled);
            let fresh = found.remembered.is_none() || self.cursor.lsn == Lsn(0);
            if settled || !fresh {
                continue;
            }
            let def = self.tables.by_id(id).map(|table| table.def.clone());
            let held = def.map_or(Ok(false), |def| self.has_events(&def))?;
            if held && self.options.snapshot == SnapshotMode::Initial {
                let why =
                    if found.replaced { "the table was dropped and made again" } else { "the source is new" };
                self.reset(id, why)?;
            }
            self.adopt(id, found.described.layout.clone(), Some(&found.described)).await?;
        }
        Ok(())
    }

    async fn gap_of_everything(&mut self, reason: String, server: &Server) -> Result<(), Error> {
        let ids: Vec<u32> = self.tables.iter().map(|table| table.id).collect();
        self.gap(reason, (server.system_id.clone(), server.end), &ids, true).await
    }
}
