//! Definitions: how they change, and how what runs follows them.
//!
//! A definition is an event of `$config`. Whoever changes one holds the lock here: the catalogue is brought up to the log,
//! the statement is decided on it, the event is written, and what runs is made equal to what is defined. Nothing else
//! starts or stops views and sources, so a restart and a statement take the same path.

use crate::error::chain;
use crate::parts::problem;
use crate::sources::Sources;
use crate::views::Views;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{Mutex, MutexGuard};
use tw_api::{Code, Problem};
use tw_env::Env;
use tw_log::store::EventStore;
use tw_log::{CONFIG_STREAM, Log, NewStream};
use tw_project::{Action, Catalog, Change, Engine, Follower, Secret, Statement};
use tw_types::{ExpectedVersion, StreamDef, StreamName, Version};

/// See the module's text.
pub(crate) struct Definitions {
    log: Arc<dyn Log>,
    events: EventStore,
    engine: Engine,
    sources: Arc<Sources>,
    env: Env,
    state: Mutex<State>,
    /// Views that are not as they are defined, and why.
    broken: RwLock<BTreeMap<String, String>>,
}

/// What is known of the definitions and of what runs.
struct State {
    follower: Follower,
    catalog: Catalog,
    views: Views,
    /// Whether what runs is as the catalogue says.
    settled: bool,
}

/// What became of a statement.
pub(crate) enum Outcome {
    /// It is a query: the engine answers it.
    Query,
    /// Its answer.
    Rows(tw_project::Answer),
    /// What SHOW SOURCES answers is asked for.
    Sources,
    /// What was done.
    Done(String),
}

