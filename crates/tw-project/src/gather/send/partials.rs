//! Aggregating rows where they are.

use super::{framed, reader};
use crate::gather::filter::keep;
use crate::gather::hold::{HeldView, Moment};
use crate::gather::partials::GetPartials;
use crate::operators::partials::Partials;
use crate::view::{RowsCursor, RowsOut};
use bytes::Bytes;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::common::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use std::sync::Arc;

/// Parts of groups of rows of a view that is not grouped.
pub(super) struct PartialsSender {
    moment: Arc<Moment>,
    view: HeldView,
    condition: Option<Arc<dyn PhysicalExpr>>,
    at: RowsCursor,
    partials: Partials,
    /// None once everything was given.
    writer: Option<StreamWriter<Vec<u8>>>,
}

impl PartialsSender {
    pub(super) fn new(
        moment: Arc<Moment>,
        view: HeldView,
        get: &GetPartials,
        query_bytes_max: usize,
    ) -> Result<Self> {
        let plan = view.view.plan();
        if plan.grouping.is_some() {
            return Err(DataFusionError::Plan("this view has no rows, but groups".into()));
        }
        let condition = get.filter.as_ref().map(|filter| filter.expression(&plan.output)).transpose()?;
        let partials = get.partials(&plan.output, query_bytes_max)?;
        let writer = Some(StreamWriter::try_new(Vec::new(), partials.schema())?);
        Ok(Self { moment, view, condition, at: RowsCursor::default(), partials, writer })
    }

    /// Takes some rows in; gives nothing until there is enough, or no more.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(writer) = &mut self.writer else { return Ok(None) };
        let rows = reader(&self.moment, &self.view)?
            .next_rows(&mut RowsOut::new(self.view.view.plan()), &mut self.at)?;
        let ended = rows.is_none();
        if let Some(mut rows) = rows {
            if let Some(condition) = &self.condition {
                rows = keep(condition, rows)?;
            }
            self.partials.add(&rows)?;
        }
        if (ended || self.partials.is_full())
            && let Some(groups) = self.partials.take()?
        {
            writer.write(&groups)?;
        }
        if ended {
            writer.finish()?;
        }
        let bytes = framed(std::mem::take(writer.get_mut()));
        if ended {
            self.writer = None;
        }
        Ok(Some(bytes))
    }
}
