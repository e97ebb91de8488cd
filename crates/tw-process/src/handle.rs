//! Starting the workers, and what can be done with them.

use crate::keys;
use crate::parked::{Desk, Parked, ParkedWriter};
use crate::pipeline::Deps;
use crate::record::Cursor;
use crate::schedule::Scheduler;
use crate::snapshot::{self, Counts, Exported, Keeper, Keeping};
use crate::views::{Aligned, Assigned, Reading, Steward, ViewStatus, Views, Warmth};
use crate::{Error, Options, View};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;
use tw_depot::Depot;
use tw_env::{Env, Live};
use tw_log::{Log, Signal};
use tw_state::{Keyspace, Snapshot, Store};
use tw_types::{Offset, PartitionId, StreamPartition, Token};

/// The workers of a node: threads that process every partition of every view.
pub struct Workers;

impl Workers {
    /// Starts the threads; views are then added. The stream `$parked` is created if need be. Blocks until what it says
    /// is known.
    ///
    /// # Errors
    /// An option outside its bounds; those of the log and the store; no thread.
    pub fn start(
        options: Options,
        log: Arc<dyn Log>,
        store: Arc<dyn Store>,
        parked: Arc<dyn ParkedWriter>,
        env: Env,
    ) -> Result<Handle, Error> {
        options.check()?;
        let worker_threads = options.worker_threads;
        let options = Arc::new(Live::new(options));
        let thread = |error| Error::Thread(Arc::new(error));
        // On a thread of its own, because it waits for futures, and the caller may be in a task.
        let opening = || Desk::open(log.clone(), store.clone(), env.clone(), parked, options.clone());
        let desk = std::thread::scope(|scope| {
            let opened = std::thread::Builder::new().spawn_scoped(scope, opening).map_err(thread)?;
            opened.join().unwrap_or(Err(Error::Closed))
        })?;
        let scheduler = Scheduler::start(worker_threads, env.clock.clone()).map_err(thread)?;
        let desk = Arc::new(desk);
        let (index, outboxes) = (desk.index.clone(), desk.outboxes());
        let deps = Arc::new(Deps {
            options: options.clone(),
            log,
            store,
            env,
            index,
            outboxes,
            moved: Arc::default(),
            spans: AtomicU64::default(),
            keeping: Mutex::default(),
            snapshots: Arc::default(),
        });
        let views = Arc::new(Views::open(deps, desk.clone(), scheduler)?);
        Steward::start(&views);
        let desk_thread = desk.start().map_err(thread)?;
        let owner =
            Owner { views, desk_thread: Mutex::new(Some(desk_thread)), options, keeper: Mutex::default() };
        Ok(Handle(Arc::new(owner)))
    }
}

/// What can be done with the workers. Cheap to clone. When the last one is dropped without [`Handle::shutdown`], the
/// threads end without committing, as in a crash.
#[derive(Clone)]
pub struct Handle(Arc<Owner>);

struct Owner {
    views: Arc<Views>,
    desk_thread: Mutex<Option<JoinHandle<()>>>,
    options: Arc<Live<Options>>,
    keeper: Mutex<Option<Keeper>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.lock().take() {
            keeper.stop();
            keeper.join(Duration::from_secs(10));
        }
        self.views.abandon();
    }
}

impl Handle {
    /// Starts processing a view. State that the same definition has built before is used; state of another definition is
    /// removed, and the view starts anew, and is not read before it holds what the log holds now.
    ///
    /// # Errors
    /// [`Error::ViewExists`], [`Error::InvalidName`], [`Error::LaterVersion`], an unknown stream, those of the store.
    pub fn add(&self, view: Arc<dyn View>) -> Result<(), Error> {
        self.add_after(view, &[], false)
    }

