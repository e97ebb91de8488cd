//! Who takes the writes of a stream with a home: the stream `$homes`.
//!
//! A stream of the mode `home-region` is written in one region at a time. Which one that is says the last claim: either the
//! home itself has given the stream away (`moved`), or another region has taken it because the home was not there (`taken`).
//! Claims are events; they come to every region in the order of causes, so whoever sees a claim has seen what its author had
//! seen. Nothing here reads or appends.
//!
//! ```json
//! {"type": "tradewind.home.moved", "data": {"v": 1, "stream": "orders", "term": 3, "home": 2, "from": 1, "has": [[0, 1, 1, 57]]}}
//! ```
//!
//! `has` names partition, region, epoch and sequence of the last event of each region that its author had of the stream. `opened`
//! says that the home of a term begins to take writes, which it says before it does.

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tw_types::{Data, Epoch, Event, EventRef, Hlc, Origin, PartitionId, RegionId, Sequence};

/// The name of the stream of claims. It has one partition, and is in every region.
pub const HOMES_STREAM: &str = "$homes";
const MOVED: &str = "tradewind.home.moved";
const TAKEN: &str = "tradewind.home.taken";
const OPENED: &str = "tradewind.home.opened";

/// The last event of each region and epoch that is somewhere, by partition of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks(BTreeMap<(PartitionId, RegionId, Epoch), Sequence>);

impl Marks {
    /// Takes note of an event; the later one of two counts.
    pub fn note(&mut self, partition: PartitionId, origin: Origin) {
        let last = self.0.entry((partition, origin.region, origin.epoch)).or_default();
        *last = origin.sequence.max(*last);
    }

    /// The last sequence; 0 for none.
    pub fn last(&self, partition: PartitionId, region: RegionId, epoch: Epoch) -> Sequence {
        self.0.get(&(partition, region, epoch)).copied().unwrap_or_default()
    }

    /// The last epoch up to `current` of which there is something, with its last sequence; the beginning of the first one if there is nothing.
    pub fn latest(&self, partition: PartitionId, region: RegionId, current: Epoch) -> (Epoch, Sequence) {
        let of = (partition, region, Epoch(0))..=(partition, region, current);
        let last = self.0.range(of).next_back();
        last.map_or((Epoch(1), Sequence(0)), |((.., epoch), sequence)| (*epoch, *sequence))
    }

    /// Whether everything that `other` has is here.
    pub fn cover(&self, other: &Self) -> bool {
        other.0.iter().all(|(key, sequence)| self.0.get(key).is_some_and(|last| last >= sequence))
    }

    fn rows(&self) -> Vec<[u64; 4]> {
        let row = |(key, sequence): (&(PartitionId, RegionId, Epoch), &Sequence)| {
            [key.0.0.into(), key.1.0.into(), key.2.0.into(), sequence.0]
        };
        self.0.iter().map(row).collect()
    }

    fn of_rows(rows: &[[u64; 4]]) -> Option<Self> {
        let mut marks = Self::default();
        for [partition, region, epoch, sequence] in rows {
            let origin = Origin {
                region: RegionId(u16::try_from(*region).ok()?),
                epoch: Epoch(u32::try_from(*epoch).ok()?),
                sequence: Sequence(*sequence),
            };
            marks.note(PartitionId(u32::try_from(*partition).ok()?), origin);
        }
        Some(marks)
    }
}

/// That a region is the home of a stream from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The name of the stream.
    pub stream: String,
    /// Counts homes, from 1; that of the definition is 0. A later term wins.
    pub term: u64,
    /// Where it is written.
    pub home: RegionId,
    /// Where it was written before.
    pub from: RegionId,
    /// What the author had of the stream when it wrote this. The home has that much before it takes writes.
    pub has: Marks,
    /// Whether the region before has agreed.
    pub is_planned: bool,
}

