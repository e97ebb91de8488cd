//! The forms of what is written by hand rather than by serde.

use crate::endpoints::StreamBody;
use crate::parts::{GroupLine, Lock, ParkedEvent, Projection, SeriesName, Setting, SettingChange, Source};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An event: CloudEvents 1.0 in JSON. Further members are extension attributes: texts, booleans, 32-bit integers.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CloudEvent {
    /// Always `1.0`.
    #[schema(example = "1.0")]
    pub(crate) specversion: String,
    /// Unique for its source.
    #[schema(example = "e-1")]
    pub(crate) id: String,
    /// Who says it, a URI reference.
    #[schema(example = "/shop")]
    pub(crate) source: String,
    /// What happened.
    #[serde(rename = "type")]
    #[schema(example = "order.placed")]
    pub(crate) ty: String,
    /// What it is about, the key of the event.
    #[schema(example = "order-7")]
    pub(crate) subject: Option<String>,
    /// When it happened, RFC 3339.
    #[schema(example = "2026-01-31T09:30:00Z")]
    pub(crate) time: Option<String>,
    /// The media type of the data; JSON if it is absent.
    #[schema(example = "application/json")]
    pub(crate) datacontenttype: Option<String>,
    /// A URI of the schema of the data.
    pub(crate) dataschema: Option<String>,
    /// The data, any JSON value; a text if `datacontenttype` says something else than JSON.
    pub(crate) data: Option<serde_json::Value>,
    /// The data if it is bytes, base64.
    pub(crate) data_base64: Option<String>,
    /// Where it is, `partition:offset`; given by the platform.
    #[schema(example = "0:120", read_only)]
    pub(crate) twposition: Option<String>,
    /// Its version in its subject's history; given by the platform.
    #[schema(example = "5", read_only)]
    pub(crate) twversion: Option<String>,
    /// When it was accepted, `milliseconds.counter` of the hybrid logical clock; given by the platform.
    #[schema(example = "1769851800000.0", read_only)]
    pub(crate) twhlc: Option<String>,
    /// Where it was first accepted, `region.epoch.sequence`; given by the platform.
    #[schema(example = "0.1.121", read_only)]
    pub(crate) tworigin: Option<String>,
}

/// A column of an answer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ResultColumn {
    /// Its name.
    #[schema(example = "revenue")]
    pub(crate) name: String,
    /// Its type, as PostgreSQL names it.
    #[serde(rename = "type")]
    #[schema(example = "numeric(12,2)")]
    pub(crate) ty: String,
}

/// The rows of a query.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ResultRows {
    /// The columns.
    pub(crate) columns: Vec<ResultColumn>,
    /// The rows, each with the values in the order of the columns.
    #[schema(example = json!([[7, 129.95]]))]
    pub(crate) rows: Vec<Vec<serde_json::Value>>,
    /// Only if the rows are not complete: why. The connection is then closed before the end of the answer.
    pub(crate) problem: Option<serde_json::Value>,
}

/// What a statement did that answers no rows.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Message {
    /// For a person.
    #[schema(example = "stream `orders` created")]
    pub(crate) message: String,
}

/// All streams.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamList {
    /// In the order of their names.
    pub(crate) streams: Vec<StreamBody>,
    /// Of a page: if there are more, pass it as `after`.
    #[schema(example = "shop.orders")]
    pub(crate) next: Option<String>,
}

/// The series that there are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesList {
    /// In the order of their names.
    pub(crate) series: Vec<SeriesName>,
}

/// All sources.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SourceList {
    /// In the order of their names.
    pub(crate) sources: Vec<Source>,
}

/// All projections.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ProjectionList {
    /// In the order of their names.
    pub(crate) projections: Vec<Projection>,
}

/// All options.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SettingList {
    /// In the order of their keys.
    pub(crate) options: Vec<Setting>,
}

/// The changes of an option.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SettingHistory {
    /// The last one first.
    pub(crate) history: Vec<SettingChange>,
}

/// Consumer groups.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct GroupList {
    /// Whether the log is on Kafka, and can have any.
    pub(crate) kafka: bool,
    /// In the order of their names.
    pub(crate) groups: Vec<GroupLine>,
    /// Of a page: if there may be more, pass it as `after`.
    #[schema(example = "billing")]
    pub(crate) next: Option<String>,
}

/// Locks.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LockList {
    /// Those that somebody holds or waits for, in the order of their names.
    pub(crate) locks: Vec<Lock>,
    /// If there are more: pass it as `after`.
    #[schema(example = "nightly-report")]
    pub(crate) next: Option<String>,
}

/// Parked events.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ParkedList {
    /// In the order of their views, streams and places.
    pub(crate) parked: Vec<ParkedEvent>,
    /// If there are more: pass it as `after`.
    #[schema(example = "revenue/shop.orders/0/41")]
    pub(crate) next: Option<String>,
}
