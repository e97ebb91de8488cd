//! What a statement reads of a view: found before it is planned, fixed before it is run.

use super::choice::Choice;
use super::fetch::{Asking, Incoming, Lease, Piece, Refusal};
use super::frames::{Failure, take_partition};
use super::groups::{Budget, Feed, FetchedGroups};
use super::partials::GetPartials;
use super::request::{Ask, Get, GetRows, Read, ViewPart};
use crate::operators::partials::Partials;
use crate::plan::ProjectionPlan;
use crate::plan::steps::batch;
use crate::query::state::ViewState;
use crate::{Error, StateView};
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::buffer::Buffer;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::reader::StreamDecoder;
use datafusion::common::{DataFusionError, Result};
use parking_lot::Mutex;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Sender;
use tw_process::View as _;
use tw_types::{NodeId, PartitionId, StreamPartition, Token};

/// See the module's text.
pub(crate) struct Gathering {
    /// The name of the table, as statements know it.
    pub(crate) table: String,
    pub(crate) view: Arc<StateView>,
    /// Whether it is what is built anew of the view.
    pub(crate) next: bool,
    /// Whether other nodes may have partitions.
    pub(crate) joined: bool,
    needs: Mutex<BTreeSet<PartitionId>>,
    fixed: OnceLock<Fixed>,
}

/// Where everything is that is read of a view.
pub(crate) struct Fixed {
    /// What is here.
    pub(crate) local: Option<ViewState>,
    pub(crate) remote: Vec<RemotePart>,
    pub(crate) asking: Asking,
    /// One of the queries that may read from other nodes at once.
    pub(crate) _permit: Option<Arc<OwnedSemaphorePermit>>,
    /// Who was chosen for it, and is at work as long as it is read.
    pub(crate) _choices: Arc<Vec<Choice>>,
}

/// Partitions that another node holds.
#[derive(Clone)]
pub(crate) struct RemotePart {
    pub(crate) node: NodeId,
    pub(crate) partitions: Vec<PartitionId>,
    pub(crate) lease: Arc<Lease>,
}

