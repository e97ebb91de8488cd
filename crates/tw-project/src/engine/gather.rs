//! Where the views of a statement are: here, or on which nodes.

mod candidates;
mod hunt;

use self::hunt::{Hunt, Why};
use super::{ALIGN_MAX, Engine, Held, ViewReading};
use crate::gather::choice::Choice;
use crate::gather::fetch::{Asking, Lease, Refusal, being_changed};
use crate::gather::gathering::{Fixed, Gathering, RemotePart};
use crate::gather::request::{Ask, ViewPart};
use crate::gather::{Candidate, Place};
use crate::query::Bounds;
use crate::query::state::ViewState;
use crate::{Error, StateView};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tw_process::View as _;
use tw_state::Snapshot;
use tw_types::{NodeId, Offset, PartitionId, StreamDef, StreamPartition, Token};

/// How long is waited before partitions are looked up again that have moved.
const AGAIN_MS_MIN: u64 = 20;
const AGAIN_MS_MAX: u64 = 500;
/// How long a query waits for a partition that nobody owns: a takeover is quicker.
const OWNERLESS_MAX: Duration = Duration::from_secs(10);

/// Partitions of the views of a statement, by the number of the view among them.
type Wanted = Vec<(usize, Vec<PartitionId>)>;

/// The same with each view once.
fn merged(wanted: impl IntoIterator<Item = (usize, Vec<PartitionId>)>) -> Wanted {
    let mut all: BTreeMap<usize, Vec<PartitionId>> = BTreeMap::new();
    wanted.into_iter().for_each(|(view, partitions)| all.entry(view).or_default().extend(partitions));
    all.into_iter().collect()
}

/// What of a view is here.
type Local = Option<(ViewReading, Vec<PartitionId>)>;

/// Where everything is that a statement reads.
pub(super) struct Spread<T> {
    /// The own store at one moment.
    pub(super) snapshot: Arc<dyn Snapshot>,
    /// Of each view the partitions that are here, and where.
    pub(super) here: Vec<Local>,
    /// What nodes have answered about partitions.
    pub(super) answers: Vec<(NodeId, Wanted, T)>,
    /// Who has done that.
    choices: Vec<Choice>,
    /// Up to where the state is, here and there.
    pub(super) cut: Token,
    /// The number of the own state.
    state: Option<u64>,
}

/// Up to where the state of views is that a statement reads.
pub(super) struct Cut {
    pub(super) ends: Token,
    /// The numbers of the states of all nodes that were asked, and of the own one; None if one of them has none.
    pub(super) states: Option<Vec<u64>>,
    /// Whether other nodes have parts of it.
    pub(super) is_remote: bool,
}

/// What an asked node gives: up to where its state is, and the rest.
pub(super) type Answered<T> = Result<(Token, T), Refusal>;

impl Engine {
    /// A view as it is read now. Of a view of which nothing is here, it is the definition that was read last, or the latest one.
    pub(super) fn find_view(&self, name: &str, stream: &StreamDef) -> Result<Arc<StateView>, Error> {
        if !self.0.joined || self.is_any_here(stream) {
            return self.reading(name)?.state_view();
        }
        let agreed = self.0.agreed.lock().get(name).copied();
        let views = self.definitions(name);
        match views.iter().find(|view| Some(view.definition()) == agreed).or(views.first()) {
            Some(view) => Ok(view.clone()),
            None => self.reading(name)?.state_view(),
        }
    }

    /// What is built anew of a view. Of a view of which nothing is here, it is the latest definition.
    pub(super) fn find_next(&self, name: &str, stream: &StreamDef) -> Result<Arc<StateView>, Error> {
        if !self.0.joined || self.is_any_here(stream) {
            return self.0.views.reading_next(name)?.state_view();
        }
        let latest = self.definitions(name).into_iter().next();
        latest.map_or_else(|| self.0.views.reading_next(name)?.state_view(), Ok)
    }

    /// Brings what is here of both generations of a view to the same offsets, for a statement that reads both.
    async fn align_here(
        &self,
        views: &[Arc<Gathering>],
        here: &Wanted,
        deadline: Instant,
    ) -> Result<Vec<Held>, Error> {
        let of = |number: usize| here.iter().filter(move |(of, _)| *of == number).flat_map(|(_, of)| of);
        let mut held = Vec::new();
        for (number, next) in views.iter().enumerate().filter(|(_, view)| view.next) {
            let name = next.view.name();
            let Some(now) = views.iter().position(|view| !view.next && view.view.name() == name) else {
                continue;
            };
            let partitions: Vec<PartitionId> =
                of(number).filter(|partition| of(now).any(|other| other == *partition)).copied().collect();
            if !partitions.is_empty() {
                let left = deadline.saturating_duration_since(Instant::now()).min(ALIGN_MAX);
                held.push(self.0.views.align(name, &partitions, left).await?);
            }
        }
        Ok(held)
    }