    /// Starts processing a view that had the definitions `earlier`, in any order. If one of these has built the state that was
    /// read last, it is read on, and the new definition is built beside it until it has caught up, from where an earlier
    /// process has come with that, and waits before it takes over if it is `on_hold` ([`Handle::hold`]). Otherwise as [`Handle::add`].
    ///
    /// # Errors
    /// As [`Handle::add`].
    pub fn add_after(
        &self,
        view: Arc<dyn View>,
        earlier: &[Arc<dyn View>],
        on_hold: bool,
    ) -> Result<(), Error> {
        self.0.views.add(view, earlier, on_hold)
    }

    /// Puts other options into effect. The number of threads stays as it is; `read_bytes_max` and what is said about retries
    /// count for partitions that are opened from now on.
    ///
    /// # Errors
    /// [`Error::InvalidOption`]; then nothing has changed.
    pub fn reconfigure(&self, options: Options) -> Result<(), Error> {
        options.check()?;
        self.0.options.set(options);
        Ok(())
    }

    /// Builds a changed definition of a view, under the same name, beside the running one, which it replaces in one step
    /// once it has caught up.
    ///
    /// # Errors
    /// [`Error::NoView`], an unknown stream, those of the store.
    pub fn replace(&self, view: Arc<dyn View>) -> Result<(), Error> {
        let name = view.name().to_owned();
        self.0.views.rebuild(&name, Some(view))
    }

    /// Builds a view anew from the beginning, beside the running one, which it replaces in one step once it has caught up.
    /// One that is being built already is thrown away.
    ///
    /// # Errors
    /// [`Error::NoView`], an unknown stream, those of the store.
    pub fn rebuild(&self, name: &str) -> Result<(), Error> {
        self.0.views.rebuild(name, None)
    }

