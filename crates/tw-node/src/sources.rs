//! Sources: those that run are those that are defined.

use crate::secrets::Passwords;
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::RwLock;
use tokio::task::JoinHandle;
use tw_api::{Code, Problem};
use tw_capture::{CapturedName, Handle, Left, Place, Preflight, Status};
use tw_project::{Catalog, SourceDef, bad_option};
use tw_types::chain;

/// What WITH may say of a source. Its name, address and tables have places of their own.
const OPTIONS: [&str; 16] = [
    "publication",
    "slot",
    "partitions",
    "mode",
    "snapshot",
    "heartbeat_ms",
    "retry_ms_max",
    "write_bytes_max",
    "writes_in_flight_max",
    "message_bytes_max",
    "spool_bytes_max",
    "scratch_bytes_max",
    "chunk_rows_max",
    "chunk_bytes_max",
    "snapshot_rows_per_second_max",
    "window_bytes_max",
];

/// How long a database may take to answer, and a source to end, while a statement waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The sources of a node.
pub(crate) struct Sources {
    place: Place,
    passwords: Passwords,
    running: RwLock<BTreeMap<String, Running>>,
    /// Sources that did not end in time. Until they have, none of the same name is started: two would write the same.
    ending: Mutex<BTreeMap<String, JoinHandle<()>>>,
    /// Sources that are defined and did not start, and why.
    broken: Mutex<BTreeMap<String, String>>,
    pub(crate) patience: Duration,
    /// The sources that may run on this node; None: all of them.
    allowed: Mutex<Option<BTreeSet<String>>>,
}

/// A source that has been looked at and can start.
pub(crate) struct Checked {
    options: tw_capture::Options,
    found: Preflight,
    password: Option<String>,
}

struct Running {
    def: Arc<SourceDef>,
    handle: Handle,
}

impl Sources {
    pub(crate) fn new(place: Place, passwords: Passwords) -> Self {
        let (running, ending, broken) = (RwLock::default(), Mutex::default(), Mutex::default());
        Self { place, passwords, running, ending, broken, patience: PATIENCE, allowed: Mutex::new(None) }
    }

    /// Lets no source run here before it is allowed: the node is one of many.
    pub(crate) fn allow_none(&self) {
        *self.allowed.lock() = Some(BTreeSet::new());
    }

    /// Lets a source run here from the next look at the definitions on.
    pub(crate) fn allow(&self, name: &str) {
        if let Some(allowed) = &mut *self.allowed.lock() {
            allowed.insert(name.to_owned());
        }
    }

    /// Ends a source here: when this returns, it writes nothing any more.
    pub(crate) async fn disallow(&self, name: &str) {
        if let Some(allowed) = &mut *self.allowed.lock() {
            allowed.remove(name);
        }
        self.stop(name).await;
        // One that did not end in time is waited for: two would write the same.
        let ending = self.ending.lock().remove(name);
        if let Some(thread) = ending {
            let _panic_was_logged = thread.await;
        }
    }

    fn is_allowed(&self, name: &str) -> bool {
        self.allowed.lock().as_ref().is_none_or(|allowed| allowed.contains(name))
    }

    /// How the source called `name` is; why it does not run, if it does not.
    pub(crate) async fn status(&self, name: &str) -> Result<Status, String> {
        if let Some(running) = self.running.read().await.get(name) {
            return Ok(running.handle.status());
        }
        Err(self.broken.lock().get(name).cloned().unwrap_or_else(|| "it is being started".to_owned()))
    }

    /// Starts and stops sources until they are as the catalogue says; whether that worked with all of them.
    pub(crate) async fn reconcile(&self, catalog: &Catalog) -> bool {
        let mut wanted = BTreeSet::new();
        let mut broken = BTreeMap::new();
        let here = |name: &str| self.is_allowed(name);
        for def in catalog
            .sources()
            .filter(|source| !source.paused && here(&source.def.name))
            .map(|source| &source.def)
        {
            wanted.insert(def.name.clone());
            if let Err(error) = self.run(def).await {
                broken.insert(def.name.clone(), error);
            }
        }
        let all = broken.is_empty();
        *self.broken.lock() = broken;
        let known: Vec<String> = self.running.read().await.keys().cloned().collect();
        for name in known.into_iter().filter(|name| !wanted.contains(name)) {
            self.stop(&name).await;
        }
        all
    }

