//! Answering the queries of other nodes.

use super::workers::table_of;
use super::{ALIGN_MAX, Engine, Held, ViewReading};
use crate::Error;
use crate::gather::hold::{HeldView, Moment};
use crate::gather::request::{Ask, PeerRequest, Read, ViewPart};
use crate::gather::{self, Failure, Place, send};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tw_process::View as _;
use tw_state::Snapshot;
use tw_types::{PartitionId, StreamPartition, Token};

impl Engine {
    /// Answers a request that another node's [`crate::Peers::read`] has brought. The answer is computed as it is taken, and says itself
    /// when something went wrong; one that is dropped lets go of what it held.
    pub fn serve(&self, request: Bytes) -> BoxStream<'static, Bytes> {
        let engine = self.clone();
        let answer = async move {
            let answer = engine.answer(&request).await;
            answer.unwrap_or_else(|failure| {
                let frame = gather::failure(&failure);
                stream::once(async { frame }).boxed()
            })
        };
        stream::once(answer).flatten().boxed()
    }

    /// How many moments are held for queries of other nodes.
    pub fn held_moments(&self) -> usize {
        self.0.holds.len()
    }

    async fn answer(&self, request: &[u8]) -> Result<BoxStream<'static, Bytes>, Failure> {
        let request = PeerRequest::read(request).map_err(Failure::of)?;
        let timeout_ms = request.timeout_ms.min(self.options().query_ms_max);
        let deadline = Instant::now() + Duration::from_millis(timeout_ms);
        let (token, standby) = (&request.token, request.standby);
        match request.ask {
            Ask::Hold(parts) => {
                let (moment, cut, state) = self.moment(&parts, token, standby, deadline).await?;
                let hold = self.0.holds.hold(Arc::new(moment))?;
                let head = gather::head(Some(hold.number), cut, state);
                let end = async move {
                    tokio::time::sleep_until(deadline).await;
                    drop(hold);
                    gather::end()
                };
                Ok(stream::once(async { head }).chain(stream::once(end)).boxed())
            }
            Ask::Read(Read { held, view, get }) => {
                let (moment, cut) = match held {
                    Some(number) => (self.0.holds.get(number).ok_or(Failure::Gone)?, Token::new()),
                    None => {
                        let parts = std::slice::from_ref(&view);
                        let (moment, cut, _) = self.moment(parts, token, standby, deadline).await?;
                        (Arc::new(moment), cut)
                    }
                };
                let read = moment.part(&view).ok_or(Failure::Gone)?;
                send::answer(moment, read, get, cut, deadline, self.options().query_memory_bytes_max)
                    .map_err(|error| Failure::of(Error::from(error)))
            }
        }
    }

    /// Some partitions of views as they are now, up to where that is, and its number.
    async fn moment(
        &self,
        parts: &[ViewPart],
        token: &Token,
        standby: bool,
        deadline: Instant,
    ) -> Result<(Moment, Token, Option<u64>), Failure> {
        for part in parts.iter().filter(|part| !part.next) {
            let (_, reading) = self.held_view(part)?;
            self.check_here(part, &reading, standby)?;
            let is_asked =
                |at: StreamPartition| at.stream == part.stream && part.partitions.contains(&at.partition);
            let demanded: Token = token.iter().filter(|(at, _)| is_asked(*at)).collect();
            let partitions = || part.partitions.iter().map(|of| StreamPartition::new(part.stream, *of));
            if standby && !self.is_near(&reading, partitions(), &demanded).map_err(Failure::of)? {
                return Err(Failure::Behind);
            }
            if !demanded.is_empty() {
                let left = deadline.saturating_duration_since(Instant::now());
                let waited = self.0.views.wait_for(&part.name, &demanded, left).await;
                if let Err(error) = waited {
                    self.check_here(part, &self.held_view(part)?.1, standby)?;
                    return Err(Failure::of(error));
                }
            }
        }
        let _aligned = self.align_parts(parts, deadline).await?;
        let found = parts.iter().map(|part| self.held_view(part)).collect::<Result<Vec<_>, _>>()?;
        let snapshot: Arc<dyn Snapshot> = Arc::from(self.0.store.snapshot());
        let (mut views, mut cut) = (Vec::with_capacity(found.len()), Token::new());
        let mut state = self.0.answers.fingerprint();
        for (part, (view, reading)) in parts.iter().zip(found) {
            // Nothing has gone away before the snapshot was taken.
            self.check_here(part, &reading, standby)?;
            for &partition in &part.partitions {
                let committed = self.0.views.committed(snapshot.as_ref(), &reading, partition);
                let committed = committed.map_err(Failure::of)?;
                state.add(committed);
                cut.advance(StreamPartition::new(part.stream, partition), committed.end);
            }
            views.push(view);
        }
        Ok((Moment { snapshot, views }, cut, state.finish()))
    }

    /// Brings what is asked of both generations of a view to the same offsets.
    async fn align_parts(&self, parts: &[ViewPart], deadline: Instant) -> Result<Vec<Held>, Failure> {
        let mut held = Vec::new();
        for next in parts.iter().filter(|part| part.next) {
            let both = |of: &&PartitionId| {
                parts.iter().any(|part| part.name == next.name && !part.next && part.partitions.contains(of))
            };
            let partitions: Vec<PartitionId> = next.partitions.iter().filter(both).copied().collect();
            if !partitions.is_empty() {
                let left = deadline.saturating_duration_since(Instant::now()).min(ALIGN_MAX);
                let aligned = self.0.views.align(&next.name, &partitions, left).await;
                held.push(aligned.map_err(Failure::of)?);
            }
        }
        Ok(held)
    }

    fn check_here(&self, part: &ViewPart, reading: &ViewReading, standby: bool) -> Result<(), Failure> {
        for &partition in &part.partitions {
            let told =
                standby || self.0.peers.place(StreamPartition::new(part.stream, partition)) == Place::Here;
            if !told || !self.0.views.is_here(reading, partition).map_err(Failure::of)? {
                return Err(Failure::NotHere);
            }
        }
        Ok(())
    }

    /// Where the state of a view is, if it is the definition that is asked for.
    fn held_view(&self, part: &ViewPart) -> Result<(HeldView, ViewReading), Failure> {
        let reading = self.reading_for(&part.name, part.next).map_err(|error| {
            // What was just defined elsewhere is not known here yet.
            if self.definitions(&part.name).is_empty() { Failure::NotHere } else { Failure::of(error) }
        })?;
        let view = reading.state_view().map_err(Failure::of)?;
        if part.next && view.definition() != part.definition {
            let reason = format!("another version of `{}` is being built: try again", table_of(&part.name));
            return Err(Failure::NotReadable { reason });
        }
        if view.definition() != part.definition || view.plan().stream.id != part.stream {
            return Err(Failure::OtherDefinition { view: part.name.clone(), reads: view.definition() });
        }
        if part.partitions.iter().any(|partition| partition.0 >= view.plan().stream.partitions) {
            return Err(Failure::NotHere);
        }
        let partitions = part.partitions.clone();
        let held = reading.held.clone();
        Ok((HeldView { view, keyspace: reading.keyspace, partitions, _held: held }, reading))
    }
}

impl Moment {
    /// A part of what is held of a view.
    fn part(&self, part: &ViewPart) -> Option<HeldView> {
        let has = |held: &&HeldView| {
            held.view.name() == part.name
                && held.view.definition() == part.definition
                && part.partitions.iter().all(|partition| held.partitions.contains(partition))
        };
        let held = self.views.iter().find(has)?;
        Some(HeldView { partitions: part.partitions.clone(), ..held.clone() })
    }
}
