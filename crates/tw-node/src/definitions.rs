//! Definitions: how they change, and how what runs follows them.
//!
//! A definition is an event of `$config`. Whoever changes one holds the lock here: the catalogue is brought up to the log,
//! the statement is decided on it, the event is written, and what runs is made equal to what is defined. Nothing else
//! starts or stops views and sources, so a restart and a statement take the same path. A change that has begun is carried out
//! also when whoever asked for it goes away; one that waits for the lock has not begun. What only asks does not wait, and
//! what a database has to say is asked for before the lock is taken. What several regions have in common is defined in [`shared`].

mod shared;

use crate::parts::problem;
use crate::sources::{Checked, Sources};
use crate::views::Views;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tw_api::{Code, Problem};
use tw_env::Env;
use tw_log::store::EventStore;
use tw_log::{CONFIG_PARTITION, CONFIG_STREAM, Log, NewStream};
use tw_project::{Action, Catalog, Change, Engine, Follower, Secret, Statement, quoted};
use tw_region::definitions::Agreed;
use tw_types::chain;
use tw_types::{ExpectedVersion, StreamDef, StreamName, Version};

/// See the module's text.
pub(crate) struct Definitions {
    log: Arc<dyn Log>,
    events: EventStore,
    engine: Engine,
    sources: Arc<Sources>,
    env: Env,
    state: Arc<Mutex<State>>,
    /// Views that are not as they are defined, and why.
    broken: RwLock<BTreeMap<String, String>>,
    /// What is not as all regions have it, and why, by its name.
    disputes: RwLock<BTreeMap<String, String>>,
    /// Whether nothing is to be changed any more.
    closed: AtomicBool,
    /// Whether what is still under way is to be dropped.
    given_up: watch::Sender<bool>,
}

