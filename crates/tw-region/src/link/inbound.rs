//! The receiving end of all links of a region: what to ask for, what to append now, and what to leave alone.
//!
//! Between the connections and the log. The shell tells what arrives ([`Input`]) and does what it is told ([`Action`]); it keeps
//! the bytes of blocks under numbers of its own, and this knows their headers only. What may be seen, and when, is decided by
//! [`tw_merge::delivery`]; what is new, by [`tw_merge::received`]; whose clock is believed, by [`tw_merge::skew`]. Nothing of this
//! is stored: after a start it is built from what the log has.
//!
//! What the shell has to do:
//!
//! - It tells every replicated partition with its marks at the start, and later ones with [`Inbound::add`] before the hellos that name
//!   them.
//! - It appends everything that one [`Action::Append`] names in one atomic step with an event of this region's `$seen` stream that holds
//!   [`Append::latest`], and answers with [`Input::Appended`] or [`Input::AppendFailed`]; there is one at a time. That event and the
//!   events that are accepted here have timestamps in the order in which they take effect in the log: what is accepted before the step has an earlier
//!   one, and what is accepted after it a later one. What an event had seen is looked up by its timestamp.
//! - The clock that it passes is the one that gives local events their timestamps; what is taken from a link has been observed by it.
//! - Every block that it told of is dropped once, when it is told to. A block that is appended in parts is dropped with the last one.
//! - It calls [`Inbound::step`] with [`Input::Tick`] when [`Inbound::wake_at_ms`] says so.

mod append;
mod flow;
mod options;
mod parked;
mod peer;
mod relay;
mod restore;
mod status;
#[cfg(test)]
mod tests;

pub use options::{Options, OptionsError};
pub use parked::Parked;
pub use relay::Relay;
pub use restore::Fetched;
pub use status::{PartitionStatus, PeerStatus, Status};

use super::handshake::Agreed;
use super::wire::{Heartbeat, Passed, Pulled};
use append::Batch;
use peer::{Peer, Slot};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use tw_merge::delivery::{self, Delivery};
use tw_merge::received::{self, Received};
use tw_merge::skew::Skew;
use tw_merge::{Seen, Span};
use tw_types::{Epoch, Hlc, HlcClock, Origin, RegionId, Sequence, StreamId, StreamPartition};

/// The number under which the shell keeps a block's bytes. It is used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockId(pub u64);

/// A replicated partition as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The partition.
    pub at: StreamPartition,
    /// Of each region and epoch that has an event in it the last one, with its timestamp.
    pub marks: Vec<(Origin, Hlc)>,
}

/// What the header of a block and the frame around it say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The number under which the shell keeps it.
    pub block: BlockId,
    /// The stream, as the index in the sender's hello.
    pub stream: u32,
    /// The partition.
    pub partition: tw_types::PartitionId,
    /// Where its first sequence was accepted.
    pub first: Origin,
    /// How many sequences it covers: last offset − base offset + 1.
    pub count: u64,
    /// The timestamp of its first sequence.
    pub first_hlc: Hlc,
    /// How many bytes it takes from the window: those of the block as stored.
    pub bytes: u64,
    /// See [`super::wire::Block::next_hlc`].
    pub next_hlc: Hlc,
    /// See [`super::wire::Block::seen`].
    pub seen: Option<Seen>,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// There is a connection to a region, and both have agreed.
    Connected(Agreed),
    /// It is gone. What was not appended of it is dropped.
    Disconnected {
        /// The region.
        peer: RegionId,
    },
    /// A block has arrived.
    Block {
        /// Who sent it.
        peer: RegionId,
        /// What it is.
        offer: Offer,
    },
    /// That frame has arrived.
    Passed {
        /// Who sent it.
        peer: RegionId,
        /// What it says.
        passed: Passed,
    },
    /// That frame has arrived.
    Heartbeat {
        /// Who sent it.
        peer: RegionId,
        /// What it says.
        heartbeat: Heartbeat,
    },
    /// All of the batch is in the log.
    Appended {
        /// [`Append::batch`].
        batch: u64,
    },
    /// Nothing of the batch is in the log. It is asked for again after [`Options::retry_ms`], as it is then.
    AppendFailed {
        /// [`Append::batch`].
        batch: u64,
        /// The portion that the log refuses for good, with its reason: that partition of that region is parked.
        refused: Option<(RegionId, StreamPartition, String)>,
    },
    /// A stream is no longer replicated, or no longer there.
    StreamDropped {
        /// Its number here.
        stream: StreamId,
    },
    /// An operator wants a parked partition to be tried again.
    Retry {
        /// The region.
        peer: RegionId,
        /// The partition.
        at: StreamPartition,
    },
    /// An operator has put a region's clock right: its quarantine ends before its time.
    Release {
        /// The region.
        peer: RegionId,
    },
    /// Another region comes back from an older copy of its log, and asks for what it lost.
    Yield {
        /// The region.
        peer: RegionId,
        /// The epoch in which it comes back.
        epoch: Epoch,
    },
    /// This region has everything of its own again, see [`Inbound::begin_restore`].
    Restored,
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a pull with these entries: no more than a frame may have.
    Pull {
        /// To whom.
        peer: RegionId,
        /// Its entries.
        entries: Vec<Pulled>,
    },
    /// Send a credit.
    Credit {
        /// To whom.
        peer: RegionId,
        /// So many bytes more.
        bytes: u64,
    },
    /// Append, and answer.
    Append(Append),
    /// The block's bytes are needed no more.
    Drop {
        /// The block.
        block: BlockId,
    },
    /// Nothing more is taken of a partition until an operator retries it or the region connects anew. What its region accepted later
    /// in other partitions waits, too.
    Park {
        /// The region.
        peer: RegionId,
        /// The partition.
        at: StreamPartition,
        /// Why.
        parked: Parked,
    },
    /// A parked partition is tried again.
    Unpark {
        /// The region.
        peer: RegionId,
        /// The partition.
        at: StreamPartition,
    },
    /// Close the connection: the other side does not keep to the protocol. The core has done with it.
    Close {
        /// To whom.
        peer: RegionId,
        /// What it did.
        reason: String,
    },
    /// Nothing is taken of a region until then, because its clock is ahead.
    Quarantined {
        /// The region.
        region: RegionId,
        /// The timestamp that was too far ahead.
        hlc: Hlc,
        /// When it is looked at again, by the local clock, in milliseconds.
        retry_at_ms: u64,
    },
    /// A region is taken of again.
    Released {
        /// The region.
        region: RegionId,
    },
    /// Something came that its region had said could not come any more. It is taken, since it is missing here, but what depends
    /// on it may have been visible before it. It is to be expected only after the region began to replicate a stream.
    Late {
        /// The region.
        region: RegionId,
        /// The partition.
        at: StreamPartition,
        /// Its timestamp.
        hlc: Hlc,
        /// Up to when everything was said to be here.
        seen: Hlc,
    },
}

