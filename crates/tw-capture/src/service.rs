//! A running source: a thread of its own that connects, captures, and tries again when something breaks.

use crate::commands::{self, Command, Commands};
use crate::gate::Gate;
use crate::postgres::{self, Ended};
use crate::status::{Failure, Shared, SourcePhase, Status};
use crate::{Error, Options};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tw_env::Env;
use tw_log::store::EventStore;
use tw_types::chain;

/// The first pause before a lost connection is tried again; it doubles each time.
const RETRY_MS_MIN: u64 = 100;

/// Where a source writes.
#[derive(Clone)]
pub struct Place {
    /// The event store, on whatever log.
    pub store: EventStore,
    /// The machine.
    pub env: Env,
    /// A folder for transactions that wait for their commit. What is in there does not survive a restart.
    pub scratch: PathBuf,
    /// Who may write streams that other regions have.
    pub gate: Arc<dyn Gate>,
}

/// A source that runs. [`Handle::stop`] ends it and waits for that; dropping the handle ends it in its own time.
#[derive(Debug)]
pub struct Handle {
    name: String,
    shared: Shared,
    commands: mpsc::Sender<Command>,
    thread: JoinHandle<()>,
}

/// Starts a source. It connects in the background: whether that works shows in the status.
///
/// # Errors
/// [`Error::Option`], [`Error::Address`]: the options break a rule.
pub fn start(options: Options, place: Place) -> Result<Handle, Error> {
    options.check()?;
    let (commands, received) = commands::channel();
    let shared = Shared::default();
    let name = options.name.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Error::Scratch {
        action: "start a thread for",
        path: place.scratch.clone(),
        source,
    })?;
    let service = Service { options: Arc::new(options), place, shared: shared.clone() };
    // Capturing is steady work of its own, and must not hold up what else runs on the node.
    let thread = std::thread::Builder::new()
        .name(format!("source {name}"))
        .spawn(move || runtime.block_on(service.run(received)))
        .map_err(|source| Error::Scratch {
            action: "start a thread for",
            path: PathBuf::from(&name),
            source,
        })?;
    Ok(Handle { name, shared, commands, thread })
}

impl Handle {
    /// The source's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How the source is now.
    pub fn status(&self) -> Status {
        self.shared.get()
    }

    /// Reads all rows of a table again, named as `schema.table` or by its stream. Rows with a key are read while changes
    /// go on; a table without one is told to be empty first.
    ///
    /// # Errors
    /// [`Error::Refused`] when the source has no such table; [`Error::Stopped`] while it is not connected.
    pub async fn resnapshot(&self, table: &str) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Resnapshot { table: table.to_owned(), answer };
        self.commands.send(command).await.map_err(|_| Error::Stopped)?;
        answered.await.map_err(|_| Error::Stopped)?
    }

    /// Ends the source in order: what has arrived is written and confirmed. Blocks the thread; not for use in a task.
    pub fn stop(self) {
        // A source that does not listen is over already.
        let _over = self.commands.blocking_send(Command::Stop);
        let _panicked = self.thread.join();
    }
}

struct Service {
    options: Arc<Options>,
    place: Place,
    shared: Shared,
}

impl Service {
    async fn run(self, mut commands: Commands) {
        let mut attempts = 0u32;
        loop {
            let before = self.shared.get().counters;
            let outcome = postgres::capture(&self.options, &self.place, &self.shared, &mut commands).await;
            let progress = self.shared.get().counters.writes > before.writes;
            attempts = if progress { 1 } else { attempts.saturating_add(1) };
            match outcome {
                Ok(Ended::Stopped) | Err(Error::Stopped) => break,
                Ok(Ended::ToBeginAnew) => continue,
                Ok(Ended::ByServer) => self.failed(&Error::closed(), attempts),
                Err(error) => self.failed(&error, attempts),
            }
            if commands.is_stopping() || self.pause(attempts, &mut commands).await {
                break;
            }
        }
        self.shared.update(|status| {
            status.phase = SourcePhase::Stopped;
            status.waits_for = None;
        });
    }

    fn failed(&self, error: &Error, attempts: u32) {
        let message = chain(error);
        tracing::warn!(source = self.options.name, attempts, error = message, "the source was interrupted");
        let failure = Failure { message, at_ms: self.place.env.clock.now_ms(), attempts };
        self.shared.update(|status| {
            status.phase = if error.is_passing() { SourcePhase::Retrying } else { SourcePhase::Failed };
            status.waits_for = None;
            status.last_error = Some(failure);
        });
    }

    /// Waits before the next attempt; true when the source is to stop.
    async fn pause(&self, attempts: u32, commands: &mut Commands) -> bool {
        let doubled = RETRY_MS_MIN.saturating_mul(1 << attempts.saturating_sub(1).min(20));
        // Not all sources of a node should knock at the same moment.
        let jitter = self.place.env.random.next_u64() % 100;
        let pause = Duration::from_millis(doubled.min(self.options.retry_ms_max) * (100 - jitter / 4) / 100);
        tokio::time::timeout(pause, commands.stop()).await.is_ok()
    }
}
