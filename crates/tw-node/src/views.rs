//! Views: those that run are those that are wanted.

use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tw_process::{Handle, View};
use tw_project::WantedView;
use tw_types::chain;

/// The views of the workers, as far as this process has started them.
pub(crate) struct Views {
    workers: Handle,
    /// Shared with the thread that is at work, so that nothing is forgotten when nobody waits for it any more.
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    running: BTreeMap<String, Running>,
    /// Whether state that nobody wants any more has been looked for.
    swept: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Running {
    definition: u64,
    paused: bool,
    on_hold: bool,
}

/// What the engine says of one view.
type Wanted = Result<WantedView, (String, tw_project::Error)>;

impl Views {
    pub(crate) fn new(workers: Handle) -> Self {
        Self { workers, known: Arc::default() }
    }

    /// Adds, replaces, pauses and removes views until they are as `wanted` says; returns those with which that did not
    /// work, and why. They are tried again the next time. Dropping the future does not stop it.
    pub(crate) async fn reconcile(&mut self, wanted: Vec<Wanted>) -> BTreeMap<String, String> {
        let (workers, known) = (self.workers.clone(), self.known.clone());
        // The store is asked and written to: not in a task.
        let work = move || reconcile(&workers, &mut known.lock(), wanted);
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|error| BTreeMap::from([("views".to_owned(), error.to_string())]))
    }
}

fn reconcile(workers: &Handle, known: &mut Known, wanted: Vec<Wanted>) -> BTreeMap<String, String> {
    let Known { running, swept } = known;
    let mut broken = BTreeMap::new();
    let mut names = BTreeSet::new();
    for view in wanted {
        match view {
            Ok(wanted) => {
                let name = wanted.view.name().to_owned();
                if let Err(error) = run(workers, running, wanted) {
                    broken.insert(name.clone(), chain(&error));
                }
                names.insert(name);
            }
            // It goes on as it was defined before.
            Err((name, error)) => {
                broken.insert(name.clone(), chain(&error));
                names.insert(name);
            }
        }
    }
    let stored = if *swept { Ok(Vec::new()) } else { workers.stored() };
    match stored {
        Ok(stored) => {
            *swept = true;
            let gone: BTreeSet<String> =
                running.keys().cloned().chain(stored).filter(|name| !names.contains(name)).collect();
            for name in gone {
                match workers.remove(&name) {
                    Ok(()) | Err(tw_process::Error::NoView(_)) => {
                        running.remove(&name);
                    }
                    Err(error) => {
                        *swept = false;
                        broken.insert(name, chain(&error));
                    }
                }
            }
        }
        Err(error) => {
            broken.insert("state".to_owned(), chain(&error));
        }
    }
    broken
}

/// Has `view` run as it is defined now.
fn run(
    workers: &Handle,
    running: &mut BTreeMap<String, Running>,
    wanted: WantedView,
) -> Result<(), tw_process::Error> {
    let WantedView { view, earlier, paused, on_hold } = wanted;
    let name = view.name().to_owned();
    let definition = view.definition();
    let known = running.get(&name).copied();
    // What must not take over is told so before it is built.
    if known.is_some_and(|known| known.on_hold != on_hold) {
        if on_hold { workers.hold(&name)? } else { workers.release(&name)? }
    }
    match known {
        None => {
            let earlier: Vec<Arc<dyn View>> =
                earlier.into_iter().map(|view| -> Arc<dyn View> { view }).collect();
            workers.add_after(view, &earlier, on_hold)?;
        }
        Some(known) if known.definition != definition => workers.replace(view)?,
        Some(_) => {}
    }
    let was_paused = known.is_some_and(|known| known.paused);
    running.insert(name.clone(), Running { definition, paused: was_paused, on_hold });
    if paused != was_paused {
        if paused {
            workers.pause(&name)?;
        } else {
            workers.resume(&name)?;
        }
        running.insert(name, Running { definition, paused, on_hold });
    }
    Ok(())
}