/// Blocks, or parts of them, to be appended in one atomic step, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// Its number, for the answer.
    pub batch: u64,
    /// What to append; at least one.
    pub portions: Vec<Portion>,
    /// Of each other region the last event that is in the log after this step: to be stored with it.
    pub latest: Seen,
}

/// A block or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    /// The partition, as it is numbered here.
    pub at: StreamPartition,
    /// The events, by region, epoch, sequence and timestamp.
    pub span: Span,
    /// The block in which they are.
    pub block: BlockId,
    /// How many sequences of the block come before these. Of a sparse block those records are left out whose sequence is among them.
    pub skip: u64,
    /// Whether these are the last ones of the block. If not, the sequences after `skip` + [`Span::count`] are left out.
    pub is_rest: bool,
}

/// Why this cannot be built from what the log has.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option outside its bounds.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// Marks that contradict each other.
    #[error("the marks of partition `{at}` cannot be: rebuild the index of the event store")]
    Marks {
        /// The partition.
        at: StreamPartition,
        /// What is wrong with them.
        source: received::Error,
    },
    /// More than the gate takes.
    #[error(transparent)]
    Gate(#[from] delivery::Error),
}

/// The receiving end. Deterministic, and not stored.
#[derive(Debug)]
pub struct Inbound {
    me: RegionId,
    options: Options,
    delivery: Delivery,
    skew: Skew,
    quarantined: BTreeMap<RegionId, u64>,
    received: BTreeMap<StreamPartition, Received>,
    peers: BTreeMap<RegionId, Peer>,
    batch: Option<Batch>,
    batches: u64,
    /// The region after which the next batch begins.
    turn: RegionId,
    /// No append before this time.
    append_at_ms: u64,
    /// This region fetches back what it lost, and goes on in this epoch then.
    restoring: Option<Epoch>,
    /// Which regions were told what is here of them, in which epoch they came back.
    yielded: BTreeMap<RegionId, Epoch>,
    #[cfg(test)]
    broken: tests::Broken,
}

/// What a step reads and writes beside the state.
struct Context<'a> {
    clock: &'a mut HlcClock,
    now_ms: u64,
    actions: &'a mut Vec<Action>,
}

