//! The homes of streams, running: the shell around [`crate::home`].
//!
//! One task follows `$homes` and does what it says, one thing said at a time: it shuts a stream behind the last write when another region is
//! its home, tells what is at risk by that in `$at_risk`, and opens a stream when this region has all that its home had. Writers
//! [`Homes::enter`] and keep what they get until their write has an end.

mod agree;
mod arbiter;
mod change;
mod error;
mod risk;

pub use arbiter::{Agreed, Answer, Arbiter, Look, NoAnswer};
pub use change::{Failover, FailoverStream, Given};
pub use error::HomeError;
pub use risk::AT_RISK_STREAM;

use super::Error;
use super::restore::restored;
use crate::home::{Course, HOMES_STREAM, Marks, Saying};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedRwLockReadGuard, RwLock, watch};
use tw_env::Env;
use tw_log::store::{EventStore, Filter};
use tw_types::{Offset, PartitionId, RegionId, StreamDef, StreamMode, StreamPartition};

/// How much is read at a time.
const READ_EVENTS: usize = 1_000;
const READ_BYTES: usize = 1 << 20;
/// How long to wait before what failed is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// The right to write a stream, until it is dropped.
#[derive(Debug)]
pub struct Entered {
    _shared: OwnedRwLockReadGuard<()>,
    right: Option<(Arc<dyn Arbiter>, String, u64)>,
}

