//! The engine of SQL: carries statements out over the log and the views, and says which views there must be.

mod compare;
mod conflicts;
mod decide;
mod describe;
mod explain;
mod gather;
mod listing;
mod point;
mod rights;
mod run;
mod scope;
mod serve;
mod sources;
mod views;
mod workers;

pub use compare::Comparison;
pub use conflicts::WaitingConflict;
pub use decide::Action;
pub use run::Request;
pub use sources::SourceStanding;
pub use views::{Committed, Held, ViewReading, ViewStanding, Views};

use crate::answers::{Answers, KeptAnswers};
use crate::catalog::{Projection, ProjectionDef};
use crate::gather::hold::Holds;
use crate::gather::{AllHere, Peers};
use crate::merged::{Alone, Knowledge};
use crate::query::point::PointRead;
use crate::sql::Statement;
use crate::view::{view_name_of_latest, view_name_of_projection};
use crate::{Catalog, Error, Options, StateView, plan};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Semaphore;
use tw_log::Log;
use tw_state::Store;
use tw_types::StreamDef;

/// How long two generations of a view may take to come to the same events.
const ALIGN_MAX: Duration = Duration::from_secs(5);

/// The engine of SQL of a node. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    /// Replaced as a whole.
    options: RwLock<Arc<Options>>,
    log: Arc<dyn Log>,
    store: Arc<dyn Store>,
    views: Arc<dyn Views>,
    catalog: RwLock<Catalog>,
    /// Rises with every new catalogue.
    epoch: AtomicU64,
    compiled: Mutex<HashMap<String, Compiled>>,
    known: Mutex<HashMap<String, Arc<Known>>>,
    peers: Arc<dyn Peers>,
    /// Whether other nodes may have partitions of views.
    joined: bool,
    /// What is held for queries of other nodes.
    holds: Arc<Holds>,
    /// The queries that may read from other nodes at once.
    gathers: Arc<Semaphore>,
    /// What is kept of answers.
    answers: Arc<Answers>,
    /// The definitions that other nodes read of views of which nothing is here, by their names.
    agreed: Mutex<HashMap<String, u64>>,
    /// What is known of what regions have seen.
    knowledge: OnceLock<Arc<dyn Knowledge>>,
    /// Why views are not as they are defined, by their names.
    broken: RwLock<BTreeMap<String, String>>,
}

/// A view that was made of a definition, for the columns that its stream had.
#[derive(Clone)]
struct Compiled {
    def: Option<Arc<ProjectionDef>>,
    stream: Arc<StreamDef>,
    view: Arc<StateView>,
    earlier: Vec<Arc<StateView>>,
}

/// A statement that was seen before.
struct Known {
    statement: Statement,
    epoch: u64,
    point: Option<PointRead>,
    /// Whether it has the same answer as long as it reads the same.
    lasts: bool,
}

/// A view that must run.
#[derive(Debug, Clone)]
pub struct WantedView {
    /// The view.
    pub view: Arc<StateView>,
    /// The views of earlier definitions, of which one may have built what is to be read until this one is built.
    pub earlier: Vec<Arc<StateView>>,
    /// Whether it rests.
    pub paused: bool,
    /// Whether what is built anew must not take over yet.
    pub on_hold: bool,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("options", &self.options()).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine over a log, the store of the views, and whoever keeps them up to date. Its catalogue is empty at first.
    ///
    /// # Errors
    /// [`Error::Refused`] for an option outside its bounds.
    pub fn new(
        options: Options,
        log: Arc<dyn Log>,
        store: Arc<dyn Store>,
        views: Arc<dyn Views>,
    ) -> Result<Self, Error> {
        Self::open(options, log, store, views, None)
    }

    /// An engine that has some partitions of views, and asks others for the rest; else as [`Engine::new`].
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn joined(
        options: Options,
        log: Arc<dyn Log>,
        store: Arc<dyn Store>,
        views: Arc<dyn Views>,
        peers: Arc<dyn Peers>,
    ) -> Result<Self, Error> {
        Self::open(options, log, store, views, Some(peers))
    }

    fn open(
        options: Options,
        log: Arc<dyn Log>,
        store: Arc<dyn Store>,
        views: Arc<dyn Views>,
        peers: Option<Arc<dyn Peers>>,
    ) -> Result<Self, Error> {
        options.check()?;
        let catalog = RwLock::new(Catalog::new(log.streams()));
        let (compiled, known) = (Mutex::default(), Mutex::default());
        let joined = peers.is_some();
        let holds = Holds::new(options.holds_max);
        let gathers = Arc::new(Semaphore::new(options.gathers_max));
        let answers = Answers::new(options.answers_bytes_max);
        let options = RwLock::new(Arc::new(options));
        Ok(Self(Arc::new(Shared {
            holds,
            gathers,
            answers,
            options,
            log,
            store,
            views,
            catalog,
            epoch: AtomicU64::new(0),
            compiled,
            known,
            peers: peers.unwrap_or_else(|| Arc::new(AllHere)),
            joined,
            agreed: Mutex::default(),
            knowledge: OnceLock::new(),
            broken: RwLock::default(),
        })))
    }

    /// Puts other options into effect, for statements that come from now on; `cache_bytes_max` for views that are made from
    /// now on. `gathers_max` and `holds_max` stay as they are.
    ///
    /// # Errors
    /// [`Error::Refused`] for an option outside its bounds; then nothing has changed.
    pub fn reconfigure(&self, options: Options) -> Result<(), Error> {
        options.check()?;
        self.0.answers.resize(options.answers_bytes_max);
        *self.0.options.write() = Arc::new(options);
        Ok(())
    }

