//! Evictions, running: the shell around [`crate::eviction`].
//!
//! One task follows `$evictions`. When a region is evicted it takes nothing more of it, says what is here of it, and fetches what another one has and
//! this one has not. A region that hears that it was evicted itself accepts nothing more for streams that others have.

mod evict;

pub use evict::{Evicted, Eviction, EvictionError};

use super::dial;
use super::receiver::Event;
use super::streams::{partitions, replicated};
use super::{Error, Shared};
use crate::eviction::{self, EVICTIONS_STREAM, Out, Saying};
use crate::link::wire;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tw_env::Env;
use tw_log::store::{EventStore, Filter, Mark};
use tw_types::{Epoch, Hlc, Offset, PartitionId, RegionId, StreamPartition};

/// How much is read at a time.
const READ_EVENTS: usize = 1_000;
const READ_BYTES: usize = 1 << 20;
/// How long to wait before what failed is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// How often it is looked at whether what was asked for is here.
const LOOK: Duration = Duration::from_millis(50);
/// How long one region is asked for what it has before another one may be.
const FETCH_MAX: Duration = Duration::from_secs(30);

/// What was told of evictions, as far as it was read.
pub(crate) struct Evictions {
    told: Mutex<Told>,
    /// What regions have said with their hellos: what they say in their logs may wait for what is missing here of the evicted one.
    heard: Mutex<BTreeMap<(RegionId, Epoch), BTreeMap<RegionId, Hlc>>>,
    /// Since when this process hears anybody, in milliseconds since the Unix epoch.
    began_ms: u64,
    me: RegionId,
    members: Vec<RegionId>,
}

#[derive(Default)]
struct Told {
    next: Offset,
    known: eviction::Evictions,
}

impl Evictions {
    /// Of a log that has the stream; `peers` are the others.
    pub(crate) async fn open(
        events: &EventStore,
        env: &Env,
        peers: impl Iterator<Item = RegionId>,
    ) -> Result<Self, Error> {
        let me = events.log().region();
        let members = std::iter::once(me).chain(peers).collect();
        let evictions = Self {
            told: Mutex::default(),
            heard: Mutex::default(),
            began_ms: env.clock.now_ms(),
            me,
            members,
        };
        evictions.follow(events).await?;
        Ok(evictions)
    }

    /// Learns what was said since; whether there was something.
    pub(crate) async fn follow(&self, events: &EventStore) -> Result<bool, Error> {
        let log = events.log();
        let at = StreamPartition::new(log.streams().get(EVICTIONS_STREAM)?.id, PartitionId(0));
        let mut has_news = false;
        loop {
            let next = self.told.lock().next;
            if next >= log.bounds(at)?.end {
                return Ok(has_news);
            }
            let page = events.read(at, next, &Filter::default(), READ_EVENTS, READ_BYTES).await?;
            let mut told = self.told.lock();
            // Somebody else may have learned it meanwhile.
            let learned = told.next;
            for stored in page.events.iter().filter(|stored| stored.position.offset >= learned) {
                match Saying::read(&stored.event.as_ref()) {
                    Some(saying) => told.known.learn(stored.origin.region, stored.hlc, saying),
                    None => {
                        tracing::warn!(position = %stored.position, "an event of `$evictions` is not understood: passed over");
                    }
                }
            }
            told.next = page.next.max(told.next);
            has_news = true;
        }
    }

    /// Of each region that was ever evicted the last epoch that was.
    pub(crate) fn evicted(&self) -> BTreeMap<RegionId, Epoch> {
        self.told.lock().known.evicted()
    }

    /// The regions that are evicted now.
    pub(crate) fn out(&self) -> BTreeMap<RegionId, Out> {
        self.told.lock().known.out(None)
    }

    /// What is said of them with a hello.
    pub(crate) fn to_tell(&self) -> Vec<wire::Evicted> {
        let one = |(region, out): (RegionId, Out)| wire::Evicted {
            region,
            epoch: out.epoch,
            has: out.closed.get(&self.me).copied(),
        };
        self.out().into_iter().map(one).collect()
    }

    /// Takes note of what a region says with its hello.
    pub(crate) fn hear(&self, peer: RegionId, evicted: &[wire::Evicted]) {
        let mut heard = self.heard.lock();
        for one in evicted {
            let by = heard.entry((one.region, one.epoch)).or_default();
            let has = by.entry(peer).or_default();
            *has = one.has.unwrap_or_default().max(*has);
        }
    }

    /// Who has said to have something of an evicted region, and up to when, be it with a hello or in the log.
    fn has(&self, region: RegionId, out: &Out) -> BTreeMap<RegionId, Hlc> {
        let mut has = out.closed.clone();
        for (peer, hlc) in self.heard.lock().get(&(region, out.epoch)).into_iter().flatten() {
            let known = has.entry(*peer).or_default();
            *known = (*hlc).max(*known);
        }
        has
    }

