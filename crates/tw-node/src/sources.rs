//! Sources: those that run are those that are defined.

use crate::Error;
use crate::error::chain;
use crate::secrets::Secrets;
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::RwLock;
use tw_api::{Code, Problem};
use tw_capture::{Handle, Place, Preflight, Status};
use tw_project::{Catalog, SourceDef};

/// The sources of a node.
pub(crate) struct Sources {
    place: Place,
    secrets: Secrets,
    running: RwLock<BTreeMap<String, Running>>,
    /// Sources that are defined and did not start, and why.
    broken: Mutex<BTreeMap<String, String>>,
}

struct Running {
    def: Arc<SourceDef>,
    handle: Handle,
}

impl Sources {
    pub(crate) fn new(place: Place, secrets: Secrets) -> Self {
        Self { place, secrets, running: RwLock::default(), broken: Mutex::default() }
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
        for def in catalog.sources() {
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
        let options = Self::options(def, self.secrets.password(&def.name).as_deref())?;
        let handle = tw_capture::start(options, self.place.clone()).map_err(|error| chain(&error))?;
        tracing::info!(source = def.name, "source started");
        running.insert(def.name.clone(), Running { def: def.clone(), handle });
        Ok(())
    }

    async fn stop(&self, name: &str) {
        let stopped = self.running.write().await.remove(name);
        if let Some(running) = stopped {
            let _panic_was_logged = tokio::task::spawn_blocking(move || running.handle.stop()).await;
            tracing::info!(source = name, "source stopped");
        }
    }

    /// Ends all sources in order: what has arrived is written and confirmed.
    pub(crate) async fn stop_all(&self) {
        let running = std::mem::take(&mut *self.running.write().await);
        let stops =
            running.into_values().map(|running| tokio::task::spawn_blocking(move || running.handle.stop()));
        futures_util::future::join_all(stops).await;
    }

    /// Sees whether a source can start, makes its streams, and keeps its password.
    ///
    /// # Errors
    /// What is in the way, with the remedy.
    pub(crate) async fn prepare(&self, def: &SourceDef, password: Option<&str>) -> Result<(), Problem> {
        let password = match password {
            Some(password) => Some(decoded(password)?),
            None => None,
        };
        let options = Self::options(def, password.as_deref());
        let options = options.map_err(|reason| Problem::new(Code::InvalidDefinition, reason))?;
        let found = tw_capture::check(&options).await.map_err(|error| refused(&error))?;
        if let Some(detail) = in_the_way(&found) {
            return Err(Problem::new(Code::InvalidDefinition, detail));
        }
        for warning in &found.warnings {
            tracing::warn!(source = def.name, problem = warning.problem, remedy = warning.remedy);
        }
        // So that projections of its tables can be defined at once.
        let defined = tw_capture::define(&options, &found, self.place.store.log().as_ref()).await;
        defined.map_err(|error| refused(&error))?;
        let kept = self.secrets.set(&def.name, password.as_deref());
        kept.map_err(|error: Error| Problem::new(Code::Internal, chain(&error)))
    }

    /// Ends a source and removes what it made in its database; says what is left there, if that does not work.
    pub(crate) async fn remove(&self, def: &SourceDef) -> Option<String> {
        self.stop(&def.name).await;
        let removed = match Self::options(def, self.secrets.password(&def.name).as_deref()) {
            Ok(options) => {
                let slot = options.slot();
                tw_capture::remove(&options).await.map_err(|error| {
                    format!(
                        "its replication slot `{slot}` and its publications are still in the database, which keeps WAL for \
                         the slot: remove them there ({})",
                        chain(&error)
                    )
                })
            }
            Err(reason) => Err(format!("what it made in its database was not removed ({reason})")),
        };
        removed.err()
    }

    /// Forgets the password of a source that is no longer defined.
    pub(crate) fn forget(&self, name: &str) {
        if let Err(error) = self.secrets.set(name, None) {
            tracing::warn!(
                source = name,
                error = chain(&error),
                "the password of a dropped source is still kept"
            );
        }
    }

    /// Reads tables again.
    ///
    /// # Errors
    /// [`Code::NoSource`], [`Code::WrongState`] while it is not connected.
    pub(crate) async fn resnapshot(&self, name: &str, tables: &[String]) -> Result<(), Problem> {
        let none = || Problem::new(Code::NoSource, format!("there is no source `{name}`"));
        let running = self.running.read().await;
        let handle = &running.get(name).ok_or_else(none)?.handle;
        let all: Vec<String>;
        let tables = if tables.is_empty() {
            all = handle.status().tables.into_iter().map(|table| table.table).collect();
            &all
        } else {
            tables
        };
        for table in tables {
            handle.resnapshot(table).await.map_err(|error| Problem::new(Code::WrongState, chain(&error)))?;
        }
        Ok(())
    }

    /// The options of a source from its definition.
    fn options(def: &SourceDef, password: Option<&str>) -> Result<tw_capture::Options, String> {
        let mut members = Map::new();
        for (name, text) in &def.options {
            if matches!(name.as_str(), "name" | "url" | "password" | "tables") {
                return Err(format!("`{name}` is not an option of a source: say it in the statement itself"));
            }
            let value = match text.parse::<u64>() {
                Ok(number) => Value::from(number),
                Err(_) => Value::from(text.as_str()),
            };
            members.insert(name.clone(), value);
        }
        members.insert("name".into(), def.name.as_str().into());
        members.insert("url".into(), def.url.as_str().into());
        members.insert("tables".into(), def.tables.clone().into());
        members.insert("password".into(), password.unwrap_or_default().into());
        let options: tw_capture::Options = serde_json::from_value(Value::Object(members))
            .map_err(|error| format!("the options of source `{}` do not read: {error}", def.name))?;
        options.check().map_err(|error| chain(&error))?;
        Ok(options)
    }
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
