//! The receiving end of all links: the shell around [`crate::link::inbound`]. One task, to which the connections tell what comes; it
//! appends what may be appended, one step at a time, and says what to ask for.

mod ending;

use super::streams::{partitions, replicated};
use super::{Error, Shared};
use crate::link::handshake::Agreed;
use crate::link::inbound::{self, Action, Append, BlockId, Inbound, Input, Known, Offer};
use crate::link::wire::{Credit, Frame, Heartbeat, Passed, Pull};
use crate::seen;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tw_log::Streams;
use tw_log::store::Error as StoreError;
use tw_merge::Seen;
use tw_types::{Epoch, Hlc, HlcClock, Origin, PartitionId, RegionId, StreamId, StreamPartition};
use tw_wire::Block;

/// How often it is looked at whether a restore can end, if nothing else happens.
const LOOK: Duration = Duration::from_millis(50);

/// Which connection of a peer: a frame of an earlier one may still be on its way when the next one has begun.
pub(crate) type Connection = u64;

/// What the receiver is told.
pub(crate) enum Event {
    /// There is a connection. What is to be sent goes to `to`; the connection ends when that is dropped.
    Connected {
        agreed: Agreed,
        connection: Connection,
        to: mpsc::UnboundedSender<Frame>,
    },
    /// A block has come, whole and undamaged.
    Block {
        peer: RegionId,
        connection: Connection,
        block: Box<Arrived>,
    },
    Passed {
        peer: RegionId,
        connection: Connection,
        passed: Passed,
    },
    Heartbeat {
        peer: RegionId,
        connection: Connection,
        heartbeat: Heartbeat,
    },
    Disconnected {
        peer: RegionId,
        connection: Connection,
    },
    /// What is replicated has changed.
    Streams,
    /// An operator wants what is parked of a region to be tried again.
    Retry {
        peer: RegionId,
    },
    /// A region wants back what is here of region `of`: itself, in this epoch, or one that is gone. The answer is up to when that is known
    /// to have accepted something, once nothing more of its earlier epochs can enter the log.
    GiveBack {
        of: RegionId,
        epoch: Option<Epoch>,
        reply: oneshot::Sender<Hlc>,
    },
    /// A region wants to have another one relayed: what there is of that now.
    Relay {
        of: RegionId,
        reply: oneshot::Sender<inbound::Relay>,
    },
    /// All peers have given back what they have of this region.
    Asked,
    /// Somebody wants to know how it is.
    State(oneshot::Sender<inbound::Status>),
}

/// A block that has come.
pub(crate) struct Arrived {
    pub(crate) block: Block,
    pub(crate) stream: u32,
    pub(crate) partition: PartitionId,
    pub(crate) next_hlc: Hlc,
    pub(crate) seen: Option<Seen>,
}

/// How an append went: the number of its batch, and why it failed.
type Outcome = (u64, Result<(), Failure>);

/// Why an append failed.
struct Failure {
    /// Which portion the log refuses for good, if it does.
    refused: Option<(RegionId, StreamPartition)>,
    reason: String,
}

impl Failure {
    /// Nothing of it can be appended now.
    fn of_all(error: &StoreError) -> Self {
        Self { refused: None, reason: tw_types::chain(error) }
    }
}

/// See the module's text.
pub(crate) struct Receiver {
    shared: Arc<Shared>,
    core: Inbound,
    clock: HlcClock,
    links: BTreeMap<RegionId, (Connection, mpsc::UnboundedSender<Frame>)>,
    blocks: BTreeMap<BlockId, Block>,
    next_block: u64,
    known: Vec<StreamPartition>,
    appending: Option<Pin<Box<dyn Future<Output = Outcome> + Send>>>,
    /// The first half of the ids of events that tell what is here.
    opening: u64,
    /// The last event that this region had accepted in an earlier epoch.
    earlier: Hlc,
    /// Who waits until nothing of a region is being appended.
    giving_back: Vec<(RegionId, oneshot::Sender<Hlc>)>,
}

