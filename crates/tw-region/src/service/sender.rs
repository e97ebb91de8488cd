//! The sending end of one connection: the shell around [`crate::link::outbound`]. It finds this region's own blocks in the log, or those
//! of a region that it stands in for, and turns what the core decides into frames.

mod relay;

use super::streams::partitions;
use super::{Shared, own};
use crate::link::handshake::{Agreed, LocalStream};
use crate::link::outbound::{Action, Ends, Found, Input, Outbound};
use crate::link::wire::{Block as BlockFrame, Frame};
use crate::seen::History;
use relay::Relaying;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tw_log::Log;
use tw_merge::received::Mark;
use tw_types::{Epoch, Hlc, Offset, RegionId, Sequence, StreamPartition};
use tw_wire::Block;

/// About how much is sent before heed is paid to what comes.
const PIECE_BYTES: u64 = 1 << 20;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Log(#[from] tw_log::Error),
    #[error(transparent)]
    Store(#[from] tw_log::store::Error),
    #[error("block {token} of partition {at} is gone before it was sent")]
    Gone { at: StreamPartition, token: u64 },
    #[error("the links of this region have ended")]
    Ended,
}

/// Whose events are sent.
pub(crate) struct Source {
    region: RegionId,
    history: Arc<History>,
    /// Up to when the region is known to have accepted something, if what is here of it is given back.
    heard: Option<Hlc>,
    /// Nothing from this time on is given back: the other side has no place for all of it.
    below: Option<Hlc>,
    /// If it is relayed.
    relaying: Option<Relaying>,
}

impl Source {
    /// This region's own.
    pub(crate) fn own(shared: &Shared) -> Self {
        Self {
            region: shared.events.log().region(),
            history: shared.history.clone(),
            heard: None,
            below: None,
            relaying: None,
        }
    }

    /// Those of another region that are here, of which it is known that it accepted something up to `heard`; if not all, those before `below`.
    pub(crate) async fn of(
        shared: &Shared,
        region: RegionId,
        heard: Hlc,
        below: Option<Hlc>,
    ) -> Result<Self, Error> {
        let history = Arc::new(History::open(shared.events.log().clone(), region).await?);
        // A promise of nothing would be none.
        Ok(Self { region, history, heard: Some(heard.max(Hlc::from_u64(1))), below, relaying: None })
    }
}

/// See the module's text.
pub(crate) struct Sender {
    shared: Arc<Shared>,
    log: Arc<dyn Log>,
    source: Source,
    core: Outbound,
    streams: Vec<LocalStream>,
    /// Where each partition ended when it was looked at last.
    ends: BTreeMap<StreamPartition, Offset>,
    /// Where the block was that was found last: the next look goes on from there.
    spots: BTreeMap<StreamPartition, Spot>,
    /// Blocks that were found and not sent.
    blocks: BTreeMap<(StreamPartition, u64), Block>,
    to_do: VecDeque<Input>,
    frames: Vec<Frame>,
    bytes: u64,
    /// A promise has been asked for since before the last piece, and is to wait no longer for what is found.
    is_due: bool,
    is_refused: bool,
}

/// The place after an own event.
#[derive(Debug, Clone, Copy)]
struct Spot {
    epoch: Epoch,
    after: Sequence,
    next: Offset,
}

impl Sender {
    pub(crate) async fn start(
        shared: Arc<Shared>,
        streams: Vec<LocalStream>,
        agreed: &Agreed,
        mut source: Source,
    ) -> Result<Self, Error> {
        let log = shared.events.log().clone();
        let (mut all, mut ends) = (BTreeMap::new(), BTreeMap::new());
        if let Some(relaying) = &source.relaying {
            all = relaying.ends();
        }
        let looks = if source.relaying.is_none() { partitions(&streams) } else { Vec::new() };
        for at in looks {
            let end = log.bounds(at)?.end;
            if let Some(of) = ends_of(&shared, &mut source, at).await? {
                all.insert(at, of);
            }
            ends.insert(at, end);
        }
        let of_another = |all| Outbound::start(source.region, Epoch(1), &streams, agreed, all);
        let core = match (source.heard, &source.relaying) {
            (_, Some(_)) => of_another(all).relays(),
            (Some(_), None) => of_another(all).gives_back(source.below),
            (None, None) => Outbound::start(log.region(), log.epoch(), &streams, agreed, all),
        };
        Ok(Self {
            shared,
            log,
            source,
            core,
            streams,
            ends,
            spots: BTreeMap::new(),
            blocks: BTreeMap::new(),
            to_do: VecDeque::new(),
            frames: Vec::new(),
            bytes: 0,
            is_due: false,
            is_refused: false,
        })
    }

    /// Takes what the other side has sent; false if it is nothing that a receiver sends.
    pub(crate) fn take(&mut self, frame: Frame) -> bool {
        self.to_do.push_back(match frame {
            Frame::Pull(pull) => Input::Pull(pull),
            Frame::Credit(credit) => Input::Credit(credit.bytes),
            Frame::Have(have) => Input::Have(have),
            _ => return false,
        });
        true
    }

    /// Looks for what was accepted since, and promises that there is no more up to then.
    pub(crate) async fn beat(&mut self) -> Result<(), Error> {
        if self.source.relaying.is_some() {
            return self.beat_relayed().await;
        }
        // Before partitions are looked at: what is accepted up to here can be read.
        let until = match self.source.heard {
            None => self.log.settled(),
            Some(heard) => heard.max(self.shared.seen.borrow().of(self.source.region)),
        };
        for at in partitions(&self.streams) {
            let end = match self.log.bounds(at) {
                Ok(bounds) => bounds.end,
                // Dropped: the connection will begin anew.
                Err(tw_log::Error::NoStreamId(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            if self.ends.insert(at, end) != Some(end)
                && let Some(ends) = ends_of(&self.shared, &mut self.source, at).await?
            {
                self.to_do.push_back(Input::Grew { at, ends, block: None });
            }
        }
        let mut seen = self.shared.seen.borrow().clone();
        if self.source.heard.is_some() {
            // Whoever comes back is to have seen what it might have before.
            seen.raise(self.log.region(), self.log.settled());
        }
        self.to_do.push_back(Input::Beat { now_ms: self.shared.now_ms(), until, seen });
        Ok(())
    }

    /// Whether there is something to do before anything more comes.
    pub(crate) fn is_busy(&self) -> bool {
        !self.to_do.is_empty()
    }

    /// Whether another region is relayed.
    pub(crate) const fn is_relaying(&self) -> bool {
        self.source.relaying.is_some()
    }

    /// Whether the connection is to end with what was sent last.
    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// What the other side said last that it has, and its wall clock then.
    pub(crate) fn have(&self) -> Option<&crate::link::wire::Have> {
        self.core.have()
    }

    /// Does some of what there is to do: the frames to be sent.
    pub(crate) async fn work(&mut self) -> Result<Vec<Frame>, Error> {
        // Where it is limited, no more than goes between two heartbeats.
        let between = |limit: u64| limit.saturating_mul(self.shared.options.heartbeat_ms) / 1_000;
        let piece_bytes =
            self.shared.send_limit().map_or(PIECE_BYTES, |limit| between(limit).min(PIECE_BYTES));
        while self.bytes < piece_bytes
            && let Some(input) = self.to_do.pop_front()
        {
            // What was appended before a block that was read is told already.
            self.source.history.follow().await?;
            let mut actions = Vec::new();
            let core = &mut self.core;
            self.source.history.with(|history| core.step(input, history, &mut actions));
            for action in actions {
                self.act(action).await?;
            }
        }
        self.bytes = 0;
        self.is_due = self.to_do.iter().any(|input| matches!(input, Input::Beat { .. }));
        Ok(std::mem::take(&mut self.frames))
    }

    async fn act(&mut self, action: Action) -> Result<(), Error> {
        self.frames.push(match action {
            Action::Look { at, look, epoch, after } => {
                let (found, named_hlc) = self.find(at, epoch, after).await?;
                // Before a promise that was asked for meanwhile; after what else has grown, or this partition would be sent without what is earlier in
                // others, until a window is full that waits for just that.
                let grown = self.to_do.iter().take_while(|input| is_grown(input)).count();
                let place = if self.is_due { self.to_do.len() } else { grown };
                self.to_do.insert(place, Input::Found { at, look, found, named_hlc });
                return Ok(());
            }
            Action::Send { at, stream, found, next_hlc, seen } => {
                let token = found.token;
                let block = self.blocks.remove(&(at, token)).ok_or(Error::Gone { at, token })?;
                self.bytes += u64::from(block.header().length);
                let bytes = block.to_bytes();
                Frame::Block(BlockFrame { stream, partition: at.partition, next_hlc, seen, bytes })
            }
            Action::Passed(passed) => Frame::Passed(passed),
            Action::Heartbeat(heartbeat) => Frame::Heartbeat(heartbeat),
            Action::Refuse(refuse) => {
                self.is_refused = true;
                Frame::Refuse(refuse)
            }
        });
        Ok(())
    }

    /// The first own block with an event after this one, and the time of the event itself if it is still there.
    async fn find(
        &mut self,
        at: StreamPartition,
        epoch: Epoch,
        after: Sequence,
    ) -> Result<(Option<Found>, Option<Hlc>), Error> {
        let known = self.spots.get(&at).filter(|spot| (spot.epoch, spot.after) == (epoch, after));
        let (from, mut named) = match known {
            Some(spot) => (spot.next, None),
            None => {
                self.blocks.retain(|(partition, _), _| *partition != at);
                own::search(self.log.as_ref(), at, self.source.region, epoch, after).await?
            }
        };
        let is_after = |block: &Block| own::reaches(block) > (epoch, after);
        let found = own::next(self.log.as_ref(), at, self.source.region, from, is_after).await?;
        let is_told = |block: &Block| self.source.relaying.as_ref().is_none_or(|one| one.has(at, block));
        let Some(block) = found.filter(is_told) else { return Ok((None, named)) };
        let header = block.header();
        if header.epoch == epoch && header.base_sequence <= after && after > Sequence(0) {
            named = Some(header.first_hlc.plus(after.0 - header.base_sequence.0));
        }
        let last = Sequence(header.base_sequence.0 + u64::from(header.last_delta));
        self.spots.insert(at, Spot { epoch: header.epoch, after: last, next: header.end_offset() });
        let found = Found {
            token: header.base_offset.0,
            first: tw_types::Origin {
                region: header.region,
                epoch: header.epoch,
                sequence: header.base_sequence,
            },
            count: u64::from(header.last_delta) + 1,
            first_hlc: header.first_hlc,
            bytes: u64::from(header.length),
        };
        self.blocks.insert((at, found.token), block);
        Ok((Some(found), named))
    }
}

/// Whether it says that there is more to look for.
const fn is_grown(input: &Input) -> bool {
    matches!(input, Input::Grew { .. } | Input::Upstream { .. })
}

/// The epochs of the source in a partition. Of this region all that there were are told, because others may know of one in which nothing was
/// accepted there; of another one those in which something was, or None.
async fn ends_of(shared: &Shared, source: &mut Source, at: StreamPartition) -> Result<Option<Ends>, Error> {
    let marks = shared.events.received(at).await?;
    let marks = marks.into_iter().filter(|mark| mark.origin.region == source.region);
    let found: BTreeMap<Epoch, Mark> = marks
        .map(|mark| (mark.origin.epoch, Mark { sequence: mark.origin.sequence, hlc: mark.hlc }))
        .collect();
    let Some(heard) = &mut source.heard else {
        let epochs = (1..=shared.events.log().epoch().0).map(Epoch);
        return Ok(Some(
            epochs.map(|epoch| (epoch, found.get(&epoch).copied().unwrap_or_default())).collect(),
        ));
    };
    let last = found.values().map(|mark| mark.hlc).max();
    *heard = last.unwrap_or_default().max(*heard);
    Ok(Some(found.into_iter().collect::<Ends>()).filter(|ends| !ends.is_empty()))
}
