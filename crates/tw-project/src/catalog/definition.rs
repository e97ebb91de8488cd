//! Definitions of projections and sources, and the events of `$config` that tell of them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tw_types::{Data, Event, StreamId};

/// A projection as it is defined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectionDef {
    /// Its name.
    pub name: String,
    /// The SELECT whose result it keeps.
    pub query: String,
    /// The stream that it reads.
    pub stream: StreamId,
    /// Rises when the definition changes, and when it is to be built anew.
    pub version: u64,
    /// Its options, as they were written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// A source as it is defined. It never holds a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceDef {
    /// Its name.
    pub name: String,
    /// What it captures from: `postgres`.
    pub kind: String,
    /// Where that is, without the password.
    pub url: String,
    /// The captured tables, as `schema.table`.
    pub tables: Vec<String>,
    /// Its options, as they were written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// A change of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `tradewind.projection.created`
    ProjectionCreated(ProjectionDef),
    /// `tradewind.projection.altered`: another definition, or the same to be built anew.
    ProjectionAltered(ProjectionDef),
    /// `tradewind.projection.dropped`
    ProjectionDropped(String),
    /// `tradewind.projection.paused`
    ProjectionPaused(String),
    /// `tradewind.projection.resumed`
    ProjectionResumed(String),
    /// `tradewind.projection.held`
    ProjectionHeld(String),
    /// `tradewind.projection.released`
    ProjectionReleased(String),
    /// `tradewind.source.created`
    SourceCreated(SourceDef),
    /// `tradewind.source.dropped`
    SourceDropped(String),
    /// `tradewind.source.paused`
    SourcePaused(String),
    /// `tradewind.source.resumed`
    SourceResumed(String),
}

/// The data of events that only name something.
#[derive(Serialize, Deserialize)]
struct Named {
    name: String,
}

const PROJECTION_CREATED: &str = "tradewind.projection.created";
const PROJECTION_ALTERED: &str = "tradewind.projection.altered";
const PROJECTION_DROPPED: &str = "tradewind.projection.dropped";
const PROJECTION_PAUSED: &str = "tradewind.projection.paused";
const PROJECTION_RESUMED: &str = "tradewind.projection.resumed";
const PROJECTION_HELD: &str = "tradewind.projection.held";
const PROJECTION_RELEASED: &str = "tradewind.projection.released";
const SOURCE_CREATED: &str = "tradewind.source.created";
const SOURCE_DROPPED: &str = "tradewind.source.dropped";
const SOURCE_PAUSED: &str = "tradewind.source.paused";
const SOURCE_RESUMED: &str = "tradewind.source.resumed";