impl Receiver {
    pub(crate) async fn start(shared: Arc<Shared>) -> Result<Self, Error> {
        let log = shared.events.log().clone();
        let mut known_partitions = Vec::new();
        for at in partitions(&replicated(&shared)) {
            known_partitions.push(known(&shared, at).await?);
        }
        let options = shared.options.inbound.clone();
        let peers: Vec<RegionId> = shared.options.peers.iter().map(|peer| peer.id).collect();
        let list = known_partitions.iter().map(|known| known.at).collect();
        let stored = stored(&shared).await?;
        let mut core = Inbound::start(log.region(), options, &peers, known_partitions, &stored)?;
        if shared.restore.is_on() {
            core.begin_restore(log.epoch())?;
            shared.events.hold(true);
        }
        if shared.evictions.is_out(log.epoch()).is_some() {
            shared.events.hold(true);
        }
        let earlier = shared.history.last().of(log.region());
        let clock = HlcClock::new(log.settled(), shared.options.inbound.skew.skew_ms_max);
        shared.seen.send_replace(core.seen());
        let opening = shared.env.random.next_u64();
        Ok(Self {
            shared,
            core,
            clock,
            links: BTreeMap::new(),
            blocks: BTreeMap::new(),
            next_block: 0,
            known: list,
            appending: None,
            opening,
            earlier,
            giving_back: Vec::new(),
        })
    }

    pub(crate) async fn run(mut self, mut inputs: mpsc::Receiver<Event>) {
        loop {
            let now_ms = self.shared.now_ms();
            let wake =
                self.core.wake_at_ms(now_ms).map(|at| Duration::from_millis(at.saturating_sub(now_ms)));
            let is_restoring = self.shared.restore.is_on();
            let idle = wake.unwrap_or(Duration::from_secs(60));
            let idle = if is_restoring { idle.min(LOOK) } else { idle };
            tokio::select! {
                event = inputs.recv() => match event {
                    Some(event) => self.take(event).await,
                    None => return,
                },
                (batch, outcome) = async {
                    match self.appending.as_mut() {
                        Some(appending) => appending.await,
                        None => std::future::pending().await,
                    }
                } => {
                    self.appending = None;
                    self.appended(batch, outcome);
                }
                () = tokio::time::sleep(idle) => self.step(Input::Tick),
            }
            self.answer_quiet();
            if is_restoring {
                self.tell_fetched();
                self.end_restore().await;
            }
        }
    }

    async fn take(&mut self, event: Event) {
        match event {
            // It was asked for what it has when everything was here already: the connection ends with its sender.
            Event::Connected { agreed, .. }
                if agreed.peer == self.shared.options.id && !self.shared.restore.is_on() => {}
            Event::Connected { agreed, connection, to } => {
                self.links.insert(agreed.peer, (connection, to));
                let peer = agreed.peer;
                self.step(Input::Connected(agreed));
                self.tell_exchanged(peer);
            }
            Event::Disconnected { peer, connection } if self.is_current(peer, connection) => {
                self.links.remove(&peer);
                self.step(Input::Disconnected { peer });
            }
            Event::Block { peer, connection, block } if self.is_current(peer, connection) => {
                self.block(peer, *block);
            }
            Event::Passed { peer, connection, passed } if self.is_current(peer, connection) => {
                self.step(Input::Passed { peer, passed });
            }
            Event::Heartbeat { peer, connection, heartbeat } if self.is_current(peer, connection) => {
                self.step(Input::Heartbeat { peer, heartbeat });
            }
            // Of an earlier connection.
            Event::Block { .. }
            | Event::Passed { .. }
            | Event::Heartbeat { .. }
            | Event::Disconnected { .. } => {}
            Event::Streams => self.streams().await,
            Event::Retry { peer } => {
                let status = self.core.status(self.shared.now_ms());
                let of =
                    status.peers.into_iter().filter(|one| one.region == peer).flat_map(|one| one.partitions);
                for at in of.filter(|one| one.parked.is_some()).map(|one| one.at) {
                    self.step(Input::Retry { peer, at });
                }
            }
            Event::GiveBack { of, epoch, reply } => {
                if let Some(epoch) = epoch {
                    self.step(Input::Yield { peer: of, epoch });
                }
                self.giving_back.push((of, reply));
            }
            Event::Relay { of, reply } => {
                let _nobody_waits = reply.send(self.core.relay(of, self.shared.now_ms()));
            }
            Event::Asked => {}
            Event::State(reply) => {
                let _nobody_waits = reply.send(self.core.status(self.shared.now_ms()));
            }
        }
    }

    /// Tells those who relay a region which of its streams come here. After what was seen of it has fallen back because of a new one.
    fn tell_exchanged(&self, peer: RegionId) {
        let Some(exchanged) = self.core.exchanged(peer) else { return };
        self.shared
            .exchanged
            .send_if_modified(|known| known.insert(peer, exchanged.clone()) != Some(exchanged));
    }

