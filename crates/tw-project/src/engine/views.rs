//! What the engine needs of the workers: where the state of a view is, and how far it is.

use crate::{Error, StateView};
use futures_util::future::BoxFuture;
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;
use tw_process::View;
use tw_state::{Keyspace, Snapshot};
use tw_types::{Offset, PartitionId, Token};

/// The views that workers keep up to date, as queries see them.
pub trait Views: Send + Sync + 'static {
    /// What is to be read of a view now. It is taken before the snapshot of the store in which it is read.
    ///
    /// # Errors
    /// [`Error::NotReadable`] when there is no such view, or none of its state yet.
    fn reading(&self, view: &str) -> Result<ViewReading, Error>;

    /// What is to be read now of what is built anew of a view, however far it is.
    ///
    /// # Errors
    /// [`Error::NotReadable`] when nothing is built anew.
    fn reading_next(&self, view: &str) -> Result<ViewReading, Error> {
        Err(nothing_built(view))
    }

    /// Brings partitions of a view, as it is read and as it is built anew, to the same offsets, and holds them there until what is
    /// returned is dropped.
    ///
    /// # Errors
    /// [`Error::NotReadable`] when that cannot be, with the reason.
    fn align<'a>(
        &'a self,
        view: &'a str,
        partitions: &'a [PartitionId],
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Held, Error>> {
        let _all = (partitions, timeout);
        Box::pin(async move { Err(nothing_built(view)) })
    }

    /// Whether a partition of what is to be read is this node's business; what is stored of others may be old.
    ///
    /// # Errors
    /// [`Error::NotReadable`] when it is, and cannot be read yet.
    fn is_here(&self, reading: &ViewReading, partition: PartitionId) -> Result<bool, Error> {
        let _all = (reading, partition);
        Ok(true)
    }

    /// Waits until a view has committed what `token` demands of its stream (PRJ-2).
    ///
    /// # Errors
    /// [`Error::TokenTimeout`]; [`Error::NotReadable`] when the view has stopped.
    fn wait_for<'a>(
        &'a self,
        view: &'a str,
        token: &'a Token,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// How far a partition of what is to be read is in `snapshot`.
    ///
    /// # Errors
    /// Those of the store.
    fn committed(
        &self,
        snapshot: &dyn Snapshot,
        reading: &ViewReading,
        partition: PartitionId,
    ) -> Result<Committed, Error>;

    /// How a view is, for SHOW PROJECTIONS; None if it does not run.
    fn standing(&self, view: &str) -> Option<ViewStanding>;
}

/// That nothing is built anew of a view.
pub(super) fn nothing_built(view: &str) -> Error {
    let name = super::workers::table_of(view).to_owned();
    Error::NotReadable { name, reason: "no new version of it is being built".into() }
}

/// Whatever is held until this is dropped.
pub type Held = Box<dyn Any + Send + Sync>;

/// How far the state of a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Committed {
    /// The first offset that is not in it.
    pub end: Offset,
    /// A number of this process: as long as it is the same, equal ends mean equal states. None when the state may change while its end
    /// stays.
    pub span: Option<u64>,
}

/// Where the state of a view is.
#[derive(Clone)]
pub struct ViewReading {
    /// The view that has made the state, which may be an older definition than the catalogue's. It is a [`StateView`].
    pub view: Arc<dyn View>,
    /// Its keyspace.
    pub keyspace: Keyspace,
    /// Whatever keeps the state from being removed while it is read.
    pub held: Arc<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for ViewReading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ViewReading")
            .field("view", &self.view.name())
            .field("keyspace", &self.keyspace)
            .finish_non_exhaustive()
    }
}

/// How a view is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewStanding {
    /// `building`, `running`, `paused`, `stopped`.
    pub state: String,
    /// How many events it is behind.
    pub lag_events: u64,
    /// Why it has stopped.
    pub error: Option<String>,
}

impl ViewStanding {
    /// How a view is on two nodes together, that have different partitions of it: as it is where it is worse, and as far behind as
    /// both are.
    pub fn merge(&mut self, other: Self) {
        let rank =
            |state: &str| ["stopped", "building", "paused"].iter().position(|bad| state.starts_with(bad));
        // What has no rank is well.
        let is_worse = rank(&other.state).unwrap_or(usize::MAX) < rank(&self.state).unwrap_or(usize::MAX);
        if is_worse {
            self.state = other.state;
        }
        self.lag_events += other.lag_events;
        self.error = self.error.take().or(other.error);
    }
}

impl ViewReading {
    /// The view as what it is.
    pub(super) fn state_view(&self) -> Result<Arc<StateView>, Error> {
        let any: Arc<dyn Any + Send + Sync> = self.view.clone();
        any.downcast().map_err(|_| Error::NotReadable {
            name: self.view.name().to_owned(),
            reason: "it is not a view of SQL".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(state: &str, lag_events: u64, error: Option<&str>) -> ViewStanding {
        ViewStanding { state: state.into(), lag_events, error: error.map(str::to_owned) }
    }

    #[test]
    fn a_view_is_as_it_is_where_it_is_worst() {
        let mut all = standing("running", 1, None);
        all.merge(standing("building, 40 %", 10, None));
        all.merge(standing("paused", 5, None));
        assert_eq!(all, standing("building, 40 %", 16, None));
        all.merge(standing("stopped", 0, Some("no room")));
        all.merge(standing("running", 0, None));
        assert_eq!(all, standing("stopped", 16, Some("no room")));
    }
}
