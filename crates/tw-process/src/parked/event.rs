//! The events of `$parked`.
//!
//! | type | says |
//! |---|---|
//! | `tradewind.parked.parked` | an event could not be processed and waits for a decision; its subject's later events wait behind it |
//! | `tradewind.parked.retried` | a person decided that it is tried again |
//! | `tradewind.parked.dropped` | a person decided that it is skipped for good |
//! | `tradewind.parked.released` | it waits no longer: `how` says why |
//!
//! The subject is `view/stream/partition/offset`. An event can be parked several times; its `episode` counts that, from 0.
//! Subject, episode and type make the id, so a replay says nothing twice. When a view is removed, one
//! `tradewind.parked.released` with the view's name as its subject ends everything about it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use tw_types::{Data, Event, Offset, PartitionId, StreamId, StreamName, StreamPartition, Timestamp};

/// The stream of parked events.
pub const PARKED_STREAM: &str = "$parked";

const SOURCE: &str = "tradewind:process";
const TYPE_PREFIX: &str = "tradewind.parked.";

/// Names a parked event: `view/stream/partition/offset`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ParkedId {
    /// The view that could not process it.
    pub view: String,
    /// The stream that it is in.
    pub stream: StreamName,
    /// Its partition.
    pub partition: PartitionId,
    /// Its offset.
    pub offset: Offset,
}

impl fmt::Display for ParkedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.view, self.stream, self.partition, self.offset)
    }
}

/// A text that does not name a parked event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` does not name a parked event: use view/stream/partition/offset")]
pub struct InvalidParkedId(pub String);

impl FromStr for ParkedId {
    type Err = InvalidParkedId;

    fn from_str(s: &str) -> Result<Self, InvalidParkedId> {
        let parse = || {
            let mut parts = s.rsplitn(4, '/');
            let offset = Offset(parts.next()?.parse().ok()?);
            let partition = PartitionId(parts.next()?.parse().ok()?);
            let stream = parts.next()?.parse().ok()?;
            let view = parts.next().filter(|view| !view.is_empty())?.to_owned();
            Some(Self { view, stream, partition, offset })
        };
        parse().ok_or_else(|| InvalidParkedId(s.chars().take(300).collect()))
    }
}

impl TryFrom<String> for ParkedId {
    type Error = InvalidParkedId;

    fn try_from(s: String) -> Result<Self, InvalidParkedId> {
        s.parse()
    }
}

impl From<ParkedId> for String {
    fn from(id: ParkedId) -> Self {
        id.to_string()
    }
}

/// What is said of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub(crate) enum What {
    Parked = 0,
    Retried = 1,
    Dropped = 2,
    Released = 3,
}

impl What {
    pub(crate) const ALL: [Self; 4] = [Self::Parked, Self::Retried, Self::Dropped, Self::Released];

    fn as_str(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::Retried => "retried",
            Self::Dropped => "dropped",
            Self::Released => "released",
        }
    }
}

/// How an event was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum How {
    /// It was applied at last.
    Applied,
    /// A later event made it irrelevant.
    Cleared,
    /// The view was built anew, and the event is not parked any more.
    Rebuilt,
    /// The view was removed.
    Removed,
}

/// The data of an event of `$parked` about one event of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fact {
    pub(crate) view: String,
    pub(crate) stream: StreamName,
    pub(crate) stream_id: StreamId,
    pub(crate) partition: PartitionId,
    pub(crate) offset: Offset,
    pub(crate) episode: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attempts: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) how: Option<How>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event_subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event_id: Option<String>,
}

impl Fact {
    /// Something about an event, without details.
    pub(crate) fn new(
        view: &str,
        stream: &StreamName,
        at: StreamPartition,
        offset: Offset,
        episode: u32,
    ) -> Self {
        Self {
            view: view.to_owned(),
            stream: stream.clone(),
            stream_id: at.stream,
            partition: at.partition,
            offset,
            episode,
            attempts: None,
            why: None,
            how: None,
            event_type: None,
            event_subject: None,
            event_id: None,
        }
    }

    /// The partition that it is about.
    pub(crate) fn at(&self) -> StreamPartition {
        StreamPartition::new(self.stream_id, self.partition)
    }

