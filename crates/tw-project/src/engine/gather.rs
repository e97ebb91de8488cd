//! Where the views of a statement are: here, or on which nodes.

use super::{Engine, ViewReading};
use crate::gather::Place;
use crate::gather::fetch::{Asking, Lease, Refusal, being_changed};
use crate::gather::gathering::{Fixed, Gathering, RemotePart};
use crate::gather::request::{Ask, ViewPart};
use crate::query::Bounds;
use crate::query::state::ViewState;
use crate::{Error, StateView};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tw_process::View as _;
use tw_state::Snapshot;
use tw_types::{NodeId, PartitionId, StreamDef, StreamPartition, Token};

/// How long is waited before partitions are looked up again that have moved.
const AGAIN_MS_MIN: u64 = 20;
const AGAIN_MS_MAX: u64 = 500;
/// How long a query waits for a partition that nobody owns: a takeover is quicker.
const OWNERLESS_MAX: Duration = Duration::from_secs(10);

/// Partitions of the views of a statement, by the number of the view among them.
type Wanted = Vec<(usize, Vec<PartitionId>)>;

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

    /// Asks every node for what it keeps of the views, and looks again where something has moved; the own part is taken last.
    /// None if a view has another definition by now.
    pub(super) async fn ask_all<T, F: Future<Output = Answered<T>>>(
        &self,
        views: &[Arc<Gathering>],
        token: &Token,
        asking: &Asking,
        ask: impl Fn(NodeId, Token, Vec<ViewPart>) -> F,
    ) -> Result<Option<Spread<T>>, Error> {
        let mut open: Wanted = views.iter().map(|view| view.needs()).enumerate().collect();
        let (mut answers, mut cut) = (Vec::new(), Token::new());
        let mut again_ms = AGAIN_MS_MIN;
        let patience = asking.bounds.deadline.min(Instant::now() + OWNERLESS_MAX);
        loop {
            let (here, nodes) = self.places_soon(views, &open, patience).await?;
            let asked = nodes.into_iter().map(|(node, wanted)| {
                let parts =
                    wanted.iter().map(|(view, of)| views.get(*view).map(|view| view.part(of.clone())));
                let answer = ask(node.clone(), demanded(token, views, &wanted), parts.flatten().collect());
                async move { (node, wanted, answer.await) }
            });
            let (mut moved, mut why): (Wanted, _) = (Vec::new(), None);
            for (node, wanted, answer) in join_all(asked).await {
                match answer {
                    Ok((end, answer)) => {
                        cut.merge(&end);
                        answers.push((node, wanted, answer));
                    }
                    Err(refusal) => {
                        let table = table_of(views, &wanted, &refusal);
                        if let (Some((_, reads)), Some(view)) = (refusal.other_definition(), table) {
                            self.agree(view, reads)?;
                            return Ok(None);
                        }
                        let name = table.map_or("", |view| &view.table);
                        if !refusal.may_have_moved() {
                            return Err(refusal.error(name, asking.bounds));
                        }
                        moved.extend(wanted);
                        why = Some(refusal.error(name, asking.bounds));
                    }
                }
            }
            if moved.is_empty() {
                match self.own_part(views, &here, token, asking.bounds).await? {
                    Own::Read(snapshot, here, end, state) => {
                        cut.merge(&end);
                        return Ok(Some(Spread { snapshot, here, answers, cut, state }));
                    }
                    Own::Changed => return Ok(None),
                    Own::Moved => why = here.first().and_then(|(view, _)| views.get(*view)).map(moving),
                }
            }
            open = moved.into_iter().chain(here).collect();
            let wait = Duration::from_millis(again_ms);
            if Instant::now() + wait >= asking.bounds.deadline {
                return Err(why.unwrap_or(Error::Timeout { timeout_ms: asking.bounds.timeout_ms }));
            }
            tokio::time::sleep(wait).await;
            again_ms = (again_ms * 2).min(AGAIN_MS_MAX);
        }
    }

    /// What is here, and what is on which node. Where an owner has just gone, or hands over, somebody is about to take over: that is
    /// waited for.
    async fn places_soon(
        &self,
        views: &[Arc<Gathering>],
        open: &Wanted,
        patience: Instant,
    ) -> Result<(Wanted, BTreeMap<NodeId, Wanted>), Error> {
        let pause = Duration::from_millis(AGAIN_MS_MIN);
        loop {
            match self.places(views, open) {
                Err(_) if Instant::now() + pause < patience => tokio::time::sleep(pause).await,
                places => return places,
            }
        }
    }

    /// What is here, and what is on which node.
    fn places(
        &self,
        views: &[Arc<Gathering>],
        open: &Wanted,
    ) -> Result<(Wanted, BTreeMap<NodeId, Wanted>), Error> {
        let mut places: BTreeMap<Option<NodeId>, BTreeMap<usize, Vec<PartitionId>>> = BTreeMap::new();
        for (number, partitions) in open {
            let Some(view) = views.get(*number) else { continue };
            for &partition in partitions {
                let node = match self.0.peers.place(view.at(partition)) {
                    Place::Here => None,
                    Place::Node(node) => Some(node),
                    Place::Nowhere => return Err(nowhere(view, partition)),
                };
                places.entry(node).or_default().entry(*number).or_default().push(partition);
            }
        }
        let here = places.remove(&None).unwrap_or_default().into_iter().collect();
        let nodes = places.into_iter().filter_map(|(node, of)| Some((node?, of.into_iter().collect())));
        Ok((here, nodes.collect()))
    }

    /// The own store, once it has what the token demands of the partitions that are here.
    async fn own_part(
        &self,
        views: &[Arc<Gathering>],
        here: &Wanted,
        token: &Token,
        bounds: Bounds,
    ) -> Result<Own, Error> {
        for (number, partitions) in here {
            let Some(view) = views.get(*number) else { continue };
            let demanded = demanded(token, views, &vec![(*number, partitions.clone())]);
            if !demanded.is_empty() {
                let left = bounds.deadline.saturating_duration_since(Instant::now());
                let waited = self.0.views.wait_for(view.view.name(), &demanded, left).await;
                if let Err(error) = waited {
                    let kept = self.are_here(view, &self.reading(view.view.name())?, partitions)?;
                    return if kept { Err(error) } else { Ok(Own::Moved) };
                }
            }
        }
        let mut readings = vec![None; views.len()];
        for (number, partitions) in here {
            let (Some(view), Some(of)) = (views.get(*number), readings.get_mut(*number)) else { continue };
            // It may be another generation by now than when the statement was planned, of the same definition or of another one.
            let reading = self.reading(view.view.name())?;
            if reading.view.definition() != view.view.definition() {
                return Ok(Own::Changed);
            }
            *of = Some((reading, partitions.clone()));
        }
        let snapshot: Arc<dyn Snapshot> = Arc::from(self.0.store.snapshot());
        let (mut cut, mut state) = (Token::new(), self.0.answers.fingerprint());
        for (view, local) in views.iter().zip(&readings) {
            let Some((reading, partitions)) = local else { continue };
            if !self.are_here(view, reading, partitions)? {
                return Ok(Own::Moved);
            }
            for &partition in partitions {
                let committed = self.0.views.committed(snapshot.as_ref(), reading, partition)?;
                state.add(committed);
                cut.advance(view.at(partition), committed.end);
            }
        }
        Ok(Own::Read(snapshot, readings, cut, state.finish()))
    }

    /// Whether partitions are kept here, as everybody says and as the workers know.
    fn are_here(&self, view: &Gathering, reading: &ViewReading, of: &[PartitionId]) -> Result<bool, Error> {
        for &partition in of {
            let told = self.0.peers.place(view.at(partition)) == Place::Here;
            if !told || !self.0.views.is_here(reading, partition)? {
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
    ) -> Result<Option<Cut>, Error> {
        let asking = Asking { peers: self.0.peers.clone(), bounds };
        let hold = |node: NodeId, token: Token, parts: Vec<ViewPart>| {
            let asking = asking.clone();
            async move {
                let (head, incoming) = asking.ask(&node, token, Ask::Hold(parts)).await?;
                let lease = Lease::new(&head, incoming)?;
                Ok((head.cut, (Arc::new(lease), head.state)))
            }
        };
        let permit = self.permit(views, bounds).await?;
        let Some(spread) = self.ask_all(views, token, &asking, hold).await? else { return Ok(None) };
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
        let is_remote = |view: &Arc<Gathering>| {
            view.needs().iter().any(|one| self.0.peers.place(view.at(*one)) != Place::Here)
        };
        if !views.iter().any(is_remote) {
            return Ok(None);
        }
        let permit = tokio::time::timeout_at(bounds.deadline, self.0.gathers.clone().acquire_owned()).await;
        // It is never closed.
        Ok(permit.map_err(|_| Error::Timeout { timeout_ms: bounds.timeout_ms })?.ok().map(Arc::new))
    }

    /// From where the views of a planned statement are read, for EXPLAIN.
    pub(super) fn gathers(&self, views: &[Arc<Gathering>]) -> Vec<String> {
        let mut lines = Vec::new();
        for view in views.iter().filter(|view| view.joined) {
            let mut places: BTreeMap<Place, Vec<String>> = BTreeMap::new();
            for partition in view.needs() {
                places.entry(self.0.peers.place(view.at(partition))).or_default().push(partition.to_string());
            }
            lines.extend(places.into_iter().map(|(place, partitions)| {
                let place = match place {
                    Place::Here => "here".to_owned(),
                    Place::Node(node) => format!("from `{node}`"),
                    Place::Nowhere => "from nobody, because they have no owner".to_owned(),
                };
                format!("gather {} {place}: partitions {}", view.table, partitions.join(", "))
            }));
        }
        lines
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