    /// Ends the processing of a view and removes its state, also of one that was not added since the start.
    ///
    /// # Errors
    /// [`Error::NoView`], those of the store.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.0.views.remove(name)
    }

    /// Processes these partitions and no others from now on, of all views, also of those that are added later. One that is
    /// new goes on from the state that an earlier assignment has left, or begins with a snapshot, or anew; one that is no longer among them
    /// commits what is under way and ends, soon after this returns, and its state stays; all others go on without a
    /// pause (CLU-3). At the start every partition is assigned.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn assign(&self, assigned: Assigned) -> Result<(), Error> {
        self.0.views.assign(assigned)
    }

    /// Removes the state of a partition that is not assigned any more, of all views. From when this returns none of it is used
    /// again; it is removed soon after, once nobody reads it.
    ///
    /// # Errors
    /// [`Error::Assigned`], [`Error::Closed`], those of the store.
    pub fn forget(&self, at: StreamPartition) -> Result<(), Error> {
        self.0.views.forget(at)
    }

    /// How far the views of a partition are on this node. When a partition that was just assigned is near the end of the log,
    /// this node can take it over.
    pub fn warmth(&self, at: StreamPartition) -> Warmth {
        self.0.views.warmth(at)
    }

    /// A signal that rises when [`Handle::warmth`] of some partition may have got better.
    pub fn moved(&self) -> Arc<Signal> {
        self.0.views.moved()
    }

    /// Keeps snapshots of state in a depot from now on: partitions that `owns` says are this node's to write are stored when
    /// the options say so, and partitions that are started from now on begin with the newest snapshot, where that is worth it.
    /// Say it before views are added. A view that is built anew takes no snapshot. `owns` is asked often, on a thread of the
    /// workers, and must not block; if it is wrong, work is done twice, and nothing else. What was said before is replaced.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::Thread`].
    pub fn keep_snapshots(
        &self,
        depot: Arc<dyn Depot>,
        options: snapshot::Options,
        owns: impl Fn(StreamPartition) -> bool + Send + Sync + 'static,
    ) -> Result<(), Error> {
        options.check()?;
        let views = &self.0.views;
        let keeping = Keeping::new(depot, options, views.snapshots().clone(), Box::new(owns));
        let keeping = Arc::new(keeping);
        let thread = |error| Error::Thread(Arc::new(error));
        let keeper = Keeper::start(keeping.clone(), views).map_err(thread)?;
        views.keep_snapshots(keeping);
        if let Some(earlier) = self.0.keeper.lock().replace(keeper) {
            earlier.stop();
        }
        Ok(())
    }

    /// Puts other options about snapshots into effect.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::NoDepot`]; then nothing has changed.
    pub fn reconfigure_snapshots(&self, options: snapshot::Options) -> Result<(), Error> {
        options.check()?;
        self.0.views.keeping().ok_or(Error::NoDepot)?.options.set(options);
        Ok(())
    }

    /// What was done with snapshots since the start, and how they stand.
    pub fn snapshot_counts(&self) -> Counts {
        self.0.views.snapshots().get()
    }

    /// Stores a snapshot of a partition of a view now, whether it is due or not. Blocks until it is there, and holds a snapshot of
    /// the store for as long.
    ///
    /// # Errors
    /// [`Error::NoDepot`], [`Error::NotOwner`], [`Error::NoView`], [`Error::NotAssigned`], [`Error::NotBuilt`], [`Error::Depot`],
    /// [`Error::SnapshotTooLarge`], those of the store.
    pub fn export(&self, view: &str, partition: PartitionId) -> Result<Exported, Error> {
        let keeping = self.0.views.keeping().ok_or(Error::NoDepot)?;
        self.0.views.export(view, partition, &keeping, false)
    }

    /// Lets a view rest after what is under way. This is not remembered over a restart.
    ///
    /// # Errors
    /// [`Error::NoView`].
    pub fn pause(&self, name: &str) -> Result<(), Error> {
        self.0.views.pause(name, true)
    }

    /// Lets a view go on that was paused, or that stands still after an error.
    ///
    /// # Errors
    /// [`Error::NoView`].
    pub fn resume(&self, name: &str) -> Result<(), Error> {
        self.0.views.pause(name, false)
    }

    /// Has what is built anew of a view wait when it has caught up, until [`Handle::release`]. This is not remembered over a restart.
    ///
    /// # Errors
    /// [`Error::NoView`].
    pub fn hold(&self, name: &str) -> Result<(), Error> {
        self.0.views.hold(name, true)
    }

    /// Lets what is built anew of a view take over as soon as it has caught up.
    ///
    /// # Errors
    /// [`Error::NoView`].
    pub fn release(&self, name: &str) -> Result<(), Error> {
        self.0.views.hold(name, false)
    }

    /// Where the state of what is built anew of a view is to be read now, however far it is. As [`Handle::reading`] otherwise.
    ///
    /// # Errors
    /// [`Error::NoView`], [`Error::NotBuilding`].
    pub fn reading_next(&self, name: &str) -> Result<Reading, Error> {
        self.0.views.reading_next(name)
    }

    /// Brings these partitions of a view, as it is read and as it is built anew, to the same offsets, and holds them there until what
    /// is returned is dropped; not for long, because nothing is processed meanwhile. Call it in a task of a tokio runtime that has timers.
    ///
    /// # Errors
    /// [`Error::NotBuilding`], [`Error::NotBuilt`] when the new one is far behind, [`Error::NotComparable`], [`Error::NotAssigned`],
    /// [`Error::NoView`], [`Error::NoPartition`], [`Error::Closed`].
    pub async fn align(
        &self,
        name: &str,
        partitions: &[PartitionId],
        timeout: Duration,
    ) -> Result<Aligned, Error> {
        self.0.views.align(name, partitions, timeout).await
    }

    /// The names of all views that have state, also of those that were not added since the start.
    ///
    /// # Errors
    /// Those of the store.
    pub fn stored(&self) -> Result<Vec<String>, Error> {
        self.0.views.stored()
    }

    /// How far all views are, in the order of their names.
    pub fn status(&self) -> Vec<ViewStatus> {
        self.0.views.status()
    }

    /// How far a view is.
    ///
    /// # Errors
    /// [`Error::NoView`].
    pub fn status_of(&self, name: &str) -> Result<ViewStatus, Error> {
        self.0.views.status_of(name)
    }

    /// A signal that rises when something about a view changes that is not a commit: what its partitions do, which
    /// generation is read, whether it is there.
    ///
    /// # Errors
    /// [`Error::NoView`].
    pub fn changed(&self, name: &str) -> Result<Arc<Signal>, Error> {
        self.0.views.changed(name)
    }

    /// Waits until a view has committed everything that `token` demands of its stream (PRJ-2); demands of other streams
    /// do not matter. An event that is parked, or waits behind one, counts as seen: [`ViewStatus`] says how many there are.
    /// Call it in a task of a tokio runtime that has timers.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::Stopped`] when a demanded partition stands still; [`Error::NotAssigned`], also when it is
    /// taken away meanwhile; [`Error::NoView`], [`Error::NoPartition`], [`Error::Closed`].
    pub async fn wait_for(&self, name: &str, token: &Token, timeout: Duration) -> Result<(), Error> {
        self.0.views.wait_for(name, token, timeout).await
    }

    /// Where a view's state is to be read now. Take it first and the snapshot of the store second; how far the state of
    /// that snapshot is says [`committed_offset`]. Of the partitions, only those count that [`Reading::check`] allows.
    ///
    /// # Errors
    /// [`Error::NoView`], [`Error::NotBuilt`].
    pub fn reading(&self, name: &str) -> Result<Reading, Error> {
        self.0.views.reading(name)
    }

    /// The parked events of all views.
    pub fn parked(&self) -> Parked {
        Parked::new(self.0.views.clone())
    }

    /// Finishes and commits what is under way, and ends the threads. Blocks for at most `drain_ms_max`, and a little.
    ///
    /// # Errors
    /// [`Error::NotDrained`]: what was not committed will be processed again after the next start.
    pub fn shutdown(&self) -> Result<(), Error> {
        let drain_max = Duration::from_millis(self.0.options.get().drain_ms_max);
        let since = self.0.views.monotonic();
        let keeper = self.0.keeper.lock().take();
        keeper.iter().for_each(Keeper::stop);
        let outcome = self.0.views.close(drain_max);
        if let Some(mut keeper) = keeper {
            let left = drain_max.saturating_sub(self.0.views.monotonic().saturating_sub(since));
            keeper.join(left.max(Duration::from_millis(100)));
        }
        if let Some(thread) = self.0.desk_thread.lock().take()
            && self.0.views.desk.has_ended(drain_max)
        {
            let _panics_were_logged = thread.join();
        }
        outcome
    }
}

