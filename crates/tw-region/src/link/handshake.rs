//! Two hellos: whether there will be a link, and which streams it carries.
//!
//! Both sides judge with the same function, each from where it stands; what is refused is told to the other side, and what is
//! only in the way of one stream is told to the operators of both. Who the other side is was proved before, by its certificate.

#[cfg(test)]
mod tests;

use super::wire::{Evicted, Hello, PROTOCOLS, Protocols, Refuse, Stream};
use std::collections::BTreeMap;
use tw_types::{Epoch, RegionId, StreamId};

/// The protocol from which on a region gives back what it has of another one.
const GIVING_BACK: u16 = 2;
/// What a region is told that was evicted.
pub(crate) const EVICTED: &str = "evicted";
/// The protocol from which on a region relays another one.
const RELAYING: u16 = 3;
/// The protocol from which on a region gives back what is in streams that both have, while others are lacking.
const GIVING_IN_PART: u16 = 4;

/// This side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// Its number.
    pub region: RegionId,
    /// Its name for people.
    pub name: String,
    /// Its installation, see [`Hello::installation`].
    pub installation: u128,
    /// Its incarnation.
    pub epoch: Epoch,
    /// What it replicates.
    pub streams: Vec<LocalStream>,
    /// Of each region that was ever evicted the last epoch that was.
    pub evicted: BTreeMap<RegionId, Epoch>,
    /// Those that are evicted now.
    pub out: Vec<Evicted>,
}

/// A stream that this side replicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalStream {
    /// Its number here; another region may have another one.
    pub id: StreamId,
    /// Its name, the same in every region.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// What kind of stream it is.
    pub kind: String,
    /// How it is replicated.
    pub mode: String,
    /// A hash of its schema; 0 without one.
    pub schema_hash: u64,
}

/// There will be a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// The highest protocol that both speak.
    pub protocol: u16,
    /// The other region.
    pub peer: RegionId,
    /// Its name for people.
    pub name: String,
    /// Its incarnation.
    pub epoch: Epoch,
    /// Whether the other side sends what it has of another region, in the place of that.
    pub stands_in: bool,
    /// What is replicated, by the index in the other side's [`Hello::streams`], which is what its frames name.
    pub streams: BTreeMap<u32, AgreedStream>,
    /// What is not as it should be, and does not stop the rest.
    pub notes: Vec<Note>,
}

/// A stream that both sides replicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreedStream {
    /// Its number here.
    pub id: StreamId,
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
}

/// Something that keeps one stream from being replicated, or that an operator should know. The text has the remedy in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// Only the other side has the stream.
    #[error(
        "stream `{stream}` of region `{peer}` is not replicated, because there is no such stream here: it is created with {partitions} partitions when its definition comes, or `tradewind status` says why it cannot be"
    )]
    MissingHere {
        /// The stream.
        stream: String,
        /// The other region.
        peer: RegionId,
        /// How many partitions it has there.
        partitions: u32,
    },
    /// Only this side has the stream.
    #[error(
        "stream `{stream}` is not replicated with region `{peer}`, because that has no such stream: it is created there when its definition comes"
    )]
    MissingThere {
        /// The stream.
        stream: String,
        /// The other region.
        peer: RegionId,
    },
    /// The two are not the same stream.
    #[error(
        "stream `{stream}` is not replicated with region `{peer}`: its {what} is `{here}` here and `{there}` there, and must be the same in both"
    )]
    Differs {
        /// The stream.
        stream: String,
        /// The other region.
        peer: RegionId,
        /// In what they differ: `number of partitions`, `kind`, `mode`, `schema`.
        what: &'static str,
        /// What it is here.
        here: String,
        /// What it is there.
        there: String,
    },
    /// The other side names a stream twice.
    #[error(
        "region `{peer}` names stream `{stream}` more than once; only the first counts: its list must name each stream once"
    )]
    Twice {
        /// The stream.
        stream: String,
        /// The other region.
        peer: RegionId,
    },
    /// The clocks are too far apart; what comes from the one that is ahead may be quarantined.
    #[error(
        "the clock of region `{peer}` is {apart_ms} ms away from the one here, more than {skew_ms_max} ms: synchronise the clocks of both"
    )]
    Clocks {
        /// The other region.
        peer: RegionId,
        /// How far.
        apart_ms: u64,
        /// The bound.
        skew_ms_max: u64,
    },
}

