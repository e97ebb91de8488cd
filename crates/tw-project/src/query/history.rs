//! The events of a stream as a table: read from the log, partition by partition, only what is needed.

use super::produce::produce;
use super::prune;
use crate::Error;
use crate::rows::columns::{Meta, TableColumns};
use crate::rows::events::EventRows;
use crate::session::BATCH_ROWS;
use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use std::fmt;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc::Sender;
use tw_log::{Log, ReadAhead};
use tw_order::partition_of;
use tw_types::{Offset, PartitionId, StreamDef, StreamPartition};

/// How many bytes are read from the log at once.
const READ_BYTES: usize = 4 << 20;

/// See the module's text.
pub(crate) struct HistoryTable {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) stream: Arc<StreamDef>,
    pub(crate) columns: TableColumns,
    pub(crate) schema: SchemaRef,
    pub(crate) ends: Ends,
}

/// The ends of a stream's partitions when the query began, known once it runs: what came later is not read.
pub(crate) type Ends = Arc<OnceLock<Vec<Offset>>>;

impl fmt::Debug for HistoryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryTable").field("stream", &self.stream.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for HistoryTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let columns = [Meta::Partition, Meta::Offset, Meta::Subject, Meta::Type, Meta::Hlc].map(Meta::name);
        Ok(prune::pushdown(filters, &columns))
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.columns.columns.len()).collect();
        let wanted = self.columns.only(projection.unwrap_or(&all));
        let schema = wanted.schema();
        let subject = prune::equal_to(filters, Meta::Subject.name())
            .and_then(|value| prune::text(&value).map(str::to_owned));
        let only_subject = subject.as_ref().map(|subject| partition_of(subject, self.stream.partitions));
        let (first, last) = prune::range_of(filters, Meta::Partition.name());
        let (from, to) = prune::range_of(filters, Meta::Offset.name());
        let range = Arc::new(Wanted {
            columns: wanted,
            from: Offset(u64::try_from(from).unwrap_or(0)),
            to: if to < 0 { None } else { Some(Offset(to as u64)) },
            hlc: prune::range_of(filters, Meta::Hlc.name()),
            subject,
            ty: prune::equal_to(filters, Meta::Type.name())
                .and_then(|value| prune::text(&value).map(str::to_owned)),
            rows_max: limit,
        });
        let partitions = (0..self.stream.partitions)
            .filter(|partition| {
                let number = i64::from(*partition);
                (first..=last).contains(&number)
                    && only_subject.is_none_or(|only| only == PartitionId(*partition))
            })
            .map(|partition| {
                let reader: Arc<dyn PartitionStream> = Arc::new(PartitionReader {
                    log: self.log.clone(),
                    name: self.stream.name.to_string(),
                    at: StreamPartition::new(self.stream.id, PartitionId(partition)),
                    ends: self.ends.clone(),
                    wanted: range.clone(),
                    schema: schema.clone(),
                });
                reader
            })
            .collect();
        Ok(Arc::new(StreamingTableExec::try_new(schema, partitions, None, [], false, limit)?))
    }
}

/// What is wanted of each partition.
struct Wanted {
    columns: TableColumns,
    from: Offset,
    /// Inclusive; None: nothing.
    to: Option<Offset>,
    /// Inclusive.
    hlc: (i64, i64),
    subject: Option<String>,
    ty: Option<String>,
    rows_max: Option<usize>,
}

/// Reads one partition.
struct PartitionReader {
    log: Arc<dyn Log>,
    name: String,
    at: StreamPartition,
    ends: Ends,
    wanted: Arc<Wanted>,
    schema: SchemaRef,
}

impl fmt::Debug for PartitionReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionReader").field("at", &self.at).finish_non_exhaustive()
    }
}

impl PartitionStream for PartitionReader {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        produce(&self.schema, |builder| {
            let (mut scan, output) = (self.scan()?, builder.tx());
            builder.spawn(async move { scan.run(&output).await });
            Ok(())
        })
    }
}