    async fn run(&self, def: &Arc<SourceDef>) -> Result<(), String> {
        let mut running = self.running.write().await;
        if running.get(&def.name).is_some_and(|running| running.def == *def) {
            return Ok(());
        }
        let password = self.passwords.get(&def.name).await?;
        let mut ending = self.ending.lock();
        ending.retain(|_, thread| !thread.is_finished());
        if ending.contains_key(&def.name) {
            return Err("it has been told to stop and has not ended yet; then it is started".to_owned());
        }
        let options = Self::options(def, password.as_deref())?;
        let handle = tw_capture::start(options, self.place.clone()).map_err(|error| chain(&error))?;
        tracing::info!(source = def.name, "source started");
        running.insert(def.name.clone(), Running { def: def.clone(), handle });
        Ok(())
    }

    async fn stop(&self, name: &str) {
        let stopped = self.running.write().await.remove(name);
        if let Some(running) = stopped {
            let mut thread = tokio::task::spawn_blocking(move || running.handle.stop());
            if tokio::time::timeout(self.patience, &mut thread).await.is_err() {
                tracing::warn!(source = name, "the source has not ended in time; it ends by itself");
                self.ending.lock().insert(name.to_owned(), thread);
                return;
            }
            tracing::info!(source = name, "source stopped");
        }
    }

    /// Ends all sources in order: what has arrived is written and confirmed. One that takes too long ends by itself.
    pub(crate) async fn stop_all(&self) {
        let running = std::mem::take(&mut *self.running.write().await);
        let ending = std::mem::take(&mut *self.ending.lock());
        let stops =
            running.into_values().map(|running| tokio::task::spawn_blocking(move || running.handle.stop()));
        let all = futures_util::future::join_all(stops.chain(ending.into_values()));
        if tokio::time::timeout(self.patience, all).await.is_err() {
            tracing::warn!("not all sources have ended in time; what they did not confirm is read again");
        }
    }

    /// Sees whether a source can start, and changes nothing.
    ///
    /// # Errors
    /// What is in the way, with the remedy.
    pub(crate) async fn check(&self, def: &SourceDef, password: Option<&str>) -> Result<Checked, Problem> {
        let password = match password {
            Some(password) => Some(decoded(password)?),
            None => None,
        };
        let options = Self::options(def, password.as_deref());
        let options = options.map_err(|reason| Problem::new(Code::InvalidDefinition, reason))?;
        let found = tw_capture::check(&options, self.patience).await.map_err(|error| refused(&error))?;
        if let Some(detail) = in_the_way(&found) {
            return Err(Problem::new(Code::InvalidDefinition, detail));
        }
        for warning in &found.warnings {
            tracing::warn!(source = def.name, problem = warning.problem, remedy = warning.remedy);
        }
        Ok(Checked { options, found, password })
    }

    /// Makes the streams of a source, so that projections of its tables can be defined at once, and keeps its password.
    ///
    /// # Errors
    /// What is in the way, with the remedy.
    pub(crate) async fn prepare(&self, checked: &Checked) -> Result<(), Problem> {
        let Checked { options, found, password } = checked;
        let defined = tw_capture::define(options, found, self.place.store.log().as_ref()).await;
        defined.map_err(|error| refused(&error))?;
        let kept = self.passwords.set(&options.name, password.as_deref()).await;
        kept.map_err(|reason| Problem::new(Code::Internal, reason))
    }

