//! Reading single rows by their key. Their answers are not kept: finding out whether one still holds would cost as much as the read.

use super::run::Request;
use super::{Engine, scope};
use crate::Error;
use crate::gather::fetch::{Asking, Piece};
use crate::gather::gathering::{Gathering, RowsDecoder, ready_groups};
use crate::gather::groups::{Budget, FetchedGroups};
use crate::gather::request::{Ask, Get, GetRows, Read, ViewPart};
use crate::query::point::PointRead;
use crate::query::state::{Part, ViewState};
use crate::query::{Answer, Bounds, client_batch, client_schema, query_error};
use crate::sql::Param;
use crate::view::{ViewReader, key_start};
use datafusion::arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use std::borrow::Cow;
use std::sync::Arc;
use tw_state::Snapshot;
use tw_types::{NodeId, PartitionId, StreamPartition, Token};

/// What a key is looked up in.
struct Found {
    /// What is here.
    local: Option<ViewState>,
    /// The parts that other nodes have of a group.
    fetched: Vec<FetchedGroups>,
    /// The rows that other nodes have.
    rows: Vec<RecordBatch>,
    reflects: Token,
}

impl Engine {
    /// Reads by key; None if the view has another plan by now.
    pub(super) async fn read_point(
        &self,
        point: &PointRead,
        part: &Part,
        request: &Request,
    ) -> Result<Option<Answer>, Error> {
        let bounds = self.bounds(request);
        let found = if self.0.joined {
            self.find_point(point, part, request, bounds).await?
        } else {
            self.find_point_here(point, request, bounds).await?
        };
        let Some(found) = found else { return Ok(None) };
        let reflects = found.reflects.clone();
        let bytes_max = bounds.memory_bytes_max;
        let batches = if point.is_long {
            let (point, part) = (point.clone(), part.clone());
            let read = tokio::task::spawn_blocking(move || read_part(found, &point, &part, bytes_max));
            let read = tokio::time::timeout_at(bounds.deadline, read).await;
            let read = read.map_err(|_| Error::Timeout { timeout_ms: bounds.timeout_ms })?;
            read.unwrap_or_else(|error| Err(DataFusionError::External(Box::new(error))))
        } else {
            read_part(found, point, part, bytes_max)
        };
        let batches = batches.map_err(|error| query_error(error, bounds))?;
        let schema = client_schema(&point.schema, None);
        let batches =
            batches.iter().map(|batch| client_batch(batch, &schema)).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Answer::from_batches(schema, batches, reflects)))
    }

    /// Where everything is here.
    async fn find_point_here(
        &self,
        point: &PointRead,
        request: &Request,
        bounds: Bounds,
    ) -> Result<Option<Found>, Error> {
        let Some(view) = scope::view_name(&point.table) else { return Ok(None) };
        scope::wait(self, &point.table, request.token.as_ref(), bounds.deadline).await?;
        let reading = self.reading(&view)?;
        if !Arc::ptr_eq(reading.state_view()?.plan(), &point.plan) {
            return Ok(None);
        }
        let snapshot: Arc<dyn Snapshot> = Arc::from(self.0.store.snapshot());
        let stream = &point.plan.stream;
        let partitions: Vec<PartitionId> = (0..stream.partitions).map(PartitionId).collect();
        let mut reflects = Token::new();
        for &partition in &partitions {
            let end = self.0.views.committed(snapshot.as_ref(), &reading, partition)?.end;
            reflects.advance(StreamPartition::new(stream.id, partition), end);
        }
        let state = ViewState {
            plan: point.plan.clone(),
            keyspace: reading.keyspace,
            snapshot,
            partitions,
            list_bytes_max: self.options().query_memory_bytes_max,
            _held: reading.held,
        };
        Ok(Some(Found { local: Some(state), fetched: Vec::new(), rows: Vec::new(), reflects }))
    }

    /// The view of a point read as it is read now; None if it has another plan by now.
    fn point_view(&self, point: &PointRead, part: &Part) -> Result<Option<Arc<Gathering>>, Error> {
        let catalog = self.catalog();
        let Some(name) = scope::view_name(&point.table) else { return Ok(None) };
        let view = self.find_view(&name, scope::stream_of(&catalog, &point.table)?)?;
        if !Arc::ptr_eq(view.plan(), &point.plan) {
            return Ok(None);
        }
        let gathering = Gathering::new(super::workers::table_of(&name).to_owned(), view, true);
        gathering.need(point.plan.partitions_of(part));
        Ok(Some(Arc::new(gathering)))
    }

    /// Where other nodes have partitions: each of them is asked once for what it has.
    async fn find_point(
        &self,
        point: &PointRead,
        part: &Part,
        request: &Request,
        bounds: Bounds,
    ) -> Result<Option<Found>, Error> {
        let Some(view) = self.point_view(point, part)? else { return Ok(None) };
        let asking = Asking { peers: self.0.peers.clone(), bounds };
        let failed = |error: DataFusionError| query_error(error, bounds);
        let get = match part {
            Part::Row(subject) => Get::Rows(GetRows {
                subject: Some(subject.clone()),
                columns: Some(point.columns().to_vec()),
                filter: None,
                rows_max: None,
            }),
            part => Get::Groups(point.plan.groups_wanted(part, point.wanted()).map_err(failed)?),
        };
        let ask = |node: NodeId, standby, token: Token, parts: Vec<ViewPart>| {
            let (asking, get) = (asking.clone(), get.clone());
            async move {
                // One view has one part.
                let Some(view) = parts.into_iter().next() else { return Ok((Token::new(), Vec::new())) };
                let read = Read { held: None, view, get };
                let (head, incoming) = asking.ask(&node, standby, token, Ask::Read(read)).await?;
                Ok((head.cut, incoming.all(&asking).await?))
            }
        };
        let token = request.token.clone().unwrap_or_default();
        let views = [view.clone()];
        let spread = self.ask_all(&views, &token, &asking, Some(&about(part)), ask).await?;
        let Some(spread) = spread else { return Ok(None) };
        let here = spread.here.into_iter().flatten().next();
        let local = here.map(|here| self.local(&view, &here, &spread.snapshot));
        let mut found = Found { local, fetched: Vec::new(), rows: Vec::new(), reflects: spread.cut };
        let budget = Budget::new(bounds.memory_bytes_max);
        for (_, wanted, pieces) in spread.answers {
            if let Part::Row(_) = part {
                rows(pieces, point, &mut found.rows).map_err(failed)?;
                continue;
            }
            let partitions: Vec<PartitionId> = wanted.into_iter().flat_map(|(_, of)| of).collect();
            found.fetched.extend(ready_groups(&partitions, pieces, &budget).map_err(failed)?);
        }
        Ok(Some(found))
    }

    /// From where a point read is answered, for EXPLAIN.
    pub(super) fn point_gathers(&self, point: &PointRead, params: &[Param]) -> Vec<String> {
        let view = point.part(params).and_then(|part| self.point_view(point, &part).ok().flatten());
        if self.0.joined { self.gathers(view.as_slice()) } else { Vec::new() }
    }
}