impl Inbound {
    /// The receiving end of region `me`, which has links with `peers`, and replicates `partitions`. `stored` is what the last event of
    /// the log says about that.
    ///
    /// # Errors
    /// Any of [`Error`].
    pub fn start(
        me: RegionId,
        options: Options,
        peers: &[RegionId],
        partitions: Vec<Known>,
        stored: &Seen,
    ) -> Result<Self, Error> {
        let skew = Skew::new(&options.skew).map_err(OptionsError::from)?;
        options.check()?;
        let mut received = BTreeMap::new();
        for known in partitions {
            received.insert(known.at, rebuild(&known)?);
        }
        let peers: BTreeMap<RegionId, Peer> =
            peers.iter().filter(|peer| **peer != me).map(|peer| (*peer, Peer::default())).collect();
        let slots = peers.keys().flat_map(|peer| {
            received.iter().map(|(at, one): (_, &Received)| (*peer, *at, one.last_hlc(*peer)))
        });
        let mut delivery = Delivery::start(me, slots)?;
        delivery.resume(stored)?;
        Ok(Self {
            me,
            options,
            delivery,
            skew,
            quarantined: BTreeMap::new(),
            received,
            peers,
            batch: None,
            batches: 0,
            turn: RegionId(0),
            append_at_ms: 0,
            restoring: None,
            yielded: BTreeMap::new(),
            #[cfg(test)]
            broken: tests::Broken::default(),
        })
    }

    /// A partition is replicated from now on, or again. What other regions have in it is asked for when they connect the next time.
    ///
    /// # Errors
    /// [`Error::Marks`].
    pub fn add(&mut self, known: &Known) -> Result<(), Error> {
        if let Entry::Vacant(vacant) = self.received.entry(known.at) {
            vacant.insert(rebuild(known)?);
        }
        Ok(())
    }

    /// Takes one input and says what to do about it, in this order. `now_ms`: the wall clock, in milliseconds since the Unix epoch.
    pub fn step(&mut self, input: Input, clock: &mut HlcClock, now_ms: u64, actions: &mut Vec<Action>) {
        let mut cx = Context { clock, now_ms, actions };
        match input {
            Input::Connected(agreed) => self.connect(agreed, &mut cx),
            Input::Disconnected { peer } => self.disconnect(peer, &mut cx),
            Input::Block { peer, offer } => self.block(peer, offer, &mut cx),
            Input::Passed { peer, passed } => self.passed(peer, &passed, &mut cx),
            Input::Heartbeat { peer, heartbeat } => self.heartbeat(peer, heartbeat, &mut cx),
            Input::Appended { batch } => self.appended(batch, &mut cx),
            Input::AppendFailed { batch, refused } => self.append_failed(batch, refused, &mut cx),
            Input::StreamDropped { stream } => self.drop_stream(stream, &mut cx),
            Input::Retry { peer, at } => self.retry(peer, at, &mut cx),
            Input::Release { peer } => {
                self.skew.release(peer);
                self.look_again(peer, &mut cx);
            }
            Input::Yield { peer, epoch } => self.yield_to(peer, epoch, &mut cx),
            Input::Restored => self.end_restore(&mut cx),
            Input::Tick => {}
        }
        self.wake(&mut cx);
        self.append(&mut cx);
        self.grant(&mut cx);
        self.tell_quarantines(&mut cx);
    }

    /// When to call [`Inbound::step`] with [`Input::Tick`] if nothing else happens, by the local clock, in milliseconds.
    pub fn wake_at_ms(&self, now_ms: u64) -> Option<u64> {
        let clocks = self.peers.values().filter_map(|peer| peer.retry_at_ms);
        let append = Some(self.append_at_ms).filter(|at| self.batch.is_none() && *at > now_ms);
        clocks.chain(append).min()
    }

    /// Of each other region the last event that is in the log: for [`super::wire::Have`].
    pub fn latest(&self) -> Seen {
        self.delivery.latest()
    }

    /// Of each other region, up to when everything is in the log: for [`Heartbeat::seen`].
    pub fn seen(&self) -> Seen {
        let mut seen = self.delivery.seen();
        seen.forget(self.me);
        seen
    }

    /// The partitions from which every peer may be pulled.
    pub fn partitions(&self) -> impl Iterator<Item = StreamPartition> + '_ {
        self.received.keys().copied()
    }

    /// Whose clock is not believed any more, and whose is again.
    fn tell_quarantines(&mut self, cx: &mut Context<'_>) {
        let now: BTreeMap<RegionId, u64> =
            self.skew.quarantined().map(|(region, one)| (region, one.retry_at_ms)).collect();
        for region in self.quarantined.keys().filter(|region| !now.contains_key(region)) {
            cx.actions.push(Action::Released { region: *region });
        }
        for (region, one) in self.skew.quarantined() {
            if self.quarantined.get(&region) != Some(&one.retry_at_ms) {
                let (hlc, retry_at_ms) = (one.hlc, one.retry_at_ms);
                cx.actions.push(Action::Quarantined { region, hlc, retry_at_ms });
            }
        }
        self.quarantined = now;
    }

    fn slot(&mut self, peer: RegionId, at: StreamPartition) -> Option<&mut Slot> {
        self.peers.get_mut(&peer)?.slots.get_mut(&at)
    }
}

fn rebuild(known: &Known) -> Result<Received, Error> {
    let mut received = Received::new();
    for (last, hlc) in known.marks.iter().filter(|(last, _)| last.sequence > Sequence(0)) {
        received.seed(*last, *hlc).map_err(|source| Error::Marks { at: known.at, source })?;
    }
    Ok(received)
}