impl Definitions {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        events: EventStore,
        engine: Engine,
        workers: tw_process::Handle,
        sources: Arc<Sources>,
        env: Env,
    ) -> Self {
        let follower = Follower::new(log.clone());
        let catalog = Catalog::new(log.streams());
        let views = Views::new(workers);
        let state = Mutex::new(State { follower, catalog, views, settled: false });
        Self { log, events, engine, sources, env, state, broken: RwLock::default() }
    }

    /// Views that are not as they are defined, with the reason, by the name of the view.
    pub(crate) fn broken(&self) -> BTreeMap<String, String> {
        self.broken.read().clone()
    }

    /// Makes what runs equal to what is defined.
    ///
    /// # Errors
    /// When the definitions do not read.
    pub(crate) async fn follow(&self) -> Result<(), tw_project::Error> {
        let mut state = self.state.lock().await;
        self.catch_up(&mut state).await
    }

    async fn catch_up(&self, state: &mut State) -> Result<(), tw_project::Error> {
        let news = state.follower.catch_up(&mut state.catalog).await?;
        if state.settled && !news {
            return Ok(());
        }
        state.settled = false;
        self.engine.set_catalog(state.catalog.clone());
        let broken = state.views.reconcile(self.engine.views()).await;
        let started = self.sources.reconcile(&state.catalog).await;
        state.settled = started && broken.is_empty();
        *self.broken.write() = broken;
        Ok(())
    }

    /// The lock, with everything up to date.
    async fn current(&self) -> Result<MutexGuard<'_, State>, Problem> {
        let mut state = self.state.lock().await;
        self.catch_up(&mut state).await.map_err(problem::of_project)?;
        Ok(state)
    }

    /// Carries out a statement that is not a query.
    ///
    /// # Errors
    /// Why it cannot be carried out.
    pub(crate) async fn carry_out(&self, statement: &Statement) -> Result<Outcome, Problem> {
        let mut state = self.current().await?;
        let done = match self.engine.decide(statement).map_err(problem::of_project)? {
            Action::Query => return Ok(Outcome::Query),
            Action::Rows(rows) => return Ok(Outcome::Rows(rows)),
            Action::ShowSources => return Ok(Outcome::Sources),
            Action::Nothing { done } => return Ok(Outcome::Done(done)),
            Action::CreateStream { stream, done } => {
                self.log.create_stream(stream).await?;
                done
            }
            Action::AlterStream { stream, done } => {
                self.log.alter_stream(stream).await?;
                done
            }
            Action::DropStream { name, done } => {
                self.log.drop_stream(&name).await?;
                done
            }
            Action::Change { change, secret, done } => self.change(&state, change, secret, done).await?,
        };
        self.catch_up(&mut state).await.map_err(problem::of_project)?;
        Ok(Outcome::Done(done))
    }

    /// Carries out a statement that changes something, and says what was done.
    ///
    /// # Errors
    /// Why it cannot be carried out.
    pub(crate) async fn say(&self, sql: &str) -> Result<String, Problem> {
        let statement = tw_project::parse(sql).map_err(|error| problem::of_project(error.into()))?;
        match self.carry_out(&statement).await? {
            Outcome::Done(done) => Ok(done),
            Outcome::Query | Outcome::Rows(_) | Outcome::Sources => Ok(String::new()),
        }
    }

    /// Defines a stream.
    ///
    /// # Errors
    /// Why it cannot be defined.
    pub(crate) async fn create_stream(&self, stream: NewStream) -> Result<Arc<StreamDef>, Problem> {
        let mut state = self.current().await?;
        if state.catalog.projection(stream.name.as_str()).is_ok() {
            let detail = format!("there is a projection `{}` already: choose another name", stream.name);
            return Err(Problem::new(Code::AlreadyExists, detail));
        }
        let created = self.log.create_stream(stream).await?;
        self.catch_up(&mut state).await.map_err(problem::of_project)?;
        Ok(created)
    }

    /// Replaces the columns and the options of a stream.
    ///
    /// # Errors
    /// Why they cannot be replaced.
    pub(crate) async fn alter_stream(&self, changed: NewStream) -> Result<Arc<StreamDef>, Problem> {
        let mut state = self.current().await?;
        let altered = self.log.alter_stream(changed).await?;
        self.catch_up(&mut state).await.map_err(problem::of_project)?;
        Ok(altered)
    }

    /// Removes a stream that nothing needs.
    ///
    /// # Errors
    /// Why it cannot be removed.
    pub(crate) async fn drop_stream(&self, name: &StreamName) -> Result<(), Problem> {
        self.say(&format!("DROP STREAM {}", quoted(name.as_str()))).await.map(drop)
    }

    /// Writes a change of a definition, with what has to happen outside of the log before.
    async fn change(
        &self,
        state: &State,
        change: Change,
        secret: Option<Secret>,
        mut done: String,
    ) -> Result<String, Problem> {
        match &change {
            Change::SourceCreated(def) => {
                self.sources.prepare(def, secret.as_ref().map(Secret::reveal)).await?;
            }
            Change::SourceDropped(name) => {
                let source = state.catalog.source(name).map_err(problem::of_project)?;
                if let Some(left) = self.sources.remove(&source.def).await {
                    done = format!("{done}; {left}");
                }
            }
            _ => {}
        }
        let version = state.catalog.next_version(&change);
        self.write(&change, version).await?;
        Ok(done)
    }

    /// Appends the event of a change, which gets this version of its subject's history.
    async fn write(&self, change: &Change, version: Version) -> Result<(), Problem> {
        let random = &self.env.random;
        let event = change.to_event(format!("{:016x}{:016x}", random.next_u64(), random.next_u64()));
        let config = self.log.streams().by_id(CONFIG_STREAM)?.clone();
        let mut write = self.events.write();
        write.push(&config, &event.as_ref())?;
        let expected = match version.0.saturating_sub(1) {
            0 => ExpectedVersion::None,
            before => ExpectedVersion::Exact(Version(before)),
        };
        write.expect(&config, &change.subject(), expected);
        self.events.append(write).await?;
        tracing::info!(change = change.event_type(), subject = change.subject(), "definition changed");
        Ok(())
    }
}

/// A name as an identifier of a statement.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Tells the log of the process why definitions cannot be followed.
pub(crate) fn report(outcome: Result<(), tw_project::Error>) {
    if let Err(error) = outcome {
        tracing::error!(error = chain(&error), "the definitions cannot be followed; it is tried again");
    }
}
