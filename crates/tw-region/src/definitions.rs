//! What is defined in all regions: the stream `$definitions`.
//!
//! Whoever defines a stream that is in several regions, or a projection of one, says so there before it is done; each region does what was said, this
//! one too. Definitions are told apart and put in order by their stamps, so all regions agree in the end on what there is. Nothing
//! here appends or defines anything: [`Agreed`] says what would have to be done.
//!
//! ```json
//! {"type": "tradewind.stream.created", "subject": "stream/orders", "data": {"v": 1, "stream": {"name": "orders", "partitions": 2}}}
//! {"type": "tradewind.stream.dropped", "subject": "stream/orders", "data": {"v": 1, "name": "orders", "replaces": null}}
//! {"type": "tradewind.projection.defined", "subject": "projection/revenue", "data": {"v": 1, "name": "revenue", "query": "SELECT …"}}
//! {"type": "tradewind.projection.dropped", "subject": "projection/revenue", "data": {"v": 1, "name": "revenue"}}
//! ```
//!
//! `docs/adr/0024-definitions-in-all-regions.md` says why.

mod agreed;
mod fold;
#[cfg(test)]
mod tests;

pub use agreed::Agreed;
pub use fold::Step;

use serde::{Deserialize, Serialize};
use tw_log::NewStream;
use tw_types::{Data, Event, EventRef, StreamName};

/// The name of the stream of definitions. It has one partition, and is in every region.
pub const DEFINITIONS_STREAM: &str = "$definitions";
const STREAM_CREATED: &str = "tradewind.stream.created";
const STREAM_ALTERED: &str = "tradewind.stream.altered";
const STREAM_DROPPED: &str = "tradewind.stream.dropped";
const PROJECTION_DEFINED: &str = "tradewind.projection.defined";
const PROJECTION_DROPPED: &str = "tradewind.projection.dropped";

/// What an event of `$definitions` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Definition {
    /// There is to be such a stream.
    StreamCreated(NewStream),
    /// A stream is to be like this; its options say which one of this name, see [`tw_types::StreamOptions::replaces`].
    StreamAltered(NewStream),
    /// A stream is to be no more.
    StreamDropped {
        /// Its name.
        name: StreamName,
        /// Which one of this name.
        replaces: Option<u64>,
    },
    /// A projection is to be like this.
    Projection {
        /// Its name.
        name: String,
        /// Its SELECT.
        query: String,
    },
    /// A projection is to be no more.
    ProjectionDropped {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Body {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stream: Option<NewStream>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaces: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query: Option<String>,
}

impl Definition {
    /// The event that says it; `id` is unique among the events of `$definitions`.
    pub fn event(&self, id: String) -> Event {
        let (ty, kind, name) = match self {
            Self::StreamCreated(stream) => (STREAM_CREATED, "stream", stream.name.to_string()),
            Self::StreamAltered(stream) => (STREAM_ALTERED, "stream", stream.name.to_string()),
            Self::StreamDropped { name, .. } => (STREAM_DROPPED, "stream", name.to_string()),
            Self::Projection { name, .. } => (PROJECTION_DEFINED, "projection", name.clone()),
            Self::ProjectionDropped { name } => (PROJECTION_DROPPED, "projection", name.clone()),
        };
        let body = match self.clone() {
            Self::StreamCreated(stream) | Self::StreamAltered(stream) => {
                Body { stream: Some(stream), ..Body::default() }
            }
            Self::StreamDropped { name, replaces } => {
                Body { name: Some(name.to_string()), replaces, ..Body::default() }
            }
            Self::Projection { name, query } => {
                Body { name: Some(name), query: Some(query), ..Body::default() }
            }
            Self::ProjectionDropped { name } => Body { name: Some(name), ..Body::default() },
        };
        Event {
            id,
            source: "tradewind:region".into(),
            ty: ty.into(),
            subject: Some(format!("{kind}/{name}")),
            // Texts and numbers always have a JSON form.
            data: Data::Json(serde_json::to_vec(&Body { v: 1, ..body }).unwrap_or_default()),
            ..Event::default()
        }
    }

    /// Reads an event of `$definitions`; None if it says nothing that is known here, or nothing that can be.
    pub fn read(event: &EventRef<'_>) -> Option<Self> {
        let body: Body = serde_json::from_slice(event.data.bytes()).ok()?;
        if body.v != 1 {
            return None;
        }
        let stream = body.stream.filter(|stream| !stream.name.is_system());
        match event.ty {
            STREAM_CREATED => stream.map(Self::StreamCreated),
            STREAM_ALTERED => stream.map(Self::StreamAltered),
            STREAM_DROPPED => {
                let name = StreamName::new(&body.name?).ok().filter(|name| !name.is_system())?;
                Some(Self::StreamDropped { name, replaces: body.replaces })
            }
            PROJECTION_DEFINED => Some(Self::Projection { name: body.name?, query: body.query? }),
            PROJECTION_DROPPED => Some(Self::ProjectionDropped { name: body.name? }),
            _ => None,
        }
    }
}