impl PartitionReader {
    fn scan(&self) -> Result<Scan> {
        let end = self.ends.get().and_then(|ends| ends.get(self.at.partition.0 as usize)).copied();
        let unknown = || DataFusionError::Internal("a history is read before its end is known".into());
        Ok(Scan {
            log: self.log.clone(),
            blocks: ReadAhead::new(self.log.clone(), self.at, READ_BYTES),
            name: self.name.clone(),
            at: self.at,
            end: end.ok_or_else(unknown)?,
            wanted: self.wanted.clone(),
            schema: self.schema.clone(),
            rows: EventRows::new(&self.wanted.columns, self.at.partition),
            ready: Vec::new(),
            given: 0,
        })
    }
}

/// A scan of one partition under way.
struct Scan {
    log: Arc<dyn Log>,
    blocks: ReadAhead,
    name: String,
    at: StreamPartition,
    end: Offset,
    wanted: Arc<Wanted>,
    schema: SchemaRef,
    rows: EventRows,
    /// Batches that were not given yet.
    ready: Vec<RecordBatch>,
    given: usize,
}

fn external(error: impl Into<Error>) -> DataFusionError {
    DataFusionError::External(Box::new(error.into()))
}

impl Scan {
    /// Reads everything that is wanted and gives it in batches; ends when nobody takes any more.
    async fn run(&mut self, output: &Sender<Result<RecordBatch>>) -> Result<()> {
        let Some(to) = self.wanted.to else { return Ok(()) };
        let end = self.end.min(to.next());
        let start = self.log.bounds(self.at).map_err(external)?.start;
        let mut at = self.wanted.from.max(start);
        while at < end {
            // What ends after some rows reads no more than it must.
            let ahead = if self.wanted.rows_max.is_some() { at } else { end };
            let blocks = match self.blocks.read(at, ahead).await {
                // Retention was faster.
                Err(tw_log::Error::Trimmed { start, .. }) if start > at => {
                    at = start;
                    continue;
                }
                read => read.map_err(external)?,
            };
            let Some(last) = blocks.last() else { break };
            let next = last.header().end_offset();
            for block in &blocks {
                self.block(block, at, end)?;
                if self.wanted.rows_max.is_some_and(|rows_max| self.given + self.rows.len() >= rows_max) {
                    self.end_batch()?;
                }
                if !self.give(output).await {
                    return Ok(());
                }
            }
            at = next;
        }
        if self.rows.len() > 0 {
            self.end_batch()?;
        }
        self.give(output).await;
        Ok(())
    }

    /// Gives what is ready; whether more is wanted.
    async fn give(&mut self, output: &Sender<Result<RecordBatch>>) -> bool {
        for batch in self.ready.drain(..) {
            self.given += batch.num_rows();
            if output.send(Ok(batch)).await.is_err() {
                return false;
            }
        }
        self.wanted.rows_max.is_none_or(|rows_max| self.given < rows_max)
    }

    fn block(&mut self, block: &tw_wire::Block, from: Offset, end: Offset) -> Result<()> {
        let header = block.header();
        let (low, high) = self.wanted.hlc;
        if (header.last_hlc.as_u64() as i64) < low || (header.first_hlc.as_u64() as i64) > high {
            return Ok(());
        }
        let wire = |error| external(tw_log::Error::Wire(error));
        let records = block.records().map_err(wire)?;
        let mut events = records.iter().map_err(wire)?;
        events.skip_before(from).map_err(wire)?;
        let wanted = self.wanted.clone();
        for event in events {
            let event = event.map_err(wire)?;
            if event.offset < from {
                continue;
            }
            if event.offset >= end {
                break;
            }
            let passes = wanted.subject.as_deref().is_none_or(|subject| event.event.subject == Some(subject))
                && wanted.ty.as_deref().is_none_or(|ty| event.event.ty == ty);
            if !passes {
                continue;
            }
            self.rows.push(&event).map_err(|cause| {
                let (partition, offset) = (self.at.partition.0, event.offset.0);
                external(Error::Row { stream: self.name.clone(), partition, offset, cause })
            })?;
            if self.rows.len() == BATCH_ROWS {
                self.end_batch()?;
            }
        }
        Ok(())
    }

    /// Makes a batch of the rows so far.
    fn end_batch(&mut self) -> Result<()> {
        let rows = self.rows.len();
        let batch = crate::plan::steps::batch(self.schema.clone(), self.rows.finish(), rows)?;
        self.ready.push(batch);
        Ok(())
    }
}