impl Change {
    /// The type of the event that says it.
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::ProjectionCreated(_) => PROJECTION_CREATED,
            Self::ProjectionAltered(_) => PROJECTION_ALTERED,
            Self::ProjectionDropped(_) => PROJECTION_DROPPED,
            Self::ProjectionPaused(_) => PROJECTION_PAUSED,
            Self::ProjectionResumed(_) => PROJECTION_RESUMED,
            Self::ProjectionHeld(_) => PROJECTION_HELD,
            Self::ProjectionReleased(_) => PROJECTION_RELEASED,
            Self::SourceCreated(_) => SOURCE_CREATED,
            Self::SourceDropped(_) => SOURCE_DROPPED,
            Self::SourcePaused(_) => SOURCE_PAUSED,
            Self::SourceResumed(_) => SOURCE_RESUMED,
        }
    }

    /// The subject of that event: `projection/NAME` or `source/NAME`.
    pub fn subject(&self) -> String {
        match self {
            Self::ProjectionCreated(def) | Self::ProjectionAltered(def) => format!("projection/{}", def.name),
            Self::ProjectionDropped(name)
            | Self::ProjectionPaused(name)
            | Self::ProjectionResumed(name)
            | Self::ProjectionHeld(name)
            | Self::ProjectionReleased(name) => format!("projection/{name}"),
            Self::SourceCreated(def) => format!("source/{}", def.name),
            Self::SourceDropped(name) | Self::SourcePaused(name) | Self::SourceResumed(name) => {
                format!("source/{name}")
            }
        }
    }

    /// The event that says it. `id` must be unique among the events of `$config`.
    pub fn to_event(&self, id: String) -> Event {
        let data = match self {
            Self::ProjectionCreated(def) | Self::ProjectionAltered(def) => serde_json::to_vec(def),
            Self::SourceCreated(def) => serde_json::to_vec(def),
            Self::ProjectionDropped(name)
            | Self::ProjectionPaused(name)
            | Self::ProjectionResumed(name)
            | Self::ProjectionHeld(name)
            | Self::ProjectionReleased(name)
            | Self::SourceDropped(name)
            | Self::SourcePaused(name)
            | Self::SourceResumed(name) => serde_json::to_vec(&Named { name: name.clone() }),
        };
        Event {
            id,
            source: "tradewind:catalog".into(),
            ty: self.event_type().into(),
            subject: Some(self.subject()),
            // A definition consists of texts and numbers, which always have a JSON form.
            data: Data::Json(data.unwrap_or_default()),
            ..Event::default()
        }
    }

    /// Reads an event of `$config`; None if it is about something else.
    ///
    /// # Errors
    /// The event is of one of our types but does not read: it was written by a later version.
    pub fn from_event(ty: &str, data: &[u8]) -> Result<Option<Self>, serde_json::Error> {
        let name = || serde_json::from_slice::<Named>(data).map(|named| named.name);
        Ok(Some(match ty {
            PROJECTION_CREATED => Self::ProjectionCreated(serde_json::from_slice(data)?),
            PROJECTION_ALTERED => Self::ProjectionAltered(serde_json::from_slice(data)?),
            PROJECTION_DROPPED => Self::ProjectionDropped(name()?),
            PROJECTION_PAUSED => Self::ProjectionPaused(name()?),
            PROJECTION_RESUMED => Self::ProjectionResumed(name()?),
            PROJECTION_HELD => Self::ProjectionHeld(name()?),
            PROJECTION_RELEASED => Self::ProjectionReleased(name()?),
            SOURCE_CREATED => Self::SourceCreated(serde_json::from_slice(data)?),
            SOURCE_DROPPED => Self::SourceDropped(name()?),
            SOURCE_PAUSED => Self::SourcePaused(name()?),
            SOURCE_RESUMED => Self::SourceResumed(name()?),
            _ => return Ok(None),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn events_read_back_and_stay_as_earlier_versions_wrote_them() {
        let projection = ProjectionDef {
            name: "revenue".into(),
            query: "SELECT 1".into(),
            stream: StreamId(7),
            version: 2,
            options: BTreeMap::new(),
        };
        let source = SourceDef {
            name: "shop".into(),
            kind: "postgres".into(),
            url: "postgres://user@host/db".into(),
            tables: vec!["public.orders".into()],
            options: [("slot".to_owned(), "tw".to_owned())].into(),
        };
        let changes = [
            Change::ProjectionCreated(projection.clone()),
            Change::ProjectionAltered(projection),
            Change::ProjectionDropped("revenue".into()),
            Change::ProjectionPaused("revenue".into()),
            Change::ProjectionResumed("revenue".into()),
            Change::ProjectionHeld("revenue".into()),
            Change::ProjectionReleased("revenue".into()),
            Change::SourceCreated(source),
            Change::SourceDropped("shop".into()),
            Change::SourcePaused("shop".into()),
            Change::SourceResumed("shop".into()),
        ];
        let mut all = String::new();
        for change in changes {
            let event = change.to_event("1".into());
            assert_eq!(Change::from_event(&event.ty, event.data.bytes()).unwrap(), Some(change));
            let data = String::from_utf8(event.data.bytes().to_vec()).unwrap();
            all += &format!("{} {} {data}\n", event.ty, event.subject.unwrap());
        }
        expect![[r#"
            tradewind.projection.created projection/revenue {"name":"revenue","query":"SELECT 1","stream":7,"version":2}
            tradewind.projection.altered projection/revenue {"name":"revenue","query":"SELECT 1","stream":7,"version":2}
            tradewind.projection.dropped projection/revenue {"name":"revenue"}
            tradewind.projection.paused projection/revenue {"name":"revenue"}
            tradewind.projection.resumed projection/revenue {"name":"revenue"}
            tradewind.projection.held projection/revenue {"name":"revenue"}
            tradewind.projection.released projection/revenue {"name":"revenue"}
            tradewind.source.created source/shop {"name":"shop","kind":"postgres","url":"postgres://user@host/db","tables":["public.orders"],"options":{"slot":"tw"}}
            tradewind.source.dropped source/shop {"name":"shop"}
            tradewind.source.paused source/shop {"name":"shop"}
            tradewind.source.resumed source/shop {"name":"shop"}
        "#]]
        .assert_eq(&all);
        assert_eq!(Change::from_event("tradewind.stream.created", b"{}").unwrap(), None);
        assert!(Change::from_event("tradewind.source.created", b"{}").is_err());
    }
}