    fn is_current(&self, peer: RegionId, connection: Connection) -> bool {
        self.links.get(&peer).is_some_and(|(current, _)| *current == connection)
    }

    fn block(&mut self, peer: RegionId, arrived: Arrived) {
        self.next_block += 1;
        let id = BlockId(self.next_block);
        let header = arrived.block.header();
        let offer = Offer {
            block: id,
            stream: arrived.stream,
            partition: arrived.partition,
            first: Origin { region: header.region, epoch: header.epoch, sequence: header.base_sequence },
            count: u64::from(header.last_delta) + 1,
            first_hlc: header.first_hlc,
            bytes: u64::from(header.length),
            next_hlc: arrived.next_hlc,
            seen: arrived.seen,
        };
        self.blocks.insert(id, arrived.block);
        self.step(Input::Block { peer, offer });
    }

    /// What is replicated has changed: new partitions are taken note of before any hello names them.
    async fn streams(&mut self) {
        let now = partitions(&replicated(&self.shared));
        for at in now.iter().filter(|at| !self.known.contains(at)) {
            let added = match known(&self.shared, *at).await {
                Ok(known) => self.core.add(&known).map_err(|error| tw_types::chain(&error)),
                Err(error) => Err(tw_types::chain(&error)),
            };
            if let Err(error) = added {
                tracing::error!(partition = %at, %error, "a partition is not replicated");
            }
        }
        let mut gone: Vec<StreamId> =
            self.known.iter().filter(|at| !now.contains(at)).map(|at| at.stream).collect();
        gone.dedup();
        for stream in gone {
            self.step(Input::StreamDropped { stream });
        }
        self.known = now;
        self.shared.generation.send_modify(|generation| *generation += 1);
    }

    fn appended(&mut self, batch: u64, outcome: Result<(), Failure>) {
        match outcome {
            Ok(()) => self.step(Input::Appended { batch }),
            Err(Failure { refused, reason }) => {
                tracing::warn!(%reason, "what other regions have accepted was not appended");
                let refused = refused.map(|(region, at)| (region, at, reason));
                self.step(Input::AppendFailed { batch, refused });
            }
        }
    }

    fn step(&mut self, input: Input) {
        let now_ms = self.shared.now_ms();
        // The log's clock is ahead of this one after each event that it has accepted.
        let settled = self.shared.events.log().settled().max(self.clock.last());
        self.clock = HlcClock::new(settled, self.shared.options.inbound.skew.skew_ms_max);
        let mut actions = Vec::new();
        self.core.step(input, &mut self.clock, now_ms, &mut actions);
        for action in actions {
            self.act(action);
        }
        let seen = self.core.seen();
        self.shared.seen.send_if_modified(|known| {
            let is_news = *known != seen;
            *known = seen;
            is_news
        });
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Pull { peer, entries } => self.send(peer, Frame::Pull(Pull { entries })),
            Action::Credit { peer, bytes } => self.send(peer, Frame::Credit(Credit { bytes })),
            Action::Append(append) => self.append(&append),
            Action::Drop { block } => {
                self.blocks.remove(&block);
            }
            Action::Park { peer, at, parked } => {
                tracing::error!(region = %peer, partition = %at, reason = %tw_types::chain(&parked), "nothing is taken of a partition of another region");
            }
            Action::Unpark { peer, at } => {
                tracing::info!(region = %peer, partition = %at, "a partition of another region is tried again");
            }
            Action::Close { peer, reason } => {
                tracing::error!(region = %peer, %reason, "the link is closed");
                self.shared.board.lock().failed(peer, reason);
                self.links.remove(&peer);
            }
            Action::Quarantined { region, hlc, retry_at_ms } => {
                let ahead_ms = hlc.millis().saturating_sub(self.shared.now_ms());
                tracing::error!(%region, ahead_ms, retry_at_ms, "the clock of a region is ahead: nothing is taken of it until then");
            }
            Action::Released { region } => tracing::info!(%region, "the clock of a region is believed again"),
            Action::Late { region, at, hlc, seen } => {
                tracing::warn!(%region, partition = %at, %hlc, %seen, "an event of a region came after what may depend on it");
            }
        }
    }

    fn send(&self, peer: RegionId, frame: Frame) {
        if let Some((_, to)) = self.links.get(&peer) {
            let _it_has_ended = to.send(frame);
        }
    }

    /// Begins to append what is named.
    fn append(&mut self, append: &Append) {
        let mut parts = Vec::with_capacity(append.portions.len());
        for portion in &append.portions {
            if let Some(block) = self.blocks.get(&portion.block) {
                parts.push((*portion, block.clone()));
            }
        }
        let (batch, mut latest, shared) = (append.batch, append.latest.clone(), self.shared.clone());
        latest.raise(self.shared.options.id, self.earlier);
        let id = format!("{:016x}-{batch}", self.opening);
        self.appending = Some(Box::pin(async move { (batch, store(&shared, parts, &latest, id).await) }));
    }
}