    /// Ends a source and removes what it made in its database; says what is left there, if that does not work.
    pub(crate) async fn remove(&self, def: &SourceDef) -> Option<String> {
        self.stop(&def.name).await;
        let password = self.passwords.get(&def.name).await;
        match password.and_then(|password| Self::options(def, password.as_deref())) {
            Ok(options) => {
                tw_capture::remove(&options, self.patience).await.err().map(|left| what_is_left(&left))
            }
            Err(reason) => Some(format!("what it made in its database was not removed ({reason})")),
        }
    }

    /// Forgets the password of a source that is no longer defined.
    pub(crate) async fn forget(&self, name: &str) {
        if let Err(error) = self.passwords.set(name, None).await {
            tracing::warn!(source = name, error, "the password of a dropped source is still kept");
        }
    }

    /// Reads tables again.
    ///
    /// # Errors
    /// [`Code::NoTable`], before any is read, when one is none of its tables; [`Code::WrongState`] while it does not run or
    /// is not connected.
    pub(crate) async fn resnapshot(&self, name: &str, tables: &[String]) -> Result<(), Problem> {
        let idle = || Problem::new(Code::WrongState, format!("source `{name}` does not run"));
        let running = self.running.read().await;
        let running = running.get(name).ok_or_else(idle)?;
        let tables = if tables.is_empty() {
            running.handle.status().tables.into_iter().map(|table| table.table).collect()
        } else {
            tables_of(&running.def, tables)?
        };
        for table in tables {
            let begun = tokio::time::timeout(self.patience, running.handle.resnapshot(&table)).await;
            let busy =
                || Problem::new(Code::Timeout, format!("source `{name}` is busy: try again in a moment"));
            let begun = begun.map_err(|_| busy())?;
            begun.map_err(|error| Problem::new(Code::WrongState, chain(&error)))?;
        }
        Ok(())
    }

    /// The options of a source from its definition.
    fn options(def: &SourceDef, password: Option<&str>) -> Result<tw_capture::Options, String> {
        let mut members = Map::new();
        members.insert("name".into(), def.name.as_str().into());
        members.insert("url".into(), def.url.as_str().into());
        members.insert("tables".into(), def.tables.clone().into());
        members.insert("password".into(), password.unwrap_or_default().into());
        let value = |text: &str| text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from);
        let one = |name: &str, text: &str| {
            let mut members = members.clone();
            members.insert(name.to_owned(), value(text));
            serde_json::from_value::<tw_capture::Options>(Value::Object(members)).map(drop)
        };
        if let Some(wrong) = bad_option("source", &def.options, &OPTIONS, one) {
            return Err(wrong);
        }
        members.extend(def.options.iter().map(|(name, text)| (name.clone(), value(text))));
        let options: tw_capture::Options = serde_json::from_value(Value::Object(members))
            .map_err(|error| format!("the options of source `{}` do not read: {error}", def.name))?;
        options.check().map_err(|error| chain(&error))?;
        Ok(options)
    }
}

/// The tables of a source that are meant by these texts.
fn tables_of(def: &SourceDef, wanted: &[String]) -> Result<Vec<String>, Problem> {
    let captured: Vec<_> =
        def.tables.iter().filter_map(|table| CapturedName::new(&def.name, table).ok()).collect();
    let find = |text: &String| {
        let found = captured.iter().find(|table| table.is_meant_by(text)).map(CapturedName::table);
        found.ok_or_else(|| {
            let detail = format!(
                "`{text}` is no table of source `{}`: name one of its tables as `schema.table`",
                def.name
            );
            Problem::new(Code::NoTable, detail)
        })
    };
    wanted.iter().map(find).collect()
}