/// An error of ours as one of DataFusion.
pub(crate) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl Gathering {
    pub(crate) fn new(table: String, view: Arc<StateView>, joined: bool) -> Self {
        Self { table, view, next: false, joined, needs: Mutex::default(), fixed: OnceLock::new() }
    }

    /// The same of what is built anew of the view.
    pub(crate) fn of_next(self) -> Self {
        Self { next: true, ..self }
    }

    pub(crate) fn plan(&self) -> &Arc<ProjectionPlan> {
        self.view.plan()
    }

    /// A partition of the view's stream.
    pub(crate) fn at(&self, partition: PartitionId) -> StreamPartition {
        StreamPartition::new(self.plan().stream.id, partition)
    }

    /// All partitions of the view.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.plan().stream.partitions).map(PartitionId)
    }

    /// Says that a plan reads some partitions.
    pub(crate) fn need(&self, partitions: impl IntoIterator<Item = PartitionId>) {
        self.needs.lock().extend(partitions);
    }

    /// The partitions that a plan reads.
    pub(crate) fn needs(&self) -> Vec<PartitionId> {
        self.needs.lock().iter().copied().collect()
    }

    /// Fixes what is read.
    pub(crate) fn fix(&self, fixed: Fixed) {
        let _once = self.fixed.set(fixed);
    }

    /// What was fixed.
    pub(crate) fn fixed(&self) -> Result<&Fixed> {
        let missing = || DataFusionError::Internal("a view is read before it is fixed what is read".into());
        self.fixed.get().ok_or_else(missing)
    }

    /// The view as another node is asked for it.
    pub(crate) fn part(&self, partitions: Vec<PartitionId>) -> ViewPart {
        let (name, definition) = (self.view.name().to_owned(), self.view.definition());
        ViewPart { name, stream: self.plan().stream.id, definition, next: self.next, partitions }
    }

    fn error(&self, refusal: Refusal, asking: &Asking) -> DataFusionError {
        external(refusal.error(&self.table, asking.bounds))
    }

    /// Asks for partitions that a node holds.
    async fn ask(
        &self,
        remote: &RemotePart,
        partitions: Vec<PartitionId>,
        get: Get,
        asking: &Asking,
    ) -> Result<Incoming> {
        let answer = self.ask_or_not(remote, partitions, get, asking).await;
        answer.map_err(|refusal| self.error(refusal, asking))
    }

    async fn ask_or_not(
        &self,
        remote: &RemotePart,
        partitions: Vec<PartitionId>,
        get: Get,
        asking: &Asking,
    ) -> Result<Incoming, Refusal> {
        let read = Read { held: Some(remote.lease.number), view: self.part(partitions), get };
        let answer = asking.ask(&remote.node, false, Token::new(), Ask::Read(read)).await;
        answer.map(|(_, incoming)| incoming)
    }

    /// Fetches rows and gives them on, until nobody takes any more.
    pub(crate) async fn fetch_rows(
        &self,
        remote: &RemotePart,
        partitions: Vec<PartitionId>,
        get: Get,
        schema: &SchemaRef,
        output: &Sender<Result<RecordBatch>>,
    ) -> Result<()> {
        let asking = &self.fixed()?.asking;
        let incoming = self.ask(remote, partitions, get, asking).await?;
        self.give_rows(incoming, schema, output).await
    }

    async fn give_rows(
        &self,
        incoming: Incoming,
        schema: &SchemaRef,
        output: &Sender<Result<RecordBatch>>,
    ) -> Result<()> {
        let mut rows = IncomingRows::new(self, incoming, schema)?;
        while let Some(batches) = rows.next().await? {
            for batch in batches {
                if output.send(Ok(batch)).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Fetches parts of groups and gives them on. Where a node does not give them, its rows are fetched and aggregated here.
    pub(crate) async fn fetch_partials(
        &self,
        remote: &RemotePart,
        get: &GetPartials,
        schema: &SchemaRef,
        output: &Sender<Result<RecordBatch>>,
    ) -> Result<()> {
        let asking = &self.fixed()?.asking;
        let partitions = || remote.partitions.clone();
        let asked = self.ask_or_not(remote, partitions(), Get::Partials(get.clone()), asking).await;
        match asked {
            Ok(incoming) => return self.give_rows(incoming, schema, output).await,
            // It is of another version: it does not know what it was asked.
            Err(Refusal::Failed(_, Failure::Other { .. })) => {}
            Err(refusal) => return Err(self.error(refusal, asking)),
        }
        let rows = Get::Rows(GetRows { filter: get.filter.clone(), ..GetRows::default() });
        let incoming = self.ask(remote, partitions(), rows, asking).await?;
        let mut rows = IncomingRows::new(self, incoming, &self.plan().output)?;
        let mut partials = get.partials(&self.plan().output, asking.bounds.memory_bytes_max)?;
        while let Some(batches) = rows.next().await? {
            for rows in batches {
                partials.add(&rows)?;
                if partials.is_full() && !give(&mut partials, schema, output).await? {
                    return Ok(());
                }
            }
        }
        give(&mut partials, schema, output).await.map(drop)
    }

    /// Fetches the groups of a partition for whoever reads the other end, and tells it of failures.
    pub(crate) async fn fetch_groups(
        &self,
        remote: &RemotePart,
        partition: PartitionId,
        get: Get,
        output: &Sender<Result<Bytes>>,
    ) -> Result<()> {
        let asking = &self.fixed()?.asking;
        let mut incoming = match self.ask(remote, vec![partition], get, asking).await {
            Ok(incoming) => incoming,
            Err(error) => {
                let _gone = output.send(Err(error)).await;
                return Ok(());
            }
        };
        loop {
            let (frame, last) = match incoming.next().await {
                Ok(Some(Piece::Groups(frame))) => (Ok(frame), false),
                Ok(Some(Piece::Rows(_))) => (Err(unexpected()), true),
                Ok(None) => (Ok(Bytes::new()), true),
                Err(refusal) => (Err(self.error(refusal, asking)), true),
            };
            if output.send(frame).await.is_err() || last {
                return Ok(());
            }
        }
    }

    /// Fetches one group, as all partitions of a node have it.
    pub(crate) async fn fetch_group(
        &self,
        remote: &RemotePart,
        get: Get,
        budget: &Arc<Budget>,
    ) -> Result<Vec<FetchedGroups>> {
        let asking = &self.fixed()?.asking;
        let incoming = self.ask(remote, remote.partitions.clone(), get, asking).await?;
        let pieces = incoming.all(asking).await.map_err(|refusal| self.error(refusal, asking))?;
        ready_groups(&remote.partitions, pieces, budget)
    }
}

/// Gives the parts of groups on; whether somebody takes them.
async fn give(
    partials: &mut Partials,
    schema: &SchemaRef,
    output: &Sender<Result<RecordBatch>>,
) -> Result<bool> {
    let Some(groups) = partials.take()? else { return Ok(true) };
    let groups = batch(schema.clone(), groups.columns().to_vec(), groups.num_rows())?;
    Ok(output.send(Ok(groups)).await.is_ok())
}

/// Rows of another node, as they come.
struct IncomingRows<'a> {
    gathering: &'a Gathering,
    asking: &'a Asking,
    incoming: Incoming,
    decoder: RowsDecoder,
}

impl<'a> IncomingRows<'a> {
    fn new(gathering: &'a Gathering, incoming: Incoming, schema: &SchemaRef) -> Result<Self> {
        let asking = &gathering.fixed()?.asking;
        Ok(Self { gathering, asking, incoming, decoder: RowsDecoder::new(schema.clone()) })
    }

    /// The batches that the next piece completes; None at the end.
    async fn next(&mut self) -> Result<Option<Vec<RecordBatch>>> {
        let piece =
            self.incoming.next().await.map_err(|refusal| self.gathering.error(refusal, self.asking))?;
        let Some(piece) = piece else { return Ok(None) };
        let Piece::Rows(bytes) = piece else { return Err(unexpected()) };
        let mut batches = Vec::new();
        self.decoder.decode(bytes, &mut batches)?;
        Ok(Some(batches))
    }
}

impl Incoming {
    /// Everything that is left, within the memory of the query.
    pub(crate) async fn all(mut self, asking: &Asking) -> Result<Vec<Piece>, Refusal> {
        let (mut pieces, mut left) = (Vec::new(), asking.bounds.memory_bytes_max);
        while let Some(piece) = self.next().await? {
            let (Piece::Groups(bytes) | Piece::Rows(bytes)) = &piece;
            left = left.checked_sub(bytes.len()).ok_or(Refusal::Memory)?;
            pieces.push(piece);
        }
        Ok(pieces)
    }
}

fn unexpected() -> DataFusionError {
    DataFusionError::Internal("a node answers what it was not asked".into())
}

/// Groups that came as a whole, by partition.
pub(crate) fn ready_groups(
    partitions: &[PartitionId],
    pieces: Vec<Piece>,
    budget: &Arc<Budget>,
) -> Result<Vec<FetchedGroups>> {
    let mut frames: Vec<(PartitionId, VecDeque<Bytes>)> =
        partitions.iter().map(|partition| (*partition, VecDeque::new())).collect();
    for piece in pieces {
        let Piece::Groups(frame) = piece else { return Err(unexpected()) };
        let partition =
            take_partition(&mut frame.clone()).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let of = frames.iter_mut().find(|(of, _)| *of == partition).ok_or_else(unexpected)?;
        of.1.push_back(frame);
    }
    let groups = frames.into_iter();
    Ok(groups.map(|(of, frames)| FetchedGroups::new(of, Feed::Ready(frames), budget.clone())).collect())
}

/// Rows from the pieces of an Arrow IPC stream.
pub(crate) struct RowsDecoder {
    schema: SchemaRef,
    decoder: StreamDecoder,
}

impl RowsDecoder {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self { schema, decoder: StreamDecoder::new() }
    }

    /// Takes a piece; the batches that it completes are added to `batches`.
    pub(crate) fn decode(&mut self, piece: Bytes, batches: &mut Vec<RecordBatch>) -> Result<()> {
        let mut piece = Buffer::from(piece);
        while !piece.is_empty() {
            if let Some(rows) = self.decoder.decode(&mut piece)? {
                // Both nodes have the same definition, but may be of different versions.
                batches.push(batch(self.schema.clone(), rows.columns().to_vec(), rows.num_rows())?);
            }
        }
        Ok(())
    }
}