/// There will be no link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No protocol that both speak.
    #[error("one side speaks protocols {} to {}, the other one {} to {}", here.min, here.max, there.min, there.max)]
    Protocol {
        /// What this side speaks.
        here: Protocols,
        /// What the other one speaks.
        there: Protocols,
    },
    /// A region that has no number.
    #[error("a region with the number 0 is a single one and has no links")]
    Single,
    /// Two regions with the same number.
    #[error("both sides are region `{region}`")]
    SameRegion {
        /// The number.
        region: RegionId,
    },
    /// Another region than the one that was expected here.
    #[error("region `{told}` answers where region `{expected}` was expected")]
    OtherRegion {
        /// Which one the certificate or the configuration names.
        expected: RegionId,
        /// Which one it says that it is.
        told: RegionId,
    },
    /// One of the two is a copy of the other one.
    #[error("regions `{here}` and `{there}` are the same installation: one of them is a copy")]
    Copy {
        /// This region.
        here: RegionId,
        /// The other one.
        there: RegionId,
    },
    /// The other side is too old to give back what it has of a region.
    #[error("region `{there}` cannot give back what it has of others: it speaks no protocol above 1")]
    GivesNothingBack {
        /// The other one.
        there: RegionId,
    },
    /// The other side is too old to relay.
    #[error("region `{there}` cannot relay others: it speaks no protocol above 2")]
    CannotRelay {
        /// The other one.
        there: RegionId,
    },
    /// It was not told to.
    #[error("region `{here}` does not relay other regions")]
    NoRelay {
        /// This region.
        here: RegionId,
    },
    /// It has nothing to relay.
    #[error("region `{here}` takes nothing of region `{of}`, and cannot relay it")]
    NotTaken {
        /// This region.
        here: RegionId,
        /// The one that is wanted.
        of: RegionId,
    },
    /// Two regions that would have something from each other only.
    #[error(
        "region `{here}` has the events of region `{of}` from region `{there}`, which wants them from it"
    )]
    Circle {
        /// This region.
        here: RegionId,
        /// The one that is wanted.
        of: RegionId,
        /// Who wants it.
        there: RegionId,
    },
    /// What is asked for as another region's is this one's own.
    #[error("region `{here}` does not stand in for itself")]
    Itself {
        /// This region.
        here: RegionId,
    },
    /// This region has nothing to say yet.
    #[error(
        "region `{here}` is new, or comes back from an older copy, and has not everything yet that others have"
    )]
    Restoring {
        /// This region.
        here: RegionId,
    },
    /// The other side is not waited for any more.
    #[error("region `{there}` was evicted in epoch {epoch}, and nothing that it accepts in that is taken")]
    Evicted {
        /// The other one.
        there: RegionId,
        /// The last epoch that is meant.
        epoch: Epoch,
    },
    /// This side was evicted by others.
    #[error(
        "region `{here}` was evicted by the others in epoch {epoch}, and has no links until it is seeded"
    )]
    IsEvicted {
        /// This region.
        here: RegionId,
        /// The last epoch that is meant.
        epoch: Epoch,
    },
    /// Something that should be given back has no place there.
    #[error(
        "stream `{stream}` has events of region `{of}` here, and is not replicated with region `{there}`"
    )]
    MissingStream {
        /// The stream.
        stream: String,
        /// Whose events.
        of: RegionId,
        /// Who wants them.
        there: RegionId,
    },
}