/// What a read is about: the subject of the row, or the key of the group.
fn about(part: &Part) -> Cow<'_, str> {
    match part {
        Part::Row(subject) => Cow::Borrowed(subject),
        part => Cow::Owned(String::from_utf8_lossy(&key_start(part.key())).into_owned()),
    }
}

/// Rows that came as a whole.
fn rows(pieces: Vec<Piece>, point: &PointRead, batches: &mut Vec<RecordBatch>) -> DataFusionResult<()> {
    let mut decoder = RowsDecoder::new(point.schema.clone());
    for piece in pieces {
        let (Piece::Rows(bytes) | Piece::Groups(bytes)) = piece;
        decoder.decode(bytes, batches)?;
    }
    Ok(())
}

/// The wanted columns of a part of the state.
fn read_part(
    found: Found,
    point: &PointRead,
    part: &Part,
    bytes_max: usize,
) -> DataFusionResult<Vec<RecordBatch>> {
    let Found { local, fetched, rows: mut batches, .. } = found;
    let each = |batch: RecordBatch| {
        batches.extend(point.project(&batch));
        Ok(true)
    };
    match (local, part) {
        (Some(state), _) => state.read(part, point.wanted(), &fetched, each)?,
        (None, Part::Row(_)) => {}
        (None, _) => {
            ViewReader::elsewhere(&point.plan, bytes_max).with(&fetched).read(
                part.key(),
                point.wanted(),
                each,
            )?;
        }
    }
    Ok(batches)
}
