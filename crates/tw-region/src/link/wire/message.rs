//! The bodies in JSON. A reader ignores fields that it does not know, so that later versions can add some.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use tw_merge::Seen;
use tw_types::{Epoch, Hlc, PartitionId, RegionId, Sequence};

/// The protocols that a side speaks, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocols {
    /// The lowest one.
    pub min: u16,
    /// The highest one.
    pub max: u16,
}

/// Who speaks, and what it replicates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What it speaks.
    pub protocols: Protocols,
    /// Its number.
    pub region: RegionId,
    /// Its name for people.
    pub name: String,
    /// Which copy of the software with its data this is: a number that each installation draws once. In hex.
    #[serde(with = "hex128")]
    pub installation: u128,
    /// Its incarnation.
    pub epoch: Epoch,
    /// Its wall clock, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// Only of who connects, and only in protocol 2: of which region the other side is to send what it has received, in the place of its own events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<RegionId>,
    /// Only with that, and only in protocol 3: for good, as it arrives, and not only what is there. The other side relays that region then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub relays: bool,
    /// Only in the answer to that: the incarnation of the region that is relayed, as far as it is known there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted_epoch: Option<Epoch>,
    /// Only with `wanted`, and only in protocol 4: who connects accepts nothing before it has everything, and asks again until nothing is withheld.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restores: bool,
    /// Only in the answer to `wanted`: the streams that have events of that region there and are not replicated between the two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<String>,
    /// The regions that are evicted, as far as it knows: what it says of them in its log may wait for what only it has of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evicted: Vec<Evicted>,
    /// What it replicates. A stream's place in this list is its index in frames that this side sends.
    pub streams: Vec<Stream>,
}

/// A region that nobody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evicted {
    /// Its number.
    pub region: RegionId,
    /// The last epoch that is meant.
    pub epoch: Epoch,
    /// The last event of it that whoever says this has; absent before it takes nothing more of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has: Option<Hlc>,
}

/// A stream that a region replicates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Its name, the same in every region.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// What kind of stream it is.
    pub kind: String,
    /// How it is replicated.
    pub mode: String,
    /// A hash of the schema, in hex; 0 without one.
    #[serde(with = "hex64")]
    pub schema_hash: u64,
}

/// Why there will be no link; the connection ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuse {
    /// A word that is never renamed.
    pub code: String,
    /// What is wrong.
    pub text: String,
    /// What to do about it.
    pub remedy: String,
}

/// R asks for what comes after what it has. A partition that was pulled before begins anew there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pull {
    /// At most [`super::ENTRIES_MAX`]. Of a partition one for each epoch of which R has something, in rising order, next to each other; one with
    /// sequence 0 if there is none.
    pub entries: Vec<Pulled>,
}

/// What R has of one epoch of P in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    /// The name of the stream.
    pub stream: String,
    /// The partition.
    pub partition: PartitionId,
    /// The region of origin: that of P, or the one that is [wanted](Hello::wanted).
    pub region: RegionId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The last sequence that R has; 0: none.
    pub after: Sequence,
    /// Its timestamp, by which P finds out whether both have the same events.
    pub after_hlc: Hlc,
}

/// R takes so many bytes of blocks more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// To be added to what is left.
    pub bytes: u64,
}

/// What R has now, so that P knows what others lack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    /// R's wall clock, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The last event of each region that is in R's log.
    #[serde(deserialize_with = "seen")]
    pub latest: Seen,
}

/// P's log has nothing left of some events: compaction or retention removed them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The stream, as the index in P's [`Hello::streams`].
    pub stream: u32,
    /// The partition.
    pub partition: PartitionId,
    /// The region of origin: that of P, or the one that is [wanted](Hello::wanted).
    pub region: RegionId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The first sequence that is gone: the one after what was sent last, or after what the pull says.
    pub first: Sequence,
    /// The last one, inclusive.
    pub last: Sequence,
    /// Its timestamp, or if that is gone as well, the one before the first event that is left.
    pub hlc: Hlc,
}

/// What P says of itself now and then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Its wall clock, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// Everything that P accepted up to here, inclusive, in the partitions that R pulled, was sent before this frame, and
    /// nothing more comes. [`Hlc::ZERO`]: it promises nothing, and the promise before it stands. It may be earlier than that if R has
    /// pulled something anew.
    pub until: Hlc,
    /// Up to when everything of each other region is in P's log; and of P itself, if another region's events are [wanted](Hello::wanted).
    #[serde(deserialize_with = "seen")]
    pub seen: Seen,
    /// Only in protocol 3, of who relays a region: how its own link with that is. All else but `seen` and `now_ms`, which are those of that region as it said
    /// them last, is what the relay has of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relayed: Option<Relayed>,
    /// At most [`super::ENTRIES_MAX`]: what is not as in the heartbeats before this one on the connection, or was pulled since.
    pub epochs: Vec<Epochs>,
}

/// How the link is by which a relay has the events that it sends; or the worst one, if it has them from a relay itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relayed {
    /// Its state.
    pub link: RelayedLink,
    /// How long ago the region said something, in milliseconds. None: nothing since there is a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_ms: Option<u64>,
}

/// The state of such a link, the best one first. A word that is not known is the worst of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RelayedLink {
    /// What the region accepts is taken.
    Up,
    /// Nothing is taken of one partition at least.
    Parked,
    /// Nothing is taken because the region's clock is ahead.
    Quarantined,
    /// There is no connection.
    #[serde(other)]
    Down,
}

/// The epochs of P in one partition, and how far it has come in sending them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epochs {
    /// The stream, as the index in P's [`Hello::streams`].
    pub stream: u32,
    /// The partition.
    pub partition: PartitionId,
    /// All epochs that P has had, in rising order, each with its last sequence (0: none). All but the last have ended there for good.
    pub epochs: Vec<(Epoch, Sequence)>,
    /// The epoch and sequence that was sent or passed last on this connection; before that, what the pull says. What a heartbeat
    /// promises is that nothing comes between this and its `until`, also of each later heartbeat that does not name the partition.
    pub sent: (Epoch, Sequence),
}

/// A region that is named with no time is one that is not named.
fn seen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Seen, D::Error> {
    Ok(BTreeMap::<RegionId, Hlc>::deserialize(deserializer)?.into_iter().collect())
}

macro_rules! hex {
    ($module:ident, $inner:ty, $digits:literal) => {
        mod $module {
            use super::{Deserialize, Deserializer, Serializer};
            use serde::de::Error;

            pub(super) fn serialize<S: Serializer>(value: &$inner, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&format_args!(concat!("{:0", $digits, "x}"), value))
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<$inner, D::Error> {
                let text = String::deserialize(deserializer)?;
                let is_hex = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_hexdigit());
                let value = <$inner>::from_str_radix(&text, 16).ok().filter(|_| is_hex);
                value
                    .ok_or_else(|| D::Error::custom(concat!("not a number of 1 to ", $digits, " hex digits")))
            }
        }
    };
}
hex!(hex128, u128, "32");
hex!(hex64, u64, "16");