impl Entered {
    /// Whether the stream may still be written: where there is an arbiter, a region that stood still may have been replaced meanwhile.
    ///
    /// # Errors
    /// [`HomeError::NoAnswer`].
    pub fn check(&self) -> Result<(), HomeError> {
        match &self.right {
            Some((arbiter, stream, term)) if !arbiter.may_write(stream, *term) => {
                Err(HomeError::NoAnswer(format!(
                    "this region is the home of stream `{stream}`, and cannot be sure that it still is: others agree on that without it, or who is the home cannot be agreed on"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// The home of a stream, as this region knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeState {
    /// The stream.
    pub stream: String,
    /// Where it is written.
    pub home: RegionId,
    /// How many homes it had before.
    pub term: u64,
    /// Where it was written before; None for the first home.
    pub from: Option<RegionId>,
    /// Whether the one before has agreed.
    pub is_planned: bool,
    /// Whether this region takes writes now.
    pub is_open: bool,
}

/// See the module's text.
pub struct Homes {
    events: EventStore,
    env: Env,
    me: RegionId,
    arbiter: Option<Arc<dyn Arbiter>>,
    state: Mutex<State>,
    /// Only one thing is done at a time.
    work: tokio::sync::Mutex<()>,
    /// Whether the region is being restored: then nothing is claimed, and nothing opened.
    restoring: watch::Receiver<bool>,
}

#[derive(Default)]
struct State {
    next: Offset,
    /// Whether everything that the log had at the start is known: before that nothing is written.
    is_caught_up: bool,
    streams: BTreeMap<String, Known>,
}

#[derive(Default)]
struct Known {
    course: Course,
    /// Of how much of the course it was told what is at risk by it.
    told: usize,
    /// It is being given away.
    is_leaving: bool,
    /// Writers share it, and whoever shuts the stream waits for them.
    gate: Arc<RwLock<()>>,
}

impl Known {
    fn home(&self, def: &StreamDef) -> RegionId {
        self.course.claim().map_or_else(|| def.options.home.unwrap_or_default(), |claim| claim.home)
    }

    fn term(&self) -> u64 {
        self.course.claim().map_or(0, |claim| claim.term)
    }

    fn is_open(&self, me: RegionId) -> bool {
        let is_opened = self.course.claim().is_none() || self.course.is_opened(me);
        is_opened && self.told == self.course.len() && !self.is_leaving
    }
}

impl Homes {
    /// Of a log that has the streams of regions.
    pub(crate) async fn start(
        events: EventStore,
        env: Env,
        arbiter: Option<Arc<dyn Arbiter>>,
        restoring: watch::Receiver<bool>,
    ) -> Result<Self, Error> {
        let me = events.log().region();
        let (state, work) = (Mutex::default(), tokio::sync::Mutex::default());
        let homes = Self { events, env, me, arbiter, state, work, restoring };
        if !homes.is_restoring() {
            homes.follow().await?;
        }
        Ok(homes)
    }

    /// Follows what is said, as long as the links run.
    pub(crate) async fn run(self: Arc<Self>) {
        restored(self.restoring.clone()).await;
        let commits = self.events.log().commits();
        loop {
            let seen = commits.get();
            match self.follow().await {
                Ok(()) => {
                    commits.over(seen).await;
                }
                Err(error) => {
                    tracing::error!(error = %tw_types::chain(&error), "the homes of streams are not followed: trying again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Lets a write to a stream with a home pass, if this region is the home and takes writes.
    ///
    /// # Errors
    /// [`HomeError::Elsewhere`], [`HomeError::OnItsWay`], [`HomeError::Starting`], [`HomeError::Restoring`].
    pub fn enter(&self, def: &StreamDef) -> Result<Entered, HomeError> {
        self.check_restored()?;
        let mut state = self.state.lock();
        if !state.is_caught_up {
            return Err(HomeError::Starting { stream: def.name.to_string() });
        }
        let known = state.streams.entry(def.name.to_string()).or_default();
        let (home, term) = (known.home(def), known.term());
        let stream = def.name.to_string();
        if home != self.me {
            return Err(HomeError::Elsewhere { stream, home, term });
        }
        let gate = known.is_open(self.me).then(|| known.gate.clone().try_read_owned().ok()).flatten();
        let Some(shared) = gate else { return Err(HomeError::OnItsWay { stream, home }) };
        let entered =
            Entered { _shared: shared, right: self.arbiter.clone().map(|arbiter| (arbiter, stream, term)) };
        // After the gate: whoever shuts it has made sure that this says no.
        entered.check().map(|()| entered)
    }

    fn is_restoring(&self) -> bool {
        *self.restoring.borrow()
    }

    /// Refuses whatever would write `$homes` before all that was written there is known.
    fn check_restored(&self) -> Result<(), HomeError> {
        if self.is_restoring() { Err(HomeError::Restoring { region: self.me }) } else { Ok(()) }
    }

    /// All streams with a home, in the order of their names.
    pub fn list(&self) -> Vec<HomeState> {
        let streams = self.events.log().streams();
        let mut state = self.state.lock();
        let is_caught_up = state.is_caught_up;
        let homes = streams.iter().filter(|def| def.options.mode == StreamMode::HomeRegion);
        homes
            .map(|def| {
                let known = state.streams.entry(def.name.to_string()).or_default();
                let (claim, home) = (known.course.claim(), known.home(def));
                HomeState {
                    stream: def.name.to_string(),
                    home,
                    term: known.term(),
                    from: claim.map(|claim| claim.from),
                    is_planned: claim.is_none_or(|claim| claim.is_planned),
                    is_open: home == self.me
                        && is_caught_up
                        && known.is_open(self.me)
                        && self.may_write(def.name.as_str(), known.term()),
                }
            })
            .collect()
    }

    /// Whether it is agreed, where that is done, that this region writes the stream in this term.
    fn may_write(&self, stream: &str, term: u64) -> bool {
        self.arbiter.as_ref().is_none_or(|arbiter| arbiter.may_write(stream, term))
    }

    /// Waits until nobody writes a stream any more into which nobody is let from now on.
    async fn shut(&self, stream: &str) {
        let gate = self.state.lock().streams.entry(stream.to_owned()).or_default().gate.clone();
        drop(gate.write().await);
    }

    /// Does what was said since.
    async fn follow(&self) -> Result<(), Error> {
        let _one_at_a_time = self.work.lock().await;
        self.follow_alone().await
    }

    /// The same, for who has the work already.
    async fn follow_alone(&self) -> Result<(), Error> {
        loop {
            self.learn().await?;
            self.tell_risks().await?;
            self.state.lock().is_caught_up = true;
            if let Some(arbiter) = &self.arbiter {
                self.agree(arbiter.as_ref()).await?;
                self.tell_risks().await?;
            }
            if !self.open().await? {
                return Ok(());
            }
        }
    }

    /// Reads what `$homes` has.
    async fn learn(&self) -> Result<(), Error> {
        let log = self.events.log();
        let at = StreamPartition::new(log.streams().get(HOMES_STREAM)?.id, PartitionId(0));
        loop {
            let next = self.state.lock().next;
            if next >= log.bounds(at)?.end {
                return Ok(());
            }
            let page = self.events.read(at, next, &Filter::default(), READ_EVENTS, READ_BYTES).await?;
            let mut state = self.state.lock();
            for stored in &page.events {
                let author = stored.origin.region;
                let Some(saying) = Saying::read(&stored.event.as_ref(), author) else {
                    tracing::warn!(position = %stored.position, "an event of `$homes` is not understood: passed over");
                    continue;
                };
                let stream = saying.stream().to_owned();
                state.streams.entry(stream).or_default().course.learn(author, stored.hlc, saying);
            }
            state.next = page.next;
        }
    }

    /// Says that this region takes writes, for each stream of which it is the home and has what its author had. Whether there was one.
    async fn open(&self) -> Result<bool, Error> {
        let closed: Vec<(String, u64, Marks)> = {
            let state = self.state.lock();
            let mine = state.streams.iter().filter_map(|(name, known)| {
                let claim = known.course.claim().filter(|claim| claim.home == self.me)?;
                let is_closed = !known.course.is_opened(self.me);
                (is_closed && self.may_write(name, claim.term))
                    .then(|| (name.clone(), claim.term, claim.has.clone()))
            });
            mine.collect()
        };
        let mut has_opened = false;
        for (stream, term, has) in closed {
            let streams = self.events.log().streams();
            let Ok(def) = streams.get(&stream) else { continue };
            if self.marks(def).await?.cover(&has) {
                tracing::info!(stream, term, "this region is the home of a stream, and takes its writes");
                self.say(&Saying::Opened { stream, term }).await?;
                has_opened = true;
            }
        }
        Ok(has_opened)
    }

    /// What is here of a stream.
    async fn marks(&self, def: &StreamDef) -> Result<Marks, Error> {
        let mut marks = Marks::default();
        for number in 0..def.partitions {
            let at = StreamPartition::new(def.id, PartitionId(number));
            for mark in self.events.received(at).await? {
                marks.note(at.partition, mark.origin);
            }
        }
        Ok(marks)
    }

    /// Appends to `$homes`.
    async fn say(&self, saying: &Saying) -> Result<(), Error> {
        let streams = self.events.log().streams();
        let id = format!("{:016x}{:016x}", self.env.random.next_u64(), self.env.random.next_u64());
        let mut write = self.events.write();
        write.push(streams.get(HOMES_STREAM)?, &saying.event(self.me, id).as_ref())?;
        self.events.append(write).await?;
        Ok(())
    }
}

impl std::fmt::Debug for Homes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Homes").field("me", &self.me).finish_non_exhaustive()
    }
}