impl Refusal {
    /// A word for it that is never renamed.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Protocol { .. } => "protocol",
            Self::Single => "single-region",
            Self::SameRegion { .. } => "same-region",
            Self::OtherRegion { .. } => "other-region",
            Self::Copy { .. } => "copy",
            Self::GivesNothingBack { .. } => "gives-nothing-back",
            Self::CannotRelay { .. } => "cannot-relay",
            Self::NoRelay { .. } => "no-relay",
            Self::NotTaken { .. } => "not-taken",
            Self::Circle { .. } => "circle",
            Self::Itself { .. } => "itself",
            Self::Restoring { .. } => "restoring",
            Self::Evicted { .. } => EVICTED,
            Self::IsEvicted { .. } => "is-evicted",
            Self::MissingStream { .. } => "stream-missing",
        }
    }

    /// What a person does about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Protocol { .. } => "update the older of the two",
            Self::Single => "give each region a number of its own before it is linked",
            Self::SameRegion { .. } => {
                "give one of them another number, which it must have before it writes, or correct the address"
            }
            Self::OtherRegion { .. } => {
                "correct the address, the number in the configuration, or the certificate"
            }
            Self::Copy { .. } => {
                "stop the copy, or give it a region and an installation of its own before it writes"
            }
            Self::GivesNothingBack { .. } => "update it, or go on without what only it has",
            Self::CannotRelay { .. } => "update it, or connect to the region itself",
            Self::NoRelay { .. } => {
                "set `relays = true` in [region] of its configuration, or give the peer an `address` in place of `via`"
            }
            Self::NotTaken { .. } => {
                "name that region among its `peers`, or give the peer an `address` in place of `via`"
            }
            Self::Circle { .. } => {
                "give one of the two an `address` of that region in place of `via`, or `via` of a third one"
            }
            Self::Itself { .. } => "connect without asking for another region's events",
            Self::Restoring { .. } => "wait until it has everything again: it shows for whom it waits",
            Self::Evicted { .. } | Self::IsEvicted { .. } => {
                "stop it, keep its data folder for what it has accepted that others have not, and begin a new log for it with `tradewind region seed` under a later epoch"
            }
            Self::MissingStream { .. } => {
                "create the stream in the region that is restored as it is in the others, or drop it here"
            }
        }
    }

    /// As the other side is told.
    pub fn to_frame(&self) -> Refuse {
        Refuse { code: self.code().to_owned(), text: self.to_string(), remedy: self.remedy().to_owned() }
    }
}

impl Agreed {
    /// The same connection as one on which the other side sends what it has of region `of`.
    ///
    /// # Errors
    /// [`Refusal::GivesNothingBack`].
    pub fn in_place_of(mut self, of: RegionId) -> Result<Self, Refusal> {
        if self.protocol < GIVING_BACK {
            return Err(Refusal::GivesNothingBack { there: self.peer });
        }
        (self.peer, self.epoch, self.stands_in) = (of, Epoch(1), true);
        Ok(self)
    }

    /// Whether both know that what is given back may be a part of what there is.
    pub const fn is_in_part(&self) -> bool {
        self.protocol >= GIVING_IN_PART
    }

    /// The same connection as one on which the other side relays region `of`, of which it knows this incarnation. What it says of streams is said of
    /// that region then: the list is of those that the two exchange.
    ///
    /// # Errors
    /// [`Refusal::CannotRelay`].
    pub fn relays(mut self, of: RegionId, epoch: Option<Epoch>) -> Result<Self, Refusal> {
        if self.protocol < RELAYING {
            return Err(Refusal::CannotRelay { there: self.peer });
        }
        // The relay's name and clock are told of its own link.
        self.name.clear();
        self.notes.retain(|note| !matches!(note, Note::Clocks { .. }));
        for note in &mut self.notes {
            if let Note::MissingHere { peer, .. } | Note::MissingThere { peer, .. } = note {
                *peer = of;
            }
        }
        (self.peer, self.epoch) = (of, epoch.unwrap_or(Epoch(1)));
        Ok(self)
    }
}

impl Local {
    /// What this side says first. `now_ms`: its wall clock, in milliseconds since the Unix epoch.
    pub fn hello(&self, now_ms: u64) -> Hello {
        let stream = |one: &LocalStream| Stream {
            name: one.name.clone(),
            partitions: one.partitions,
            kind: one.kind.clone(),
            mode: one.mode.clone(),
            schema_hash: one.schema_hash,
        };
        Hello {
            protocols: PROTOCOLS,
            region: self.region,
            name: self.name.clone(),
            installation: self.installation,
            epoch: self.epoch,
            now_ms,
            wanted: None,
            relays: false,
            wanted_epoch: None,
            restores: false,
            withheld: Vec::new(),
            evicted: self.out.clone(),
            streams: self.streams.iter().map(stream).collect(),
        }
    }