/// Appends portions and what is here with them, in one step.
async fn store(
    shared: &Shared,
    parts: Vec<(inbound::Portion, Block)>,
    latest: &Seen,
    id: String,
) -> Result<(), Failure> {
    let streams = shared.events.log().streams();
    let mut write = shared.events.write();
    let own = streams
        .get(&seen::seen_stream(shared.events.log().region()))
        .map_err(|error| Failure::of_all(&error.into()))?;
    let first = parts.first().map(|(portion, _)| (portion.span.region(), portion.at));
    // What a region that is restored tells comes after everything that it has told before.
    let tells = !shared.restore.is_on() && is_news(shared, &streams, &parts, latest).await?;
    for (portion, block) in parts {
        let at = portion.at;
        let refuse = |reason: String| Failure { refused: Some((portion.span.region(), at)), reason };
        let failed = |error: StoreError| refuse(tw_types::chain(&error));
        let def = streams.by_id(at.stream).map_err(|error| failed(error.into()))?;
        let offset = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let end = portion.skip.saturating_add(portion.span.count());
        let runs = block.runs(offset(portion.skip)..offset(end), def.options.compression);
        for run in runs.map_err(|error| refuse(error.to_string()))? {
            write.push_foreign(def, at.partition, run).map_err(failed)?;
        }
    }
    if tells {
        let event = seen::event(latest, id);
        write.push_to(own, PartitionId(0), &event.as_ref()).map_err(|error| Failure::of_all(&error))?;
    }
    let traced = write.traced().to_vec();
    match shared.events.append(write).await {
        Ok(_) => {
            shared.record(&streams, &traced);
            Ok(())
        }
        // It will be too large each time.
        Err(error @ StoreError::Log(tw_log::Error::TooLarge { .. })) => {
            Err(Failure { refused: first, reason: format!("{error}, or raise `append_bytes_max` of [log]") })
        }
        Err(StoreError::Received { at, origin, reached }) => {
            let error = StoreError::Received { at, origin, reached };
            Err(Failure { refused: Some((origin.region, at)), reason: error.to_string() })
        }
        Err(error) => Err(Failure::of_all(&error)),
    }
}

/// Whether others should know that this was appended. Regions that told each other of nothing but what they have told each other would
/// never end; that a region was heard of at all is told once.
async fn is_news(
    shared: &Shared,
    streams: &Streams,
    parts: &[(inbound::Portion, Block)],
    latest: &Seen,
) -> Result<bool, Failure> {
    let is_told = |at: StreamPartition| {
        streams.by_id(at.stream).is_ok_and(|def| seen::is_seen_stream(def.name.as_str()))
    };
    if parts.iter().any(|(portion, _)| !is_told(portion.at)) {
        return Ok(true);
    }
    shared.history.follow().await.map_err(|error| Failure::of_all(&error.into()))?;
    let last = shared.history.last();
    Ok(latest.iter().any(|(region, _)| last.of(region) == Hlc::ZERO))
}

/// Up to when everything of other regions is here, as the log says it: what was told last of that, and the last event in which each region has told
/// what it had seen, which came after everything that it had accepted before.
async fn stored(shared: &Shared) -> Result<Seen, Error> {
    // What was told before of what is here need not be here again while the region is restored.
    let mut stored = if shared.restore.is_on() { Seen::new() } else { shared.history.last() };
    let streams = shared.events.log().streams();
    for def in streams.iter().filter(|def| seen::is_seen_stream(def.name.as_str())) {
        for mark in shared.events.received(StreamPartition::new(def.id, PartitionId(0))).await? {
            stored.raise(mark.origin.region, mark.hlc);
        }
    }
    Ok(stored)
}

async fn known(shared: &Shared, at: StreamPartition) -> Result<Known, Error> {
    let marks = shared.events.received(at).await?;
    Ok(Known { at, marks: marks.into_iter().map(|mark| (mark.origin, mark.hlc)).collect() })
}