    fn is_any_here(&self, stream: &StreamDef) -> bool {
        let mut partitions = (0..stream.partitions).map(PartitionId);
        partitions
            .any(|partition| self.0.peers.place(StreamPartition::new(stream.id, partition)) == Place::Here)
    }

    /// A view as it is defined, then as it was before.
    pub(super) fn definitions(&self, name: &str) -> Vec<Arc<StateView>> {
        let compiled = self.0.compiled.lock();
        let Some(one) = compiled.get(name) else { return Vec::new() };
        std::iter::once(one.view.clone()).chain(one.earlier.iter().cloned()).collect()
    }

    /// Takes the definition of a view that another node reads, where nothing of it is here.
    fn agree(&self, gathering: &Gathering, reads: u64) -> Result<(), Error> {
        let name = gathering.view.name();
        let known = self.definitions(name).iter().any(|view| view.definition() == reads);
        if !known || self.is_any_here(&gathering.plan().stream) {
            return Err(being_changed(&gathering.table));
        }
        self.0.agreed.lock().insert(name.to_owned(), reads);
        Ok(())
    }

    /// Asks for what is read of the views, at whoever has it, and looks again where something has moved; the own part is taken last. What is
    /// read of one partition is of one node. None if a view has another definition by now.
    pub(super) async fn ask_all<T: Send + 'static, R: Future<Output = Answered<T>> + Send>(
        &self,
        views: &[Arc<Gathering>],
        token: &Token,
        asking: &Asking,
        about: Option<&str>,
        ask: impl Fn(NodeId, bool, Token, Vec<ViewPart>) -> R + Sync,
    ) -> Result<Option<Spread<T>>, Error> {
        let hunt = Hunt { engine: self, views, token, asking, about, ask };
        let mut open: Wanted = views.iter().map(|view| view.needs()).enumerate().collect();
        let (mut answers, mut choices, mut cut) = (Vec::new(), Vec::new(), Token::new());
        let mut again_ms = AGAIN_MS_MIN;
        let patience = asking.bounds.deadline.min(Instant::now() + OWNERLESS_MAX);
        let mut tried = Vec::new();
        loop {
            self.somebody_soon(views, &open, patience).await?;
            let found = hunt.obtain(open, tried.clone(), Vec::new()).await;
            for (node, wanted, end, answer) in found.answers {
                cut.merge(&end);
                answers.push((node, wanted, answer));
            }
            choices.extend(found.choices);
            let Some(mut why) = self.missing(views, found.why, asking.bounds)? else { return Ok(None) };
            let here = merged(found.here.iter().flat_map(|(wanted, _)| wanted.clone()));
            if found.refused.is_empty() {
                let _aligned = self.align_here(views, &here, asking.bounds.deadline).await?;
                match self.own_part(views, &here, &found.here)? {
                    Own::Read(snapshot, here, end, state) => {
                        cut.merge(&end);
                        return Ok(Some(Spread { snapshot, here, answers, choices, cut, state }));
                    }
                    Own::Changed => return Ok(None),
                    Own::Moved => {
                        why = here.first().and_then(|(view, _)| views.get(*view)).map(moving);
                        // Whoever owns it is asked next, if this node only stands by.
                        tried = vec![Candidate { place: Place::Here, owns: false }];
                    }
                }
            }
            open = merged(found.refused.into_iter().chain(here));
            let wait = Duration::from_millis(again_ms);
            if Instant::now() + wait >= asking.bounds.deadline {
                return Err(why.unwrap_or(Error::Timeout { timeout_ms: asking.bounds.timeout_ms }));
            }
            tokio::time::sleep(wait).await;
            again_ms = (again_ms * 2).min(AGAIN_MS_MAX);
        }
    }

    /// Why something is missing that may be there soon: what an owner says, if one does. None if a view has another definition.
    ///
    /// # Errors
    /// What an owner says that is so for good.
    fn missing(
        &self,
        views: &[Arc<Gathering>],
        why: Vec<Why>,
        bounds: Bounds,
    ) -> Result<Option<Option<Error>>, Error> {
        let mut last = None;
        for why in why {
            let table = table_of(views, &why.wanted, &why.refusal);
            if why.by_owner
                && let (Some((_, reads)), Some(view)) = (why.refusal.other_definition(), table)
            {
                self.agree(view, reads)?;
                return Ok(None);
            }
            let (by_owner, is_final) = (why.by_owner, why.is_final());
            let error = why.refusal.error(table.map_or("", |view| &view.table), bounds);
            if is_final {
                return Err(error);
            }
            if by_owner || last.is_none() {
                last = Some(error);
            }
        }
        Ok(Some(last))
    }

    /// Waits until each partition has somebody who can be asked. Where an owner has just gone, or hands over, somebody is about to take
    /// over.
    async fn somebody_soon(
        &self,
        views: &[Arc<Gathering>],
        open: &Wanted,
        patience: Instant,
    ) -> Result<(), Error> {
        let pause = Duration::from_millis(AGAIN_MS_MIN);
        while let Some(error) = self.ownerless(views, open) {
            if Instant::now() + pause >= patience {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// That nobody has a partition, if one is so.
    fn ownerless(&self, views: &[Arc<Gathering>], open: &Wanted) -> Option<Error> {
        open.iter().find_map(|(number, partitions)| {
            let view = views.get(*number)?;
            let of = partitions.iter().find(|of| self.candidates(view.at(**of)).is_empty())?;
            Some(nowhere(view, *of))
        })
    }

    /// The own store, which has what the token demands of the partitions that are here; `parts` says which of them are owned.
    fn own_part(
        &self,
        views: &[Arc<Gathering>],
        here: &Wanted,
        parts: &[(Wanted, bool)],
    ) -> Result<Own, Error> {
        let mut readings = vec![None; views.len()];
        for (number, partitions) in here {
            let (Some(view), Some(of)) = (views.get(*number), readings.get_mut(*number)) else { continue };
            // It may be another generation by now than when the statement was planned, of the same definition or of another one.
            let reading = self.reading_for(view.view.name(), view.next)?;
            if reading.view.definition() != view.view.definition() {
                return Ok(Own::Changed);
            }
            *of = Some((reading, partitions.clone()));
        }
        let snapshot: Arc<dyn Snapshot> = Arc::from(self.0.store.snapshot());
        let (mut cut, mut state) = (Token::new(), self.0.answers.fingerprint());
        for (wanted, owns) in parts {
            for (number, partitions) in wanted {
                let (Some(view), Some(Some((reading, _)))) = (views.get(*number), readings.get(*number))
                else {
                    continue;
                };
                if !self.are_here(view, reading, partitions, *owns)? {
                    return Ok(Own::Moved);
                }
            }
        }
        for (view, local) in views.iter().zip(&readings) {
            let Some((reading, partitions)) = local else { continue };
            for &partition in partitions {
                let committed = self.0.views.committed(snapshot.as_ref(), reading, partition)?;
                state.add(committed);
                cut.advance(view.at(partition), committed.end);
            }
        }
        Ok(Own::Read(snapshot, readings, cut, state.finish()))
    }

    /// Whether partitions are kept here, as the workers know, and everybody says of what is owned.
    fn are_here(
        &self,
        view: &Gathering,
        reading: &ViewReading,
        of: &[PartitionId],
        owns: bool,
    ) -> Result<bool, Error> {
        for &partition in of {
            let told = !owns || self.0.peers.place(view.at(partition)) == Place::Here;
            if !told || !self.0.views.is_here(reading, partition)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether partitions that this node only stands by for are near enough to the end of the log, and to what is demanded.
    pub(super) fn is_near(
        &self,
        reading: &ViewReading,
        partitions: impl IntoIterator<Item = StreamPartition>,
        demanded: &Token,
    ) -> Result<bool, Error> {
        let lag_events_max = self.options().standby_lag_events_max;
        let snapshot = self.0.store.snapshot();
        for at in partitions {
            let end = self.0.log.bounds(at)?.end.max(demanded.end(at).unwrap_or(Offset::ZERO));
            let committed = self.0.views.committed(snapshot.as_ref(), reading, at.partition)?.end;
            if end.0.saturating_sub(committed.0) > lag_events_max {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Fixes what a statement reads that was planned: every node holds its part of it. Gives up to where that is; None if a view
    /// has another definition by now.
    pub(super) async fn fix(
        &self,
        views: &[Arc<Gathering>],
        token: &Token,
        bounds: Bounds,
        about: Option<&str>,
    ) -> Result<Option<Cut>, Error> {
        let asking = Asking { peers: self.0.peers.clone(), bounds };
        let hold = |node: NodeId, standby, token: Token, parts: Vec<ViewPart>| {
            let asking = asking.clone();
            async move {
                let (head, incoming) = asking.ask(&node, standby, token, Ask::Hold(parts)).await?;
                let lease = Lease::new(&head, incoming)?;
                Ok((head.cut, (Arc::new(lease), head.state)))
            }
        };
        let permit = self.permit(views, bounds).await?;
        let spread = self.ask_all(views, token, &asking, about, hold).await?;
        let Some(spread) = spread else { return Ok(None) };
        let choices = Arc::new(spread.choices);
        for (number, (view, here)) in views.iter().zip(&spread.here).enumerate() {
            let mut remote = Vec::new();
            for (node, wanted, (lease, _)) in &spread.answers {
                let of = wanted.iter().find(|(of, _)| *of == number);
                remote.extend(of.map(|(_, partitions)| RemotePart {
                    node: node.clone(),
                    partitions: partitions.clone(),
                    lease: lease.clone(),
                }));
            }
            view.fix(Fixed {
                local: here.as_ref().map(|here| self.local(view, here, &spread.snapshot)),
                remote,
                asking: asking.clone(),
                _permit: permit.clone(),
                _choices: choices.clone(),
            });
        }
        let theirs = spread.answers.iter().map(|(_, _, (_, state))| *state);
        let states: Option<Vec<u64>> = theirs.chain([spread.state]).collect();
        let is_remote = !spread.answers.is_empty();
        Ok(Some(Cut { ends: spread.cut, states, is_remote }))
    }

    /// The part of a view that is here.
    pub(super) fn local(
        &self,
        view: &Gathering,
        (reading, partitions): &(ViewReading, Vec<PartitionId>),
        snapshot: &Arc<dyn Snapshot>,
    ) -> ViewState {
        ViewState {
            plan: view.plan().clone(),
            keyspace: reading.keyspace,
            snapshot: snapshot.clone(),
            partitions: partitions.clone(),
            list_bytes_max: self.options().query_memory_bytes_max,
            _held: reading.held.clone(),
        }
    }

    /// One of the queries that may read from other nodes at once; None for one that has everything here.
    async fn permit(
        &self,
        views: &[Arc<Gathering>],
        bounds: Bounds,
    ) -> Result<Option<Arc<OwnedSemaphorePermit>>, Error> {
        let is_elsewhere = |one: &Candidate| one.place != Place::Here;
        let is_remote = |view: &Arc<Gathering>| {
            let mut needs = view.needs().into_iter().map(|one| self.candidates(view.at(one)));
            needs.any(|of| of.is_empty() || of.iter().any(is_elsewhere))
        };
        if !views.iter().any(is_remote) {
            return Ok(None);
        }
        let permit = tokio::time::timeout_at(bounds.deadline, self.0.gathers.clone().acquire_owned()).await;
        // It is never closed.
        Ok(permit.map_err(|_| Error::Timeout { timeout_ms: bounds.timeout_ms })?.ok().map(Arc::new))
    }
}

/// The own part of what is read.
enum Own {
    Read(Arc<dyn Snapshot>, Vec<Local>, Token, Option<u64>),
    /// Something is not here any more.
    Moved,
    Changed,
}

fn nowhere(view: &Gathering, partition: PartitionId) -> Error {
    let stream = &view.plan().stream.name;
    let reason = format!("partition {partition} of `{stream}` has no owner at the moment");
    Error::NoOwner { name: view.table.clone(), reason }
}

fn moving(view: &Arc<Gathering>) -> Error {
    let reason = "partitions are moving from one node to another".to_owned();
    Error::NoOwner { name: view.table.clone(), reason }
}

/// What a token demands of some partitions.
fn demanded(token: &Token, views: &[Arc<Gathering>], wanted: &Wanted) -> Token {
    let is_wanted = |at: StreamPartition| {
        wanted.iter().any(|(view, partitions)| {
            views.get(*view).is_some_and(|view| view.plan().stream.id == at.stream)
                && partitions.contains(&at.partition)
        })
    };
    token.iter().filter(|(at, _)| is_wanted(*at)).collect()
}

/// The view that a refusal is about, or the first one that was wanted.
fn table_of<'a>(
    views: &'a [Arc<Gathering>],
    wanted: &Wanted,
    refusal: &Refusal,
) -> Option<&'a Arc<Gathering>> {
    let wanted = || wanted.iter().filter_map(|(view, _)| views.get(*view));
    let about = refusal.other_definition().map(|(name, _)| name);
    wanted().find(|view| about == Some(view.view.name())).or_else(|| wanted().next())
}