    /// Judges what the other side said. `expected` is the region that its certificate or the configuration names, `now_ms` the wall
    /// clock here, and clocks that differ by more than `skew_ms_max` are noted.
    ///
    /// # Errors
    /// The first reason against a link.
    pub fn agree(
        &self,
        theirs: &Hello,
        expected: RegionId,
        now_ms: u64,
        skew_ms_max: u64,
    ) -> Result<Agreed, Refusal> {
        let protocol = PROTOCOLS.max.min(theirs.protocols.max);
        if protocol < PROTOCOLS.min.max(theirs.protocols.min) {
            return Err(Refusal::Protocol { here: PROTOCOLS, there: theirs.protocols });
        }
        let (here, told) = (self.region, theirs.region);
        if here == RegionId(0) || told == RegionId(0) {
            return Err(Refusal::Single);
        }
        // Before the numbers: a copy has both in common, and its remedy is another one.
        if self.installation == theirs.installation {
            return Err(Refusal::Copy { here, there: told });
        }
        if told == here {
            return Err(Refusal::SameRegion { region: here });
        }
        if told != expected {
            return Err(Refusal::OtherRegion { expected, told });
        }
        let is_out = |region, in_epoch: Epoch| self.evicted.get(&region).filter(|last| in_epoch <= **last);
        if let Some(epoch) = is_out(told, theirs.epoch) {
            return Err(Refusal::Evicted { there: told, epoch: *epoch });
        }
        if let Some(epoch) = is_out(here, self.epoch) {
            return Err(Refusal::IsEvicted { here, epoch: *epoch });
        }
        let (streams, mut notes) = self.streams_with(theirs);
        let apart_ms = now_ms.abs_diff(theirs.now_ms);
        if apart_ms > skew_ms_max {
            notes.push(Note::Clocks { peer: told, apart_ms, skew_ms_max });
        }
        let (name, epoch) = (theirs.name.clone(), theirs.epoch);
        Ok(Agreed { protocol, peer: told, name, epoch, stands_in: false, streams, notes })
    }

    fn streams_with(&self, theirs: &Hello) -> (BTreeMap<u32, AgreedStream>, Vec<Note>) {
        let (peer, mut agreed, mut notes) = (theirs.region, BTreeMap::new(), Vec::new());
        let mine: BTreeMap<&str, &LocalStream> =
            self.streams.iter().map(|one| (one.name.as_str(), one)).collect();
        let mut told = BTreeMap::new();
        for (index, there) in (0u32..).zip(&theirs.streams) {
            let stream = there.name.clone();
            if told.insert(there.name.as_str(), ()).is_some() {
                notes.push(Note::Twice { stream, peer });
                continue;
            }
            let Some(here) = mine.get(there.name.as_str()) else {
                notes.push(Note::MissingHere { stream, peer, partitions: there.partitions });
                continue;
            };
            match here.differs_from(there) {
                Some((what, here, there)) => notes.push(Note::Differs { stream, peer, what, here, there }),
                None => {
                    let (id, partitions) = (here.id, here.partitions);
                    agreed.insert(index, AgreedStream { id, name: stream, partitions });
                }
            }
        }
        let missing = self.streams.iter().filter(|one| !told.contains_key(one.name.as_str()));
        notes.extend(missing.map(|one| Note::MissingThere { stream: one.name.clone(), peer }));
        (agreed, notes)
    }
}

impl LocalStream {
    /// The first thing in which the two differ, what it is here, and what it is there.
    fn differs_from(&self, there: &Stream) -> Option<(&'static str, String, String)> {
        let hash = |hash: u64| if hash == 0 { "none".to_owned() } else { format!("{hash:016x}") };
        let pairs = [
            ("number of partitions", self.partitions.to_string(), there.partitions.to_string()),
            ("kind", self.kind.clone(), there.kind.clone()),
            ("mode", self.mode.clone(), there.mode.clone()),
            ("schema", hash(self.schema_hash), hash(there.schema_hash)),
        ];
        pairs.into_iter().find(|(_, here, there)| here != there)
    }
}