/// What is known of the definitions and of what runs.
struct State {
    follower: Follower,
    catalog: Catalog,
    views: Views,
    /// What is defined in all regions.
    agreed: Agreed,
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
    /// What SHOW PROJECTIONS answers is asked for.
    Projections,
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
        let state = Arc::new(Mutex::new(State {
            follower,
            catalog,
            views,
            agreed: Agreed::default(),
            settled: false,
        }));
        let (broken, disputes, closed) = (RwLock::default(), RwLock::default(), AtomicBool::new(false));
        let given_up = watch::Sender::new(false);
        Self { log, events, engine, sources, env, state, broken, disputes, closed, given_up }
    }

    /// Lets nothing be changed any more. A change that is under way has so long to end; then it is given up.
    pub(crate) async fn close(&self, wait_max: Duration) {
        self.closed.store(true, Ordering::Release);
        if tokio::time::timeout(wait_max, self.state.lock()).await.is_err() {
            tracing::warn!("a change of a definition did not end in time and is given up");
            self.given_up.send_replace(true);
        }
    }

    /// Does `work` to its end, also when whoever waits for it goes away: a definition that is changed by half, such as a
    /// source that is gone from its database and still defined, is worse than one that nobody waits for.
    async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        let mut given_up = self.given_up.subscribe();
        let task = tokio::spawn(async move {
            tokio::select! {
                outcome = work => outcome,
                _ = given_up.wait_for(|given_up| *given_up) => Err(closing()),
            }
        });
        task.await.unwrap_or_else(|error| {
            Err(Problem::new(
                Code::Internal,
                format!("the change of the definition was interrupted: {error}"),
            ))
        })
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
        if self.is_closed() {
            return Ok(());
        }
        self.catch_up(&mut state).await
    }

    /// The same, although nothing is defined otherwise: what is to run here has changed.
    ///
    /// # Errors
    /// When the definitions do not read.
    pub(crate) async fn follow_anew(&self) -> Result<(), tw_project::Error> {
        let mut state = self.state.lock().await;
        if self.is_closed() {
            return Ok(());
        }
        state.settled = false;
        self.catch_up(&mut state).await
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Does what is defined, here and in all regions.
    async fn catch_up(&self, state: &mut State) -> Result<(), tw_project::Error> {
        self.catch_up_here(state).await?;
        while self.share(state).await || self.keep_claims().await {
            self.catch_up_here(state).await?;
        }
        Ok(())
    }

    async fn catch_up_here(&self, state: &mut State) -> Result<(), tw_project::Error> {
        // Until all is done, it is to be compared: an error, or whoever drops this, can leave it half done.
        let settled = std::mem::replace(&mut state.settled, false);
        let news = state.follower.catch_up(&mut state.catalog).await?;
        if settled && !news {
            state.settled = true;
            return Ok(());
        }
        self.engine.set_catalog(state.catalog.clone());
        let broken = state.views.reconcile(self.engine.views()).await;
        let started = self.sources.reconcile(&state.catalog).await;
        state.settled = started && broken.is_empty();
        self.engine.set_broken(broken.clone());
        *self.broken.write() = broken;
        Ok(())
    }

    /// The lock. Whoever waits for it and goes away has changed nothing.
    async fn locked(&self) -> OwnedMutexGuard<State> {
        self.state.clone().lock_owned().await
    }

    /// Brings everything up to date before something is decided.
    async fn prepare(&self, state: &mut State) -> Result<(), Problem> {
        if self.is_closed() {
            return Err(closing());
        }
        // What other nodes have defined until now.
        self.log.refresh(&[CONFIG_PARTITION]).await?;
        self.catch_up(state).await.map_err(problem::of_project)
    }

    /// Carries out a statement that is not a query.
    ///
    /// # Errors
    /// Why it cannot be carried out.
    pub(crate) async fn carry_out(self: &Arc<Self>, statement: &Statement) -> Result<Outcome, Problem> {
        if let Some(answer) = self.answered(statement) {
            return Ok(answer);
        }
        let checked = self.checked(statement).await?;
        let state = self.locked().await;
        let (definitions, statement) = (self.clone(), statement.clone());
        self.to_its_end(async move { definitions.decided(state, &statement, checked).await }).await
    }

    /// The answer to a statement that changes nothing, if there is one. An error may be of a catalogue that is a moment
    /// old, and is looked at again with the lock.
    fn answered(&self, statement: &Statement) -> Option<Outcome> {
        use Statement::{Describe, ExplainName, ExplainProjection, ExplainQuery, Query, Show};
        let asks = matches!(
            statement,
            Query(_)
                | ExplainQuery(_)
                | ExplainProjection { .. }
                | ExplainName(_)
                | Show(_)
                | Describe { .. }
        );
        if !asks {
            return None;
        }
        match self.engine.decide(statement).ok()? {
            Action::Query => Some(Outcome::Query),
            Action::Rows(rows) => Some(Outcome::Rows(rows)),
            Action::ShowSources => Some(Outcome::Sources),
            Action::ShowProjections => Some(Outcome::Projections),
            _ => None,
        }
    }

    /// What the database of a source says that is to be created.
    async fn checked(&self, statement: &Statement) -> Result<Option<Checked>, Problem> {
        if !matches!(statement, Statement::CreateSource { .. }) {
            return Ok(None);
        }
        match self.engine.decide(statement) {
            Ok(Action::Change { change: Change::SourceCreated(def), secret, .. }) => {
                self.sources.check(&def, secret.as_ref().map(Secret::reveal)).await.map(Some)
            }
            // That is said, or looked at again, with the lock.
            _ => Ok(None),
        }
    }

    async fn decided(
        &self,
        mut state: OwnedMutexGuard<State>,
        statement: &Statement,
        checked: Option<Checked>,
    ) -> Result<Outcome, Problem> {
        self.prepare(&mut state).await?;
        let done = match self.engine.decide(statement).map_err(problem::of_project)? {
            Action::Query => return Ok(Outcome::Query),
            Action::Rows(rows) => return Ok(Outcome::Rows(rows)),
            Action::ShowSources => return Ok(Outcome::Sources),
            Action::ShowProjections => return Ok(Outcome::Projections),
            Action::Nothing { done } => return Ok(Outcome::Done(done)),
            Action::CreateStream { stream, done } => {
                self.create(&state, stream).await?;
                done
            }
            Action::AlterStream { stream, done } => {
                self.alter(&state, stream).await?;
                done
            }
            Action::DropStream { name, done } => {
                self.remove(&state, &name).await?;
                done
            }
            Action::Change { change, done, .. } => match self.of_all_regions(&state, &change) {
                Some(definition) => {
                    self.tell(&definition).await?;
                    done
                }
                None => {
                    // What has to happen before may have stopped something that is then still defined.
                    state.settled = false;
                    self.change(&state, change, checked.as_ref(), done).await?
                }
            },
        };
        self.catch_up(&mut state).await.map_err(problem::of_project)?;
        self.undisputed(statement)?;
        Ok(Outcome::Done(done))
    }

    /// Carries out a statement that changes something, and says what was done.
    ///
    /// # Errors
    /// Why it cannot be carried out.
    pub(crate) async fn say(self: &Arc<Self>, sql: &str) -> Result<String, Problem> {
        let statement = tw_project::parse(sql).map_err(|error| problem::of_project(error.into()))?;
        match self.carry_out(&statement).await? {
            Outcome::Done(done) => Ok(done),
            Outcome::Query | Outcome::Rows(_) | Outcome::Sources | Outcome::Projections => Ok(String::new()),
        }
    }

    /// Defines a stream.
    ///
    /// # Errors
    /// Why it cannot be defined.
    pub(crate) async fn create_stream(
        self: &Arc<Self>,
        stream: NewStream,
    ) -> Result<Arc<StreamDef>, Problem> {
        let (definitions, state) = (self.clone(), self.locked().await);
        self.to_its_end(async move { definitions.created(state, stream).await }).await
    }

    async fn created(
        &self,
        mut state: OwnedMutexGuard<State>,
        stream: NewStream,
    ) -> Result<Arc<StreamDef>, Problem> {
        self.prepare(&mut state).await?;
        state.catalog.check_new_stream(&stream).map_err(problem::of_definition)?;
        let name = stream.name.clone();
        self.create(&state, stream).await?;
        self.catch_up(&mut state).await.map_err(problem::of_project)?;
        self.now(&name)
    }

    /// Replaces the columns and the options of a stream.
    ///
    /// # Errors
    /// Why they cannot be replaced.
    pub(crate) async fn alter_stream(
        self: &Arc<Self>,
        changed: NewStream,
    ) -> Result<Arc<StreamDef>, Problem> {
        let (definitions, state) = (self.clone(), self.locked().await);
        self.to_its_end(async move { definitions.altered(state, changed).await }).await
    }

    async fn altered(
        &self,
        mut state: OwnedMutexGuard<State>,
        changed: NewStream,
    ) -> Result<Arc<StreamDef>, Problem> {
        self.prepare(&mut state).await?;
        state.catalog.check_altered_stream(&changed).map_err(problem::of_definition)?;
        let name = changed.name.clone();
        self.alter(&state, changed).await?;
        self.catch_up(&mut state).await.map_err(problem::of_project)?;
        self.now(&name)
    }

    /// Removes a stream that nothing needs.
    ///
    /// # Errors
    /// Why it cannot be removed.
    pub(crate) async fn drop_stream(self: &Arc<Self>, name: &StreamName) -> Result<(), Problem> {
        self.say(&format!("DROP STREAM {}", quoted(name.as_str()))).await.map(drop)
    }

    /// Writes a change of a definition, with what has to happen outside of the log before.
    async fn change(
        &self,
        state: &State,
        change: Change,
        checked: Option<&Checked>,
        mut done: String,
    ) -> Result<String, Problem> {
        match &change {
            Change::SourceCreated(def) => {
                let taken = || {
                    let name = &def.name;
                    let detail = format!("source `{name}` was dropped at this moment: create it again");
                    Problem::new(Code::WrongState, detail)
                };
                self.sources.prepare(checked.ok_or_else(taken)?).await?;
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
        if let Change::SourceDropped(name) = &change {
            // Not before: a source that is still defined needs it.
            self.sources.forget(name).await;
        }
        Ok(done)
    }

    fn event_id(&self) -> String {
        let random = &self.env.random;
        format!("{:016x}{:016x}", random.next_u64(), random.next_u64())
    }

    /// Appends the event of a change, which gets this version of its subject's history.
    async fn write(&self, change: &Change, version: Version) -> Result<(), Problem> {
        let event = change.to_event(self.event_id());
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

fn closing() -> Problem {
    Problem::new(Code::ShuttingDown, "the node is shutting down")
}

/// Tells the log of the process why definitions cannot be followed.
pub(crate) fn report(outcome: Result<(), tw_project::Error>) {
    if let Err(error) = outcome {
        tracing::error!(error = chain(&error), "the definitions cannot be followed; it is tried again");
    }
}

#[cfg(test)]
mod tests;
