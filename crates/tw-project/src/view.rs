//! Views: projections and tables of latest rows, as the workers drive them and as queries read them.

mod changes;
mod merges;
mod processor;
mod read;
mod rows;
mod signed;
#[cfg(test)]
mod tests;

pub(crate) use merges::stored_subject;
pub(crate) use read::{RowsCursor, RowsOut, ViewReader, key_start};

use crate::catalog::ProjectionDef;
use crate::merged::Knowledge;
use crate::plan::ProjectionPlan;
use crate::rows::columns::TableColumns;
use processor::{Around, ViewProcessor};
use std::sync::Arc;
use tw_process::{Processor, View};
use tw_state::{Keyspace, Store};
use tw_types::{PartitionId, StreamDef, StreamId};

/// A projection, or the table of latest rows of a captured table, which workers keep up to date.
#[derive(Debug, Clone)]
pub struct StateView {
    name: String,
    plan: Arc<ProjectionPlan>,
    definition: u64,
    cache_bytes_max: usize,
    knowledge: Arc<dyn Knowledge>,
}

impl StateView {
    /// The view of a projection.
    pub(crate) fn projection(
        def: &ProjectionDef,
        plan: Arc<ProjectionPlan>,
        cache_bytes_max: usize,
        knowledge: Arc<dyn Knowledge>,
    ) -> Self {
        let definition = plan.fingerprint(&def.query, def.version);
        Self { name: view_name_of_projection(&def.name), plan, definition, cache_bytes_max, knowledge }
    }

    /// The view of the latest rows of a captured table, or of those of a stream that are merged.
    pub(crate) fn latest(
        stream: &Arc<StreamDef>,
        cache_bytes_max: usize,
        knowledge: Arc<dyn Knowledge>,
    ) -> Self {
        let plan = Arc::new(ProjectionPlan::all_columns(stream.clone(), TableColumns::of_rows(stream)));
        let definition = plan.fingerprint("latest", 0);
        Self { name: view_name_of_latest(stream), plan, definition, cache_bytes_max, knowledge }
    }

    /// What it keeps up to date.
    pub(crate) fn plan(&self) -> &Arc<ProjectionPlan> {
        &self.plan
    }
}

/// The name of a projection's view.
pub(crate) fn view_name_of_projection(name: &str) -> String {
    format!("projection/{name}")
}

/// The name of the view of a captured table's latest rows.
pub(crate) fn view_name_of_latest(stream: &StreamDef) -> String {
    format!("latest/{}", stream.name)
}

impl View for StateView {
    fn name(&self) -> &str {
        &self.name
    }

    fn stream(&self) -> StreamId {
        self.plan.stream.id
    }

    fn definition(&self) -> u64 {
        self.definition
    }

    fn open(
        &self,
        partition: PartitionId,
        keyspace: Keyspace,
        store: &Arc<dyn Store>,
    ) -> Result<Box<dyn Processor>, tw_state::Error> {
        let tells = self.name == view_name_of_latest(&self.plan.stream);
        let around =
            Around { cache_bytes_max: self.cache_bytes_max, knowledge: self.knowledge.clone(), tells };
        let processor = ViewProcessor::open(self.plan.clone(), partition, keyspace, store, around)?;
        Ok(Box::new(processor))
    }
}