    /// How many answers are kept, and how often that was of use.
    pub fn kept_answers(&self) -> KeptAnswers {
        self.0.answers.count()
    }

    /// Says what is known of what regions have seen, for streams whose rows are merged: once, before the first [`Engine::views`]. Without it this is the
    /// only region.
    pub fn set_knowledge(&self, knowledge: Arc<dyn Knowledge>) {
        let _first_counts = self.0.knowledge.set(knowledge);
    }

    fn knowledge(&self) -> Arc<dyn Knowledge> {
        self.0.knowledge.get_or_init(|| Arc::new(Alone(self.0.log.clone()))).clone()
    }

    /// Replaces the catalogue: after every change of it, or of the streams.
    pub fn set_catalog(&self, catalog: Catalog) {
        *self.0.catalog.write() = catalog;
        self.0.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Says why views are not as they are defined, by their names: reading one that does not run tells it.
    pub fn set_broken(&self, broken: BTreeMap<String, String>) {
        *self.0.broken.write() = broken;
    }

    /// What is to be read of a view now.
    fn reading(&self, view: &str) -> Result<ViewReading, Error> {
        self.0.views.reading(view).map_err(|error| match (error, self.0.broken.read().get(view)) {
            (Error::NotReadable { name, .. }, Some(why)) => Error::NotReadable { name, reason: why.clone() },
            (error, _) => error,
        })
    }

    /// What is to be read of a view for a statement, as it is or as it is built anew.
    fn reading_for(&self, view: &str, next: bool) -> Result<ViewReading, Error> {
        if next { self.0.views.reading_next(view) } else { self.reading(view) }
    }

    /// The catalogue as it was set last.
    pub fn catalog(&self) -> Catalog {
        self.0.catalog.read().clone()
    }

    fn options(&self) -> Arc<Options> {
        self.0.options.read().clone()
    }

    fn log(&self) -> &Arc<dyn Log> {
        &self.0.log
    }

    fn views_seam(&self) -> &dyn Views {
        self.0.views.as_ref()
    }

    /// Every view that must run: one for each projection, and one for the latest rows of each captured table. A projection
    /// whose SELECT does not fit its stream any more comes as the name of its view and the reason.
    pub fn views(&self) -> Vec<Result<WantedView, (String, Error)>> {
        let catalog = self.catalog();
        let mut before = self.0.compiled.lock();
        let mut compiled = HashMap::new();
        let mut wanted = Vec::new();
        for projection in catalog.projections() {
            let name = view_name_of_projection(&projection.def.name);
            let known = before.get(&name).filter(|known| known.def.as_ref() == Some(&projection.def));
            match self.compiled(&catalog, known, projection) {
                Ok(one) => {
                    let (view, earlier) = (one.view.clone(), one.earlier.clone());
                    wanted.push(Ok(WantedView {
                        view,
                        earlier,
                        paused: projection.paused,
                        on_hold: projection.on_hold,
                    }));
                    compiled.insert(name, one);
                }
                Err(error) => wanted.push(Err((name, error))),
            }
        }
        for stream in catalog.streams().iter().filter(|stream| stream.is_table() && stream.schema.is_some()) {
            let name = view_name_of_latest(stream);
            let known = before
                .get(&name)
                .filter(|known| known.stream.schema == stream.schema && known.stream.id == stream.id);
            let one = known.cloned().unwrap_or_else(|| Compiled {
                def: None,
                stream: stream.clone(),
                view: Arc::new(StateView::latest(stream, self.options().cache_bytes_max, self.knowledge())),
                earlier: Vec::new(),
            });
            wanted.push(Ok(WantedView {
                view: one.view.clone(),
                earlier: Vec::new(),
                paused: false,
                on_hold: false,
            }));
            compiled.insert(name, one);
        }
        *before = compiled;
        wanted
    }

    fn compiled(
        &self,
        catalog: &Catalog,
        known: Option<&Compiled>,
        projection: &Projection,
    ) -> Result<Compiled, Error> {
        let def = &projection.def;
        if let Some(known) = known
            && catalog.streams().by_id(def.stream).is_ok_and(|stream| {
                stream.schema == known.stream.schema && stream.options.mode == known.stream.options.mode
            })
        {
            return Ok(known.clone());
        }
        let view = self.view_of(catalog, def)?;
        let stream = view.plan().stream.clone();
        // One that does not fit its stream any more cannot go on, either.
        let earlier = projection.earlier.iter().filter_map(|def| self.view_of(catalog, def).ok()).collect();
        Ok(Compiled { def: Some(def.clone()), stream, view, earlier })
    }

    fn view_of(&self, catalog: &Catalog, def: &ProjectionDef) -> Result<Arc<StateView>, Error> {
        let plan = plan::compile(catalog, &def.query)?;
        Ok(Arc::new(StateView::projection(
            def,
            Arc::new(plan),
            self.options().cache_bytes_max,
            self.knowledge(),
        )))
    }

    /// What a query may use.
    fn runtime(&self) -> Result<Arc<RuntimeEnv>, Error> {
        let pool = Arc::new(FairSpillPool::new(self.options().query_memory_bytes_max));
        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        Ok(RuntimeEnvBuilder::new().with_memory_pool(pool).with_disk_manager_builder(disk).build_arc()?)
    }
}