/// What somebody has to remove by hand, and why.
fn what_is_left(left: &Left) -> String {
    let quoted = tw_project::quoted;
    let publications: Vec<_> = left.publications.iter().map(|name| quoted(name)).collect();
    let mut commands = Vec::new();
    let mut what = Vec::new();
    if let Some(slot) = &left.slot {
        what.push(format!("its replication slot `{slot}`, for which the database keeps WAL,"));
        commands.push(format!("SELECT pg_drop_replication_slot('{slot}')"));
    }
    if !publications.is_empty() {
        what.push("its publications".to_owned());
        commands.push(format!("DROP PUBLICATION IF EXISTS {}", publications.join(", ")));
    }
    if what.is_empty() {
        what.push("its publication, if the source has made it,".to_owned());
    }
    let by_hand = match commands.as_slice() {
        [] => String::new(),
        commands => format!(": remove that with {}", commands.join(" and ")),
    };
    format!("{} may still be in the database ({}){by_hand}", what.join(" and "), chain(&left.reason))
}

/// The password of a URL, without its percent-encoding.
fn decoded(password: &str) -> Result<String, Problem> {
    percent_decode_str(password).decode_utf8().map(Into::into).map_err(|_| {
        Problem::new(
            Code::InvalidDefinition,
            "the password of the URL is not UTF-8 when it is percent-decoded",
        )
    })
}

fn refused(error: &tw_capture::Error) -> Problem {
    let code = if error.is_passing() { Code::WrongState } else { Code::InvalidDefinition };
    Problem::new(code, chain(error))
}

/// Everything that keeps a source from starting, in one text.
fn in_the_way(found: &Preflight) -> Option<String> {
    if found.is_ready() {
        return None;
    }
    let problems = found.problems.iter().map(|problem| format!("{}: {}", problem.problem, problem.remedy));
    Some(problems.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(slot: Option<&str>, publications: &[&str]) -> String {
        what_is_left(&Left {
            slot: slot.map(str::to_owned),
            publications: publications.iter().map(|name| (*name).to_owned()).collect(),
            reason: tw_capture::Error::Stopped,
        })
    }

    #[test]
    fn what_is_left_in_a_database_is_named_and_nothing_else() {
        assert_eq!(
            left(Some("tradewind_shop"), &["tradewind_shop", "tradewind_shop_append"]),
            "its replication slot `tradewind_shop`, for which the database keeps WAL, and its publications may still be in \
             the database (the source is being stopped): remove that with SELECT \
             pg_drop_replication_slot('tradewind_shop') and DROP PUBLICATION IF EXISTS \"tradewind_shop\", \
             \"tradewind_shop_append\""
        );
        // The slot is gone already.
        assert!(!left(None, &["tradewind_shop"]).contains("slot"));
        // A publication that somebody else may have made is not to be dropped.
        assert!(!left(Some("tradewind_shop"), &[]).contains("PUBLICATION"));
        assert_eq!(
            left(None, &[]),
            "its publication, if the source has made it, may still be in the database (the source is being stopped)"
        );
    }

    #[test]
    fn tables_are_found_by_all_their_names_or_not_at_all() {
        let def = SourceDef {
            name: "shop".into(),
            kind: "postgres".into(),
            url: "postgres://me@127.0.0.1:1/shop".into(),
            tables: vec!["public.orders".into(), "sales.\"Order Lines\"".into()],
            options: BTreeMap::new(),
        };
        let found = |texts: &[&str]| {
            tables_of(&def, &texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(
            found(&["orders", "shop.sales.Order Lines", "sales.\"Order Lines\""]).unwrap(),
            ["public.orders", "sales.Order Lines", "sales.Order Lines"]
        );
        let refused = found(&["orders", "nope"]).unwrap_err();
        assert_eq!(refused.code(), Code::NoTable);
        assert!(refused.detail().contains("`nope` is no table of source `shop`"), "{}", refused.detail());
    }

    #[test]
    fn every_option_of_a_source_can_be_said_and_no_other() {
        let error = serde_json::from_str::<tw_capture::Options>(r#"{"nothing": 1}"#).unwrap_err().to_string();
        let names = error.split('`').skip(1).step_by(2).skip(1);
        let said: Vec<&str> =
            names.filter(|name| !["name", "url", "password", "tables"].contains(name)).collect();
        assert_eq!(said, OPTIONS);
    }
}