    /// What others say in their hellos that this region does not know from its log.
    fn unknown(&self) -> Vec<(RegionId, RegionId, Epoch)> {
        let evicted = self.evicted();
        let heard = self.heard.lock();
        let unknown =
            heard.iter().filter(|((region, epoch), _)| evicted.get(region).is_none_or(|known| known < epoch));
        unknown.filter_map(|((region, epoch), by)| Some((*by.keys().next()?, *region, *epoch))).collect()
    }

    /// The members of which something is waited for.
    fn left(&self, out: &BTreeMap<RegionId, Out>) -> BTreeSet<RegionId> {
        self.members.iter().copied().filter(|member| !out.contains_key(member)).collect()
    }

    /// The last event of a region in an epoch in which it was evicted that any other one had when it said so.
    pub(crate) fn had(&self, region: RegionId, epoch: Epoch) -> Hlc {
        self.told.lock().known.had(region, epoch)
    }

    /// Whether this region itself was evicted in its epoch.
    pub(crate) fn is_out(&self, epoch: Epoch) -> Option<Out> {
        let out = self.out().remove(&self.me);
        out.filter(|out| epoch <= out.epoch)
    }
}

impl Shared {
    /// Notes in the log that another region says that this one was evicted: after a start it is known before anybody is reached.
    pub(crate) async fn told_to_be_evicted(&self, by: RegionId) -> Result<(), Error> {
        let (region, epoch) = (self.options.id, self.events.log().epoch());
        if self.evictions.is_out(epoch).is_some() {
            return Ok(());
        }
        tracing::error!(%by, %epoch, "another region says that this one was evicted: it accepts nothing more for streams that others have");
        say(self, Saying::Evicted { region, epoch }).await
    }
}

/// Appends to `$evictions`, and learns it.
async fn say(shared: &Shared, saying: Saying) -> Result<(), Error> {
    let events = &shared.events;
    let id = format!("{:016x}{:016x}", shared.env.random.next_u64(), shared.env.random.next_u64());
    let streams = events.log().streams();
    let mut write = events.write();
    write.push(streams.get(EVICTIONS_STREAM)?, &saying.event(id).as_ref())?;
    // An evicted region holds what it is asked to accept; what it was told it notes all the same.
    write.while_held();
    events.append(write).await?;
    Ok(())
}

/// The last event of a region up to an epoch that is in the log.
async fn last_of(shared: &Shared, region: RegionId, epoch: Epoch) -> Result<Hlc, Error> {
    let marks = marks_of(shared, region).await?.into_iter();
    let within = marks.filter(|mark| mark.origin.epoch <= epoch);
    Ok(within.map(|mark| mark.hlc).max().unwrap_or(Hlc::ZERO))
}

/// The last epoch of a region in which it was met, or of which something is in the log.
async fn last_epoch(shared: &Shared, region: RegionId) -> Result<Epoch, Error> {
    let met = shared.exchanged.borrow().get(&region).map(|(epoch, _)| *epoch);
    let known = marks_of(shared, region).await?.into_iter().map(|mark| mark.origin.epoch);
    Ok(known.chain(met).max().unwrap_or_default())
}

/// What there is of a region in each partition that others have, and each of its epochs.
async fn marks_of(shared: &Shared, region: RegionId) -> Result<Vec<Mark>, Error> {
    let mut found = Vec::new();
    for at in partitions(&replicated(shared)) {
        let marks = shared.events.received(at).await?.into_iter();
        found.extend(marks.filter(|mark| mark.origin.region == region));
    }
    Ok(found)
}

/// Waits for a region from now on that was evicted and comes back in this epoch, before it is told anything.
pub(crate) async fn readmit(shared: &Shared, region: RegionId, epoch: Epoch) -> Result<(), Error> {
    shared.evictions.follow(&shared.events).await?;
    let is_out = shared.evictions.out().get(&region).is_some_and(|out| out.epoch < epoch);
    if is_out {
        tracing::warn!(%region, %epoch, "a region that was evicted comes back: it is waited for again");
        say(shared, Saying::Readmitted { region, epoch }).await?;
        shared.evictions.follow(&shared.events).await?;
    }
    Ok(())
}

/// What hellos said of evictions when connections began last: which region was ever evicted in which epoch, and what is said of those that are.
type Known = (BTreeMap<RegionId, Epoch>, Vec<wire::Evicted>);