/// How far the state of a partition is in a snapshot of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The first offset that is not in it; None when nothing of it was processed.
    pub end: Option<Offset>,
    /// Whether the state stays as it is until `end` moves: no event waits to be tried again, or for a person (PRO-3), and nothing is
    /// being removed or restored.
    pub settled: bool,
}

/// How far the state of a partition is in `snapshot`.
///
/// # Errors
/// [`Error::LaterVersion`], those of the store.
pub fn committed(
    snapshot: &dyn Snapshot,
    keyspace: Keyspace,
    partition: PartitionId,
) -> Result<Committed, Error> {
    let Some(bytes) = snapshot.get(keyspace, &keys::cursor(partition))? else {
        let settled = snapshot.get(keyspace, &keys::void(partition))?.is_none();
        return Ok(Committed { end: None, settled });
    };
    let cursor = Cursor::decode(&bytes).ok_or_else(|| Error::LaterVersion(format!("{partition}")))?;
    Ok(Committed { end: Some(cursor.position), settled: cursor.counts.lanes == 0 })
}

/// The first offset of a partition that is not in the state of `snapshot`; None when nothing of it was processed.
///
/// # Errors
/// As [`committed`].
pub fn committed_offset(
    snapshot: &dyn Snapshot,
    keyspace: Keyspace,
    partition: PartitionId,
) -> Result<Option<Offset>, Error> {
    Ok(committed(snapshot, keyspace, partition)?.end)
}
