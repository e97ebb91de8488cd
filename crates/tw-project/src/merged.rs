//! Rows that are merged: streams whose columns have classes of conflicts (`CREATE STREAM … (visits bigint NOT NULL MERGE counter)`).
//!
//! An event of such a stream is a change of the row of its subject, and a table of the stream is what the rows are after all changes, the same in every
//! region that has the same events, in whatever order they came (REG-1). `tw-merge` decides what a row is; here is how a change is read
//! ([`change`]), what values are ([`value`]), what is asked before a change is accepted ([`row`], [`unique`]), and what has to be known of the regions ([`Knowledge`]). `docs/adr/0021-merged-rows.md` says why it is so.

pub(crate) mod change;
pub(crate) mod conflict;
pub(crate) mod custom;
mod row;
pub(crate) mod unique;
pub(crate) mod value;

pub use conflict::{CONFLICTS_STREAM, ToldConflict};
pub use row::{ColumnRights, Lack, MergedRow, Verdict};
pub use unique::UniqueValue;

use std::fmt;
use std::sync::Arc;
use tw_log::Log;
use tw_merge::{Context, Seen, Stamp};
use tw_types::{Offset, StreamPartition};

/// What is known of what regions have seen. Calls may wait for the log.
pub trait Knowledge: fmt::Debug + Send + Sync + 'static {
    /// What a change is told with that is in the log.
    ///
    /// # Errors
    /// Whatever stops a read.
    fn context(&self, stamp: Stamp) -> tw_log::Result<Context>;

    /// Up to when everything of each region is in this partition before the offset that comes with it.
    ///
    /// # Errors
    /// Whatever stops a read.
    fn here(&self, at: StreamPartition) -> tw_log::Result<(Seen, Offset)>;

    /// What all regions have seen, when everything that is `applied` here was: whatever was not applied knows of it.
    ///
    /// # Errors
    /// Whatever stops a read.
    fn stable(&self, applied: &Seen) -> tw_log::Result<Seen>;
}

/// There is one region: it has seen nothing of others, and everything is stable.
#[derive(Clone)]
pub(crate) struct Alone(pub(crate) Arc<dyn Log>);

impl Knowledge for Alone {
    fn context(&self, stamp: Stamp) -> tw_log::Result<Context> {
        Ok(Context { stamp, seen: Seen::new() })
    }

    fn here(&self, at: StreamPartition) -> tw_log::Result<(Seen, Offset)> {
        Ok((Seen::new(), self.0.bounds(at)?.end))
    }

    fn stable(&self, applied: &Seen) -> tw_log::Result<Seen> {
        Ok(applied.clone())
    }
}

impl fmt::Debug for Alone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alone")
    }
}