/// Follows what is said, as long as the links run.
pub(crate) async fn run(shared: Arc<Shared>, queue: mpsc::Sender<Event>) {
    let commits = shared.events.log().commits();
    let (mut known, mut told) = (Known::default(), None);
    loop {
        let seen = commits.get();
        match work(&shared, &queue, &mut known).await {
            Ok(()) => {
                if shared.options.evicts_silent {
                    evict::automatically(&shared, &queue, &mut told).await;
                }
                let _either_way = tokio::time::timeout(shared.options.heartbeat(), commits.over(seen)).await;
            }
            Err(error) => {
                tracing::error!(error = %tw_types::chain(&error), "evictions are not followed: trying again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Does what was said; `known` is what it was when it was looked at last.
async fn work(shared: &Arc<Shared>, queue: &mpsc::Sender<Event>, known: &mut Known) -> Result<(), Error> {
    let evictions = &shared.evictions;
    evictions.follow(&shared.events).await?;
    let now = (evictions.evicted(), evictions.to_tell());
    if now != *known {
        *known = now;
        // Whoever is connected says hello once more, and is refused if it is out.
        shared.generation.send_modify(|generation| *generation += 1);
    }
    if evictions.is_out(shared.events.log().epoch()).is_some() {
        shared.events.hold(true);
        return Ok(());
    }
    if shared.restore.is_on() {
        return Ok(());
    }
    let me = evictions.me;
    for (by, region, epoch) in evictions.unknown() {
        if region != me {
            tracing::warn!(%by, %region, %epoch, "another region says that a region was evicted");
            say(shared, Saying::Evicted { region, epoch }).await?;
        } else if shared.events.log().epoch() <= epoch {
            return shared.told_to_be_evicted(by).await;
        }
    }
    evictions.follow(&shared.events).await?;
    for (region, out) in evictions.out().iter().filter(|(region, _)| **region != me) {
        let back = last_epoch(shared, *region).await?;
        if back > out.epoch {
            // This region has given it what it asked for, or taken something of it, before it heard of the eviction.
            readmit(shared, *region, back).await?;
            continue;
        }
        let Some(said) = out.closed.get(&me) else {
            close(shared, queue, *region, out).await?;
            continue;
        };
        let has = evictions.has(*region, out);
        let end = has.values().copied().max().unwrap_or_default();
        let last = last_of(shared, *region, out.epoch).await?;
        if last < end {
            fetch(shared, queue, *region, out, &has, end).await?;
        } else if *said < end {
            // What a region has told of others is not told on by itself, and may be all that was fetched.
            say(shared, Saying::Closed { region: *region, epoch: out.epoch, has: last }).await?;
        }
    }
    Ok(())
}

/// Takes nothing more of a region, and says what is here of it.
async fn close(
    shared: &Shared,
    queue: &mpsc::Sender<Event>,
    region: RegionId,
    out: &Out,
) -> Result<(), Error> {
    let (reply, heard) = oneshot::channel();
    let epoch = Some(Epoch(out.epoch.0.saturating_add(1)));
    queue.send(Event::GiveBack { of: region, epoch, reply }).await.map_err(|_| Error::Ended)?;
    heard.await.map_err(|_| Error::Ended)?;
    let has = last_of(shared, region, out.epoch).await?;
    tracing::warn!(%region, epoch = %out.epoch, by = %out.by, %has, "a region was evicted: nothing more is taken of it, and it is not waited for");
    say(shared, Saying::Closed { region, epoch: out.epoch, has }).await
}

/// Fetches from another region what that has of one that is evicted and this one has not, so that what depends on it can come.
async fn fetch(
    shared: &Arc<Shared>,
    queue: &mpsc::Sender<Event>,
    region: RegionId,
    out: &Out,
    has: &BTreeMap<RegionId, Hlc>,
    end: Hlc,
) -> Result<(), Error> {
    let has_all = |peer: &&super::PeerOptions| has.get(&peer.id).is_some_and(|has| *has >= end);
    // One that is relayed is not connected to; its relay has what it has, in the end.
    let Some(peer) = shared.options.direct().find(has_all) else { return Ok(()) };
    let connection = dial::next_connection();
    let arrived = async {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            match last_of(shared, region, out.epoch).await {
                Ok(last) if last < end => {}
                outcome => return outcome.map(drop),
            }
        }
    };
    let outcome = tokio::select! {
        arrived = arrived => arrived,
        error = dial::give_back(shared, peer, region, queue, connection) => {
            tracing::info!(from = %peer.id, %region, reason = %tw_types::chain(&error), "what another region has of an evicted one was not fetched: trying again");
            tokio::time::sleep(AGAIN).await;
            Ok(())
        }
        () = tokio::time::sleep(FETCH_MAX) => Ok(()),
    };
    queue.send(Event::Disconnected { peer: region, connection }).await.map_err(|_| Error::Ended)?;
    outcome
}
