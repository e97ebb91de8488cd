//! The threads of an engine: should one panic, the log stops, and everybody who waits is told.

use crate::{Error, Result};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// Starts a thread of an engine. If `run` panics, `stop` gets [`Error::Stopped`]: it must let nothing more in, and tell
/// whoever waits.
///
/// # Errors
/// [`Error::Io`] when the system starts no more threads.
pub fn spawn_guarded(
    name: &str,
    run: impl FnOnce() + Send + 'static,
    stop: impl FnOnce(Error) + Send + 'static,
) -> Result<JoinHandle<()>> {
    let thread = name.to_owned();
    let guarded = move || {
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            tracing::error!(thread, "a thread of the log has panicked");
            let cause = io::Error::other(format!("the thread `{thread}` of the log has panicked"));
            stop(Error::Stopped(Arc::new(cause)));
        }
    };
    let spawned = Builder::new().name(format!("tw-{name}")).spawn(guarded);
    let failed =
        |source| Error::Io { action: "start the thread", path: name.into(), source: Arc::new(source) };
    spawned.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_thread_that_panics_stops_its_log_and_one_that_ends_does_not() {
        let (sender, told) = mpsc::channel();
        let stop = |sender: &mpsc::Sender<String>| {
            let sender = sender.clone();
            move |error: Error| sender.send(error.to_string()).unwrap()
        };
        spawn_guarded("calm", || {}, stop(&sender)).unwrap().join().unwrap();
        spawn_guarded("sick", || panic!("as the test wants it"), stop(&sender)).unwrap().join().unwrap();
        drop(sender);
        let told: Vec<_> = told.iter().collect();
        let cause = "the thread `sick` of the log has panicked";
        assert_eq!(
            told,
            [format!("the log has stopped accepting events after `{cause}`: check the disk, then restart")]
        );
    }
}
