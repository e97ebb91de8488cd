//! What the worker stores under its keys: version 1, fixed by golden bytes in the tests.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tw_order::gate::{Counts, Lane, LaneKey, Phase};
use tw_types::{Hlc, Offset, StoredRef};

const VERSION: u8 = 1;

/// How far a partition has been processed, and what goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cursor {
    /// The first offset that has not been processed.
    pub(crate) position: Offset,
    /// The first offset that was processed: 0 unless the beginning had been removed.
    pub(crate) start: Offset,
    /// The timestamp of the last event that was processed.
    pub(crate) hlc: Hlc,
    /// Stored lanes and queues of events before this offset are void.
    pub(crate) cleared: Offset,
    /// What is blocked.
    pub(crate) counts: Counts,
    /// The first event of `$parked` whose decision has not been carried out.
    pub(crate) decided: u64,
    /// The number of the next event for `$parked`.
    pub(crate) outbox: u64,
    /// Whether void entries are still to be removed.
    pub(crate) sweeping: bool,
}

impl Cursor {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(75);
        out.push(VERSION);
        for number in [
            self.position.0,
            self.start.0,
            self.hlc.as_u64(),
            self.cleared.0,
            self.counts.lanes,
            self.counts.parked,
            self.counts.waiting,
            self.decided,
            self.outbox,
        ] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.push(u8::from(self.sweeping));
        Bytes::from(out)
    }

    /// None when it was written by a later version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Input::new(bytes)?;
        let cursor = Self {
            position: Offset(input.number()?),
            start: Offset(input.number()?),
            hlc: Hlc::from_u64(input.number()?),
            cleared: Offset(input.number()?),
            counts: Counts { lanes: input.number()?, parked: input.number()?, waiting: input.number()? },
            decided: input.number()?,
            outbox: input.number()?,
            sweeping: false,
        };
        match input.rest {
            [flags @ 0..=1] => Some(Self { sweeping: *flags == 1, ..cursor }),
            _ => None,
        }
    }
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        (*version == VERSION).then_some(Self { rest })
    }

    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u64::from_be_bytes(*number))
    }
}

/// A lane's state; its phase is also in the kind of its key.
pub(crate) fn encode_lane(lane: &Lane) -> Bytes {
    let (due_ms, parked) = match lane.phase {
        Phase::Retrying { due_ms } => (due_ms, false),
        Phase::Parked => (0, true),
    };
    let mut out = Vec::with_capacity(26);
    out.push(VERSION);
    for number in [lane.head.0, u64::from(lane.attempts), due_ms] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.push(u8::from(lane.told) | u8::from(parked) << 1);
    Bytes::from(out)
}

/// None when it was written by a later version.
pub(crate) fn decode_lane(bytes: &[u8]) -> Option<Lane> {
    let mut input = Input::new(bytes)?;
    let head = Offset(input.number()?);
    let attempts = u32::try_from(input.number()?).ok()?;
    let due_ms = input.number()?;
    let [flags @ 0..=3] = input.rest else { return None };
    let phase = if flags & 2 != 0 { Phase::Parked } else { Phase::Retrying { due_ms } };
    Some(Lane { head, attempts, phase, told: flags & 1 != 0 })
}

/// What was told of a parked event: its lane, and how often it had been parked before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) key: LaneKey,
    pub(crate) episode: u32,
}

impl Told {
    pub(crate) fn encode(self) -> Bytes {
        let mut out = Vec::with_capacity(21);
        out.push(VERSION);
        out.extend_from_slice(&self.key.to_bytes());
        out.extend_from_slice(&self.episode.to_be_bytes());
        Bytes::from(out)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let input = Input::new(bytes)?;
        let (key, rest) = input.rest.split_first_chunk()?;
        let episode = u32::from_be_bytes(rest.try_into().ok()?);
        Some(Self { key: LaneKey::from_bytes(*key), episode })
    }
}

/// Why an event could not be processed, for the person who will look at it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) offset: u64,
    #[serde(rename = "type", default, skip_serializing_if = "String::is_empty")]
    pub(crate) ty: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) id: String,
    pub(crate) why: String,
}

impl Note {
    /// Texts are cut to so many bytes.
    const TEXT_BYTES_MAX: usize = 1_000;

    pub(crate) fn new(event: &StoredRef<'_>, why: &str) -> Self {
        Self {
            offset: event.offset.0,
            ty: cut(event.event.ty),
            subject: event.event.subject.map(cut),
            id: cut(event.event.id),
            why: cut(why),
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        // Texts and a number always have a JSON form.
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(Note::TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn records_are_those_that_earlier_versions_stored() {
        let cursor = Cursor {
            position: Offset(0x102),
            start: Offset(1),
            hlc: Hlc::from_u64(2),
            cleared: Offset(3),
            counts: Counts { lanes: 4, parked: 5, waiting: 6 },
            decided: 7,
            outbox: 8,
            sweeping: true,
        };
        let golden = "01000000000000010200000000000000010000000000000002000000000000000300000000000000040000000000000005000000000000000600000000000000070000000000000008\
                      01";
        assert_eq!(hex(&cursor.encode()), golden);
        assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        let lane =
            Lane { head: Offset(9), attempts: 2, phase: Phase::Retrying { due_ms: 0x1234 }, told: true };
        assert_eq!(
            hex(&encode_lane(&lane)),
            "010000000000000009000000000000000200000000000012340\
                                              1"
            .replace(' ', "")
        );
        assert_eq!(decode_lane(&encode_lane(&lane)), Some(lane));
        let told = Told { key: LaneKey::from_bytes(*b"0123456789abcdef"), episode: 7 };
        assert_eq!(hex(&told.encode()), "013031323334353637383961626364656600000007");
        assert_eq!(Told::decode(&told.encode()), Some(told));
    }

    #[test]
    fn records_of_a_later_version_are_not_misread() {
        let mut bytes = Cursor::default().encode().to_vec();
        bytes[0] = 2;
        assert_eq!(Cursor::decode(&bytes), None);
        assert_eq!(Cursor::decode(&[1, 2, 3]), None);
        assert_eq!(decode_lane(&[]), None);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = "ä".repeat(1_000);
        assert_eq!(cut(&text), "ä".repeat(500));
        assert_eq!(cut(&format!("x{text}")).len(), 999);
    }
}