/// What an event of `$homes` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saying {
    /// There is a new home.
    Claim(Claim),
    /// The home of this term of this stream begins to take writes.
    Opened {
        /// The name of the stream.
        stream: String,
        /// The term.
        term: u64,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Body {
    v: u32,
    stream: String,
    term: u64,
    home: u16,
    #[serde(default)]
    from: u16,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    has: Vec<[u64; 4]>,
}

impl Saying {
    /// The stream that it is about.
    pub fn stream(&self) -> &str {
        match self {
            Self::Claim(claim) => &claim.stream,
            Self::Opened { stream, .. } => stream,
        }
    }

    /// The event that says it. `me` is who says it; `id` is unique among the events of `$homes`.
    pub fn event(&self, me: RegionId, id: String) -> Event {
        let (ty, body) = match self {
            Self::Claim(claim) => (
                if claim.is_planned { MOVED } else { TAKEN },
                Body {
                    v: 1,
                    stream: claim.stream.clone(),
                    term: claim.term,
                    home: claim.home.0,
                    from: claim.from.0,
                    has: claim.has.rows(),
                },
            ),
            Self::Opened { stream, term } => (
                OPENED,
                Body { v: 1, stream: stream.clone(), term: *term, home: me.0, from: 0, has: Vec::new() },
            ),
        };
        Event {
            id,
            source: "tradewind:region".into(),
            ty: ty.into(),
            subject: Some(body.stream.clone()),
            // Numbers and texts always have a JSON form.
            data: Data::Json(serde_json::to_vec(&body).unwrap_or_default()),
            ..Event::default()
        }
    }

    /// Reads an event of `$homes`; None if it says nothing that is known here. Who wrote it is `author`, so that no region opens
    /// in the name of another.
    pub fn read(event: &EventRef<'_>, author: RegionId) -> Option<Self> {
        let body: Body = serde_json::from_slice(event.data.bytes()).ok()?;
        if body.v != 1 || body.home == 0 {
            return None;
        }
        let home = RegionId(body.home);
        let is_planned = event.ty == MOVED;
        match event.ty {
            MOVED | TAKEN if is_planned || home == author => Some(Self::Claim(Claim {
                stream: body.stream,
                term: body.term,
                home,
                from: RegionId(body.from),
                has: Marks::of_rows(&body.has)?,
                is_planned,
            })),
            OPENED if home == author => Some(Self::Opened { stream: body.stream, term: body.term }),
            _ => None,
        }
    }
}

/// Something said, and where and when.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    author: RegionId,
    hlc: Hlc,
    saying: Saying,
}

/// What is at risk by a claim: events of this region of which its author did not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The claim.
    pub claim: Claim,
    /// Own events from this time on were accepted later, when this region was the home again.
    pub until: Option<Hlc>,
}

/// Everything that was said of one stream, in the order in which it came here.
#[derive(Debug, Clone, Default)]
pub struct Course {
    said: Vec<Said>,
}

impl Course {
    /// Takes note of what an event says.
    pub fn learn(&mut self, author: RegionId, hlc: Hlc, saying: Saying) {
        self.said.push(Said { author, hlc, saying });
    }

    /// The claim that counts: that of the latest term, and of two of one term the later one, everywhere the same.
    pub fn claim(&self) -> Option<&Claim> {
        self.winner().map(|(_, claim)| claim)
    }

    fn winner(&self) -> Option<(&Said, &Claim)> {
        self.claims().max_by_key(|(said, claim)| rank(said, claim))
    }

    fn claims(&self) -> impl Iterator<Item = (&Said, &Claim)> {
        self.said.iter().filter_map(|said| match &said.saying {
            Saying::Claim(claim) => Some((said, claim)),
            Saying::Opened { .. } => None,
        })
    }

    /// Whether `me` has said that it takes writes in the term that counts. Who takes a stream has said so by that.
    pub fn is_opened(&self, me: RegionId) -> bool {
        let Some((said, claim)) = self.winner() else { return false };
        claim.home == me
            && (said.author == me
                || self.said.iter().any(|other| {
                    let term_of = matches!(&other.saying, Saying::Opened { term, .. } if *term == claim.term);
                    other.author == me && term_of
                }))
    }

    /// The claims by which events of `me` came to be at risk, from the `first` thing said on: those that made another region
    /// the home when they came here.
    pub fn tails(&self, me: RegionId, first: usize) -> Vec<Tail> {
        let mut tails = Vec::new();
        let mut highest = None;
        for (index, said) in self.said.iter().enumerate() {
            let Saying::Claim(claim) = &said.saying else { continue };
            let rank = Some(rank(said, claim));
            if rank <= highest {
                continue;
            }
            highest = rank;
            if index >= first && claim.home != me {
                tails.push(Tail { claim: claim.clone(), until: self.opened_after(me, index) });
            }
        }
        tails
    }

    /// When `me` began to take writes after that was said.
    fn opened_after(&self, me: RegionId, index: usize) -> Option<Hlc> {
        let opens = |said: &&Said| {
            said.author == me
                && match &said.saying {
                    Saying::Claim(claim) => claim.home == me,
                    Saying::Opened { .. } => true,
                }
        };
        self.said.iter().skip(index + 1).find(opens).map(|said| said.hlc)
    }

    /// How much was said.
    pub fn len(&self) -> usize {
        self.said.len()
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.said.is_empty()
    }
}

/// What decides between claims.
fn rank(said: &Said, claim: &Claim) -> (u64, Hlc, RegionId) {
    (claim.term, said.hlc, said.author)
}