    /// The event that says it.
    pub(crate) fn to_event(&self, what: What, now_ms: u64) -> Event {
        let id = ParkedId {
            view: self.view.clone(),
            stream: self.stream.clone(),
            partition: self.partition,
            offset: self.offset,
        };
        event(id.to_string(), self.episode, what, now_ms, self)
    }
}

fn event(subject: String, episode: u32, what: What, now_ms: u64, data: &impl Serialize) -> Event {
    Event {
        id: format!("{subject}#{episode}-{}", what.as_str()),
        source: SOURCE.into(),
        ty: format!("{TYPE_PREFIX}{}", what.as_str()),
        subject: Some(subject),
        time: i64::try_from(now_ms).ok().map(Timestamp::from_millis),
        // Texts and numbers always have a JSON form.
        data: Data::Json(serde_json::to_vec(data).unwrap_or_default()),
        ..Event::default()
    }
}

/// The data of the event that ends everything about a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ViewRemoved {
    pub(crate) view: String,
    /// Which removal of a view of this name this is, from 0.
    pub(crate) removal: u32,
    pub(crate) how: How,
}

impl ViewRemoved {
    pub(crate) fn to_event(&self, now_ms: u64) -> Event {
        event(self.view.clone(), self.removal, What::Released, now_ms, self)
    }
}

/// An event of `$parked`, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Event(What, Fact),
    ViewRemoved(ViewRemoved),
}

impl Change {
    /// None when it is not one of ours.
    pub(crate) fn read(ty: &str, data: &[u8]) -> Option<Self> {
        let name = ty.strip_prefix(TYPE_PREFIX)?;
        let what = What::ALL.into_iter().find(|what| what.as_str() == name)?;
        if let Ok(fact) = serde_json::from_slice(data) {
            return Some(Self::Event(what, fact));
        }
        let removed = serde_json::from_slice(data).ok().map(Self::ViewRemoved);
        removed.filter(|_| what == What::Released)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact() -> Fact {
        Fact {
            view: "revenue".into(),
            stream: StreamName::new("shop.orders").unwrap(),
            stream_id: StreamId(7),
            partition: PartitionId(2),
            offset: Offset(41),
            episode: 1,
            attempts: Some(8),
            why: Some("`total` is not a number".into()),
            how: None,
            event_type: Some("order.placed".into()),
            event_subject: Some("order-7".into()),
            event_id: Some("a1".into()),
        }
    }

    #[test]
    fn an_event_reads_back_and_looks_as_documented() {
        let event = fact().to_event(What::Parked, 0);
        assert_eq!(event.subject.as_deref(), Some("revenue/shop.orders/2/41"));
        assert_eq!(event.id, "revenue/shop.orders/2/41#1-parked");
        assert_eq!(
            std::str::from_utf8(event.data.bytes()).unwrap(),
            r#"{"view":"revenue","stream":"shop.orders","stream_id":7,"partition":2,"offset":41,"episode":1,"attempts":8,"why":"`total` is not a number","event_type":"order.placed","event_subject":"order-7","event_id":"a1"}"#
        );
        assert_eq!(Change::read(&event.ty, event.data.bytes()), Some(Change::Event(What::Parked, fact())));
    }

    #[test]
    fn the_removal_of_a_view_reads_back() {
        let removed = ViewRemoved { view: "revenue".into(), removal: 3, how: How::Removed };
        let event = removed.to_event(0);
        assert_eq!(event.id, "revenue#3-released");
        assert_eq!(Change::read(&event.ty, event.data.bytes()), Some(Change::ViewRemoved(removed)));
        assert_eq!(Change::read("tradewind.parked.eaten", event.data.bytes()), None);
        assert_eq!(Change::read("tradewind.parked.parked", event.data.bytes()), None);
    }

    #[test]
    fn names_of_parked_events_read_back() {
        let id: ParkedId = "a/b/shop.orders/2/41".parse().unwrap();
        assert_eq!((id.view.as_str(), id.offset), ("a/b", Offset(41)));
        assert_eq!(id.to_string(), "a/b/shop.orders/2/41");
        for text in ["", "1/2", "v/s/x/1", "/s/1/2"] {
            assert!(text.parse::<ParkedId>().is_err(), "{text}");
        }
    }
}
